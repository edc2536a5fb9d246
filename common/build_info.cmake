# Writes the source of common/build_info.hpp to OUTPUT, from SOURCE_DIR, VERSION and REVISION. Run
# by each build; an unchanged answer leaves the file, and so the build, alone. Without git, or
# outside a clone, the revision is "unknown": a release archive is given its own.
if(NOT REVISION)
    get_filename_component(parent ${SOURCE_DIR} DIRECTORY)
    # The ceiling: an archive unpacked inside some other clone must not show that one's revision.
    execute_process(
        COMMAND ${CMAKE_COMMAND} -E env GIT_CEILING_DIRECTORIES=${parent} GIT_OPTIONAL_LOCKS=0
            git -C ${SOURCE_DIR} describe --always --dirty --abbrev=12 "--exclude=*"
        OUTPUT_VARIABLE REVISION OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT REVISION MATCHES "^[0-9A-Za-z._+~-]+$")
    set(REVISION "unknown")
endif()

file(CONFIGURE OUTPUT ${OUTPUT} @ONLY CONTENT [=[
// Written by common/build_info.cmake.
#include "common/build_info.hpp"

#define REACHD_TEXT_OF(value) #value
#define REACHD_TEXT(value) REACHD_TEXT_OF(value)

namespace reachd {

BuildInfo build_info() {
    return {
        .version = "@VERSION@",
        .revision = "@REVISION@",
#if defined(__clang__)
        .compiler = "clang " REACHD_TEXT(__clang_major__) "." REACHD_TEXT(
            __clang_minor__) "." REACHD_TEXT(__clang_patchlevel__),
#else
        .compiler = "gcc " REACHD_TEXT(__GNUC__) "." REACHD_TEXT(__GNUC_MINOR__) "." REACHD_TEXT(
            __GNUC_PATCHLEVEL__),
#endif
    };
}

}  // namespace reachd
]=])
