#include <catch2/catch.hpp>

#include "agent/guest_table.hpp"
#include "tests/agent/guest_world.hpp"

using namespace reachd;
using namespace reachd::test;

namespace {

GuestDiscoveryConfig with_names(std::vector<std::pair<MacAddress, std::string>> names) {
    GuestDiscoveryConfig config;
    config.names = std::move(names);
    return config;
}

std::string shown_name(const GuestWorld& world) {
    return world.snapshot().at(0).name;
}

}  // namespace

TEST_CASE("a name is waited for, two seconds at most", "[guest_names]") {
    GuestWorld world;
    world.ports({tap(10)});
    world.pass(1s);
    world.hear(10, request(web, "10.77.0.10"));
    CHECK(world.targets().empty());
    CHECK(world.addresses() ==
          Texts{"vnet10 52:54:00:00:00:01 10.77.0.10 (waiting for the name of its guest)"});
    CHECK(shown_name(world).empty());

    SECTION("the MAC, when nobody knows") {
        world.pass(2s);
        CHECK(world.targets() == Texts{"vnet10 10.77.0.10 52:54:00:00:00:01"});
        // Kept, whoever comes later.
        world.identify(tap(10), machine("web01"));
        CHECK(world.targets() == Texts{"vnet10 10.77.0.10 52:54:00:00:00:01"});
        CHECK(world.table.targets()[0].vm == "web01");
        CHECK(world.snapshot()[0].vm == "web01");
    }
    SECTION("the machine's name, when it is known") {
        world.identify(tap(10), machine("web01"));
        CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01 in 1 s"});
        world.identify(tap(10), machine("renamed"));
        CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01 in 1 s"});
    }
    SECTION("nobody can know") {
        world.identify(tap(10), {});
        CHECK(world.targets() == Texts{"vnet10 10.77.0.10 52:54:00:00:00:01 in 1 s"});
    }
}

TEST_CASE("that nobody knew before there was a MAC says nothing", "[guest_names]") {
    GuestWorld world;
    world.ports({tap(10)});
    world.identify(tap(10), {});
    world.pass(60s);
    world.hear(10, request(web, "10.77.0.10"));
    CHECK(world.targets().empty());
    world.identify(tap(10), machine("web01"));
    CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01"});
}

TEST_CASE("a name that no series has yet may become a better one", "[guest_names]") {
    GuestWorld world;
    world.ports({tap(10)});
    world.learn(10, web);
    world.pass(60s);
    CHECK(shown_name(world) == "52:54:00:00:00:01");
    world.identify(tap(10), machine("web01"));
    CHECK(shown_name(world) == "web01");
}

TEST_CASE("the operator has the last word on names", "[guest_names]") {
    GuestWorld world(with_names({{web, "mapped"}}));
    world.ports({tap(10)});
    world.identify(tap(10), machine("web01", {web}));
    world.hear(10, request(web, "10.77.0.10"));
    CHECK(world.targets() == Texts{"vnet10 10.77.0.10 mapped in 2 s"});
    world.pass(2s);

    SECTION("another one, at once") {
        world.table.configure(with_names({{web, "other"}}), 1s, world.now);
        CHECK(world.targets() == Texts{"vnet10 10.77.0.10 other"});
    }
    SECTION("none any more") {
        world.table.configure({}, 1s, world.now);
        CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01"});
    }
    SECTION("about somebody else") {
        const auto revision = world.table.revision();
        world.table.configure(with_names({{web, "mapped"}, {db, "other"}}), 1s, world.now);
        CHECK(world.targets() == Texts{"vnet10 10.77.0.10 mapped"});
        CHECK(world.table.revision() > revision);
    }
}

TEST_CASE("a name comes from any MAC of the port, the machine's own ones first", "[guest_names]") {
    GuestWorld world(with_names({{guest_mac(5), "five"}, {guest_mac(6), "six"}}));
    world.ports({tap(10)});
    world.learn(10, guest_mac(5));
    world.learn(10, guest_mac(4));
    CHECK(shown_name(world) == "five");
    world.identify(tap(10), machine("vm", {guest_mac(6)}));
    CHECK(shown_name(world) == "six");
}

TEST_CASE("nobody gets a name by the MAC of another guest", "[guest_names]") {
    GuestWorld world(with_names({{web, "web01"}}));
    world.ports({tap(10), tap(11)});
    world.identify(tap(11), machine("vm", {web}));
    world.learn(10, web);
    world.hear(10, request(web, "10.77.0.10"));
    world.hear(10, request(db, "10.77.0.11"));
    world.pass(10s);
    CHECK(world.targets() == Texts{"vnet10 10.77.0.11 52:54:00:00:00:02"});
}

TEST_CASE("another generation has another name", "[guest_names]") {
    GuestWorld world;
    world.ports({tap(10)});
    world.identify(tap(10), machine("web01"));
    world.hear(10, request(web, "10.77.0.10"));
    world.ports({tap(10, 2)});
    world.identify(tap(10), machine("late answer"));
    CHECK(shown_name(world).empty());
    world.identify(tap(10, 2), machine("db1"));
    world.hear(10, request(web, "10.77.0.10"));
    CHECK(world.targets() == Texts{"vnet10 10.77.0.10 db1 in 2 s"});
}

TEST_CASE("guests of one name and address are told apart by MAC", "[guest_names]") {
    GuestWorld world;
    Vnic other = tap(11);
    other.bridge = other.segment = device(3);
    Vnic third = tap(12);
    third.bridge = third.segment = device(4);
    world.ports({tap(10), other, third});
    for (const unsigned port : {10U, 11U}) {
        world.identify(tap(port), machine("clone"));
        world.hear(port, request(guest_mac(port), "10.77.0.10"));
        world.hear(port, request(guest_mac(port), "10.77.0." + std::to_string(port + 1)));
    }
    world.pass(2s);
    CHECK(world.targets() == Texts{"vnet10 10.77.0.10 clone",
                                   "vnet10 10.77.0.11 clone",
                                   "vnet11 10.77.0.10 clone (52:54:00:00:00:0b)",
                                   "vnet11 10.77.0.12 clone"});
    // Even the MAC can be the same.
    world.identify(tap(12), machine("clone"));
    world.hear(12, request(guest_mac(11), "10.77.0.10"));
    CHECK(world.targets().size() == 4);
    CHECK(world.addresses().back() ==
          "vnet12 52:54:00:00:00:0b 10.77.0.10 (another guest has the "
          "same name, address and MAC)");
    // A name once given stays, and a free one can be had again.
    world.ports({other, third});
    CHECK(world.targets().at(0) == "vnet11 10.77.0.10 clone (52:54:00:00:00:0b)");
    world.hear(12, request(guest_mac(12), "10.77.0.66"));
    CHECK(world.targets().at(2) == "vnet12 10.77.0.10 clone");
}

TEST_CASE("excluded guests are neither shown nor probed", "[guest_names]") {
    GuestDiscoveryConfig config;
    config.exclude = {"test-*"};
    GuestWorld world(config);
    world.ports({tap(10), tap(11)});
    world.hear(10, request(web, "10.77.0.10"));
    world.hear(11, request(db, "10.77.0.11"));
    world.identify(tap(10), machine("test-1"));
    world.identify(tap(11), machine("db1"));
    CHECK(world.targets() == Texts{"vnet11 10.77.0.11 db1 in 2 s"});
    CHECK(world.snapshot().size() == 1);
    world.table.configure({}, 1s, world.now);
    CHECK(world.targets().size() == 2);
    world.table.configure(config, 1s, world.now);
    CHECK(world.targets().size() == 1);
}

TEST_CASE("the zone of a link-local address follows its bridge", "[guest_names]") {
    GuestWorld world;
    world.ports({tap(10)});
    world.identify(tap(10), machine("web01"));
    world.hear(10, solicitation(web, "fe80::10"));
    world.pass(2s);
    Vnic renamed = tap(10);
    renamed.zone_name = renamed.bridge_name = "lan";
    world.ports({renamed});
    CHECK(world.targets() == Texts{"vnet10 fe80::10%lan web01"});
    world.ports({without_bridge(tap(10))});
    CHECK(world.targets() == Texts{"vnet10 fe80::10%lan web01"});
}
