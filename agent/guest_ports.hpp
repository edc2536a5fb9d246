// Which devices of the host lead to guests: a pure function from the topology and the operator's
// filters. A tap or a veth into another namespace that is a port of a bridge is a guest's; a veth
// with both ends here (Proxmox' fwln/fwpr, OpenStack's qvb/qvo) is a patch between two bridges, and
// is followed. It remembers nothing: that a port had a bridge and lost it is GuestTable's to know.
//
// What it cannot tell: representors of virtual functions, since rtnetlink shows them as any other
// hardware, are left out; so are vhost-user ports, which have no device. Which VLAN a port of Open
// vSwitch is in only that switch knows, so each of its ports is taken for a segment of its own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/config.hpp"
#include "agent/topology.hpp"
#include "common/address.hpp"
#include "common/link.hpp"
#include "common/mac_address.hpp"

namespace reachd {

/// A device behind which there is a guest, or may be. Its identity is index and generation.
struct Vnic {
    IfIndex index = IfIndex::any;
    std::uint64_t generation = 0;
    std::string device;
    LinkKind kind = LinkKind::tap;  ///< tap, veth or macvtap
    /// It is a port of this bridge or switch; any: of none, and it is a guest's only if it was.
    IfIndex bridge = IfIndex::any;
    std::string bridge_name;
    /// Where the patches from `bridge` lead: the bridge with the uplink. Mostly `bridge` itself.
    IfIndex uplink_bridge = IfIndex::any;
    std::string uplink_bridge_name;
    /// Ports of one segment and VLAN hear each other, so an address belongs to one of them.
    IfIndex segment = IfIndex::any;
    std::uint16_t vlan = 0;  ///< of its untagged frames, where a bridge filters; else 0
    /// Devices by which the host itself is on that segment, the most likely first: the bridge with
    /// the uplink, its own bridge, VLAN devices on top of them.
    std::vector<IfIndex> host_devices;
    /// The zone of link-local addresses there: the first of host_devices, else itself.
    IfIndex zone = IfIndex::any;
    std::string zone_name;
    std::optional<MacAddress> mac;     ///< of this end, not of the guest
    std::int32_t peer_namespace = -1;  ///< of a veth's other end, as this namespace numbers it
    std::optional<std::uint32_t> owner_uid{};  ///< of a tap; nothing: nobody's in particular
    bool up = false;
    /// Rises with each change of its carrier or admin state, also between two looks at it.
    std::uint64_t link_changes = 0;
    /// False: macvtap. A frame sent on it goes to the wire, not to the guest.
    bool may_send = true;

    bool in_bridge() const { return bridge != IfIndex::any; }

    friend bool operator==(const Vnic&, const Vnic&) = default;
};

/// By ascending index, after `bridges` (which match a port's bridge, the bridge that its patches
/// lead to, or the device below a macvtap), `containers` and `exclude` (by device name). Taps and
/// veths in no bridge are among them, see Vnic::bridge. Two passes over the links.
std::vector<Vnic> guest_ports(const Topology& topology, const GuestDiscoveryConfig& config);

}  // namespace reachd
