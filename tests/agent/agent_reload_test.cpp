// A new configuration in a running agent: what did not change keeps its counters.
#include <catch2/catch.hpp>

#include "agent/agent.hpp"
#include "tests/agent/agent_fixture.hpp"

namespace reachd::test {
namespace {

using Texts = std::vector<std::string>;

Config two_peers() {
    return config_of({peer_config("a", "10.0.0.1"), peer_config("b", "10.0.0.2")});
}

}  // namespace

TEST_CASE("an equal configuration changes nothing", "[agent]") {
    AgentWorld world(two_peers());
    world.run(5500ms);
    const auto before = world.rows();
    world.run(10ms);
    world.reload(two_peers());
    const auto after = world.rows();
    REQUIRE(after.size() == before.size());
    for (std::size_t i = 0; i < after.size(); ++i) {
        CHECK(after[i].peer.identity == before[i].peer.identity);  // the very same
        CHECK(after[i].probe->counters == before[i].probe->counters);
        CHECK(after[i].samples == before[i].samples);
        CHECK(after[i].peer.up == true);
        CHECK(after[i].peer.last_change == before[i].peer.last_change);
    }
    const Snapshot snapshot = world.snapshot();
    CHECK(snapshot.reload.last_successful);
    CHECK(snapshot.reload.last_success == world.now.wall);
    world.run(10s);
    CHECK(world.counters("a").lost == 0);
}

TEST_CASE("a probe that is out during the reload is still answered", "[agent]") {
    AgentWorld world(two_peers());
    world.silence("10.0.0.1");
    world.run(100ms);
    const EchoRequest out = world.last_request("10.0.0.1");
    Config config = two_peers();
    config.peers[0].labels = {{"rack", "r9"}};
    world.reload(config);
    world.handle(AgentWorld::reply_to(out));
    CHECK(world.counters("a").received == 1);
    CHECK(world.ignored("foreign") == 0);
}

TEST_CASE("other labels alone keep the counters", "[agent]") {
    AgentWorld world(two_peers());
    world.run(5500ms);
    const auto before = world.row("a");
    const Snapshot old = world.snapshot();
    Config config = two_peers();
    config.peers[0].labels = {{"rack", "r1"}};
    world.reload(config);
    const auto after = world.row("a");
    CHECK(after.peer.identity->details().labels == config.peers[0].labels);
    CHECK(after.peer.identity->label_text() == before.peer.identity->label_text());
    CHECK(after.probe->counters == before.probe->counters);
    CHECK(after.peer.last_change == before.peer.last_change);
    CHECK(old.peers[0].identity->details().labels.empty());  // snapshots already made never change
}

TEST_CASE("other labels of a resolved name keep its address", "[agent]") {
    Config config = config_of({peer_config("db1", "db1.example.net")});
    AgentWorld world(config);
    world.look_up("db1.example.net", std::vector<IpAddress>{address("10.0.0.5")});
    world.run(3500ms);
    const auto before = world.counters("db1");
    config.peers[0].labels = {{"rack", "r1"}};
    world.reload(config);
    CHECK(world.row("db1").peer.identity->address() == "10.0.0.5");
    CHECK(world.row("db1").peer.identity->details().labels == config.peers[0].labels);
    CHECK(world.counters("db1") == before);
}

TEST_CASE("other options of a peer keep its counters, another path begins anew", "[agent]") {
    AgentWorld world(two_peers());
    world.run(5500ms);
    const PeerRow before = world.row("a");
    bool same_path = true;
    const auto other = world.counters("b");
    Config config = two_peers();
    SECTION("interval") {
        config.peers[0].icmp.interval = 200ms;
    }
    SECTION("timeout") {
        config.peers[0].icmp.timeout = 300ms;
    }
    SECTION("payload") {
        config.peers[0].icmp.payload_bytes = 1400;
    }
    SECTION("dscp") {
        config.peers[0].icmp.dscp = 46;
    }
    SECTION("address") {
        config.peers[0].address = "10.0.0.9";
        same_path = false;
    }
    SECTION("source") {
        config.peers[0].source = address("10.0.0.99");
        same_path = false;
    }
    SECTION("device") {
        config.peers[0].device = "eth0";
        same_path = false;
        world.tell(new_link({.index = 2, .name = "eth0"}));
    }
    world.reload(config);
    if (same_path) {
        CHECK(world.counters("a") == before.probe->counters);
        CHECK(world.row("a").peer.up == true);
        CHECK(world.row("a").peer.last_change == before.peer.last_change);
    } else {
        CHECK(world.counters("a") == ProbeCounters{});
        CHECK_FALSE(world.row("a").peer.up.has_value());
    }
    CHECK(world.counters("b") == other);
    world.run(3s);
    const PeerRow row = world.row("a");
    CHECK(row.peer.up == true);
    CHECK(row.peer.identity->address() == config.peers[0].address);
    CHECK(row.probe->counters.lost == 0);
    if (config.peers[0].icmp.interval == 200ms) {
        CHECK(row.probe->counters.sent >= 14);
    }
    const EchoTarget target = world.last_request(config.peers[0].address).target;
    CHECK(target.payload_bytes == config.peers[0].icmp.payload_bytes);
    CHECK(target.dscp == config.peers[0].icmp.dscp);
    for (const auto& message : world.messages()) {
        CHECK(message.find("link ") == 0);  // nothing about a peer
    }
}

TEST_CASE("probes can be switched off and on", "[agent]") {
    AgentWorld world(two_peers());
    world.run(2s);
    Config config = two_peers();
    config.peers[0].icmp.enabled = false;
    world.reload(config);
    CHECK_FALSE(world.row("a").probe.has_value());
    const auto asked = world.requests.size();
    world.run(2500ms);
    CHECK(world.last_request("10.0.0.2").order.due > world.now.mono - 1s);
    for (auto i = asked; i < world.requests.size(); ++i) {
        CHECK(world.requests[i].target.destination == address("10.0.0.2"));
    }
    world.reload(two_peers());
    world.run(2s);
    CHECK(world.row("a").peer.up == true);
}

TEST_CASE("peers come and go, and take their series along", "[agent]") {
    AgentWorld world(two_peers());
    world.run(3500ms);
    const auto kept = world.counters("b");
    world.reload(config_of({peer_config("b", "10.0.0.2"), peer_config("c", "10.0.0.3")}));
    CHECK(world.who() == Texts{"b 10.0.0.2 ", "c 10.0.0.3 "});
    CHECK(world.counters("b") == kept);
    CHECK(world.counters("c") == ProbeCounters{});  // though it took the place of a
    CHECK(world.row("c").samples == 0);
    world.run(2s);
    CHECK(world.row("c").peer.up == true);

    world.reload({});
    CHECK(world.who().empty());
    CHECK(world.agent.peer_count() == 0);
    CHECK(world.agent.next_deadline() > world.now.mono);  // nothing that is due now
}

TEST_CASE("a new name is a new peer", "[agent]") {
    AgentWorld world(config_of({peer_config("old", "10.0.0.1")}));
    world.run(3s);
    world.reload(config_of({peer_config("new", "10.0.0.1")}));
    CHECK(world.who() == Texts{"new 10.0.0.1 "});
    CHECK(world.counters("new") == ProbeCounters{});
}

TEST_CASE("two peers swap their addresses", "[agent]") {
    AgentWorld world(two_peers());
    world.silence("10.0.0.1");
    world.run(5500ms);
    CHECK(world.row("a").peer.up == false);
    world.reload(config_of({peer_config("a", "10.0.0.2"), peer_config("b", "10.0.0.1")}));
    world.run(5s);
    CHECK(world.who() == Texts{"a 10.0.0.2 ", "b 10.0.0.1 "});
    CHECK(world.row("a").peer.up == true);
    CHECK(world.row("b").peer.up == false);
}

TEST_CASE("a reload forgets no address of a name that stays", "[agent]") {
    Config config = config_of({peer_config("db1", "db1.example.net")});
    AgentWorld world(config);
    world.look_up("db1.example.net", std::vector<IpAddress>{address("10.0.0.5")});
    world.run(3s);
    SECTION("with another interval") {
        config.peers[0].icmp.interval = 200ms;
    }
    SECTION("with other edges") {
        config.rtt_edges = {0.001, 1};
    }
    world.reload(config);
    CHECK(world.row("db1").peer.identity->address() == "10.0.0.5");
    world.run(3s);
    CHECK(world.row("db1").peer.up == true);
    CHECK(world.row("db1").failures.empty());
    CHECK(world.lookups.empty());
}

TEST_CASE("of peers that share a name, those that stay follow it", "[agent]") {
    const std::string stays = GENERATE("first", "second", "third");
    CAPTURE(stays);
    const Config one = config_of({peer_config(stays, "db.example.net")});
    AgentWorld world(config_of({peer_config("first", "db.example.net"),
                                peer_config("second", "db.example.net"),
                                peer_config("third", "db.example.net")}));
    world.reload(one);
    world.look_up("db.example.net", std::vector<IpAddress>{address("10.0.0.5")});
    CHECK(world.who() == Texts{stays + " 10.0.0.5 "});
}

TEST_CASE("names that are gone are not looked up any more", "[agent]") {
    AgentWorld world(config_of({peer_config("db1", "db1.example.net")}));
    world.names["db1.example.net"] = ResolveError::not_found;
    world.look_up("db1.example.net", ResolveError::not_found);
    world.reload({});
    const auto errors = world.discovery_errors("dns");
    world.run(120s);
    CHECK(world.discovery_errors("dns") == errors);
    CHECK(world.agent.next_deadline() > world.now.mono);  // nothing that is due now
}

TEST_CASE("a lookup that is under way during the reload serves the new peer", "[agent]") {
    AgentWorld world(config_of({peer_config("old", "db.example.net")}));
    REQUIRE(world.lookups.size() == 1);
    world.reload(config_of({peer_config("new", "db.example.net")}));
    world.look_up("db.example.net", std::vector<IpAddress>{address("10.0.0.5")});
    world.run(2s);
    CHECK(world.who() == Texts{"new 10.0.0.5 "});
    CHECK(world.row("new").peer.up == true);
}

TEST_CASE("other edges begin every histogram anew, of gateways too", "[agent]") {
    AgentWorld world(two_peers(),
                     {{{.index = 2, .name = "eth0"}}, {default_route("10.0.0.254", 2)}});
    world.run(3500ms);
    const Snapshot before = world.snapshot();
    Config config = two_peers();
    config.rtt_edges = {0.0005, 0.005};
    world.reload(config);
    const Snapshot after = world.snapshot();
    CHECK(*after.rtt_edges == config.rtt_edges);
    CHECK(after.rtt_buckets == std::vector<std::uint64_t>(9));
    CHECK(after.probes.size() == 3);
    CHECK(before.rtt_edges->size() == 10);  // snapshots already made never change
    for (const PeerRow& row : world.rows()) {
        const ProbeCounters& counters = row.probe->counters;
        CHECK(counters.sent <= 1);  // the gateway, which was found, is asked at once
        CHECK(counters.received + counters.lost + counters.late + counters.duplicates == 0);
        CHECK_FALSE(row.peer.up.has_value());
        CHECK(row.peer.state == Reachability::unknown);
        CHECK(row.peer.state_changes == 0);
    }
    world.run(3500ms);
    CHECK(world.who() == Texts{"a 10.0.0.1 ", "b 10.0.0.2 ", "gateway 10.0.0.254 eth0"});
    const Snapshot later = world.snapshot();
    for (std::size_t i = 0; i < later.probes.size(); ++i) {
        CHECK(later.rtt_buckets[i * 3] == 0);
        CHECK(later.rtt_buckets[i * 3 + 1] == later.probes[i].counters.received);  // 1 ms
        CHECK(later.probes[i].up == true);
    }
}

TEST_CASE("other edges and other peers in one reload", "[agent]") {
    AgentWorld world(two_peers());
    world.run(2s);
    Config config = config_of({peer_config("b", "10.0.0.2"), peer_config("c", "10.0.0.3")});
    config.peers[0].icmp.interval = 500ms;
    config.rtt_edges = {0.1};
    world.reload(config);
    world.run(2s);
    CHECK(world.who() == Texts{"b 10.0.0.2 ", "c 10.0.0.3 "});
    CHECK(world.counters("b").received >= 3);
    CHECK(world.row("c").peer.up == true);
}

TEST_CASE("other defaults reach the gateways, which keep their counters", "[agent]") {
    AgentWorld world({}, {{{.index = 2, .name = "eth0"}}, {default_route("10.0.0.254", 2)}});
    world.run(3s);
    world.reload({});
    CHECK(world.counters("gateway").sent >= 3);
    Config config;
    config.icmp.interval = 100ms;
    world.reload(config);
    CHECK(world.counters("gateway").sent >= 3);
    world.run(2s);
    CHECK(world.counters("gateway").sent >= 22);
    CHECK(world.row("gateway").peer.up == true);
}

TEST_CASE("a rejected configuration is told, and nothing else happens", "[agent]") {
    AgentWorld world(two_peers());
    const WallTime start = world.now.wall;
    world.run(3500ms);
    CHECK(world.snapshot().reload.last_successful);
    CHECK(world.snapshot().reload.last_success == start);
    const auto before = world.counters("a");
    world.handle(ConfigRejected{});
    CHECK_FALSE(world.snapshot().reload.last_successful);
    CHECK(world.snapshot().reload.last_success == start);
    CHECK(world.counters("a") == before);
    world.run(1s);
    world.reload(two_peers());
    CHECK(world.snapshot().reload.last_successful);
    CHECK(world.snapshot().reload.last_success == world.now.wall);
}

TEST_CASE("host labels and limits follow the reload, the host's name does not", "[agent]") {
    Config config;
    config.host.name = "hv1";
    AgentWorld world(config);
    config.host = {"hv2", {{"zone", "z1"}}};
    config.limits.series = 5000;
    world.reload(config);
    const Snapshot snapshot = world.snapshot();
    CHECK(snapshot.host.name == "hv1");
    CHECK(snapshot.host.labels == config.host.labels);
    CHECK(snapshot.series_limit == 5000);
}

TEST_CASE("the rate limit follows the reload", "[agent]") {
    std::vector<PeerConfig> peers;
    for (int i = 1; i <= 100; ++i) {
        peers.push_back(peer_config("p" + std::to_string(i), "10.0.0." + std::to_string(i)));
        peers.back().icmp.interval = 100ms;
    }
    AgentWorld world(config_of(peers));
    world.run(2s);
    Config config = config_of(peers);
    config.limits.probes_per_second = 100;
    world.reload(config);
    const auto asked = world.requests.size();
    world.run(2s);
    CHECK(world.requests.size() - asked <= 210);
    CHECK(world.requests.size() - asked >= 180);
    const Snapshot snapshot = world.snapshot();
    CHECK(snapshot.skipped[static_cast<std::size_t>(SkipReason::rate_limit)] > 0);
}

/// Random reloads of random peers: whatever happens, the counts add up and series are unique.
TEST_CASE("many random reloads leave the agent whole", "[agent]") {
    const std::uint64_t seed = GENERATE(1U, 2U, 3U);
    CAPTURE(seed);
    Random random(seed);
    AgentWorld world({}, {{{.index = 2, .name = "eth0"}}, {default_route("10.0.0.3", 2)}});
    world.names["a.example.net"] = std::vector<IpAddress>{address("10.0.1.1")};
    world.names["b.example.net"] = ResolveError::not_found;
    world.behaviour = [&random](const EchoRequest&) {
        return random.below(4) == 0 ? std::nullopt
                                    : std::optional<Duration>(1ms * random.below(1200));
    };
    const Texts places{"10.0.0.1",
                       "10.0.0.2",
                       "10.0.0.3",
                       "a.example.net",
                       "b.example.net",
                       "fe80::1%eth0",
                       "2001:db8::1"};
    const auto any_place = [&] {
        return places[random.below(static_cast<std::uint32_t>(places.size()))];
    };
    for (int round = 0; round < 60; ++round) {
        Config config;
        for (const char* const name : {"gateway", "x", "y", "z", "w"}) {
            if (random.below(2) == 0) {
                config.peers.push_back(peer_config(name, any_place()));
                config.peers.back().icmp.enabled = random.below(5) != 0;
                config.peers.back().icmp.interval = random.below(3) == 0 ? 200ms : 1s;
                config.peers.back().device = random.below(4) == 0 ? "eth0" : "";
            }
        }
        config.discover_gateways = random.below(4) != 0;
        config.limits.peers = 3 + random.below(4);
        config.rtt_edges = {random.below(4) == 0 ? 0.1 : 0.2};
        world.reload(config);
        CHECK(world.agent.peer_count() >= config.peers.size());
        CHECK(world.agent.peer_count() <= config.peers.size() + 1);
        world.run(100ms * random.below(60));
        world.snapshot();
    }
}

}  // namespace reachd::test
