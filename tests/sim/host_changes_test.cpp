// Scenarios of the host around the agent: rtnetlink in good and in bad days, gateways that come and
// go, names that move, and reloads.
#include "tests/sim/scenario.hpp"

namespace reachd::sim {
namespace {

constexpr int eth0 = Kernel::index_first;
constexpr int eth1 = Kernel::index_first + 1;

test::RouteFacts route_by(const std::string& gateway, int device, std::uint32_t metric) {
    test::RouteFacts route;
    route.hops = {{IpAddress::parse(gateway), device}};
    route.metric = metric;
    return route;
}

Config only_gateways() {
    Config config;
    config.discover_gateways = true;
    return config;
}

void check_model(World& world) {
    CHECK(world.kernel.at_rest());
    CHECK(world.model_difference() == std::nullopt);
}

/// Two links, the default route by the first one.
void connect(World& world) {
    world.set_link({.index = eth0, .name = "eth0"});
    world.set_link({.index = eth1, .name = "eth1"});
    world.add_route(route_by("10.77.0.1", eth0, 10));
}

std::vector<std::string> peers(World& world) {
    std::vector<std::string> texts;
    for (const PeerSnapshot& peer : world.snapshot().peers) {
        texts.push_back(peer.identity->name() + " " + peer.identity->address());
    }
    return texts;
}

}  // namespace

TEST_CASE("sim: the uplink flaps, and another gateway takes over", "[sim]") {
    World world({.seed = 1, .config = only_gateways()});
    connect(world);
    world.run(5s);
    CHECK(peers(world) == Texts{"gateway 10.77.0.1"});
    for (int i = 0; i < 3; ++i) {
        world.set_up(eth0, false);
        world.run(100ms);
        CHECK(peers(world).empty());
        world.set_up(eth0, true);
        world.run(100ms);
        world.add_route(route_by("10.77.0.1", eth0, 10));
        world.run(2s);
        CHECK(peers(world) == Texts{"gateway 10.77.0.1"});
    }
    world.set_up(eth0, false);
    world.add_route(route_by("10.78.0.1", eth1, 20));
    world.run(100ms);
    CHECK(peers(world) == Texts{"gateway 10.78.0.1"});
    world.run(5s);
    // A gateway that goes takes its verdict along: nobody is ever called down.
    for (const Verdict& verdict : world.verdicts()) {
        CHECK(verdict.up);
    }
    CHECK(world.verdicts().back().address == "10.78.0.1");
    check_model(world);
    check_sound(world);
}

TEST_CASE("sim: a gateway that does not answer is down, its route notwithstanding", "[sim]") {
    World world({.seed = 2, .config = only_gateways()});
    connect(world);
    world.run(5s);
    world.network.path("10.77.0.1").host.filtered = true;
    world.run(5s);
    CHECK(verdict_texts(world) == Texts{"gateway up", "gateway down"});
    CHECK(last_verdict(world, "gateway") <= 8s);
    check_sound(world);
}

TEST_CASE("sim: an overrun in a storm heals within a second", "[sim]") {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        CAPTURE(seed);
        World world({.seed = seed, .config = two_peers()});
        connect(world);
        world.run(5s);
        world.kernel.faults.buffer_datagrams = 16;
        world.storm(400);
        world.run(10ms);
        CHECK(world.snapshot().netlink.overruns == 1);
        world.run(1s);
        check_model(world);
        CHECK(verdict_texts(world) == both_up);
        check_sound(world);
    }
}

TEST_CASE("sim: a storm that lasts is followed, and overruns are counted", "[sim]") {
    World world({.seed = 3, .config = two_peers()});
    connect(world);
    world.kernel.faults.buffer_datagrams = 16;
    world.kernel.faults.race = 5ms;
    for (int i = 0; i < 100; ++i) {
        world.storm(20);
        world.run(50ms);
    }
    CHECK(world.snapshot().netlink.overruns > 10);
    // Bursts of losses do not make bursts of dumps.
    CHECK(world.snapshot().netlink.resyncs < 30);
    world.run(2500ms);
    check_model(world);
    check_untouched(world, "pm1");
    check_sound(world);
}

TEST_CASE("sim: dumps that are always interrupted: it rests, and recovers", "[sim]") {
    World world({.seed = 4, .config = two_peers()});
    connect(world);
    world.kernel.faults.interruption = always;
    // Something changes all the time, so that no quiet moment invites a new try.
    for (int i = 0; i < 400; ++i) {
        world.after(i * 100ms, [&world, i] {
            world.set_link({.index = eth0, .name = "eth0", .mtu = i % 2 == 0 ? 1500U : 1600U});
        });
    }
    world.run(20s);
    CHECK(world.agent->topology_synced());  // ready, though not certain
    const std::uint64_t tries = world.snapshot().netlink.resyncs;
    CHECK(tries >= 9);
    CHECK(tries < 40);
    world.kernel.faults.interruption = 0;
    world.run(35s);
    check_model(world);
    check_untouched(world, "pm1");
    check_sound(world);
}

TEST_CASE("sim: dumps without an answer, or refused, are asked for again", "[sim]") {
    World world({.seed = 5, .config = two_peers()});
    connect(world);
    SECTION("silence") {
        world.kernel.faults.silence = always;
    }
    SECTION("EBUSY") {
        world.kernel.faults.refusal = always;
    }
    SECTION("the request cannot be sent") {
        world.kernel.faults.request_failure = always;
    }
    world.run(8s);
    CHECK(verdict_texts(world) == both_up);  // probing does not wait for it
    world.kernel.faults = {};
    world.run(60s);
    check_model(world);
    check_sound(world);
}

TEST_CASE("sim: cut messages are counted and healed", "[sim]") {
    World world({.seed = 6, .config = two_peers()});
    connect(world);
    world.run(2s);
    world.kernel.faults.truncation = 200'000;
    world.storm(100);
    world.run(100ms);
    world.kernel.faults.truncation = 0;
    world.run(2500ms);
    check_model(world);
    CHECK(total(world.snapshot().netlink.ignored) > 0);
    check_sound(world);
}

TEST_CASE("sim: a reload keeps what did not change", "[sim]") {
    World world({.seed = 7, .config = two_peers()});
    world.run(10s);
    const ProbeCounters before = row_of(world, "pm1").counters;
    Config config = two_peers();
    config.peers[0].labels = {{"rack", "r2"}};
    config.peers[1].icmp.interval = 500ms;
    config.peers.push_back(peer_config("pm3", "10.77.0.22"));
    world.reload(config);
    world.run(5s);
    CHECK(row_of(world, "pm1").counters.sent >= before.sent + 4);
    CHECK(row_of(world, "pm2").counters.sent >= before.sent + 9);  // asked more often
    CHECK(row_of(world, "pm3").up == true);
    CHECK(world.logs().empty());
    config.peers.erase(config.peers.begin());
    world.reload(config);
    world.run(5s);
    CHECK(peers(world).size() == 2);
    check_untouched(world, "pm3");
    check_sound(world);
}

TEST_CASE("sim: a name moves to another address", "[sim]") {
    const auto facts = [](const char* address) {
        return NameFacts{std::vector{*IpAddress::parse(address)}, 2ms, false};
    };
    Config config = two_peers();
    config.peers.push_back(peer_config("db1", "db1.example"));
    World world({.seed = 8, .config = config});
    world.set_name("db1.example", facts("10.77.0.30"));
    world.run(5s);
    CHECK(row_of(world, "db1").up == true);
    world.network.path("10.77.0.30").host.filtered = true;
    world.run(5s);
    CHECK(row_of(world, "db1").up == false);
    world.set_name("db1.example", facts("10.77.0.31"));
    world.run(40s);
    CHECK(peers(world).back() == "db1 10.77.0.31");
    CHECK(row_of(world, "db1").up == true);
    CHECK(world.verdicts().back().address == "10.77.0.31");
    // The resolver's own trouble changes nothing any more.
    world.set_name("db1.example", {ResolveError::temporary, 3s, false});
    world.run(60s);
    CHECK(row_of(world, "db1").up == true);
    CHECK(world.verdicts().size() == 5);
    check_untouched(world, "pm1");
    check_sound(world);
}

TEST_CASE("sim: a name that nobody resolves is no verdict", "[sim]") {
    World world({.seed = 9, .config = config_of({peer_config("db1", "db1.example")})});
    SECTION("not found") {
        world.set_name("db1.example", {ResolveError::not_found, 2ms, false});
    }
    SECTION("never answered") {
        world.set_name("db1.example", {ResolveError::not_found, 2ms, true});
    }
    world.run(60s);
    CHECK(world.verdicts().empty());
    CHECK(row_of(world, "db1").counters.sent == 0);
    CHECK(row_of(world, "db1").failed(FailureReason::unresolved) >= 59);
    world.set_name("db1.example", {std::vector{*IpAddress::parse("10.77.0.30")}, 12s, false});
    world.run(60s);
    CHECK(verdict_texts(world) == Texts{"db1 up"});
    check_sound(world);
}

TEST_CASE("sim: a link-local gateway on a device not known yet is no series", "[sim]") {
    World world({.seed = 10, .config = only_gateways()});
    world.run(1s);
    test::RouteFacts first = route_by("fe80::1", eth0, 10);
    test::RouteFacts second = route_by("fe80::1", eth1, 20);
    first.family = second.family = Family::ipv6;
    // The messages about the links are lost, those about the routes are not.
    world.kernel.faults.loss = always;
    world.set_link({.index = eth0, .name = "eth0"});
    world.set_link({.index = eth1, .name = "eth1"});
    world.kernel.faults.loss = 0;
    world.add_route(first);
    world.add_route(second);
    world.run(5ms);
    CHECK(peers(world).empty());
    world.run(2s);
    CHECK(peers(world) == Texts{"gateway fe80::1%eth0", "gateway fe80::1%eth1"});
    check_model(world);
    check_sound(world);
}

}  // namespace reachd::sim
