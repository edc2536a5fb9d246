// Suspicion, its burst and the verdict: how many probes, when, and what one lost packet must not
// do.
#include <algorithm>
#include <set>

#include <catch2/catch.hpp>

#include "probes/probe_engine.hpp"
#include "tests/probes/engine_world.hpp"

using namespace reachd;
using namespace reachd::test;

namespace {

constexpr Duration tick = TimerWheel::tick;

/// One peer, up; silent while `silent` says so.
struct PeerWorld : EngineWorld {
    explicit PeerWorld(Duration rtt = 200us, Duration interval = 1s, Duration timeout = 1s) {
        network = [this, rtt](const SendOrder&) {
            return silent ? std::nullopt : std::optional(rtt);
        };
        id = open(interval, timeout);
        run(10 * interval + interval / 2);  // none is out
        REQUIRE(engine.state(id) == Reachability::up);
        changes.clear();
        sent.clear();
    }

    /// Runs until the shown state is `wanted`; returns when that was.
    MonoTime wait_for(Reachability wanted, Duration patience = 20s) {
        const MonoTime end = now.mono + patience;
        while (engine.state(id) != wanted && now.mono < end) {
            run(1ms);
        }
        REQUIRE(engine.state(id) == wanted);
        return changes.back().at;
    }

    std::vector<SentProbe> burst() const {
        std::vector<SentProbe> found;
        std::copy_if(
            sent.begin(), sent.end(), std::back_inserter(found), [](const SentProbe& probe) {
                return probe.order.in_burst;
            });
        return found;
    }

    bool ever(Reachability state) const {
        return std::any_of(changes.begin(), changes.end(), [&](const StateChange& change) {
            return change.state == state;
        });
    }

    std::uint32_t id = 0;
    bool silent = false;
};

void check_close(Duration actual, Duration expected, Duration late_max) {
    CAPTURE(actual.count(), expected.count());
    CHECK(actual >= expected);
    CHECK(actual <= expected + late_max);
}

}  // namespace

TEST_CASE("verdict: exactly three more probes, 150 ms apart, and down 900 ms after the time-out") {
    PeerWorld world;
    world.silent = true;
    const MonoTime suspected = world.wait_for(Reachability::suspect);
    check_close(suspected - world.sent.front().at, 1s, tick);
    CHECK(world.engine.up(world.id) == true);

    const MonoTime down = world.wait_for(Reachability::down);
    const auto burst = world.burst();
    REQUIRE(burst.size() == 3);
    check_close(burst[0].at - suspected, 0ms, tick);
    for (std::size_t i = 1; i < burst.size(); ++i) {
        // Each at its own tick: neither drifting nor catching up by more than one.
        CHECK(burst[i].at - burst[i - 1].at >= 150ms - tick);
        CHECK(burst[i].at - burst[i - 1].at <= 150ms + tick);
    }
    check_close(down - suspected, 900ms, 2 * tick);
    CHECK(world.engine.up(world.id) == false);

    // Silence goes on: scheduled probes only, no second burst, no further change.
    world.changes.clear();
    world.run(10s);
    CHECK(world.burst().size() == 3);
    CHECK(world.changes.empty());
    CHECK(world.counters(world.id).lost >= 10);
}

TEST_CASE("verdict: down comes at most a second after the first unanswered probe timed out") {
    // Also when the loop wakes up late, and at every phase of time-out and ticks.
    const Duration timeout = GENERATE(Duration{10ms}, Duration{333ms}, Duration{1s});
    const Duration lag = GENERATE(Duration{0ms}, Duration{9ms}, Duration{20ms});
    CAPTURE(timeout.count(), lag.count());
    PeerWorld world(200us, 1s, timeout);
    world.loop_lag = lag;
    world.silent = true;
    const MonoTime down = world.wait_for(Reachability::down);
    const MonoTime first_time_out = world.sent.front().at + timeout;
    CHECK(down - first_time_out >= 900ms);
    CHECK(down - first_time_out <= 1s);
    CHECK(world.burst().size() == 3);
}

TEST_CASE("verdict: slow peers have four smoothed round trips to answer the burst") {
    const Duration rtt = 600ms;
    PeerWorld world(rtt, 1s, 1500ms);
    world.silent = true;
    const MonoTime suspected = world.wait_for(Reachability::suspect);
    const MonoTime down = world.wait_for(Reachability::down);
    check_close(down - suspected, 4 * rtt, 2 * tick + 1ms);
    CHECK(world.burst().size() == 3);
}

TEST_CASE("verdict: the smoothed round trip is RFC 6298's") {
    PeerWorld world(400ms, 1s, 2s);
    world.network = [&](const SendOrder&) {
        return world.silent ? std::nullopt : std::optional<Duration>(800ms);
    };
    const auto received = world.counters(world.id).received;
    while (world.counters(world.id).received < received + 2) {
        world.run(1ms);
    }
    // One may still have been out at 400 ms: 400, then 7/8 * 400 + 800/8 = 450.
    world.silent = true;
    const auto samples = world.counters(world.id).received - received;
    REQUIRE(samples == 2);
    const bool one_old = snapshot_of(world.engine, world.id).rtt_sum <
                         static_cast<Duration::rep>(received) * 400ms + 1500ms;
    const MonoTime suspected = world.wait_for(Reachability::suspect);
    const MonoTime down = world.wait_for(Reachability::down);
    const Duration smoothed = one_old ? 450ms : 493750us;
    check_close(down - suspected, 4 * smoothed, 2 * tick + 1ms);
}

TEST_CASE("verdict: one lost packet is never down, and costs three probes at most") {
    // Whichever probe it is that goes missing, and whatever happens to one of the burst.
    const int missing_in_burst = GENERATE(-1, 0, 1, 2);
    PeerWorld world;
    int scheduled = 0;
    int in_burst = 0;
    std::ptrdiff_t losses = 0;
    world.network = [&](const SendOrder& order) -> std::optional<Duration> {
        const bool lost = order.in_burst ? in_burst++ == missing_in_burst : scheduled++ % 7 == 3;
        if (lost && !order.in_burst) {
            ++losses;
            in_burst = 0;
        }
        return lost ? std::nullopt : std::optional<Duration>(200us);
    };
    world.run(60s);
    CHECK(world.ever(Reachability::suspect));
    CHECK_FALSE(world.ever(Reachability::down));
    CHECK(world.engine.up(world.id) == true);
    CHECK(world.counters(world.id).lost >= 8);
    CHECK(world.burst().size() <= 3 * 9);
    // A lost probe of a burst begins no suspicion of its own.
    CHECK(std::count_if(world.changes.begin(), world.changes.end(), [](const StateChange& change) {
              return change.state == Reachability::suspect;
          }) <= losses);
}

TEST_CASE("verdict: an answer to any of the three ends the suspicion and the burst") {
    const std::size_t answered = GENERATE(0U, 1U, 2U);
    PeerWorld world;
    std::size_t in_burst = 0;
    bool lost_one = false;
    world.network = [&](const SendOrder& order) -> std::optional<Duration> {
        if (!order.in_burst) {
            return std::exchange(lost_one, true) ? std::optional<Duration>(200us) : std::nullopt;
        }
        return in_burst++ == answered ? std::optional<Duration>(200us) : std::nullopt;
    };
    world.wait_for(Reachability::suspect);
    world.wait_for(Reachability::up, 890ms);
    world.run(5s);
    CHECK_FALSE(world.ever(Reachability::down));
    CHECK(in_burst <= 3);
}

TEST_CASE("verdict: the answer to the next scheduled probe clears a suspicion too") {
    PeerWorld world(200us, 200ms, 1s);
    bool lost_one = false;
    world.network = [&](const SendOrder& order) -> std::optional<Duration> {
        if (order.in_burst) {
            return std::nullopt;
        }
        return std::exchange(lost_one, true) ? std::optional<Duration>(200us) : std::nullopt;
    };
    const MonoTime suspected = world.wait_for(Reachability::suspect);
    const MonoTime up = world.wait_for(Reachability::up);
    CHECK(up - suspected <= 200ms + 2 * tick);
    CHECK(world.burst().size() <= 2);
}

TEST_CASE("verdict: from down, the first answer begins a burst and the second one is up") {
    PeerWorld world;
    world.silent = true;
    world.wait_for(Reachability::down);
    world.run(3s);
    world.sent.clear();
    world.changes.clear();
    world.silent = false;
    world.wait_for(Reachability::up);
    const auto burst = world.burst();
    REQUIRE_FALSE(burst.empty());
    REQUIRE_FALSE(world.sent.empty());
    const MonoTime first_answer = world.sent.front().at + 200us;
    CHECK(world.changes.back().at - first_answer <= 2 * tick);  // INTERFACE.md: within 1 s
    world.run(900ms);
    CHECK(world.burst().size() == 1);  // the rest of the burst is not needed
}

TEST_CASE("verdict: from down, one answer alone brings nobody up") {
    PeerWorld world;
    world.silent = true;
    world.wait_for(Reachability::down);
    world.run(2s);
    world.changes.clear();
    world.sent.clear();
    bool answered = false;
    world.network = [&](const SendOrder&) -> std::optional<Duration> {
        return std::exchange(answered, true) ? std::nullopt : std::optional<Duration>(200us);
    };
    world.run(10s);
    CHECK(world.burst().size() == 3);
    CHECK(world.engine.state(world.id) == Reachability::down);
    CHECK_FALSE(world.ever(Reachability::up));
    CHECK_FALSE(world.ever(Reachability::suspect));
}

TEST_CASE("verdict: a late answer is no sign of life") {
    PeerWorld world(200us, 1s, 500ms);
    world.network = [](const SendOrder&) { return std::optional<Duration>(700ms); };
    world.run(10s);
    CHECK(world.engine.state(world.id) == Reachability::down);
    CHECK(world.counters(world.id).late >= 8);
    CHECK(world.counters(world.id).late <= world.counters(world.id).lost);
}

TEST_CASE("verdict: a peer never heard of is unknown, suspect, then down") {
    EngineWorld world;
    world.network = [](const SendOrder&) { return std::nullopt; };
    const auto id = world.open();
    world.run(5s);
    REQUIRE(world.changes.size() == 2);
    CHECK(world.changes[0].state == Reachability::suspect);
    CHECK(world.changes[1].state == Reachability::down);
    CHECK(world.engine.up(id) == false);
}

TEST_CASE("verdict: what the kernel refuses brings a peer down without a loss") {
    PeerWorld world;
    const auto before = world.counters(world.id);
    const MonoTime end = world.now.mono + 5s;
    std::size_t bursts = 0;
    while (world.engine.next_deadline() <= end) {
        for (const SendOrder& order : world.next_orders()) {
            bursts += order.in_burst ? 1 : 0;
            world.engine.on_not_sent(order, FailureReason::no_route, world.now);
        }
    }
    CHECK(bursts == 3);
    CHECK(world.engine.state(world.id) == Reachability::down);
    CHECK(world.counters(world.id) == before);
    CHECK(world.engine.last_failure(world.id) == FailureReason::no_route);
}

TEST_CASE("verdict: burst probes count as sent and received, but not in the jitter") {
    PeerWorld world(1ms);
    const Duration jitter = snapshot_of(world.engine, world.id).jitter;
    const auto before = world.counters(world.id);
    bool lost_one = false;
    world.network = [&](const SendOrder& order) -> std::optional<Duration> {
        if (order.in_burst) {
            return 500ms;  // far from the others
        }
        return std::exchange(lost_one, true) ? std::optional<Duration>(1ms) : std::nullopt;
    };
    world.run(5s);
    const std::size_t burst = world.burst().size();
    REQUIRE(burst >= 1);
    const auto probe = snapshot_of(world.engine, world.id);
    CHECK(probe.jitter <= jitter);
    CHECK(probe.counters.sent == before.sent + 5 + burst);
    CHECK(probe.counters.lost == 1);
    CHECK(probe.counters.received == before.received + 4 + burst);
    CHECK(samples_of(world.engine, world.id) == probe.counters.received);
}

TEST_CASE("verdict: take_changed tells each session once") {
    EngineWorld world;
    const auto id = world.open();
    const auto order = world.next_order();
    world.engine.on_not_sent(order, FailureReason::no_route, world.now);  // suspect
    world.engine.on_answer(order.token, world.now.wall, world.now);       // nothing in flight
    CHECK(world.engine.take_changed() == std::vector<std::uint32_t>{id});
    CHECK(world.engine.take_changed().empty());
    static_cast<void>(world.next_orders());
    world.engine.close(id);
    CHECK(world.engine.take_changed().empty());
}

TEST_CASE("verdict: a closed session's change is not told") {
    EngineWorld world;
    const auto id = world.open();
    world.engine.on_not_sent(world.next_order(), FailureReason::no_route, world.now);
    world.engine.close(id);
    CHECK(world.engine.take_changed().empty());
}
