// A network device of the host and what belongs to it, as plain values: what the topology model
// keeps and every reader of a snapshot sees. Judges nothing, and knows no netlink.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/address.hpp"
#include "common/mac_address.hpp"

namespace reachd {

/// What a device is, by the kernel's own word (IFLA_INFO_KIND) or for lack of one. Kinds that this
/// version does not know are `other`.
enum class LinkKind : std::uint8_t {
    physical,  ///< no kind, and a real link layer: a NIC of the hardware or the hypervisor
    loopback,
    bridge,
    veth,
    tun,
    tap,
    macvlan,
    macvtap,
    ipvlan,
    vlan,
    vxlan,
    geneve,
    gre,
    bond,
    team,
    vrf,
    dummy,
    ifb,
    wireguard,
    openvswitch,
    other,
};
inline constexpr std::size_t link_kind_count = 21;

constexpr std::string_view to_text(LinkKind kind) {
    constexpr std::array<std::string_view, link_kind_count> names{
        "physical", "loopback", "bridge", "veth",  "tun",       "tap",         "macvlan",
        "macvtap",  "ipvlan",   "vlan",   "vxlan", "geneve",    "gre",         "bond",
        "team",     "vrf",      "dummy",  "ifb",   "wireguard", "openvswitch", "other",
    };
    return names[static_cast<std::size_t>(kind)];
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
inline constexpr std::size_t oper_state_count = 7;

constexpr std::string_view to_text(OperState state) {
    constexpr std::array<std::string_view, oper_state_count> names{
        "unknown", "not_present", "down", "lower_layer_down", "testing", "dormant", "up"};
    return names[static_cast<std::size_t>(state)];
}

/// State of a bridge port (IEEE 802.1D), in the numbering of the kernel (BR_STATE_*).
enum class PortState : std::uint8_t { disabled, listening, learning, forwarding, blocking };
inline constexpr std::size_t port_state_count = 5;

constexpr std::string_view to_text(PortState state) {
    constexpr std::array<std::string_view, port_state_count> names{
        "disabled", "listening", "learning", "forwarding", "blocking"};
    return names[static_cast<std::size_t>(state)];
}

/// As a port of a bridge (IFLA_INFO_SLAVE_DATA of a bridge).
struct BridgePort {
    PortState state = PortState::disabled;
    bool isolated = false;

    friend bool operator==(const BridgePort&, const BridgePort&) = default;
};

/// Of a bridge itself.
struct BridgeSettings {
    bool vlan_filtering = false;
    bool stp = false;
    std::uint16_t forward_delay_centiseconds = 0;
    std::uint16_t default_pvid = 0;  ///< 0: none

    friend bool operator==(const BridgeSettings&, const BridgeSettings&) = default;
};

/// One network device of this namespace. Its identity is index and generation: the kernel gives an
/// index out again, and names change.
struct Link {
    IfIndex index = IfIndex::any;
    std::uint64_t generation = 0;  ///< unique in this run
    std::string name;              ///< safe text: no control characters, valid UTF-8
    LinkKind kind = LinkKind::physical;
    OperState oper_state = OperState::unknown;
    bool admin_up = false;
    bool carrier = false;
    bool resolves = false;  ///< neighbours by ARP or ND: no IFF_NOARP, _LOOPBACK or _POINTOPOINT
    std::uint16_t hardware_type = 0;  ///< ARPHRD_*
    std::optional<MacAddress> mac{};
    std::optional<BridgePort> port{};
    std::uint32_t mtu_bytes = 0;
    IfIndex master = IfIndex::any;  ///< bridge, bond, team or VRF it belongs to
    /// IFLA_LINK: the other end of a veth, the device below a vlan, macvlan, macvtap or vxlan.
    IfIndex lower = IfIndex::any;
    /// Namespace of `lower` as this one numbers it (IFLA_LINK_NETNSID); -1: this one.
    std::int32_t lower_namespace = -1;
    std::uint32_t carrier_changes = 0;
    /// By kind: VLAN id, VXLAN or Geneve network identifier, bond mode (BOND_MODE_*), macvlan mode.
    std::uint32_t detail = 0;
    bool over_ipv6 = false;  ///< of a vxlan or geneve: its tunnel has IPv6 addresses
    std::optional<std::uint32_t> owner_uid{};  ///< of a tun or tap; nothing: nobody's in particular
    BridgeSettings bridge{};

    /// Admin up, and operationally up or unable to tell (reachd_interface_up).
    bool is_up() const {
        return admin_up && (oper_state == OperState::up || oper_state == OperState::unknown);
    }

    friend bool operator==(const Link&, const Link&) = default;
};

/// Since the link appeared; never falling, also when its driver starts again from zero.
struct LinkCounters {
    std::uint64_t receive_errors = 0;
    std::uint64_t transmit_errors = 0;
    std::uint64_t receive_drops = 0;  ///< rx_dropped + rx_missed_errors, as in /proc/net/dev
    std::uint64_t transmit_drops = 0;

    friend bool operator==(const LinkCounters&, const LinkCounters&) = default;
};

/// An address of a device of this host.
struct InterfaceAddress {
    IfIndex device = IfIndex::any;
    IpAddress address{};  ///< scope set where it is link-local IPv6
    std::uint8_t prefix_length = 0;
    std::uint32_t flags = 0;  ///< IFA_F_*: temporary, tentative, dadfailed, permanent, …

    friend bool operator==(const InterfaceAddress&, const InterfaceAddress&) = default;
};

/// VLAN ids `first` to `last` that a bridge port (or the bridge itself) lets pass.
struct VlanRange {
    std::uint16_t first = 0;
    std::uint16_t last = 0;
    bool pvid = false;      ///< untagged frames that come in get this id
    bool untagged = false;  ///< goes out without its tag

    friend bool operator==(const VlanRange&, const VlanRange&) = default;
};

/// A virtual function as its physical function describes it (IFLA_VFINFO_LIST).
struct VirtualFunction {
    std::uint32_t number = 0;
    std::optional<MacAddress> mac{};
    std::uint16_t vlan = 0;  ///< 0: none
    enum class LinkPolicy : std::uint8_t { automatic, enable, disable } policy{};
    bool spoof_check = false;
    bool trusted = false;

    friend bool operator==(const VirtualFunction&, const VirtualFunction&) = default;
};

}  // namespace reachd
