// ICMP and ICMPv6 as bytes: what we send is what the RFCs say, what we receive is told apart from
// what is damaged, cut short or not ours.
#include "probes/icmp_packet.hpp"

#include <algorithm>

#include <catch2/catch.hpp>

#include "common/random.hpp"
#include "tests/probes/icmp_packet_builder.hpp"

using namespace reachd;
using namespace reachd::test;

namespace {

const ProbeCookie cookie{0x8899aabbccddeeffU, {7, 0x00012345U}};
constexpr std::uint16_t identifier = 0x4321;

IpAddress address(Family family, int last) {
    const std::string text = family == Family::ipv4 ? "192.0.2." : "2001:db8::";
    return *IpAddress::parse(text + std::to_string(last));
}

Bytes our_request(Family family, std::size_t payload_bytes = 56) {
    return ip_packet(address(family, 1),
                     address(family, 2),
                     echo(family, true, identifier, cookie, payload_bytes));
}

IcmpPacket decode(Family family, const Bytes& message) {
    return decode_icmp(message, family, Framing::icmp, true);
}

bool is(const IcmpPacket& packet, PacketFlaw flaw) {
    const auto* found = std::get_if<PacketFlaw>(&packet);
    return found != nullptr && *found == flaw;
}

bool is(const std::variant<PacketFlaw, EchoError>& packet, PacketFlaw flaw) {
    const auto* found = std::get_if<PacketFlaw>(&packet);
    return found != nullptr && *found == flaw;
}

struct Unreachable {
    Family family;
    std::uint8_t type;
    std::uint8_t code;
    FailureReason reason;
};

}  // namespace

TEST_CASE("checksum: the example of RFC 1071") {
    const Bytes bytes{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    CHECK(internet_checksum(bytes) == 0x220d);  // not ddf2
    CHECK(internet_checksum({}) == 0xffff);
    CHECK(internet_checksum(Bytes{0x12}) == 0xedff);  // odd: padded by a zero
}

TEST_CASE("checksum: agrees with the slow one for every length, and holds when stored") {
    Random random(5);
    for (std::size_t length = 0; length < 300; ++length) {
        Bytes bytes(length);
        for (auto& byte : bytes) {
            byte = static_cast<std::uint8_t>(random.below(3) == 0 ? 0xff : random.below(256));
        }
        CAPTURE(length);
        CHECK(internet_checksum(bytes) == reference_checksum(bytes));
        if (length >= 2) {
            bytes[0] = bytes[1] = 0;
            put_u16(bytes, 0, internet_checksum(bytes));
            CHECK(internet_checksum(bytes) == 0);
        }
    }
    CHECK(internet_checksum(Bytes(65535, 0xff)) == 0x00ff);
}

TEST_CASE("echo request: as in the RFCs, and as if the padding were there") {
    const Family family = GENERATE(Family::ipv4, Family::ipv6);
    Bytes head(echo_head_bytes, 0xcc);
    encode_echo_request(head, family, identifier, cookie);
    CHECK(head == echo(family, true, identifier, cookie, ProbeCookie::bytes));
    Bytes padded = head;
    padded.resize(icmp_header_bytes + 9000);
    CHECK(padded == echo(family, true, identifier, cookie, 9000));
}

TEST_CASE("echo request: the checksum holds for sequences and identifiers of all kinds") {
    Random random(6);
    for (int i = 0; i < 2000; ++i) {
        const ProbeCookie any{random.next(),
                              {random.below(0xffffffffU), random.below(0xffffffffU)}};
        Bytes head(echo_head_bytes);
        encode_echo_request(head, Family::ipv4, static_cast<std::uint16_t>(random.next()), any);
        REQUIRE(internet_checksum(head) == 0);
    }
}

TEST_CASE("echo reply: in both families and framings") {
    const Family family = GENERATE(Family::ipv4, Family::ipv6);
    const std::size_t payload = GENERATE(16U, 17U, 56U, 9000U);
    const Bytes message = echo(family, false, identifier, cookie, payload);
    for (const bool whole : {true, false}) {
        const auto packet = decode_icmp(message, family, Framing::icmp, whole);
        const auto* reply = std::get_if<EchoReply>(&packet);
        REQUIRE(reply != nullptr);
        CHECK(reply->identifier == identifier);
        CHECK(reply->cookie.tag == cookie.tag);
        CHECK(reply->cookie.token == cookie.token);
    }
    if (family == Family::ipv4) {
        for (const std::size_t options : {0U, 1U, 10U}) {
            const Bytes raw = ipv4_packet(address(family, 2), address(family, 1), message, options);
            const auto packet = decode_icmp(raw, family, Framing::ipv4_header, true);
            REQUIRE(std::holds_alternative<EchoReply>(packet));
            CHECK(std::get<EchoReply>(packet).cookie.token == cookie.token);
        }
    }
}

TEST_CASE("echo reply: damage anywhere is a bad checksum, and is not judged by a part") {
    const Bytes message = echo(Family::ipv4, false, identifier, cookie);
    for (std::size_t at = 0; at < message.size(); ++at) {
        Bytes damaged = message;
        damaged[at] ^= 0x10;
        CAPTURE(at);
        CHECK(is(decode(Family::ipv4, damaged), PacketFlaw::bad_checksum));
    }
    Bytes damaged = message;
    damaged.back() ^= 1;
    CHECK(std::holds_alternative<EchoReply>(
        decode_icmp(damaged, Family::ipv4, Framing::icmp, false)));
}

TEST_CASE("echo reply: cut short it is no reply") {
    const Family family = GENERATE(Family::ipv4, Family::ipv6);
    const Bytes message = echo(family, false, identifier, cookie);
    for (std::size_t length = 0; length < echo_head_bytes; ++length) {
        CAPTURE(length);
        const Bytes cut(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(length));
        const auto packet = decode_icmp(cut, family, Framing::icmp, false);
        CHECK(is(packet, length < icmp_header_bytes ? PacketFlaw::malformed : PacketFlaw::foreign));
    }
}

TEST_CASE("echo reply: of another program, with another code, of the other family") {
    CHECK(is(decode(Family::ipv4, icmp(Family::ipv4, 0, 1, 0, cookie_bytes(cookie))),
             PacketFlaw::foreign));
    CHECK(is(decode(Family::ipv4, icmp(Family::ipv4, 0, 0, 0, Bytes(8))), PacketFlaw::foreign));
    CHECK(is(decode(Family::ipv4, icmp(Family::ipv4, 129, 0, 0, cookie_bytes(cookie))),
             PacketFlaw::foreign));
    CHECK(is(decode(Family::ipv6, icmp(Family::ipv6, 0, 0, 0, cookie_bytes(cookie))),
             PacketFlaw::foreign));
}

TEST_CASE("raw IPv4: headers that lie are malformed") {
    const Bytes reply = echo(Family::ipv4, false, identifier, cookie);
    const Bytes good = ipv4_packet(address(Family::ipv4, 2), address(Family::ipv4, 1), reply);
    const auto with = [&](std::size_t at, std::uint8_t value) {
        Bytes bad = good;
        bad[at] = value;
        return decode_icmp(bad, Family::ipv4, Framing::ipv4_header, false);
    };
    CHECK(is(with(0, 0x44), PacketFlaw::malformed));  // a header of 16 bytes
    CHECK(is(with(0, 0x40), PacketFlaw::malformed));
    CHECK(is(with(0, 0x65), PacketFlaw::malformed));  // version 6
    CHECK(is(with(9, 17), PacketFlaw::malformed));    // UDP
    CHECK(is(with(6, 0x00), PacketFlaw::malformed) == false);
    CHECK(is(with(7, 0x01), PacketFlaw::malformed));  // a later fragment
    CHECK(is(decode_icmp({}, Family::ipv4, Framing::ipv4_header, true), PacketFlaw::malformed));
    for (std::size_t length = 0; length < 28; ++length) {
        CAPTURE(length);
        CHECK(
            is(decode_icmp(ByteView(good).first(length), Family::ipv4, Framing::ipv4_header, false),
               PacketFlaw::malformed));
    }
}

TEST_CASE("icmp error: the reason of every type and code") {
    using enum FailureReason;
    const std::vector<Unreachable> known{
        {Family::ipv4, 3, 0, net_unreachable},  {Family::ipv4, 3, 1, host_unreachable},
        {Family::ipv4, 3, 2, host_unreachable}, {Family::ipv4, 3, 3, port_unreachable},
        {Family::ipv4, 3, 4, too_big},          {Family::ipv4, 3, 6, net_unreachable},
        {Family::ipv4, 3, 7, host_unreachable}, {Family::ipv4, 3, 9, prohibited},
        {Family::ipv4, 3, 10, prohibited},      {Family::ipv4, 3, 13, prohibited},
        {Family::ipv4, 11, 0, ttl_exceeded},    {Family::ipv6, 1, 0, net_unreachable},
        {Family::ipv6, 1, 1, prohibited},       {Family::ipv6, 1, 3, host_unreachable},
        {Family::ipv6, 1, 4, port_unreachable}, {Family::ipv6, 1, 5, prohibited},
        {Family::ipv6, 1, 6, prohibited},       {Family::ipv6, 2, 0, too_big},
        {Family::ipv6, 3, 0, ttl_exceeded},
    };
    for (const Unreachable& row : known) {
        CAPTURE(row.family, row.type, row.code);
        CHECK(icmp_failure(row.family, row.type, row.code) == row.reason);
    }
    // Whatever comes, it is a reason for losses or none at all.
    for (const Family family : {Family::ipv4, Family::ipv6}) {
        for (int type = 0; type < 256; ++type) {
            for (int code = 0; code < 256; ++code) {
                const auto reason = icmp_failure(
                    family, static_cast<std::uint8_t>(type), static_cast<std::uint8_t>(code));
                if (reason && !is_loss(*reason)) {
                    FAIL("type " << type << " code " << code);
                }
            }
        }
    }
    // Source quench, redirect, reassembly time exceeded, parameter problem, router advertisement.
    CHECK_FALSE(icmp_failure(Family::ipv4, 4, 0).has_value());
    CHECK_FALSE(icmp_failure(Family::ipv4, 5, 1).has_value());
    CHECK_FALSE(icmp_failure(Family::ipv4, 11, 1).has_value());
    CHECK_FALSE(icmp_failure(Family::ipv6, 3, 1).has_value());
    CHECK_FALSE(icmp_failure(Family::ipv6, 4, 0).has_value());
    CHECK_FALSE(icmp_failure(Family::ipv6, 134, 0).has_value());
}

TEST_CASE("icmp error: a full quote names the probe and proves it") {
    const Family family = GENERATE(Family::ipv4, Family::ipv6);
    const std::uint8_t type = family == Family::ipv4 ? 3 : 1;
    const auto packet = decode(family, icmp(family, type, 0, 0, our_request(family)));
    const auto* error = std::get_if<EchoError>(&packet);
    REQUIRE(error != nullptr);
    CHECK(error->reason == FailureReason::net_unreachable);
    CHECK(error->source == address(family, 1));
    CHECK(error->destination == address(family, 2));
    CHECK(error->identifier == identifier);
    CHECK(error->sequence == 0x2345);
    REQUIRE(error->cookie.has_value());
    CHECK(error->cookie->token == cookie.token);
    CHECK(error->cookie->tag == cookie.tag);
    CHECK(error->mtu == 0);
}

TEST_CASE("icmp error: a quote of the header and eight bytes still names identifier and sequence") {
    const Bytes request = our_request(Family::ipv4);
    const Bytes quote(request.begin(), request.begin() + 28);
    const auto packet = decode(Family::ipv4, icmp(Family::ipv4, 3, 13, 0, quote));
    const auto* error = std::get_if<EchoError>(&packet);
    REQUIRE(error != nullptr);
    CHECK(error->reason == FailureReason::prohibited);
    CHECK(error->identifier == identifier);
    CHECK(error->sequence == 0x2345);
    CHECK_FALSE(error->cookie.has_value());
}

TEST_CASE("icmp error: a quoted IPv6 request that was too large is its first fragment") {
    const Bytes request = echo(Family::ipv6, true, identifier, cookie);
    Bytes fragment{58, 0, 0, 1, 0, 0, 0, 7};  // next header, -, offset 0 and "more", identification
    const auto decoded = [&] {
        const Bytes quote = ipv6_packet(
            address(Family::ipv6, 1), address(Family::ipv6, 2), join({fragment, request}), 44);
        return decode(Family::ipv6, icmp(Family::ipv6, 1, 3, 0, quote));
    };
    const auto packet = decoded();
    const auto* error = std::get_if<EchoError>(&packet);
    REQUIRE(error != nullptr);
    CHECK(error->identifier == identifier);
    REQUIRE(error->cookie.has_value());
    CHECK(error->cookie->tag == cookie.tag);
    fragment[2] = 1;  // a later one holds no ICMP header
    CHECK(std::holds_alternative<PacketFlaw>(decoded()));
    fragment[2] = 0;
    fragment[0] = 17;
    CHECK(std::holds_alternative<PacketFlaw>(decoded()));
}

TEST_CASE("icmp error: IP options in the quote, and in front of it") {
    for (std::size_t options = 0; options <= 10; ++options) {
        const Bytes request = ipv4_packet(address(Family::ipv4, 1),
                                          address(Family::ipv4, 2),
                                          echo(Family::ipv4, true, identifier, cookie),
                                          options);
        const Bytes message = icmp(Family::ipv4, 11, 0, 0, request);
        const Bytes raw =
            ipv4_packet(address(Family::ipv4, 9), address(Family::ipv4, 1), message, 10 - options);
        const auto packet = decode_icmp(raw, Family::ipv4, Framing::ipv4_header, true);
        const auto* error = std::get_if<EchoError>(&packet);
        REQUIRE(error != nullptr);
        CHECK(error->reason == FailureReason::ttl_exceeded);
        CHECK(error->cookie->token == cookie.token);
    }
}

TEST_CASE("icmp error: a quote cut at every length") {
    const Family family = GENERATE(Family::ipv4, Family::ipv6);
    const std::uint8_t type = family == Family::ipv4 ? 3 : 1;
    const std::size_t ip = family == Family::ipv4 ? 20 : 40;
    const Bytes request = our_request(family);
    for (std::size_t length = 0; length <= request.size(); ++length) {
        CAPTURE(length);
        const Bytes quote(request.begin(), request.begin() + static_cast<std::ptrdiff_t>(length));
        const auto packet = decode(family, icmp(family, type, 0, 0, quote));
        if (length < ip + 8) {
            CHECK(is(packet, PacketFlaw::malformed));
            continue;
        }
        const auto* error = std::get_if<EchoError>(&packet);
        REQUIRE(error != nullptr);
        CHECK(error->cookie.has_value() == (length >= ip + 24));
    }
}

TEST_CASE("icmp error: about other people's packets it is foreign") {
    const Family family = GENERATE(Family::ipv4, Family::ipv6);
    const bool v4 = family == Family::ipv4;
    const std::uint8_t type = v4 ? 3 : 1;
    const auto from = address(family, 1);
    const auto to = address(family, 2);
    const auto about = [&](const Bytes& quote) {
        return decode(family, icmp(family, type, 1, 0, quote));
    };
    // An echo reply, an error, another code, another protocol, the other family.
    CHECK(is(about(ip_packet(from, to, echo(family, false, 1, cookie))), PacketFlaw::foreign));
    CHECK(is(about(ip_packet(from, to, icmp(family, type, 0, 0, Bytes(28)))), PacketFlaw::foreign));
    Bytes other_code = echo(family, true, 1, cookie);
    other_code[1] = 1;
    CHECK(is(about(ip_packet(from, to, other_code)), PacketFlaw::foreign));
    const Bytes udp(64, 0x08);
    CHECK(is(about(v4 ? ipv4_packet(from, to, udp, 0, 17) : ipv6_packet(from, to, udp, 17)),
             PacketFlaw::malformed));
    CHECK(is(about(our_request(v4 ? Family::ipv6 : Family::ipv4)), PacketFlaw::malformed));
    // Later fragments have no ICMP header to look at.
    if (v4) {
        Bytes fragment = our_request(family);
        fragment[7] = 0xb9;
        CHECK(is(about(fragment), PacketFlaw::malformed));
    }
}

TEST_CASE("icmp error: the next hop's MTU, only where there is one") {
    const auto mtu_of =
        [](Family family, std::uint8_t type, std::uint8_t code, std::uint32_t rest) {
            const auto packet = decode(family, icmp(family, type, code, rest, our_request(family)));
            REQUIRE(std::holds_alternative<EchoError>(packet));
            return std::get<EchoError>(packet).mtu;
        };
    CHECK(mtu_of(Family::ipv4, 3, 4, 1400) == 1400);
    CHECK(mtu_of(Family::ipv4, 3, 4, 0x0abc0578) == 1400);  // the upper half is RFC 4884's
    CHECK(mtu_of(Family::ipv4, 3, 4, 0) == 0);
    CHECK(mtu_of(Family::ipv4, 3, 1, 1400) == 0);
    CHECK(mtu_of(Family::ipv6, 2, 0, 1280) == 1280);
    CHECK(mtu_of(Family::ipv6, 2, 0, 0xffffffffU) == 0xffffffffU);
    CHECK(mtu_of(Family::ipv6, 1, 0, 1280) == 0);
}

TEST_CASE("icmp error: as read from an error queue") {
    const auto found = decode_icmp_error(2, 0, 1280, our_request(Family::ipv6), Family::ipv6);
    REQUIRE(std::holds_alternative<EchoError>(found));
    CHECK(std::get<EchoError>(found).mtu == 1280);
    CHECK(is(decode_icmp_error(5, 0, 0, our_request(Family::ipv4), Family::ipv4),
             PacketFlaw::foreign));
    CHECK(is(decode_icmp_error(3, 0, 0, {}, Family::ipv4), PacketFlaw::malformed));
}

TEST_CASE("looped request: behind no link header, Ethernet, Ethernet with a VLAN tag") {
    const Family family = GENERATE(Family::ipv4, Family::ipv6);
    const std::size_t link = GENERATE(0U, 14U, 18U);
    const Bytes frame = join({Bytes(link, 0x45), our_request(family)});
    const auto looped = decode_looped_request(frame, family);
    REQUIRE(looped.has_value());
    CHECK(looped->token == cookie.token);
    CHECK(looped->tag == cookie.tag);
    const std::size_t needed = link + (family == Family::ipv4 ? 20 : 40) + echo_head_bytes;
    for (std::size_t length = 0; length < needed; ++length) {
        CAPTURE(length);
        CHECK_FALSE(decode_looped_request(ByteView(frame).first(length), family).has_value());
    }
    CHECK(decode_looped_request(ByteView(frame).first(needed), family).has_value());
}

TEST_CASE("looped request: other packets are none") {
    const Family family = GENERATE(Family::ipv4, Family::ipv6);
    CHECK_FALSE(decode_looped_request({}, family).has_value());
    CHECK_FALSE(decode_looped_request(Bytes(200, 0), family).has_value());
    const Bytes reply =
        ip_packet(address(family, 1), address(family, 2), echo(family, false, identifier, cookie));
    CHECK_FALSE(decode_looped_request(reply, family).has_value());
    const Family other = family == Family::ipv4 ? Family::ipv6 : Family::ipv4;
    CHECK_FALSE(decode_looped_request(our_request(other), family).has_value());
}
