// MTUs of this host's own devices that do not fit together: known from the links alone, before any
// packet is lost. Pure; says what is, not how bad it is for whom.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/link.hpp"
#include "common/path_mtu.hpp"

namespace reachd {

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
