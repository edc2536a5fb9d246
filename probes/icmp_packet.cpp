#include "probes/icmp_packet.hpp"

#include <cstring>

#include "probes/ip_protocol.hpp"

namespace reachd {
namespace {

// RFC 792 and the IANA ICMP parameters.
constexpr std::uint8_t v4_echo_reply = 0;
constexpr std::uint8_t v4_unreachable = 3;
constexpr std::uint8_t v4_echo_request = 8;
constexpr std::uint8_t v4_time_exceeded = 11;
// RFC 4443.
constexpr std::uint8_t v6_unreachable = 1;
constexpr std::uint8_t v6_too_big = 2;
constexpr std::uint8_t v6_time_exceeded = 3;
constexpr std::uint8_t v6_echo_request = 128;
constexpr std::uint8_t v6_echo_reply = 129;

struct IpHeader {
    IpAddress source;
    IpAddress destination;
    std::size_t length = 0;
};

/// An IP header of `family` that carries ICMP, fragments excepted: their ICMP header is elsewhere.
std::optional<IpHeader> read_icmp_ip_header(ByteView bytes, Family family) {
    if (bytes.empty()) {
        return std::nullopt;
    }
    if (family == Family::ipv4) {
        const std::size_t length = (bytes[0] & 0x0fU) * std::size_t{4};
        if (bytes[0] >> 4U != 4 || length < ipv4_header_min || bytes.size() < length ||
            bytes[9] != protocol_icmp || (*read_u16(bytes, 6) & 0x1fffU) != 0) {
            return std::nullopt;
        }
        return IpHeader{*IpAddress::from_bytes(bytes.subspan(12, 4)),
                        *IpAddress::from_bytes(bytes.subspan(16, 4)),
                        length};
    }
    if (bytes[0] >> 4U != 6 || bytes.size() < ipv6_header_bytes) {
        return std::nullopt;
    }
    std::size_t length = ipv6_header_bytes;
    std::uint8_t next_header = bytes[6];
    if (next_header == next_header_fragment) {  // RFC 8200, section 4.5; a request above the MTU
        const auto after = read_u8(bytes, length);
        const auto offset_and_flags = read_u16(bytes, length + 2);
        if (!offset_and_flags || (*offset_and_flags & 0xfff8U) != 0) {
            return std::nullopt;
        }
        next_header = *after;
        length += fragment_header_bytes;
    }
    if (next_header != protocol_icmpv6) {
        return std::nullopt;
    }
    return IpHeader{*IpAddress::from_bytes(bytes.subspan(8, 16)),
                    *IpAddress::from_bytes(bytes.subspan(24, 16)),
                    length};
}

std::uint8_t request_type(Family family) {
    return family == Family::ipv4 ? v4_echo_request : v6_echo_request;
}

}  // namespace

std::uint16_t internet_checksum(ByteView bytes) {
    // One's complement sums are the same in either byte order (RFC 1071, section 2): four bytes at
    // a time as they lie there, turned round at the end.
    std::uint64_t sum = 0;
    std::uint32_t word = 0;
    std::size_t at = 0;
    for (; at + sizeof(word) <= bytes.size(); at += sizeof(word)) {
        std::memcpy(&word, bytes.data() + at, sizeof(word));
        sum += word;
    }
    if (at < bytes.size()) {
        word = 0;
        std::memcpy(&word, bytes.data() + at, bytes.size() - at);
        sum += word;
    }
    while (sum >> 16U != 0) {
        sum = (sum & 0xffffU) + (sum >> 16U);
    }
    return swap_network_order(static_cast<std::uint16_t>(~sum));
}

void encode_echo_request(ByteSpan out,
                         Family family,
                         std::uint16_t identifier,
                         const ProbeCookie& cookie) {
    write_big_endian(out, 0, request_type(family));
    write_big_endian(out, 1, std::uint8_t{0});
    write_big_endian(out, 2, std::uint16_t{0});
    write_big_endian(out, 4, identifier);
    write_big_endian(out, 6, static_cast<std::uint16_t>(cookie.token.sequence));
    cookie.write(out.subspan(icmp_header_bytes));
    if (family == Family::ipv4) {
        write_big_endian(out, 2, internet_checksum(out.first(echo_head_bytes)));
    }
}

std::optional<FailureReason> icmp_failure(Family family, std::uint8_t type, std::uint8_t code) {
    using enum FailureReason;
    if (family == Family::ipv4) {
        if (type == v4_time_exceeded) {
            return code == 0 ? std::optional(ttl_exceeded) : std::nullopt;
        }
        if (type != v4_unreachable) {
            return std::nullopt;
        }
        switch (code) {
            case 0:
            case 6:
            case 8:
            case 11: return net_unreachable;
            case 1:
            case 2:
            case 5:
            case 7:
            case 12: return host_unreachable;
            case 3: return port_unreachable;
            case 4: return too_big;
            case 9:
            case 10:
            case 13: return prohibited;
            default: return host_unreachable;
        }
    }
    switch (type) {
        case v6_too_big: return too_big;
        case v6_time_exceeded: return code == 0 ? std::optional(ttl_exceeded) : std::nullopt;
        case v6_unreachable:
            switch (code) {
                case 0: return net_unreachable;
                case 1:
                case 5:
                case 6: return prohibited;
                case 4: return port_unreachable;
                default: return host_unreachable;
            }
        default: return std::nullopt;
    }
}

std::variant<PacketFlaw, EchoError> decode_icmp_error(
    std::uint8_t type, std::uint8_t code, std::uint32_t mtu, ByteView quote, Family family) {
    const auto reason = icmp_failure(family, type, code);
    if (!reason) {
        return PacketFlaw::foreign;
    }
    const auto header = read_icmp_ip_header(quote, family);
    if (!header) {
        return PacketFlaw::malformed;
    }
    const ByteView icmp = tail(quote, header->length);
    if (icmp.size() < icmp_header_bytes) {
        return PacketFlaw::malformed;
    }
    if (icmp[0] != request_type(family) || icmp[1] != 0) {
        return PacketFlaw::foreign;
    }
    return EchoError{*reason,
                     header->destination,
                     header->source,
                     *read_u16(icmp, 4),
                     *read_u16(icmp, 6),
                     ProbeCookie::read(icmp.subspan(icmp_header_bytes)),
                     *reason == FailureReason::too_big ? mtu : 0};
}

IcmpPacket decode_icmp(ByteView bytes, Family family, Framing framing, bool whole) {
    ByteView icmp = bytes;
    if (framing == Framing::ipv4_header) {
        const auto header = read_icmp_ip_header(bytes, Family::ipv4);
        if (!header) {
            return PacketFlaw::malformed;
        }
        icmp = tail(bytes, header->length);
    }
    if (icmp.size() < icmp_header_bytes) {
        return PacketFlaw::malformed;
    }
    // Raw IPv4 sockets are handed packets with a wrong checksum; ICMPv6's is verified by the
    // kernel.
    if (family == Family::ipv4 && whole && internet_checksum(icmp) != 0) {
        return PacketFlaw::bad_checksum;
    }
    const std::uint8_t reply_type = family == Family::ipv4 ? v4_echo_reply : v6_echo_reply;
    if (icmp[0] == reply_type) {
        const auto cookie = ProbeCookie::read(icmp.subspan(icmp_header_bytes));
        if (icmp[1] != 0 || !cookie) {
            return PacketFlaw::foreign;
        }
        return EchoReply{*read_u16(icmp, 4), *read_u16(icmp, 6), *cookie};
    }
    const std::uint32_t mtu = family == Family::ipv4 ? *read_u16(icmp, 6) : *read_u32(icmp, 4);
    const auto error =
        decode_icmp_error(icmp[0], icmp[1], mtu, icmp.subspan(icmp_header_bytes), family);
    if (const auto* flaw = std::get_if<PacketFlaw>(&error)) {
        return *flaw;
    }
    return std::get<EchoError>(error);
}

std::optional<ProbeCookie> decode_looped_request(ByteView frame, Family family) {
    for (const std::size_t link_header : {std::size_t{14}, std::size_t{0}, std::size_t{18}}) {
        const ByteView packet = tail(frame, link_header);
        const auto header = read_icmp_ip_header(packet, family);
        if (!header) {
            continue;
        }
        const ByteView icmp = tail(packet, header->length);
        if (icmp.size() >= echo_head_bytes && icmp[0] == request_type(family)) {
            return ProbeCookie::read(icmp.subspan(icmp_header_bytes));
        }
    }
    return std::nullopt;
}

}  // namespace reachd
