// The packets of path MTU probing as bytes: how much a packet of a given size carries, and an echo
// request cut into small IP fragments, so that the request fits where its answer may not. Pure:
// sends nothing, and reads no answers (icmp_packet does).
#pragma once

#include <cstdint>

#include "common/address.hpp"
#include "common/bytes.hpp"
#include "probes/icmp_packet.hpp"

namespace reachd {

constexpr std::size_t ip_header_bytes(Family family) {
    return family == Family::ipv4 ? 20 : 40;
}

/// What follows the ICMP or UDP header, 8 bytes both, in an IP packet of `bytes` in all. At least a
/// cookie: RFC 791's smallest MTU of 68 bytes has room for it, and so has any of IPv6.
std::size_t mtu_payload_bytes(Family family, std::uint32_t bytes);

/// An echo request that goes out in two fragments, about half its size each: where a whole packet
/// hardly smaller passes, they do, and no more of them than must are lost by chance.
struct FragmentedEcho {
    IpAddress source;  ///< unspecified, IPv4 only: the kernel fills it in (raw(7))
    IpAddress destination;
    std::uint8_t dscp = 0;  ///< 0 to 63
    std::uint16_t identifier = 0;
    ProbeCookie cookie;
    std::uint32_t bytes = 0;  ///< of the whole packet, had it not been cut
};

inline constexpr std::size_t fragment_count = 2;

/// Of one fragment of the largest packet, IP header included.
inline constexpr std::size_t fragment_bytes_max = 32'832;

/// Writes fragment `place` of fragment_count as a whole IP packet, and returns its size, at most
/// fragment_bytes_max. The checksum of the IPv4 header is left to the kernel.
std::size_t encode_fragment(ByteSpan out, const FragmentedEcho& echo, std::size_t place);

}  // namespace reachd
