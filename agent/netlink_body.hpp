// The parts of the rtnetlink parser, one function for each kind of body. They fill message.body in
// place (a message is read thousands of times a second into the same storage) and say false where
// it is malformed. Owns nothing; only netlink_message.cpp and the parts themselves include it.
#pragma once

#include "agent/netlink_attributes.hpp"
#include "agent/netlink_message.hpp"

namespace reachd::netlink {

// message.type, .dump_part and a body of NetlinkOther are set before each call.
// netlink_link.cpp
[[nodiscard]] bool read_new_link(ByteView body, NetlinkMessage& message);
[[nodiscard]] bool read_removed_link(ByteView body, NetlinkMessage& message);
[[nodiscard]] bool read_statistics(ByteView body, NetlinkMessage& message);

// netlink_neighbour.cpp
[[nodiscard]] bool read_address(ByteView body, NetlinkMessage& message);
[[nodiscard]] bool read_neighbour(ByteView body, NetlinkMessage& message);

// netlink_route.cpp; `flags` are those of the message's header.
[[nodiscard]] bool read_route(ByteView body, std::uint16_t flags, NetlinkMessage& message);
[[nodiscard]] bool read_removed_next_hop(ByteView body, NetlinkMessage& message);

// netlink_link_info.cpp: what is nested in a link.

/// IFLA_LINKINFO as it arrives; judged at the end, since data may come before their kind. The views
/// are into the datagram.
struct LinkInfo {
    std::string_view kind{};
    std::string_view port_of{};  ///< IFLA_INFO_SLAVE_KIND
    ByteView data{};
    ByteView port_data{};
};

LinkInfo read_link_info(const Attribute& nest, PayloadReader& payload);

/// Kind, detail, owner, bridge settings and port, as far as `info` tells them.
void apply(const LinkInfo& info, PayloadReader& payload, LinkChanged& link);

/// IFLA_INFO_SLAVE_DATA of a bridge, or IFLA_PROTINFO; none: it tells no state.
std::optional<BridgePort> read_bridge_port(ByteView nest, PayloadReader& payload);

/// IFLA_AF_SPEC of AF_BRIDGE; none: malformed, or not from a bridge.
std::optional<std::vector<VlanRange>> read_vlans(ByteView nest, PayloadReader& payload);

/// IFLA_VFINFO_LIST of a device of this hardware type.
std::vector<VirtualFunction> read_virtual_functions(ByteView nest,
                                                    std::uint16_t hardware_type,
                                                    PayloadReader& payload);

}  // namespace reachd::netlink
