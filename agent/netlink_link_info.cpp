// What is nested in the description of a link: its kind and the settings of that kind, its part as
// a port of a bridge, its VLANs, its virtual functions.
#include <algorithm>
#include <array>
#include <initializer_list>
#include <limits>
#include <utility>

#include <linux/if_bridge.h>
#include <linux/if_link.h>

#include "agent/netlink_body.hpp"

namespace reachd::netlink {
namespace {

constexpr std::size_t kind_bytes_max = 55;      // MODULE_NAME_LEN - 1: kinds name kernel modules
constexpr std::uint16_t hardware_ethernet = 1;  // ARPHRD_ETHER

struct KindName {
    std::string_view name;
    LinkKind kind;
};

/// By IFLA_INFO_KIND; the frequent ones first.
constexpr std::array kind_names{
    KindName{"veth", LinkKind::veth},
    KindName{"tun", LinkKind::tun},  // or tap: IFLA_TUN_TYPE tells
    KindName{"bridge", LinkKind::bridge},
    KindName{"vlan", LinkKind::vlan},
    KindName{"vxlan", LinkKind::vxlan},
    KindName{"macvtap", LinkKind::macvtap},
    KindName{"macvlan", LinkKind::macvlan},
    KindName{"bond", LinkKind::bond},
    KindName{"openvswitch", LinkKind::openvswitch},
    KindName{"geneve", LinkKind::geneve},
    KindName{"dummy", LinkKind::dummy},
    KindName{"vrf", LinkKind::vrf},
    KindName{"team", LinkKind::team},
    KindName{"ifb", LinkKind::ifb},
    KindName{"wireguard", LinkKind::wireguard},
    KindName{"ipvlan", LinkKind::ipvlan},
    KindName{"ipvtap", LinkKind::ipvlan},
    KindName{"gre", LinkKind::gre},
    KindName{"gretap", LinkKind::gre},
    KindName{"ip6gre", LinkKind::gre},
    KindName{"ip6gretap", LinkKind::gre},
    KindName{"erspan", LinkKind::gre},
    KindName{"ip6erspan", LinkKind::gre},
};

LinkKind to_kind(std::string_view name) {
    for (const auto& known : kind_names) {
        if (known.name == name) {
            return known.kind;
        }
    }
    return LinkKind::other;
}

/// The kernel's tun driver makes both kinds; old ones do not tell which, nor whose.
void read_tun(ByteView data, PayloadReader& payload, LinkChanged& link) {
    constexpr std::uint8_t type_tun = 1;  // IFF_TUN
    constexpr std::uint8_t type_tap = 2;  // IFF_TAP
    link.kind = link.hardware_type == hardware_ethernet ? LinkKind::tap : LinkKind::tun;
    read_nest(data, payload, [&](const Attribute& attribute) {
        if (attribute.type == IFLA_TUN_TYPE) {
            const auto type = payload.number<std::uint8_t>(attribute).value_or(0);
            if (type == type_tun || type == type_tap) {
                link.kind = type == type_tap ? LinkKind::tap : LinkKind::tun;
            }
        } else if (attribute.type == IFLA_TUN_OWNER) {
            link.owner_uid = payload.number<std::uint32_t>(attribute);
        }
    });
}

/// The one number of a kind that people ask for.
template <class Number>
std::optional<std::uint32_t> read_detail(ByteView data, int type, PayloadReader& payload) {
    std::optional<std::uint32_t> detail;
    read_nest(data, payload, [&](const Attribute& attribute) {
        if (attribute.type == type) {
            detail = payload.number<Number>(attribute);
        }
    });
    return detail;
}

bool has_any(ByteView data, std::initializer_list<int> types, PayloadReader& payload) {
    bool found = false;
    read_nest(data, payload, [&](const Attribute& attribute) {
        found = found || std::find(types.begin(), types.end(), attribute.type) != types.end();
    });
    return found;
}

BridgeSettings read_bridge_settings(ByteView data, PayloadReader& payload) {
    BridgeSettings settings;
    read_nest(data, payload, [&](const Attribute& attribute) {
        switch (attribute.type) {
            case IFLA_BR_VLAN_FILTERING:
                settings.vlan_filtering = payload.number<std::uint8_t>(attribute).value_or(0) != 0;
                break;
            case IFLA_BR_STP_STATE:
                settings.stp = payload.number<std::uint32_t>(attribute).value_or(0) != 0;
                break;
            case IFLA_BR_FORWARD_DELAY: {
                constexpr std::uint32_t most = std::numeric_limits<std::uint16_t>::max();
                const auto delay = payload.number<std::uint32_t>(attribute).value_or(0);
                settings.forward_delay_centiseconds =
                    static_cast<std::uint16_t>(std::min(delay, most));
                break;
            }
            case IFLA_BR_VLAN_DEFAULT_PVID: {
                const auto pvid = payload.number<std::uint16_t>(attribute).value_or(0);
                payload.count_unless(pvid <= vlan_id_max);
                settings.default_pvid = pvid <= vlan_id_max ? pvid : std::uint16_t{0};
                break;
            }
            default: break;
        }
    });
    return settings;
}

/// Puts entries of IFLA_BRIDGE_VLAN_INFO together: a range comes as two, its begin and its end.
class VlanReader {
  public:
    /// False: no entry that can be, here.
    bool add(const bridge_vlan_info& entry) {
        const bool begins = (entry.flags & BRIDGE_VLAN_INFO_RANGE_BEGIN) != 0;
        const bool ends = (entry.flags & BRIDGE_VLAN_INFO_RANGE_END) != 0;
        const bool in_order = begin_ ? ends && entry.vid >= begin_->vid : !ends;
        if (entry.vid == 0 || entry.vid > vlan_id_max || (begins && ends) || !in_order ||
            ranges_.size() >= vlan_ranges_max) {
            return false;
        }
        if (begins) {
            begin_ = entry;
            return true;
        }
        const auto& first = begin_ ? *begin_ : entry;
        ranges_.push_back({.first = first.vid,
                           .last = entry.vid,
                           .pvid = (first.flags & BRIDGE_VLAN_INFO_PVID) != 0,
                           .untagged = (first.flags & BRIDGE_VLAN_INFO_UNTAGGED) != 0});
        begin_.reset();
        return true;
    }

    bool finished() const { return !begin_; }

    std::vector<VlanRange> take() { return std::move(ranges_); }

  private:
    std::vector<VlanRange> ranges_{};
    std::optional<bridge_vlan_info> begin_{};
};

std::optional<VirtualFunction::LinkPolicy> to_policy(std::uint32_t state) {
    switch (state) {
        case IFLA_VF_LINK_STATE_AUTO: return VirtualFunction::LinkPolicy::automatic;
        case IFLA_VF_LINK_STATE_ENABLE: return VirtualFunction::LinkPolicy::enable;
        case IFLA_VF_LINK_STATE_DISABLE: return VirtualFunction::LinkPolicy::disable;
        default: return std::nullopt;
    }
}

/// struct ifla_vf_spoofchk and the like: number of the function, setting. All ones: not supported.
bool read_setting(const Attribute& attribute, PayloadReader& payload) {
    const auto setting = payload.number<ifla_vf_spoofchk>(attribute);
    return setting && setting->setting != 0 &&
           setting->setting != std::numeric_limits<std::uint32_t>::max();
}

static_assert(sizeof(ifla_vf_trust) == sizeof(ifla_vf_spoofchk) &&
              sizeof(ifla_vf_link_state) == sizeof(ifla_vf_spoofchk));

void read_virtual_mac(const ifla_vf_mac& told, std::uint16_t hardware_type, VirtualFunction& vf) {
    if (hardware_type != hardware_ethernet) {
        return;
    }
    const auto mac = MacAddress::from_bytes(ByteView(told.mac).first(MacAddress::size));
    if (mac && !mac->is_zero()) {  // zeros: nobody has set one
        vf.mac = mac;
    }
}

/// One IFLA_VF_INFO; none: without IFLA_VF_MAC, which says which function it is.
std::optional<VirtualFunction> read_virtual_function(ByteView nest,
                                                     std::uint16_t hardware_type,
                                                     PayloadReader& payload) {
    VirtualFunction vf;
    bool numbered = false;
    read_nest(nest, payload, [&](const Attribute& attribute) {
        switch (attribute.type) {
            case IFLA_VF_MAC:
                if (const auto told = payload.number<ifla_vf_mac>(attribute)) {
                    vf.number = told->vf;
                    numbered = true;
                    read_virtual_mac(*told, hardware_type, vf);
                }
                break;
            case IFLA_VF_VLAN:
                if (const auto told = payload.number<ifla_vf_vlan>(attribute)) {
                    payload.count_unless(told->vlan <= vlan_id_max);
                    vf.vlan =
                        static_cast<std::uint16_t>(told->vlan <= vlan_id_max ? told->vlan : 0);
                }
                break;
            case IFLA_VF_LINK_STATE:
                if (const auto told = payload.number<ifla_vf_link_state>(attribute)) {
                    const auto policy = to_policy(told->link_state);
                    payload.count_unless(policy.has_value());
                    vf.policy = policy.value_or(VirtualFunction::LinkPolicy::automatic);
                }
                break;
            case IFLA_VF_SPOOFCHK: vf.spoof_check = read_setting(attribute, payload); break;
            case IFLA_VF_TRUST: vf.trusted = read_setting(attribute, payload); break;
            default: break;
        }
    });
    payload.count_unless(numbered);
    return numbered ? std::optional(vf) : std::nullopt;
}

}  // namespace

LinkInfo read_link_info(const Attribute& nest, PayloadReader& payload) {
    LinkInfo info;
    read_nest(nest.payload, payload, [&](const Attribute& attribute) {
        switch (attribute.type) {
            case IFLA_INFO_KIND:
                info.kind = as_text(payload.text(attribute, kind_bytes_max));
                break;
            case IFLA_INFO_DATA: info.data = attribute.payload; break;
            case IFLA_INFO_SLAVE_KIND:
                info.port_of = as_text(payload.text(attribute, kind_bytes_max));
                break;
            case IFLA_INFO_SLAVE_DATA: info.port_data = attribute.payload; break;
            default: break;
        }
    });
    return info;
}

void apply(const LinkInfo& info, PayloadReader& payload, LinkChanged& link) {
    if (info.port_of == "bridge") {
        link.port = read_bridge_port(info.port_data, payload);
    }
    if (info.kind.empty()) {
        return;
    }
    link.kind = to_kind(info.kind);
    switch (*link.kind) {
        case LinkKind::tun: read_tun(info.data, payload, link); break;
        case LinkKind::bridge: link.bridge = read_bridge_settings(info.data, payload); break;
        case LinkKind::vlan:
            link.detail = read_detail<std::uint16_t>(info.data, IFLA_VLAN_ID, payload);
            break;
        case LinkKind::vxlan:
            link.detail = read_detail<std::uint32_t>(info.data, IFLA_VXLAN_ID, payload);
            // A tunnel names the device below it here, not in IFLA_LINK.
            if (const auto below =
                    read_detail<std::uint32_t>(info.data, IFLA_VXLAN_LINK, payload)) {
                link.lower = to_index(*below);
            }
            link.over_ipv6 = has_any(info.data, {IFLA_VXLAN_GROUP6, IFLA_VXLAN_LOCAL6}, payload);
            break;
        case LinkKind::geneve:
            link.detail = read_detail<std::uint32_t>(info.data, IFLA_GENEVE_ID, payload);
            link.over_ipv6 = has_any(info.data, {IFLA_GENEVE_REMOTE6}, payload);
            break;
        case LinkKind::bond:
            link.detail = read_detail<std::uint8_t>(info.data, IFLA_BOND_MODE, payload);
            break;
        case LinkKind::macvlan:
        case LinkKind::macvtap:
            link.detail = read_detail<std::uint32_t>(info.data, IFLA_MACVLAN_MODE, payload);
            break;
        case LinkKind::physical:
        case LinkKind::loopback:
        case LinkKind::veth:
        case LinkKind::tap:
        case LinkKind::ipvlan:
        case LinkKind::gre:
        case LinkKind::team:
        case LinkKind::vrf:
        case LinkKind::dummy:
        case LinkKind::ifb:
        case LinkKind::wireguard:
        case LinkKind::openvswitch:
        case LinkKind::other: break;
    }
}

std::optional<BridgePort> read_bridge_port(ByteView nest, PayloadReader& payload) {
    constexpr auto last_state = static_cast<std::uint8_t>(PortState::blocking);
    std::optional<PortState> state;
    bool isolated = false;
    read_nest(nest, payload, [&](const Attribute& attribute) {
        if (attribute.type == IFLA_BRPORT_STATE) {
            const auto number = payload.number<std::uint8_t>(attribute);
            if (number && *number <= last_state) {
                state = static_cast<PortState>(*number);
            } else {
                payload.count_unless(!number);
            }
        } else if (attribute.type == IFLA_BRPORT_ISOLATED) {
            isolated = payload.number<std::uint8_t>(attribute).value_or(0) != 0;
        }
    });
    return state ? std::optional(BridgePort{*state, isolated}) : std::nullopt;
}

std::optional<std::vector<VlanRange>> read_vlans(ByteView nest, PayloadReader& payload) {
    VlanReader vlans;
    bool good = true;
    bool of_device = false;
    read_nest(nest, payload, [&](const Attribute& attribute) {
        // A device that switches in its hardware tells of itself here, next to what its bridge
        // says.
        of_device |= attribute.type == IFLA_BRIDGE_FLAGS;
        if (attribute.type == IFLA_BRIDGE_VLAN_INFO && good) {
            const auto entry = read_struct<bridge_vlan_info>(attribute.payload);
            good = entry && vlans.add(*entry);
        }
    });
    good = good && vlans.finished();
    payload.count_unless(good);
    return good && !of_device ? std::optional(vlans.take()) : std::nullopt;
}

std::vector<VirtualFunction> read_virtual_functions(ByteView nest,
                                                    std::uint16_t hardware_type,
                                                    PayloadReader& payload) {
    std::vector<VirtualFunction> functions;
    read_nest(nest, payload, [&](const Attribute& attribute) {
        if (attribute.type != IFLA_VF_INFO || functions.size() >= virtual_functions_max) {
            return;
        }
        if (const auto vf = read_virtual_function(attribute.payload, hardware_type, payload)) {
            functions.push_back(*vf);
        }
    });
    return functions;
}

}  // namespace reachd::netlink
