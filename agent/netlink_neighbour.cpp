// Addresses (RTM_NEWADDR, RTM_DELADDR) and what shares the neighbours' messages: the neighbours of
// IPv4 and IPv6 and the forwarding tables of bridges (RTM_NEWNEIGH, RTM_DELNEIGH).
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include "agent/netlink_body.hpp"

namespace reachd::netlink {
namespace {

void set_scope(IpAddress& address, IfIndex device) {
    if (address.is_link_local_v6()) {
        address.set_scope(device);
    }
}

NeighbourState to_neighbour_state(std::uint16_t state) {
    if ((state & NUD_PERMANENT) != 0) {
        return NeighbourState::permanent;
    }
    const bool resolved = (state & (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE)) != 0;
    return resolved ? NeighbourState::resolved : NeighbourState::unresolved;
}

bool read_ip_neighbour(const ndmsg& header,
                       Family family,
                       ByteView attributes_bytes,
                       NetlinkMessage& message) {
    PayloadReader payload;
    NeighbourChanged neighbour;
    std::optional<IpAddress> address;
    AttributeReader attributes(attributes_bytes);
    while (const auto attribute = attributes.next()) {
        if (attribute->type == NDA_DST) {
            address = payload.address(family, attribute->payload);
        } else if (attribute->type == NDA_LLADDR) {
            neighbour.mac = MacAddress::from_bytes(attribute->payload);
        }
    }
    message.attributes_malformed = payload.malformed();
    const auto device = to_index(header.ndm_ifindex);
    if (attributes.broken() || !address || !device) {
        return false;
    }
    // A proxy entry is an address that we answer for; it has no link-layer address.
    if (address->is_multicast() || (header.ndm_flags & NTF_PROXY) != 0) {
        return true;
    }
    set_scope(*address, *device);
    const bool needs_none = (header.ndm_state & NUD_NOARP) != 0;
    if (message.type == NetlinkType::del_neighbour || (needs_none && !message.dump_part)) {
        message.body = NeighbourRemoved{*device, *address};
    } else if (!needs_none) {
        neighbour.device = *device;
        neighbour.address = *address;
        neighbour.state = to_neighbour_state(header.ndm_state);
        neighbour.router = (header.ndm_flags & NTF_ROUTER) != 0;
        message.body = neighbour;
    }
    return true;
}

struct FdbEntry {
    std::optional<IfIndex> bridge{};
    std::optional<MacAddress> mac{};
    std::uint16_t vlan = 0;
};

FdbEntry read_fdb_entry(AttributeReader& attributes, PayloadReader& payload) {
    FdbEntry entry;
    while (const auto attribute = attributes.next()) {
        switch (attribute->type) {
            case NDA_LLADDR: entry.mac = MacAddress::from_bytes(attribute->payload); break;
            case NDA_MASTER:
                entry.bridge = to_index(payload.number<std::uint32_t>(*attribute).value_or(0));
                break;
            case NDA_VLAN:
                entry.vlan = payload.number<std::uint16_t>(*attribute).value_or(0);
                payload.count_unless(entry.vlan <= vlan_id_max);
                break;
            default: break;
        }
    }
    return entry;
}

bool read_fdb(const ndmsg& header, ByteView attributes_bytes, NetlinkMessage& message) {
    PayloadReader payload;
    AttributeReader attributes(attributes_bytes);
    const auto entry = read_fdb_entry(attributes, payload);
    message.attributes_malformed = payload.malformed();
    if (attributes.broken() || payload.malformed() != 0) {
        return false;
    }
    const auto port = to_index(header.ndm_ifindex);
    if (!entry.bridge || !port) {
        return port.has_value();  // a device's own table: a VXLAN's, a NIC's filter
    }
    if (!entry.mac) {
        return false;
    }
    const bool own = (header.ndm_state & NUD_PERMANENT) != 0;
    const bool removed = message.type == NetlinkType::del_neighbour;
    if (entry.mac->is_group() || (own && (removed || message.dump_part))) {
        return true;
    }
    if (removed || own) {
        message.body = FdbRemoved{*entry.bridge, *port, *entry.mac, entry.vlan};
    } else {
        const bool fixed = (header.ndm_state & NUD_NOARP) != 0;
        message.body = FdbChanged{*entry.bridge, *port, *entry.mac, entry.vlan, fixed};
    }
    return true;
}

}  // namespace

bool read_address(ByteView body, NetlinkMessage& message) {
    const auto header = read_struct<ifaddrmsg>(body);
    if (!header) {
        return false;
    }
    const auto family = to_family(header->ifa_family);
    if (!family) {
        return true;
    }
    PayloadReader payload;
    std::optional<IpAddress> local;
    std::optional<IpAddress> prefix;  // of a point-to-point link the other end's
    std::uint32_t flags = header->ifa_flags;
    AttributeReader attributes(after<ifaddrmsg>(body));
    while (const auto attribute = attributes.next()) {
        switch (attribute->type) {
            case IFA_LOCAL: local = payload.address(*family, attribute->payload); break;
            case IFA_ADDRESS: prefix = payload.address(*family, attribute->payload); break;
            case IFA_FLAGS: flags = payload.number<std::uint32_t>(*attribute).value_or(0); break;
            default: break;
        }
    }
    message.attributes_malformed = payload.malformed();
    const auto device = to_index(header->ifa_index);
    auto address = local ? local : prefix;
    if (attributes.broken() || payload.malformed() != 0 || !device || !address ||
        header->ifa_prefixlen > address_bits(*family)) {
        return false;
    }
    set_scope(*address, *device);
    const InterfaceAddress told{*device, *address, header->ifa_prefixlen, flags};
    if (message.type == NetlinkType::del_address) {
        message.body = AddressRemoved{told};
    } else {
        message.body = AddressChanged{told};
    }
    return true;
}

bool read_neighbour(ByteView body, NetlinkMessage& message) {
    const auto header = read_struct<ndmsg>(body);
    if (!header) {
        return false;
    }
    const auto attributes = after<ndmsg>(body);
    if (header->ndm_family == family_bridge) {
        return read_fdb(*header, attributes, message);
    }
    const auto family = to_family(header->ndm_family);
    return !family || read_ip_neighbour(*header, *family, attributes, message);
}

}  // namespace reachd::netlink
