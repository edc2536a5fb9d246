// ICMP and ICMPv6 as bytes: makes echo requests, and tells what a received packet is. Pure: whether
// an answer really is ours (its cookie) and whose probe it ends is decided elsewhere.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>

#include "common/address.hpp"
#include "common/bytes.hpp"
#include "common/probe.hpp"
#include "probes/probe_cookie.hpp"

namespace reachd {

inline constexpr std::size_t icmp_header_bytes = 8;
/// Header and cookie: the part of an echo request that differs from probe to probe. What follows up
/// to the payload size is zero.
inline constexpr std::size_t echo_head_bytes = icmp_header_bytes + ProbeCookie::bytes;

/// Writes the head of an echo request (RFC 792; RFC 4443, section 4.1). The IPv4 checksum covers
/// the zero padding too (zeros add nothing to it); ICMPv6's is left to the kernel (RFC 3542, 3.1).
void encode_echo_request(ByteSpan out,
                         Family family,
                         std::uint16_t identifier,
                         const ProbeCookie& cookie);

/// An echo reply whose checksum holds. Not yet proved to be ours.
struct EchoReply {
    std::uint16_t identifier = 0;
    std::uint16_t sequence = 0;  ///< low 16 bits
    ProbeCookie cookie;
};

/// An ICMP error about an echo request. Routers may quote as little as the IP header and 8 bytes
/// (RFC 792), so the cookie is there only if they quote more (RFC 1812, section 4.3.2.3).
struct EchoError {
    FailureReason reason = FailureReason::timeout;
    IpAddress destination;  ///< where the request was going
    IpAddress source;       ///< whence: equal to the reporter when our own host reports
    std::uint16_t identifier = 0;
    std::uint16_t sequence = 0;  ///< low 16 bits
    std::optional<ProbeCookie> cookie;
    std::uint32_t mtu = 0;  ///< next-hop MTU of too_big, bytes; 0: not given
};

enum class PacketFlaw : std::uint8_t { malformed, bad_checksum, foreign };

using IcmpPacket = std::variant<PacketFlaw, EchoReply, EchoError>;

/// Whether the bytes begin with an IPv4 header (raw IPv4 sockets) or with ICMP (all others).
enum class Framing : std::uint8_t { ipv4_header, icmp };

/// `whole` says that `bytes` is the whole packet: only then can the IPv4 checksum be verified.
IcmpPacket decode_icmp(ByteView bytes, Family family, Framing framing, bool whole);

/// The quote inside an ICMP error: from its IP header on. Also for error-queue messages.
std::variant<PacketFlaw, EchoError> decode_icmp_error(
    std::uint8_t type, std::uint8_t code, std::uint32_t mtu, ByteView quote, Family family);

/// The echo request in a packet that the kernel loops back with its transmit stamp: link-layer
/// header (none, Ethernet, or Ethernet with a VLAN tag), IP header, ICMP.
std::optional<ProbeCookie> decode_looped_request(ByteView frame, Family family);

/// The reason that a destination-unreachable, time-exceeded or too-big message gives; nothing for
/// message types that explain no loss.
std::optional<FailureReason> icmp_failure(Family family, std::uint8_t type, std::uint8_t code);

/// RFC 1071 over `bytes`; zero when a checksum stored within holds.
std::uint16_t internet_checksum(ByteView bytes);

}  // namespace reachd
