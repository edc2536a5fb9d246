// The default gateways: found in netlink's bytes, probed without any configuration, followed.
#include <catch2/catch.hpp>

#include "agent/agent.hpp"
#include "tests/agent/agent_fixture.hpp"

namespace reachd::test {
namespace {

using Texts = std::vector<std::string>;

KernelTables one_uplink() {
    return {{{.index = 1, .name = "lo"}, {.index = 2, .name = "eth0"}},
            {default_route("10.0.0.254", 2)}};
}

Config limited_to(std::uint32_t peers, std::vector<PeerConfig> configured = {}) {
    Config config = config_of(std::move(configured));
    config.limits.peers = peers;
    return config;
}

}  // namespace

TEST_CASE("the default gateway is probed with no configuration", "[agent]") {
    AgentWorld world({}, one_uplink());
    world.run(3s);
    CHECK(world.who() == Texts{"gateway 10.0.0.254 eth0"});
    const PeerRow row = world.row("gateway");
    CHECK(row.peer.identity->kind() == PeerKind::gateway);
    CHECK(row.peer.identity->label_text() == R"(peer="gateway",address="10.0.0.254")");
    CHECK(row.peer.up == true);
    CHECK(row.probe->counters.received >= 2);
    CHECK(world.last_request("10.0.0.254").target.device == IfIndex{2});
    const Snapshot snapshot = world.snapshot();
    REQUIRE(snapshot.host_rtt.size() == 1);
    CHECK(snapshot.host_rtt[0].kind == PeerKind::gateway);
}

TEST_CASE("gateways are probed with the defaults for all peers", "[agent]") {
    Config config;
    config.icmp.interval = 200ms;
    config.icmp.payload_bytes = 1000;
    AgentWorld world(config, one_uplink());
    world.run(10s);
    CHECK(world.counters("gateway").sent >= 49);
    CHECK(world.last_request("10.0.0.254").target.payload_bytes == 1000);
    CHECK(world.agent.payload_bytes_max() == 1000);

    config.icmp.enabled = false;
    world.reload(config);
    CHECK(world.who() == Texts{"gateway 10.0.0.254 eth0"});
    CHECK_FALSE(world.row("gateway").probe.has_value());
}

TEST_CASE("a link-local gateway carries its zone", "[agent]") {
    KernelTables tables = one_uplink();
    tables.routes.push_back(default_route("fe80::1", 2));
    AgentWorld world({}, tables);
    world.run(2s);
    CHECK(world.who() == Texts{"gateway 10.0.0.254 eth0", "gateway fe80::1%eth0 eth0"});
    const EchoTarget target = world.last_request("fe80::1").target;
    CHECK(target.destination.scope() == IfIndex{2});
    for (const PeerRow& row : world.rows()) {
        CHECK(row.peer.up == true);
    }
}

TEST_CASE("the same link-local gateway on two devices is two peers", "[agent]") {
    AgentWorld world({},
                     {{{.index = 2, .name = "eth0"}, {.index = 3, .name = "eth1"}},
                      {default_route("fe80::1", 2, 100), default_route("fe80::1", 3, 200)}});
    world.run(2s);
    CHECK(world.who() == Texts{"gateway fe80::1%eth0 eth0", "gateway fe80::1%eth1 eth1"});

    // They swap their names: two other series, never one twice.
    world.tell(new_link({.index = 2, .name = "tmp"}));
    CHECK(world.who() == Texts{"gateway fe80::1%eth1 eth1", "gateway fe80::1%tmp tmp"});
    world.tell(new_link({.index = 3, .name = "eth0"}) + new_link({.index = 2, .name = "eth1"}));
    CHECK(world.who() == Texts{"gateway fe80::1%eth0 eth0", "gateway fe80::1%eth1 eth1"});
}

TEST_CASE("one address behind two devices is one series, by the better metric", "[agent]") {
    AgentWorld world({},
                     {{{.index = 2, .name = "eth0"}, {.index = 3, .name = "eth1"}},
                      {default_route("10.0.0.254", 2, 200), default_route("10.0.0.254", 3, 100)}});
    world.run(2s);
    CHECK(world.who() == Texts{"gateway 10.0.0.254 eth1"});
    CHECK(world.last_request("10.0.0.254").target.device == IfIndex{3});
    CHECK(world.discovery_errors("gateways") == 0);

    world.kernel.routes.pop_back();
    world.tell(del_route(default_route("10.0.0.254", 3, 100)));
    CHECK(world.who() == Texts{"gateway 10.0.0.254 eth0"});
}

TEST_CASE("a change of the gateway is followed at once", "[agent]") {
    AgentWorld world({}, one_uplink());
    world.run(3500ms);
    const EchoRequest old = world.last_request("10.0.0.254");

    world.kernel.routes = {default_route("10.0.0.1", 2)};
    world.tell(new_route(default_route("10.0.0.1", 2), NLM_F_REPLACE));
    CHECK(world.who() == Texts{"gateway 10.0.0.1 eth0"});
    world.run(2s);
    CHECK(world.row("gateway").peer.up == true);
    world.handle(AgentWorld::reply_to(old));
    CHECK(world.ignored("foreign") == 1);

    world.kernel.routes.clear();
    world.tell(del_route(default_route("10.0.0.1", 2)));
    CHECK(world.who().empty());
    CHECK(world.agent.next_deadline() > world.now.mono);  // nothing that is due now
}

TEST_CASE("other routes change nothing for the gateway", "[agent]") {
    AgentWorld world({}, one_uplink());
    world.run(3s);
    const auto before = world.counters("gateway").sent;
    RouteFacts route = default_route("10.0.0.9", 2);
    route.destination = address("10.9.0.0");
    route.prefix_length = 16;
    world.tell(new_route(route));
    world.tell(new_link({.index = 5, .name = "veth5"}));
    world.run(3s);
    CHECK(world.who() == Texts{"gateway 10.0.0.254 eth0"});
    CHECK(world.counters("gateway").sent >= before + 3);
}

TEST_CASE("a renamed device is another series of the gateway", "[agent]") {
    AgentWorld world({}, one_uplink());
    world.run(3s);
    world.kernel.links[1].name = "wan";
    world.tell(new_link({.index = 2, .name = "wan"}));
    CHECK(world.who() == Texts{"gateway 10.0.0.254 wan"});
    CHECK(world.counters("gateway") == ProbeCounters{});
    world.run(2s);
    CHECK(world.row("gateway").peer.up == true);
}

TEST_CASE("a gateway on a device that is switched off is no gateway", "[agent]") {
    AgentWorld world({}, one_uplink());
    world.run(2s);
    world.kernel = {{{.index = 2, .name = "eth0", .up = false}}, {}};
    world.tell(new_link({.index = 2, .name = "eth0", .up = false, .oper_state = IF_OPER_DOWN}));
    CHECK(world.who().empty());
}

TEST_CASE("no gateways when they are not wanted", "[agent]") {
    Config config;
    config.discover_gateways = false;
    AgentWorld world(config, one_uplink());
    world.run(3s);
    CHECK(world.who().empty());

    config.discover_gateways = true;
    world.reload(config);
    CHECK(world.who() == Texts{"gateway 10.0.0.254 eth0"});
    config.discover_gateways = false;
    world.reload(config);
    CHECK(world.who().empty());
    world.tell(new_route(default_route("10.0.0.1", 2, 5)));
    CHECK(world.who().empty());
    CHECK(world.agent.next_deadline() > world.now.mono);  // nothing that is due now
}

TEST_CASE("a gateway may be a configured peer of another name", "[agent]") {
    AgentWorld world(config_of({peer_config("router", "10.0.0.254")}), one_uplink());
    world.run(2s);
    CHECK(world.who() == Texts{"gateway 10.0.0.254 eth0", "router 10.0.0.254 "});
    CHECK(world.counters("router").received > 0);
    CHECK(world.counters("gateway").received > 0);
}

TEST_CASE("a configured peer that is named and placed like the gateway takes its place",
          "[agent]") {
    const auto namesake = [](const std::string& where) {
        return config_of({peer_config("gateway", where)});
    };
    SECTION("from the beginning") {
        AgentWorld world(namesake("10.0.0.254"), one_uplink());
        CHECK(world.who() == Texts{"gateway 10.0.0.254 "});
    }
    SECTION("by a reload, and by another it gives it back") {
        AgentWorld world({}, one_uplink());
        world.run(1s);
        world.reload(namesake("10.0.0.254"));
        CHECK(world.who() == Texts{"gateway 10.0.0.254 "});
        world.reload(namesake("10.0.0.7"));
        CHECK(world.who() == Texts{"gateway 10.0.0.254 eth0", "gateway 10.0.0.7 "});
    }
    SECTION("when its name resolves to it, until it does no more") {
        AgentWorld world(namesake("gw.example.net"), one_uplink());
        CHECK(world.who() == Texts{"gateway  ", "gateway 10.0.0.254 eth0"});
        world.look_up("gw.example.net", std::vector<IpAddress>{address("10.0.0.254")});
        CHECK(world.who() == Texts{"gateway 10.0.0.254 "});
        world.names["gw.example.net"] = std::vector<IpAddress>{address("10.0.0.7")};
        world.run(40s);
        CHECK(world.who() == Texts{"gateway 10.0.0.254 eth0", "gateway 10.0.0.7 "});
    }
}

TEST_CASE("gateways beyond limits.peers are refused, counted once and told once", "[agent]") {
    KernelTables tables = one_uplink();
    tables.routes = {default_route("10.0.0.1", 2, 1),
                     default_route("10.0.0.2", 2, 2),
                     default_route("10.0.0.3", 2, 3)};
    AgentWorld world(limited_to(2, {peer_config("a", "10.0.0.77")}), tables);
    world.run(2s);
    CHECK(world.who() == Texts{"a 10.0.0.77 ", "gateway 10.0.0.1 eth0"});
    CHECK(world.discovery_errors("gateways") == 2);
    CHECK(world.messages() == Texts{"gateway 10.0.0.2 is not probed: limits.peers (2) is reached"});

    for (int i = 10; i < 20; ++i) {
        world.tell(new_link({.index = i, .name = "veth" + std::to_string(i)}));
    }
    CHECK(world.discovery_errors("gateways") == 2);
    CHECK(world.logs.size() == 1);

    world.tell(del_route(default_route("10.0.0.1", 2, 1)));
    CHECK(world.who() == Texts{"a 10.0.0.77 ", "gateway 10.0.0.2 eth0"});
    CHECK(world.discovery_errors("gateways") == 2);
}

TEST_CASE("configured peers go before gateways when room gets short", "[agent]") {
    KernelTables tables = one_uplink();
    tables.routes = {default_route("10.0.0.1", 2, 1), default_route("10.0.0.2", 2, 2)};
    AgentWorld world(limited_to(3, {peer_config("a", "10.0.0.77")}), tables);
    world.run(3s);
    REQUIRE(world.agent.peer_count() == 3);
    const auto kept = world.requests.size();

    world.reload(limited_to(3, {peer_config("a", "10.0.0.77"), peer_config("b", "10.0.0.78")}));
    CHECK(world.who() == Texts{"a 10.0.0.77 ", "b 10.0.0.78 ", "gateway 10.0.0.1 eth0"});
    CHECK(world.discovery_errors("gateways") == 1);
    CHECK(world.counters("gateway").sent > 0);  // the one that stays keeps its counters
    CHECK(kept > 0);

    world.reload(limited_to(10, {peer_config("a", "10.0.0.77")}));
    CHECK(world.agent.peer_count() == 3);
}

TEST_CASE("the topology is synced when every table was read, and only then", "[agent]") {
    AgentWorld world;
    CHECK(world.agent.topology_synced());
    CHECK(world.snapshot().netlink.last_sync == WallTime(1'700'000'000s));

    Agent unanswered({}, "h", AgentSeed{}, world.now);
    Actions actions;
    unanswered.observe(world.now);
    unanswered.poll(world.now, actions);
    REQUIRE(actions.dumps.size() == 1);
    CHECK_FALSE(unanswered.topology_synced());
    CHECK_FALSE(unanswered.snapshot(world.now).topology_synced);
    CHECK(unanswered.next_deadline() > world.now.mono);
    CHECK(unanswered.next_deadline() < mono_never);
}

TEST_CASE("trouble with netlink is counted and mended", "[agent]") {
    AgentWorld world({}, one_uplink());
    world.run(2s);
    // Unseen by us: the gateway has changed.
    world.kernel.routes = {default_route("10.0.0.1", 2)};
    SECTION("an overrun") {
        world.handle(NetlinkOverran{});
    }
    SECTION("a truncated datagram") {
        world.handle(NetlinkTruncated{});
    }
    SECTION("garbage") {
        world.tell(Bytes(64, 0xa5));
    }
    world.run(3s);
    CHECK(world.who() == Texts{"gateway 10.0.0.1 eth0"});
    CHECK(world.snapshot().netlink.resyncs >= 1);
}

TEST_CASE("a dump request that cannot be sent is tried again", "[agent]") {
    Agent agent({}, "h", AgentSeed{}, Instant{MonoTime(1s), WallTime(1s)});
    Instant now{MonoTime(1s), WallTime(1s)};
    int requests = 0;
    for (int i = 0; i < 400; ++i) {
        Actions actions;
        agent.observe(now);
        agent.poll(now, actions);
        for (std::size_t each = 0; each < actions.dumps.size(); ++each) {
            ++requests;
            agent.handle(DumpRequestFailed{}, now);
        }
        now.mono += 100ms;
        now.wall += 100ms;
    }
    CHECK(requests >= 9);    // each table three times, and some later
    CHECK(requests <= 100);  // but no storm
    CHECK(agent.topology_synced());
}

}  // namespace reachd::test
