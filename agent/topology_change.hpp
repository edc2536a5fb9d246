// One change of the host's network, for people and programs: when, which device, what. The kernel
// sends several messages for one action; they are told as one change. Where a link went through
// several states within that time, the first and the last count.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/address.hpp"
#include "common/link.hpp"
#include "common/time.hpp"

namespace reachd {

/// What about a device changed.
enum class LinkAspect : std::uint8_t {
    appeared,    ///< after: its kind
    removed,     ///< before: its kind
    moved_away,  ///< into another namespace
    name,
    master,         ///< names of bridge, bond, VRF; empty: none
    admin,          ///< "up", "down"
    carrier,        ///< "on", "off"
    oper_state,     ///< to_text(OperState)
    port_state,     ///< to_text(PortState); empty: no port of a bridge
    port_isolated,  ///< "on", "off"
    mtu,
    mac,
    lower,  ///< the device below or the other end: name, or "#12@ns3" where it lives elsewhere
    detail,
    bridge_settings,
    vlans,
    address_added,
    address_removed,
    gateway_added,
    gateway_removed,
    neighbour_mac,  ///< before, after: "10.0.0.5 52:54:00:…"
    mac_moved,  ///< of the bridge: "52:54:00:… vlan 5 port vnet1" before, "… port vnet2" after
};
inline constexpr std::size_t link_aspect_count = 22;

constexpr std::string_view to_text(LinkAspect aspect) {
    constexpr std::array<std::string_view, link_aspect_count> names{
        "appeared",      "removed",       "moved_away",      "name",          "master",
        "admin",         "carrier",       "oper_state",      "port_state",    "port_isolated",
        "mtu",           "mac",           "lower",           "detail",        "bridge_settings",
        "vlans",         "address_added", "address_removed", "gateway_added", "gateway_removed",
        "neighbour_mac", "mac_moved"};
    return names[static_cast<std::size_t>(aspect)];
}

struct LinkFact {
    LinkAspect aspect = LinkAspect::appeared;
    std::string before{};
    std::string after{};

    friend bool operator==(const LinkFact&, const LinkFact&) = default;
};

struct TopologyChange {
    /// Facts told of one change; more are counted, not kept.
    static constexpr std::size_t facts_max = 16;

    Instant time{};  ///< of its first message
    IfIndex device = IfIndex::any;
    std::uint64_t generation = 0;
    std::string name{};               ///< of the device, afterwards
    LinkKind kind = LinkKind::other;  ///< of a removed one as well
    std::vector<LinkFact> facts{};
    std::uint32_t facts_refused = 0;
};

/// In words, without the device's name: "joined bridge br0, mtu 9000 -> 1500".
std::string describe(const TopologyChange& change);

}  // namespace reachd
