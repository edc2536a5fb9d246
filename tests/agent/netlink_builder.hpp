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
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "common/address.hpp"

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

struct LinkFacts {
    int index = 0;
    std::string name{};
    bool up = true;
    int master = 0;
    std::string kind{};
    std::uint32_t mtu = 1500;
    std::uint8_t oper_state = IF_OPER_UP;

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

inline Bytes new_link(const LinkFacts& link, int flags = 0, std::uint32_t sequence = 0) {
    MessageBuilder builder(RTM_NEWLINK, flags, sequence);
    builder.header(link_header(link.index, link.up));
    builder.text(IFLA_IFNAME, link.name);
    builder.number(IFLA_TXQLEN, std::uint32_t{1000});
    builder.number(IFLA_OPERSTATE, link.oper_state);
    builder.number(IFLA_MTU, link.mtu);
    if (link.master != 0) {
        builder.number(IFLA_MASTER, static_cast<std::uint32_t>(link.master));
    }
    if (!link.kind.empty()) {
        builder.nested(IFLA_LINKINFO,
                       [&](MessageBuilder& inner) { inner.text(IFLA_INFO_KIND, link.kind); });
    }
    return builder.bytes();
}

inline Bytes del_link(int index) {
    return MessageBuilder(RTM_DELLINK, 0, 0).header(link_header(index, false)).bytes();
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
