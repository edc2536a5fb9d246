// Configured peers: who they are, where their probes go, host names and devices.
#include "agent/agent.hpp"

#include <catch2/catch.hpp>

#include "tests/agent/agent_fixture.hpp"

namespace reachd::test {
namespace {

using Texts = std::vector<std::string>;

PeerConfig on_device(PeerConfig peer, const std::string& device) {
    peer.device = device;
    return peer;
}

KernelTables with_links(std::vector<LinkFacts> links) {
    return {std::move(links), {}};
}

ResolveResult addresses(const std::vector<std::string>& texts) {
    std::vector<IpAddress> all;
    for (const auto& text : texts) {
        all.push_back(address(text));
    }
    return all;
}

}  // namespace

TEST_CASE("an agent without peers is ready, idle and whole", "[agent]") {
    AgentWorld world;
    world.run(3s);
    const Snapshot snapshot = world.snapshot();
    CHECK(snapshot.peers.empty());
    CHECK(snapshot.every_peer_asked);
    CHECK(snapshot.topology_synced);
    CHECK(snapshot.host.name == "testhost");
    CHECK(snapshot.taken.mono == world.now.mono);
    CHECK(world.agent.next_deadline() > world.now.mono + 1s);  // counters of links, at times
    CHECK(world.agent.status_line() == "0 peers: 0 up, 0 down, 0 unknown");
    CHECK(world.agent.snapshot(world.now).sequence > snapshot.sequence);
    CHECK(world.logs.empty());
}

TEST_CASE("the configured host name and labels are the host's", "[agent]") {
    Config config;
    config.host = {"hv1", {{"rack", "r1"}}};
    AgentWorld world(config);
    CHECK(world.snapshot().host.name == "hv1");
    CHECK(world.snapshot().host.labels == std::vector<Label>{{"rack", "r1"}});
}

TEST_CASE("a configured peer is who its configuration says", "[agent]") {
    PeerConfig peer = peer_config("pm1", "10.77.0.20");
    peer.source = address("10.77.0.1");
    peer.device = "br0";
    peer.labels = {{"rack", "r2"}};
    peer.icmp.payload_bytes = 1400;
    peer.icmp.dscp = 46;
    AgentWorld world(config_of({peer}), with_links({{.index = 7, .name = "br0"}}));
    world.run(2500ms);

    const PeerRow row = world.row("pm1");
    const PeerIdentity& identity = *row.peer.identity;
    CHECK(identity.address() == "10.77.0.20");
    CHECK(identity.kind() == PeerKind::host);
    CHECK(identity.details().source == "10.77.0.1");
    CHECK(identity.details().device == "br0");
    CHECK(identity.details().labels == std::vector<Label>{{"rack", "r2"}});
    CHECK(identity.label_text() == R"(peer="pm1",address="10.77.0.20")");
    CHECK(world.agent.payload_bytes_max() == 1400);

    const EchoTarget target = world.last_request("10.77.0.20").target;
    CHECK(target.source == address("10.77.0.1"));
    CHECK(target.device == IfIndex{7});
    CHECK(target.payload_bytes == 1400);
    CHECK(target.dscp == 46);
}

TEST_CASE("the first answer brings a peer up, without a word", "[agent]") {
    AgentWorld world(config_of({peer_config("a", "10.0.0.1")}));
    world.run(100ms);
    const PeerRow row = world.row("a");
    CHECK(row.peer.up == true);
    CHECK(row.peer.state == Reachability::up);
    CHECK(row.peer.state_changes == 0);
    CHECK(row.peer.last_change > WallTime(1'700'000'000s));
    CHECK(row.probe->counters == ProbeCounters{1, 1, 0, 0, 0, 0});
    CHECK(row.samples == 1);
    CHECK(row.probe->last_rtt == 1ms);
    CHECK(world.agent.verdicts() == 1);
    CHECK(world.logs.empty());
    CHECK(world.agent.status_line() == "1 peers: 1 up, 0 down, 0 unknown");
}

TEST_CASE("every peer is asked within its interval, at its interval", "[agent]") {
    std::vector<PeerConfig> peers;
    for (int i = 1; i <= 50; ++i) {
        peers.push_back(peer_config("p" + std::to_string(i), "10.0.0." + std::to_string(i)));
    }
    peers.back().icmp.interval = 200ms;
    AgentWorld world(config_of(peers));
    CHECK_FALSE(world.snapshot().every_peer_asked);
    world.run(1s);
    CHECK(world.snapshot().every_peer_asked);
    world.run(9s);
    for (const PeerRow& row : world.rows()) {
        const std::uint64_t expected = row.peer.identity->name() == "p50" ? 50 : 10;
        CHECK(row.probe->counters.sent >= expected);
        CHECK(row.probe->counters.sent <= expected + 1);
        CHECK(row.probe->counters.lost == 0);
        CHECK(row.probe->counters.received == row.samples);
        CHECK(row.peer.up == true);
    }
}

TEST_CASE("a peer whose probes are switched off is there, and not probed", "[agent]") {
    PeerConfig quiet = peer_config("quiet", "10.0.0.1");
    quiet.icmp.enabled = false;
    AgentWorld world(config_of({quiet, peer_config("loud", "10.0.0.2")}));
    world.run(3s);
    const PeerRow row = world.row("quiet");
    CHECK_FALSE(row.probe.has_value());
    CHECK_FALSE(row.peer.up.has_value());
    CHECK(world.counters("loud").received > 0);
    CHECK(world.snapshot().every_peer_asked);
    for (const EchoRequest& request : world.requests) {
        CHECK(request.target.destination == address("10.0.0.2"));
    }
}

TEST_CASE("without a socket of its family a peer fails locally, and is not lost", "[agent]") {
    AgentWorld world(
        config_of({peer_config("four", "10.0.0.1"), peer_config("six", "2001:db8::1")}),
        {},
        {Family::ipv4});
    world.run(5s);
    const PeerRow six = world.row("six");
    CHECK(six.probe->counters == ProbeCounters{});
    CHECK(six.failed(FailureReason::local_error) >= 5);
    CHECK(six.failures.size() == 1);
    CHECK(world.row("four").peer.up == true);
    CHECK(world.snapshot().every_peer_asked);
}

TEST_CASE("hostile names are labels, not syntax", "[agent]") {
    const std::string name = "evil\"} 1\n# HELP x\\";
    AgentWorld world(config_of({peer_config(name, "10.0.0.1")}));
    CHECK(world.row(name).peer.identity->label_text() ==
          R"(peer="evil\"} 1\n# HELP x\\",address="10.0.0.1")");
    world.silence();
    world.run(4s);
    REQUIRE(world.logs.size() == 1);
    CHECK(world.logs[0].fields[0].second == name);  // as it is: the sink escapes
}

// ---- Host names
// ----------------------------------------------------------------------------------

TEST_CASE("a name that does not resolve is counted, and says nothing of the peer", "[agent]") {
    AgentWorld world(config_of({peer_config("db1", "db1.example.net")}));
    world.names["db1.example.net"] = ResolveError::not_found;
    REQUIRE(world.lookups.size() == 1);
    world.look_up("db1.example.net", ResolveError::not_found);
    world.run(20s);
    const PeerRow row = world.row("db1");
    CHECK(row.peer.identity->address().empty());
    CHECK(row.peer.identity->label_text() == R"(peer="db1",address="")");
    CHECK_FALSE(row.peer.up.has_value());
    CHECK(row.peer.state == Reachability::unknown);
    CHECK(row.probe->counters == ProbeCounters{});
    CHECK(row.failed(FailureReason::unresolved) >= 20);
    CHECK(row.failures.size() == 1);
    CHECK(world.discovery_errors("dns") >= 3);
    CHECK(world.requests.empty());
    CHECK(world.logs.empty());
    CHECK(world.snapshot().every_peer_asked);
}

TEST_CASE("readiness does not wait for names", "[agent]") {
    // The second peer's first probe is due after 618 ms: nothing was tried yet, and nothing can be.
    AgentWorld world(config_of({peer_config("a", "10.0.0.1"), peer_config("b", "b.example.net")}));
    world.run(100ms);
    CHECK(world.row("b").failures.empty());
    CHECK(world.snapshot().every_peer_asked);
}

TEST_CASE("a resolved name is probed at its address", "[agent]") {
    AgentWorld world(config_of({peer_config("db1", "db1.example.net")}));
    world.run(500ms);
    world.look_up("db1.example.net", addresses({"10.0.0.5", "10.0.0.6"}));
    CHECK(world.row("db1").failures.empty());  // a series of its own, from its beginning
    CHECK_FALSE(world.snapshot().every_peer_asked);
    world.run(2s);
    const PeerRow row = world.row("db1");
    CHECK(row.peer.identity->address() == "10.0.0.5");
    CHECK(row.peer.identity->label_text() == R"(peer="db1",address="10.0.0.5")");
    CHECK(row.peer.up == true);
    CHECK(world.snapshot().every_peer_asked);
}

TEST_CASE("the last good address stays while lookups fail or still name it", "[agent]") {
    AgentWorld world(config_of({peer_config("db1", "db1.example.net")}));
    world.look_up("db1.example.net", addresses({"10.0.0.5"}));
    world.names["db1.example.net"] = ResolveError::temporary;
    world.run(120s);
    CHECK(world.discovery_errors("dns") > 0);
    CHECK(world.row("db1").peer.identity->address() == "10.0.0.5");
    CHECK(world.counters("db1").received >= 119);

    world.names["db1.example.net"] = addresses({"10.0.0.4", "10.0.0.5"});
    world.run(120s);
    CHECK(world.row("db1").peer.identity->address() == "10.0.0.5");
    CHECK(world.counters("db1").received >= 239);
    CHECK(world.counters("db1").lost == 0);
}

TEST_CASE("another address is another series", "[agent]") {
    AgentWorld world(config_of({peer_config("db1", "db1.example.net")}));
    world.look_up("db1.example.net", addresses({"10.0.0.5"}));
    world.run(5s);
    CHECK(world.row("db1").peer.up == true);
    const EchoRequest old = world.last_request("10.0.0.5");

    world.names["db1.example.net"] = addresses({"10.0.0.6"});
    world.silence("10.0.0.6");
    world.run(35s);
    const PeerRow row = world.row("db1");
    CHECK(row.peer.identity->address() == "10.0.0.6");
    CHECK(row.peer.identity->label_text() == R"(peer="db1",address="10.0.0.6")");
    CHECK(row.peer.up == false);
    CHECK(row.peer.state_changes == 0);  // of this series
    CHECK(row.probe->counters.received == 0);
    CHECK(row.samples == 0);

    world.handle(AgentWorld::reply_to(old));
    CHECK(world.counters("db1").received == 0);
    CHECK(world.counters("db1").late == 0);
    CHECK(world.ignored("foreign") == 1);
}

TEST_CASE("peers that share a name and family share its lookups", "[agent]") {
    PeerConfig second = peer_config("second", "db.example.net");
    second.device = "eth0";
    AgentWorld world(config_of({peer_config("first", "db.example.net"), second}),
                     with_links({{.index = 2, .name = "eth0"}}));
    REQUIRE(world.lookups.size() == 1);
    world.look_up("db.example.net", addresses({"10.0.0.5"}));
    world.run(2s);
    CHECK(world.who() == Texts{"first 10.0.0.5 ", "second 10.0.0.5 eth0"});
    CHECK(world.counters("first").received > 0);
    CHECK(world.counters("second").received > 0);
}

TEST_CASE("a name is asked for in the wanted family", "[agent]") {
    PeerConfig peer = peer_config("db1", "db1.example.net");
    peer.family = FamilyChoice::ipv6;
    AgentWorld world(config_of({peer}));
    REQUIRE(world.lookups.size() == 1);
    CHECK(world.lookups[0].family == FamilyChoice::ipv6);
    world.look_up("db1.example.net", addresses({"10.0.0.5", "2001:db8::5"}));
    CHECK(world.row("db1").peer.identity->address() == "2001:db8::5");
}

TEST_CASE("an answer for a lookup nobody asked for changes nothing", "[agent]") {
    AgentWorld world(config_of({peer_config("db1", "db1.example.net")}));
    world.handle(NameLookedUp{987654321, addresses({"6.6.6.6"})});
    CHECK(world.row("db1").peer.identity->address().empty());
    const std::uint64_t id = world.lookups.at(0).id;
    world.look_up("db1.example.net", addresses({"10.0.0.5"}));
    world.handle(NameLookedUp{id, addresses({"6.6.6.6"})});  // answered twice
    CHECK(world.row("db1").peer.identity->address() == "10.0.0.5");
}

TEST_CASE("a name that leads to a link-local address has a zone", "[agent]") {
    IpAddress with_scope = address("fe80::7");
    with_scope.set_scope(IfIndex{3});
    const KernelTables tables =
        with_links({{.index = 2, .name = "eth0"}, {.index = 3, .name = "eth1"}});
    SECTION("that of its device") {
        AgentWorld world(config_of({on_device(peer_config("n", "n.local"), "eth0")}), tables);
        world.look_up("n.local", addresses({"fe80::7"}));
        CHECK(world.who() == Texts{"n fe80::7%eth0 eth0"});
        world.run(2s);
        CHECK(world.last_request("fe80::7").target.destination.scope() == IfIndex{2});
        CHECK(world.row("n").peer.up == true);

        // A second peer of the name, which is known by now, looks alike.
        world.reload(config_of({on_device(peer_config("n", "n.local"), "eth0"),
                                on_device(peer_config("m", "n.local"), "eth1")}));
        CHECK(world.who() == Texts{"m fe80::7%eth1 eth1", "n fe80::7%eth0 eth0"});
    }
    SECTION("the resolver's, without a device") {
        AgentWorld world(config_of({peer_config("n", "n.local")}), tables);
        world.look_up("n.local", ResolveResult(std::vector<IpAddress>{with_scope}));
        CHECK(world.who() == Texts{"n fe80::7%eth1 "});
        world.run(2s);
        CHECK(world.last_request("fe80::7").target.destination == with_scope);
    }
}

// ---- Devices
// -------------------------------------------------------------------------------------

TEST_CASE("a device that does not exist yet: local error, not sent, not lost", "[agent]") {
    AgentWorld world(config_of({on_device(peer_config("a", "10.0.0.1"), "br0")}));
    world.run(5s);
    PeerRow row = world.row("a");
    CHECK(row.probe->counters == ProbeCounters{});
    CHECK(row.failed(FailureReason::local_error) >= 4);
    CHECK(row.failures.size() == 1);
    CHECK(world.requests.empty());

    world.tell(new_link({.index = 9, .name = "br0"}));
    world.run(2s);
    row = world.row("a");
    CHECK(row.peer.up == true);
    CHECK(row.probe->counters.lost == 0);
    CHECK(world.last_request("10.0.0.1").target.device == IfIndex{9});
}

TEST_CASE("before the first dump a device is not missing, only unknown", "[agent]") {
    KernelTables tables = with_links({{.index = 7, .name = "br0"}});
    tables.dump_time = 500ms;
    AgentWorld world(config_of({on_device(peer_config("a", "10.0.0.1"), "br0")}), tables);
    world.run(400ms);
    CHECK(world.row("a").peer.state == Reachability::unknown);
    CHECK_FALSE(world.snapshot().every_peer_asked);
    world.run(3100ms);
    const PeerRow row = world.row("a");
    CHECK(row.failures.empty());
    CHECK(row.peer.up == true);
    CHECK(row.probe->counters.sent == row.probe->counters.received);
    CHECK(row.probe->counters.sent >= 2);
    CHECK(world.snapshot().every_peer_asked);
}

TEST_CASE("a device that goes and comes back under another index is followed", "[agent]") {
    AgentWorld world(config_of({on_device(peer_config("a", "10.0.0.1"), "tap0")}),
                     with_links({{.index = 7, .name = "tap0"}}));
    world.run(2500ms);
    CHECK(world.row("a").peer.up == true);
    world.kernel = {};
    world.tell(del_link(7));
    world.run(1s);
    CHECK(world.row("a").failed(FailureReason::local_error) > 0);
    world.tell(new_link({.index = 8, .name = "tap0"}));
    world.run(2s);
    CHECK(world.last_request("10.0.0.1").target.device == IfIndex{8});
    CHECK(world.row("a").peer.up == true);
    CHECK(world.counters("a").lost == 0);
}

TEST_CASE("a device renamed away is missing, one renamed to the name is found", "[agent]") {
    AgentWorld world(config_of({on_device(peer_config("a", "10.0.0.1"), "uplink")}),
                     with_links({{.index = 7, .name = "uplink"}, {.index = 8, .name = "spare"}}));
    world.run(2s);
    world.tell(new_link({.index = 7, .name = "old"}));
    world.tell(new_link({.index = 8, .name = "uplink"}));
    world.run(2s);
    CHECK(world.last_request("10.0.0.1").target.device == IfIndex{8});
    CHECK(world.row("a").failures.empty());
}

TEST_CASE("the zone of a link-local peer is its device", "[agent]") {
    AgentWorld world(config_of({peer_config("ll", "fe80::1%eth0")}));
    world.run(2s);
    CHECK(world.row("ll").failed(FailureReason::local_error) > 0);
    CHECK(world.requests.empty());

    world.tell(new_link({.index = 2, .name = "eth0"}));
    world.run(2s);
    CHECK(world.who() == Texts{"ll fe80::1%eth0 "});
    const EchoTarget target = world.last_request("fe80::1").target;
    CHECK(target.device == IfIndex{2});
    CHECK(target.destination.scope() == IfIndex{2});
    CHECK(world.row("ll").peer.up == true);

    world.tell(new_link({.index = 2, .name = "gone"}));
    world.tell(new_link({.index = 5, .name = "eth0"}));
    world.run(2s);
    CHECK(world.last_request("fe80::1").target.destination.scope() == IfIndex{5});
    CHECK(world.row("ll").peer.up == true);
}

TEST_CASE("a snapshot made in parts is the one made at once", "[agent]") {
    std::vector<PeerConfig> peers;
    for (int i = 0; i < 50; ++i) {
        peers.push_back(peer_config("p" + std::to_string(i), "10.0.0." + std::to_string(i + 1)));
    }
    AgentWorld world(config_of(peers));
    world.run(5s);
    const Snapshot whole = world.snapshot();
    Agent::SnapshotDraft draft;
    std::shared_ptr<Snapshot> parted;
    int parts = 0;
    while (!parted) {
        parted = world.agent.extend_snapshot(draft, 7, world.now);
        ++parts;
    }
    CHECK(parts == 8);
    check_consistent(*parted);
    REQUIRE(parted->peers.size() == whole.peers.size());
    CHECK(parted->rtt_buckets == whole.rtt_buckets);
    for (std::size_t i = 0; i < whole.probes.size(); ++i) {
        CHECK(parted->peers[i].identity == whole.peers[i].identity);
        CHECK(parted->probes[i].counters.sent == whole.probes[i].counters.sent);
    }
    CHECK(parted->sequence == whole.sequence + 1);
    CHECK_FALSE(draft.snapshot);
}

TEST_CASE("a snapshot in the making survives peers that come and go", "[agent]") {
    std::vector<PeerConfig> peers;
    for (int i = 0; i < 20; ++i) {
        peers.push_back(peer_config("p" + std::to_string(i), "10.0.0." + std::to_string(i + 1)));
    }
    AgentWorld world(config_of(peers));
    world.run(2s);
    Agent::SnapshotDraft draft;
    std::shared_ptr<Snapshot> made;
    for (std::size_t part = 0; !made; ++part) {
        REQUIRE(part < peers.size());  // it ends although the peers never rest
        made = world.agent.extend_snapshot(draft, 5, world.now);
        peers[part].name += "x";
        world.reload(config_of(peers));
        world.run(100ms);
    }
    check_consistent(*made);
    CHECK(made->peers.size() == peers.size());
}

TEST_CASE("hardware is described, and the host's role follows its guests", "[agent]") {
    AgentWorld world({}, {{{.index = 2, .name = "eno1"}}});
    world.run(1s);
    REQUIRE(world.device_lookups.size() == 1);
    const DeviceLookup lookup = world.device_lookups.front();
    CHECK(lookup.name == "eno1");
    world.handle(DeviceDescribed{{lookup.index, "mlx5_core", 25'000, false}, lookup.generation});
    world.handle(HostDescribed{{"kvm", false}});
    Snapshot snapshot = world.snapshot();
    REQUIRE(snapshot.devices.size() == 1);
    CHECK(snapshot.devices.front().driver == "mlx5_core");
    CHECK(snapshot.host.role == HostRole::guest);
    CHECK(snapshot.host.virtualization == "kvm");
    REQUIRE(snapshot.topology != nullptr);
    REQUIRE(snapshot.topology->links.size() == 1);
    CHECK(snapshot.link_counters.size() == 1);
    CHECK_FALSE(snapshot.last_change);

    world.tell(new_link({.index = 9, .name = "vnet0", .kind = "veth"}));
    world.run(100ms);
    snapshot = world.snapshot();
    REQUIRE(snapshot.last_change);
    CHECK(snapshot.last_change->device == "vnet0");
    REQUIRE_FALSE(world.messages().empty());
    CHECK(world.messages().back().find("link vnet0: appeared") == 0);
}

}  // namespace reachd::test
