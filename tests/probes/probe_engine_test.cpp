// The engine in good and bad weather: schedule, accounting, samples. Verdicts and our own trouble
// have files of their own: probe_engine_verdict_test, probe_engine_trouble_test.
#include "probes/probe_engine.hpp"

#include <algorithm>
#include <set>

#include <catch2/catch.hpp>

#include "tests/probes/engine_world.hpp"

using namespace reachd;
using namespace reachd::test;

namespace {

/// A seed whose first number ends in `low`: the engine begins its first session there.
/// SplitMix64 is a bijection, run backwards here.
std::uint64_t seed_for(std::uint32_t low) {
    const auto unshift = [](std::uint64_t value, unsigned shift) {
        std::uint64_t result = value;
        for (unsigned done = shift; done < 64; done += shift) {
            result = value ^ (result >> shift);
        }
        return result;
    };
    const auto inverse = [](std::uint64_t odd) {
        std::uint64_t x = odd;
        for (int i = 0; i < 6; ++i) {
            x *= 2 - odd * x;
        }
        return x;
    };
    std::uint64_t z = unshift(low, 31) * inverse(0x94d049bb133111ebU);
    z = unshift(z, 27) * inverse(0xbf58476d1ce4e5b9U);
    return unshift(z, 30) - 0x9e3779b97f4a7c15U;
}

/// A session whose second probe is out; RTT, jitter and the rest are the caller's.
struct OneSession : EngineWorld {
    std::uint32_t id = open();

    void exchange(Duration rtt) {
        const SendOrder order = next_order();
        send(order, 0us);
        advance(rtt);
        answer(order.token);
    }

    ProbeSnapshot look() { return snapshot_of(engine, id); }
};

}  // namespace

// ---- Schedule
// ------------------------------------------------------------------------------------

TEST_CASE("engine: without sessions there is nothing to wait for") {
    EngineWorld world;
    CHECK(world.engine.next_deadline() == mono_never);
    CHECK(world.poll().empty());
    const auto id = world.open();
    CHECK(world.engine.next_deadline() != mono_never);
    world.engine.close(id);
    CHECK(world.engine.next_deadline() == mono_never);
}

TEST_CASE("engine: one probe an interval, the first within the first one") {
    const Duration interval = GENERATE(Duration{10ms}, Duration{25ms}, Duration{1s}, Duration{1h});
    CAPTURE(interval.count());
    EngineWorld world;
    const MonoTime begin = world.now.mono;
    // The second session has a phase other than zero.
    world.open(1h, 1s);
    const auto id = world.open(interval, std::min<Duration>(interval, 1s));
    world.run(interval * 100);
    std::vector<MonoTime> times;
    for (const SentProbe& probe : world.sent) {
        if (probe.order.token.session == id) {
            times.push_back(probe.at);
            CHECK_FALSE(probe.order.in_burst);
            CHECK(probe.at >= probe.order.due);
            CHECK(probe.at - probe.order.due <= TimerWheel::tick);
        }
    }
    CHECK(times.size() >= 99);
    CHECK(times.size() <= 101);
    CHECK(times.front() - begin <= interval + TimerWheel::tick);
    CHECK(world.counters(id).sent == times.size());
}

TEST_CASE("engine: the shortest interval keeps its rate when the loop is a little late") {
    // Wherever the session's phase falls between two ticks of the wheel.
    const Duration phase =
        GENERATE(Duration{0ms}, Duration{100us}, Duration{200us}, Duration{5ms}, Duration{9999us});
    CAPTURE(phase.count());
    EngineWorld world;
    world.advance(phase);
    const auto id = world.open(10ms, 10ms);
    world.loop_lag = 300us;
    world.run(10s);
    CHECK(world.counters(id).sent >= 999);
    CHECK(skipped(world.engine, SkipReason::throttle) == 0);
    // Due times are ticks of the wheel: a probe is as late as the loop, wherever the phase falls.
    // (At phase 0 the first due time is the tick the wheel begins with, which is gone already.)
    const Duration late_max = world.loop_lag + (phase == 0ms ? TimerWheel::tick : Duration{});
    for (const SentProbe& probe : world.sent) {
        REQUIRE(probe.at - probe.order.due <= late_max);
    }
}

TEST_CASE("engine: 10,000 sessions make a flat rate, opened at once or over time") {
    const bool at_once = GENERATE(true, false);
    EngineWorld world;
    world.network = [](const SendOrder&) { return std::nullopt; };
    for (int i = 0; i < 10000; ++i) {
        world.open(1s, 10ms);
        if (!at_once) {
            world.advance(37us);
        }
    }
    std::map<Duration::rep, int> per_tick;
    const MonoTime begin = world.now.mono;
    const MonoTime end = begin + 3s;
    while (world.engine.next_deadline() <= end) {
        for (const SendOrder& order : world.next_orders()) {
            if (!order.in_burst) {
                ++per_tick[(world.now.mono - begin) / TimerWheel::tick];
            }
            world.engine.on_not_sent(order, FailureReason::unresolved, world.now);
        }
    }
    int ticks = 0;
    for (const auto& [tick, count] : per_tick) {
        if (tick > 110 && tick < 290) {
            CAPTURE(tick);
            CHECK(count >= 90);
            CHECK(count <= 110);
            ++ticks;
        }
    }
    CHECK(ticks >= 175);
}

TEST_CASE(
    "engine: a peer that was found is asked at once, a crowd of them spread over an interval") {
    EngineWorld world;
    const auto open = [&](PeerKind kind) {
        return world.engine.open({ProbeKind::arp, kind, 10s, 1s}, world.now.mono);
    };
    for (int i = 0; i < 200; ++i) {
        world.open(10s, 1s);  // configured ones do not hold it up
    }
    const MonoTime opened = world.now.mono;
    const std::array<std::uint32_t, 2> found{open(PeerKind::guest), open(PeerKind::gateway)};
    world.run(100ms);
    CHECK(world.counters(found[0]).sent == 1);
    CHECK(world.counters(found[1]).sent == 1);
    SECTION("one more, later, too") {
        world.run(5s);
        const auto next = open(PeerKind::guest);
        world.run(30ms);
        CHECK(world.counters(next).sent == 1);
    }
    SECTION("a thousand at once make no peak") {
        world.sent.clear();
        for (int i = 0; i < 1000; ++i) {
            open(PeerKind::guest);
        }
        const MonoTime from = world.now.mono;
        world.run_until(opened + 30s);
        std::map<std::int64_t, int> by_second;
        for (const SentProbe& probe : world.sent) {
            ++by_second[(probe.at - from) / 1s];
        }
        for (std::int64_t second = 0; second < 29; ++second) {
            CAPTURE(second);
            CHECK(by_second[second] > 90);
            CHECK(by_second[second] < 150);
        }
    }
}

TEST_CASE("engine: sequence numbers wrap at 2^32 with nothing lost or counted twice") {
    EngineWorld world(seed_for(0xfffffff0U));
    const auto id = world.open(100ms, 250ms);  // three in flight
    world.network = [](const SendOrder& order) {
        // Every fifth is overtaken by the next one.
        return std::optional<Duration>(order.token.sequence % 5 == 0 ? 230ms : 120ms);
    };
    world.run(10s);
    world.network = [](const SendOrder&) { return std::nullopt; };
    CHECK(world.sent.front().order.token.sequence == 0xfffffff0U);
    CHECK(world.sent.back().order.token.sequence < 200);
    const auto counters = world.counters(id);
    CHECK(counters.sent >= 100);
    CHECK(counters.lost == 0);
    CHECK(counters.late == 0);
    CHECK(counters.duplicates == 0);
    CHECK(counters.reordered >= 19);
    CHECK(counters.reordered <= 21);
    CHECK(world.engine.state(id) == Reachability::up);
}

TEST_CASE("engine: a sequence number is known by its low 16 bits while it can matter") {
    EngineWorld world(seed_for(0x0000fffeU));
    const auto id = world.open();
    CHECK_FALSE(world.engine.knows_sequence(id, 0xfffe));  // nothing asked yet
    for (int i = 0; i < 4; ++i) {
        world.send(world.next_order());
    }
    CHECK(world.engine.knows_sequence(id, 0xfffe));
    CHECK(world.engine.knows_sequence(id, 0xffff));
    CHECK(world.engine.knows_sequence(id, 0x0000));
    CHECK(world.engine.knows_sequence(id, 0x0001));
    CHECK_FALSE(world.engine.knows_sequence(id, 0x0002));  // the next one
    CHECK_FALSE(world.engine.knows_sequence(id, 0x8000));
}

TEST_CASE("engine: at most 256 probes of a session are in flight, the rest is skipped as busy") {
    EngineWorld world;
    world.network = [](const SendOrder&) { return std::nullopt; };
    const auto id = world.open(10ms, 60s);
    world.run(10s);
    CHECK(world.in_flight(id) == ProbeEngine::in_flight_per_session_max);
    CHECK(skipped(world.engine, SkipReason::busy) >= 740);
    CHECK(world.counters(id).lost == 0);
    // Room again: it goes on.
    for (const SentProbe& probe : world.sent) {
        world.answer(probe.order.token);
    }
    CHECK(world.in_flight(id) == 0);
    const auto before = world.counters(id).sent;
    world.run(1s);
    CHECK(world.counters(id).sent >= before + 99);
}

TEST_CASE("engine: a session closed with probes in flight leaves nothing behind") {
    EngineWorld world;
    world.network = [](const SendOrder&) { return std::nullopt; };
    const auto id = world.open(10ms, 1s);
    const auto other = world.open(10ms, 1s);
    world.run(500ms);
    REQUIRE(world.in_flight(id) > 40);
    const auto generation = world.engine.generation(id);
    world.engine.close(id);
    CHECK_FALSE(world.engine.is_open(id));

    const auto again = world.open(1s, 500ms);
    CHECK(again == id);  // the place is used again, told apart by its generation
    CHECK(world.engine.generation(again) != generation);
    CHECK(world.counters(again) == ProbeCounters{});
    CHECK(world.engine.state(again) == Reachability::unknown);
    CHECK(world.engine.up(again) == std::nullopt);
    CHECK_FALSE(world.engine.asked(again));
    CHECK(samples_of(world.engine, again) == 0);
    CHECK(world.engine.options(again).interval == 1s);
    world.network = [](const SendOrder&) { return std::optional<Duration>(1ms); };
    world.run(5s);
    CHECK(world.counters(again).lost == 0);  // the old probes' time-outs are not its own
    CHECK(world.counters(again).received >= 4);
    CHECK(world.counters(other).lost >= 45);
}

TEST_CASE("engine: new edges count from zero") {
    EngineWorld world;
    const auto id = world.open();
    world.run(3s);
    CHECK(samples_of(world.engine, id) == 3);
    world.engine.close(id);
    world.engine.set_rtt_edges({0.5});
    const auto again = world.open();
    Snapshot snapshot;
    snapshot_of(world.engine, again, &snapshot);
    CHECK(snapshot.rtt_buckets == std::vector<std::uint64_t>{0, 0});
    CHECK(*totals_of(world.engine).rtt_edges == std::vector<double>{0.5});
}

// ---- Accounting
// ----------------------------------------------------------------------------------

TEST_CASE("engine: an answer in time is received, one too late is lost and late") {
    OneSession world;
    const auto first = world.next_order();
    world.send(first);
    CHECK(world.in_flight(world.id) == 1);
    world.advance(999ms);
    world.answer(first.token);
    CHECK(world.look().counters == ProbeCounters{1, 1, 0, 0, 0, 0});

    const auto second = world.next_order();
    world.send(second);
    SECTION("after its time-out has been noticed") {
        world.advance(1020ms);
        static_cast<void>(world.poll());
        CHECK(world.look().counters == ProbeCounters{2, 1, 1, 0, 0, 0});
        world.answer(second.token);
    }
    SECTION("before it has been noticed") {
        world.advance(1001ms);
        world.answer(second.token);
    }
    CHECK(world.look().counters == ProbeCounters{2, 1, 1, 1, 0, 0});
    CHECK(world.engine.state(world.id) == Reachability::suspect);
    CHECK(samples_of(world.engine, world.id) == 1);
    CHECK(failures_of(world.engine, world.id, FailureReason::timeout) == 1);
    // The same answer again is a duplicate of a late one, and no second result.
    world.answer(second.token);
    CHECK(world.look().counters == ProbeCounters{2, 1, 1, 1, 1, 0});
}

TEST_CASE("engine: what counts is when an answer arrived, not when it was read") {
    OneSession world;
    const auto order = world.next_order();
    world.send(order);
    world.advance(1200ms);  // the loop is late, but far from standing still
    world.engine.observe(world.now);
    world.engine.on_answer(order.token, world.now.wall - 300ms, world.now);
    CHECK(world.look().counters == ProbeCounters{1, 1, 0, 0, 0, 0});
    CHECK(world.look().last_rtt == 900ms - 5us);
}

TEST_CASE("engine: stamps that a stepping clock made are no proof of an answer in time") {
    OneSession world;
    const auto order = world.next_order();
    world.send(order);
    world.advance(1200ms);
    world.step_wall(-500ms);  // by its stamps, 700 ms
    world.answer(order.token);
    CHECK(world.look().counters == ProbeCounters{1, 0, 1, 1, 0, 0});
}

TEST_CASE("engine: a stamp from the future gives no sample") {
    OneSession world;
    const auto order = world.next_order();
    world.send(order);
    world.advance(1ms);
    world.engine.observe(world.now);
    world.engine.on_answer(order.token, world.now.wall + 10ms, world.now);
    CHECK(world.look().counters == ProbeCounters{1, 1, 0, 0, 0, 0});
    CHECK(samples_of(world.engine, world.id) == 0);
    CHECK(discarded(world.engine, DiscardReason::clock_step) == 1);
}

TEST_CASE("engine: duplicates are counted apart, before and after the probe has ended") {
    OneSession world;
    const auto order = world.next_order();
    world.engine.on_sent(order, world.now);
    world.advance(1ms);
    world.answer(order.token);
    world.answer(order.token);  // still waiting for its transmit stamp
    CHECK(world.look().counters == ProbeCounters{1, 1, 0, 0, 1, 0});
    world.engine.on_transmit_stamp(order.token, world.now.wall - 1ms);
    world.answer(order.token);  // ended
    world.answer(order.token);
    CHECK(world.look().counters == ProbeCounters{1, 1, 0, 0, 3, 0});
    CHECK(samples_of(world.engine, world.id) == 1);
}

TEST_CASE("engine: late and duplicate are told apart at the shortest interval too") {
    EngineWorld world;
    const auto id = world.open(10ms, 1s);  // a hundred in flight
    std::vector<ProbeToken> tokens;
    for (int i = 0; i < 20; ++i) {
        const auto orders = world.next_orders();
        for (const auto& order : orders) {
            world.send(order);
            tokens.push_back(order.token);
        }
    }
    world.network = [](const SendOrder&) { return std::optional<Duration>(1ms); };
    world.run(1500ms);
    const auto lost = world.counters(id).lost;
    CHECK(lost == 20);
    for (const ProbeToken& token : tokens) {
        world.answer(token);
        world.answer(token);
    }
    CHECK(world.counters(id).late == 20);
    CHECK(world.counters(id).duplicates == 20);
}

TEST_CASE("engine: an overtaken answer is reordered, once, and received all the same") {
    EngineWorld world;
    const auto id = world.open(100ms, 1s);
    std::vector<ProbeToken> tokens;
    for (int i = 0; i < 4; ++i) {
        const auto order = world.next_order();
        world.send(order);
        tokens.push_back(order.token);
    }
    world.advance(1ms);
    world.answer(tokens[2]);
    world.answer(tokens[0]);
    world.answer(tokens[1]);
    world.answer(tokens[3]);
    CHECK(world.counters(id) == ProbeCounters{4, 4, 0, 0, 0, 2});
}

TEST_CASE("engine: answers to what was never asked count nowhere") {
    OneSession world;
    const auto order = world.next_order();
    world.answer({order.token.session, order.token.sequence + 1});
    world.answer({order.token.session, order.token.sequence + 1000});
    CHECK(world.look().counters == ProbeCounters{});
    CHECK(world.engine.state(world.id) == Reachability::unknown);
    world.engine.on_skipped(order, SkipReason::busy);
}

TEST_CASE("engine: what the kernel refused is a failure, no sent and no lost probe") {
    OneSession world;
    const auto reason = GENERATE(
        FailureReason::no_route, FailureReason::local_firewall, FailureReason::local_error);
    world.engine.on_not_sent(world.next_order(), reason, world.now);
    CHECK(world.look().counters == ProbeCounters{});
    CHECK(failures_of(world.engine, world.id, reason) == 1);
    CHECK(world.engine.last_failure(world.id) == reason);
    CHECK(world.engine.state(world.id) == Reachability::suspect);
    CHECK(world.engine.asked(world.id));
}

TEST_CASE("engine: a name without an address is no verdict about anybody") {
    OneSession world;
    for (int i = 0; i < 5; ++i) {
        world.engine.on_not_sent(world.next_order(), FailureReason::unresolved, world.now);
    }
    CHECK(world.engine.state(world.id) == Reachability::unknown);
    CHECK(failures_of(world.engine, world.id, FailureReason::unresolved) == 5);
}

TEST_CASE("engine: a probe that found no room is skipped and says nothing") {
    OneSession world;
    world.engine.on_skipped(world.next_order(), SkipReason::busy);
    CHECK(world.look().counters == ProbeCounters{});
    CHECK(skipped(world.engine, SkipReason::busy) == 1);
    CHECK(world.engine.state(world.id) == Reachability::unknown);
    CHECK_FALSE(world.engine.asked(world.id));
    CHECK(world.next_order().due > world.now.mono - TimerWheel::tick);  // and it goes on
}

TEST_CASE("engine: a confirmation that begins anew asks as often as ever") {
    OneSession world;
    world.network = [](const SendOrder&) { return std::nullopt; };
    world.run(1s + 400ms);
    REQUIRE(world.engine.state(world.id) == Reachability::suspect);
    world.engine.confirm_anew(world.id, world.now.mono);
    const std::size_t before = world.sent.size();
    while (world.engine.state(world.id) == Reachability::suspect) {
        world.run(10ms);
    }
    const auto bursts = [&world, before] {
        return std::count_if(world.sent.begin() + static_cast<std::ptrdiff_t>(before),
                             world.sent.end(),
                             [](const SentProbe& probe) { return probe.order.in_burst; });
    };
    CHECK(world.engine.state(world.id) == Reachability::down);
    CHECK(bursts() == ProbeEngine::burst_size);
    // Nothing to confirm: nothing begins.
    world.engine.confirm_anew(world.id, world.now.mono);
    world.run(3s);
    CHECK(bursts() == ProbeEngine::burst_size);
}

// ---- Evidence
// ------------------------------------------------------------------------------------

TEST_CASE("engine: an ICMP error explains losses for ten seconds and ends nothing") {
    OneSession world;
    const auto order = world.next_order();
    world.send(order);
    world.advance(1ms);
    world.engine.on_error(world.id, FailureReason::prohibited, world.now);
    CHECK(world.in_flight(world.id) == 1);
    CHECK(world.engine.state(world.id) == Reachability::unknown);
    SECTION("an answer still counts") {
        world.answer(order.token);
        CHECK(world.look().counters == ProbeCounters{1, 1, 0, 0, 0, 0});
        CHECK(failures_of(world.engine, world.id, FailureReason::prohibited) == 0);
    }
    SECTION("losses within ten seconds are explained, later ones are time-outs") {
        world.network = [](const SendOrder&) { return std::nullopt; };
        const MonoTime evidence_at = world.now.mono;
        world.run_until(evidence_at + 10s);
        const auto explained = world.counters(world.id).lost;
        CHECK(explained >= 9);
        CHECK(failures_of(world.engine, world.id, FailureReason::prohibited) == explained);
        CHECK(failures_of(world.engine, world.id, FailureReason::timeout) == 0);
        CHECK(world.engine.last_failure(world.id) == FailureReason::prohibited);
        world.run(5s);
        CHECK(failures_of(world.engine, world.id, FailureReason::prohibited) == explained);
        CHECK(failures_of(world.engine, world.id, FailureReason::timeout) >= 4);
        CHECK(world.engine.last_failure(world.id) == FailureReason::timeout);
    }
    SECTION("newer evidence replaces older") {
        world.engine.on_error(world.id, FailureReason::net_unreachable, world.now);
        world.advance(1020ms);
        static_cast<void>(world.poll());
        CHECK(failures_of(world.engine, world.id, FailureReason::net_unreachable) == 1);
        CHECK(failures_of(world.engine, world.id, FailureReason::prohibited) == 0);
    }
}

// ---- Samples
// -------------------------------------------------------------------------------------

TEST_CASE("engine: a sample is the difference of the kernel's stamps") {
    OneSession world;
    const auto order = world.next_order();
    world.engine.on_sent(order, world.now);
    const WallTime sent = world.now.wall;
    world.advance(10ms);  // read late
    world.engine.on_transmit_stamp(order.token, sent + 40us);
    world.engine.on_answer(order.token, sent + 90us, world.now);
    CHECK(world.look().last_rtt == 50us);
    CHECK(world.look().rtt_sum == 50us);
    CHECK(user_stamped(world.engine) == 0);
    Snapshot snapshot;
    snapshot_of(world.engine, world.id, &snapshot);
    CHECK(snapshot.rtt_buckets == std::vector<std::uint64_t>{1, 0, 0, 0, 0});
}

TEST_CASE("engine: a transmit stamp may come after the answer") {
    OneSession world;
    const auto order = world.next_order();
    world.engine.on_sent(order, world.now);
    const WallTime sent = world.now.wall;
    world.advance(1ms);
    world.answer(order.token);
    CHECK(samples_of(world.engine, world.id) == 0);
    CHECK(world.look().counters.received == 1);
    world.engine.on_transmit_stamp(order.token, sent + 100us);
    CHECK(world.look().last_rtt == 900us);
    CHECK(user_stamped(world.engine) == 0);
    world.engine.on_transmit_stamp(order.token, sent + 200us);  // once more: nothing
    CHECK(samples_of(world.engine, world.id) == 1);
}

TEST_CASE("engine: without a transmit stamp our own time is used, marked, at the time-out") {
    OneSession world;
    const auto order = world.next_order();
    world.engine.on_sent(order, world.now);
    const WallTime sent = world.now.wall;
    world.advance(2ms);
    world.answer(order.token);
    CHECK(samples_of(world.engine, world.id) == 0);
    world.advance(1020ms);
    for (const auto& next : world.poll()) {
        world.engine.on_skipped(next, SkipReason::busy);
    }
    CHECK(world.look().last_rtt == 2ms);
    CHECK(world.look().counters == ProbeCounters{1, 1, 0, 0, 0, 0});
    CHECK(user_stamped(world.engine) == 1);
    world.engine.on_transmit_stamp(order.token, sent + 1us);  // after all: too late
    CHECK(samples_of(world.engine, world.id) == 1);
    CHECK(world.look().last_rtt == 2ms);
}

TEST_CASE("engine: without a receive stamp the waiting time is the sample, marked") {
    OneSession world;
    world.receive_stamps = false;
    world.exchange(3ms);
    CHECK(world.look().last_rtt == 3ms);
    CHECK(user_stamped(world.engine) == 1);
}

TEST_CASE("engine: jitter is RFC 3550's") {
    OneSession world;
    world.exchange(10ms);
    CHECK(world.look().jitter == 0ns);
    world.exchange(26ms);  // D = 16 ms: J = 16/16
    CHECK(world.look().jitter == 1ms);
    world.exchange(26ms);  // D = 0: J = 1 - 1/16
    CHECK(world.look().jitter == 937500ns);
    world.exchange(10ms);  // D = 16 ms: J += (16 - 0.9375)/16
    CHECK(world.look().jitter == 1878906ns);
    // A probe that was not answered is no sample: the next difference is to the last answer.
    world.engine.on_not_sent(world.next_order(), FailureReason::unresolved, world.now);
    world.exchange(10ms);
    CHECK(world.look().jitter == 1878906ns - 1878906ns / 16);
}

TEST_CASE("engine: each answer of a kind enters the host's histogram by the kind of its peer") {
    EngineWorld world;
    world.engine.open({ProbeKind::icmp, PeerKind::gateway, 1s, 1s}, world.now.mono);
    world.run(3s);
    const auto host_rtt = totals_of(world.engine).host_rtt;
    REQUIRE(host_rtt.size() == 1);
    CHECK(host_rtt[0].kind == PeerKind::gateway);
    CHECK(host_rtt[0].rtt.counts == std::vector<std::uint64_t>{3, 0, 0, 0, 0});
    CHECK(host_rtt[0].rtt.sum == 600us);
}

TEST_CASE("engine: the delay of each probe behind its due time is told") {
    EngineWorld world;
    world.loop_lag = 30ms;
    world.open();
    world.run(10s);
    const auto delay = totals_of(world.engine).probe_delay;
    CHECK(delay.counts[7] == 10);  // 20 to 50 ms
    CHECK(delay.sum >= 300ms);
    CHECK(delay.sum <= 400ms);
}
