// How a TCP probe ended by the kernel's word. What a time-out is, the engine decides.
#pragma once

#include <cstdint>
#include <optional>

#include "common/address.hpp"
#include "common/probe.hpp"
#include "common/time.hpp"

namespace reachd {

struct TcpResult {
    enum class Kind : std::uint8_t {
        established,
        refused,  ///< RST: an answer of the peer, but nobody listens
        lost,     ///< ended early, by an ICMP error or our own neighbour discovery
    };

    Kind kind = Kind::lost;
    FailureReason reason = FailureReason::timeout;  ///< if lost; never one that is no loss
    /// Round trip of SYN and SYN-ACK (or RST); nothing: more than one SYN was out, so that nothing
    /// tells which of them was answered (Karn's rule, RFC 6298, section 3).
    std::optional<Duration> rtt{};
    bool user_stamped = false;  ///< measured by us, not by the kernel's TCP_INFO
    std::uint32_t syn_retransmits = 0;
    IpAddress reporter{};  ///< who sent the ICMP error, if lost by one; else unspecified
};

}  // namespace reachd
