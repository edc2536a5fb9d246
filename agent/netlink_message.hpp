// rtnetlink as values: the bytes of one datagram become messages about links, addresses, neighbours
// and routes. Checks every length, never reads past the datagram, ignores what it does not know.
// Keeps no state between datagrams, judges nothing and owns no socket.
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
#include "common/link.hpp"
#include "common/mac_address.hpp"

namespace reachd {

/// Longest name the kernel gives a device (IFNAMSIZ - 1), in bytes as they arrive.
inline constexpr std::size_t device_name_bytes_max = 15;

/// Next hops kept of one multipath route; more are counted, not kept.
inline constexpr std::size_t next_hops_max = 64;

/// Most ranges of VLANs of one port: there are no more ids. A message with more is malformed.
inline constexpr std::size_t vlan_ranges_max = 4094;

/// Virtual functions kept of one device; more are left out (PCIe's own limit without ARI).
inline constexpr std::size_t virtual_functions_max = 256;

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
    new_statistics,
    done,
    error,
    other,
};
inline constexpr std::size_t netlink_type_count = 14;

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
        "newstats",
        "done",
        "error",
        "other",
    };
    return names[static_cast<std::size_t>(type)];
}

/// RTM_NEWLINK: a link exists and looks like this. Some senders (the bridge, wireless extensions)
/// tell only a part: then `complete` is false, and an absent fact means "not said". In a complete
/// message an absent fact means "has none", except where noted.
struct LinkChanged {
    IfIndex index = IfIndex::any;
    bool complete = false;
    bool admin_up = false;              ///< IFF_UP
    bool carrier = false;               ///< IFF_LOWER_UP
    bool resolves = false;              ///< see Link::resolves
    std::uint16_t hardware_type = 0;    ///< ARPHRD_*
    std::optional<std::string> name{};  ///< safe text, see device_text()
    /// IFLA_LINKINFO; always there in a complete message (no kind: physical or loopback).
    std::optional<LinkKind> kind{};
    std::optional<std::uint32_t> mtu_bytes{};
    std::optional<OperState> oper_state{};
    std::optional<IfIndex> master{};  ///< not the device itself, which a bridge names of AF_BRIDGE
    std::optional<MacAddress> mac{};  ///< none: another kind of link-layer address
    /// IFLA_LINK; not the device itself, but its number may be the same in another namespace. Not
    /// said by bridges, and none where the kernel cannot name that namespace.
    std::optional<IfIndex> lower{};
    std::optional<std::int32_t> lower_namespace{};  ///< of `lower`; none: this one
    std::optional<std::uint32_t> carrier_changes{};
    std::optional<std::uint32_t> detail{};     ///< see Link::detail
    std::optional<bool> over_ipv6{};           ///< of a vxlan or geneve, if it names an address
    std::optional<std::uint32_t> owner_uid{};  ///< of a tun or tap, if it has an owner
    std::optional<BridgeSettings> bridge{};    ///< of a bridge
    std::optional<BridgePort> port{};          ///< of a port of a bridge
    /// IFLA_STATS64: in events and in dumps of AF_UNSPEC (no filter keeps it out); not by bridges.
    std::optional<LinkCounters> counters{};
    /// IFLA_AF_SPEC of an AF_BRIDGE message: the port's (or bridge's) VLANs, all of them; empty
    /// where there are none or the bridge knows no VLANs. Not said elsewhere.
    std::optional<std::vector<VlanRange>> vlans{};
    /// IFLA_VFINFO_LIST: only in dumps that ask for it. Not said elsewhere.
    std::optional<std::vector<VirtualFunction>> virtual_functions{};
};

/// RTM_DELLINK: the link is gone from this network namespace.
struct LinkRemoved {
    IfIndex index = IfIndex::any;
    bool moved = false;  ///< into another namespace (IFLA_NEW_NETNSID or IFLA_NEW_IFINDEX)
    /// Where to, as far as the kernel tells it here: the namespace as this one numbers it, and the
    /// index there, which is the old one unless said.
    std::optional<std::int32_t> new_namespace{};
    std::optional<IfIndex> new_index{};
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

/// RTM_NEWADDR, RTM_DELADDR. The key is device, address and prefix length.
struct AddressChanged {
    InterfaceAddress address{};
};

struct AddressRemoved {
    InterfaceAddress address{};
};

/// What the kernel knows of a neighbour's link-layer address. It does not tell each step (a fresh
/// question is silent), so only what can be followed is told apart.
enum class NeighbourState : std::uint8_t {
    unresolved,  ///< NUD_INCOMPLETE, NUD_FAILED, NUD_NONE
    resolved,    ///< NUD_REACHABLE, NUD_STALE, NUD_DELAY, NUD_PROBE
    permanent,   ///< NUD_PERMANENT: set by hand
};

/// RTM_NEWNEIGH of AF_INET and AF_INET6, without multicast, proxies and those that need no
/// resolution (NUD_NOARP).
struct NeighbourChanged {
    IfIndex device = IfIndex::any;
    IpAddress address{};  ///< scope set where it is link-local
    std::optional<MacAddress> mac{};
    NeighbourState state = NeighbourState::unresolved;
    bool router = false;  ///< NTF_ROUTER: says of itself that it is one (IPv6)
};

/// RTM_DELNEIGH, also of one that was never told; or an event says that it needs no resolution now.
struct NeighbourRemoved {
    IfIndex device = IfIndex::any;
    IpAddress address{};
};

/// RTM_NEWNEIGH of AF_BRIDGE with a master: a MAC behind a port of a bridge, learnt or set. The
/// ports' own addresses (NUD_PERMANENT) and those of groups are not told.
struct FdbChanged {
    IfIndex bridge = IfIndex::any;
    IfIndex port = IfIndex::any;
    MacAddress mac{};
    std::uint16_t vlan = 0;  ///< 0: none
    bool fixed = false;      ///< NUD_NOARP: set by hand, does not age
};

/// RTM_DELNEIGH of AF_BRIDGE; or an event says that the MAC is the port's own now, which the kernel
/// does without removing the entry first. Also of entries that were never told.
struct FdbRemoved {
    IfIndex bridge = IfIndex::any;
    IfIndex port = IfIndex::any;
    MacAddress mac{};
    std::uint16_t vlan = 0;
};

/// RTM_NEWSTATS: an answer to DumpKind::statistics.
struct LinkStatistics {
    IfIndex index = IfIndex::any;
    LinkCounters counters{};
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
                 AddressChanged,
                 AddressRemoved,
                 NeighbourChanged,
                 NeighbourRemoved,
                 FdbChanged,
                 FdbRemoved,
                 LinkStatistics,
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

/// The tables that are read in full at the start and after a loss, in this order; statistics are
/// read again and again.
enum class DumpKind : std::uint8_t {
    links,         ///< with virtual functions, without their statistics
    bridge_vlans,  ///< AF_BRIDGE links with their VLANs: only asked where a bridge filters VLANs
    addresses,     ///< both families
    neighbours,    ///< both families
    fdb,
    ipv4_routes,
    ipv6_routes,
    statistics,
};
inline constexpr std::size_t dump_kind_count = 8;

constexpr std::string_view to_text(DumpKind kind) {
    constexpr std::array<std::string_view, dump_kind_count> names{"links",
                                                                  "bridge_vlans",
                                                                  "addresses",
                                                                  "neighbours",
                                                                  "fdb",
                                                                  "ipv4_routes",
                                                                  "ipv6_routes",
                                                                  "statistics"};
    return names[static_cast<std::size_t>(kind)];
}

struct DumpRequest {
    std::uint32_t sequence = 0;
    DumpKind kind = DumpKind::links;
};

/// The request as bytes to send, fit for strict checking (NETLINK_GET_STRICT_CHK; Linux 6.18 takes
/// each of them): one request for both families where there are two, links without the statistics
/// of IPv6 and of virtual functions (those of the link itself come all the same), routes of the
/// main table only. Kernels before 4.20 ignore the latter and send all tables. A table that does
/// not exist yet is answered by ENOENT.
std::vector<std::uint8_t> encode(const DumpRequest& request);

}  // namespace reachd
