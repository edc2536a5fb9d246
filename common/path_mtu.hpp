// The words of path MTU probing, and of MTUs that do not fit, that every layer shares. Sizes are
// those of whole IP packets, header included, in bytes.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "common/address.hpp"

namespace reachd {

/// What is known about the largest packet that reaches a peer and comes back. The text is the
/// metric label `verdict`.
enum class MtuVerdict : std::uint8_t {
    undetermined,  ///< nothing to be said: no answer at all, or answers that contradict each other
    ok,            ///< packets of the expected size pass both ways
    signalled,     ///< a router says that they are too big (RFC 1191, RFC 8201)
    black_hole,    ///< they vanish without a message (RFC 2923, section 2.1)
    local,         ///< a device of this host is smaller than what is expected
    peer_egress,   ///< they arrive; the peer answers in fragments, having a smaller MTU
};
inline constexpr std::size_t mtu_verdict_count = 6;

constexpr std::string_view to_text(MtuVerdict verdict) {
    constexpr std::array<std::string_view, mtu_verdict_count> names{
        "undetermined", "ok", "signalled", "black_hole", "local", "peer_egress"};
    return names[static_cast<std::size_t>(verdict)];
}

/// Whether it differs from what was expected.
constexpr bool is_mismatch(MtuVerdict verdict) {
    return verdict != MtuVerdict::undetermined && verdict != MtuVerdict::ok;
}

/// In which direction large packets do not pass. The text is the metric label `direction`.
enum class MtuDirection : std::uint8_t { none, forward, reverse, both, unknown };
inline constexpr std::size_t mtu_direction_count = 5;

constexpr std::string_view to_text(MtuDirection direction) {
    constexpr std::array<std::string_view, mtu_direction_count> names{
        "none", "forward", "reverse", "both", "unknown"};
    return names[static_cast<std::size_t>(direction)];
}

/// Whether something passes one way, as far as it was tried.
enum class Passage : std::uint8_t { unknown, passes, fails };

constexpr std::string_view to_text(Passage passage) {
    constexpr std::array<std::string_view, 3> names{"unknown", "passes", "fails"};
    return names[static_cast<std::size_t>(passage)];
}

/// The outcome for one peer.
struct PathMtu {
    MtuVerdict verdict = MtuVerdict::undetermined;
    MtuDirection direction = MtuDirection::none;
    std::uint32_t expected = 0;
    std::uint32_t bytes = 0;        ///< largest that passes; 0 while undetermined
    std::uint32_t fragment = 0;     ///< largest fragment of the peer's answers; 0: whole
    IpAddress reporter;             ///< who signalled; unspecified: nobody
    std::uint32_t reported = 0;     ///< its MTU; 0: it gave none
    IfIndex device = IfIndex::any;  ///< the smaller one of this host, where the verdict is local
    Passage forward = Passage::unknown;  ///< the expected size, by the tests of directions
    Passage reverse = Passage::unknown;
    bool answers = false;  ///< small packets are answered

    friend bool operator==(const PathMtu&, const PathMtu&) = default;
};

/// What became of the packets of path MTU probing. The text is the metric label `result`.
enum class MtuPacketResult : std::uint8_t { answered, lost, too_big, not_sent };
inline constexpr std::size_t mtu_packet_result_count = 4;

constexpr std::string_view to_text(MtuPacketResult result) {
    constexpr std::array<std::string_view, mtu_packet_result_count> names{
        "answered", "lost", "too_big", "not_sent"};
    return names[static_cast<std::size_t>(result)];
}

/// Why two devices do not fit.
enum class MtuConflict : std::uint8_t {
    port_above_uplink,       ///< a guest's port sends what the bridge's way out drops silently
    port_above_bridge,       ///< a port sends what the bridge device itself does not take
    bridge_above_uplink,     ///< the host itself sends, by the bridge, what its way out drops
    veth_ends,               ///< the larger end sends what the smaller one drops
    overlay_above_underlay,  ///< an encapsulated frame does not fit the device below
    port_below_uplink,       ///< a smaller guest on a larger network: it cannot take what may come
};
inline constexpr std::size_t mtu_conflict_count = 6;

constexpr std::string_view to_text(MtuConflict conflict) {
    constexpr std::array<std::string_view, mtu_conflict_count> names{"port_above_uplink",
                                                                     "port_above_bridge",
                                                                     "bridge_above_uplink",
                                                                     "veth_ends",
                                                                     "overlay_above_underlay",
                                                                     "port_below_uplink"};
    return names[static_cast<std::size_t>(conflict)];
}

/// Whether traffic is lost by it; else it only may be.
constexpr bool loses_traffic(MtuConflict conflict) {
    return conflict != MtuConflict::port_below_uplink;
}

/// Two devices of this host whose MTUs do not fit together.
struct MtuInconsistency {
    MtuConflict conflict = MtuConflict::veth_ends;
    IfIndex bridge = IfIndex::any;  ///< any: of none
    IfIndex larger = IfIndex::any;
    IfIndex smaller = IfIndex::any;
    std::uint32_t larger_bytes = 0;
    std::uint32_t smaller_bytes = 0;  ///< what fits, encapsulation subtracted
    std::uint32_t devices = 1;        ///< as large as `larger`, or larger than fits

    friend bool operator==(const MtuInconsistency&, const MtuInconsistency&) = default;
};

/// The smallest MTU a link may have: RFC 791, section 3.2; RFC 8200, section 5.
constexpr std::uint32_t minimum_mtu(Family family) {
    return family == Family::ipv4 ? 68 : 1280;
}

/// Larger IP packets are expected only where the configuration says so, whatever a device allows:
/// what switches call jumbo frames ends here.
inline constexpr std::uint32_t expected_mtu_max = 9216;

/// The largest IP packet (RFC 791, section 3.1). IPv6 could be 40 bytes longer; nobody's is.
inline constexpr std::uint32_t ip_packet_bytes_max = 65'535;

}  // namespace reachd
