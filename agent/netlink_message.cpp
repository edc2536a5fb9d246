#include "agent/netlink_message.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "agent/netlink_attributes.hpp"
#include "agent/netlink_body.hpp"
#include "common/utf8.hpp"

namespace reachd {
namespace {

static_assert(netlink::family_unspecified == AF_UNSPEC && netlink::family_ipv4 == AF_INET &&
              netlink::family_ipv6 == AF_INET6 && netlink::family_bridge == AF_BRIDGE);

/// The kernel's negative errno at the front of NLMSG_ERROR and NLMSG_DONE, as a positive one.
std::optional<int> read_error(ByteView body) {
    const auto error = netlink::read_struct<std::int32_t>(body);
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
        case RTM_NEWSTATS: return NetlinkType::new_statistics;
        default: return NetlinkType::other;
    }
}

/// Fills message.body; false: malformed.
bool read_body(const nlmsghdr& header, ByteView body, NetlinkMessage& message) {
    switch (message.type) {
        case NetlinkType::new_link: return netlink::read_new_link(body, message);
        case NetlinkType::del_link: return netlink::read_removed_link(body, message);
        case NetlinkType::new_address:
        case NetlinkType::del_address: return netlink::read_address(body, message);
        case NetlinkType::new_neighbour:
        case NetlinkType::del_neighbour: return netlink::read_neighbour(body, message);
        case NetlinkType::new_statistics: return netlink::read_statistics(body, message);
        case NetlinkType::new_route:
        case NetlinkType::del_route: return netlink::read_route(body, header.nlmsg_flags, message);
        case NetlinkType::del_next_hop: return netlink::read_removed_next_hop(body, message);
        case NetlinkType::done: return read_done(body, message);
        case NetlinkType::error: return read_error_message(body, message);
        case NetlinkType::other:
            if (header.nlmsg_type == NLMSG_OVERRUN) {
                message.body = NetlinkOverrun{};
            }
            return true;
        case NetlinkType::new_next_hop: return true;
    }
    return true;
}

/// Printable ASCII, and no backslash, which marks what is not.
bool is_plain(std::uint8_t byte) {
    return byte >= 0x20 && byte < 0x7f && byte != '\\';
}

/// Length of the valid UTF-8 character at the front, printable ones only; 0 if there is none.
std::size_t printable_length(ByteView bytes) {
    if (bytes[0] < 0x80) {
        return is_plain(bytes[0]) ? 1 : 0;
    }
    const auto character = decode_utf8({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    const bool harmless = !is_control(character.code) && !steers_direction(character.code);
    return harmless ? character.bytes : 0;
}

/// A dump request: netlink header, the header of its type, perhaps one attribute. What is not said
/// stays zero, which strict checking asks for.
class RequestBuilder {
  public:
    explicit RequestBuilder(std::uint32_t sequence) { header_.nlmsg_seq = sequence; }

    std::vector<std::uint8_t> links(std::uint8_t family, std::uint32_t extended_mask) {
        ifinfomsg link{};
        link.ifi_family = family;
        append(link);
        append(nlattr{sizeof(nlattr) + sizeof extended_mask, IFLA_EXT_MASK});
        append(extended_mask);
        return finish(RTM_GETLINK);
    }

    std::vector<std::uint8_t> addresses() {
        append(ifaddrmsg{});  // AF_UNSPEC: both families
        return finish(RTM_GETADDR);
    }

    std::vector<std::uint8_t> neighbours(std::uint8_t family) {
        ndmsg neighbour{};
        neighbour.ndm_family = family;
        append(neighbour);
        return finish(RTM_GETNEIGH);
    }

    std::vector<std::uint8_t> routes(std::uint8_t family) {
        rtmsg route{};
        route.rtm_family = family;
        route.rtm_table = RT_TABLE_MAIN;
        append(route);
        return finish(RTM_GETROUTE);
    }

    std::vector<std::uint8_t> statistics() {
        if_stats_msg wanted{};
        wanted.filter_mask = IFLA_STATS_FILTER_BIT(IFLA_STATS_LINK_64);
        append(wanted);
        return finish(RTM_GETSTATS);
    }

  private:
    template <class Struct>
    void append(const Struct& value) {
        static_assert(sizeof value % netlink::alignment == 0);
        const std::size_t at = bytes_.size();
        bytes_.resize(at + sizeof value);
        std::memcpy(bytes_.data() + at, &value, sizeof value);
    }

    std::vector<std::uint8_t> finish(std::uint16_t type) {
        header_.nlmsg_type = type;
        header_.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
        header_.nlmsg_len = static_cast<std::uint32_t>(bytes_.size());
        std::memcpy(bytes_.data(), &header_, sizeof header_);
        return std::move(bytes_);
    }

    nlmsghdr header_{};
    std::vector<std::uint8_t> bytes_ = std::vector<std::uint8_t>(sizeof(nlmsghdr));
};

}  // namespace

const NetlinkMessage* NetlinkReader::next() {
    if (rest_.empty()) {
        return nullptr;
    }
    message_.attributes_malformed = 0;
    const auto header = netlink::read_struct<nlmsghdr>(rest_);
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
    if (!read_body(*header, netlink::after<nlmsghdr>(rest_.first(length)), message_)) {
        message_.body = NetlinkMalformed{};
    }
    rest_ = tail(rest_, netlink::aligned(length));
    return &message_;
}

std::string device_text(ByteView bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    if (std::all_of(bytes.begin(), bytes.end(), is_plain)) {
        return std::string(bytes.begin(), bytes.end());  // as almost all names are
    }
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
    RequestBuilder builder(request.sequence);
    switch (request.kind) {
        case DumpKind::links:
            return builder.links(AF_UNSPEC, RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS);
        case DumpKind::bridge_vlans:
            return builder.links(AF_BRIDGE, RTEXT_FILTER_BRVLAN_COMPRESSED);
        case DumpKind::addresses: return builder.addresses();
        case DumpKind::neighbours: return builder.neighbours(AF_UNSPEC);
        case DumpKind::fdb: return builder.neighbours(AF_BRIDGE);
        case DumpKind::ipv4_routes: return builder.routes(AF_INET);
        case DumpKind::ipv6_routes: return builder.routes(AF_INET6);
        case DumpKind::statistics: return builder.statistics();
    }
    return {};
}

}  // namespace reachd
