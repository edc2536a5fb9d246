// Fuzz target: the rtnetlink parser alone, on the bytes of one datagram. Whatever they are, each
// message keeps the promises of agent/netlink_message.hpp, whatever came before it.
#include "agent/netlink_message.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>
#include <variant>
#include <vector>

#include <linux/netlink.h>

#include "common/bytes.hpp"
#include "common/check.hpp"

namespace reachd {
namespace {

constexpr int errno_max = 4095;  // MAX_ERRNO
constexpr std::uint16_t vlan_id_max = 4094;

void check_index(IfIndex index) {
    ENSURE(index != IfIndex::any);
    ENSURE(static_cast<std::uint32_t>(index) <= std::numeric_limits<std::int32_t>::max());
}

void check_scope(const IpAddress& address, IfIndex device) {
    ENSURE(address.scope() == (address.is_link_local_v6() ? device : IfIndex::any));
}

int address_bits(Family family) {
    return family == Family::ipv4 ? 32 : 128;
}

void check_name(std::string_view name) {
    ENSURE(!name.empty() && name.size() <= 4 * device_name_bytes_max);
    for (const char character : name) {
        const auto byte = static_cast<unsigned char>(character);
        ENSURE(byte >= 0x20 && byte != 0x7f);
    }
}

void check_vlans(const std::vector<VlanRange>& ranges) {
    ENSURE(ranges.size() <= vlan_ranges_max);
    for (const auto& range : ranges) {
        ENSURE(range.first >= 1 && range.first <= range.last && range.last <= vlan_id_max);
    }
}

void check_virtual_functions(const std::vector<VirtualFunction>& functions) {
    ENSURE(functions.size() <= virtual_functions_max);
    for (const auto& vf : functions) {
        ENSURE(vf.vlan <= vlan_id_max);
        ENSURE(vf.policy <= VirtualFunction::LinkPolicy::disable);
        ENSURE(!vf.mac || !vf.mac->is_zero());
    }
}

/// One overload for each body; those without promises share the last.
struct Promises {
    const NetlinkMessage& message;

    void operator()(const LinkChanged& link) const {
        check_index(link.index);
        ENSURE(!link.complete || (link.name && link.kind && link.mtu_bytes));
        ENSURE(!link.complete || message.attributes_malformed == 0);
        ENSURE(link.master != link.index);
        ENSURE(link.lower != link.index || link.lower_namespace);
        ENSURE(!link.lower_namespace || (link.lower && *link.lower_namespace >= 0));
        ENSURE(!link.kind || *link.kind <= LinkKind::other);
        ENSURE(!link.oper_state || *link.oper_state <= OperState::up);
        ENSURE(!link.port || link.port->state <= PortState::blocking);
        ENSURE(!link.bridge || link.kind == LinkKind::bridge);
        ENSURE(!link.bridge || link.bridge->default_pvid <= vlan_id_max);
        if (link.name) {
            check_name(*link.name);
        }
        if (link.vlans) {
            ENSURE(!link.complete);  // AF_BRIDGE only
            check_vlans(*link.vlans);
        }
        if (link.virtual_functions) {
            check_virtual_functions(*link.virtual_functions);
        }
    }

    void operator()(const LinkRemoved& removed) const { check_index(removed.index); }

    void operator()(const LinkLeftBridge& left) const { check_index(left.index); }

    void operator()(const RouteChanged& changed) const {
        check(changed.route);
        ENSURE(!changed.replaces || !message.dump_part);
    }

    void operator()(const RouteRemoved& removed) const { check(removed.route); }

    void operator()(const AddressChanged& changed) const { check(changed.address); }

    void operator()(const AddressRemoved& removed) const { check(removed.address); }

    void operator()(const NeighbourChanged& neighbour) const {
        check_index(neighbour.device);
        check_scope(neighbour.address, neighbour.device);
        ENSURE(!neighbour.address.is_multicast());
        ENSURE(message.type == NetlinkType::new_neighbour);
    }

    void operator()(const NeighbourRemoved& neighbour) const {
        check_index(neighbour.device);
        check_scope(neighbour.address, neighbour.device);
    }

    void operator()(const FdbChanged& entry) const {
        check_index(entry.bridge);
        check_index(entry.port);
        ENSURE(entry.vlan <= vlan_id_max && !entry.mac.is_group());
    }

    void operator()(const FdbRemoved& entry) const {
        check_index(entry.bridge);
        check_index(entry.port);
        ENSURE(entry.vlan <= vlan_id_max && !entry.mac.is_group());
        ENSURE(message.type == NetlinkType::del_neighbour || !message.dump_part);
    }

    void operator()(const LinkStatistics& statistics) const { check_index(statistics.index); }

    void operator()(const DumpDone& done) const {
        ENSURE(done.error >= 0 && done.error <= errno_max);
    }

    void operator()(const NetlinkError& error) const {
        ENSURE(error.error >= 0 && error.error <= errno_max);
    }

    template <class Body>
    void operator()(const Body&) const {}

  private:
    static void check(const Route& route) {
        ENSURE(route.next_hops.size() <= next_hops_max);
        ENSURE(route.prefix_length <= address_bits(route.family));
        ENSURE(!route.destination || route.destination->family() == route.family);
        for (const auto& hop : route.next_hops) {
            check_index(hop.device);
            if (hop.gateway) {
                check_scope(*hop.gateway, hop.device);
            }
        }
    }

    static void check(const InterfaceAddress& address) {
        check_index(address.device);
        check_scope(address.address, address.device);
        ENSURE(address.prefix_length <= address_bits(address.address.family()));
    }
};

/// A reader uses its storage again, and must not remember the message before: one that starts at
/// this message tells the same.
void check_alone(const NetlinkMessage& message, ByteView from_here) {
    NetlinkReader reader(from_here);
    const auto* alone = reader.next();
    ENSURE(alone != nullptr);
    ENSURE(alone->type == message.type && alone->sequence == message.sequence);
    ENSURE(alone->dump_part == message.dump_part);
    ENSURE(alone->dump_interrupted == message.dump_interrupted);
    ENSURE(alone->attributes_malformed == message.attributes_malformed);
    ENSURE(alone->body.index() == message.body.index());
    const auto* link = std::get_if<LinkChanged>(&message.body);
    const auto* other = std::get_if<LinkChanged>(&alone->body);
    ENSURE(link == nullptr || (link->complete == other->complete && link->name == other->name &&
                               link->master == other->master && link->vlans == other->vlans));
}

/// From the first message to the next; to the end where its header cannot be true.
std::size_t step(ByteView rest) {
    std::uint32_t length = 0;
    if (rest.size() >= sizeof(nlmsghdr)) {
        std::memcpy(&length, rest.data(), sizeof length);
    }
    const bool good = length >= sizeof(nlmsghdr) && length <= rest.size();
    return good ? (std::size_t{length} + 3) / 4 * 4 : rest.size();
}

void read(ByteView datagram) {
    NetlinkReader reader(datagram);
    ByteView rest = datagram;
    while (const auto* message = reader.next()) {
        ENSURE(!rest.empty());
        ENSURE(static_cast<std::size_t>(message->type) < netlink_type_count);
        std::visit(Promises{*message}, message->body);
        check_alone(*message, rest);
        rest = tail(rest, step(rest));
    }
    ENSURE(rest.empty());
}

}  // namespace
}  // namespace reachd

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    reachd::read(reachd::ByteView(data, size));
    return 0;
}
