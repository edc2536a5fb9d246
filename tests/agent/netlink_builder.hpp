// Builds rtnetlink messages byte by byte for tests: with the kernel's structures, without the code
// under test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "common/address.hpp"
#include "common/link.hpp"
#include "common/mac_address.hpp"

namespace reachd::test {

using Bytes = std::vector<std::uint8_t>;

inline void append(Bytes& bytes, const void* data, std::size_t size) {
    const auto* begin = static_cast<const std::uint8_t*>(data);
    bytes.insert(bytes.end(), begin, begin + size);
    bytes.resize((bytes.size() + 3) & ~std::size_t{3});
}

inline Bytes operator+(Bytes left, const Bytes& right) {
    left.insert(left.end(), right.begin(), right.end());
    return left;
}

class MessageBuilder {
  public:
    MessageBuilder(int type, int flags, std::uint32_t sequence) {
        nlmsghdr header{};
        header.nlmsg_type = static_cast<std::uint16_t>(type);
        header.nlmsg_flags = static_cast<std::uint16_t>(flags);
        header.nlmsg_seq = sequence;
        append(bytes_, &header, sizeof header);
    }

    template <class Struct>
    MessageBuilder& header(const Struct& value) {
        append(bytes_, &value, sizeof value);
        return *this;
    }

    MessageBuilder& attribute(int type, const void* data, std::size_t size) {
        const nlattr header{static_cast<std::uint16_t>(sizeof(nlattr) + size),
                            static_cast<std::uint16_t>(type)};
        append(bytes_, &header, sizeof header);
        append(bytes_, data, size);
        return *this;
    }

    MessageBuilder& attribute(int type, const Bytes& payload) {
        return attribute(type, payload.data(), payload.size());
    }

    template <class Number>
    MessageBuilder& number(int type, Number value) {
        return attribute(type, &value, sizeof value);
    }

    MessageBuilder& text(int type, const std::string& value) {
        return attribute(type, value.c_str(), value.size() + 1);
    }

    MessageBuilder& address(int type, const IpAddress& address) {
        return attribute(type, address.bytes().data(), address.bytes().size());
    }

    MessageBuilder& mac(int type, const MacAddress& mac) {
        return attribute(type, mac.bytes().data(), mac.bytes().size());
    }

    /// An attribute of attributes: nested(type, [](MessageBuilder& inner) { … }).
    template <class Fill>
    MessageBuilder& nested(int type, Fill fill) {
        const std::size_t start = bytes_.size();
        attribute(type, nullptr, 0);
        fill(*this);
        const auto length = static_cast<std::uint16_t>(bytes_.size() - start);
        std::memcpy(bytes_.data() + start, &length, sizeof length);
        return *this;
    }

    /// One next hop inside RTA_MULTIPATH.
    template <class Fill>
    MessageBuilder& hop(int device, Fill fill) {
        const std::size_t start = bytes_.size();
        rtnexthop header{};
        header.rtnh_ifindex = device;
        append(bytes_, &header, sizeof header);
        fill(*this);
        const auto length = static_cast<std::uint16_t>(bytes_.size() - start);
        std::memcpy(bytes_.data() + start, &length, sizeof length);
        return *this;
    }

    Bytes bytes() const {
        Bytes finished(bytes_);
        const auto length = static_cast<std::uint32_t>(finished.size());
        std::memcpy(finished.data(), &length, sizeof length);
        return finished;
    }

  private:
    Bytes bytes_;
};

inline IpAddress address(std::string_view text) {
    return IpAddress::parse(text).value();
}

inline MacAddress mac(std::string_view text) {
    return MacAddress::parse(text).value();
}

/// A link as RTM_NEWLINK of AF_UNSPEC tells it. What is 0, empty or nullopt is left out.
struct LinkFacts {
    int index = 0;
    std::string name{};
    bool up = true;
    int master = 0;
    std::string kind{};
    std::uint32_t mtu = 1500;
    std::uint8_t oper_state = IF_OPER_UP;
    std::optional<bool> carrier{};    ///< nullopt: as `up`
    unsigned more_flags = 0;          ///< IFF_*
    std::uint16_t hardware_type = 1;  ///< ARPHRD_ETHER
    std::optional<MacAddress> mac{};
    int lower = 0;
    std::optional<std::int32_t> lower_namespace{};
    std::optional<std::uint32_t> carrier_changes{};
    std::uint8_t tun_type = 0;  ///< of kind "tun": 1 tun, 2 tap
    std::optional<std::uint32_t> tun_owner{};
    std::optional<std::uint32_t> detail{};  ///< of a kind that has one, see Link::detail
    std::optional<BridgeSettings> bridge{};
    std::optional<BridgePort> port{};
    std::optional<LinkCounters> counters{};
    std::vector<VirtualFunction> virtual_functions{};

    friend bool operator==(const LinkFacts&, const LinkFacts&) = default;
};

inline ifinfomsg link_header(int index, bool up, int family = AF_UNSPEC) {
    ifinfomsg header{};
    header.ifi_family = static_cast<std::uint8_t>(family);
    header.ifi_type = 1;  // ARPHRD_ETHER
    header.ifi_index = index;
    header.ifi_flags = up ? IFF_UP | IFF_RUNNING | IFF_LOWER_UP : 0U;
    return header;
}

inline ifinfomsg link_header(const LinkFacts& link) {
    auto header = link_header(link.index, link.up);
    header.ifi_type = link.hardware_type;
    header.ifi_flags |= link.more_flags;
    if (link.carrier.value_or(link.up)) {
        header.ifi_flags |= IFF_LOWER_UP | IFF_RUNNING;
    } else {
        header.ifi_flags &= ~static_cast<unsigned>(IFF_LOWER_UP | IFF_RUNNING);
    }
    return header;
}

inline rtnl_link_stats64 statistics(const LinkCounters& counters) {
    rtnl_link_stats64 statistics{};
    statistics.rx_errors = counters.receive_errors;
    statistics.tx_errors = counters.transmit_errors;
    statistics.rx_dropped = counters.receive_drops - counters.receive_drops / 2;
    statistics.rx_missed_errors = counters.receive_drops / 2;
    statistics.tx_dropped = counters.transmit_drops;
    return statistics;
}

/// IFLA_INFO_DATA of the kinds that the parser looks into.
inline void add_kind_data(MessageBuilder& data, const LinkFacts& link) {
    const auto detail = link.detail.value_or(0);
    if (link.kind == "tun" && link.tun_type != 0) {
        data.number(IFLA_TUN_TYPE, link.tun_type);
        if (link.tun_owner) {
            data.number(IFLA_TUN_OWNER, *link.tun_owner);
        }
    } else if (link.kind == "bridge" && link.bridge) {
        data.number(IFLA_BR_FORWARD_DELAY, std::uint32_t{link.bridge->forward_delay_centiseconds});
        data.number(IFLA_BR_STP_STATE, std::uint32_t{link.bridge->stp});
        data.number(IFLA_BR_VLAN_FILTERING, std::uint8_t{link.bridge->vlan_filtering});
        data.number(IFLA_BR_VLAN_DEFAULT_PVID, link.bridge->default_pvid);
    } else if (link.kind == "vlan" && link.detail) {
        data.number(IFLA_VLAN_ID, static_cast<std::uint16_t>(detail));
    } else if (link.kind == "vxlan" && link.detail) {
        data.number(IFLA_VXLAN_ID, detail);
    } else if (link.kind == "geneve" && link.detail) {
        data.number(IFLA_GENEVE_ID, detail);
    } else if (link.kind == "bond" && link.detail) {
        data.number(IFLA_BOND_MODE, static_cast<std::uint8_t>(detail));
    } else if ((link.kind == "macvlan" || link.kind == "macvtap") && link.detail) {
        data.number(IFLA_MACVLAN_MODE, detail);
    }
}

inline void add_port(MessageBuilder& data, const BridgePort& port) {
    data.number(IFLA_BRPORT_STATE, static_cast<std::uint8_t>(port.state));
    data.number(IFLA_BRPORT_ISOLATED, std::uint8_t{port.isolated});
}

inline void add_link_info(MessageBuilder& builder, const LinkFacts& link) {
    builder.nested(IFLA_LINKINFO, [&](MessageBuilder& info) {
        if (!link.kind.empty()) {
            info.text(IFLA_INFO_KIND, link.kind);
            info.nested(IFLA_INFO_DATA, [&](MessageBuilder& data) { add_kind_data(data, link); });
        }
        if (link.port) {
            info.text(IFLA_INFO_SLAVE_KIND, "bridge");
            info.nested(IFLA_INFO_SLAVE_DATA,
                        [&](MessageBuilder& data) { add_port(data, *link.port); });
        }
    });
}

inline void add_virtual_function(MessageBuilder& list, const VirtualFunction& vf) {
    const auto setting = [&](bool on) { return ifla_vf_spoofchk{vf.number, on ? 1U : 0U}; };
    list.nested(IFLA_VF_INFO, [&](MessageBuilder& one) {
        ifla_vf_mac address{};
        address.vf = vf.number;
        if (vf.mac) {
            std::memcpy(address.mac, vf.mac->bytes().data(), vf.mac->bytes().size());
        }
        one.number(IFLA_VF_MAC, address);
        one.number(IFLA_VF_VLAN, ifla_vf_vlan{vf.number, vf.vlan, 0});
        one.number(IFLA_VF_SPOOFCHK, setting(vf.spoof_check));
        one.number(IFLA_VF_LINK_STATE,
                   ifla_vf_link_state{vf.number, static_cast<std::uint32_t>(vf.policy)});
        one.number(IFLA_VF_TRUST, setting(vf.trusted));
    });
}

inline Bytes new_link(const LinkFacts& link, int flags = 0, std::uint32_t sequence = 0) {
    MessageBuilder builder(RTM_NEWLINK, flags, sequence);
    builder.header(link_header(link));
    builder.text(IFLA_IFNAME, link.name);
    builder.number(IFLA_TXQLEN, std::uint32_t{1000});
    builder.number(IFLA_OPERSTATE, link.oper_state);
    builder.number(IFLA_MTU, link.mtu);
    if (link.lower != 0) {
        builder.number(IFLA_LINK, static_cast<std::uint32_t>(link.lower));
    }
    if (link.master != 0) {
        builder.number(IFLA_MASTER, static_cast<std::uint32_t>(link.master));
    }
    if (link.carrier_changes) {
        builder.number(IFLA_CARRIER_CHANGES, *link.carrier_changes);
    }
    if (link.mac) {
        builder.mac(IFLA_ADDRESS, *link.mac);
    }
    if (link.counters) {
        builder.number(IFLA_STATS64, statistics(*link.counters));
    }
    if (!link.virtual_functions.empty()) {
        builder.nested(IFLA_VFINFO_LIST, [&](MessageBuilder& list) {
            for (const auto& vf : link.virtual_functions) {
                add_virtual_function(list, vf);
            }
        });
    }
    if (!link.kind.empty() || link.port) {
        add_link_info(builder, link);
    }
    if (link.lower_namespace) {
        builder.number(IFLA_LINK_NETNSID, *link.lower_namespace);
    }
    return builder.bytes();
}

/// One entry of IFLA_AF_SPEC, or the two of a range.
inline void add_vlan_range(MessageBuilder& vlans, const VlanRange& range) {
    const auto entry = [&](std::uint16_t vlan, int position) {
        const int flags = position | (range.pvid ? BRIDGE_VLAN_INFO_PVID : 0) |
                          (range.untagged ? BRIDGE_VLAN_INFO_UNTAGGED : 0);
        vlans.number(IFLA_BRIDGE_VLAN_INFO,
                     bridge_vlan_info{static_cast<std::uint16_t>(flags), vlan});
    };
    if (range.first == range.last) {
        entry(range.first, 0);
        return;
    }
    entry(range.first, BRIDGE_VLAN_INFO_RANGE_BEGIN);
    entry(range.last, BRIDGE_VLAN_INFO_RANGE_END);
}

/// RTM_NEWLINK of AF_BRIDGE: a port (or the bridge: `link.index == link.master`) as its bridge
/// tells it. Like the kernel it leaves an empty list of VLANs out.
inline Bytes bridge_link(const LinkFacts& link,
                         const std::vector<VlanRange>& vlans,
                         int flags = 0,
                         std::uint32_t sequence = 0) {
    MessageBuilder builder(RTM_NEWLINK, flags, sequence);
    auto header = link_header(link);
    header.ifi_family = AF_BRIDGE;
    builder.header(header).text(IFLA_IFNAME, link.name);
    builder.number(IFLA_MASTER, static_cast<std::uint32_t>(link.master));
    builder.number(IFLA_MTU, link.mtu).number(IFLA_OPERSTATE, link.oper_state);
    if (link.mac) {
        builder.mac(IFLA_ADDRESS, *link.mac);
    }
    if (link.lower != 0) {
        builder.number(IFLA_LINK, static_cast<std::uint32_t>(link.lower));
    }
    if (link.port) {
        builder.nested(IFLA_PROTINFO | NLA_F_NESTED,
                       [&](MessageBuilder& data) { add_port(data, *link.port); });
    }
    if (!vlans.empty()) {
        builder.nested(IFLA_AF_SPEC, [&](MessageBuilder& list) {
            for (const auto& range : vlans) {
                add_vlan_range(list, range);
            }
        });
    }
    return builder.bytes();
}

inline Bytes del_link(int index) {
    return MessageBuilder(RTM_DELLINK, 0, 0).header(link_header(index, false)).bytes();
}

/// Gone into another namespace.
inline Bytes moved_link(int index, std::int32_t into_namespace) {
    MessageBuilder builder(RTM_DELLINK, 0, 0);
    builder.header(link_header(index, false));
    return builder.number(IFLA_NEW_NETNSID, into_namespace).bytes();
}

inline Bytes left_bridge(int index, int bridge) {
    MessageBuilder builder(RTM_DELLINK, 0, 0);
    builder.header(link_header(index, true, AF_BRIDGE));
    builder.number(IFLA_MASTER, static_cast<std::uint32_t>(bridge));
    return builder.bytes();
}

struct HopFacts {
    std::optional<IpAddress> gateway{};
    int device = 0;
};

struct RouteFacts {
    Family family = Family::ipv4;
    std::vector<HopFacts> hops{};  ///< one: as plain attributes; more: RTA_MULTIPATH
    std::uint32_t metric = 0;
    std::optional<IpAddress> destination{};
    std::uint8_t prefix_length = 0;
    std::uint32_t table = RT_TABLE_MAIN;
    std::uint8_t type = RTN_UNICAST;
    std::optional<IpAddress> preferred_source{};
};

inline void add_gateway(MessageBuilder& builder, Family family, const HopFacts& hop) {
    if (!hop.gateway) {
        return;
    }
    if (hop.gateway->family() == family) {
        builder.address(RTA_GATEWAY, *hop.gateway);
        return;
    }
    const std::uint16_t via_family = hop.gateway->family() == Family::ipv4 ? AF_INET : AF_INET6;
    const auto* number = reinterpret_cast<const std::uint8_t*>(&via_family);
    Bytes via(number, number + sizeof via_family);
    via.insert(via.end(), hop.gateway->bytes().begin(), hop.gateway->bytes().end());
    builder.attribute(RTA_VIA, via);
}

inline Bytes route_message(int type, const RouteFacts& route, int flags, std::uint32_t sequence) {
    rtmsg header{};
    header.rtm_family = route.family == Family::ipv4 ? AF_INET : AF_INET6;
    header.rtm_dst_len = route.prefix_length;
    header.rtm_table = route.table < 256 ? static_cast<std::uint8_t>(route.table) : 252;
    header.rtm_protocol = RTPROT_STATIC;
    header.rtm_type = route.type;
    MessageBuilder builder(type, flags, sequence);
    builder.header(header).number(RTA_TABLE, route.table);
    if (route.destination) {
        builder.address(RTA_DST, *route.destination);
    }
    if (route.metric != 0) {
        builder.number(RTA_PRIORITY, route.metric);
    }
    if (route.preferred_source) {
        builder.address(RTA_PREFSRC, *route.preferred_source);
    }
    if (route.hops.size() == 1) {
        add_gateway(builder, route.family, route.hops[0]);
        builder.number(RTA_OIF, static_cast<std::uint32_t>(route.hops[0].device));
    } else if (!route.hops.empty()) {
        builder.nested(RTA_MULTIPATH, [&](MessageBuilder& all) {
            for (const auto& hop : route.hops) {
                all.hop(hop.device,
                        [&](MessageBuilder& one) { add_gateway(one, route.family, hop); });
            }
        });
    }
    return builder.bytes();
}

inline Bytes new_route(const RouteFacts& route, int flags = 0, std::uint32_t sequence = 0) {
    return route_message(RTM_NEWROUTE, route, flags, sequence);
}

inline Bytes del_route(const RouteFacts& route) {
    return route_message(RTM_DELROUTE, route, 0, 0);
}

inline int family_number(const IpAddress& address) {
    return address.family() == Family::ipv4 ? AF_INET : AF_INET6;
}

inline Bytes address_message(int type,
                             const InterfaceAddress& told,
                             int flags = 0,
                             std::uint32_t sequence = 0) {
    ifaddrmsg header{};
    header.ifa_family = static_cast<std::uint8_t>(family_number(told.address));
    header.ifa_prefixlen = told.prefix_length;
    header.ifa_flags = static_cast<std::uint8_t>(told.flags);
    header.ifa_index = static_cast<std::uint32_t>(told.device);
    MessageBuilder builder(type, flags, sequence);
    builder.header(header).address(IFA_ADDRESS, told.address);
    if (told.address.family() == Family::ipv4) {
        builder.address(IFA_LOCAL, told.address);
    }
    return builder.number(IFA_FLAGS, told.flags).bytes();
}

inline Bytes new_address(const InterfaceAddress& told, int flags = 0, std::uint32_t sequence = 0) {
    return address_message(RTM_NEWADDR, told, flags, sequence);
}

inline Bytes del_address(const InterfaceAddress& told) {
    return address_message(RTM_DELADDR, told);
}

struct NeighbourFacts {
    int device = 0;
    IpAddress address{};
    std::optional<MacAddress> mac{};
    std::uint16_t state = NUD_REACHABLE;
    std::uint8_t flags = 0;  ///< NTF_*
};

inline Bytes neighbour_message(int type,
                               const NeighbourFacts& neighbour,
                               int flags = 0,
                               std::uint32_t sequence = 0) {
    ndmsg header{};
    header.ndm_family = static_cast<std::uint8_t>(family_number(neighbour.address));
    header.ndm_ifindex = neighbour.device;
    header.ndm_state = neighbour.state;
    header.ndm_flags = neighbour.flags;
    MessageBuilder builder(type, flags, sequence);
    builder.header(header).address(NDA_DST, neighbour.address);
    if (neighbour.mac) {
        builder.mac(NDA_LLADDR, *neighbour.mac);
    }
    return builder.number(NDA_PROBES, std::uint32_t{1}).bytes();
}

inline Bytes new_neighbour(const NeighbourFacts& neighbour,
                           int flags = 0,
                           std::uint32_t sequence = 0) {
    return neighbour_message(RTM_NEWNEIGH, neighbour, flags, sequence);
}

inline Bytes del_neighbour(const NeighbourFacts& neighbour) {
    return neighbour_message(RTM_DELNEIGH, neighbour);
}

struct FdbFacts {
    int bridge = 0;  ///< 0: a device's own table
    int port = 0;
    MacAddress mac{};
    std::uint16_t vlan = 0;
    std::uint16_t state = NUD_REACHABLE;  ///< NUD_NOARP: set by hand; NUD_PERMANENT: a port's own
};

inline Bytes fdb_message(int type,
                         const FdbFacts& entry,
                         int flags = 0,
                         std::uint32_t sequence = 0) {
    ndmsg header{};
    header.ndm_family = AF_BRIDGE;
    header.ndm_ifindex = entry.port;
    header.ndm_state = entry.state;
    MessageBuilder builder(type, flags, sequence);
    builder.header(header).mac(NDA_LLADDR, entry.mac);
    if (entry.bridge != 0) {
        builder.number(NDA_MASTER, static_cast<std::uint32_t>(entry.bridge));
    }
    if (entry.vlan != 0) {
        builder.number(NDA_VLAN, entry.vlan);
    }
    return builder.bytes();
}

inline Bytes new_fdb(const FdbFacts& entry, int flags = 0, std::uint32_t sequence = 0) {
    return fdb_message(RTM_NEWNEIGH, entry, flags, sequence);
}

inline Bytes del_fdb(const FdbFacts& entry) {
    return fdb_message(RTM_DELNEIGH, entry);
}

inline Bytes new_statistics(int index,
                            const LinkCounters& counters,
                            int flags = NLM_F_MULTI,
                            std::uint32_t sequence = 0) {
    if_stats_msg header{};
    header.ifindex = static_cast<std::uint32_t>(index);
    header.filter_mask = IFLA_STATS_FILTER_BIT(IFLA_STATS_LINK_64);
    MessageBuilder builder(RTM_NEWSTATS, flags, sequence);
    return builder.header(header).number(IFLA_STATS_LINK_64, statistics(counters)).bytes();
}

/// Three next hops: a plain one, one of the other family, one without gateway.
inline RouteFacts multipath_route() {
    RouteFacts route;
    route.hops = {{address("10.0.0.1"), 2}, {address("fe80::7"), 3}, {std::nullopt, 4}};
    route.metric = 50;
    route.preferred_source = address("10.0.0.9");
    return route;
}

inline Bytes dump_done(std::uint32_t sequence, int error = 0, int flags = 0) {
    const std::int32_t value = -error;
    return MessageBuilder(NLMSG_DONE, NLM_F_MULTI | flags, sequence).header(value).bytes();
}

inline Bytes error_message(std::uint32_t sequence, int error) {
    nlmsgerr body{};
    body.error = -error;
    return MessageBuilder(NLMSG_ERROR, 0, sequence).header(body).bytes();
}

}  // namespace reachd::test
