// Numbers and sizes of IP headers, as they stand in packets.
#pragma once

#include <cstddef>
#include <cstdint>

namespace reachd {

/// Protocols, and next headers of IPv6 (IANA "Protocol Numbers").
inline constexpr std::uint8_t protocol_icmp = 1;
inline constexpr std::uint8_t protocol_udp = 17;
inline constexpr std::uint8_t next_header_fragment = 44;
inline constexpr std::uint8_t protocol_icmpv6 = 58;

inline constexpr std::size_t ipv4_header_min = 20;       ///< bytes, without options (RFC 791)
inline constexpr std::size_t ipv6_header_bytes = 40;     ///< RFC 8200, section 3
inline constexpr std::size_t fragment_header_bytes = 8;  ///< RFC 8200, section 4.5
inline constexpr std::size_t udp_header_bytes = 8;       ///< RFC 768

}  // namespace reachd
