#include <catch2/catch.hpp>

#include "agent/guest_table.hpp"
#include "tests/agent/guest_world.hpp"

using namespace reachd;
using namespace reachd::test;

TEST_CASE("a MAC moves with its addresses when the bridge says so", "[guest_macs]") {
    GuestWorld world;
    world.ports({tap(10), tap(11)});
    world.learn(10, web);
    world.hear(10, request(web, "10.77.0.10"));
    world.pass(60s);
    world.learn(11, web);
    CHECK(macs(world, 10).empty());
    CHECK(macs(world, 11) == std::vector{web});
    world.pass(2s);
    REQUIRE(world.table.targets().size() == 1);
    CHECK(world.table.targets()[0].port == device(11));
    // The older entry goes after the move, as the kernel may tell it.
    world.learn(10, web, false);
    CHECK(world.table.targets().size() == 1);
}

TEST_CASE("a guest that checks its address where it moved to is left alone there", "[guest_macs]") {
    GuestWorld world;
    world.ports({tap(10), tap(11)});
    world.learn(10, web);
    world.hear(10, request(web, "10.77.0.10"));
    world.learn(11, web);
    REQUIRE(macs(world, 11).empty());  // it spoke on the other port just now
    world.pass(4s);
    world.hear(11, arp_probe(web, "10.77.0.10"));
    const MonoTime checked = world.now.mono;
    world.pass(8s);
    world.learn(11, web);
    REQUIRE(macs(world, 11) == std::vector{web});
    REQUIRE(world.table.targets().size() == 1);
    CHECK(world.table.targets()[0].probe_from == checked + guest_claim_time);
}

TEST_CASE("a check is remembered while the bridge forgets its guest", "[guest_macs]") {
    GuestWorld world;
    world.ports({tap(10)});
    world.pass(60s);
    world.learn(10, web);
    world.hear(10, arp_probe(web, "10.77.0.10"));
    const MonoTime checked = world.now.mono;
    world.learn(10, web, false);
    world.pass(2s);
    world.learn(10, web);
    world.hear(10, request(web, "10.77.0.10"));
    world.pass(2s);
    REQUIRE(world.table.targets().size() == 1);
    CHECK(world.table.targets()[0].probe_from == checked + guest_claim_time);
}

TEST_CASE("the MAC of a configured machine is nobody else's", "[guest_macs]") {
    GuestWorld world;
    world.ports({tap(10), tap(11), tap(12)});
    world.identify(tap(10), machine("web01", {web}));
    world.hear(10, request(web, "10.77.0.10"));
    world.hear(11, request(web, "10.77.0.10"));
    world.learn(11, web);
    CHECK(macs(world, 10) == std::vector{web});
    CHECK(macs(world, 11).empty());
    CHECK(world.refused(GuestRefusal::mac_elsewhere) == 2);
    CHECK(world.take_logs() == Texts{"guest ? on port vnet11 sends from 52:54:00:00:00:01, the MAC "
                                     "address of guest web01 on port vnet10: refused"});

    SECTION("but that of another process with the same MAC, where the bridge sees it") {
        world.identify(tap(12), machine("web01", {web}));
        CHECK(macs(world, 10) == std::vector{web});
        world.learn(12, web);
        CHECK(macs(world, 12) == std::vector{web});
        CHECK(world.table.targets().at(0).port == device(12));
    }
    SECTION("until the machine is gone") {
        world.ports({tap(11), tap(12)});
        CHECK(world.table.targets().empty());
        world.hear(11, request(web, "10.77.0.10"));
        CHECK(macs(world, 11) == std::vector{web});
        CHECK(world.table.address_count() == 1);
    }
}

TEST_CASE("a configured machine gets its MAC back from who spoke first", "[guest_macs]") {
    GuestWorld world;
    world.ports({tap(10), tap(11)});
    world.hear(11, request(web, "10.77.0.10"));
    world.learn(11, web);
    world.identify(tap(10), machine("web01", {web}));
    CHECK(macs(world, 10) == std::vector{web});
    CHECK(macs(world, 11).empty());
}

TEST_CASE("a frame alone takes no MAC from another port, unless that is silent", "[guest_macs]") {
    GuestWorld world;
    world.ports({tap(10), tap(11)});
    world.hear(10, request(web, "10.77.0.10"));
    world.hear(11, request(web, "10.77.0.10"));
    CHECK(macs(world, 10) == std::vector{web});
    world.pass(GuestTable::silence);
    world.hear(11, request(web, "10.77.0.10"));
    CHECK(macs(world, 11) == std::vector{web});
    CHECK(macs(world, 10).empty());
    CHECK(world.table.mac_count() == 1);
}

TEST_CASE("one MAC in two segments is two", "[guest_macs]") {
    GuestWorld world;
    Vnic other = tap(11);
    other.bridge = other.segment = other.zone = device(3);
    Vnic vlan = tap(12);
    vlan.vlan = 20;
    world.ports({tap(10), other, vlan});
    for (const unsigned port : {10U, 11U, 12U}) {
        world.learn(port, web);
        world.hear(port, request(web, "10.77.0.10"));
    }
    CHECK(world.table.targets().size() == 0);  // no names yet
    world.pass(2s);
    CHECK(world.table.address_count() == 3);
    CHECK(world.refused(GuestRefusal::guest_address) == 0);
}

TEST_CASE("a MAC that the bridge forgot goes after a while, the last one stays", "[guest_macs]") {
    GuestWorld world;
    world.ports({tap(10)});
    world.learn(10, web);
    world.learn(10, db);
    world.hear(10, request(web, "10.77.0.10"));
    world.hear(10, request(db, "10.77.0.11"));
    world.learn(10, db, false);
    world.pass(GuestTable::mac_hold - 1s);
    CHECK(world.table.address_count() == 2);
    world.pass(1s);
    CHECK(world.table.address_count() == 1);
    CHECK(macs(world, 10) == std::vector{web});

    world.learn(10, web, false);
    world.pass(3 * GuestTable::mac_hold);
    CHECK(world.table.address_count() == 1);
    world.pass(2 * GuestTable::address_age);
    CHECK(world.table.address_count() == 1);
    world.ports({});
    CHECK(world.table.mac_count() == 0);
}

TEST_CASE("a MAC without addresses goes with its forwarding entry", "[guest_macs]") {
    GuestWorld world;
    world.ports({tap(10)});
    world.learn(10, web);
    world.learn(10, web, false);
    CHECK(macs(world, 10).empty());
    world.identify(tap(10), machine("web01", {db}));
    world.learn(10, db);
    world.learn(10, db, false);
    CHECK(macs(world, 10) == std::vector{db});
}

TEST_CASE("a hundred thousand MACs behind a port", "[guest_macs]") {
    GuestWorld world;
    world.ports({tap(10)});
    for (unsigned i = 0; i < 100'000; ++i) {
        world.learn(10, guest_mac(i));
    }
    CHECK(world.table.mac_count() == GuestTable::macs_per_port_max);
    CHECK(world.refused(GuestRefusal::mac_limit) == 100'000 - GuestTable::macs_per_port_max);

    // Those that matter find a place all the same.
    const MacAddress own = guest_mac(0xabcdef);
    world.identify(tap(10), machine("web01", {own}));
    world.hear(10, request(own, "10.77.0.10"));
    const MacAddress nested = guest_mac(0xabcdee);
    world.hear(10, request(nested, "10.77.0.11"));
    CHECK(world.targets().size() == 2);
    CHECK(world.table.mac_count() == GuestTable::macs_per_port_max);
}

TEST_CASE("a MAC that comes is told, so that neighbours are offered again", "[guest_macs]") {
    GuestWorld world;
    world.ports({tap(10)});
    const auto before = world.table.macs_revision();
    world.learn(10, web);
    CHECK(world.table.macs_revision() > before);
    const auto after = world.table.macs_revision();
    world.learn(10, web);
    world.hear(10, request(web, "10.77.0.10"));
    CHECK(world.table.macs_revision() == after);
}

TEST_CASE("a MAC leaves with the last VLAN in which the bridge had learnt it", "[guest_macs]") {
    GuestWorld world;
    Vnic trunk = tap(10);
    trunk.vlan = 10;
    world.ports({trunk});
    world.learn(10, web, true, 10);
    world.learn(10, web, true, 20);
    world.learn(10, web, false, 20);
    CHECK(macs(world, 10) == std::vector{web});
    world.learn(10, web, false, 20);
    CHECK(macs(world, 10) == std::vector{web});
    world.learn(10, web, false, 10);
    CHECK(macs(world, 10).empty());
}

TEST_CASE("a MAC in VLANs of the guests' own is no guest's alone", "[guest_macs]") {
    GuestWorld world;
    Vnic left = tap(10);
    Vnic right = tap(11);
    left.vlan = right.vlan = 10;
    world.ports({left, right});
    world.learn(10, web, true, 10);
    world.hear(10, request(web, "10.77.0.10"));
    world.pass(60s);
    world.learn(11, web, true, 20);  // a virtual router of another VLAN
    CHECK(macs(world, 10) == std::vector{web});
    CHECK(world.refused(GuestRefusal::mac_elsewhere) == 0);
    CHECK(world.table.targets().at(0).port == device(10));
    world.learn(11, web, true, 10);  // moved
    CHECK(macs(world, 10).empty());
    CHECK(macs(world, 11) == std::vector{web});
}

TEST_CASE("what the bridge knows is taken over as a whole", "[guest_macs]") {
    GuestWorld world;
    world.ports({tap(10)});
    world.learn(10, web);
    world.table.set_fdb(device(10), {{db, 0}, {guest_mac(3), 0}, {guest_mac(3), 20}}, world.now);
    CHECK(macs(world, 10) == std::vector{db, guest_mac(3)});
    world.table.set_fdb(device(10), {{guest_mac(3), 20}}, world.now);
    CHECK(macs(world, 10) == std::vector{guest_mac(3)});
    world.table.set_fdb(device(10), {}, world.now);
    CHECK(world.table.mac_count() == 0);
    world.table.set_fdb(device(99), {{web, 0}}, world.now);
    CHECK(world.table.mac_count() == 0);
}

TEST_CASE("a MAC that no bridge knows goes when it was silent for long", "[guest_macs]") {
    GuestWorld world;  // as behind a port of Open vSwitch
    world.ports({tap(10)});
    world.hear(10, request(web, "10.77.0.10"));
    world.hear(10, request(db, "10.77.0.11"));
    for (int minute = 0; minute < 59; ++minute) {
        world.pass(60s);
        world.hear(10, request(db, "10.77.0.11"));
    }
    CHECK(macs(world, 10) == std::vector{web, db});
    world.pass(60s);
    world.hear(10, request(db, "10.77.0.11"));
    world.pass(120s);
    CHECK(macs(world, 10) == std::vector{db});
    world.pass(3 * GuestTable::address_age);
    CHECK(macs(world, 10) == std::vector{db});
}
