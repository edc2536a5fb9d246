#include "common/address.hpp"

#include <algorithm>
#include <set>
#include <vector>

#include <catch2/catch.hpp>

namespace reachd {
namespace {

IpAddress parsed(const std::string& text) {
    const auto address = IpAddress::parse(text);
    REQUIRE(address.has_value());
    return *address;
}

TEST_CASE("addresses are read from numeric text only") {
    CHECK(parsed("10.0.0.1") == IpAddress::v4({10, 0, 0, 1}));
    CHECK(parsed("255.255.255.255").family() == Family::ipv4);
    CHECK(parsed("::1").family() == Family::ipv6);
    CHECK(parsed("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255") ==
          parsed("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));

    for (const std::string text : {"",
                                   " ",
                                   "10.0.0",
                                   "10.1",
                                   "167772161",
                                   "0x0a000001",
                                   "010.0.0.1",
                                   "10.0.0.01",
                                   "10.0.0.256",
                                   "10.0.0.-1",
                                   "10.0.0.1 ",
                                   " 10.0.0.1",
                                   "10.0.0.1/32",
                                   "10.0.0.1.",
                                   "::1%lo",
                                   "fe80::1%2",
                                   ":::",
                                   "1:2:3:4:5:6:7:8:9",
                                   "1::2::3",
                                   "[::1]",
                                   "12345::",
                                   "g::",
                                   "localhost",
                                   "::ffff:10.0.0.256"}) {
        CAPTURE(text);
        CHECK_FALSE(IpAddress::parse(text).has_value());
    }
}

TEST_CASE("text that is too long, or holds a NUL, is no address") {
    CHECK_FALSE(IpAddress::parse(std::string("10.0.0.1\0", 9)).has_value());
    CHECK_FALSE(IpAddress::parse(std::string("10.0.0.1\0.2", 11)).has_value());
    CHECK_FALSE(IpAddress::parse(std::string(46, '1')).has_value());
    CHECK_FALSE(IpAddress::parse(std::string(1 << 20, ':')).has_value());
    CHECK(IpAddress::parse(std::string_view("10.0.0.123", 9))->to_string() == "10.0.0.12");
}

TEST_CASE("text is that of RFC 5952") {
    for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
             {"192.0.2.1", "192.0.2.1"},
             {"2001:0DB8:0:0:0:0:2:1", "2001:db8::2:1"},
             {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},  // one group is not shortened
             {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},           // the longest run is
             {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},     // the first of equals is
             {"0:0:0:0:0:0:0:0", "::"},
             {"0:0:0:0:0:0:0:1", "::1"},
             {"FE80::ABCD", "fe80::abcd"},
             {"::ffff:192.0.2.1", "::ffff:192.0.2.1"}}) {
        CHECK(parsed(from).to_string() == to);
        CHECK(parsed(parsed(from).to_string()) == parsed(from));
    }
}

TEST_CASE("bytes are those of packets") {
    const std::array<std::uint8_t, 4> four{192, 0, 2, 1};
    const auto address = IpAddress::from_bytes(four);
    REQUIRE(address.has_value());
    CHECK(address->to_string() == "192.0.2.1");
    CHECK(std::equal(four.begin(), four.end(), address->bytes().begin(), address->bytes().end()));

    std::array<std::uint8_t, 17> many{0x20, 0x01};
    CHECK(IpAddress::from_bytes(ByteView(many).first(16))->to_string() == "2001::");
    CHECK(IpAddress::from_bytes(ByteView(many).first(16))->bytes().size() == 16);
    for (const std::size_t size : {0U, 1U, 3U, 5U, 15U, 17U}) {
        CHECK_FALSE(IpAddress::from_bytes(ByteView(many).first(size)).has_value());
    }
}

TEST_CASE("kinds of addresses") {
    CHECK(IpAddress{}.is_unspecified());
    CHECK(IpAddress{}.family() == Family::ipv4);
    CHECK(parsed("0.0.0.0").is_unspecified());
    CHECK(parsed("::").is_unspecified());
    CHECK_FALSE(parsed("0.0.0.1").is_unspecified());
    CHECK_FALSE(parsed("::1").is_unspecified());

    CHECK(parsed("127.0.0.1").is_loopback());
    CHECK(parsed("127.255.255.254").is_loopback());
    CHECK(parsed("::1").is_loopback());
    CHECK_FALSE(parsed("128.0.0.1").is_loopback());
    CHECK_FALSE(parsed("::2").is_loopback());
    CHECK_FALSE(parsed("7f00::").is_loopback());
    CHECK_FALSE(parsed("1::1").is_loopback());
    CHECK_FALSE(parsed("0.0.0.1").is_loopback());

    CHECK(parsed("224.0.0.1").is_multicast());
    CHECK(parsed("239.255.255.255").is_multicast());
    CHECK(parsed("ff02::1").is_multicast());
    CHECK_FALSE(parsed("223.255.255.255").is_multicast());
    CHECK_FALSE(parsed("240.0.0.1").is_multicast());
    CHECK_FALSE(parsed("fe80::1").is_multicast());
    CHECK_FALSE(parsed("255.0.0.1").is_multicast());

    CHECK(parsed("fe80::1").is_link_local_v6());
    CHECK(parsed("febf::1").is_link_local_v6());
    CHECK_FALSE(parsed("fec0::1").is_link_local_v6());
    CHECK_FALSE(parsed("fe7f::1").is_link_local_v6());
    CHECK_FALSE(parsed("169.254.0.1").is_link_local_v6());
    CHECK_FALSE(parsed("254.128.0.1").is_link_local_v6());
}

TEST_CASE("equality takes family and scope into account") {
    IpAddress scoped = parsed("fe80::1");
    scoped.set_scope(IfIndex{2});
    CHECK(scoped != parsed("fe80::1"));
    CHECK(scoped.scope() == IfIndex{2});
    CHECK(scoped.to_string() == "fe80::1");
    CHECK(scoped ==
          IpAddress::v6({0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, IfIndex{2}));
    CHECK(parsed("0.0.0.0") != parsed("::"));
    CHECK(parsed("10.0.0.1") != parsed("a00:1::"));  // the same first bytes
    CHECK((parsed("10.0.0.1") < parsed("10.0.0.2")));
}

TEST_CASE("equal addresses hash alike, others mostly do not") {
    IpAddress scoped = parsed("fe80::1");
    CHECK(parsed("fe80:0::1").hash() == scoped.hash());
    scoped.set_scope(IfIndex{2});
    CHECK(scoped.hash() != parsed("fe80::1").hash());
    CHECK(parsed("0.0.0.0").hash() != parsed("::").hash());
    std::set<std::uint32_t> hashes;
    for (std::uint32_t i = 0; i < 10'000; ++i) {
        hashes.insert(
            IpAddress::v4({10, 0, static_cast<std::uint8_t>(i >> 8U), static_cast<std::uint8_t>(i)})
                .hash());
    }
    CHECK(hashes.size() > 9'990);
}

}  // namespace
}  // namespace reachd
