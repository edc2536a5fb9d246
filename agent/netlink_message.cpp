#include "agent/netlink_message.hpp"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include <linux/if.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

namespace reachd {
namespace {

constexpr std::size_t alignment = 4;        // NLMSG_ALIGNTO, NLA_ALIGNTO, RTNH_ALIGNTO
constexpr std::size_t kind_bytes_max = 55;  // MODULE_NAME_LEN - 1: kinds name kernel modules

std::size_t aligned(std::size_t size) {
    return (size + alignment - 1) & ~(alignment - 1);
}

/// A kernel structure out of the front of `bytes`. Netlink is in host byte order, and a copy needs
/// no alignment.
template <class Struct>
std::optional<Struct> read_struct(ByteView bytes) {
    static_assert(std::is_trivially_copyable_v<Struct>);
    if (bytes.size() < sizeof(Struct)) {
        return std::nullopt;
    }
    Struct value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
}

/// What follows a header of type `Struct` and its padding.
template <class Struct>
ByteView after(ByteView bytes) {
    return tail(bytes, aligned(sizeof(Struct)));
}

struct Attribute {
    std::uint16_t type = 0;
    ByteView payload{};
};

/// Walks a chain of attributes. Like the kernel it lets up to three stray bytes at the end pass.
class AttributeReader {
  public:
    explicit AttributeReader(ByteView bytes) : rest_(bytes) {}

    std::optional<Attribute> next() {
        const auto header = read_struct<nlattr>(rest_);
        if (!header) {
            return std::nullopt;
        }
        const std::size_t length = header->nla_len;
        if (length < sizeof(nlattr) || length > rest_.size()) {
            broken_ = true;
            return std::nullopt;
        }
        Attribute attribute;
        attribute.type = header->nla_type & static_cast<std::uint16_t>(NLA_TYPE_MASK);
        attribute.payload = rest_.subspan(sizeof(nlattr), length - sizeof(nlattr));
        rest_ = tail(rest_, aligned(length));
        return attribute;
    }

    /// The chain ended in a length that cannot be true.
    bool broken() const { return broken_; }

  private:
    ByteView rest_;
    bool broken_ = false;
};

/// Reads the payload of known attributes and counts those of a wrong length.
class PayloadReader {
  public:
    template <class Value>
    std::optional<Value> number(const Attribute& attribute) {
        const auto value = read_struct<Value>(attribute.payload);
        count_unless(value.has_value());
        return value;
    }

    /// A name: up to its first NUL, at most `bytes_max` bytes, not empty.
    std::optional<std::string> text(const Attribute& attribute, std::size_t bytes_max) {
        const auto& bytes = attribute.payload;
        const auto end = std::find(bytes.begin(), bytes.end(), std::uint8_t{0});
        const auto length = static_cast<std::size_t>(end - bytes.begin());
        const bool good = length > 0 && length <= bytes_max;
        count_unless(good);
        return good ? std::optional(device_text(bytes.first(length))) : std::nullopt;
    }

    std::optional<IpAddress> address(Family family, ByteView bytes) {
        const std::size_t size = family == Family::ipv4 ? 4 : 16;
        const auto address = bytes.size() == size ? IpAddress::from_bytes(bytes) : std::nullopt;
        count_unless(address.has_value());
        return address;
    }

    void count_unless(bool good) { malformed_ += good ? 0U : 1U; }

    std::uint32_t malformed() const { return malformed_; }

  private:
    std::uint32_t malformed_ = 0;
};

std::optional<IfIndex> to_index(std::int64_t number) {
    if (number <= 0 || number > INT32_MAX) {
        return std::nullopt;
    }
    return static_cast<IfIndex>(number);
}

OperState to_oper_state(std::uint8_t value) {
    return value <= IF_OPER_UP ? static_cast<OperState>(value) : OperState::unknown;
}

static_assert(static_cast<int>(OperState::up) == IF_OPER_UP);
static_assert(static_cast<int>(OperState::lower_layer_down) == IF_OPER_LOWERLAYERDOWN);

// --- Links -----------------------------------------------------------------------------------

/// IFLA_LINKINFO. Of its attributes only the kind matters here; the level below is never entered.
void read_link_info(const Attribute& info, PayloadReader& payload, LinkChanged& link) {
    AttributeReader nested(info.payload);
    while (const auto attribute = nested.next()) {
        if (attribute->type == IFLA_INFO_KIND) {
            link.kind = payload.text(*attribute, kind_bytes_max);
        }
    }
    payload.count_unless(!nested.broken());
}

void read_link_attribute(const Attribute& attribute, PayloadReader& payload, LinkChanged& link) {
    switch (attribute.type) {
        case IFLA_IFNAME: link.name = payload.text(attribute, device_name_bytes_max); break;
        case IFLA_MTU: link.mtu_bytes = payload.number<std::uint32_t>(attribute); break;
        case IFLA_OPERSTATE:
            if (const auto state = payload.number<std::uint8_t>(attribute)) {
                link.oper_state = to_oper_state(*state);
            }
            break;
        case IFLA_MASTER:
            if (const auto number = payload.number<std::uint32_t>(attribute)) {
                link.master = to_index(*number);
            }
            break;
        case IFLA_LINKINFO: read_link_info(attribute, payload, link); break;
        default: break;  // not a closed set: new kernels bring new attributes
    }
}

bool read_new_link(ByteView body, NetlinkMessage& message) {
    const auto header = read_struct<ifinfomsg>(body);
    const auto index = header ? to_index(header->ifi_index) : std::nullopt;
    if (!index) {
        return false;
    }
    if (header->ifi_family != AF_UNSPEC && header->ifi_family != AF_BRIDGE) {
        return true;  // protocol settings of a link (AF_INET6), not the link
    }
    LinkChanged link;
    link.index = *index;
    link.admin_up = (header->ifi_flags & IFF_UP) != 0;
    link.carrier = (header->ifi_flags & IFF_LOWER_UP) != 0;
    link.hardware_type = header->ifi_type;
    PayloadReader payload;
    AttributeReader attributes(after<ifinfomsg>(body));
    while (const auto attribute = attributes.next()) {
        read_link_attribute(*attribute, payload, link);
    }
    if (attributes.broken()) {
        return false;
    }
    // A full description always has name and MTU; wireless events of AF_UNSPEC have no MTU.
    link.complete =
        header->ifi_family == AF_UNSPEC && link.name && link.mtu_bytes && payload.malformed() == 0;
    message.attributes_malformed = payload.malformed();
    message.body = std::move(link);
    return true;
}

bool read_removed_link(ByteView body, NetlinkMessage& message) {
    const auto header = read_struct<ifinfomsg>(body);
    const auto index = header ? to_index(header->ifi_index) : std::nullopt;
    if (!index) {
        return false;
    }
    if (header->ifi_family == AF_UNSPEC) {
        message.body = LinkRemoved{*index};
        return true;
    }
    if (header->ifi_family != AF_BRIDGE) {
        return true;
    }
    LinkChanged port;
    PayloadReader payload;
    AttributeReader attributes(after<ifinfomsg>(body));
    while (const auto attribute = attributes.next()) {
        if (attribute->type == IFLA_MASTER) {
            read_link_attribute(*attribute, payload, port);
        }
    }
    message.attributes_malformed = payload.malformed();
    message.body = LinkLeftBridge{*index, port.master.value_or(IfIndex::any)};
    return !attributes.broken();
}

// --- Routes ----------------------------------------------------------------------------------

/// RTA_VIA: a gateway of another family than the route's (RFC 5549: IPv4 by an IPv6 router).
std::optional<IpAddress> read_via(const Attribute& attribute, PayloadReader& payload) {
    const auto family = read_struct<std::uint16_t>(attribute.payload);
    if (!family || (*family != AF_INET && *family != AF_INET6)) {
        payload.count_unless(family.has_value());
        return std::nullopt;
    }
    return payload.address(*family == AF_INET ? Family::ipv4 : Family::ipv6,
                           tail(attribute.payload, sizeof *family));
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
std::optional<Route> read_route(ByteView body, const rtmsg& header, PayloadReader& payload) {
    Route route;
    route.family = header.rtm_family == AF_INET ? Family::ipv4 : Family::ipv6;
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

bool read_route_message(ByteView body, std::uint16_t flags, NetlinkMessage& message) {
    const auto header = read_struct<rtmsg>(body);
    if (!header) {
        return false;
    }
    if (header->rtm_family != AF_INET && header->rtm_family != AF_INET6) {
        return true;  // multicast and MPLS routes
    }
    PayloadReader payload;
    auto route = read_route(body, *header, payload);
    message.attributes_malformed = payload.malformed();
    const int bits = header->rtm_family == AF_INET ? 32 : 128;
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

// --- Messages --------------------------------------------------------------------------------

/// The kernel's negative errno at the front of NLMSG_ERROR and NLMSG_DONE, as a positive one.
std::optional<int> read_error(ByteView body) {
    const auto error = read_struct<std::int32_t>(body);
    if (!error || *error > 0 || *error < -4095) {  // MAX_ERRNO
        return std::nullopt;
    }
    return -*error;
}

bool read_error_message(ByteView body, NetlinkMessage& message) {
    const auto error = read_error(body);
    if (error) {
        message.body = NetlinkError{*error};
    }
    return error.has_value();
}

bool read_done(ByteView body, NetlinkMessage& message) {
    const auto error = body.empty() ? 0 : read_error(body);  // old kernels say nothing
    if (error) {
        message.body = DumpDone{*error};
    }
    return error.has_value();
}

NetlinkType to_type(std::uint16_t type) {
    switch (type) {
        case NLMSG_DONE: return NetlinkType::done;
        case NLMSG_ERROR: return NetlinkType::error;
        case RTM_NEWLINK: return NetlinkType::new_link;
        case RTM_DELLINK: return NetlinkType::del_link;
        case RTM_NEWADDR: return NetlinkType::new_address;
        case RTM_DELADDR: return NetlinkType::del_address;
        case RTM_NEWNEIGH: return NetlinkType::new_neighbour;
        case RTM_DELNEIGH: return NetlinkType::del_neighbour;
        case RTM_NEWROUTE: return NetlinkType::new_route;
        case RTM_DELROUTE: return NetlinkType::del_route;
        case RTM_NEWNEXTHOP: return NetlinkType::new_next_hop;
        case RTM_DELNEXTHOP: return NetlinkType::del_next_hop;
        default: return NetlinkType::other;
    }
}

/// Fills message.body; false: malformed.
bool read_body(const nlmsghdr& header, ByteView body, NetlinkMessage& message) {
    switch (message.type) {
        case NetlinkType::new_link: return read_new_link(body, message);
        case NetlinkType::del_link: return read_removed_link(body, message);
        case NetlinkType::new_route:
        case NetlinkType::del_route: return read_route_message(body, header.nlmsg_flags, message);
        case NetlinkType::del_next_hop: return read_removed_next_hop(body, message);
        case NetlinkType::done: return read_done(body, message);
        case NetlinkType::error: return read_error_message(body, message);
        case NetlinkType::other:
            if (header.nlmsg_type == NLMSG_OVERRUN) {
                message.body = NetlinkOverrun{};
            }
            return true;
        case NetlinkType::new_address:
        case NetlinkType::del_address:
        case NetlinkType::new_neighbour:
        case NetlinkType::del_neighbour:
        case NetlinkType::new_next_hop: return true;
    }
    return true;
}

/// Length of the valid UTF-8 character at the front, printable ones only; 0 if there is none.
std::size_t printable_length(ByteView bytes) {
    const std::uint8_t lead = bytes[0];
    if (lead < 0x80) {
        return lead >= 0x20 && lead != 0x7f && lead != '\\' ? 1 : 0;
    }
    const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || bytes.size() < length) {
        return 0;
    }
    std::uint32_t code = lead & (0x7fU >> length);
    for (std::size_t i = 1; i < length; ++i) {
        if ((bytes[i] & 0xc0U) != 0x80U) {
            return 0;
        }
        code = (code << 6U) | (bytes[i] & 0x3fU);
    }
    const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
    const bool surrogate = code >= 0xd800 && code <= 0xdfff;
    const bool control = code < 0xa0;  // C1: terminals obey them
    return overlong || surrogate || control || code > 0x10ffff ? 0 : length;
}

void append_struct(std::vector<std::uint8_t>& bytes, const void* data, std::size_t size) {
    bytes.resize(aligned(bytes.size() + size));
    std::memcpy(bytes.data() + bytes.size() - aligned(size), data, size);
}

}  // namespace

const NetlinkMessage* NetlinkReader::next() {
    if (rest_.empty()) {
        return nullptr;
    }
    message_.attributes_malformed = 0;
    const auto header = read_struct<nlmsghdr>(rest_);
    const std::size_t length = header ? header->nlmsg_len : 0;
    if (!header || length < sizeof(nlmsghdr) || length > rest_.size()) {
        message_ = NetlinkMessage{};
        message_.body = NetlinkMalformed{};
        rest_ = {};
        return &message_;
    }
    message_.type = to_type(header->nlmsg_type);
    message_.sequence = header->nlmsg_seq;
    message_.dump_part = (header->nlmsg_flags & NLM_F_MULTI) != 0;
    message_.dump_interrupted = message_.dump_part && (header->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
    message_.body = NetlinkOther{};
    if (!read_body(*header, after<nlmsghdr>(rest_.first(length)), message_)) {
        message_.body = NetlinkMalformed{};
    }
    rest_ = tail(rest_, aligned(length));
    return &message_;
}

std::string device_text(ByteView bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    while (!bytes.empty()) {
        const std::size_t length = printable_length(bytes);
        if (length == 0) {
            text += "\\x";
            text += digits[bytes[0] >> 4U];
            text += digits[bytes[0] & 0xfU];
        }
        text.append(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
        bytes = bytes.subspan(std::max<std::size_t>(length, 1));
    }
    return text;
}

std::vector<std::uint8_t> encode(const DumpRequest& request) {
    nlmsghdr header{};
    header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    header.nlmsg_seq = request.sequence;
    std::vector<std::uint8_t> bytes;
    append_struct(bytes, &header, sizeof header);
    switch (request.kind) {
        case DumpKind::links: {
            header.nlmsg_type = RTM_GETLINK;
            ifinfomsg link{};
            link.ifi_family = AF_UNSPEC;
            append_struct(bytes, &link, sizeof link);
            constexpr std::uint32_t skip_statistics = 1U << 3U;  // RTEXT_FILTER_SKIP_STATS
            const nlattr attribute{sizeof(nlattr) + sizeof skip_statistics, IFLA_EXT_MASK};
            append_struct(bytes, &attribute, sizeof attribute);
            append_struct(bytes, &skip_statistics, sizeof skip_statistics);
            break;
        }
        case DumpKind::ipv4_routes:
        case DumpKind::ipv6_routes: {
            header.nlmsg_type = RTM_GETROUTE;
            rtmsg route{};
            route.rtm_family = request.kind == DumpKind::ipv4_routes ? AF_INET : AF_INET6;
            route.rtm_table = RT_TABLE_MAIN;
            append_struct(bytes, &route, sizeof route);
            break;
        }
    }
    header.nlmsg_len = static_cast<std::uint32_t>(bytes.size());
    std::memcpy(bytes.data(), &header, sizeof header);
    return bytes;
}

}  // namespace reachd
