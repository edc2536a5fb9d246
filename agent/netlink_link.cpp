// RTM_NEWLINK, RTM_DELLINK and RTM_NEWSTATS. What is nested in a link is netlink_link_info.cpp's.
#include <cstddef>

#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "agent/netlink_body.hpp"

namespace reachd::netlink {
namespace {

static_assert(static_cast<int>(OperState::up) == IF_OPER_UP);
static_assert(static_cast<int>(OperState::lower_layer_down) == IF_OPER_LOWERLAYERDOWN);

OperState to_oper_state(std::uint8_t value) {
    return value <= IF_OPER_UP ? static_cast<OperState>(value) : OperState::unknown;
}

/// struct rtnl_link_stats64. It grew at its end, so a shorter one is an old kernel's.
std::optional<LinkCounters> read_counters(ByteView bytes, PayloadReader& payload) {
    const auto field = [&](std::size_t at) {
        return read_struct<std::uint64_t>(tail(bytes, at)).value_or(0);
    };
    if (bytes.size() < offsetof(rtnl_link_stats64, multicast)) {
        payload.count_unless(false);
        return std::nullopt;
    }
    LinkCounters counters;
    counters.receive_errors = field(offsetof(rtnl_link_stats64, rx_errors));
    counters.transmit_errors = field(offsetof(rtnl_link_stats64, tx_errors));
    counters.receive_drops = field(offsetof(rtnl_link_stats64, rx_dropped)) +
                             field(offsetof(rtnl_link_stats64, rx_missed_errors));
    counters.transmit_drops = field(offsetof(rtnl_link_stats64, tx_dropped));
    return counters;
}

/// Reads the attributes of one RTM_NEWLINK into a LinkChanged and judges them at the end.
class LinkReader {
  public:
    LinkReader(LinkChanged& link, std::uint8_t family)
        : link_(link),
          of_bridge_(family == family_bridge) {}

    /// False: the attributes do not add up.
    bool read(ByteView bytes) {
        AttributeReader attributes(bytes);
        while (const auto attribute = attributes.next()) {
            read(*attribute);
        }
        if (attributes.broken()) {
            return false;
        }
        if (of_bridge_) {
            finish_bridge_message();
        } else {
            finish_link_message();
        }
        return true;
    }

    std::uint32_t malformed() const { return payload_.malformed(); }

  private:
    void read(const Attribute& attribute) {
        switch (attribute.type) {
            case IFLA_IFNAME: read_name(attribute); break;
            case IFLA_MTU: link_.mtu_bytes = payload_.number<std::uint32_t>(attribute); break;
            case IFLA_ADDRESS: link_.mac = MacAddress::from_bytes(attribute.payload); break;
            case IFLA_OPERSTATE:
                if (const auto state = payload_.number<std::uint8_t>(attribute)) {
                    link_.oper_state = to_oper_state(*state);
                }
                break;
            case IFLA_MASTER:
                if (const auto number = payload_.number<std::uint32_t>(attribute)) {
                    link_.master = to_index(*number);
                }
                break;
            case IFLA_AF_SPEC:
                if (of_bridge_) {
                    vlans_ = attribute.payload;
                }
                break;
            case IFLA_PROTINFO:
                if (of_bridge_) {
                    link_.port = read_bridge_port(attribute.payload, payload_);
                }
                break;
            default:
                if (!of_bridge_) {
                    read_of_link(attribute);
                }
                break;  // not a closed set: new kernels bring new attributes
        }
    }

    /// Not for AF_BRIDGE: the bridge tells IFLA_LINK without the namespace it belongs to.
    void read_of_link(const Attribute& attribute) {
        switch (attribute.type) {
            case IFLA_LINK:
                if (const auto number = payload_.number<std::uint32_t>(attribute)) {
                    link_.lower = to_index(*number);
                }
                break;
            case IFLA_LINK_NETNSID:
                link_.lower_namespace = payload_.number<std::int32_t>(attribute);
                break;
            case IFLA_CARRIER_CHANGES:
                link_.carrier_changes = payload_.number<std::uint32_t>(attribute);
                break;
            case IFLA_STATS64: link_.counters = read_counters(attribute.payload, payload_); break;
            case IFLA_LINKINFO: info_ = read_link_info(attribute, payload_); break;
            case IFLA_VFINFO_LIST:
                link_.virtual_functions =
                    read_virtual_functions(attribute.payload, link_.hardware_type, payload_);
                break;
            default: break;
        }
    }

    void read_name(const Attribute& attribute) {
        const auto name = payload_.text(attribute, device_name_bytes_max);
        if (name.empty()) {
            link_.name.reset();
        } else {
            link_.name = device_text(name);
        }
    }

    void finish_link_message() {
        apply(info_, payload_, link_);
        if (link_.master == link_.index) {
            link_.master.reset();
        }
        finish_lower();
        // A full description always has name and MTU; wireless events have no MTU.
        link_.complete = link_.name && link_.mtu_bytes && payload_.malformed() == 0;
        if (link_.complete && !link_.kind) {
            const bool loopback = link_.hardware_type == 772;  // ARPHRD_LOOPBACK
            link_.kind = loopback ? LinkKind::loopback : LinkKind::physical;
        }
    }

    void finish_lower() {
        // Its own index is the device itself, but in another namespace it is another device's.
        const bool self = link_.lower == link_.index && !link_.lower_namespace;
        // The kernel could not number that namespace: the index means nothing here.
        const bool nowhere = link_.lower_namespace.value_or(0) < 0;
        if (self || nowhere) {
            link_.lower.reset();
        }
        if (!link_.lower) {
            link_.lower_namespace.reset();
        }
    }

    void finish_bridge_message() {
        const bool from_bridge = link_.master.has_value();
        if (vlans_) {
            link_.vlans = read_vlans(*vlans_, payload_);
        } else if (from_bridge) {
            link_.vlans.emplace();  // the kernel leaves an empty list out
        }
        if (link_.master == link_.index) {
            link_.master.reset();  // a bridge names itself so
        }
    }

    LinkChanged& link_;
    bool of_bridge_;
    PayloadReader payload_{};
    LinkInfo info_{};
    std::optional<ByteView> vlans_{};
};

bool read_removed(ByteView attributes_bytes, LinkRemoved& removed, PayloadReader& payload) {
    AttributeReader attributes(attributes_bytes);
    while (const auto attribute = attributes.next()) {
        if (attribute->type == IFLA_NEW_NETNSID) {
            removed.moved = true;
            removed.new_namespace = payload.number<std::int32_t>(*attribute);
        } else if (attribute->type == IFLA_NEW_IFINDEX) {
            removed.moved = true;
            const auto number = payload.number<std::int32_t>(*attribute);
            removed.new_index = number ? to_index(*number) : std::nullopt;
        }
    }
    return !attributes.broken();
}

bool read_left_bridge(ByteView attributes_bytes, LinkLeftBridge& left, PayloadReader& payload) {
    AttributeReader attributes(attributes_bytes);
    while (const auto attribute = attributes.next()) {
        if (attribute->type == IFLA_MASTER) {
            const auto number = payload.number<std::uint32_t>(*attribute);
            left.bridge = to_index(number.value_or(0)).value_or(IfIndex::any);
        }
    }
    return !attributes.broken();
}

}  // namespace

bool read_new_link(ByteView body, NetlinkMessage& message) {
    const auto header = read_struct<ifinfomsg>(body);
    const auto index = header ? to_index(header->ifi_index) : std::nullopt;
    if (!index) {
        return false;
    }
    if (header->ifi_family != family_unspecified && header->ifi_family != family_bridge) {
        return true;  // protocol settings of a link (AF_INET6), not the link
    }
    auto& link = message.body.emplace<LinkChanged>();
    link.index = *index;
    link.admin_up = (header->ifi_flags & IFF_UP) != 0;
    link.carrier = (header->ifi_flags & IFF_LOWER_UP) != 0;
    link.resolves = (header->ifi_flags & (IFF_NOARP | IFF_LOOPBACK | IFF_POINTOPOINT)) == 0;
    link.hardware_type = header->ifi_type;
    LinkReader reader(link, header->ifi_family);
    const bool good = reader.read(after<ifinfomsg>(body));
    message.attributes_malformed = reader.malformed();
    return good;
}

bool read_removed_link(ByteView body, NetlinkMessage& message) {
    const auto header = read_struct<ifinfomsg>(body);
    const auto index = header ? to_index(header->ifi_index) : std::nullopt;
    if (!index) {
        return false;
    }
    const auto attributes = after<ifinfomsg>(body);
    if (header->ifi_family == family_unspecified) {
        auto& removed = message.body.emplace<LinkRemoved>();
        removed.index = *index;
        PayloadReader payload;
        const bool good = read_removed(attributes, removed, payload);
        message.attributes_malformed = payload.malformed();
        return good;
    }
    if (header->ifi_family != family_bridge) {
        return true;
    }
    auto& left = message.body.emplace<LinkLeftBridge>();
    left.index = *index;
    PayloadReader payload;
    const bool good = read_left_bridge(attributes, left, payload);
    message.attributes_malformed = payload.malformed();
    return good;
}

bool read_statistics(ByteView body, NetlinkMessage& message) {
    const auto header = read_struct<if_stats_msg>(body);
    const auto index = header ? to_index(header->ifindex) : std::nullopt;
    if (!index) {
        return false;
    }
    PayloadReader payload;
    AttributeReader attributes(after<if_stats_msg>(body));
    while (const auto attribute = attributes.next()) {
        if (attribute->type != IFLA_STATS_LINK_64) {
            continue;
        }
        if (const auto counters = read_counters(attribute->payload, payload)) {
            message.body = LinkStatistics{*index, *counters};
        }
    }
    message.attributes_malformed = payload.malformed();
    return !attributes.broken();
}

}  // namespace reachd::netlink
