// One echo request to be sent now, complete: all that a socket needs to know.
#pragma once

#include <cstdint>

#include "common/address.hpp"
#include "probes/probe_cookie.hpp"
#include "probes/probe_engine.hpp"

namespace reachd {

/// Where and how a peer's echo requests go.
struct EchoTarget {
    IpAddress destination;             ///< unspecified: not resolved yet
    IpAddress source;                  ///< unspecified: the kernel chooses
    IfIndex device = IfIndex::any;     ///< any: the routing table chooses
    std::uint16_t payload_bytes = 56;  ///< 16 to 9000, after the ICMP header
    std::uint8_t dscp = 0;             ///< 0 to 63

    friend bool operator==(const EchoTarget&, const EchoTarget&) = default;
};

struct EchoRequest {
    SendOrder order;
    EchoTarget target;
    ProbeCookie cookie;
    std::uint16_t identifier = 0;  ///< ping sockets put their own in its place
};

/// What identifies our echo requests on a socket: `identifier` to `identifier + count - 1`, a power
/// of two and aligned to it, so that one mask in the kernel's filter tells ours from the others'.
struct EchoIdentifiers {
    std::uint16_t first = 0;
    std::uint16_t count = 1;

    bool contains(std::uint16_t identifier) const {
        return (identifier & static_cast<std::uint16_t>(~(count - 1U))) == first;
    }
};

}  // namespace reachd
