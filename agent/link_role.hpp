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

inline bool is_switch(const Link& link) {
    return link.kind == LinkKind::bridge || link.kind == LinkKind::openvswitch;
}

}  // namespace reachd
