// Frames between neighbours for tests, byte by byte and by the RFCs rather than by the code under
// test: ARP, neighbour discovery, DHCP, behind VLAN tags. Valid unless a test damages them.
#pragma once

#include <cstdint>
#include <string_view>

#include "common/address.hpp"
#include "common/mac_address.hpp"
#include "tests/probes/icmp_packet_builder.hpp"

namespace reachd::test {

inline MacAddress mac(std::string_view text) {
    return *MacAddress::parse(text);
}

inline IpAddress ip(std::string_view text) {
    return *IpAddress::parse(text);
}

inline Bytes bytes_of(const MacAddress& address) {
    return {address.bytes().begin(), address.bytes().end()};
}

inline Bytes bytes_of(const IpAddress& address) {
    return {address.bytes().begin(), address.bytes().end()};
}

inline Bytes u16(std::size_t value) {
    return {static_cast<std::uint8_t>(value >> 8U), static_cast<std::uint8_t>(value)};
}

inline Bytes ethernet(const MacAddress& destination,
                      const MacAddress& source,
                      std::size_t type,
                      const Bytes& payload) {
    return join({bytes_of(destination), bytes_of(source), u16(type), payload});
}

/// The same frame with a tag in front of its type.
inline Bytes with_tag(const Bytes& frame, std::size_t control, std::size_t type = 0x8100) {
    const auto split = frame.begin() + 12;
    return join({{frame.begin(), split}, u16(type), u16(control), {split, frame.end()}});
}

inline Bytes arp(std::size_t operation,
                 const MacAddress& sender_mac,
                 const IpAddress& sender,
                 const MacAddress& target_mac,
                 const IpAddress& target) {
    return join({{0, 1, 8, 0, 6, 4},
                 u16(operation),
                 bytes_of(sender_mac),
                 bytes_of(sender),
                 bytes_of(target_mac),
                 bytes_of(target)});
}

/// Solicitation (135) or advertisement (136), without a checksum.
inline Bytes nd(std::uint8_t type,
                std::uint8_t flags,
                const IpAddress& target,
                const Bytes& options = {}) {
    return join({{type, 0, 0, 0, flags, 0, 0, 0}, bytes_of(target), options});
}

inline Bytes link_layer_option(std::uint8_t type, const MacAddress& address) {
    return join({{type, 1}, bytes_of(address)});
}

/// An IPv6 packet with this ICMPv6 message, whose checksum is made right (RFC 8200, section 8.1).
inline Bytes icmpv6(const IpAddress& source,
                    const IpAddress& destination,
                    const Bytes& message,
                    std::uint8_t hop_limit = 255) {
    Bytes packet = ipv6_packet(source, destination, message);
    packet[7] = hop_limit;
    put_u16(packet, 42, 0);
    const Bytes pseudo = join({bytes_of(source),
                               bytes_of(destination),
                               {0, 0},
                               u16(message.size()),
                               {0, 0, 0, 58},
                               {packet.begin() + 40, packet.end()}});
    put_u16(packet, 42, reference_checksum(pseudo));
    return packet;
}

/// An IPv4 packet with this UDP payload, both checksums right (RFC 768).
inline Bytes udp(const IpAddress& source,
                 const IpAddress& destination,
                 std::size_t from,
                 std::size_t to,
                 const Bytes& payload) {
    Bytes datagram = join({u16(from), u16(to), u16(payload.size() + 8), {0, 0}, payload});
    const Bytes pseudo =
        join({bytes_of(source), bytes_of(destination), {0, 17}, u16(datagram.size()), datagram});
    put_u16(datagram, 6, reference_checksum(pseudo));
    return ipv4_packet(source, destination, datagram, 0, 17);
}

struct DhcpFields {
    std::uint8_t operation = 1;  ///< 1 from the client, 2 from the server
    IpAddress client;            ///< ciaddr
    IpAddress yours;             ///< yiaddr
    MacAddress hardware;         ///< chaddr
    Bytes options;               ///< behind the magic
};

/// RFC 2131, section 2.
inline Bytes dhcp(const DhcpFields& fields) {
    Bytes message(240, 0);
    message[0] = fields.operation;
    message[1] = 1;
    message[2] = 6;
    const auto put = [&message](std::size_t at, const Bytes& bytes) {
        std::copy(bytes.begin(), bytes.end(), message.begin() + static_cast<std::ptrdiff_t>(at));
    };
    put(12, bytes_of(fields.client));
    put(16, bytes_of(fields.yours));
    put(28, bytes_of(fields.hardware));
    put(236, {0x63, 0x82, 0x53, 0x63});
    return join({message, fields.options});
}

}  // namespace reachd::test
