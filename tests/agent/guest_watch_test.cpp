// The guest inventory in step with a topology: ears on ports, names looked up at a pace, records.
#include "agent/guest_watch.hpp"

#include <set>
#include <string>

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

    void tap(int index,
             const std::string& name,
             int master = 4,
             std::optional<std::uint32_t> owner_uid = {}) {
        tell({.index = index,
              .name = name,
              .master = master,
              .kind = "tun",
              .tun_type = 2,
              .tun_owner = owner_uid});
    }

    std::vector<MacAddress> macs() const {
        std::vector<GuestSnapshot> guests;
        watch.snapshot(guests, now);
        return guests.empty() ? std::vector<MacAddress>() : guests.front().macs;
    }

    void run(Duration time) {
        const MonoTime end = now.mono + time;
        while (now.mono < end) {
            now.mono += 10ms;
            now.wall += 10ms;
            watch.advance(topology, topology.take_fdb_news(), now);
            const auto ports = watch.take_ports();
            for (const auto& each : ports.opened) {
                opened.push_back(each.device);
                sides.push_back(each.use);
                if (broken || broken_ports.contains(each.device)) {
                    failures += watch.on_port_failed(each.device, "Too many open files", now.mono);
                }
            }
            for (const auto& each : ports.closed) {
                closed.push_back(each.device);
            }
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
    std::vector<PortUse> sides;
    std::vector<IfIndex> closed;
    std::vector<MonoTime> lookups;
    GuestLookup last_lookup;
    bool answers = true;
    GuestIdentity owner;
    std::vector<NameGap> gaps;
    std::vector<LogRecord> logs;
    int records = 0;
    bool broken = false;             ///< no port can be listened on
    std::set<IfIndex> broken_ports;  ///< these cannot
    int failures = 0;
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
    CHECK(world.sides == std::vector<PortUse>{PortUse::guest, PortUse::macvtap_guest});
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

TEST_CASE("guest_watch: a tap that is given to a user is looked up once more") {
    WatchWorld world;
    world.tap(5, "vnet0");
    world.run(10s);
    CHECK_FALSE(world.last_lookup.ports.at(0).facts.owner_uid.has_value());
    const std::size_t before = world.lookups.size();
    world.owner = {"web01", "web01", "", {}, IdentifiedBy::tap_name, ""};
    world.tap(5, "vnet0", 4, 1000);
    world.run(1s);
    CHECK(world.lookups.size() == before + 1);
    CHECK(world.last_lookup.ports.at(0).facts.owner_uid == 1000U);
    // Named by now: whose it is matters no more.
    world.tap(5, "vnet0", 4, 1001);
    world.run(1s);
    CHECK(world.lookups.size() == before + 1);
}

TEST_CASE("guest_watch: a port that fails is tried again, and told about twice") {
    WatchWorld world;
    world.broken = true;
    world.tap(5, "vnet0");
    world.tap(6, "vnet1");
    world.run(20s);
    CHECK(world.failures == 2);
    CHECK(world.opened.size() == 2 * 5);  // after 0, 1, 3, 7 and 15 s
    REQUIRE(world.logs.size() == 1);
    CHECK(world.logs[0].message ==
          "guests behind vnet0 and 1 more cannot be asked by ARP, nor heard: Too many open files; "
          "this is tried again");
    SECTION("until it works") {
        world.broken = false;
        world.run(30s);
        REQUIRE(world.logs.size() == 2);
        CHECK(world.logs[1].message == "all ports of guests can be listened on again");
        CHECK(world.opened.size() == 2 * 6);
        world.run(5min);
        CHECK(world.opened.size() == 2 * 6);
    }
    SECTION("until it is gone") {
        world.apply(del_link(5));
        world.apply(del_link(6));
        world.run(5min);
        CHECK(world.opened.size() == 2 * 5);
        CHECK(world.closed.empty());
    }
}

TEST_CASE("guest_watch: a failure after another one is told in its time, and so is its end") {
    WatchWorld world;
    const auto texts = [&world] {
        std::vector<std::string> all;
        for (const LogRecord& record : world.logs) {
            all.push_back(record.message);
        }
        return all;
    };
    const std::string again = "all ports of guests can be listened on again";
    const auto failed = [](const std::string& who, bool still) {
        return "guests behind " + who + (still ? " cannot" : " could not") +
               " be asked by ARP, nor heard: Too many open files" +
               (still ? "; this is tried again" : "");
    };
    world.broken_ports = {IfIndex{5}};
    world.tap(5, "vnet0");
    world.run(500ms);
    REQUIRE(texts() == std::vector{failed("vnet0", true)});
    world.broken_ports.insert(IfIndex{6});
    world.tap(6, "vnet1");
    world.run(500ms);
    SECTION("while it lasts") {
        world.run(58s);
        CHECK(world.logs.size() == 1);
        CHECK(world.watch.next_deadline() <= world.now.mono + 2s);
        world.run(2s);
        CHECK(texts() == std::vector{failed("vnet0", true), failed("vnet1", true)});
        world.broken_ports.clear();
        world.run(65s);
        CHECK(texts() == std::vector{failed("vnet0", true), failed("vnet1", true), again});
    }
    SECTION("when it is over") {
        world.broken_ports.clear();
        world.run(50s);
        CHECK(world.logs.size() == 1);
        world.run(15s);
        CHECK(texts() == std::vector{failed("vnet0", true), failed("vnet1", false), again});
        world.run(5min);
        CHECK(world.logs.size() == 3);
    }
    SECTION("with others, however often, at a bounded rate") {
        for (int i = 0; i < 200; ++i) {
            world.broken = i % 2 == 0;
            world.apply(del_link(7));
            world.tap(7, "vnet2");
            world.run(1s);
        }
        CHECK(world.logs.size() >= 4);
        CHECK(world.logs.size() <= 8);
        CHECK(texts()[1] == failed("vnet1 and 30 more", true));
    }
}

TEST_CASE("guest_watch: a link that was down for a moment is left alone again") {
    WatchWorld world;
    world.owner = {"web01", "web01", "", {guest_mac(1)}, IdentifiedBy::libvirt, ""};
    LinkFacts port{.index = 5, .name = "vnet0", .master = 4, .kind = "tun", .tun_type = 2};
    port.carrier_changes = 1;
    world.tell(port);
    world.run(1s);
    NeighbourFrame frame;
    frame.kind = NeighbourFrame::Kind::arp_request;
    frame.mac = frame.frame_source = guest_mac(1);
    frame.address = IpAddress::parse("10.77.0.10").value();
    frame.target = IpAddress::parse("10.77.0.1").value();
    world.watch.on_frame(IfIndex{5}, frame, world.now);
    world.run(60s);
    const auto probe_from = [&world] {
        world.watch.tell_again_at(world.now.mono);
        return world.watch.take_targets(world.now.mono).value().at(0).probe_from;
    };
    REQUIRE(probe_from() < world.now.mono);
    SECTION("by its carrier") {
        port.carrier_changes = 3;
        world.tell(port);
    }
    SECTION("switched off and on") {
        port.up = false;
        world.tell(port);
        port.up = true;
        world.tell(port);
    }
    world.run(200ms);
    CHECK(probe_from() > world.now.mono + 9s);
}

TEST_CASE("guest_watch: as many ports are listened on as the table takes") {
    WatchWorld world;
    const int most = GuestTable::ports_max;
    for (int i = 0; i < most + 5; ++i) {
        world.tap(10 + i, "vnet" + std::to_string(i));
    }
    world.run(500ms);
    CHECK(world.opened.size() == GuestTable::ports_max);
    CHECK(world.last_lookup.ports.size() == GuestTable::ports_max);
    CHECK(world.watch.next_deadline() > world.now.mono);
    // One before the others in order comes, and displaces none; one that goes leaves its place.
    world.tap(9, "vnet-first");
    world.run(200ms);
    CHECK(world.opened.size() == GuestTable::ports_max);
    CHECK(world.closed.empty());
    world.apply(del_link(20));
    world.run(200ms);
    CHECK(world.closed == Indexes{IfIndex{20}});
    REQUIRE(world.opened.size() == GuestTable::ports_max + 1);
    CHECK(world.opened.back() == IfIndex{9});
    std::vector<GuestSnapshot> guests;
    world.watch.snapshot(guests, world.now);
    CHECK(guests.size() == GuestTable::ports_max);
    CHECK(guests.front().device == "vnet-first");
}

TEST_CASE("guest_watch: a bridge that learns makes no work with the links") {
    WatchWorld world;
    world.owner = {"web01", "web01", "", {}, IdentifiedBy::libvirt, ""};
    world.tap(5, "vnet0");
    world.run(10s);
    for (int i = 0; i < 20; ++i) {
        world.apply(new_fdb({.bridge = 4, .port = 5, .mac = guest_mac(i)}));
        const auto structure = world.topology.structure_revision();
        world.run(100ms);
        CHECK(world.topology.structure_revision() == structure);
    }
    CHECK(world.macs().size() == 20);
}

TEST_CASE("guest_watch: after lost news the bridge's table counts") {
    WatchWorld world;
    world.tap(5, "vnet0");
    world.apply(new_fdb({.bridge = 4, .port = 5, .mac = guest_mac(1)}));
    world.run(1s);
    world.apply(new_fdb({.bridge = 4, .port = 5, .mac = guest_mac(2)}));
    world.apply(del_fdb({.bridge = 4, .port = 5, .mac = guest_mac(1)}));
    static_cast<void>(world.topology.take_fdb_news());
    world.watch.advance(world.topology, {{}, true}, world.now);
    CHECK(world.macs() == std::vector<MacAddress>{guest_mac(2)});
}

TEST_CASE("guest_watch: a neighbour with another MAC is looked at again") {
    WatchWorld world;
    world.tap(5, "vnet0");
    world.apply(new_fdb({.bridge = 4, .port = 5, .mac = guest_mac(1)}));
    world.run(3s);
    const auto addresses = [&world] {
        std::vector<GuestSnapshot> guests;
        world.watch.snapshot(guests, world.now);
        return guests.at(0).addresses.size();
    };
    NeighbourFacts neighbour{
        .device = 4, .address = IpAddress::parse("10.77.0.10").value(), .mac = guest_mac(9)};
    world.apply(new_neighbour(neighbour));
    world.run(3s);
    CHECK(addresses() == 0);
    neighbour.mac = guest_mac(1);
    world.apply(new_neighbour(neighbour));
    world.run(3s);
    CHECK(addresses() == 1);
}

}  // namespace reachd::test
