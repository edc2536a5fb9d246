#include "exporters/topology_view.hpp"

#include <algorithm>

#include "common/check.hpp"

namespace reachd {
namespace {

const TopologySnapshot& topology_of(const Snapshot& snapshot) {
    static const TopologySnapshot none;
    return snapshot.topology ? *snapshot.topology : none;
}

}  // namespace

InterfaceKind interface_kind(const Link& link, const DeviceFacts* facts) {
    switch (link.kind) {
        case LinkKind::physical:
            return facts != nullptr && facts->virtual_function ? InterfaceKind::vf
                                                               : InterfaceKind::physical;
        case LinkKind::bridge: return InterfaceKind::bridge;
        case LinkKind::veth: return InterfaceKind::veth;
        case LinkKind::tap: return InterfaceKind::tap;
        case LinkKind::macvtap: return InterfaceKind::macvtap;
        case LinkKind::vlan: return InterfaceKind::vlan;
        case LinkKind::vxlan: return InterfaceKind::vxlan;
        case LinkKind::bond: return InterfaceKind::bond;
        case LinkKind::openvswitch: return InterfaceKind::ovs;
        case LinkKind::loopback:
        case LinkKind::tun:
        case LinkKind::macvlan:
        case LinkKind::ipvlan:
        case LinkKind::geneve:
        case LinkKind::gre:
        case LinkKind::team:
        case LinkKind::vrf:
        case LinkKind::dummy:
        case LinkKind::ifb:
        case LinkKind::wireguard:
        case LinkKind::other: return InterfaceKind::other;
    }
    return InterfaceKind::other;
}

TopologyView::TopologyView(const Snapshot& snapshot)
    : snapshot_(&snapshot),
      topology_(&topology_of(snapshot)) {
    ENSURE(snapshot.link_counters.empty() || snapshot.link_counters.size() == size());
    ENSURE(std::all_of(topology_->links.begin(), topology_->links.end(), [](const auto& link) {
        return link != nullptr;
    }));
}

const DeviceFacts* TopologyView::facts(const Link& link) const {
    const auto& devices = snapshot_->devices;
    const auto found = std::lower_bound(
        devices.begin(), devices.end(), link.index, [](const auto& device, IfIndex index) {
            return device.index < index;
        });
    return found != devices.end() && found->index == link.index ? &*found : nullptr;
}

const GuestSnapshot* TopologyView::guest(const Link& link) const {
    const auto& guests = snapshot_->guests;
    const auto found = std::lower_bound(
        guests.begin(), guests.end(), link.index, [](const auto& guest, IfIndex index) {
            return guest.port < index;
        });
    return found != guests.end() && found->port == link.index ? &*found : nullptr;
}

std::optional<std::size_t> TopologyView::row_of(IfIndex index) const {
    const auto& links = topology_->links;
    const auto found =
        std::lower_bound(links.begin(), links.end(), index, [](const auto& link, IfIndex wanted) {
            return link->index < wanted;
        });
    if (index == IfIndex::any || found == links.end() || (*found)->index != index) {
        return std::nullopt;
    }
    return static_cast<std::size_t>(found - links.begin());
}

std::string_view TopologyView::name_of(IfIndex index) const {
    const auto row = row_of(index);
    return row ? std::string_view(link(*row).name) : std::string_view();
}

std::string TopologyView::address_text(const IpAddress& address) const {
    return address.is_unspecified() ? std::string() : address.to_string(name_of(address.scope()));
}

std::optional<std::size_t> TopologyView::bridge_of(const Link& link) const {
    const auto master = row_of(link.master);
    return master && this->link(*master).kind == LinkKind::bridge ? master : std::nullopt;
}

}  // namespace reachd
