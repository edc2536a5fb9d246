// Which identifiers are ours: by the same mask as in the kernel's filter.
#include "probes/echo_request.hpp"

#include <catch2/catch.hpp>

using namespace reachd;

TEST_CASE("echo identifiers: a range contains its members and nothing else") {
    const EchoIdentifiers range = GENERATE(EchoIdentifiers{0, 1},
                                           EchoIdentifiers{0xffff, 1},
                                           EchoIdentifiers{0x1238, 8},
                                           EchoIdentifiers{0xffc0, 64},
                                           EchoIdentifiers{0, 0x8000});
    CAPTURE(range.first, range.count);
    for (std::uint32_t id = 0; id <= 0xffff; ++id) {
        const bool inside = id >= range.first && id < std::uint32_t{range.first} + range.count;
        if (range.contains(static_cast<std::uint16_t>(id)) != inside) {
            FAIL("identifier " << id);
        }
    }
}
