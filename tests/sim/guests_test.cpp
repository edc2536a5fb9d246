// Scenarios of guests behind local bridges: found, named and asked; never disturbed while they
// check their addresses; not to be taken for each other, whatever one of them claims.
#include "tests/sim/guests.hpp"

#include "agent/guest_table.hpp"
#include "tests/sim/scenario.hpp"

namespace reachd::sim {
namespace {

constexpr int vmbr0 = 200;
constexpr int vnet0 = 210;
constexpr int vnet1 = 211;

const MacAddress web_mac({0x52, 0x54, 0x00, 0x00, 0x01, 0x01});
const MacAddress bad_mac({0x52, 0x54, 0x00, 0x00, 0x01, 0x02});
const IpAddress web_address = IpAddress::v4({172, 28, 1, 1});
const IpAddress bad_address = IpAddress::v4({172, 28, 1, 2});
const IpAddress host_address = IpAddress::v4({172, 28, 0, 1});
const IpAddress gateway_address = IpAddress::v4({172, 28, 0, 254});

constexpr std::size_t web = 0;
constexpr std::size_t bad = 1;

/// Gateways would be asked by ARP, too.
Config only_guests() {
    Config config;
    config.discover_gateways = false;
    return config;
}

/// A bridge, and two machines behind two of its ports. They talk each second.
struct Hypervisor : World {
    explicit Hypervisor(std::uint64_t seed = 1, Config config = only_guests())
        : World(
              {.seed = seed, .config = std::move(config), .look_interval = 200ms, .guests = true}) {
        guests->add_bridge(vmbr0, "vmbr0");
        guests->add_port(vnet0, "vnet0", vmbr0);
        guests->add_port(vnet1, "vnet1", vmbr0);
        guests->set_owner("vnet0", "web01");
        guests->set_owner("vnet1", "bad01");
        guests->add({.mac = web_mac, .port = vnet0, .addresses = {web_address}});
        guests->add({.mac = bad_mac, .port = vnet1, .addresses = {bad_address}});
        run(5s);
    }

    void talk(std::size_t guest) {
        guests->use(guest);
        after(1s, [this, guest] { talk(guest); });
    }

    /// "web01 172.28.1.1 vnet0 up", in the order of the ports.
    Texts who() {
        Texts texts;
        for (const PeerSnapshot& peer : snapshot().peers) {
            const PeerIdentity& identity = *peer.identity;
            texts.push_back(identity.name() + ' ' + identity.address() + ' ' +
                            identity.details().device +
                            (!peer.up   ? ""
                             : *peer.up ? " up"
                                        : " down"));
        }
        std::sort(texts.begin(), texts.end());
        return texts;
    }

    /// Questions for this address, so far.
    std::size_t asked(const IpAddress& address) const {
        return static_cast<std::size_t>(std::count_if(
            guests->requests().begin(), guests->requests().end(), [&](const auto& request) {
                return request.target.address == address;
            }));
    }

    bool says(const std::string& text) const {
        return std::any_of(logs().begin(), logs().end(), [&text](const LogRecord& record) {
            return record.message.find(text) != std::string::npos;
        });
    }
};

const Texts web_up{"web01 172.28.1.1 vnet0 up"};
const Texts web_down{"web01 172.28.1.1 vnet0 down"};

}  // namespace

TEST_CASE("sim: a guest appears, is named, and is up", "[sim][guests]") {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        CAPTURE(seed);
        Hypervisor world(seed);
        CHECK(world.who().empty());
        world.talk(web);
        world.run(2s);
        CHECK(world.snapshot().guests.front().name == "web01");
        world.run(2s);
        CHECK(world.who() == web_up);
        check_sound(world);
    }
}

TEST_CASE("sim: nobody knows the name at first, two know the same one later", "[sim][guests]") {
    Hypervisor world;
    world.guests->remove_port(vnet1);
    world.run(1s);
    world.guests->set_owner("vnet1", "web01");
    world.guests->add_port(vnet1, "vnet1", vmbr0);
    world.talk(web);
    world.talk(bad);
    world.run(5s);
    CHECK(world.who() == Texts{"web01 172.28.1.1 vnet0 up", "web01 172.28.1.2 vnet1 up"});
    check_sound(world);
    Hypervisor late;
    late.guests->remove_port(vnet0);
    late.run(1s);
    late.guests->faults.vain_lookups = 100;
    late.guests->add_port(vnet0, "vnet0", vmbr0);
    late.talk(web);
    late.run(8s);
    CHECK(late.who() == Texts{"52:54:00:00:01:01 172.28.1.1 vnet0 up"});
    check_sound(late);
}

TEST_CASE("sim: a guest hangs, and returns", "[sim][guests]") {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        CAPTURE(seed);
        Hypervisor world(seed);
        world.talk(web);
        world.run(10s);
        world.guests->hang(web);
        world.run(3s);
        CHECK(world.who() == web_down);
        world.run(60s);
        CHECK(world.who() == web_down);  // it hangs, it is not gone
        world.guests->resume(web);
        world.run(2s);
        CHECK(world.who() == web_up);
        CHECK(verdict_texts(world) == Texts{"web01 up", "web01 down", "web01 up"});
        check_sound(world);
    }
}

TEST_CASE("sim: our own trouble is not the guest's", "[sim][guests]") {
    Hypervisor world;
    world.talk(web);
    world.run(10s);
    SECTION("a loop that stands still") {
        world.starve(5s);
    }
    SECTION("a full buffer, again and again") {
        for (int i = 0; i < 40; ++i) {
            world.after(i * 100ms, [&world] { world.guests->flood(web, 200, 0); });
        }
        world.guests->faults.buffer_frames = 2;
    }
    SECTION("a socket that takes nothing") {
        world.guests->faults.busy = always;
    }
    SECTION("a clock that steps") {
        for (int i = 0; i < 40; ++i) {
            world.after(i * 97ms, [&world, i] { world.step_wall(i % 2 == 0 ? 3600s : -3600s); });
        }
    }
    world.run(5s);
    world.heal();
    world.run(15s);
    for (const Verdict& verdict : world.verdicts()) {
        CHECK((verdict.up || verdict.address != web_address.to_string()));
    }
    check_sound(world);
}

TEST_CASE("sim: a guest that checks its address is left alone", "[sim][guests]") {
    const IpAddress second = GENERATE(IpAddress::v4({172, 28, 1, 9}),
                                      *IpAddress::parse("fd28::109"),
                                      *IpAddress::parse("fe80::109"));
    Hypervisor world;
    world.talk(web);
    world.run(10s);
    SECTION("a new one") {
        world.guests->check(web, second);
        world.run(9s);
        IpAddress zoned = second;
        zoned.set_scope(second.is_link_local_v6() ? static_cast<IfIndex>(vmbr0) : IfIndex::any);
        CHECK(world.asked(zoned) == 0);
        world.run(8s);
        CHECK(world.asked(zoned) >= 2);
    }
    SECTION("its old one, after a reboot") {
        const auto before = world.asked(web_address);
        world.guests->reboot(web, 0s);
        world.run(9s);
        CHECK(world.asked(web_address) <= before + 1);
        world.run(6s);
        CHECK(world.asked(web_address) > before + 1);
        CHECK(world.who() == web_up);
    }
    check_sound(world);
}

TEST_CASE("sim: a link that flaps makes its guest be left alone", "[sim][guests]") {
    Hypervisor world;
    world.talk(web);
    world.run(10s);
    world.guests->set_port_up(vnet0, false);
    world.run(3s);
    CHECK(world.who() == web_down);
    world.guests->set_port_up(vnet0, true);
    world.run(6s);
    CHECK(world.who() == web_up);
    check_sound(world);
}

TEST_CASE("sim: a guest moves to another port", "[sim][guests]") {
    Hypervisor world;
    world.talk(web);
    world.run(10s);
    SECTION("its old one vanishes: live migration in") {
        world.guests->move(web, vnet1);
        world.guests->remove_port(vnet0);
        world.run(8s);
        CHECK(world.who() == Texts{"bad01 172.28.1.1 vnet1 up"});
    }
    SECTION("its old one stays") {
        world.guests->move(web, vnet1);
        world.run(20s);
        CHECK(world.who() == Texts{"bad01 172.28.1.1 vnet1 up"});
    }
    SECTION("away: its series goes with its port") {
        world.guests->leave(web);
        world.guests->remove_port(vnet0);
        world.run(1s);
        CHECK(world.who().empty());
    }
    SECTION("a device of the same name and index") {
        world.guests->remove_port(vnet0);
        world.guests->add_port(vnet0, "vnet0", vmbr0);
        world.run(10s);
        CHECK(world.who() == web_up);
    }
    SECTION("a device of another name") {
        world.guests->rename_port(vnet0, "tap0");
        world.run(5s);
        CHECK(world.who() == Texts{"web01 172.28.1.1 tap0 up"});
    }
    check_sound(world);
}

TEST_CASE("sim: addresses of the host and of gateways are no guest's", "[sim][guests]") {
    Hypervisor world;
    world.guests->add_own_address(vmbr0, host_address, 16);
    test::RouteFacts route;
    route.hops = {{gateway_address, vmbr0}};
    world.add_route(route);
    world.network.path(gateway_address);
    world.run(1s);
    world.talk(web);
    for (int i = 0; i < 20; ++i) {
        world.guests->forge(bad, host_address, bad_mac);
        world.guests->forge(bad, gateway_address, bad_mac);
        world.run(1s);
    }
    CHECK(world.asked(host_address) == 0);
    CHECK(world.says("bad01 on port vnet1 claims 172.28.0.1, an address of this host"));
    CHECK(world.says("bad01 on port vnet1 claims 172.28.0.254, an address of a gateway"));
    CHECK(total(world.snapshot().discovery_errors) >= 40);
    check_sound(world);
}

TEST_CASE("sim: one guest cannot have another's address or MAC", "[sim][guests]") {
    Hypervisor world;
    world.talk(web);
    world.run(10s);
    for (int i = 0; i < 200; ++i) {
        world.guests->forge(bad, web_address, i % 2 == 0 ? bad_mac : web_mac);
        world.run(100ms);
    }
    CHECK(world.who() == web_up);
    CHECK(verdict_texts(world) == Texts{"web01 up"});
    for (const NeighbourRequest& request : world.guests->requests()) {
        CHECK(request.target.device == static_cast<IfIndex>(vnet0));
    }
    check_sound(world);
}

TEST_CASE("sim: a flood of claims costs others nothing", "[sim][guests]") {
    Config config = only_guests();
    config.limits.guests = 20;
    Hypervisor world(1, config);
    world.talk(web);
    world.run(5s);
    world.guests->flood(bad, 5000, 1000);
    world.run(10s);
    const Snapshot snapshot = world.snapshot();
    CHECK(snapshot.peers.size() == 20);
    REQUIRE(snapshot.guests.size() == 2);
    CHECK(snapshot.guests[0].addresses.size() == 1);
    CHECK(snapshot.guests[1].macs.size() == GuestTable::macs_per_port_max);
    CHECK(snapshot.guests[1].addresses.size() <= GuestTable::addresses_per_port_max);
    for (const Verdict& verdict : world.verdicts()) {
        CHECK((verdict.peer != "web01" || verdict.up));
    }
    world.guests->remove_port(vnet1);
    world.run(1s);
    CHECK(world.who() == web_up);
    check_sound(world);
}

TEST_CASE("sim: a socket that cannot be opened is no outage", "[sim][guests]") {
    Hypervisor world;
    world.guests->faults.open_failure = always;
    world.guests->remove_port(vnet0);
    world.run(1s);
    world.guests->add_port(vnet0, "vnet0", vmbr0);
    world.talk(web);
    world.run(5s);
    CHECK(world.who().empty());
    CHECK(world.asked(web_address) == 0);
    CHECK(world.says("guests behind vnet0 cannot be asked by ARP"));
    world.guests->faults.open_failure = 0;  // tried again, at longer and longer intervals
    world.run(15s);
    CHECK(world.who() == web_up);
    check_sound(world);
}

TEST_CASE("sim: after a restart addresses are known with the first frame", "[sim][guests]") {
    Hypervisor first;
    first.talk(web);
    first.run(10s);
    auto records = first.agent->guest_records();
    REQUIRE(records.size() == 1);
    for (GuestAddressRecord& record : records) {
        record.first_seen -= 60s;
        record.last_seen -= 60s;
    }
    records.push_back({"vnet1", {}, web_mac, host_address, {}, records[0].last_seen});
    Hypervisor second;
    second.guests->restore(records, *second.agent);
    second.guests->announce(web, IpAddress::v4({172, 28, 1, 200}));  // anything of its MAC
    second.run(4s);
    CHECK(second.who() == web_up);
    check_sound(second);
}

}  // namespace reachd::sim
