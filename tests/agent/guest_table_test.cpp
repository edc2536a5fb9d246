#include "agent/guest_table.hpp"

#include <algorithm>
#include <set>

#include <catch2/catch.hpp>

#include "common/random.hpp"
#include "tests/agent/guest_world.hpp"

using namespace reachd;
using namespace reachd::test;

TEST_CASE("a guest is found by its port, its MAC and its first packet", "[guest_table]") {
    GuestWorld world;
    world.ports({tap(10)});
    auto guests = world.snapshot();
    REQUIRE(guests.size() == 1);
    CHECK(guests[0].port == device(10));
    CHECK(guests[0].device == "vnet10");
    CHECK(guests[0].bridge == br0);
    CHECK(guests[0].bridge_name == "br0");
    CHECK(guests[0].macs.empty());

    world.learn(10, web);
    CHECK(world.snapshot()[0].macs == std::vector{web});
    world.identify(tap(10), machine("web01"));
    world.hear(10, request(web, "10.77.0.10"));
    CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01 in 2 s"});

    guests = world.snapshot();
    REQUIRE(guests[0].addresses.size() == 1);
    CHECK(guests[0].name == "web01");
    CHECK(guests[0].addresses[0].mac == web);
    CHECK(guests[0].addresses[0].how == LearntBy::arp);
    CHECK(guests[0].addresses[0].first_seen == world.now.wall);
    world.pass(2s);
    CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01"});
}

TEST_CASE("frames of ports that are not there say nothing", "[guest_table]") {
    GuestWorld world;
    world.hear(10, request(web, "10.77.0.10"));
    world.learn(10, web);
    world.identify(tap(10), machine("web01"));
    world.table.on_seen(device(10), 1010, ip("10.77.0.10"), world.now);
    CHECK(world.snapshot().empty());
    CHECK(world.table.revision() == 0);
    CHECK(world.table.next_deadline() == mono_never);
}

TEST_CASE("a port that goes takes all along, a re-used index starts anew", "[guest_table]") {
    GuestWorld world = two_probed_guests();
    world.ports({tap(11)});
    CHECK(world.targets() == Texts{both[1]});
    CHECK(world.table.mac_count() == 1);
    CHECK(world.table.address_count() == 1);

    world.ports({tap(10), tap(11, 2)});
    CHECK(world.targets().empty());
    CHECK(world.snapshot()[1].name.empty());
    world.ports({});
    CHECK(world.table.port_count() == 0);
    CHECK(world.table.mac_count() == 0);
    CHECK(world.table.next_deadline() == mono_never);
}

TEST_CASE("a renamed port stays who it is", "[guest_table]") {
    GuestWorld world = two_probed_guests();
    Vnic renamed = tap(10);
    renamed.device = "web-tap";
    world.ports({renamed, tap(11)});
    CHECK(world.targets() == Texts{"web-tap 10.77.0.10 web01", both[1]});
}

TEST_CASE("a port that lost its bridge is kept, one that never had any is not", "[guest_table]") {
    GuestWorld world = two_probed_guests();
    world.ports({without_bridge(tap(10)), tap(11), without_bridge(tap(12))});
    const auto guests = world.snapshot();
    REQUIRE(guests.size() == 2);
    CHECK(guests[0].bridge == IfIndex::any);
    CHECK(guests[0].bridge_name == "br0");
    const auto targets = world.table.targets();
    REQUIRE(targets.size() == 2);
    CHECK_FALSE(targets[0].attached);
    CHECK(targets[0].bridge_name == "br0");
    CHECK(targets[1].attached);
    // Its address is still its own on that network.
    world.hear(11, request(db, "10.77.0.10"));
    CHECK(world.refused(GuestRefusal::guest_address) == 1);

    world.ports({tap(10), tap(11)});
    CHECK(world.table.targets()[0].attached);
    CHECK(world.targets() == both);
}

TEST_CASE("after a link came up the guest is left alone for a while", "[guest_table]") {
    GuestWorld world = two_probed_guests();
    Vnic down = tap(10);
    down.up = false;
    world.ports({down, tap(11)});
    CHECK_FALSE(world.table.targets()[0].up);
    world.pass(60s);
    world.ports({tap(10), tap(11)});
    CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01 in 10 s", both[1]});
    CHECK(world.addresses()[0] == "vnet10 52:54:00:00:00:01 10.77.0.10 (link came up 0 s ago)");
    // It goes on with its work, so it has its address.
    world.pass(1s);
    world.hear(10, request(web, "10.77.0.10"));
    CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01 in 1 s", both[1]});
    const auto revision = world.table.revision();
    world.pass(1s);
    CHECK(world.table.revision() > revision);
    CHECK(world.targets() == both);
}

TEST_CASE("a link that was down between two looks came up", "[guest_table]") {
    GuestWorld world = two_probed_guests();
    world.pass(60s);
    Vnic flapped = tap(10);
    flapped.link_changes = 2;
    world.ports({flapped, tap(11)});
    CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01 in 10 s", both[1]});
    world.pass(10s);
    world.ports({flapped, tap(11)});
    CHECK(world.targets() == both);
    // Down by now: it comes up another time.
    flapped.link_changes = 3;
    flapped.up = false;
    world.ports({flapped, tap(11)});
    CHECK(world.targets() == both);
}

TEST_CASE("who answers stays", "[guest_table]") {
    GuestWorld world = two_probed_guests();
    for (int minute = 0; minute < 200; ++minute) {
        world.table.on_seen(device(10), tap(10).generation, ip("10.77.0.10"), world.now);
        // Of another generation: the answer is too late.
        world.table.on_seen(device(11), tap(11).generation + 1, ip("10.77.0.11"), world.now);
        world.pass(60s);
    }
    // The other one says nothing at all: it is down, not gone.
    CHECK(world.targets() == both);
    CHECK(world.table.next_deadline() > world.now.mono);
    for (int minute = 0; minute < 8; ++minute) {
        world.hear(11, request(db, "10.77.0.12"));
        world.pass(60s);
    }
    CHECK(world.targets() == Texts{both[0], "vnet11 10.77.0.12 db1"});
}

TEST_CASE("a silent guest keeps all that it had", "[guest_table]") {
    GuestWorld world = two_probed_guests();
    world.hear(10, solicitation(web, "fe80::10"));
    world.pass(5 * GuestTable::address_age);
    CHECK(world.targets().size() == 3);

    // It is back with one of them: the other one has an hour to follow.
    for (int minute = 0; minute < 58; ++minute) {
        world.table.on_seen(device(10), tap(10).generation, ip("10.77.0.10"), world.now);
        world.pass(60s);
    }
    CHECK(world.targets().size() == 3);
    for (int minute = 0; minute < 4; ++minute) {
        world.table.on_seen(device(10), tap(10).generation, ip("10.77.0.10"), world.now);
        world.pass(60s);
    }
    CHECK(world.targets() == both);
}

TEST_CASE("a guest that changed its address is asked at the new one only", "[guest_table]") {
    GuestWorld world = two_probed_guests();
    const auto minutes = [&world](int count, const std::vector<std::string>& alive) {
        for (int i = 0; i < count; ++i) {
            world.pass(60s);
            for (const std::string& address : alive) {
                world.table.on_seen(device(10), tap(10).generation, ip(address), world.now);
            }
        }
    };
    const auto has = [&world](const std::string& address) {
        const auto targets = world.targets();
        return std::find(targets.begin(), targets.end(), "vnet10 " + address + " web01") !=
               targets.end();
    };
    world.pass(1s);
    SECTION("the old one goes in minutes") {
        world.hear(10, request(web, "10.77.0.20"));
        minutes(4, {"10.77.0.20"});
        CHECK(has("10.77.0.10"));
        minutes(2, {"10.77.0.20"});
        CHECK_FALSE(has("10.77.0.10"));
        CHECK(has("10.77.0.20"));
        // The kernel's table names it for a while.
        world.table.on_host_neighbour(br0, ip("10.77.0.10"), web, world.now);
        CHECK_FALSE(has("10.77.0.10"));
        // And the guest may go back to it.
        world.hear(10, request(web, "10.77.0.10"));
        CHECK(has("10.77.0.10"));
    }
    SECTION("not while it answers") {
        world.hear(10, request(web, "10.77.0.20"));
        minutes(70, {"10.77.0.10", "10.77.0.20"});
        CHECK(has("10.77.0.10"));
        // Both were there: one that stops is down, and no other's predecessor.
        minutes(30, {"10.77.0.20"});
        CHECK(has("10.77.0.10"));
        minutes(31, {"10.77.0.20"});
        CHECK_FALSE(has("10.77.0.10"));
    }
    SECTION("not when the guest hangs after the change") {
        world.hear(10, request(web, "10.77.0.20"));
        minutes(3, {"10.77.0.20"});
        minutes(60, {});
        CHECK(has("10.77.0.10"));
        CHECK(has("10.77.0.20"));
    }
    SECTION("not for an address that is only announced, or of another kind") {
        world.hear(10, announcement(web, "10.77.0.20"));
        world.hear(10, solicitation(web, "2001:db8::10"));
        world.hear(10, request(web, "169.254.7.7"));
        minutes(30, {"2001:db8::10", "169.254.7.7"});
        CHECK(has("10.77.0.10"));
    }
    SECTION("not where nobody asks") {
        world.table.configure({}, std::nullopt, world.now);
        world.hear(10, request(web, "10.77.0.20"));
        minutes(30, {"10.77.0.20"});
        CHECK(has("10.77.0.10"));
    }
}

TEST_CASE("refreshing is no news", "[guest_table]") {
    GuestWorld world = two_probed_guests();
    const auto revision = world.table.revision();
    world.pass(10s);
    world.hear(10, request(web, "10.77.0.10"));
    world.hear(10, announcement(web, "10.77.0.10"));
    world.learn(10, web);
    world.table.on_seen(device(10), tap(10).generation, ip("10.77.0.10"), world.now);
    world.ports({tap(10), tap(11)});
    CHECK(world.table.revision() == revision);
    CHECK(world.snapshot()[0].addresses[0].last_seen == world.now.wall);
}

TEST_CASE("a storm of senders and addresses stays within its port", "[guest_table]") {
    GuestWorld world;
    world.ports({tap(10), tap(11)});
    Random random(1);
    for (int i = 0; i < 50'000; ++i) {
        const auto number = random.below(1U << 24U);
        const std::string address =
            "10.77." + std::to_string(number % 250) + "." + std::to_string(random.below(250) + 1);
        world.hear(10, request(guest_mac(number), address));
        world.pass(1ms);
    }
    CHECK(world.table.mac_count() <= GuestTable::macs_per_port_max);
    CHECK(world.table.address_count() <= GuestTable::addresses_per_port_max);
    CHECK(world.table.address_count() > 0);
    CHECK(world.take_logs().size() < 2 * GuestNotices::lines_per_window);
    world.hear(11, request(guest_mac(0x1000001), "10.78.0.1"));
    CHECK(world.table.macs_of(device(11)).size() == 1);
}

TEST_CASE("more ports than anybody has", "[guest_table]") {
    GuestWorld world;
    std::vector<Vnic> all;
    for (unsigned i = 0; i < GuestTable::ports_max + 10; ++i) {
        all.push_back(tap(100 + i));
    }
    world.ports(all);
    world.ports(all);
    CHECK(world.table.port_count() == GuestTable::ports_max);
    CHECK(world.refused(GuestRefusal::port_limit) == 10);
    CHECK(world.take_logs().size() == 1);
    all.erase(all.begin(), all.begin() + 20);
    world.ports(all);
    CHECK(world.table.port_count() == GuestTable::ports_max - 10);
}

TEST_CASE("segments that are joined agree on one owner", "[guest_table]") {
    GuestWorld world;
    Vnic apart = tap(11);
    apart.bridge = apart.segment = apart.zone = device(3);
    world.ports({tap(10), apart});
    world.hear(10, request(web, "10.77.0.10"));
    world.hear(11, request(db, "10.77.0.10"));
    CHECK(world.table.address_count() == 2);
    world.ports({tap(10), tap(11)});
    CHECK(world.table.address_count() == 1);
    world.pass(2s);
    CHECK(world.targets() == Texts{"vnet10 10.77.0.10 52:54:00:00:00:01"});
}

TEST_CASE("a port may change its VLAN", "[guest_table]") {
    GuestWorld world = two_probed_guests();
    Vnic moved = tap(10);
    moved.vlan = 20;
    moved.host_devices.clear();
    world.ports({moved, tap(11)});
    CHECK(world.targets() == both);
    world.hear(11, request(db, "10.77.0.10"));
    CHECK(world.refused(GuestRefusal::guest_address) == 0);
    world.table.on_seen(device(10), tap(10).generation, ip("10.77.0.10"), world.now);
    CHECK(world.table.address_count() == 3);
}

// ---------------------------------------------------------------------------------------------
// Anything in any order

namespace {

class RandomRun {
  public:
    explicit RandomRun(std::uint64_t seed) : random_(seed) {
        GuestDiscoveryConfig config;
        config.names = {{guest_mac(3), "mapped"}};
        config.exclude = {"hidden*"};
        world_.table.configure(config, 1s, world_.now);
        host();
    }

    void step() {
        switch (random_.below(12)) {
            case 0: change_ports(); break;
            case 1: world_.learn(port(), some_mac(), random_.below(4) != 0); break;
            case 2: identify(); break;
            case 3: host(); break;
            case 4: world_.pass(1s * random_.below(30)); break;
            case 5: world_.pass(1s * random_.below(2000)); break;
            case 6: restore(); break;
            case 7:
                world_.table.on_host_neighbour(br0, ip(some_address()), some_mac(), world_.now);
                break;
            case 8:
                world_.table.on_seen(device(port()), 1000 + port(), ip(some_address()), world_.now);
                break;
            default: hear(); break;
        }
    }

    void check() {
        world_.pass(0s);
        REQUIRE(world_.table.next_deadline() > world_.now.mono);
        std::map<std::string, std::size_t> of_mac;
        std::set<std::string> owned;
        std::size_t addresses = 0;
        for (const auto& guest : world_.snapshot()) {
            REQUIRE(guest.macs.size() <= GuestTable::macs_per_port_max);
            REQUIRE(guest.addresses.size() <= GuestTable::addresses_per_port_max);
            REQUIRE(guest.name.substr(0, 6) != "hidden");
            for (const auto& address : guest.addresses) {
                REQUIRE(++of_mac[guest.device + address.mac.to_string()] <=
                        GuestTable::addresses_per_mac_max);
                ++addresses;
            }
        }
        REQUIRE(addresses <= world_.table.address_count());
        std::set<std::string> series;
        for (const auto& target : world_.table.targets()) {
            REQUIRE(target.port != device(14));  // the macvtap
            REQUIRE_FALSE(target.name.empty());
            REQUIRE(series.insert(target.name + ' ' + target.address_text).second);
            REQUIRE(owned.insert(target.address_text).second);
            REQUIRE(target.address_text != own_);
            REQUIRE(target.address_text != "10.77.0.254");
            REQUIRE(target.host_device != IfIndex::any);
        }
    }

    void finish() {
        world_.ports({});
        REQUIRE(world_.table.mac_count() == 0);
        REQUIRE(world_.table.address_count() == 0);
        REQUIRE(world_.table.targets().empty());
        world_.pass(2h);
        REQUIRE(world_.table.next_deadline() == mono_never);
        REQUIRE(world_.table.records().empty());
    }

  private:
    unsigned port() { return 10 + random_.below(6); }

    MacAddress some_mac() { return guest_mac(random_.below(8)); }

    std::string some_address() {
        if (random_.below(4) == 0) {
            return "fe80::" + std::to_string(1 + random_.below(8));
        }
        return "10.77.0." + std::to_string(random_.below(10));
    }

    void change_ports() {
        std::vector<Vnic> all;
        for (unsigned index = 10; index < 15; ++index) {
            const auto what = random_.below(8);
            if (what == 0) {
                continue;
            }
            Vnic vnic = tap(index, what == 1 ? 2 : 1);
            vnic.up = what != 2;
            if (index == 14) {
                vnic.kind = LinkKind::macvtap;
                vnic.may_send = false;
            }
            all.push_back(what == 3 ? without_bridge(vnic) : vnic);
        }
        world_.ports(std::move(all));
    }

    void identify() {
        const unsigned index = port();
        const auto what = random_.below(4);
        world_.identify(tap(index),
                        what == 0   ? machine("")
                        : what == 1 ? machine("hidden1")
                        : what == 2 ? machine("vm")
                                    : machine("vm" + std::to_string(index), {some_mac()}));
    }

    void host() {
        own_ = "10.77.0." + std::to_string(1 + random_.below(9));
        world_.host({own(br0, own_, 24), own(br0, "fe80::ffff", 64)}, {ip("10.77.0.254")});
    }

    void restore() {
        world_.table.restore({"vnet" + std::to_string(port()),
                              {},
                              some_mac(),
                              ip(some_address()),
                              world_.now.wall - 1h,
                              world_.now.wall - 1s * random_.below(4000)},
                             world_.now);
    }

    void hear() {
        const MacAddress from = some_mac();
        auto frame = request(from, some_address(), some_address());
        frame.kind = static_cast<NeighbourFrame::Kind>(random_.below(6));
        if (random_.below(4) == 0) {
            frame.address = {};
        }
        if (random_.below(8) == 0) {
            frame.frame_source = some_mac();
        }
        frame.solicited = random_.below(2) == 0;
        world_.hear(port(), frame);
    }

    Random random_;
    GuestWorld world_;
    std::string own_ = "10.77.0.1";
};

}  // namespace

TEST_CASE("whatever happens, the rules hold", "[guest_table]") {
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
        CAPTURE(seed);
        RandomRun run(seed);
        for (int step = 0; step < 1000; ++step) {
            run.step();
            if (step % 5 == 0) {
                run.check();
            }
        }
        run.finish();
    }
}

TEST_CASE("a thousand guests an hour for a day leave nothing behind", "[guest_table]") {
    GuestWorld world;
    for (unsigned i = 0; i < 24'000; ++i) {
        const unsigned index = 10 + i;
        world.ports({tap(index), tap(index + 1)});
        const MacAddress mac = guest_mac(i);
        world.learn(index, mac);
        world.identify(tap(index), machine("vm" + std::to_string(i), {mac}));
        world.hear(index, request(mac, "10.77.0.10"));
        world.pass(3600ms);
    }
    CHECK(world.table.port_count() == 2);
    CHECK(world.table.mac_count() <= 2);
    world.ports({});
    CHECK(world.table.next_deadline() == mono_never);
}
