#include "probes/path_mtu_packet.hpp"

#include <algorithm>
#include <array>

#include "common/check.hpp"
#include "probes/ip_protocol.hpp"

namespace reachd {
namespace {

constexpr std::size_t fragment_unit = 8;
constexpr std::uint8_t hop_limit = 64;

std::size_t headers_of_fragment(Family family) {
    return ip_header_bytes(family) + (family == Family::ipv4 ? 0 : fragment_header_bytes);
}

/// The ICMP message.
std::size_t message_bytes(Family family, std::uint32_t bytes) {
    return icmp_header_bytes + mtu_payload_bytes(family, bytes);
}

/// Of the message, in the first fragment: a multiple of 8 bytes (RFC 791, section 3.1).
std::size_t bytes_of_first(std::size_t whole) {
    return (whole / fragment_count + fragment_unit - 1) / fragment_unit * fragment_unit;
}

/// RFC 4443, section 2.3: over the addresses too. The zeros behind the head add nothing to it.
void write_icmpv6_checksum(ByteSpan head, const FragmentedEcho& echo) {
    std::array<std::uint8_t, 40 + echo_head_bytes> summed{};
    const ByteSpan out(summed);
    std::copy_n(echo.source.bytes().begin(), 16, out.begin());
    std::copy_n(echo.destination.bytes().begin(), 16, out.begin() + 16);
    write_big_endian(out, 32, static_cast<std::uint32_t>(message_bytes(Family::ipv6, echo.bytes)));
    write_big_endian(out, 39, protocol_icmpv6);
    std::copy(head.begin(), head.end(), out.begin() + 40);
    write_big_endian(head, 2, internet_checksum(out));
}

struct Slice {
    std::size_t offset = 0;
    std::size_t bytes = 0;
    bool more = false;  ///< fragments follow
};

/// RFC 791, section 3.1. The identification is no other's of ours that is under way; 0 would make
/// the kernel choose another one for each fragment.
void write_ipv4_header(ByteSpan out, const FragmentedEcho& echo, const Slice& slice) {
    constexpr std::uint16_t more_fragments = 0x2000;
    const auto sequence = static_cast<std::uint16_t>(echo.cookie.token.sequence);
    write_big_endian(out, 0, std::uint8_t{0x45});
    write_big_endian(out, 1, static_cast<std::uint8_t>(echo.dscp << 2U));
    write_big_endian(
        out, 2, static_cast<std::uint16_t>(ip_header_bytes(Family::ipv4) + slice.bytes));
    write_big_endian(out, 4, sequence == 0 ? std::uint16_t{0xffff} : sequence);
    const auto units = static_cast<unsigned>(slice.offset / fragment_unit);
    write_big_endian(
        out, 6, static_cast<std::uint16_t>(units | (slice.more ? more_fragments : 0U)));
    write_big_endian(out, 8, hop_limit);
    write_big_endian(out, 9, protocol_icmp);
    write_big_endian(out, 10, std::uint16_t{0});
    std::copy_n(echo.source.bytes().begin(), 4, out.begin() + 12);
    std::copy_n(echo.destination.bytes().begin(), 4, out.begin() + 16);
}

/// RFC 8200, sections 3 and 4.5. Its identification should not be foreseeable (RFC 7739): the tag
/// is not.
void write_ipv6_headers(ByteSpan out, const FragmentedEcho& echo, const Slice& slice) {
    write_big_endian(out, 0, 6U << 28U | static_cast<std::uint32_t>(echo.dscp) << 22U);
    write_big_endian(out, 4, static_cast<std::uint16_t>(fragment_header_bytes + slice.bytes));
    write_big_endian(out, 6, next_header_fragment);
    write_big_endian(out, 7, hop_limit);
    std::copy_n(echo.source.bytes().begin(), 16, out.begin() + 8);
    std::copy_n(echo.destination.bytes().begin(), 16, out.begin() + 24);
    write_big_endian(out, 40, protocol_icmpv6);
    write_big_endian(out, 41, std::uint8_t{0});
    // The offset in units of 8 bytes stands 3 bits from the right: it is the offset in bytes.
    write_big_endian(out, 42, static_cast<std::uint16_t>(slice.offset | (slice.more ? 1U : 0U)));
    write_big_endian(out, 44, static_cast<std::uint32_t>(echo.cookie.tag));
}

}  // namespace

std::size_t mtu_payload_bytes(Family family, std::uint32_t bytes) {
    const std::size_t headers = ip_header_bytes(family) + icmp_header_bytes;
    ENSURE(bytes >= headers + ProbeCookie::bytes);
    return bytes - headers;
}

std::size_t encode_fragment(ByteSpan out, const FragmentedEcho& echo, std::size_t place) {
    const Family family = echo.destination.family();
    const std::size_t whole = message_bytes(family, echo.bytes);
    const std::size_t first = bytes_of_first(whole);
    ENSURE(place < fragment_count && first < whole);
    const Slice slice = place == 0 ? Slice{0, first, true} : Slice{first, whole - first, false};
    const std::size_t header = headers_of_fragment(family);
    out = out.first(header + slice.bytes);
    if (family == Family::ipv4) {
        write_ipv4_header(out, echo, slice);
    } else {
        ENSURE(echo.source.family() == Family::ipv6);
        write_ipv6_headers(out, echo, slice);
    }
    std::array<std::uint8_t, echo_head_bytes> head{};
    encode_echo_request(head, family, echo.identifier, echo.cookie);
    if (family == Family::ipv6) {
        write_icmpv6_checksum(head, echo);
    }
    const ByteSpan body = out.subspan(header);
    std::fill(body.begin(), body.end(), std::uint8_t{0});
    if (slice.offset < head.size()) {
        const std::size_t part = std::min(head.size() - slice.offset, body.size());
        std::copy_n(head.begin() + static_cast<std::ptrdiff_t>(slice.offset), part, body.begin());
    }
    return out.size();
}

}  // namespace reachd
