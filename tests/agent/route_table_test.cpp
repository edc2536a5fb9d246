#include "agent/route_table.hpp"

#include <algorithm>
#include <map>
#include <string>

#include <catch2/catch.hpp>

#include <linux/rtnetlink.h>

#include "common/random.hpp"

using namespace reachd;

namespace {

constexpr RouteTable::Limits limits{.routes = 100, .default_routes = 4};

IfIndex device(int index) {
    return static_cast<IfIndex>(index);
}

NextHop hop(int index, std::optional<IpAddress> gateway = {}) {
    return {gateway, device(index)};
}

Route route(const std::string& prefix, std::vector<NextHop> hops, std::uint32_t metric = 0) {
    Route made;
    const auto slash = prefix.find('/');
    const auto address = IpAddress::parse(prefix.substr(0, slash)).value();
    made.family = address.family();
    made.prefix_length = static_cast<std::uint8_t>(std::stoi(prefix.substr(slash + 1)));
    if (made.prefix_length != 0) {
        made.destination = address;
    }
    made.table = RT_TABLE_MAIN;
    made.type = RTN_UNICAST;
    made.metric = metric;
    made.next_hops = std::move(hops);
    return made;
}

void add(RouteTable& table, const Route& route) {
    table.change(route, false, false);
}

std::size_t count(const RouteTable& table) {
    return table.count(Family::ipv4) + table.count(Family::ipv6);
}

bool none_off(IfIndex) {
    return false;
}

}  // namespace

TEST_CASE("what is a route of the main table, and what is not", "[routes]") {
    RouteTable table(limits);
    auto some = route("10.1.0.0/16", {hop(2)});
    some.table = 100;
    add(table, some);
    some.table = RT_TABLE_MAIN;
    some.cloned = true;
    add(table, some);
    some.cloned = false;
    some.type = RTN_MULTICAST;
    add(table, some);
    some.type = RTN_UNICAST;
    some.next_hops.clear();
    add(table, some);  // leads nowhere
    CHECK(count(table) == 0);
    CHECK_FALSE(table.take_effects().changed);
    for (const auto type : {RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT}) {
        some.type = static_cast<std::uint8_t>(type);
        some.metric = static_cast<std::uint32_t>(type);
        add(table, some);
    }
    CHECK(table.count(Family::ipv4) == 3);
    const auto effects = table.take_effects();
    CHECK(effects.changed);
    CHECK_FALSE(effects.gateways_changed);
    table.remove(some);
    CHECK(table.count(Family::ipv4) == 2);
}

TEST_CASE("a kept route is told as it was", "[routes]") {
    RouteTable table(limits);
    auto told = route("fd00:1::/48", {hop(3, IpAddress::parse("fe80::1")), hop(2)}, 1024);
    told.tos = 0;
    told.protocol = 4;
    told.source = IpAddress::parse("fd00:2::");
    told.source_prefix_length = 64;
    told.preferred_source = IpAddress::parse("fd00:3::1");
    told.next_hop_id = 7;
    add(table, told);
    REQUIRE(table.routes().size() == 1);
    const auto kept = table.routes()[0];
    CHECK(kept.family == Family::ipv6);
    CHECK(kept.destination == told.destination);
    CHECK(kept.prefix_length == 48);
    CHECK(kept.source == told.source);
    CHECK(kept.source_prefix_length == 64);
    CHECK(kept.preferred_source == told.preferred_source);
    CHECK(kept.metric == 1024);
    CHECK(kept.protocol == 4);
    CHECK(kept.next_hop_id == 7);
    CHECK(kept.next_hops == std::vector<NextHop>{hop(2), hop(3, IpAddress::parse("fe80::1"))});
}

TEST_CASE("the link-local route of each device is its own, however many there are", "[routes]") {
    RouteTable table({.routes = 20'000, .default_routes = 4});
    for (int i = 1; i <= 10'000; ++i) {
        add(table, route("fe80::/64", {hop(i)}, 256));
    }
    CHECK(table.count(Family::ipv6) == 10'000);
    CHECK_FALSE(table.take_effects().ipv6_doubt);
    table.remove(route("fe80::/64", {hop(77)}, 256));
    CHECK(table.count(Family::ipv6) == 9'999);
    for (int i = 1; i <= 10'000; ++i) {
        table.remove_device(device(i));
    }
    CHECK(count(table) == 0);
}

TEST_CASE("routes are limited, default routes apart", "[routes]") {
    RouteTable table(limits);
    for (int i = 0; i < 200; ++i) {
        add(table, route("10.1." + std::to_string(i) + ".0/24", {hop(2)}));
    }
    CHECK(count(table) == 100);
    CHECK(table.routes_refused() == 100);
    for (std::uint32_t metric = 0; metric < 6; ++metric) {
        add(table, route("0.0.0.0/0", {hop(2, IpAddress::v4({10, 0, 0, 1}))}, metric));
    }
    CHECK(count(table) == 104);
    CHECK(table.routes_refused() == 102);
    CHECK(table.default_gateways(none_off).size() == 1);
    CHECK(table.default_gateways(none_off)[0].metric == 0);
}

TEST_CASE("multipath routes of one key are limited", "[routes]") {
    RouteTable table({.routes = 10'000, .default_routes = 4});
    for (int i = 1; i <= 100; ++i) {
        add(table, route("10.0.0.0/8", {hop(i), hop(i + 1000)}));
    }
    CHECK(count(table) == RouteTable::multipath_routes_max);
    CHECK(table.routes_refused() == 100 - RouteTable::multipath_routes_max);
}

TEST_CASE("a device that goes down doubts IPv4 only where a route uses it", "[routes]") {
    RouteTable table(limits);
    add(table, route("10.1.0.0/16", {hop(2)}));
    add(table, route("fe80::/64", {hop(2)}, 256));
    add(table, route("fe80::/64", {hop(3)}, 256));
    static_cast<void>(table.take_effects());
    table.switch_off(device(3));
    CHECK_FALSE(table.take_effects().ipv6_doubt);  // the kernel will tell
    table.switch_off(device(2));
    auto effects = table.take_effects();
    CHECK(effects.ipv4_doubt);
    CHECK_FALSE(effects.ipv6_doubt);
    table.remove(route("10.1.0.0/16", {hop(2)}));
    static_cast<void>(table.take_effects());
    table.switch_off(device(2));
    CHECK_FALSE(table.take_effects().ipv4_doubt);
    add(table, route("fd00::/64", {hop(2), hop(3)}));
    static_cast<void>(table.take_effects());
    table.switch_off(device(2));
    CHECK(table.take_effects().ipv6_doubt);  // it lives on by the other next hop, untold
}

TEST_CASE("next hop objects and preferred sources are counted, not searched", "[routes]") {
    RouteTable table(limits);
    auto one = route("10.1.0.0/16", {hop(2)});
    one.next_hop_id = 5;
    one.preferred_source = IpAddress::v4({10, 9, 9, 9});
    add(table, one);
    one.next_hop_id = 6;
    add(table, one);  // told once more, with another object
    static_cast<void>(table.take_effects());
    table.remove_next_hop_object(5);
    CHECK_FALSE(table.take_effects().ipv4_doubt);
    table.remove_next_hop_object(6);
    CHECK(table.take_effects().ipv4_doubt);
    auto local = route("10.9.9.9/32", {hop(7)});
    local.type = RTN_LOCAL;
    local.table = RT_TABLE_LOCAL;
    table.remove(local);
    CHECK(table.take_effects().ipv4_doubt);
    table.remove(one);
    static_cast<void>(table.take_effects());
    table.remove(local);
    table.remove_next_hop_object(6);
    CHECK_FALSE(table.take_effects().ipv4_doubt);
}

TEST_CASE("a random story leaves no index behind", "[routes]") {
    Random random(11);
    RouteTable table({.routes = 50, .default_routes = 5});
    for (int i = 0; i < 20'000; ++i) {
        std::vector<NextHop> hops;
        for (auto n = 1 + random.below(3); n > 0; --n) {
            const auto byte = static_cast<std::uint8_t>(random.below(2));
            hops.push_back(
                hop(1 + static_cast<int>(random.below(5)), IpAddress::v4({10, 0, 0, byte})));
        }
        const char* prefixes[] = {"0.0.0.0/0", "10.0.0.0/8", "::/0", "fd00::/8"};
        auto some = route(prefixes[random.below(4)], hops, random.below(3));
        some.next_hop_id = random.below(3);
        if (some.family == Family::ipv4 && random.below(2) == 0) {
            some.preferred_source = IpAddress::v4({10, 0, 9, 1});
        }
        switch (random.below(8)) {
            case 0: table.remove_device(device(1 + static_cast<int>(random.below(5)))); break;
            case 1: table.remove(some); break;
            case 2: table.change(some, true, false); break;
            case 3:
                table.begin_sweep(some.family);
                table.change(some, false, true);
                if (!table.finish_sweep(some.family)) {
                    CHECK(table.count(some.family) == 0);  // there was no room for it
                }
                CHECK(table.count(some.family) <= 1);
                break;
            default: add(table, some);
        }
        REQUIRE(table.routes().size() == count(table));
    }
    for (int i = 1; i <= 5; ++i) {
        table.remove_device(device(i));
    }
    CHECK(count(table) == 0);
    static_cast<void>(table.take_effects());
    for (int i = 1; i <= 5; ++i) {
        table.switch_off(device(i));
        CHECK_FALSE(table.carries_default(device(i)));
    }
    table.remove_next_hop_object(1);
    table.remove_next_hop_object(2);
    const auto effects = table.take_effects();
    CHECK_FALSE((effects.ipv4_doubt || effects.ipv6_doubt));
}
