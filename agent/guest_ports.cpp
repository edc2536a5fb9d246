#include "agent/guest_ports.hpp"

#include <algorithm>
#include <memory>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "agent/link_role.hpp"
#include "common/glob.hpp"

namespace reachd {
namespace {

/// The other end lives in this namespace too. No `lower` at all: one of the pair is going away.
bool is_patch(const Link& link) {
    return link.kind == LinkKind::veth && link.lower_namespace < 0 && link.lower != IfIndex::any;
}

bool leads_to_guest(const Link& link, bool containers) {
    return link.kind == LinkKind::tap || link.kind == LinkKind::macvtap ||
           (containers && link.kind == LinkKind::veth && link.lower_namespace >= 0);
}

bool matches_any(const std::vector<std::string>& globs, std::string_view name) {
    return std::any_of(globs.begin(), globs.end(), [name](const std::string& glob) {
        return glob_matches(glob, name);
    });
}

/// The id that untagged frames get; 0: none.
std::uint16_t untagged_vlan(const std::vector<VlanRange>& ranges) {
    const auto found = std::find_if(
        ranges.begin(), ranges.end(), [](const VlanRange& range) { return range.pvid; });
    return found == ranges.end() ? std::uint16_t{0} : found->first;
}

/// Bridges and what joins them. Groups are disjoint sets (union by rank of the members), so that
/// rings of patches do no harm.
class BridgeMap {
  public:
    explicit BridgeMap(const std::vector<std::shared_ptr<const Link>>& links);

    struct Bridge {
        const Link* link = nullptr;
        IfIndex joined = IfIndex::any;   ///< towards the head of all that patches join
        IfIndex segment = IfIndex::any;  ///< likewise, without going through Open vSwitch
        std::uint32_t uplinks = 0;
        std::uint32_t patches = 0;
        /// Port of another bridge that a patch from here leads to, the one of the lowest index.
        const Link* patched_to = nullptr;
        std::vector<const Link*> vlans;  ///< VLAN devices on top
    };

    const Bridge* find(IfIndex index) const {
        const auto found = bridges_.find(index);
        return found == bridges_.end() ? nullptr : &found->second;
    }

    /// The bridge that stands for all that are joined with this one.
    const Bridge& head(const Bridge& bridge) const { return head(bridge, &Bridge::joined); }

    const Bridge& segment_head(const Bridge& bridge) const {
        return head(bridge, &Bridge::segment);
    }

  private:
    using Towards = IfIndex Bridge::*;

    void add_port(const Link& port);
    void add_patch(const Link& port, const std::unordered_map<IfIndex, const Link*>& veths);
    const Bridge& head(const Bridge& bridge, Towards towards) const;
    void join(IfIndex a, IfIndex b, Towards towards);
    static bool outranks(const Bridge& a, const Bridge& b);

    std::unordered_map<IfIndex, Bridge> bridges_;
};

BridgeMap::BridgeMap(const std::vector<std::shared_ptr<const Link>>& links) {
    std::unordered_map<IfIndex, const Link*> veths;
    for (const auto& link : links) {
        if (is_switch(*link)) {
            bridges_[link->index] = {link.get(), link->index, link->index, 0, 0, nullptr, {}};
        } else if (is_patch(*link)) {
            veths.emplace(link->index, link.get());
        }
    }
    for (const auto& link : links) {
        add_port(*link);
    }
    // Ranks are known by now: first all ports, then the sets.
    for (const auto& link : links) {
        if (is_patch(*link)) {
            add_patch(*link, veths);
        }
    }
}

void BridgeMap::add_port(const Link& port) {
    if (const auto bridge = bridges_.find(port.master); bridge != bridges_.end()) {
        bridge->second.uplinks += is_uplink_kind(port.kind) ? 1U : 0U;
        bridge->second.patches += is_patch(port) ? 1U : 0U;
    }
    if (port.kind == LinkKind::vlan && port.lower_namespace < 0) {
        if (const auto below = bridges_.find(port.lower); below != bridges_.end()) {
            below->second.vlans.push_back(&port);
        }
    }
}

void BridgeMap::add_patch(const Link& port, const std::unordered_map<IfIndex, const Link*>& veths) {
    const auto other = veths.find(port.lower);
    const auto here = bridges_.find(port.master);
    if (other == veths.end() || here == bridges_.end()) {
        return;
    }
    const auto there = bridges_.find(other->second->master);
    if (there == bridges_.end() || there == here) {
        return;
    }
    if (here->second.patched_to == nullptr) {
        here->second.patched_to = other->second;
    }
    join(here->first, there->first, &Bridge::joined);
    const bool plain =
        here->second.link->kind == LinkKind::bridge && there->second.link->kind == LinkKind::bridge;
    if (plain) {
        join(here->first, there->first, &Bridge::segment);
    }
}

/// Which of two joined bridges the others are said to lead to: the one with the uplink, else the
/// middle of the star, else the older one.
bool BridgeMap::outranks(const Bridge& a, const Bridge& b) {
    const auto rank = [](const Bridge& bridge) {
        return std::tuple(bridge.uplinks == 0, ~bridge.patches, bridge.link->index);
    };
    return rank(a) < rank(b);
}

const BridgeMap::Bridge& BridgeMap::head(const Bridge& bridge, Towards towards) const {
    const Bridge* at = &bridge;
    while (at->*towards != at->link->index) {
        at = &bridges_.at(at->*towards);
    }
    return *at;
}

/// The head of a set outranks its members; each bridge on the way is pointed at the head.
void BridgeMap::join(IfIndex a, IfIndex b, Towards towards) {
    const IfIndex head_a = head(bridges_.at(a), towards).link->index;
    const IfIndex head_b = head(bridges_.at(b), towards).link->index;
    const bool a_leads = outranks(bridges_.at(head_a), bridges_.at(head_b));
    const IfIndex leader = a_leads ? head_a : head_b;
    bridges_.at(a_leads ? head_b : head_a).*towards = leader;
    bridges_.at(a).*towards = leader;
    bridges_.at(b).*towards = leader;
}

class PortFinder {
  public:
    PortFinder(const Topology& topology,
               const GuestDiscoveryConfig& config,
               const std::vector<std::shared_ptr<const Link>>& links)
        : topology_(topology),
          config_(config),
          bridges_(links),
          filters_vlans_(topology.filters_vlans()) {}

    std::optional<Vnic> vnic_of(const Link& link);

  private:
    bool place(const Link& link, Vnic& vnic);
    void place_in_bridge(const Link& link, const BridgeMap::Bridge& bridge, Vnic& vnic) const;
    bool place_on_device(const Link& link, Vnic& vnic) const;
    bool is_wanted(const BridgeMap::Bridge& bridge);
    std::uint16_t vlan_of(const Link& link, const BridgeMap::Bridge& bridge) const;
    void add_host_devices(const BridgeMap::Bridge& bridge, Vnic& vnic) const;

    const Topology& topology_;
    const GuestDiscoveryConfig& config_;
    BridgeMap bridges_;
    bool filters_vlans_;
    std::unordered_map<IfIndex, bool> wanted_;  ///< answers of the globs, by bridge
};

bool PortFinder::is_wanted(const BridgeMap::Bridge& bridge) {
    const auto [known, fresh] = wanted_.try_emplace(bridge.link->index, false);
    if (fresh) {
        known->second = matches_any(config_.bridges, bridge.link->name) ||
                        matches_any(config_.bridges, bridges_.head(bridge).link->name);
    }
    return known->second;
}

/// Of a port of a bridge that does not filter by VLANs, but is patched to one that does (Proxmox
/// with its firewall), the port at the far end of the patch decides.
std::uint16_t PortFinder::vlan_of(const Link& link, const BridgeMap::Bridge& bridge) const {
    if (!filters_vlans_) {
        return 0;
    }
    if (bridge.link->bridge.vlan_filtering) {
        return untagged_vlan(topology_.vlans_of(link.index));
    }
    const Link* far = bridge.patched_to;
    const auto* there = far == nullptr ? nullptr : bridges_.find(far->master);
    const bool decides = there != nullptr && there->link->kind == LinkKind::bridge &&
                         there->link->bridge.vlan_filtering;
    return decides ? untagged_vlan(topology_.vlans_of(far->index)) : std::uint16_t{0};
}

void PortFinder::add_host_devices(const BridgeMap::Bridge& bridge, Vnic& vnic) const {
    const bool filters = bridge.link->bridge.vlan_filtering;
    if (!filters || untagged_vlan(topology_.vlans_of(bridge.link->index)) == vnic.vlan) {
        vnic.host_devices.push_back(bridge.link->index);
    }
    for (const Link* vlan : bridge.vlans) {
        if (filters && vlan->detail == vnic.vlan) {
            vnic.host_devices.push_back(vlan->index);
        }
    }
}

void PortFinder::place_in_bridge(const Link& link,
                                 const BridgeMap::Bridge& bridge,
                                 Vnic& vnic) const {
    const BridgeMap::Bridge& uplink = bridges_.head(bridge);
    vnic.bridge = bridge.link->index;
    vnic.bridge_name = bridge.link->name;
    vnic.uplink_bridge = uplink.link->index;
    vnic.uplink_bridge_name = uplink.link->name;
    if (bridge.link->kind == LinkKind::openvswitch) {
        return;
    }
    const BridgeMap::Bridge& segment = bridges_.segment_head(bridge);
    vnic.segment = segment.link->index;
    vnic.vlan = vlan_of(link, bridge);
    add_host_devices(segment, vnic);
    if (&segment != &bridge) {
        add_host_devices(bridge, vnic);
    }
}

/// A macvtap shares the segment of the device below it.
bool PortFinder::place_on_device(const Link& link, Vnic& vnic) const {
    const bool lower_here = link.lower_namespace < 0 && link.lower != IfIndex::any;
    const std::string_view lower = lower_here ? topology_.name_of(link.lower) : std::string_view();
    vnic.may_send = false;
    if (!lower.empty()) {
        vnic.segment = link.lower;
        vnic.host_devices.push_back(link.lower);
    }
    return matches_any(config_.bridges, lower);
}

/// False: the operator does not want it.
bool PortFinder::place(const Link& link, Vnic& vnic) {
    if (link.kind == LinkKind::macvtap) {
        return place_on_device(link, vnic);
    }
    const auto* bridge = bridges_.find(link.master);
    if (bridge == nullptr) {
        return true;
    }
    if (!is_wanted(*bridge)) {
        return false;
    }
    place_in_bridge(link, *bridge, vnic);
    return true;
}

std::optional<Vnic> PortFinder::vnic_of(const Link& link) {
    if (!leads_to_guest(link, config_.containers) || matches_any(config_.exclude, link.name)) {
        return std::nullopt;
    }
    Vnic vnic;
    vnic.index = link.index;
    vnic.generation = link.generation;
    vnic.device = link.name;
    vnic.kind = link.kind;
    vnic.segment = link.index;
    vnic.mac = link.mac;
    vnic.peer_namespace = link.kind == LinkKind::veth ? link.lower_namespace : -1;
    vnic.owner_uid = link.owner_uid;
    vnic.up = link.is_up();
    vnic.link_changes = link.carrier_changes + topology_.admin_changes_of(link.index);
    if (!place(link, vnic)) {
        return std::nullopt;
    }
    vnic.zone = vnic.host_devices.empty() ? link.index : vnic.host_devices.front();
    vnic.zone_name = topology_.name_of(vnic.zone);
    return vnic;
}

}  // namespace

std::vector<Vnic> guest_ports(const Topology& topology, const GuestDiscoveryConfig& config) {
    const auto links = topology.links();
    PortFinder finder(topology, config, links);
    std::vector<Vnic> ports;
    for (const auto& link : links) {
        if (auto vnic = finder.vnic_of(*link)) {
            ports.push_back(std::move(*vnic));
        }
    }
    return ports;
}

}  // namespace reachd
