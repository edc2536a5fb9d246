#include "probes/neighbour_packet.hpp"

#include <algorithm>
#include <array>

#include "common/check.hpp"
#include "probes/icmp_packet.hpp"
#include "probes/ip_protocol.hpp"

namespace reachd {
namespace {

using Kind = NeighbourFrame::Kind;
using Reading = Result<NeighbourFrame, FrameFlaw>;

// IEEE 802 and IANA numbers.
constexpr std::uint16_t ether_type_ipv4 = 0x0800;
constexpr std::uint16_t ether_type_arp = 0x0806;
constexpr std::uint16_t ether_type_ipv6 = 0x86dd;
constexpr std::uint16_t ether_type_vlan = 0x8100;
constexpr std::uint16_t ether_type_service_vlan = 0x88a8;
constexpr std::uint16_t vlan_id_mask = 0x0fff;
constexpr std::size_t ether_type_at = 12;
constexpr std::size_t ethernet_bytes = 14;
constexpr std::size_t vlan_tag_bytes = 4;
constexpr int vlan_tags_max = 2;

constexpr std::uint16_t arp_ethernet = 1;
constexpr std::uint16_t arp_operation_request = 1;
constexpr std::uint16_t arp_operation_reply = 2;
constexpr std::size_t arp_bytes = 28;

constexpr std::uint8_t nd_hop_limit = 255;

constexpr std::uint8_t nd_solicitation = 135;
constexpr std::uint8_t nd_advertisement = 136;
constexpr std::size_t nd_bytes = 24;  // of either message, before its options
constexpr std::uint8_t nd_source_link_layer = 1;
constexpr std::uint8_t nd_target_link_layer = 2;
constexpr std::size_t nd_option_unit = 8;
constexpr std::uint32_t nd_flag_solicited = 0x40000000;

constexpr std::uint16_t dhcp_server_port = 67;
constexpr std::uint16_t dhcp_client_port = 68;
constexpr std::uint8_t bootp_request = 1;
constexpr std::uint8_t bootp_reply = 2;
constexpr std::uint32_t dhcp_magic = 0x63825363;
constexpr std::size_t dhcp_magic_at = 236;
constexpr std::size_t dhcp_options_at = 240;
constexpr std::uint8_t dhcp_option_pad = 0;
constexpr std::uint8_t dhcp_option_requested_address = 50;
constexpr std::uint8_t dhcp_option_message_type = 53;
constexpr std::uint8_t dhcp_option_end = 255;
constexpr std::uint8_t dhcp_type_request = 3;
constexpr std::uint8_t dhcp_type_ack = 5;

MacAddress mac_at(ByteView bytes, std::size_t at) {
    return *MacAddress::from_bytes(bytes.subspan(at, MacAddress::size));
}

IpAddress ipv4_at(ByteView bytes, std::size_t at) {
    return *IpAddress::from_bytes(bytes.subspan(at, 4));
}

IpAddress ipv6_at(ByteView bytes, std::size_t at) {
    return *IpAddress::from_bytes(bytes.subspan(at, 16));
}

/// One that a host can have (RFC 1122, section 3.2.1.3; RFC 4291, section 2.4).
bool is_host_address(const IpAddress& address) {
    if (address.is_multicast() || address.is_loopback()) {
        return false;
    }
    const ByteView bytes = address.bytes();
    if (address.family() == Family::ipv6) {
        return !address.is_unspecified();
    }
    return bytes[0] != 0 &&
           !std::all_of(bytes.begin(), bytes.end(), [](auto byte) { return byte == 0xff; });
}

/// RFC 1071 over a pseudo header and what it stands for; zero when the checksum within holds.
std::uint16_t transport_checksum(ByteView pseudo_header, ByteView segment) {
    const auto ones = [](ByteView bytes) {
        return static_cast<std::uint32_t>(static_cast<std::uint16_t>(~internet_checksum(bytes)));
    };
    const std::uint32_t sum = ones(pseudo_header) + ones(segment);
    return static_cast<std::uint16_t>(~((sum & 0xffffU) + (sum >> 16U)));
}

/// RFC 8200, section 8.1. `header` is the IPv6 header.
std::uint16_t icmpv6_checksum(ByteView header, ByteView message) {
    std::array<std::uint8_t, 40> pseudo{};
    std::copy_n(header.begin() + 8, 32, pseudo.begin());
    write_big_endian(ByteSpan(pseudo), 32, static_cast<std::uint32_t>(message.size()));
    pseudo[39] = protocol_icmpv6;
    return transport_checksum(pseudo, message);
}

/// RFC 768. `header` is the IPv4 header.
std::uint16_t udp_checksum(ByteView header, ByteView datagram) {
    std::array<std::uint8_t, 12> pseudo{};
    std::copy_n(header.begin() + 12, 8, pseudo.begin());
    pseudo[9] = protocol_udp;
    write_big_endian(ByteSpan(pseudo), 10, static_cast<std::uint16_t>(datagram.size()));
    return transport_checksum(pseudo, datagram);
}

// ---- ARP

/// RFC 826: `bytes` behind the Ethernet header.
Reading read_arp(NeighbourFrame found, ByteView bytes, Speaker speaker) {
    if (bytes.size() < arp_bytes) {
        return FrameFlaw::damaged;
    }
    if (*read_u16(bytes, 0) != arp_ethernet || *read_u16(bytes, 2) != ether_type_ipv4) {
        return FrameFlaw::foreign;
    }
    if (bytes[4] != MacAddress::size || bytes[5] != 4) {
        return FrameFlaw::damaged;
    }
    const std::uint16_t operation = *read_u16(bytes, 6);
    if (operation != arp_operation_request && operation != arp_operation_reply) {
        return FrameFlaw::foreign;
    }
    found.kind = operation == arp_operation_request ? Kind::arp_request : Kind::arp_reply;
    found.mac = mac_at(bytes, 8);
    found.address = ipv4_at(bytes, 14);
    found.target = ipv4_at(bytes, 24);
    // A sender that differs from the frame's is a proxy, a cluster's virtual address or a forgery:
    // none of them is the guest that we could ask.
    const bool itself = found.mac == found.frame_source;
    if (!itself && (speaker == Speaker::itself || !found.mac.is_station())) {
        return FrameFlaw::damaged;
    }
    const bool claims_nothing = found.address.is_unspecified();
    if (claims_nothing ? !found.is_probe() || found.kind == Kind::arp_reply
                       : !is_host_address(found.address)) {
        return FrameFlaw::damaged;
    }
    return found;
}

// ---- Neighbour discovery

/// RFC 4861, section 4.6: whether all options have their place, and each of type `type` names the
/// sender of the frame, if that is to be. Sets `present` if there is one.
bool check_nd_options(ByteView options,
                      std::uint8_t type,
                      const std::optional<MacAddress>& sender,
                      bool& present) {
    while (!options.empty()) {
        const std::size_t length = read_u8(options, 1).value_or(0) * nd_option_unit;
        if (length == 0 || length > options.size()) {
            return false;
        }
        if (options[0] == type) {
            if (length != nd_option_unit || (sender && mac_at(options, 2) != *sender)) {
                return false;
            }
            present = true;
        }
        options = options.subspan(length);
    }
    return true;
}

/// RFC 4291, section 2.7.1: ff02::1:ff00:0/104, before the last 24 bits of an address.
constexpr std::array<std::uint8_t, 13> solicited_node_prefix{
    0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};

bool is_solicited_node_of(const IpAddress& group, const IpAddress& target) {
    const ByteView bytes = group.bytes();
    return std::equal(solicited_node_prefix.begin(), solicited_node_prefix.end(), bytes.begin()) &&
           std::equal(bytes.begin() + 13, bytes.end(), target.bytes().begin() + 13);
}

/// RFC 4861, section 7.1.1.
Reading read_solicitation(NeighbourFrame found,
                          const IpAddress& source,
                          const IpAddress& destination,
                          ByteView message) {
    found.kind = Kind::solicitation;
    found.address = source;
    found.target = ipv6_at(message, 8);
    bool with_link_layer = false;
    if (!check_nd_options(
            message.subspan(nd_bytes), nd_source_link_layer, found.mac, with_link_layer)) {
        return FrameFlaw::damaged;
    }
    const bool source_allowed =
        source.is_unspecified()
            ? is_solicited_node_of(destination, found.target) && !with_link_layer
            : is_host_address(source);
    if (!source_allowed || !is_host_address(found.target)) {
        return FrameFlaw::damaged;
    }
    return found;
}

/// RFC 4861, section 7.1.2.
Reading read_advertisement(NeighbourFrame found,
                           const IpAddress& source,
                           const IpAddress& destination,
                           ByteView message,
                           Speaker speaker) {
    found.kind = Kind::advertisement;
    found.solicited = (*read_u32(message, 4) & nd_flag_solicited) != 0;
    found.address = ipv6_at(message, 8);
    found.target = destination;
    const auto sender = speaker == Speaker::itself ? std::optional(found.mac) : std::nullopt;
    bool with_link_layer = false;
    if (!check_nd_options(
            message.subspan(nd_bytes), nd_target_link_layer, sender, with_link_layer)) {
        return FrameFlaw::damaged;
    }
    if (!is_host_address(found.address) || !is_host_address(source) ||
        (found.solicited && destination.is_multicast())) {
        return FrameFlaw::damaged;
    }
    return found;
}

Reading read_ipv6(NeighbourFrame found, ByteView bytes, Checksum checksum, Speaker speaker) {
    if (bytes.size() < ipv6_header_bytes || bytes[0] >> 4U != 6) {
        return FrameFlaw::damaged;
    }
    if (bytes[6] != protocol_icmpv6) {
        return FrameFlaw::foreign;
    }
    const std::size_t length = *read_u16(bytes, 4);
    if (length > bytes.size() - ipv6_header_bytes || length == 0) {
        return FrameFlaw::damaged;
    }
    const ByteView header = bytes.first(ipv6_header_bytes);
    const ByteView message = bytes.subspan(ipv6_header_bytes, length);
    if (message[0] != nd_solicitation && message[0] != nd_advertisement) {
        return FrameFlaw::foreign;
    }
    if (message.size() < nd_bytes || message[1] != 0 || header[7] != nd_hop_limit) {
        return FrameFlaw::damaged;
    }
    if (checksum == Checksum::complete && icmpv6_checksum(header, message) != 0) {
        return FrameFlaw::damaged;
    }
    const IpAddress source = ipv6_at(header, 8);
    const IpAddress destination = ipv6_at(header, 24);
    found.mac = found.frame_source;  // an option may only repeat it
    return message[0] == nd_solicitation
               ? read_solicitation(found, source, destination, message)
               : read_advertisement(found, source, destination, message, speaker);
}

// ---- DHCP

struct DhcpOptions {
    std::uint8_t message_type = 0;
    IpAddress requested;
};

/// RFC 2132. Nothing: an option reaches beyond the end, or has a wrong length. The first of a kind
/// counts; an end mark may be missing.
std::optional<DhcpOptions> read_dhcp_options(ByteView bytes) {
    DhcpOptions found;
    while (!bytes.empty() && bytes[0] != dhcp_option_end) {
        if (bytes[0] == dhcp_option_pad) {
            bytes = bytes.subspan(1);
            continue;
        }
        const std::size_t length = read_u8(bytes, 1).value_or(0xff);
        if (bytes.size() < 2 + length) {
            return std::nullopt;
        }
        const ByteView value = bytes.subspan(2, length);
        if (bytes[0] == dhcp_option_message_type && found.message_type == 0) {
            if (value.size() != 1) {
                return std::nullopt;
            }
            found.message_type = value[0];
        } else if (bytes[0] == dhcp_option_requested_address && found.requested.is_unspecified()) {
            if (value.size() != 4) {
                return std::nullopt;
            }
            found.requested = ipv4_at(value, 0);
        }
        bytes = bytes.subspan(2 + length);
    }
    return found;
}

/// What the client has is in ciaddr, what it wants in its option (RFC 2131, section 4.3.2).
Reading read_dhcp_request(NeighbourFrame found,
                          const IpAddress& source,
                          ByteView message,
                          const DhcpOptions& options) {
    found.kind = Kind::dhcp_request;
    found.address = ipv4_at(message, 12);
    found.target = options.requested.is_unspecified() ? found.address : options.requested;
    if (found.mac != found.frame_source) {
        return FrameFlaw::damaged;
    }
    if (!source.is_unspecified() && source != found.address) {
        return FrameFlaw::damaged;
    }
    if (!is_host_address(found.target) ||
        (!found.address.is_unspecified() && !is_host_address(found.address))) {
        return FrameFlaw::damaged;
    }
    return found;
}

Reading read_dhcp_ack(NeighbourFrame found, ByteView message) {
    found.kind = Kind::dhcp_ack;
    found.address = ipv4_at(message, 16);
    if (found.address.is_unspecified()) {
        return FrameFlaw::foreign;  // the answer to an INFORM grants nothing
    }
    return is_host_address(found.address) ? Reading(found) : Reading(FrameFlaw::damaged);
}

/// RFC 2131, section 2: `message` behind the UDP header. Relays' copies are left alone: their
/// frames come from elsewhere, and the client's own was seen before.
Reading read_dhcp(NeighbourFrame found, const IpAddress& source, ByteView message, bool to_server) {
    if (message.size() < dhcp_options_at) {
        return FrameFlaw::damaged;
    }
    if (*read_u32(message, dhcp_magic_at) != dhcp_magic) {
        return FrameFlaw::foreign;  // BOOTP
    }
    if (message[0] != (to_server ? bootp_request : bootp_reply) || message[1] != arp_ethernet ||
        message[2] != MacAddress::size) {
        return FrameFlaw::damaged;
    }
    const auto options = read_dhcp_options(message.subspan(dhcp_options_at));
    if (!options) {
        return FrameFlaw::damaged;
    }
    found.mac = mac_at(message, 28);
    if (!found.mac.is_station()) {
        return FrameFlaw::damaged;
    }
    if (to_server && options->message_type == dhcp_type_request) {
        return read_dhcp_request(found, source, message, *options);
    }
    if (!to_server && options->message_type == dhcp_type_ack) {
        return read_dhcp_ack(found, message);
    }
    return FrameFlaw::foreign;
}

Reading read_ipv4(NeighbourFrame found, ByteView bytes, Checksum checksum) {
    if (bytes.size() < ipv4_header_min || bytes[0] >> 4U != 4) {
        return FrameFlaw::damaged;
    }
    const std::size_t header_bytes = (bytes[0] & 0x0fU) * std::size_t{4};
    const std::size_t total = *read_u16(bytes, 2);
    if (header_bytes < ipv4_header_min || total < header_bytes || total > bytes.size()) {
        return FrameFlaw::damaged;
    }
    const bool is_fragment = (*read_u16(bytes, 6) & 0x3fffU) != 0;
    if (bytes[9] != protocol_udp || is_fragment) {
        return FrameFlaw::foreign;
    }
    const ByteView header = bytes.first(header_bytes);
    const ByteView udp = bytes.subspan(header_bytes, total - header_bytes);
    if (internet_checksum(header) != 0 || udp.size() < udp_header_bytes) {
        return FrameFlaw::damaged;
    }
    const std::uint16_t from = *read_u16(udp, 0);
    const std::uint16_t to = *read_u16(udp, 2);
    const bool to_server = from == dhcp_client_port && to == dhcp_server_port;
    if (!to_server && !(from == dhcp_server_port && to == dhcp_client_port)) {
        return FrameFlaw::foreign;
    }
    const std::size_t length = *read_u16(udp, 4);
    if (length < udp_header_bytes || length > udp.size()) {
        return FrameFlaw::damaged;
    }
    const ByteView datagram = udp.first(length);
    const bool checked = checksum == Checksum::complete && *read_u16(udp, 6) != 0;
    if (checked && udp_checksum(header, datagram) != 0) {
        return FrameFlaw::damaged;
    }
    return read_dhcp(found, ipv4_at(header, 12), datagram.subspan(udp_header_bytes), to_server);
}

// ---- Writing

void write_bytes(ByteSpan frame, std::size_t at, ByteView bytes) {
    ENSURE(at + bytes.size() <= frame.size());
    std::copy(bytes.begin(), bytes.end(), frame.begin() + static_cast<std::ptrdiff_t>(at));
}

/// Where a question goes that is for whoever has the address: everybody, or of IPv6 hosts those
/// whose address ends alike (RFC 2464, section 7).
MacAddress group_of(const IpAddress& address) {
    if (address.family() == Family::ipv4) {
        return MacAddress({0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
    }
    const ByteView bytes = address.bytes();
    return MacAddress({0x33, 0x33, 0xff, bytes[13], bytes[14], bytes[15]});
}

void write_ethernet(const NeighbourTarget& target, std::uint16_t type, ByteSpan frame) {
    write_bytes(frame, 0, target.mac.value_or(group_of(target.address)).bytes());
    write_bytes(frame, MacAddress::size, target.sender_mac.bytes());
    write_big_endian(frame, ether_type_at, type);
}

/// The target's hardware address, which is what is asked for, stays zero.
void write_arp(const NeighbourTarget& target, ByteSpan arp) {
    write_big_endian(arp, 0, arp_ethernet);
    write_big_endian(arp, 2, ether_type_ipv4);
    write_big_endian(arp, 4, static_cast<std::uint8_t>(MacAddress::size));
    write_big_endian(arp, 5, std::uint8_t{4});
    write_big_endian(arp, 6, arp_operation_request);
    write_bytes(arp, 8, target.sender_mac.bytes());
    write_bytes(arp, 14, target.sender.bytes());
    write_bytes(arp, 24, target.address.bytes());
}

/// As neighbour unreachability detection asks: unicast, to the address itself (RFC 4861, section
/// 7.3.3), or as address resolution does, to its group (7.2.2). With the source link-layer address,
/// without which nobody answers a sender unknown to it.
void write_solicitation(const NeighbourTarget& target, ByteSpan ip) {
    const ByteSpan message = ip.subspan(ipv6_header_bytes);
    write_big_endian(ip, 0, std::uint32_t{6U << 28U});
    write_big_endian(ip, 4, static_cast<std::uint16_t>(message.size()));
    write_big_endian(ip, 6, protocol_icmpv6);
    write_big_endian(ip, 7, nd_hop_limit);
    write_bytes(ip, 8, target.sender.bytes());
    write_bytes(ip, 24, target.address.bytes());
    if (!target.mac) {
        write_bytes(ip, 24, solicited_node_prefix);
    }
    write_big_endian(message, 0, nd_solicitation);
    write_bytes(message, 8, target.address.bytes());
    write_big_endian(message, nd_bytes, nd_source_link_layer);
    write_big_endian(message, nd_bytes + 1, std::uint8_t{1});
    write_bytes(message, nd_bytes + 2, target.sender_mac.bytes());
    write_big_endian(message, 2, icmpv6_checksum(ip.first(ipv6_header_bytes), message));
}

}  // namespace

std::size_t write_neighbour_request(const NeighbourTarget& target, ByteSpan frame) {
    const bool v4 = target.address.family() == Family::ipv4;
    ENSURE(target.sender.family() == target.address.family());
    ENSURE(v4 || !target.sender.is_unspecified());
    ENSURE((!target.mac || target.mac->is_station()) && target.sender_mac.is_station());
    const std::size_t size = v4 ? ethernet_bytes + arp_bytes : neighbour_request_bytes_max;
    ENSURE(frame.size() >= size);
    const ByteSpan written = frame.first(size);
    std::fill(written.begin(), written.end(), std::uint8_t{0});
    write_ethernet(target, v4 ? ether_type_arp : ether_type_ipv6, written);
    if (v4) {
        write_arp(target, written.subspan(ethernet_bytes));
    } else {
        write_solicitation(target, written.subspan(ethernet_bytes));
    }
    return size;
}

std::optional<IpAddress> read_request_target(ByteView frame) {
    const auto type = read_u16(frame, ether_type_at);
    if (type == ether_type_arp && frame.size() >= ethernet_bytes + arp_bytes) {
        return ipv4_at(frame, ethernet_bytes + 24);
    }
    if (type == ether_type_ipv6 && frame.size() >= neighbour_request_bytes_max) {
        return ipv6_at(frame, ethernet_bytes + ipv6_header_bytes + 8);
    }
    return std::nullopt;
}

Reading read_neighbour_frame(ByteView frame, Checksum checksum, Speaker speaker) {
    if (frame.size() < ethernet_bytes) {
        return FrameFlaw::damaged;
    }
    NeighbourFrame found;
    found.frame_destination = mac_at(frame, 0);
    found.frame_source = mac_at(frame, MacAddress::size);
    std::size_t at = ether_type_at;
    auto type = read_u16(frame, at);
    for (int tags = 0;
         tags < vlan_tags_max && (type == ether_type_vlan || type == ether_type_service_vlan);
         ++tags) {
        if (found.vlan == 0) {  // else the outer one; a tag with id 0 carries but a priority
            found.vlan = read_u16(frame, at + 2).value_or(0) & vlan_id_mask;
        }
        at += vlan_tag_bytes;
        type = read_u16(frame, at);
    }
    if (!type || !found.frame_source.is_station()) {
        return FrameFlaw::damaged;
    }
    const ByteView payload = tail(frame, at + 2);
    switch (*type) {
        case ether_type_arp: return read_arp(found, payload, speaker);
        case ether_type_ipv6: return read_ipv6(found, payload, checksum, speaker);
        case ether_type_ipv4: return read_ipv4(found, payload, checksum);
        default: return FrameFlaw::foreign;
    }
}

bool is_answer_to(const NeighbourTarget& target, const NeighbourFrame& frame) {
    const bool answer =
        frame.kind == Kind::arp_reply || (frame.kind == Kind::advertisement && frame.solicited);
    IpAddress address = frame.address;
    address.set_scope(target.address.scope());
    return answer && address == target.address && frame.frame_destination == target.sender_mac &&
           frame.target == target.sender && frame.vlan == 0;
}

}  // namespace reachd
