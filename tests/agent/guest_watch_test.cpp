// The guest inventory in step with a topology: ears on ports, names looked up at a pace, records.
#include "agent/guest_watch.hpp"

#include <catch2/catch.hpp>

#include "tests/agent/netlink_builder.hpp"

namespace reachd::test {
namespace {

using namespace std::chrono_literals;

MacAddress guest_mac(int number) {
    return MacAddress({0x52, 0x54, 0, 0, 0, static_cast<std::uint8_t>(number)});
}

struct WatchWorld {
    explicit WatchWorld(Config config_in = {}) : config(std::move(config_in)), watch(config) {
        tell({.index = 4, .name = "br0", .kind = "bridge"});
    }

    void tell(const LinkFacts& link) { apply(new_link(link)); }

    void apply(const Bytes& datagram) {
        NetlinkReader reader{ByteView(datagram)};
        while (const NetlinkMessage* message = reader.next()) {
            topology.apply(*message, now);
        }
    }

    void tap(int index, const std::string& name, int master = 4) {
        tell({.index = index, .name = name, .master = master, .kind = "tun", .tun_type = 2});
    }

    void run(Duration time) {
        const MonoTime end = now.mono + time;
        while (now.mono < end) {
            now.mono += 10ms;
            now.wall += 10ms;
            watch.advance(topology, topology.take_fdb_news(), now);
            const auto ports = watch.take_ports();
            for (const auto& each : ports.opened) {
                opened.push_back(each.port);
                sides.push_back(each.side);
            }
            closed.insert(closed.end(), ports.closed.begin(), ports.closed.end());
            if (auto lookup = watch.take_lookup(now.mono)) {
                lookups.push_back(now.mono);
                last_lookup = *lookup;
                if (answers) {
                    GuestsIdentified event{lookup->ports, {}, gaps};
                    event.identities.resize(event.ports.size(), owner);
                    watch.on_identified(std::move(event), now);
                }
            }
            if (watch.take_records(now.mono)) {
                ++records;
            }
            watch.take_logs(now.mono, logs);
        }
    }

    Config config;
    Topology topology;
    GuestWatch watch;
    Instant now{MonoTime(1000s), WallTime(1'700'000'000s)};
    std::vector<IfIndex> opened;
    std::vector<GuestSide> sides;
    std::vector<IfIndex> closed;
    std::vector<MonoTime> lookups;
    GuestLookup last_lookup;
    bool answers = true;
    GuestIdentity owner;
    std::vector<NameGap> gaps;
    std::vector<LogRecord> logs;
    int records = 0;
};

using Indexes = std::vector<IfIndex>;

}  // namespace

TEST_CASE("guest_watch: a port is listened on while it is a guest's") {
    WatchWorld world;
    world.tap(5, "vnet0");
    world.tap(6, "tap9", 0);  // in no bridge
    world.run(500ms);
    CHECK(world.opened == Indexes{IfIndex{5}});
    world.tap(6, "tap9", 4);
    world.run(500ms);
    CHECK(world.opened == Indexes{IfIndex{5}, IfIndex{6}});
    world.apply(del_link(5));
    world.run(500ms);
    CHECK(world.closed == Indexes{IfIndex{5}});
    world.tap(5, "vnet0");
    world.run(500ms);
    CHECK(world.opened.back() == IfIndex{5});
}

TEST_CASE("guest_watch: what a guest behind a macvtap sends goes out there") {
    WatchWorld world;
    world.tell({.index = 2, .name = "eth0"});
    world.tell({.index = 7, .name = "macvtap0", .kind = "macvtap", .lower = 2});
    world.tap(5, "vnet0");
    world.run(500ms);
    REQUIRE(world.opened == Indexes{IfIndex{5}, IfIndex{7}});
    CHECK(world.sides == std::vector<GuestSide>{GuestSide::incoming, GuestSide::outgoing});
}

TEST_CASE("guest_watch: an index that is used again within a look is closed and opened") {
    WatchWorld world;
    world.tap(5, "vnet0");
    world.run(500ms);
    world.apply(del_link(5));
    world.tap(5, "vnet7");
    world.run(500ms);
    CHECK(world.closed == Indexes{IfIndex{5}});
    CHECK(world.opened == Indexes{IfIndex{5}, IfIndex{5}});
}

TEST_CASE("guest_watch: a port that comes and goes within a look is not opened") {
    WatchWorld world;
    world.run(200ms);
    world.tap(5, "vnet0");
    world.apply(del_link(5));
    world.run(500ms);
    CHECK(world.opened.empty());
}

TEST_CASE("guest_watch: names are looked up for a new port, and a few times more") {
    WatchWorld world;
    SECTION("known at once") {
        world.owner = {"web01", "web01", "", {}, IdentifiedBy::libvirt, ""};
        world.tap(5, "vnet0");
        world.run(10s);
        CHECK(world.lookups.size() == 1);
    }
    SECTION("never known") {
        world.tap(5, "vnet0");
        world.run(10s);
        CHECK(world.lookups.size() == GuestWatch::lookups_max);
        for (std::size_t i = 1; i < world.lookups.size(); ++i) {
            CHECK(world.lookups[i] - world.lookups[i - 1] >= GuestWatch::lookup_interval);
        }
    }
    SECTION("no second one while the first is out") {
        world.answers = false;
        world.tap(5, "vnet0");
        world.run(1s);
        world.tap(6, "vnet1");
        world.run(10s);
        CHECK(world.lookups.size() == 1);
    }
    SECTION("with the MACs that were learnt behind it") {
        world.tap(5, "vnet0");
        world.apply(new_fdb({.bridge = 4, .port = 5, .mac = guest_mac(1)}));
        world.run(3s);
        REQUIRE(world.last_lookup.ports.size() == 1);
        CHECK(world.last_lookup.ports[0].facts.device == "vnet0");
        CHECK(world.last_lookup.ports[0].facts.macs == std::vector<MacAddress>{guest_mac(1)});
    }
}

TEST_CASE("guest_watch: a flood of MACs makes no flood of lookups") {
    WatchWorld world;
    world.tap(5, "vnet0");
    for (int i = 1; i < 60; ++i) {
        world.apply(new_fdb({.bridge = 4, .port = 5, .mac = guest_mac(i)}));
        world.run(100ms);
    }
    CHECK(world.lookups.size() <= GuestWatch::lookups_max);
}

TEST_CASE("guest_watch: what a bridge had learnt before the port was seen counts") {
    WatchWorld world;
    world.apply(new_fdb({.bridge = 4, .port = 5, .mac = guest_mac(1)}));
    static_cast<void>(world.topology.take_fdb_news());
    world.tap(5, "vnet0");
    world.run(1s);
    std::vector<GuestSnapshot> guests;
    world.watch.snapshot(guests, world.now);
    REQUIRE(guests.size() == 1);
    CHECK(guests[0].macs == std::vector<MacAddress>{guest_mac(1)});
}

TEST_CASE("guest_watch: what cannot be read is said once") {
    WatchWorld world;
    world.gaps = {{"/run/libvirt/qemu", "Permission denied", 3}};
    world.tap(5, "vnet0");
    world.run(5s);
    REQUIRE(world.lookups.size() > 1);
    REQUIRE(world.logs.size() == 1);
    CHECK(world.logs[0].message.find("/run/libvirt/qemu: Permission denied") != std::string::npos);
}

TEST_CASE("guest_watch: it wakes up for what is due, and not for nothing") {
    WatchWorld world;
    world.owner = {"web01", "web01", "", {}, IdentifiedBy::libvirt, ""};
    world.tap(5, "vnet0");
    world.run(60s);
    CHECK(world.watch.next_deadline() > world.now.mono);
    CHECK(world.records >= 1);
    CHECK(world.records <= 3);
}

}  // namespace reachd::test
