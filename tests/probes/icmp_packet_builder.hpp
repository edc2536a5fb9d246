// Packets for tests, byte by byte and by the RFCs rather than by the code under test: IPv4 and IPv6
// headers, echo requests and replies, ICMP errors that quote. Valid unless a test damages them.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "common/address.hpp"
#include "probes/icmp_packet.hpp"

namespace reachd::test {

using Bytes = std::vector<std::uint8_t>;

inline Bytes join(std::initializer_list<Bytes> parts) {
    Bytes all;
    for (const Bytes& part : parts) {
        all.insert(all.end(), part.begin(), part.end());
    }
    return all;
}

inline void put_u16(Bytes& bytes, std::size_t at, std::size_t value) {
    bytes.at(at) = static_cast<std::uint8_t>(value >> 8U);
    bytes.at(at + 1) = static_cast<std::uint8_t>(value);
}

/// RFC 1071, the slow way: one's complement addition, carry by carry.
inline std::uint16_t reference_checksum(const Bytes& bytes) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        sum += i % 2 == 0 ? bytes[i] * 256U : bytes[i];
        if (sum > 0xffff) {
            sum -= 0xffff;
        }
    }
    return static_cast<std::uint16_t>(0xffff - sum);
}

inline Bytes ipv4_packet(const IpAddress& source,
                         const IpAddress& destination,
                         const Bytes& payload,
                         std::size_t option_words = 0,
                         std::uint8_t protocol = 1) {
    const std::size_t header = 20 + 4 * option_words;
    Bytes ip(header, 0x01);  // options: no operation
    std::fill_n(ip.begin(), 20, std::uint8_t{0});
    ip[0] = static_cast<std::uint8_t>(0x40 + header / 4);
    put_u16(ip, 2, header + payload.size());
    ip[8] = 64;
    ip[9] = protocol;
    std::copy(source.bytes().begin(), source.bytes().end(), ip.begin() + 12);
    std::copy(destination.bytes().begin(), destination.bytes().end(), ip.begin() + 16);
    put_u16(ip, 10, reference_checksum(ip));
    return join({ip, payload});
}

inline Bytes ipv6_packet(const IpAddress& source,
                         const IpAddress& destination,
                         const Bytes& payload,
                         std::uint8_t next_header = 58) {
    Bytes ip(40, 0);
    ip[0] = 0x60;
    put_u16(ip, 4, payload.size());
    ip[6] = next_header;
    ip[7] = 64;
    std::copy(source.bytes().begin(), source.bytes().end(), ip.begin() + 8);
    std::copy(destination.bytes().begin(), destination.bytes().end(), ip.begin() + 24);
    return join({ip, payload});
}

inline Bytes ip_packet(const IpAddress& source,
                       const IpAddress& destination,
                       const Bytes& payload) {
    return source.family() == Family::ipv4 ? ipv4_packet(source, destination, payload)
                                           : ipv6_packet(source, destination, payload);
}

/// Type, code, checksum (IPv4's; ICMPv6's stays zero, the kernel has verified it), rest, body.
inline Bytes icmp(
    Family family, std::uint8_t type, std::uint8_t code, std::uint32_t rest, const Bytes& body) {
    Bytes header(8, 0);
    header[0] = type;
    header[1] = code;
    put_u16(header, 4, rest >> 16U);
    put_u16(header, 6, rest & 0xffffU);
    Bytes packet = join({header, body});
    if (family == Family::ipv4) {
        put_u16(packet, 2, reference_checksum(packet));
    }
    return packet;
}

inline Bytes cookie_bytes(const ProbeCookie& cookie) {
    Bytes bytes(ProbeCookie::bytes);
    cookie.write(bytes);
    return bytes;
}

inline Bytes echo(Family family,
                  bool request,
                  std::uint16_t identifier,
                  const ProbeCookie& cookie,
                  std::size_t payload_bytes = 56) {
    Bytes body = cookie_bytes(cookie);
    body.resize(payload_bytes);
    const std::uint32_t rest =
        static_cast<std::uint32_t>(identifier) << 16U | (cookie.token.sequence & 0xffffU);
    const bool v4 = family == Family::ipv4;
    const int type = v4 ? (request ? 8 : 0) : (request ? 128 : 129);
    return icmp(family, static_cast<std::uint8_t>(type), 0, rest, body);
}

}  // namespace reachd::test
