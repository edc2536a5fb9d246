// What a device is for on this host, as far as its kind tells.
#pragma once

#include "common/link.hpp"

namespace reachd {

/// Leads out of the host, rather than to a guest of it.
constexpr bool is_uplink_kind(LinkKind kind) {
    return kind == LinkKind::physical || kind == LinkKind::bond || kind == LinkKind::team ||
           kind == LinkKind::vlan || kind == LinkKind::vxlan || kind == LinkKind::geneve ||
           kind == LinkKind::gre;
}

/// A guest is, or may be, behind it: a tap, or a veth whose other end lives in another namespace.
inline bool is_guest_kind(const Link& link) {
    return link.kind == LinkKind::tap || (link.kind == LinkKind::veth && link.lower_namespace >= 0);
}

inline bool is_switch(const Link& link) {
    return link.kind == LinkKind::bridge || link.kind == LinkKind::openvswitch;
}

}  // namespace reachd
