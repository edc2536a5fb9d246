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
/// 7348, section 5); as much as GENEVE without options (RFC 8926, section 3).
inline constexpr std::uint32_t overlay_overhead_bytes = 50;
/// An outer header of IPv6 is so much larger.
inline constexpr std::uint32_t ipv6_more_bytes = 20;

/// Encapsulation bytes that this device adds to what it sends by the device below it; 0: none, or
/// not by a device.
constexpr std::uint32_t overlay_overhead(const Link& link) {
    const bool is_overlay = link.kind == LinkKind::vxlan || link.kind == LinkKind::geneve;
    return is_overlay ? overlay_overhead_bytes + (link.over_ipv6 ? ipv6_more_bytes : 0) : 0;
}

/// One row for a bridge and conflict, one for a pair of veth ends, one for an overlay device; by
/// ascending bridge, then larger device. `links` by ascending index; `addresses` of this host.
std::vector<MtuInconsistency> find_mtu_inconsistencies(
    const std::vector<std::shared_ptr<const Link>>& links,
    const std::vector<InterfaceAddress>& addresses);

}  // namespace reachd
