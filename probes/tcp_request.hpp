// One TCP connect to be begun now, and how it ended: all that passes between the engine's owner and
// the connector. A connect is a probe of the path and of the port; nothing is ever sent on it.
#pragma once

#include <cstdint>

#include "common/address.hpp"
#include "probes/probe_engine.hpp"

namespace reachd {

struct TcpTarget {
    IpAddress destination;          ///< never unspecified
    IpAddress source;               ///< unspecified: the kernel chooses
    IfIndex device = IfIndex::any;  ///< any: the routing table chooses
    std::uint16_t port = 0;         ///< 1 to 65535
    std::uint8_t dscp = 0;          ///< 0 to 63

    friend bool operator==(const TcpTarget&, const TcpTarget&) = default;
};

struct TcpRequest {
    SendOrder order;
    TcpTarget target;
};

}  // namespace reachd
