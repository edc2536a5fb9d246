// How many of the descriptors that RLIMIT_NOFILE allows each of the two that want many may have:
// TCP probes, and packet sockets on the ports of guests. Opens none, and counts none.
#pragma once

#include <algorithm>
#include <cstddef>

#include <sys/resource.h>

#include "common/check.hpp"

namespace reachd {

/// Left to the loops: clients, files, netlink, sockets of their own.
inline constexpr std::size_t descriptors_spared = 256;

/// Of each of the two; of very few descriptors a quarter. Reads RLIMIT_NOFILE: raise it before.
inline std::size_t descriptor_share() {
    rlimit limit{};
    ENSURE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    const rlim_t spared = std::min<rlim_t>(descriptors_spared, limit.rlim_cur / 2);
    return static_cast<std::size_t>((limit.rlim_cur - spared) / 2);
}

}  // namespace reachd
