#include "agent/mtu_way.hpp"

#include <algorithm>

#include "agent/mtu_consistency.hpp"

namespace reachd {
namespace {

/// Devices below one another: no host has more, and a circle must end.
constexpr int depth_max = 8;

/// The device below this one in the same namespace, if frames leave by it.
IfIndex below(const Link& link) {
    switch (link.kind) {
        case LinkKind::vlan:
        case LinkKind::macvlan:
        case LinkKind::macvtap:
        case LinkKind::ipvlan:
        case LinkKind::vxlan:
        case LinkKind::geneve: return link.lower_namespace == -1 ? link.lower : IfIndex::any;
        case LinkKind::physical:
        case LinkKind::loopback:
        case LinkKind::bridge:
        case LinkKind::veth:
        case LinkKind::tun:
        case LinkKind::tap:
        case LinkKind::gre:
        case LinkKind::bond:
        case LinkKind::team:
        case LinkKind::vrf:
        case LinkKind::dummy:
        case LinkKind::ifb:
        case LinkKind::wireguard:
        case LinkKind::openvswitch:
        case LinkKind::other: return IfIndex::any;
    }
    return IfIndex::any;
}

void lower_to(WayMtu& way, std::uint32_t bytes, IfIndex device) {
    if (bytes < way.smallest) {
        way.smallest = bytes;
        way.device = device;
    }
}

}  // namespace

WayMtu mtu_of(const MtuWay& way, const Topology& topology) {
    const auto egress = topology.link(way.egress);
    if (!egress || egress->kind == LinkKind::loopback || egress->mtu_bytes == 0) {
        return {};
    }
    WayMtu mtu{std::min(egress->mtu_bytes, expected_mtu_max), egress->mtu_bytes, way.egress};
    std::uint32_t overhead = 0;
    auto link = egress;
    for (int depth = 0; depth < depth_max; ++depth) {
        const bool is_overlay = overlay_overhead(*link) != 0;
        overhead += overlay_overhead(*link);
        const auto lower = topology.link(below(*link));
        if (!lower || lower->mtu_bytes <= overhead) {
            break;
        }
        lower_to(mtu, lower->mtu_bytes - overhead, lower->index);
        if (is_overlay) {
            mtu.expected = std::min(mtu.expected, lower->mtu_bytes - overhead);
        }
        link = lower;
    }
    if (const auto port = topology.link(way.port); port && port->mtu_bytes != 0) {
        lower_to(mtu, port->mtu_bytes, way.port);
    }
    return mtu;
}

}  // namespace reachd
