#include "agent/guest_address_rules.hpp"

#include <array>

#include <catch2/catch.hpp>

#include "tests/agent/guest_world.hpp"

using namespace reachd;
using namespace reachd::test;

namespace {

constexpr std::array bridge{br0};
constexpr IfIndex eth0 = static_cast<IfIndex>(3);
constexpr std::array uplink{eth0};

/// Of 52:54:00:12:34:56.
constexpr std::string_view eui64 = "2001:db8::5054:ff:fe12:3456";
constexpr std::string_view random_one = "2001:db8::9c1f:72a4:e3b8:61d5";

bool temporary(std::string_view address, const std::vector<std::string_view>& all) {
    std::vector<IpAddress> addresses;
    for (const auto text : all) {
        addresses.push_back(ip(text));
    }
    return is_temporary(ip(address), mac("52:54:00:12:34:56"), addresses);
}

}  // namespace

TEST_CASE("the link-local address of a MAC is fe80:: and its modified EUI-64") {
    const auto mac = MacAddress::parse("fe:54:00:00:00:05");
    REQUIRE(mac.has_value());
    CHECK(link_local_address(*mac).to_string() == "fe80::fc54:ff:fe00:5");
}

TEST_CASE("what can be a host's own address", "[guest_address_rules]") {
    for (const auto text :
         {"10.0.0.1", "1.1.1.1", "169.254.1.1", "240.0.0.1", "fe80::1", "2001:db8::1", "::2"}) {
        CAPTURE(text);
        CHECK(is_host_unicast(ip(text)));
    }
    for (const auto text : {"0.0.0.0",
                            "0.1.2.3",
                            "127.0.0.1",
                            "224.0.0.1",
                            "239.255.255.255",
                            "255.255.255.255",
                            "::",
                            "::1",
                            "ff02::1",
                            "::ffff:10.0.0.1"}) {
        CAPTURE(text);
        CHECK_FALSE(is_host_unicast(ip(text)));
    }
}

TEST_CASE("a random identifier is temporary beside a stable one", "[guest_address_rules]") {
    CHECK(temporary(random_one, {random_one, eui64}));
    CHECK_FALSE(temporary(eui64, {random_one, eui64}));
    // Alone it may be a stable opaque one.
    CHECK_FALSE(temporary(random_one, {random_one}));
    // The stable one is of another prefix.
    CHECK_FALSE(temporary(random_one, {random_one, "2001:db8:0:1:5054:ff:fe12:3456"}));
    // An identifier of another MAC tells nothing.
    CHECK_FALSE(temporary(random_one, {random_one, "2001:db8::5054:ff:fe65:4321"}));
    // Given by a person or a DHCPv6 server.
    CHECK_FALSE(temporary("2001:db8::10", {"2001:db8::10", eui64}));
    CHECK_FALSE(temporary("2001:db8::10:20:30:40", {"2001:db8::10:20:30:40", eui64}));
    CHECK_FALSE(temporary("10.0.0.1", {"10.0.0.1", eui64}));
}

TEST_CASE("the identifier of the link-local address is a stable one", "[guest_address_rules]") {
    const std::string_view opaque = "2001:db8::41a7:93cc:58de:17f2";
    const std::string_view local = "fe80::41a7:93cc:58de:17f2";
    CHECK(temporary(random_one, {random_one, opaque, local}));
    CHECK_FALSE(temporary(opaque, {random_one, opaque, local}));
    CHECK_FALSE(temporary(local, {random_one, opaque, local}));
}

TEST_CASE("own addresses and gateways", "[guest_address_rules]") {
    HostAddresses host;
    IpAddress local_gateway = ip("fe80::1");
    local_gateway.set_scope(eth0);
    CHECK(host.set({own(br0, "10.77.0.1", 24), own(br0, "fe80::7", 64)},
                   {ip("192.0.2.1"), local_gateway}));
    CHECK(host.is_own(ip("10.77.0.1"), uplink));
    CHECK_FALSE(host.is_own(ip("10.77.0.2"), bridge));
    CHECK(host.is_own(ip("fe80::7"), bridge));
    CHECK_FALSE(host.is_own(ip("fe80::7"), uplink));
    CHECK(host.is_gateway(ip("192.0.2.1"), bridge));
    CHECK(host.is_gateway(ip("fe80::1"), uplink));
    CHECK_FALSE(host.is_gateway(ip("fe80::1"), bridge));

    CHECK_FALSE(host.set({own(br0, "10.77.0.1", 24), own(br0, "fe80::7", 64)},
                         {ip("192.0.2.1"), local_gateway}));
    CHECK(host.set({}, {}));
    CHECK_FALSE(host.is_own(ip("10.77.0.1"), bridge));
}

TEST_CASE("on-link is what a prefix says, else anything", "[guest_address_rules]") {
    HostAddresses host;
    CHECK(host.is_on_link(ip("198.51.100.7"), bridge));

    host.set({own(br0, "10.77.0.1", 20), own(br0, "2001:db8:1::1", 64)}, {});
    CHECK(host.is_on_link(ip("10.77.15.255"), bridge));
    CHECK_FALSE(host.is_on_link(ip("10.77.16.0"), bridge));
    CHECK(host.is_on_link(ip("10.77.16.0"), uplink));
    CHECK(host.is_on_link(ip("10.77.16.0"), {}));
    CHECK(host.is_on_link(ip("169.254.3.4"), bridge));
    CHECK(host.is_on_link(ip("2001:db8:1::2"), bridge));
    CHECK_FALSE(host.is_on_link(ip("2001:db8:2::2"), bridge));
    CHECK(host.is_on_link(ip("fe80::1"), bridge));
}

TEST_CASE("prefixes that say nothing about others do not count", "[guest_address_rules]") {
    HostAddresses host;
    host.set({own(br0, "192.0.2.1", 32), own(br0, "fe80::7", 64), own(br0, "169.254.1.1", 16)}, {});
    CHECK(host.is_on_link(ip("10.0.0.5"), bridge));
    CHECK(host.is_on_link(ip("2001:db8::5"), bridge));
    CHECK(host.device_towards(ip("10.0.0.5"), bridge) == IfIndex::any);
    CHECK(host.device_towards(ip("fe80::5"), bridge) == br0);
    CHECK(host.device_towards(ip("192.0.2.1"), bridge) == IfIndex::any);
}

TEST_CASE("directed broadcasts", "[guest_address_rules]") {
    HostAddresses host;
    host.set({own(br0, "10.77.0.1", 24), own(br0, "10.78.0.0", 31)}, {});
    CHECK(host.is_broadcast(ip("10.77.0.255"), bridge));
    CHECK(host.is_broadcast(ip("10.77.0.0"), bridge));
    CHECK_FALSE(host.is_broadcast(ip("10.77.0.254"), bridge));
    CHECK_FALSE(host.is_broadcast(ip("10.77.0.255"), uplink));
    CHECK_FALSE(host.is_broadcast(ip("10.78.0.1"), bridge));
    CHECK_FALSE(host.is_broadcast(ip("2001:db8::"), bridge));
}
