// rtnetlink as values: the bytes of one datagram become messages about links and routes. Checks
// every length, never reads past the datagram, ignores what it does not know. Keeps no state
// between datagrams, judges nothing and owns no socket.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/address.hpp"
#include "common/bytes.hpp"

namespace reachd {

/// Longest name the kernel gives a device (IFNAMSIZ - 1), in bytes as they arrive.
inline constexpr std::size_t device_name_bytes_max = 15;

/// Next hops kept of one multipath route; more are counted, not kept.
inline constexpr std::size_t next_hops_max = 64;

/// What a message is about: the value of the metric label `type`.
enum class NetlinkType : std::uint8_t {
    new_link,
    del_link,
    new_address,
    del_address,
    new_neighbour,
    del_neighbour,
    new_route,
    del_route,
    new_next_hop,
    del_next_hop,
    done,
    error,
    other,
};
inline constexpr std::size_t netlink_type_count = 13;

constexpr std::string_view to_text(NetlinkType type) {
    constexpr std::array<std::string_view, netlink_type_count> names{
        "newlink",
        "dellink",
        "newaddr",
        "deladdr",
        "newneigh",
        "delneigh",
        "newroute",
        "delroute",
        "newnexthop",
        "delnexthop",
        "done",
        "error",
        "other",
    };
    return names[static_cast<std::size_t>(type)];
}

/// RFC 2863, section 3.1.14, in the numbering of the kernel.
enum class OperState : std::uint8_t {
    unknown,
    not_present,
    down,
    lower_layer_down,
    testing,
    dormant,
    up,
};

/// RTM_NEWLINK: a link exists and looks like this. Some senders (the bridge, wireless extensions)
/// tell only a part: then `complete` is false, and an absent fact means "not said". In a complete
/// message an absent fact means "has none".
struct LinkChanged {
    IfIndex index = IfIndex::any;
    bool complete = false;
    bool admin_up = false;              ///< IFF_UP
    bool carrier = false;               ///< IFF_LOWER_UP
    std::uint16_t hardware_type = 0;    ///< ARPHRD_*
    std::optional<std::string> name{};  ///< safe text, see device_text()
    std::optional<std::string> kind{};  ///< IFLA_INFO_KIND: "veth", "bridge"; none for hardware
    std::optional<std::uint32_t> mtu_bytes{};
    std::optional<OperState> oper_state{};
    std::optional<IfIndex> master{};
};

/// RTM_DELLINK: the link is gone from this network namespace.
struct LinkRemoved {
    IfIndex index = IfIndex::any;
};

/// RTM_DELLINK of family AF_BRIDGE: the link is no port of that bridge any more, but lives on.
struct LinkLeftBridge {
    IfIndex index = IfIndex::any;
    IfIndex bridge = IfIndex::any;  ///< any: not said
};

struct NextHop {
    std::optional<IpAddress> gateway{};  ///< scope set where it is link-local; none: on-link
    IfIndex device = IfIndex::any;

    friend bool operator==(const NextHop&, const NextHop&) = default;
};

/// One IPv4 or IPv6 route. Numbers are those of <linux/rtnetlink.h>.
struct Route {
    Family family = Family::ipv4;
    std::uint8_t prefix_length = 0;
    std::uint8_t source_prefix_length = 0;
    std::uint8_t tos = 0;
    std::uint8_t type = 0;          ///< RTN_*
    std::uint8_t protocol = 0;      ///< RTPROT_*
    bool cloned = false;            ///< RTM_F_CLONED: a cache entry, no route of anybody's making
    std::uint32_t table = 0;        ///< RT_TABLE_* or a number of the operator's
    std::uint32_t metric = 0;       ///< lower is preferred
    std::uint32_t next_hop_id = 0;  ///< of a next hop object (`ip nexthop`); 0: none
    std::optional<IpAddress> destination{};
    std::optional<IpAddress> source{};
    std::optional<IpAddress> preferred_source{};
    std::vector<NextHop> next_hops{};
    std::uint32_t next_hops_refused = 0;  ///< beyond next_hops_max
};

struct RouteChanged {
    Route route{};
    bool replaces = false;  ///< NLM_F_REPLACE: takes the place of the route with the same key
};

struct RouteRemoved {
    Route route{};
};

/// A next hop object went away, and with it, unannounced, the IPv4 routes that used it.
struct NextHopRemoved {
    std::uint32_t id = 0;
};

/// End of a dump. `error` is a positive errno, 0 if all went well.
struct DumpDone {
    int error = 0;
};

/// NLMSG_ERROR: the answer to a request. `error` is a positive errno, 0 for an acknowledgement.
struct NetlinkError {
    int error = 0;
};

/// NLMSG_OVERRUN: the kernel says that messages were lost.
struct NetlinkOverrun {};

/// Well-formed, and of no interest here.
struct NetlinkOther {};

/// Lengths do not add up; nothing of the message is used.
struct NetlinkMalformed {};

struct NetlinkMessage {
    NetlinkType type = NetlinkType::other;
    std::uint32_t sequence = 0;
    bool dump_part = false;         ///< NLM_F_MULTI: an answer to a dump, not an event
    bool dump_interrupted = false;  ///< NLM_F_DUMP_INTR: the tables changed under the dump
    /// Known attributes that were skipped because their length is wrong.
    std::uint32_t attributes_malformed = 0;
    std::variant<NetlinkOther,
                 NetlinkMalformed,
                 LinkChanged,
                 LinkRemoved,
                 LinkLeftBridge,
                 RouteChanged,
                 RouteRemoved,
                 NextHopRemoved,
                 DumpDone,
                 NetlinkError,
                 NetlinkOverrun>
        body{};
};

/// Walks the messages of one datagram:
///     NetlinkReader reader(datagram);
///     while (const NetlinkMessage* message = reader.next()) { … }
/// A header that cannot be true ends the walk with one NetlinkMalformed. The message is valid until
/// the following call; the bytes must outlive the reader.
class NetlinkReader {
  public:
    explicit NetlinkReader(ByteView datagram) : rest_(datagram) {}

    const NetlinkMessage* next();

  private:
    ByteView rest_;
    NetlinkMessage message_;
};

/// The device name or other text of the kernel as safe UTF-8: control characters, backslashes and
/// bytes that are no UTF-8 become \xNN, so that two devices never share one text.
std::string device_text(ByteView bytes);

/// The tables that are read in full at the start and after a loss, in this order.
enum class DumpKind : std::uint8_t { links, ipv4_routes, ipv6_routes };
inline constexpr std::size_t dump_kind_count = 3;

constexpr std::string_view to_text(DumpKind kind) {
    constexpr std::array<std::string_view, dump_kind_count> names{
        "links", "ipv4_routes", "ipv6_routes"};
    return names[static_cast<std::size_t>(kind)];
}

struct DumpRequest {
    std::uint32_t sequence = 0;
    DumpKind kind = DumpKind::links;
};

/// The request as bytes to send, fit for strict checking (NETLINK_GET_STRICT_CHK): links without
/// their statistics, routes of the main table only. Kernels before 4.20 ignore the latter and send
/// all tables. A table that does not exist yet is answered by ENOENT.
std::vector<std::uint8_t> encode(const DumpRequest& request);

}  // namespace reachd
