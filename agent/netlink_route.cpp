// RTM_NEWROUTE, RTM_DELROUTE and RTM_DELNEXTHOP.
#include <utility>

#include <linux/rtnetlink.h>

#include "agent/netlink_body.hpp"

namespace reachd::netlink {
namespace {

/// RTA_VIA: a gateway of another family than the route's (RFC 5549: IPv4 by an IPv6 router).
std::optional<IpAddress> read_via(const Attribute& attribute, PayloadReader& payload) {
    const auto family = read_struct<std::uint16_t>(attribute.payload);
    const auto known = to_family(family.value_or(family_unspecified));
    if (!known) {
        payload.count_unless(family.has_value());
        return std::nullopt;
    }
    return payload.address(*known, tail(attribute.payload, sizeof *family));
}

void add_next_hop(Route& route, NextHop hop) {
    if (route.next_hops.size() >= next_hops_max) {
        ++route.next_hops_refused;
        return;
    }
    if (hop.gateway && hop.gateway->is_link_local_v6()) {
        hop.gateway->set_scope(hop.device);
    }
    route.next_hops.push_back(hop);
}

/// One rtnexthop and its attributes. A hop without device is what is left of a removed one.
void read_next_hop(int device, ByteView bytes, PayloadReader& payload, Route& route) {
    NextHop hop;
    const auto index = to_index(device);
    hop.device = index.value_or(IfIndex::any);
    AttributeReader attributes(bytes);
    while (const auto attribute = attributes.next()) {
        if (attribute->type == RTA_GATEWAY) {
            hop.gateway = payload.address(route.family, attribute->payload);
        } else if (attribute->type == RTA_VIA) {
            hop.gateway = read_via(*attribute, payload);
        }
    }
    payload.count_unless(!attributes.broken());
    if (index) {
        add_next_hop(route, hop);
    }
}

void read_multipath(const Attribute& multipath, PayloadReader& payload, Route& route) {
    ByteView rest = multipath.payload;
    while (const auto header = read_struct<rtnexthop>(rest)) {
        const std::size_t length = header->rtnh_len;
        if (length < sizeof(rtnexthop) || length > rest.size()) {
            payload.count_unless(false);
            return;
        }
        const auto attributes = rest.subspan(sizeof(rtnexthop), length - sizeof(rtnexthop));
        read_next_hop(header->rtnh_ifindex, attributes, payload, route);
        rest = tail(rest, aligned(length));
    }
    payload.count_unless(rest.empty());
}

void read_route_attribute(const Attribute& attribute,
                          PayloadReader& payload,
                          NextHop& hop,
                          Route& route) {
    const auto number = [&] { return payload.number<std::uint32_t>(attribute).value_or(0); };
    switch (attribute.type) {
        case RTA_TABLE: route.table = number(); break;
        case RTA_PRIORITY: route.metric = number(); break;
        case RTA_NH_ID: route.next_hop_id = number(); break;
        case RTA_DST: route.destination = payload.address(route.family, attribute.payload); break;
        case RTA_SRC: route.source = payload.address(route.family, attribute.payload); break;
        case RTA_PREFSRC:
            route.preferred_source = payload.address(route.family, attribute.payload);
            break;
        case RTA_OIF: hop.device = to_index(number()).value_or(IfIndex::any); break;
        case RTA_GATEWAY: hop.gateway = payload.address(route.family, attribute.payload); break;
        case RTA_VIA: hop.gateway = read_via(attribute, payload); break;
        case RTA_MULTIPATH: read_multipath(attribute, payload, route); break;
        default: break;
    }
}

/// The route of RTM_NEWROUTE or RTM_DELROUTE; a single malformed attribute spoils all of it, since
/// half a route is another route.
std::optional<Route> read_whole_route(ByteView body,
                                      const rtmsg& header,
                                      Family family,
                                      PayloadReader& payload) {
    Route route;
    route.family = family;
    route.prefix_length = header.rtm_dst_len;
    route.source_prefix_length = header.rtm_src_len;
    route.tos = header.rtm_tos;
    route.type = header.rtm_type;
    route.protocol = header.rtm_protocol;
    route.cloned = (header.rtm_flags & RTM_F_CLONED) != 0;
    route.table = header.rtm_table;
    NextHop hop;
    AttributeReader attributes(after<rtmsg>(body));
    while (const auto attribute = attributes.next()) {
        read_route_attribute(*attribute, payload, hop, route);
    }
    if (attributes.broken() || payload.malformed() != 0) {
        return std::nullopt;
    }
    if (hop.device != IfIndex::any) {
        add_next_hop(route, hop);
    }
    return route;
}

}  // namespace

bool read_route(ByteView body, std::uint16_t flags, NetlinkMessage& message) {
    const auto header = read_struct<rtmsg>(body);
    if (!header) {
        return false;
    }
    const auto family = to_family(header->rtm_family);
    if (!family) {
        return true;  // multicast and MPLS routes
    }
    PayloadReader payload;
    auto route = read_whole_route(body, *header, *family, payload);
    message.attributes_malformed = payload.malformed();
    const int bits = address_bits(*family);
    if (!route || route->prefix_length > bits || route->source_prefix_length > bits) {
        return false;
    }
    if (message.type == NetlinkType::del_route) {
        message.body = RouteRemoved{std::move(*route)};
        return true;
    }
    // In an answer to a dump the same bit is NLM_F_ROOT's; the kernel sets it on events only.
    const bool replaces = !message.dump_part && (flags & NLM_F_REPLACE) != 0;
    message.body = RouteChanged{std::move(*route), replaces};
    return true;
}

bool read_removed_next_hop(ByteView body, NetlinkMessage& message) {
    constexpr std::uint16_t nha_id = 1;      // NHA_ID of <linux/nexthop.h>
    constexpr std::size_t header_bytes = 8;  // struct nhmsg
    if (body.size() < header_bytes) {
        return false;
    }
    PayloadReader payload;
    AttributeReader attributes(tail(body, header_bytes));
    NextHopRemoved removed;
    while (const auto attribute = attributes.next()) {
        if (attribute->type == nha_id) {
            removed.id = payload.number<std::uint32_t>(*attribute).value_or(0);
        }
    }
    message.attributes_malformed = payload.malformed();
    message.body = removed;
    return !attributes.broken() && payload.malformed() == 0;
}

}  // namespace reachd::netlink
