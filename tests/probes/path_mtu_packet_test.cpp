// Fragments are put together again here by the RFCs, not by the code under test, and must give the
// echo request that the test builder makes.
#include "probes/path_mtu_packet.hpp"

#include <array>
#include <set>
#include <vector>

#include <catch2/catch.hpp>

#include "common/path_mtu.hpp"
#include "tests/probes/icmp_packet_builder.hpp"

namespace reachd {
namespace {

using test::Bytes;

constexpr std::uint16_t identifier = 0x1234;
constexpr ProbeCookie cookie{0x1122334455667788U, {7, 0x00051a2bU}};

FragmentedEcho echo(Family family, std::uint32_t bytes) {
    const bool v4 = family == Family::ipv4;
    return {*IpAddress::parse(v4 ? "10.1.2.3" : "fd01::3"),
            *IpAddress::parse(v4 ? "10.1.2.4" : "fd01::4"),
            46,
            identifier,
            cookie,
            bytes};
}

std::vector<Bytes> fragments(const FragmentedEcho& whole) {
    std::vector<Bytes> made;
    for (std::size_t i = 0; i < fragment_count; ++i) {
        Bytes out(fragment_bytes_max, 0xee);  // nothing of it may be left over
        out.resize(encode_fragment(out, whole, i));
        made.push_back(out);
    }
    return made;
}

struct Place {
    std::size_t offset = 0;
    bool more = false;
    std::size_t header = 0;
};

/// RFC 791, section 3.1; RFC 8200, section 4.5.
Place place(Family family, const Bytes& fragment) {
    const bool v4 = family == Family::ipv4;
    const unsigned field = *read_u16(fragment, v4 ? 6 : 42);
    return v4 ? Place{(field & 0x1fffU) * 8, (field & 0x2000U) != 0, 20}
              : Place{field & 0xfff8U, (field & 1U) != 0, 48};
}

Bytes reassemble(Family family, const std::vector<Bytes>& parts) {
    Bytes message;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        const Place at = place(family, parts[i]);
        CHECK(at.offset == message.size());
        CHECK(at.more == (i + 1 < parts.size()));
        message.insert(message.end(),
                       parts[i].begin() + static_cast<std::ptrdiff_t>(at.header),
                       parts[i].end());
    }
    return message;
}

/// RFC 4443, section 2.3: the checksum is over this and the message.
Bytes pseudo_header(const FragmentedEcho& whole, std::size_t length) {
    Bytes bytes(40, 0);
    std::copy(whole.source.bytes().begin(), whole.source.bytes().end(), bytes.begin());
    std::copy(
        whole.destination.bytes().begin(), whole.destination.bytes().end(), bytes.begin() + 16);
    test::put_u16(bytes, 34, length);
    bytes[39] = 58;
    return bytes;
}

TEST_CASE("path mtu packet: fragments make the whole request, whatever its size") {
    const Family family = GENERATE(Family::ipv4, Family::ipv6);
    const std::size_t header = family == Family::ipv4 ? 20 : 40;
    const std::uint32_t bytes =
        GENERATE(68U, 69U, 84U, 104U, 200U, 1280U, 1281U, 1501U, 2560U, 9000U, 9001U, 65'535U);
    const FragmentedEcho whole = echo(family, bytes);
    const Bytes message = reassemble(family, fragments(whole));
    Bytes expected = test::echo(family, true, identifier, cookie, bytes - header - 8);
    if (family == Family::ipv6) {
        const Bytes summed = test::join({pseudo_header(whole, expected.size()), message});
        CHECK(test::reference_checksum(summed) == 0);
        test::put_u16(expected, 2, *read_u16(message, 2));
    }
    CHECK(message == expected);
    CHECK(mtu_payload_bytes(family, bytes) == bytes - header - 8);
}

TEST_CASE("path mtu packet: fragments are two, of even size") {
    const Family family = GENERATE(Family::ipv4, Family::ipv6);
    for (std::uint32_t bytes = 68; bytes <= ip_packet_bytes_max; bytes += bytes < 3000 ? 1 : 97) {
        const std::vector<Bytes> parts = fragments(echo(family, bytes));
        const std::size_t header = place(family, parts[0]).header;
        const std::size_t message = bytes - (family == Family::ipv4 ? 20 : 40);
        for (const Bytes& part : parts) {
            const bool last = &part == &parts.back();
            REQUIRE(part.size() > header);
            REQUIRE((last || (part.size() - header) % 8 == 0));
            REQUIRE(part.size() - header <= (message / 2 + 8) / 8 * 8);
            REQUIRE((last || part.size() == parts[0].size()));
        }
    }
}

TEST_CASE("path mtu packet: the headers are those of the RFCs") {
    const FragmentedEcho v4 = echo(Family::ipv4, 3000);
    for (const Bytes& part : fragments(v4)) {
        CHECK(part[0] == 0x45);
        CHECK(part[1] == 46 << 2);
        CHECK(*read_u16(part, 2) == part.size());
        CHECK(*read_u16(part, 4) == 0x1a2b);
        CHECK((part[6] & 0xc0U) == 0);  // DF would forbid what we do
        CHECK(part[8] == 64);
        CHECK(part[9] == 1);
        CHECK(IpAddress::from_bytes(ByteView(part).subspan(12, 4)) == v4.source);
        CHECK(IpAddress::from_bytes(ByteView(part).subspan(16, 4)) == v4.destination);
    }
    const FragmentedEcho v6 = echo(Family::ipv6, 3000);
    for (const Bytes& part : fragments(v6)) {
        CHECK(*read_u32(part, 0) == (0x60000000U | 46U << 22U));
        CHECK(*read_u16(part, 4) == part.size() - 40);
        CHECK(part[6] == 44);
        CHECK(part[7] == 64);
        CHECK(part[40] == 58);
        CHECK(part[41] == 0);
        CHECK((part[43] & 6U) == 0);
        CHECK(*read_u32(part, 44) == 0x55667788U);
        CHECK(IpAddress::from_bytes(ByteView(part).subspan(8, 16)) == v6.source);
        CHECK(IpAddress::from_bytes(ByteView(part).subspan(24, 16)) == v6.destination);
    }
}

TEST_CASE("path mtu packet: no IPv4 identification is 0, which the kernel would replace") {
    FragmentedEcho whole = echo(Family::ipv4, 200);
    whole.cookie.token.sequence = 0x50000;
    const std::vector<Bytes> parts = fragments(whole);
    CHECK(*read_u16(parts[0], 4) != 0);
    CHECK(*read_u16(parts[0], 4) == *read_u16(parts[1], 4));
}

TEST_CASE("path mtu packet: IPv4's source may be left to the kernel") {
    FragmentedEcho whole = echo(Family::ipv4, 200);
    whole.source = {};
    CHECK(*read_u32(fragments(whole)[1], 12) == 0);
}

}  // namespace
}  // namespace reachd
