#include <catch2/catch.hpp>

#include "agent/guest_table.hpp"
#include "tests/agent/guest_world.hpp"

using namespace reachd;
using namespace reachd::test;

namespace {

GuestAddressRecord record(std::string_view address, Duration age, const Instant& now) {
    return {"vnet10", tap(10).mac, web, ip(address), now.wall - 5h, now.wall - age};
}

}  // namespace

TEST_CASE("addresses come back from the run-time file with their MAC", "[guest_restore]") {
    GuestWorld before = two_guests();
    before.hear(10, request(web, "10.77.0.10"));
    before.hear(10, solicitation(web, "fe80::10"));
    before.pass(60s);
    const auto records = before.table.records();
    REQUIRE(records.size() == 2);
    CHECK(records[0].address.scope() == IfIndex::any);

    GuestWorld world;
    world.now = {MonoTime(5s), before.now.wall + 10s};
    for (const auto& known : records) {
        world.table.restore(known, world.now);
    }
    CHECK(world.table.records().size() == 2);
    world.ports({tap(10), tap(11)});
    world.identify(tap(10), machine("web01"));
    CHECK(world.targets().empty());
    world.learn(11, web);
    CHECK(world.targets().empty());
    world.learn(10, web);
    CHECK(world.targets() ==
          Texts{"vnet10 10.77.0.10 web01 in 2 s", "vnet10 fe80::10%br0 web01 in 2 s"});
    const auto address = world.snapshot()[0].addresses[0];
    CHECK(address.how == LearntBy::run_time_file);
    CHECK(address.last_seen == before.now.wall - 60s);
    CHECK(world.table.records().size() == 2);

    world.pass(2s);
    world.hear(10, request(web, "10.77.0.10"));
    CHECK(world.snapshot()[0].addresses[0].how == LearntBy::arp);
    // The other one was never heard again: its age goes on.
    const auto speak_for = [&world](int minutes) {
        for (int minute = 0; minute < minutes; ++minute) {
            world.pass(60s);
            world.hear(10, request(web, "10.77.0.10"));
        }
    };
    speak_for(57);
    CHECK(world.targets().size() == 2);
    speak_for(3);
    CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01"});
}

TEST_CASE("the run-time file decides nothing", "[guest_restore]") {
    GuestWorld world = two_guests();
    SECTION("about a port of another MAC") {
        auto other = record("10.77.0.10", 1s, world.now);
        other.port_mac = guest_mac(99);
        world.table.restore(other, world.now);
    }
    SECTION("about what is too old") {
        world.table.restore(record("10.77.0.10", 1h, world.now), world.now);
        CHECK(world.refused(GuestRefusal::restored_record) == 1);
    }
    SECTION("about what is to come") {
        world.table.restore(record("10.77.0.10", -2min, world.now), world.now);
        CHECK(world.refused(GuestRefusal::restored_record) == 1);
    }
    SECTION("about the host's addresses") {
        world.host({own(br0, "10.77.0.1", 24)});
        world.table.restore(record("10.77.0.1", 1s, world.now), world.now);
        CHECK(world.refused(GuestRefusal::host_address) == 1);
    }
    SECTION("about impossible addresses") {
        world.table.restore(record("127.0.0.1", 1s, world.now), world.now);
        world.table.restore(record("ff02::1", 1s, world.now), world.now);
        CHECK(world.refused(GuestRefusal::restored_record) == 2);
    }
    SECTION("about the address of a guest alive") {
        world.hear(11, request(db, "10.77.0.10"));
        world.table.restore(record("10.77.0.10", 1s, world.now), world.now);
        CHECK(world.targets() == Texts{"vnet11 10.77.0.10 db1"});
        return;
    }
    CHECK(world.addresses().empty());
}

TEST_CASE("what waits for its MAC is bounded and ages", "[guest_restore]") {
    GuestWorld world;
    for (int i = 0; i < 100; ++i) {
        world.table.restore(record("10.77.1." + std::to_string(i), 1s, world.now), world.now);
    }
    CHECK(world.table.records().size() == GuestTable::addresses_per_port_max);
    CHECK(world.refused(GuestRefusal::restored_record) == 36);
    world.pass(GuestTable::address_age);
    CHECK(world.table.records().empty());
    CHECK(world.table.next_deadline() == mono_never);
}
