// Peers that are asked in several ways: one verdict, each way with its own accounting.
#include <catch2/catch.hpp>

#include "agent/agent.hpp"
#include "tests/agent/agent_fixture.hpp"

namespace reachd::test {
namespace {

using Ports = std::vector<std::uint16_t>;

PeerConfig with_ports(const std::string& name, const std::string& address, Ports ports) {
    PeerConfig peer = peer_config(name, address);
    peer.tcp.ports = std::move(ports);
    return peer;
}

const ProbeSnapshot& probe_of(const PeerRow& row, ProbeKind kind, std::uint16_t port = 0) {
    const auto found =
        std::find_if(row.probes.begin(), row.probes.end(), [&](const ProbeSnapshot& probe) {
            return probe.kind == kind && probe.port == port;
        });
    REQUIRE(found != row.probes.end());
    return *found;
}

AgentWorld::Connecting nobody() {
    return [](const TcpRequest&) { return std::optional<TcpResult>(); };
}

}  // namespace

TEST_CASE("each port is a probe of its own", "[agent]") {
    Config config = config_of({with_ports("a", "10.0.0.1", {22, 443})});
    config.peers[0].source = address("10.0.0.7");
    config.peers[0].icmp.dscp = 10;
    AgentWorld world(config);
    world.run(20s);
    const PeerRow row = world.row("a");
    CHECK(row.probes.size() == 3);
    CHECK(probe_of(row, ProbeKind::icmp).counters.received >= 19);
    CHECK(probe_of(row, ProbeKind::tcp, 22).counters.received >= 3);
    CHECK(probe_of(row, ProbeKind::tcp, 443).counters.received >= 3);
    CHECK(probe_of(row, ProbeKind::tcp, 443).counters.received <= 5);
    CHECK(probe_of(row, ProbeKind::tcp, 443).up == true);
    const TcpTarget& target = world.connects.front().target;
    CHECK(target.destination == address("10.0.0.1"));
    CHECK(target.source == address("10.0.0.7"));
    CHECK(target.dscp == 10);
}

TEST_CASE("a peer is up while it answers in one way", "[agent]") {
    AgentWorld world(config_of({with_ports("a", "10.0.0.1", {22})}));
    SECTION("its port is open, its ICMP filtered") {
        world.silence();
        world.run(20s);
        const PeerRow row = world.row("a");
        CHECK(row.peer.up == true);
        CHECK(row.peer.state == Reachability::up);
        CHECK(probe_of(row, ProbeKind::icmp).up == false);
        CHECK(probe_of(row, ProbeKind::tcp, 22).up == true);
    }
    SECTION("its port is silent") {
        world.connecting = nobody();
        world.run(20s);
        const PeerRow row = world.row("a");
        CHECK(row.peer.up == true);
        CHECK(probe_of(row, ProbeKind::tcp, 22).up == false);
        CHECK(world.abandoned.size() >= 4);
        CHECK(probe_of(row, ProbeKind::tcp, 22).syn_retransmits == world.abandoned.size());
    }
    SECTION("its port refuses, its ICMP is filtered") {
        world.silence();
        world.connecting = [](const TcpRequest&) { return std::optional(AgentWorld::refused()); };
        world.run(20s);
        const PeerRow row = world.row("a");
        CHECK(row.peer.up == true);
        CHECK(probe_of(row, ProbeKind::icmp).up == false);
        CHECK(probe_of(row, ProbeKind::tcp, 22).up == false);
        CHECK(row.failed(FailureReason::refused) >= 4);
        CHECK(probe_of(row, ProbeKind::tcp, 22).counters.lost == 0);
    }
    CHECK(world.messages().empty());
}

TEST_CASE("the other ways are asked at once, so that the verdict is", "[agent]") {
    Config config = config_of({with_ports("a", "10.0.0.1", {22})});
    config.peers[0].tcp.interval = 60s;
    AgentWorld world(config);
    world.run(70s);
    REQUIRE(world.row("a").peer.up == true);
    REQUIRE(probe_of(world.row("a"), ProbeKind::tcp, 22).up == true);
    world.silence();
    world.connecting = nobody();
    // The next echo request goes out within a second, and is out of time a second later.
    world.run(1s + 1s + 1s + 50ms);
    CHECK(world.row("a").peer.up == false);
    REQUIRE(world.messages().size() == 1);
    CHECK(world.messages()[0] == "peer a (10.0.0.1) is down: icmp timeout, tcp/22 timeout");
    SECTION("and back with the first that answers twice") {
        world.everybody_answers();
        world.run(1s + 200ms);
        CHECK(world.row("a").peer.up == true);
        CHECK(probe_of(world.row("a"), ProbeKind::tcp, 22).up == false);
        CHECK(world.messages().back() == "peer a (10.0.0.1) is up again");
    }
}

TEST_CASE("a suspicion that is not shared asks each way one burst, and no more", "[agent]") {
    Config config = config_of({with_ports("a", "10.0.0.1", {22, 80, 443})});
    for (PeerConfig& peer : config.peers) {
        peer.tcp.interval = 3600s;
    }
    AgentWorld world(config);
    world.run(7200s);
    const std::size_t connects = world.connects.size();
    world.silence();
    world.run(10s);
    CHECK(probe_of(world.row("a"), ProbeKind::icmp).up == false);
    CHECK(world.row("a").peer.up == true);
    CHECK(world.connects.size() >= connects + 3);
    CHECK(world.connects.size() <= connects + 3 * ProbeEngine::burst_size + 3);
    CHECK(world.messages().empty());
}

TEST_CASE("a peer with nothing but ports", "[agent]") {
    Config config = config_of({with_ports("a", "10.0.0.1", {22})});
    config.peers[0].icmp.enabled = false;
    AgentWorld world(config);
    world.run(10s);
    CHECK(world.requests.empty());
    CHECK(world.row("a").probes.size() == 1);
    CHECK(world.row("a").peer.up == true);
    CHECK(world.snapshot().every_peer_asked);
    world.connecting = nobody();
    world.run(10s);
    CHECK(world.messages().back() == "peer a (10.0.0.1) is down: timeout");
}

TEST_CASE("ports come and go with a reload, the others keep their counters", "[agent]") {
    AgentWorld world(config_of({with_ports("a", "10.0.0.1", {22, 80})}));
    world.run(20s);
    const PeerRow before = world.row("a");
    world.reload(config_of({with_ports("a", "10.0.0.1", {22, 443})}));
    const PeerRow after = world.row("a");
    CHECK(after.probes.size() == 3);
    CHECK(probe_of(after, ProbeKind::icmp).counters == probe_of(before, ProbeKind::icmp).counters);
    CHECK(probe_of(after, ProbeKind::tcp, 22).counters ==
          probe_of(before, ProbeKind::tcp, 22).counters);
    CHECK(probe_of(after, ProbeKind::tcp, 443).counters == ProbeCounters{});
    CHECK(after.peer.up == true);
    CHECK(after.peer.last_change == before.peer.last_change);
    world.run(20s);
    CHECK(probe_of(world.row("a"), ProbeKind::tcp, 443).up == true);
}

TEST_CASE("connects of a peer that is gone are abandoned", "[agent]") {
    AgentWorld world(config_of({with_ports("a", "10.0.0.1", {22})}));
    world.connecting = nobody();
    world.run(4990ms);
    const std::size_t given_up = world.abandoned.size();
    while (world.connects.size() == given_up) {
        world.run(10ms);
    }
    world.reload(config_of({}));
    CHECK(world.abandoned.size() == world.connects.size());
}

TEST_CASE("a link-local peer is connected to on its device", "[agent]") {
    KernelTables tables;
    tables.links = {{.index = 7, .name = "eth7"}};
    AgentWorld world(config_of({with_ports("a", "fe80::1%eth7", {22})}), tables);
    world.run(10s);
    REQUIRE_FALSE(world.connects.empty());
    CHECK(world.connects.back().target.destination.scope() == IfIndex{7});
    CHECK(world.connects.back().target.device == IfIndex{7});
}

}  // namespace reachd::test
