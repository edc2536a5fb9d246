// What comes back from the network: replies and errors that are ours, those that are not, verdicts.
#include <catch2/catch.hpp>

#include "agent/agent.hpp"
#include "tests/agent/agent_fixture.hpp"

namespace reachd::test {
namespace {

using Texts = std::vector<std::string>;

Config one_peer() {
    return config_of({peer_config("a", "10.0.0.1")});
}

/// One probe is out and unanswered.
struct Waiting {
    explicit Waiting(Config config = one_peer(),
                     const std::string& destination = "10.0.0.1",
                     KernelTables tables = {})
        : world(std::move(config), std::move(tables)) {
        world.silence();
        world.run(100ms);
        request = world.last_request(destination);
        REQUIRE(world.counters("a").sent == 1);
    }

    AgentWorld world;
    EchoRequest request;
};

/// A router that quotes the IP header and 8 bytes, as RFC 792 allows.
EchoFailed short_quote(EchoFailed event) {
    event.error.cookie.reset();
    return event;
}

}  // namespace

// ---- Replies
// -------------------------------------------------------------------------------------

TEST_CASE("requests carry identifiers of the socket and cookies of their own", "[agent]") {
    std::vector<PeerConfig> peers;
    for (int i = 1; i <= 40; ++i) {
        peers.push_back(peer_config("p" + std::to_string(i), "10.0.0." + std::to_string(i)));
    }
    AgentWorld world(config_of(peers));
    world.run(3s);
    std::set<std::uint64_t> tags;
    std::set<std::uint16_t> identifiers;
    for (const EchoRequest& request : world.requests) {
        CHECK(AgentWorld::identifiers.contains(request.identifier));
        identifiers.insert(request.identifier);
        CHECK(tags.insert(request.cookie.tag).second);
        CHECK(request.cookie.token == request.order.token);
    }
    CHECK(identifiers.size() == AgentWorld::identifiers.count);
}

TEST_CASE("a reply counts once, and then as a duplicate", "[agent]") {
    Waiting test;
    const EchoReplied reply = AgentWorld::reply_to(test.request);
    test.world.handle(reply);
    CHECK((test.world.counters("a") == ProbeCounters{1, 1, 0, 0, 0, 0}));
    CHECK(test.world.row("a").peer.up == true);
    test.world.handle(reply);
    CHECK((test.world.counters("a") == ProbeCounters{1, 1, 0, 0, 1, 0}));
}

TEST_CASE("a reply whose header is at odds with its cookie is foreign", "[agent]") {
    Waiting test;
    EchoReplied reply = AgentWorld::reply_to(test.request);
    SECTION("identifier of another of our sessions") {
        reply.reply.identifier ^= 1;
    }
    SECTION("identifier of another program") {
        reply.reply.identifier = 7;
    }
    SECTION("sequence") {
        ++reply.reply.sequence;
    }
    test.world.handle(reply);
    CHECK(test.world.counters("a").received == 0);
    CHECK(test.world.ignored("foreign") == 1);
}

TEST_CASE("a reply from elsewhere is no reply", "[agent]") {
    Waiting test;
    EchoReplied reply = AgentWorld::reply_to(test.request);
    for (const auto* const from : {"10.0.0.2", "::1", "::ffff:10.0.0.1"}) {
        reply.from = address(from);
        test.world.handle(reply);
    }
    CHECK(test.world.counters("a").received == 0);
    CHECK_FALSE(test.world.row("a").peer.up.has_value());
    CHECK(test.world.ignored("wrong_source") == 3);
    CHECK(test.world.ignored("foreign") == 0);
}

TEST_CASE("a reply from the same address on another link is no reply", "[agent]") {
    Waiting test(config_of({peer_config("a", "fe80::1%eth0")}),
                 "fe80::1",
                 {{{.index = 2, .name = "eth0"}, {.index = 3, .name = "eth1"}}, {}});
    EchoReplied reply = AgentWorld::reply_to(test.request);
    reply.from.set_scope(IfIndex{3});
    test.world.handle(reply);
    CHECK(test.world.ignored("wrong_source") == 1);
    reply.from.set_scope(IfIndex{2});
    test.world.handle(reply);
    CHECK(test.world.counters("a").received == 1);
}

TEST_CASE("a forged cookie is foreign", "[agent]") {
    Waiting test;
    const EchoReplied good = AgentWorld::reply_to(test.request);
    EchoReplied forged = good;
    SECTION("another tag") {
        forged.reply.cookie.tag ^= 1;
    }
    SECTION("another sequence number") {
        ++forged.reply.cookie.token.sequence;
    }
    SECTION("a session that never was") {
        forged.reply.cookie.token.session = 1;
    }
    SECTION("a session beyond all") {
        forged.reply.cookie.token.session = 0xffffffffU;
    }
    SECTION("nothing but zeros") {
        forged.reply.cookie = {};
    }
    SECTION("of another run, with another key") {
        Agent other(one_peer(), "h", AgentSeed{1, {0x9999, 0x4567}}, test.world.now);
        other.handle(EchoSocketOpened{Family::ipv4, AgentWorld::identifiers}, test.world.now);
        Actions actions;
        Instant then = test.world.now;
        then.mono += 10ms;
        other.poll(then, actions);
        REQUIRE(actions.echo_requests[0].size() == 1);
        forged.reply.cookie = actions.echo_requests[0][0].cookie;
        CHECK(forged.reply.cookie.token == good.reply.cookie.token);
    }
    test.world.handle(forged);
    test.world.handle(TransmitStamped{forged.reply.cookie, WallTime(1s)});
    CHECK(test.world.ignored("foreign") == 1);
    CHECK(test.world.counters("a").received == 0);
    test.world.handle(good);
    CHECK(test.world.counters("a").received == 1);
}

TEST_CASE("a reply to a session that was closed, or began anew, is foreign", "[agent]") {
    Waiting test;
    const EchoReplied reply = AgentWorld::reply_to(test.request);
    SECTION("closed") {
        test.world.reload({});
    }
    SECTION("its place taken by another peer") {
        test.world.reload({});
        test.world.reload(config_of({peer_config("b", "10.0.0.1")}));
    }
    SECTION("from another source") {
        Config config = one_peer();
        config.peers[0].source = address("10.0.0.99");
        test.world.reload(config);
    }
    test.world.handle(reply);
    CHECK(test.world.ignored("foreign") == 1);
    for (const PeerRow& row : test.world.rows()) {
        CHECK(row.probe->counters.received == 0);
    }
}

TEST_CASE("damaged packets are counted by what is wrong with them", "[agent]") {
    AgentWorld world;
    world.handle(PacketRejected{PacketFlaw::malformed});
    world.handle(PacketRejected{PacketFlaw::bad_checksum});
    world.handle(PacketRejected{PacketFlaw::bad_checksum});
    world.handle(PacketRejected{PacketFlaw::foreign});
    CHECK(world.ignored("malformed") == 1);
    CHECK(world.ignored("bad_checksum") == 2);
    CHECK(world.ignored("foreign") == 1);
    CHECK(world.ignored("wrong_source") == 0);
}

TEST_CASE("probes the kernel refuses are failures, not losses", "[agent]") {
    AgentWorld world(one_peer());
    world.send_fails = FailureReason::no_route;
    world.run(3s);
    const PeerRow row = world.row("a");
    CHECK(row.probe->counters == ProbeCounters{});
    CHECK(row.failed(FailureReason::no_route) >= 3);
    CHECK(row.failures.size() == 1);
    CHECK(world.snapshot().every_peer_asked);
}

TEST_CASE("a full send buffer is a skip, and nobody's fault", "[agent]") {
    Agent agent(one_peer(), "h", AgentSeed{1, {1, 2}}, Instant{MonoTime(1s), WallTime(1s)});
    Instant now{MonoTime(1s), WallTime(1s)};
    agent.handle(EchoSocketOpened{Family::ipv4, AgentWorld::identifiers}, now);
    now.mono += 20ms;
    now.wall += 20ms;
    agent.observe(now);
    Actions actions;
    agent.poll(now, actions);
    REQUIRE(actions.echo_requests[0].size() == 1);
    agent.handle(ProbeSkipped{actions.echo_requests[0][0].order}, now);
    const Snapshot snapshot = agent.snapshot(now);
    check_consistent(snapshot);
    CHECK(snapshot.skipped[static_cast<std::size_t>(SkipReason::busy)] == 1);
    CHECK(snapshot.failures.empty());
    CHECK_FALSE(snapshot.every_peer_asked);
    CHECK(snapshot.peers[0].state == Reachability::unknown);
}

// ---- ICMP errors
// ---------------------------------------------------------------------------------

TEST_CASE("an ICMP error with the cookie explains the loss", "[agent]") {
    Waiting test;
    test.world.handle(
        AgentWorld::error_about(test.request, FailureReason::prohibited, "192.0.2.1"));
    CHECK(test.world.counters("a").lost == 0);  // it ends no probe
    test.world.run(1s);
    const PeerRow row = test.world.row("a");
    CHECK(row.probe->counters.lost == 1);
    CHECK(row.failed(FailureReason::prohibited) == 1);
    CHECK(row.failures.size() == 1);
    CHECK(test.world.ignored("foreign") == 0);
}

TEST_CASE("an ICMP error with the shortest legal quote is honoured", "[agent]") {
    Waiting test;
    test.world.handle(short_quote(
        AgentWorld::error_about(test.request, FailureReason::net_unreachable, "192.0.2.1")));
    CHECK(test.world.ignored("foreign") == 0);
    test.world.run(1s);
    CHECK(test.world.row("a").failed(FailureReason::net_unreachable) == 1);
}

TEST_CASE("a short quote must match in everything it says", "[agent]") {
    Waiting test;
    EchoFailed event =
        short_quote(AgentWorld::error_about(test.request, FailureReason::prohibited, "192.0.2.1"));
    SECTION("destination") {
        event.error.destination = address("10.0.0.2");
    }
    SECTION("family") {
        event.error.destination = address("::a00:1");
    }
    SECTION("identifier of another of our sessions") {
        event.error.identifier ^= 1;
    }
    SECTION("identifier of another program") {
        event.error.identifier = 7;
    }
    SECTION("sequence to come") {
        ++event.error.sequence;
    }
    SECTION("sequence of long ago") {
        event.error.sequence = static_cast<std::uint16_t>(event.error.sequence - 5000);
    }
    test.world.handle(event);
    CHECK(test.world.ignored("foreign") == 1);
    test.world.run(1s);
    CHECK(test.world.row("a").failed(FailureReason::timeout) == 1);
    CHECK(test.world.row("a").failures.size() == 1);
}

TEST_CASE("an error with a cookie must match in destination and cookie", "[agent]") {
    Waiting test;
    EchoFailed event =
        AgentWorld::error_about(test.request, FailureReason::prohibited, "192.0.2.1");
    SECTION("destination") {
        event.error.destination = address("10.0.0.2");
    }
    SECTION("family") {
        event.error.destination = address("::a00:1");
    }
    SECTION("tag, though the header fits") {
        event.error.cookie->tag ^= 1;
    }
    SECTION("session") {
        event.error.cookie->token.session = 77;
    }
    test.world.handle(event);
    CHECK(test.world.ignored("foreign") == 1);
    test.world.run(1s);
    CHECK(test.world.row("a").failed(FailureReason::timeout) == 1);
}

TEST_CASE("a short quote finds its session among many to one destination", "[agent]") {
    std::vector<PeerConfig> peers;
    KernelTables tables;
    for (int i = 0; i < 8; ++i) {
        const std::string device = "eth" + std::to_string(i);
        tables.links.push_back({.index = i + 1, .name = device});
        peers.push_back(peer_config("p" + std::to_string(i), "10.0.0.1"));
        peers.back().device = device;
    }
    AgentWorld world(config_of(peers), tables);
    world.silence();
    world.run(990ms);
    for (const EchoRequest& request : std::vector<EchoRequest>(world.requests)) {
        if (request.target.device == IfIndex{4}) {
            world.handle(short_quote(
                AgentWorld::error_about(request, FailureReason::prohibited, "192.0.2.1")));
        }
    }
    world.run(1s);
    for (const PeerRow& row : world.rows()) {
        const bool told = row.peer.identity->name() == "p3";
        CHECK((row.failed(FailureReason::prohibited) > 0) == told);
        CHECK((row.failed(FailureReason::timeout) == 0) == told);
    }
}

TEST_CASE("a short quote follows a peer whose address changed", "[agent]") {
    AgentWorld world(config_of({peer_config("a", "a.example.net")}));
    world.silence();
    world.look_up("a.example.net", std::vector<IpAddress>{address("10.0.0.5")});
    world.run(1200ms);
    const EchoFailed old = short_quote(AgentWorld::error_about(
        world.last_request("10.0.0.5"), FailureReason::prohibited, "192.0.2.1"));
    world.handle(old);
    CHECK(world.ignored("foreign") == 0);

    world.names["a.example.net"] = std::vector<IpAddress>{address("10.0.0.6")};
    world.run(40s);
    world.handle(old);
    CHECK(world.ignored("foreign") == 1);
    world.handle(short_quote(AgentWorld::error_about(
        world.last_request("10.0.0.6"), FailureReason::ttl_exceeded, "192.0.2.1")));
    CHECK(world.ignored("foreign") == 1);
    world.run(2s);
    CHECK(world.row("a").failed(FailureReason::ttl_exceeded) > 0);
    CHECK(world.row("a").failed(FailureReason::prohibited) == 0);
}

TEST_CASE("host unreachable from ourselves means that the neighbour is silent", "[agent]") {
    Waiting test;
    EchoFailed event =
        AgentWorld::error_about(test.request, FailureReason::host_unreachable, "10.0.0.99");
    REQUIRE(event.error.source == event.reporter);
    SECTION("with the cookie") {}
    SECTION("without") {
        event = short_quote(event);
    }
    test.world.handle(event);
    test.world.run(1s);
    CHECK(test.world.row("a").failed(FailureReason::neighbour_failed) == 1);
    CHECK(test.world.row("a").failures.size() == 1);
}

TEST_CASE("host unreachable from a router is that, and other words of ours stay", "[agent]") {
    Waiting test;
    auto reason = FailureReason::host_unreachable;
    SECTION("a router") {
        test.world.handle(AgentWorld::error_about(test.request, reason, "192.0.2.1"));
    }
    SECTION("our own firewall") {
        reason = FailureReason::prohibited;
        test.world.handle(AgentWorld::error_about(test.request, reason, "10.0.0.99"));
    }
    test.world.run(1s);
    CHECK(test.world.row("a").failed(reason) == 1);
    CHECK(test.world.row("a").failures.size() == 1);
}

TEST_CASE("errors about link-local destinations are matched by their link", "[agent]") {
    Waiting test(config_of({peer_config("a", "fe80::1%eth0")}),
                 "fe80::1",
                 {{{.index = 2, .name = "eth0"}, {.index = 3, .name = "eth1"}}, {}});
    EchoFailed event =
        AgentWorld::error_about(test.request, FailureReason::host_unreachable, "fe80::99");
    event.error.source = address("fe80::99");
    event.reporter.set_scope(IfIndex{2});
    SECTION("with the cookie") {}
    SECTION("with a short quote") {
        event = short_quote(event);
    }
    SECTION("with a short quote, from another link") {
        event = short_quote(event);
        event.reporter.set_scope(IfIndex{3});
        test.world.handle(event);
        CHECK(test.world.ignored("foreign") == 1);
        return;
    }
    test.world.handle(event);
    CHECK(test.world.ignored("foreign") == 0);
    test.world.run(1s);
    CHECK(test.world.row("a").failed(FailureReason::neighbour_failed) == 1);
}

TEST_CASE("a short quote follows a link-local peer to its device's new index", "[agent]") {
    AgentWorld world(config_of({peer_config("a", "fe80::1%eth0")}),
                     {{{.index = 2, .name = "eth0"}}, {}});
    world.silence();
    for (const int index : {2, 5}) {
        world.tell(new_link({.index = 2, .name = index == 2 ? "eth0" : "old"}));
        world.tell(new_link({.index = index, .name = "eth0"}));
        world.run(1500ms);
        EchoFailed event = short_quote(AgentWorld::error_about(
            world.last_request("fe80::1"), FailureReason::prohibited, "fe80::99"));
        event.reporter.set_scope(IfIndex{static_cast<std::uint32_t>(index)});
        world.handle(event);
        CHECK(world.ignored("foreign") == 0);
    }
}

TEST_CASE("errors that reach an agent without peers or sockets do no harm", "[agent]") {
    AgentWorld world({}, {}, {});
    EchoFailed event;
    event.reporter = address("192.0.2.1");
    event.error.reason = FailureReason::prohibited;
    world.handle(event);  // destination 0.0.0.0
    event.error.destination = address("10.0.0.1");
    world.handle(event);
    event.error.cookie = ProbeCookie{};
    world.handle(event);
    CHECK(world.ignored("foreign") == 3);
}

TEST_CASE("an unresolved peer is not what an error about 0.0.0.0 means", "[agent]") {
    AgentWorld world(config_of({peer_config("a", "a.example.net")}));
    world.run(2s);
    EchoFailed event;
    event.error.reason = FailureReason::prohibited;
    for (std::uint32_t sequence = 0; sequence < 0x10000; sequence += 100) {
        event.error.identifier = AgentWorld::identifiers.first;
        event.error.sequence = static_cast<std::uint16_t>(sequence);
        world.agent.handle(event, world.now);
    }
    CHECK(world.row("a").failures.size() == 1);  // unresolved
    CHECK(world.ignored("foreign") == 656);
}

// ---- Verdicts
// ------------------------------------------------------------------------------------

TEST_CASE("down and up again are told once each, with their fields", "[agent]") {
    PeerConfig peer = peer_config("db1", "10.0.0.1");
    peer.device = "br0";
    AgentWorld world(config_of({peer}), {{{.index = 2, .name = "br0"}}, {}});
    world.run(3500ms);
    CHECK(world.logs.empty());

    world.silence();
    world.run(10s);
    REQUIRE(world.logs.size() == 1);
    const LogRecord down = world.logs[0];
    CHECK(down.message == "peer db1 (10.0.0.1) is down: timeout");
    CHECK(down.level == LogLevel::warning);
    CHECK(down.message_id.size() == 32);
    REQUIRE(down.fields.size() == 3);
    CHECK(down.fields[0] == std::pair(std::string_view("REACHD_PEER"), std::string("db1")));
    CHECK(down.fields[1] == std::pair(std::string_view("REACHD_ADDRESS"), std::string("10.0.0.1")));
    CHECK(down.fields[2] == std::pair(std::string_view("REACHD_DEVICE"), std::string("br0")));
    PeerRow row = world.row("db1");
    CHECK(row.peer.up == false);
    CHECK(row.peer.state == Reachability::down);
    CHECK(row.peer.state_changes == 1);
    const WallTime went_down = row.peer.last_change;
    CHECK(world.agent.status_line() == "1 peers: 0 up, 1 down, 0 unknown");

    world.everybody_answers();
    world.run(10s);
    REQUIRE(world.logs.size() == 2);
    CHECK(world.logs[1].message == "peer db1 (10.0.0.1) is up again");
    CHECK(world.logs[1].level == LogLevel::notice);
    CHECK(world.logs[1].message_id.size() == 32);
    CHECK(world.logs[1].message_id != down.message_id);
    row = world.row("db1");
    CHECK(row.peer.up == true);
    CHECK(row.peer.state_changes == 2);
    CHECK(row.peer.last_change > went_down);
    CHECK(world.agent.verdicts() == 3);
}

TEST_CASE("times from loss and return to the verdict are those promised", "[agent]") {
    AgentWorld world(one_peer());
    world.run(3500ms);
    const MonoTime last_answered = world.requests.back().order.due;
    world.silence();
    world.run(1s);  // the next probe is out by now
    const Duration first_lost_at = last_answered + 1s + 1s - world.now.mono;  // sent + time-out
    world.run(first_lost_at + 850ms);
    CHECK(world.row("a").peer.up == true);
    CHECK(world.row("a").peer.state == Reachability::suspect);
    world.run(150ms);
    CHECK(world.row("a").peer.up == false);

    world.everybody_answers();
    const auto asked = world.requests.size();
    while (world.requests.size() == asked) {
        world.run(10ms);
    }
    world.run(1s);
    CHECK(world.row("a").peer.up == true);
}

TEST_CASE("one lost probe is a suspicion, not news", "[agent]") {
    AgentWorld world(one_peer());
    world.run(3500ms);
    std::uint32_t lose = 1;
    world.behaviour = [&lose](const EchoRequest&) {
        return lose-- > 0 ? std::nullopt : std::optional<Duration>(1ms);
    };
    world.run(900ms);
    world.everybody_answers();
    world.run(5s);
    const PeerRow row = world.row("a");
    CHECK(row.probe->counters.lost == 1);
    CHECK(row.peer.up == true);
    CHECK(row.peer.state == Reachability::up);
    CHECK(row.peer.state_changes == 0);
    CHECK(world.logs.empty());
    CHECK(world.agent.verdicts() == 1);
}

TEST_CASE("a first verdict of down is told, with the reason", "[agent]") {
    AgentWorld world(config_of({peer_config("10.0.0.1", "10.0.0.1")}));
    world.silence();
    world.run(500ms);
    world.handle(AgentWorld::error_about(
        world.last_request("10.0.0.1"), FailureReason::host_unreachable, "10.0.0.99"));
    world.run(4s);
    CHECK(world.messages() == Texts{"peer 10.0.0.1 is down: neighbour_failed"});
    CHECK(world.row("10.0.0.1").peer.state_changes == 0);  // nothing was there to change
}

// ---- Snapshot
// ------------------------------------------------------------------------------------

TEST_CASE("failures and buckets belong to the right peer, with gaps between", "[agent]") {
    std::vector<PeerConfig> peers;
    for (int i = 0; i < 12; ++i) {
        peers.push_back(peer_config("p" + std::to_string(i), "10.0.0." + std::to_string(i + 1)));
    }
    peers[0].icmp.enabled = false;
    peers[5].icmp.enabled = false;
    AgentWorld world(config_of(peers));
    // p3 is silent, p7 is slow, the others answer.
    world.behaviour = [](const EchoRequest& request) -> std::optional<Duration> {
        const std::string where = request.target.destination.to_string();
        return where == "10.0.0.4" ? std::nullopt
                                   : std::optional<Duration>(where == "10.0.0.8" ? 700ms : 30us);
    };
    world.run(2s);
    peers.erase(peers.begin() + 1, peers.begin() + 3);  // p1 and p2 go, their places stay
    world.reload(config_of(peers));
    world.run(6500ms);

    const Snapshot snapshot = world.snapshot();
    CHECK(snapshot.peers.size() == 10);
    CHECK(snapshot.probes.size() == 8);
    const std::size_t columns = snapshot.rtt_edges->size() + 1;
    for (std::size_t i = 0; i < snapshot.probes.size(); ++i) {
        const ProbeSnapshot& probe = snapshot.probes[i];
        const std::string& name = snapshot.peers[probe.peer].identity->name();
        const std::uint64_t* const row = &snapshot.rtt_buckets[i * columns];
        const bool silent = name == "p3";
        const bool slow = name == "p7";
        CHECK((probe.counters.lost > 0) == silent);
        CHECK(row[0] == (silent || slow ? 0 : probe.counters.received));  // to 50 us
        CHECK(row[9] == (slow ? probe.counters.received : 0));            // 100 ms to 1 s
    }
    for (const FailureCount& failure : snapshot.failures) {
        CHECK(snapshot.peers[snapshot.probes[failure.probe].peer].identity->name() == "p3");
    }
    CHECK_FALSE(snapshot.failures.empty());
}

TEST_CASE("our own overflow asks again instead of losing", "[agent]") {
    Waiting test;
    test.world.handle(ReceiveOverflowed{});
    test.world.everybody_answers();
    test.world.run(3s);
    CHECK(test.world.counters("a").lost == 0);
    CHECK(test.world.counters("a").received >= 3);
}

TEST_CASE("a loop that stood still loses nothing and judges nobody", "[agent]") {
    AgentWorld world(one_peer());
    world.run(3100ms);
    world.silence();  // what is out now is answered while we stand still
    world.run(950ms);
    const auto before = world.counters("a");
    const EchoRequest out = world.requests.back();
    world.now.mono += 5s;
    world.now.wall += 5s;
    world.agent.observe(world.now);
    world.agent.handle(AgentWorld::reply_to(out), world.now);
    world.everybody_answers();
    world.turn();
    world.run(3s);
    CHECK(world.counters("a").lost == 0);
    CHECK(world.counters("a").received > before.received);
    CHECK(world.row("a").peer.up == true);
    CHECK(world.row("a").peer.state_changes == 0);
    CHECK(world.logs.empty());
}

}  // namespace reachd::test
