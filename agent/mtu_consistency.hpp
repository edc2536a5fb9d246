// MTUs of this host's own devices that do not fit together: known from the links alone, before any
// packet is lost. Pure; says what is, not how bad it is for whom.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "common/link.hpp"

namespace reachd {

/// Why two devices do not fit.
enum class MtuConflict : std::uint8_t {
    port_above_uplink,       ///< a guest's port sends what the bridge's way out drops silently
    port_above_bridge,       ///< a port sends what the bridge device itself does not take
    veth_ends,               ///< the larger end sends what the smaller one drops
    overlay_above_underlay,  ///< an encapsulated frame does not fit the device below
    port_below_uplink,       ///< a smaller guest on a larger network: it cannot take what may come
};
inline constexpr std::size_t mtu_conflict_count = 5;

constexpr std::string_view to_text(MtuConflict conflict) {
    constexpr std::array<std::string_view, mtu_conflict_count> names{"port_above_uplink",
                                                                     "port_above_bridge",
                                                                     "veth_ends",
                                                                     "overlay_above_underlay",
                                                                     "port_below_uplink"};
    return names[static_cast<std::size_t>(conflict)];
}

/// Whether traffic is lost by it; else it only may be.
constexpr bool loses_traffic(MtuConflict conflict) {
    return conflict != MtuConflict::port_below_uplink;
}

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

/// What a VXLAN header costs on an IPv4 underlay: outer IP, UDP, VXLAN and inner Ethernet (RFC
/// 7348, section 5). IPv6 takes 20 bytes more, but rtnetlink's word on the family is not kept.
inline constexpr std::uint32_t vxlan_overhead_bytes = 50;
/// GENEVE without options (RFC 8926, section 3).
inline constexpr std::uint32_t geneve_overhead_bytes = 50;

/// Encapsulation bytes that a device of this kind adds to what it sends by the device below it; 0:
/// none, or not by a device.
constexpr std::uint32_t overlay_overhead(LinkKind kind) {
    return kind == LinkKind::vxlan    ? vxlan_overhead_bytes
           : kind == LinkKind::geneve ? geneve_overhead_bytes
                                      : 0;
}

/// One row for a bridge and conflict, one for a pair of veth ends, one for an overlay device; by
/// ascending bridge, then larger device. `links` by ascending index.
std::vector<MtuInconsistency> find_mtu_inconsistencies(
    const std::vector<std::shared_ptr<const Link>>& links);

}  // namespace reachd
