#include "agent/mtu_consistency.hpp"

#include <algorithm>
#include <map>
#include <tuple>

#include "agent/link_role.hpp"

namespace reachd {
namespace {

using Links = std::vector<std::shared_ptr<const Link>>;

/// Devices of one bridge, by what they lead to.
struct BridgeMembers {
    const Link* bridge = nullptr;
    bool is_used = false;  ///< by the host itself
    std::vector<const Link*> uplinks;
    std::vector<const Link*> guests;
};

const Link* find(const Links& links, IfIndex index) {
    const auto at =
        std::lower_bound(links.begin(), links.end(), index, [](const auto& link, IfIndex wanted) {
            return link->index < wanted;
        });
    return at != links.end() && (*at)->index == index ? at->get() : nullptr;
}

bool is_smaller(const Link* a, const Link* b) {
    return a->mtu_bytes < b->mtu_bytes;
}

MtuInconsistency conflict_of(MtuConflict conflict,
                             IfIndex bridge,
                             const Link& larger,
                             const Link& smaller,
                             std::uint32_t fits) {
    return {conflict, bridge, larger.index, smaller.index, larger.mtu_bytes, fits, 1};
}

/// The largest of those that exceed `limit`, with how many do.
void add_excess(const std::vector<const Link*>& members,
                const Link& limit,
                MtuConflict conflict,
                IfIndex bridge,
                std::vector<MtuInconsistency>& found) {
    const auto exceeds = [&](const Link* member) { return member->mtu_bytes > limit.mtu_bytes; };
    const auto count = std::count_if(members.begin(), members.end(), exceeds);
    if (count == 0) {
        return;
    }
    const Link& largest = **std::max_element(members.begin(), members.end(), is_smaller);
    found.push_back(conflict_of(conflict, bridge, largest, limit, limit.mtu_bytes));
    found.back().devices = static_cast<std::uint32_t>(count);
}

void check_bridge(const BridgeMembers& members, std::vector<MtuInconsistency>& found) {
    const IfIndex bridge = members.bridge->index;
    if (!members.uplinks.empty()) {
        const Link& uplink =
            **std::min_element(members.uplinks.begin(), members.uplinks.end(), is_smaller);
        add_excess(members.guests, uplink, MtuConflict::port_above_uplink, bridge, found);
        if (members.is_used) {
            add_excess({members.bridge}, uplink, MtuConflict::bridge_above_uplink, bridge, found);
        }
        std::vector<const Link*> smaller = members.guests;
        std::erase_if(smaller, [&](const Link* guest) { return !is_smaller(guest, &uplink); });
        if (!smaller.empty()) {
            const Link& guest = **std::min_element(smaller.begin(), smaller.end(), is_smaller);
            found.push_back(conflict_of(
                MtuConflict::port_below_uplink, bridge, uplink, guest, guest.mtu_bytes));
            found.back().devices = static_cast<std::uint32_t>(smaller.size());
        }
    }
    std::vector<const Link*> ports = members.guests;
    ports.insert(ports.end(), members.uplinks.begin(), members.uplinks.end());
    add_excess(ports, *members.bridge, MtuConflict::port_above_bridge, bridge, found);
}

void check_veth(const Link& end, const Links& links, std::vector<MtuInconsistency>& found) {
    if (end.kind != LinkKind::veth || end.lower_namespace != -1) {
        return;
    }
    const Link* other = find(links, end.lower);
    if (other == nullptr || other->kind != LinkKind::veth || other->mtu_bytes >= end.mtu_bytes) {
        return;
    }
    const IfIndex bridge = end.master != IfIndex::any ? end.master : other->master;
    found.push_back(conflict_of(MtuConflict::veth_ends, bridge, end, *other, other->mtu_bytes));
}

void check_overlay(const Link& overlay, const Links& links, std::vector<MtuInconsistency>& found) {
    const std::uint32_t overhead = overlay_overhead(overlay);
    if (overhead == 0 || overlay.lower_namespace != -1) {
        return;
    }
    const Link* underlay = find(links, overlay.lower);
    if (underlay == nullptr || underlay->mtu_bytes <= overhead ||
        overlay.mtu_bytes + overhead <= underlay->mtu_bytes) {
        return;
    }
    found.push_back(conflict_of(MtuConflict::overlay_above_underlay,
                                overlay.master,
                                overlay,
                                *underlay,
                                underlay->mtu_bytes - overhead));
}

}  // namespace

std::vector<MtuInconsistency> find_mtu_inconsistencies(
    const Links& links, const std::vector<InterfaceAddress>& addresses) {
    std::vector<MtuInconsistency> found;
    std::map<IfIndex, BridgeMembers> bridges;
    for (const auto& link : links) {
        check_veth(*link, links, found);
        check_overlay(*link, links, found);
        if (link->kind == LinkKind::bridge) {
            bridges[link->index].bridge = link.get();
        } else if (link->master != IfIndex::any) {
            BridgeMembers& members = bridges[link->master];
            (is_uplink_kind(link->kind) ? members.uplinks : members.guests).push_back(link.get());
        }
    }
    for (const InterfaceAddress& at : addresses) {
        const auto bridge = bridges.find(at.device);
        if (bridge != bridges.end() && !at.address.is_link_local_v6()) {
            bridge->second.is_used = true;
        }
    }
    for (const auto& entry : bridges) {
        if (entry.second.bridge != nullptr) {  // else a bond's or a VRF's
            check_bridge(entry.second, found);
        }
    }
    std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
        return std::tie(a.bridge, a.larger, a.conflict) < std::tie(b.bridge, b.larger, b.conflict);
    });
    return found;
}

}  // namespace reachd
