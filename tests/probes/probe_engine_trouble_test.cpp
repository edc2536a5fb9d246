// The daemon's own trouble is not the network's: a loop that stands still or lags, receive buffers
// that overflow, wall clocks that step, and limits on what is sent.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include <catch2/catch.hpp>

#include "probes/probe_engine.hpp"
#include "tests/probes/engine_world.hpp"

using namespace reachd;
using namespace reachd::test;

namespace {

constexpr Duration tick = TimerWheel::tick;

/// Runs in steps of 1 ms until `holds`.
template <class Condition>
void run_until_holds(EngineWorld& world, Condition&& holds) {
    for (int i = 0; i < 20000 && !holds(); ++i) {
        world.run(1ms);
    }
    REQUIRE(holds());
}

std::size_t repeats(const EngineWorld& world) {
    return static_cast<std::size_t>(
        std::count_if(world.sent.begin(), world.sent.end(), [](const SentProbe& probe) {
            return probe.order.repeated;
        }));
}

std::size_t bursts(const EngineWorld& world) {
    return static_cast<std::size_t>(
        std::count_if(world.sent.begin(), world.sent.end(), [](const SentProbe& probe) {
            return probe.order.in_burst;
        }));
}

}  // namespace

// ---- A loop that stands still
// --------------------------------------------------------------------

TEST_CASE("stall: five seconds of standing still lose nothing and change no state") {
    const std::size_t peers = 200;
    EngineWorld world;
    world.network = [](const SendOrder&) { return std::optional<Duration>(20ms); };
    for (std::size_t i = 0; i < peers; ++i) {
        world.open(100ms, 100ms);
    }
    world.run(3s);
    REQUIRE(world.in_flight(0) + world.in_flight(1) + world.in_flight(2) > 0);
    world.changes.clear();
    world.sent.clear();
    const std::uint64_t starved = discarded(world.engine, DiscardReason::starved);
    std::uint64_t out = 0;
    for (std::uint32_t id = 0; id < peers; ++id) {
        out += world.in_flight(id);
    }

    world.freeze(5s);
    CHECK(world.sent.size() <= peers / 10 + 1);  // no catch-up: at most what was due this tick
    CHECK(discarded(world.engine, DiscardReason::starved) == starved + out);
    world.run(10s);
    for (std::uint32_t id = 0; id < peers; ++id) {
        CHECK(world.counters(id).lost == 0);
    }
    CHECK(world.changes.empty());
    CHECK(bursts(world) == 0);
    CHECK(skipped(world.engine, SkipReason::throttle) >= peers * 49);
    CHECK(skipped(world.engine, SkipReason::throttle) <= peers * 51);
    CHECK(totals_of(world.engine).throttle_ratio == 1.0);
}

TEST_CASE("stall: the rate after it is as flat as before") {
    EngineWorld world;
    world.network = [](const SendOrder&) { return std::optional<Duration>(1ms); };
    for (int i = 0; i < 2000; ++i) {
        world.open(1s, 1s);
    }
    world.run(2s);
    world.freeze(5s + 3ms);
    world.sent.clear();
    const MonoTime begin = world.now.mono;
    world.run(2s);
    std::map<Duration::rep, int> per_tick;
    for (const SentProbe& probe : world.sent) {
        ++per_tick[(probe.at - begin) / tick];
    }
    for (const auto& [at, count] : per_tick) {
        CHECK(count <= 45);  // 20 a tick, two ticks may share one of ours
    }
    CHECK(world.sent.size() >= 3950);
}

TEST_CASE("stall: what is unanswered after it has its whole time-out again, then it is lost") {
    EngineWorld world;
    world.network = [](const SendOrder&) { return std::optional<Duration>(1ms); };
    const auto id = world.open();
    world.run(3500ms);
    world.network = [](const SendOrder&) { return std::nullopt; };
    run_until_holds(world, [&] { return world.in_flight(id) == 1; });
    world.freeze(5s);
    const MonoTime thawed = world.now.mono;
    CHECK(world.in_flight(id) >= 1);
    run_until_holds(world, [&] { return world.counters(id).lost > 0; });
    CHECK(world.now.mono - thawed >= 1s);
    CHECK(world.now.mono - thawed <= 1s + 3 * tick);
    CHECK(repeats(world) == 0);  // the network may have answered or not: asking twice is no remedy
}

TEST_CASE("stall: an answer that comes after it is received, and no sample") {
    EngineWorld world;
    world.network = [](const SendOrder&) { return std::nullopt; };
    const auto id = world.open();
    const auto order = world.next_order();
    world.send(order);
    world.freeze(3s);
    world.advance(500ms);  // 3.5 s after it was sent
    world.answer(order.token);
    CHECK(world.counters(id).received == 1);
    CHECK(samples_of(world.engine, id) == 0);
    CHECK(discarded(world.engine, DiscardReason::starved) == 1);
}

TEST_CASE("stall: in the middle of a burst the burst begins anew") {
    struct Stall {
        Duration into;  ///< the suspicion
        Duration length;
    };

    // Short ones that pass no deadline by much are no stall: the burst went out late, but whole.
    const auto [into, length] = GENERATE(Stall{1ms, 300ms},
                                         Stall{100ms, 300ms},
                                         Stall{200ms, 600ms},
                                         Stall{400ms, 1200ms},
                                         Stall{880ms, 300ms},
                                         Stall{1ms, 5s},
                                         Stall{200ms, 5s},
                                         Stall{600ms, 5s});
    CAPTURE(into.count(), length.count());
    EngineWorld world;
    world.network = [](const SendOrder&) { return std::optional<Duration>(1ms); };
    const auto id = world.open();
    world.run(3500ms);
    world.network = [](const SendOrder&) { return std::nullopt; };
    run_until_holds(world, [&] { return world.engine.state(id) == Reachability::suspect; });
    world.run(into);
    REQUIRE(world.engine.state(id) == Reachability::suspect);
    world.freeze(length);
    const MonoTime thawed = world.now.mono;
    CHECK(world.engine.state(id) == Reachability::suspect);
    run_until_holds(world, [&] { return world.engine.state(id) == Reachability::down; });
    std::vector<MonoTime> burst;
    for (const SentProbe& probe : world.sent) {
        if (probe.order.in_burst) {
            burst.push_back(probe.at);
        }
    }
    REQUIRE((burst.size() == 3 || burst.size() == 6));
    const auto last = burst.end() - 1;
    CHECK(last[-1] - last[-2] >= 150ms - tick);
    CHECK(last[0] - last[-1] >= 150ms - tick);
    // The last one had as long as it always has.
    CHECK(world.now.mono - last[0] >= 600ms);
    // And the verdict did not take longer than one more burst.
    CHECK(world.now.mono - thawed <= ProbeEngine::verdict_delay * 2 + tick);
}

TEST_CASE("stall: a slow peer's verdict is postponed by four of its round trips") {
    EngineWorld world;
    world.network = [](const SendOrder&) { return std::optional<Duration>(600ms); };
    const auto id = world.open(1s, 800ms);
    world.run(5500ms);
    world.network = [](const SendOrder&) { return std::nullopt; };
    run_until_holds(world, [&] { return world.engine.state(id) == Reachability::suspect; });
    world.run(2s);  // the burst has come and gone
    REQUIRE(world.engine.state(id) == Reachability::suspect);
    world.freeze(5s);
    const MonoTime thawed = world.now.mono;
    run_until_holds(world, [&] { return world.engine.state(id) == Reachability::down; });
    CHECK(world.now.mono - thawed >= 2400ms);
}

TEST_CASE("stall: each one renews the time-out, but not for ever") {
    EngineWorld world;
    world.network = [](const SendOrder&) { return std::nullopt; };
    const auto id = world.open();
    world.send(world.next_order());
    for (int i = 0; i < ProbeEngine::second_chances_max; ++i) {
        world.freeze(2s);
        world.run(300ms);
    }
    CHECK(world.counters(id).lost == 0);
    world.freeze(2s);
    CHECK(world.counters(id).lost == 1);
}

TEST_CASE("stall: a lag below it is no excuse") {
    EngineWorld world;
    world.network = [](const SendOrder&) { return std::nullopt; };
    const auto id = world.open();
    world.send(world.next_order());
    world.advance(1s + 200ms);
    static_cast<void>(world.poll());
    CHECK(world.counters(id).lost == 1);
    CHECK(discarded(world.engine, DiscardReason::starved) == 0);
}

// ---- A receive buffer that overflows
// -------------------------------------------------------------

TEST_CASE(
    "overflow: what may have been dropped is asked again, and its loss is not the network's") {
    EngineWorld world;
    world.network = [](const SendOrder&) { return std::optional<Duration>(1ms); };
    const auto id = world.open();
    world.run(3500ms);
    world.network = [](const SendOrder& order) {
        // The answer to the first asking is dropped by us.
        return order.repeated ? std::optional<Duration>(1ms) : std::nullopt;
    };
    run_until_holds(world, [&] { return world.in_flight(id) == 1; });
    const auto lost_answer = world.sent.back().order.token;
    const auto before = world.counters(id);
    world.run(100ms);
    world.engine.on_receive_overflow(ProbeKind::icmp);
    world.network = [](const SendOrder&) { return std::optional<Duration>(1ms); };
    world.run(3s);
    CHECK(repeats(world) == 1);
    CHECK(std::any_of(world.sent.begin(), world.sent.end(), [&](const SentProbe& probe) {
        return probe.order.repeated && probe.order.token == lost_answer;
    }));
    const auto after = world.counters(id);
    CHECK(after.lost == 0);
    CHECK(after.sent - before.sent == 3);  // the repeat is not counted
    CHECK(world.in_flight(id) == 0);
    CHECK(discarded(world.engine, DiscardReason::starved) == 1);
    CHECK(world.engine.state(id) == Reachability::up);
}

TEST_CASE("overflow: a peer that answers neither asking is lost, once") {
    EngineWorld world;
    world.network = [](const SendOrder&) { return std::nullopt; };
    const auto id = world.open(1h, 1s);
    const auto order = world.next_order();
    world.send(order);
    world.engine.on_receive_overflow(ProbeKind::icmp);
    const auto again = world.next_order();
    CHECK(again.repeated);
    CHECK(again.token == order.token);
    world.send(again);
    world.run(1100ms);
    CHECK(world.counters(id).sent >= 1);
    CHECK(world.counters(id).lost == 1);
    CHECK(world.engine.state(id) == Reachability::suspect);
}

TEST_CASE("overflow: both answers together are one received and one duplicate") {
    EngineWorld world;
    const auto id = world.open(1h, 1s);
    const auto order = world.next_order();
    world.send(order);
    world.engine.on_receive_overflow(ProbeKind::icmp);
    const auto again = world.next_order();
    world.send(again);
    world.advance(1ms);
    world.answer(order.token);
    world.answer(order.token);
    CHECK(world.counters(id) == ProbeCounters{1, 1, 0, 0, 1, 0});
}

TEST_CASE("overflow: an answer between the order to ask again and the asking ends the probe") {
    EngineWorld world;
    const auto id = world.open(1h, 1s);
    const auto order = world.next_order();
    world.send(order);
    world.engine.on_receive_overflow(ProbeKind::icmp);
    const auto again = world.next_order();
    world.answer(order.token);
    world.send(again);
    CHECK(world.counters(id) == ProbeCounters{1, 1, 0, 0, 0, 0});
    CHECK(world.in_flight(id) == 0);
}

TEST_CASE("overflow: a second asking that found no room is made up for") {
    EngineWorld world;
    const auto id = world.open(1h, 1s);
    world.send(world.next_order());
    world.engine.on_receive_overflow(ProbeKind::icmp);
    const auto no_room = world.next_order();
    REQUIRE(no_room.repeated);
    world.engine.on_skipped(no_room, SkipReason::busy);
    const auto again = world.next_order();
    REQUIRE(again.repeated);
    CHECK(again.token == no_room.token);
    world.send(again);
    world.advance(1ms);
    world.answer(again.token);
    CHECK(world.counters(id) == ProbeCounters{1, 1, 0, 0, 0, 0});
}

TEST_CASE("overflow: during a burst the verdict waits for what was asked again") {
    EngineWorld world;
    world.network = [](const SendOrder&) { return std::optional<Duration>(1ms); };
    const auto id = world.open();
    world.run(3s);
    world.changes.clear();
    bool dropping = true;  // our buffer takes no answer
    world.network = [&](const SendOrder&) {
        return dropping ? std::nullopt : std::optional<Duration>(1ms);
    };
    run_until_holds(world, [&] { return world.engine.state(id) == Reachability::suspect; });
    world.run(800ms);
    world.engine.on_receive_overflow(ProbeKind::icmp);
    dropping = false;
    // The next scheduled probe would be answered; here only those of the burst are to prove it.
    world.network = [](const SendOrder& order) {
        return order.repeated ? std::optional<Duration>(1ms) : std::nullopt;
    };
    run_until_holds(world, [&] { return world.engine.state(id) != Reachability::suspect; });
    CHECK(world.engine.state(id) == Reachability::up);
    CHECK(std::none_of(world.changes.begin(), world.changes.end(), [](const StateChange& change) {
        return change.state == Reachability::down;
    }));
}

TEST_CASE("overflow: asking again keeps to the rate limit") {
    EngineWorld world(1, 1000);  // 10 a tick
    world.network = [](const SendOrder&) { return std::nullopt; };
    for (int i = 0; i < 500; ++i) {
        world.open(1s, 1100ms);
    }
    world.run(1s);
    world.engine.on_receive_overflow(ProbeKind::icmp);
    world.sent.clear();
    world.freeze(5s);  // now all of them are out of time at once
    CHECK(world.sent.size() <= 21);
    const MonoTime begin = world.now.mono;
    while (repeats(world) < 490) {
        world.run(10ms);
        REQUIRE(world.now.mono - begin < 2s);
    }
    CHECK(world.now.mono - begin >= 400ms);
    for (std::uint32_t id = 0; id < 500; ++id) {
        CHECK(world.counters(id).lost == 0);
    }
}

// ---- A wall clock that steps
// ---------------------------------------------------------------------

TEST_CASE("clock: a step between send and answer discards the sample, never the answer") {
    const Duration step = GENERATE(Duration{1h},
                                   Duration{-1h},
                                   Duration{1ms},
                                   Duration{-1ms},
                                   Duration{50s},
                                   Duration{-200us});
    const bool stamped_before = GENERATE(true, false);
    CAPTURE(step.count(), stamped_before);
    EngineWorld world;
    const auto id = world.open();
    const auto order = world.next_order();
    world.engine.on_sent(order, world.now);
    world.advance(20us);
    const WallTime transmitted = world.now.wall;
    if (stamped_before) {
        world.engine.on_transmit_stamp(order.token, transmitted);
    }
    world.advance(300us);
    world.step_wall(step);
    world.advance(200us);
    world.answer(order.token);
    if (!stamped_before) {
        world.engine.on_transmit_stamp(order.token, transmitted);
    }
    CHECK(world.counters(id) == ProbeCounters{1, 1, 0, 0, 0, 0});
    CHECK(samples_of(world.engine, id) == 0);
    CHECK(discarded(world.engine, DiscardReason::clock_step) == 1);
    CHECK(user_stamped(world.engine) == 0);
    CHECK(world.engine.state(id) == Reachability::up);
}

TEST_CASE("clock: steps of an hour lose nothing and leave no wrong sample") {
    EngineWorld world;
    world.network = [](const SendOrder&) { return std::optional<Duration>(30ms); };
    for (int i = 0; i < 100; ++i) {
        world.open(100ms, 100ms);
    }
    world.run(2s);
    world.changes.clear();
    for (const Duration step : {Duration{1h}, Duration{-1h}, Duration{-1h}, Duration{1ms}}) {
        world.step_wall(step);
        world.run(1s);
    }
    for (std::uint32_t id = 0; id < 100; ++id) {
        const auto probe = snapshot_of(world.engine, id);
        CHECK(probe.counters.lost == 0);
        CHECK(probe.counters.received >= 58);
        const auto samples = samples_of(world.engine, id);
        CHECK(samples >= 50);
        CHECK(probe.rtt_sum == static_cast<Duration::rep>(samples) * 30ms);
    }
    CHECK(world.changes.empty());
    CHECK(discarded(world.engine, DiscardReason::clock_step) >= 100);
    CHECK(discarded(world.engine, DiscardReason::clock_step) <= 200);
}

TEST_CASE("clock: a step while an answer is late to be read makes no loss of it") {
    EngineWorld world;
    const auto id = world.open();
    const auto order = world.next_order();
    world.send(order);
    world.advance(900ms);
    world.step_wall(1h);
    world.engine.observe(world.now);
    world.engine.on_answer(order.token, world.now.wall, world.now);
    CHECK(world.counters(id) == ProbeCounters{1, 1, 0, 0, 0, 0});
}

TEST_CASE("clock: slewing by 500 ppm is no step") {
    EngineWorld world;
    world.network = [](const SendOrder&) { return std::nullopt; };
    const auto id = world.open();
    for (int i = 0; i < 20; ++i) {
        const auto order = world.next_order();
        world.send(order);
        world.advance(800ms);
        world.step_wall(400us);
        world.answer(order.token);
    }
    CHECK(samples_of(world.engine, id) == 20);
    CHECK(discarded(world.engine, DiscardReason::clock_step) == 0);
}

// ---- Limits on what is sent
// ----------------------------------------------------------------------

TEST_CASE("limits: the rate limit paces, and skips what has waited for too long") {
    EngineWorld world(1, 1000);
    world.network = [](const SendOrder&) { return std::optional<Duration>(1ms); };
    for (int i = 0; i < 2000; ++i) {  // twice what is allowed
        world.open(1s, 1s);
    }
    world.run(10s);
    CHECK(world.sent.size() >= 9900);
    CHECK(world.sent.size() <= 10050);
    CHECK(skipped(world.engine, SkipReason::rate_limit) >= 8500);
    CHECK(skipped(world.engine, SkipReason::throttle) == 0);
    std::map<Duration::rep, std::size_t> per_tick;
    for (const SentProbe& probe : world.sent) {
        CHECK(probe.at - probe.order.due <= 100ms + 2 * tick);
        ++per_tick[probe.at.time_since_epoch() / tick];
    }
    for (const auto& [at, count] : per_tick) {
        CHECK(count <= 31);  // 10 a tick, and 20 ms of savings
    }
    for (std::uint32_t id = 0; id < 2000; ++id) {
        CHECK(world.counters(id).lost == 0);
    }
    CHECK(world.changes.size() <= 2000);  // each came up, none was suspected
}

TEST_CASE("limits: within the rate limit nothing is skipped, a short crowd only waits") {
    EngineWorld world(1, 1000);
    world.network = [](const SendOrder&) { return std::optional<Duration>(1ms); };
    for (int i = 0; i < 900; ++i) {
        world.open(1s, 1s);
    }
    world.run(10s);
    CHECK(skipped(world.engine, SkipReason::rate_limit) == 0);
    CHECK(world.sent.size() >= 8990);
}

TEST_CASE("limits: a crowd at one moment waits for its turn") {
    EngineWorld world(1, 1000);
    world.network = [](const SendOrder&) { return std::optional<Duration>(1ms); };
    for (int i = 0; i < 60; ++i) {
        // The i-th phase is i golden ratios of the interval: opened that much earlier, all of them
        // fall into one tick.
        const double phase = std::fmod(i * 0.61803398874989484820, 1.0);
        const Duration offset(static_cast<Duration::rep>(phase * 1e9));
        world.engine.open({ProbeKind::icmp, PeerKind::host, 1s, 1s}, world.now.mono + 1s - offset);
    }
    world.run(9900ms);
    CHECK(skipped(world.engine, SkipReason::rate_limit) == 0);
    REQUIRE(world.sent.size() == 60 * 9);
    for (const SentProbe& probe : world.sent) {
        // 20 have been saved for, then 10 a tick.
        CHECK(probe.at - probe.order.due <= 5 * tick);
    }
}

TEST_CASE("limits: no configuration exceeds the cap in the code") {
    EngineWorld world(1, 4'000'000'000U);
    world.network = [](const SendOrder&) { return std::optional<Duration>(1ms); };
    for (int i = 0; i < 3000; ++i) {
        world.open(10ms, 10ms);  // 300,000 a second
    }
    world.run(500ms);
    world.sent.clear();
    world.run(1s);
    CHECK(world.sent.size() <= 204'000);
    CHECK(world.sent.size() >= 190'000);
}

TEST_CASE("limits: a burst is put off by the rate limit, never shortened, and so is its verdict") {
    EngineWorld world(1, 100);
    std::set<std::uint32_t> silent;
    world.network = [&](const SendOrder& order) {
        return silent.contains(order.token.session) ? std::nullopt : std::optional<Duration>(1ms);
    };
    for (std::uint32_t i = 0; i < 80; ++i) {
        world.open(1s, 1s);
    }
    world.run(3s);
    world.sent.clear();
    world.changes.clear();
    for (std::uint32_t i = 0; i < 40; ++i) {
        silent.insert(i);
    }
    world.run(15s);
    std::map<std::uint32_t, std::vector<MonoTime>> burst;
    for (const SentProbe& probe : world.sent) {
        if (probe.order.in_burst) {
            burst[probe.order.token.session].push_back(probe.at);
        }
    }
    for (const std::uint32_t id : silent) {
        CAPTURE(id);
        CHECK(world.engine.state(id) == Reachability::down);
        REQUIRE(burst[id].size() == 3);
        const auto down = std::find_if(
            world.changes.begin(), world.changes.end(), [&](const StateChange& change) {
                return change.session == id && change.state == Reachability::down;
            });
        REQUIRE(down != world.changes.end());
        CHECK(down->at - burst[id].back() >= 600ms);
        CHECK(burst[id][2] - burst[id][1] >= 150ms - tick);
    }
    for (const StateChange& change : world.changes) {
        CHECK(silent.contains(change.session));
    }
}

TEST_CASE("limits: a burst probe that found no room is sent later") {
    EngineWorld world;
    const auto id = world.open();
    world.engine.on_not_sent(world.next_order(), FailureReason::no_route, world.now);
    REQUIRE(world.engine.state(id) == Reachability::suspect);
    std::size_t asked = 0;
    for (int i = 0; asked < 3; ++i) {
        REQUIRE(i < 20);
        for (const auto& order : world.next_orders()) {
            if (order.in_burst && i % 2 == 0) {
                world.engine.on_skipped(order, SkipReason::busy);
                continue;
            }
            asked += order.in_burst ? 1 : 0;
            world.engine.on_sent(order, world.now);
        }
        CHECK(world.engine.state(id) == Reachability::suspect);
    }
    const MonoTime last = world.now.mono;
    while (world.engine.state(id) == Reachability::suspect) {
        for (const auto& order : world.next_orders()) {
            CHECK_FALSE(order.in_burst);
            world.engine.on_skipped(order, SkipReason::busy);
        }
        REQUIRE(world.now.mono - last < 2s);
    }
    CHECK(world.now.mono - last >= 600ms);
}

// ---- Self-throttling
// -----------------------------------------------------------------------------

TEST_CASE("throttle: a loop that lags sends less, and all again when it has recovered") {
    EngineWorld world;
    world.network = [](const SendOrder&) { return std::optional<Duration>(1ms); };
    for (int i = 0; i < 50; ++i) {
        world.open(1s, 1s);
    }
    world.run(2s);
    CHECK(totals_of(world.engine).throttle_ratio == 1.0);
    world.changes.clear();

    world.loop_lag = 120ms;
    world.run(30s);
    const double throttled = totals_of(world.engine).throttle_ratio;
    CHECK(throttled < 0.5);
    CHECK(throttled >= 0.1);
    world.sent.clear();
    world.run(10s);
    CHECK(world.sent.size() < 300);
    CHECK(world.sent.size() > 20);
    CHECK(skipped(world.engine, SkipReason::throttle) > 200);

    world.loop_lag = 0ms;
    world.run(60s);
    CHECK(totals_of(world.engine).throttle_ratio == 1.0);
    world.sent.clear();
    world.run(10s);
    CHECK(world.sent.size() >= 499);
    // Fewer questions are no loss and no verdict.
    CHECK(world.changes.empty());
    for (std::uint32_t id = 0; id < 50; ++id) {
        CHECK(world.counters(id).lost == 0);
    }
}

TEST_CASE("throttle: a little lag does not throttle") {
    EngineWorld world;
    world.loop_lag = 30ms;
    for (int i = 0; i < 50; ++i) {
        world.open(1s, 1s);
    }
    world.run(30s);
    CHECK(totals_of(world.engine).throttle_ratio == 1.0);
}

TEST_CASE("throttle: the lot is drawn once a probe, even when it waits for the rate limit") {
    EngineWorld world(1, 60);  // enough for all that are not thrown out
    world.network = [](const SendOrder&) { return std::optional<Duration>(1ms); };
    for (int i = 0; i < 100; ++i) {
        world.open(1s, 1s);
    }
    world.loop_lag = 120ms;
    while (totals_of(world.engine).throttle_ratio > 0.75) {
        world.run(1s);
    }
    world.loop_lag = 21ms;  // between the two thresholds: the ratio stays
    world.run(3s);
    const double ratio = totals_of(world.engine).throttle_ratio;
    REQUIRE(ratio < 1.0);
    const auto thrown = skipped(world.engine, SkipReason::throttle);
    world.sent.clear();
    world.run(60s);
    REQUIRE(totals_of(world.engine).throttle_ratio == ratio);
    const auto sent = static_cast<double>(world.sent.size());
    const double drawn =
        sent + static_cast<double>(skipped(world.engine, SkipReason::throttle) - thrown);
    CHECK(sent > 60 * 40);  // what is thrown out takes no one's place
    CHECK(sent / drawn > ratio - 0.06);
    CHECK(sent / drawn < ratio + 0.06);
}
