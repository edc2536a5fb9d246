#include "probes/path_mtu_direction.hpp"

namespace reachd {

MtuDirection PathMtuDirection::direction() const {
    // By forward and reverse passage: unknown, passes, fails. Where one passes, the other must be
    // what failed the echo; a failure of one alone leaves the other open.
    constexpr std::array<std::array<MtuDirection, 3>, 3> table{{
        {MtuDirection::unknown, MtuDirection::forward, MtuDirection::unknown},
        {MtuDirection::reverse, MtuDirection::unknown, MtuDirection::reverse},
        {MtuDirection::unknown, MtuDirection::forward, MtuDirection::both},
    }};
    return table[static_cast<std::size_t>(forward())][static_cast<std::size_t>(reverse())];
}

}  // namespace reachd
