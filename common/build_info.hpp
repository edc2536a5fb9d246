// Which build of reachd this is. The answer is compiled in when the program is linked: it holds no
// time, user or path, so that equal sources give an equal program.
#pragma once

#include <string_view>

namespace reachd {

/// The texts live as long as the program, and fit the labels of reachd_build_info.
struct BuildInfo {
    std::string_view version;   ///< semantic version, "0.1.0"
    std::string_view revision;  ///< commit, with "-dirty" after local changes; or "unknown"
    std::string_view compiler;  ///< "gcc 12.2.0" or "clang 14.0.6"
};

BuildInfo build_info();

}  // namespace reachd
