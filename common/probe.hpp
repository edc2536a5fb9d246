// The words of probing that every layer shares: kinds, failure reasons, counters, states.
// Meanings are those of the public interface; the numbers themselves live in probes/.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace reachd {

/// How a peer is asked. The text is the metric label `probe`.
/// `arp` is ARP or IPv6 neighbour discovery.
enum class ProbeKind : std::uint8_t { icmp, tcp, arp };
inline constexpr std::size_t probe_kind_count = 3;

constexpr std::string_view to_text(ProbeKind kind) {
    constexpr std::array<std::string_view, probe_kind_count> names{"icmp", "tcp", "arp"};
    return names[static_cast<std::size_t>(kind)];
}

/// Why a probe failed. The first group ends a sent probe as lost; `refused` is an answer; the last
/// group means that the kernel never took the probe.
enum class FailureReason : std::uint8_t {
    timeout,
    prohibited,
    host_unreachable,
    net_unreachable,
    port_unreachable,
    ttl_exceeded,
    too_big,
    neighbour_failed,
    refused,
    no_route,
    local_firewall,
    unresolved,
    local_error,
};
inline constexpr std::size_t failure_reason_count = 13;

/// The metric label `reason`.
constexpr std::string_view to_text(FailureReason reason) {
    constexpr std::array<std::string_view, failure_reason_count> names{
        "timeout",
        "prohibited",
        "host_unreachable",
        "net_unreachable",
        "port_unreachable",
        "ttl_exceeded",
        "too_big",
        "neighbour_failed",
        "refused",
        "no_route",
        "local_firewall",
        "unresolved",
        "local_error",
    };
    return names[static_cast<std::size_t>(reason)];
}

/// Lost probes have one of these reasons; lost is always their sum.
constexpr bool is_loss(FailureReason reason) {
    return reason < FailureReason::refused;
}

/// Why a due probe was not sent at all, though nothing was wrong with its path.
enum class SkipReason : std::uint8_t { rate_limit, throttle, busy };
inline constexpr std::size_t skip_reason_count = 3;

constexpr std::string_view to_text(SkipReason reason) {
    constexpr std::array<std::string_view, skip_reason_count> names{
        "rate_limit", "throttle", "busy"};
    return names[static_cast<std::size_t>(reason)];
}

/// Why an answer gave no RTT sample: the wall clock stepped while the probe was out, the probe loop
/// itself was starved, or more than one request was out and nothing tells which of them was
/// answered (Karn's rule, RFC 6298, section 3): a SYN that was retransmitted, ARP requests.
enum class DiscardReason : std::uint8_t { clock_step, starved, ambiguous };
inline constexpr std::size_t discard_reason_count = 3;

constexpr std::string_view to_text(DiscardReason reason) {
    constexpr std::array<std::string_view, discard_reason_count> names{
        "clock_step", "starved", "ambiguous"};
    return names[static_cast<std::size_t>(reason)];
}

enum class PeerKind : std::uint8_t { host, gateway, guest };
inline constexpr std::size_t peer_kind_count = 3;

constexpr std::string_view to_text(PeerKind kind) {
    constexpr std::array<std::string_view, peer_kind_count> names{"host", "gateway", "guest"};
    return names[static_cast<std::size_t>(kind)];
}

/// The verdict on one probe kind, or on a peer.
enum class Reachability : std::uint8_t { unknown, up, suspect, down };

constexpr std::string_view to_text(Reachability state) {
    constexpr std::array<std::string_view, 4> names{"unknown", "up", "suspect", "down"};
    return names[static_cast<std::size_t>(state)];
}

/// Counters of one probe session since it began. At every instant
///     sent = received + lost + in flight,
/// where in flight is sent - received - lost. None of them ever falls.
struct ProbeCounters {
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    std::uint64_t lost = 0;
    std::uint64_t late = 0;        ///< answers to probes already lost
    std::uint64_t duplicates = 0;  ///< further answers to an answered probe
    std::uint64_t reordered = 0;   ///< answers in time, but after the answer to a later probe

    friend bool operator==(const ProbeCounters&, const ProbeCounters&) = default;
};

}  // namespace reachd
