// What differs from ICMP echo: connects whose end the kernel tells, refusals, answers without a
// number, and the ways of one peer that suspect each other.
#include <catch2/catch.hpp>

#include "tests/probes/engine_world.hpp"

namespace reachd {
namespace {

using namespace reachd::test;

constexpr Duration tick = TimerWheel::tick;

std::uint32_t open_kind(EngineWorld& world,
                        ProbeKind kind,
                        Duration interval = 1s,
                        Duration timeout = 500ms) {
    return world.engine.open({kind, PeerKind::host, interval, timeout}, world.now.mono);
}

std::uint64_t discarded_of(const ProbeEngine& engine, ProbeKind kind, DiscardReason reason) {
    return totals_of(engine)
        .discarded[static_cast<std::size_t>(kind)][static_cast<std::size_t>(reason)];
}

TcpResult established(Duration rtt) {
    return {TcpResult::Kind::established, FailureReason::timeout, rtt, false, 0};
}

const TcpResult refused{TcpResult::Kind::refused, FailureReason::refused, 30us, true, 0};

/// Sends whatever is due and ends it at once with `result`, for `time`.
void run_connects(EngineWorld& world, Duration time, const TcpResult& result) {
    const MonoTime end = world.now.mono + time;
    while (world.engine.next_deadline() <= end) {
        world.advance(std::max(Duration{}, world.engine.next_deadline() - world.now.mono));
        for (const SendOrder& order : world.poll()) {
            world.engine.on_sent(order, world.now);
            world.engine.on_tcp_result(order.token, result, world.now);
        }
    }
    world.advance(end - world.now.mono);
}

TEST_CASE("tcp: the kernel's round trip is the sample, however late we read it") {
    EngineWorld world;
    const auto id = open_kind(world, ProbeKind::tcp);
    const SendOrder order = world.next_order();
    world.engine.on_sent(order, world.now);
    world.advance(5s);  // we stood still
    world.engine.observe(world.now);
    world.engine.on_tcp_result(order.token, established(700us), world.now);
    CHECK(world.counters(id) == ProbeCounters{1, 1, 0, 0, 0, 0});
    CHECK(samples_of(world.engine, id) == 1);
    CHECK(snapshot_of(world.engine, id).rtt_sum == 700us);
    CHECK(world.engine.up(id) == true);
    CHECK(world.engine.take_abandoned().empty());
}

TEST_CASE("tcp: an answer to one of several SYNs is an answer without a round trip") {
    EngineWorld world;
    const auto id = open_kind(world, ProbeKind::tcp, 5s, 3s);
    const SendOrder order = world.next_order();
    world.engine.on_sent(order, world.now);
    world.advance(1s);
    world.engine.on_tcp_result(
        order.token,
        {TcpResult::Kind::established, FailureReason::timeout, std::nullopt, false, 1},
        world.now);
    CHECK(world.counters(id).received == 1);
    CHECK(samples_of(world.engine, id) == 0);
    CHECK(discarded_of(world.engine, ProbeKind::tcp, DiscardReason::ambiguous) == 1);
    CHECK(snapshot_of(world.engine, id).syn_retransmits == 1);
    CHECK(world.engine.up(id) == true);
}

TEST_CASE("tcp: a connect out of time is lost, and nobody waits for it any more") {
    EngineWorld world;
    const auto id = open_kind(world, ProbeKind::tcp, 1s, 500ms);
    const SendOrder order = world.next_order();
    world.engine.on_sent(order, world.now);
    world.advance(500ms + tick);
    static_cast<void>(world.poll());
    CHECK(world.counters(id).lost == 1);
    CHECK(world.engine.take_abandoned() == std::vector<ProbeToken>{order.token});
    CHECK(world.engine.take_abandoned().empty());
    world.engine.on_syn_retransmits(order.token, 2);
    CHECK(snapshot_of(world.engine, id).syn_retransmits == 2);
    world.engine.on_tcp_result(order.token, established(1ms), world.now);
    CHECK(world.counters(id) == ProbeCounters{1, 0, 1, 0, 0, 0});
}

TEST_CASE("tcp: an error ends the connect at once, with its reason") {
    EngineWorld world;
    const auto id = open_kind(world, ProbeKind::tcp);
    const SendOrder order = world.next_order();
    world.engine.on_sent(order, world.now);
    world.advance(1ms);
    world.engine.on_tcp_result(
        order.token, {TcpResult::Kind::lost, FailureReason::prohibited, {}, false, 0}, world.now);
    CHECK(world.counters(id) == ProbeCounters{1, 0, 1, 0, 0, 0});
    CHECK(failures_of(world.engine, id, FailureReason::prohibited) == 1);
    CHECK(world.engine.reach_state(id) == Reachability::suspect);
}

TEST_CASE("tcp: a refused port is down, its peer is reachable") {
    EngineWorld world;
    const auto id = open_kind(world, ProbeKind::tcp);
    run_connects(world, 3s, established(1ms));
    REQUIRE(world.engine.up(id) == true);
    const auto samples = samples_of(world.engine, id);
    run_connects(world, 5s, refused);
    CHECK(world.engine.up(id) == false);
    CHECK(world.engine.reachable(id) == true);
    CHECK(world.engine.reach_state(id) == Reachability::up);
    CHECK(samples_of(world.engine, id) == samples);
    CHECK(world.counters(id).lost == 0);
    CHECK(failures_of(world.engine, id, FailureReason::refused) >= 5);
    SECTION("silence then takes the peer down too, after a burst of its own") {
        world.network = [](const SendOrder&) { return std::nullopt; };
        world.run(3s);
        CHECK(world.engine.reachable(id) == false);
    }
    SECTION("and it comes back with two answers") {
        run_connects(world, 2s, established(1ms));
        CHECK(world.engine.up(id) == true);
    }
}

TEST_CASE("tcp: one refusal is only a suspicion") {
    EngineWorld world;
    const auto id = open_kind(world, ProbeKind::tcp);
    run_connects(world, 3s, established(1ms));
    const SendOrder order = world.next_order();
    world.engine.on_sent(order, world.now);
    world.engine.on_tcp_result(order.token, refused, world.now);
    CHECK(world.engine.state(id) == Reachability::suspect);
    CHECK(world.engine.reach_state(id) == Reachability::up);
    run_connects(world, 2s, established(1ms));
    CHECK(world.engine.state(id) == Reachability::up);
}

TEST_CASE("tcp: connects of a closed session are abandoned") {
    EngineWorld world;
    const auto id = open_kind(world, ProbeKind::tcp);
    const SendOrder order = world.next_order();
    world.engine.on_sent(order, world.now);
    world.engine.close(id);
    CHECK(world.engine.take_abandoned() == std::vector<ProbeToken>{order.token});
    const auto next = open_kind(world, ProbeKind::tcp);
    REQUIRE(next == id);
    world.engine.on_syn_retransmits(order.token, 3);
    world.engine.on_tcp_result(order.token, established(1ms), world.now);
    CHECK(world.counters(next) == ProbeCounters{});
    CHECK(snapshot_of(world.engine, next).syn_retransmits == 0);
}

TEST_CASE("tcp: our own overflow asks no connect again") {
    EngineWorld world;
    const auto id = open_kind(world, ProbeKind::tcp, 10s, 500ms);
    const SendOrder order = world.next_order();
    world.engine.on_sent(order, world.now);
    world.engine.on_receive_overflow(ProbeKind::tcp);
    world.advance(500ms + tick);
    CHECK(world.poll().empty());
    CHECK(world.counters(id).lost == 0);  // its time-out anew, that is all
    world.advance(500ms + tick);
    static_cast<void>(world.poll());
    CHECK(world.counters(id).lost == 1);
}

TEST_CASE("an overflow asks again in the kind whose answers it may have dropped") {
    EngineWorld world;
    const auto id = open_kind(world, ProbeKind::arp, 10s, 500ms);
    const SendOrder order = world.next_order();
    world.engine.on_sent(order, world.now);
    CHECK(world.engine.awaits_answer(id, world.now.mono));
    SECTION("another one") {
        world.engine.on_receive_overflow(ProbeKind::icmp);
        world.advance(500ms + tick);
        static_cast<void>(world.poll());
        CHECK(world.counters(id).lost == 1);
        CHECK(world.engine.awaits_answer(id, world.now.mono));  // late, but once only
        world.engine.on_unnumbered_answer(id, world.now.wall, world.now);
        CHECK(world.counters(id).late == 1);
        CHECK_FALSE(world.engine.awaits_answer(id, world.now.mono));
    }
    SECTION("this one") {
        world.engine.on_receive_overflow(ProbeKind::arp);
        world.advance(500ms + tick);
        const auto orders = world.poll();
        REQUIRE(orders.size() == 1);
        CHECK(orders.front().repeated);
        CHECK(world.counters(id).lost == 0);
    }
}

TEST_CASE("arp: an answer belongs to the request sent last before it") {
    EngineWorld world;
    const auto id = open_kind(world, ProbeKind::arp, 100ms, 500ms);
    SECTION("one is out: a sample") {
        world.send(world.next_order());
        world.advance(300us);
        world.engine.on_unnumbered_answer(id, world.now.wall, world.now);
        CHECK(world.counters(id) == ProbeCounters{1, 1, 0, 0, 0, 0});
        CHECK(samples_of(world.engine, id) == 1);
        world.engine.on_unnumbered_answer(id, world.now.wall, world.now);
        CHECK(world.counters(id).duplicates == 1);
    }
    SECTION("two are out: an answer, and no sample") {
        world.send(world.next_order());
        world.send(world.next_order());
        world.advance(300us);
        world.engine.on_unnumbered_answer(id, world.now.wall, world.now);
        CHECK(world.counters(id) == ProbeCounters{2, 1, 0, 0, 0, 0});
        CHECK(samples_of(world.engine, id) == 0);
        CHECK(discarded_of(world.engine, ProbeKind::arp, DiscardReason::ambiguous) == 1);
        world.run(600ms);
        CHECK(world.counters(id).lost >= 1);
    }
    SECTION("nothing was ever asked") {
        world.engine.on_unnumbered_answer(id, world.now.wall, world.now);
        CHECK(world.counters(id).received == 0);
    }
}

TEST_CASE("arp: an answer to a request that is lost by now is late, and received no more") {
    EngineWorld world;
    const auto id = open_kind(world, ProbeKind::arp, 10s, 500ms);
    world.engine.on_sent(world.next_order(), world.now);
    world.advance(500ms + tick);
    const auto orders = world.poll();  // of the burst: not sent yet
    REQUIRE(world.counters(id).lost == 1);
    world.engine.on_unnumbered_answer(id, world.now.wall, world.now);
    CHECK(world.counters(id).received == 0);
    CHECK(world.counters(id).late == 1);
}

TEST_CASE("arp: an overflow of one port asks its session again, and no other") {
    EngineWorld world;
    const auto a = open_kind(world, ProbeKind::arp, 10s, 500ms);
    const auto b = open_kind(world, ProbeKind::arp, 10s, 500ms);
    std::map<std::uint32_t, ProbeToken> tokens;
    while (tokens.size() < 2) {
        for (const SendOrder& order : world.next_orders()) {
            if (!order.in_burst) {
                tokens[order.token.session] = order.token;
            }
            world.engine.on_sent(order, world.now);
        }
        // The second one comes much later: answer what is out by then.
        if (tokens.size() < 2) {
            world.engine.on_unnumbered_answer(tokens.begin()->first, std::nullopt, world.now);
        }
    }
    const auto other = tokens.contains(a) && world.counters(a).received > 0 ? b : a;
    world.engine.on_receive_overflow_of(other);
    world.advance(500ms + tick);
    const auto orders = world.poll();
    REQUIRE(orders.size() == 1);
    CHECK(orders[0].repeated);
    CHECK(orders[0].token == tokens[other]);
    CHECK(world.counters(other).lost == 0);
}

TEST_CASE("suspect: a sibling is asked at once, and clears itself without being told of") {
    EngineWorld world;
    world.network = [](const SendOrder&) { return std::optional<Duration>(1ms); };
    const auto id = world.open(10s, 1s);
    world.run(21s);
    REQUIRE(world.engine.up(id) == true);
    static_cast<void>(world.engine.take_changed());
    const auto sent = world.counters(id).sent;
    world.engine.suspect(id, world.now.mono);
    CHECK(world.engine.take_changed().empty());
    CHECK(world.engine.state(id) == Reachability::suspect);
    world.run(1s);
    CHECK(world.engine.state(id) == Reachability::up);
    CHECK(world.counters(id).sent > sent);
    SECTION("or is down as soon as the one that suspected it") {
        world.network = [](const SendOrder&) { return std::nullopt; };
        world.engine.suspect(id, world.now.mono);
        world.run(1s);
        CHECK(world.engine.up(id) == false);
    }
}

}  // namespace
}  // namespace reachd
