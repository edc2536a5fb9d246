// Whatever happens, the accounting adds up. Random sends, refusals, answers of every kind, ICMP
// errors, stalls, overflows, clock steps, sessions that come and go; checked after every step. The
// seed is printed with a failure: the same seed is the same story.
#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include <catch2/catch.hpp>

#include "probes/probe_engine.hpp"
#include "tests/probes/engine_world.hpp"

using namespace reachd;
using namespace reachd::test;

namespace {

/// What the test itself knows of one session.
struct Ledger {
    std::uint64_t sent = 0;
    std::uint64_t answers = 0;  ///< handed to the engine, of any kind
    std::uint64_t refused = 0;
    std::map<std::uint32_t, int> asked;  ///< sequence: answers given so far
    std::vector<std::uint32_t> order;
    ProbeCounters last;
    std::uint64_t last_samples = 0;
    std::uint64_t quiet_since = 0;  ///< our troubles before nothing was out
};

class Story {
  public:
    explicit Story(std::uint64_t seed, bool sessions_end)
        : dice_(seed),
          world_(seed ^ 0x5eedU, 2000),
          sessions_end_(sessions_end) {
        for (int i = 0; i < 6; ++i) {
            open();
        }
    }

    void step() {
        switch (dice_.below(24)) {
            case 0: world_.advance(Duration(dice_.below(400'000'000))); break;
            case 1:
                if (dice_.below(4) == 0)
                    world_.advance(Duration(6'000'000'000));
                break;
            case 2: step_clock(); break;
            case 3: error(); break;
            case 4:
                if (dice_.below(6) == 0)
                    overflow();
                break;
            case 5:
                if (sessions_end_ && dice_.below(10) == 0)
                    end_one();
                break;
            case 6: late_stamp(); break;
            case 7:
            case 8:
            case 9:
            case 10:
            case 11: answer(false); break;
            case 12: answer(true); break;
            case 13: unasked_answer(); break;
            default: turn();
        }
        check();
    }

    /// No more questions: everything that is out must end by itself.
    void finish() {
        for (int i = 0; i < 500; ++i) {
            world_.advance(20ms);
            stop_ = true;
            turn();
            check();
        }
        for (const auto& [id, ledger] : ledgers_) {
            REQUIRE(ledger.last.sent == ledger.last.received + ledger.last.lost);
        }
        const Snapshot totals = totals_of(world_.engine);
        const std::uint64_t no_sample = totals.discarded[0][0] + totals.discarded[0][1];
        if (!sessions_end_) {
            std::uint64_t received = 0;
            std::uint64_t samples = 0;
            for (const auto& [id, ledger] : ledgers_) {
                received += ledger.last.received;
                samples += ledger.last_samples;
            }
            REQUIRE(received == samples + no_sample);  // every answer is a sample or is explained
            REQUIRE(received > 100);
        }
        REQUIRE(no_sample > 0);
        REQUIRE(stalls_spared_ > 0);
        REQUIRE(totals.throttle_ratio > 0.0);
        REQUIRE(totals.throttle_ratio <= 1.0);
    }

  private:
    void open() {
        const Duration interval = any_interval();
        const Duration timeout = Duration(10'000'000LL + dice_.below(2'000'000'000));
        const auto id = world_.open(interval, timeout);
        ledgers_[id] = {};
        ledgers_[id].last = world_.counters(id);
        REQUIRE(ledgers_[id].last == ProbeCounters{});
    }

    Duration any_interval() {
        constexpr std::array<Duration, 5> intervals{10ms, 25ms, 100ms, 333ms, 1s};
        return intervals[dice_.below(intervals.size())];
    }

    std::uint32_t any_session() {
        auto at = ledgers_.begin();
        std::advance(at, dice_.below(static_cast<std::uint32_t>(ledgers_.size())));
        return at->first;
    }

    void end_one() {
        const std::uint32_t id = any_session();
        world_.engine.close(id);
        ledgers_.erase(id);
        open();
    }

    void step_clock() {
        constexpr std::array<Duration, 6> steps{1h, -1h, 1ms, -1ms, 50us, -20us};
        if (dice_.below(3) == 0) {
            world_.step_wall(steps[dice_.below(steps.size())]);
        }
    }

    void overflow() {
        ++troubles_;
        world_.engine.on_receive_overflow(ProbeKind::icmp);
    }

    void error() {
        constexpr std::array<FailureReason, 3> reasons{
            FailureReason::prohibited, FailureReason::host_unreachable, FailureReason::too_big};
        world_.engine.on_error(any_session(), reasons[dice_.below(reasons.size())], world_.now);
    }

    /// An answer to a recent probe, or to one of long ago; perhaps its second or third.
    void answer(bool old) {
        const std::uint32_t id = any_session();
        Ledger& ledger = ledgers_[id];
        if (ledger.order.empty()) {
            return;
        }
        const auto size = static_cast<std::uint32_t>(ledger.order.size());
        const std::uint32_t back = dice_.below(std::min(size, old ? 400U : 4U));
        const std::uint32_t sequence = ledger.order[size - 1 - back];
        note_trouble();
        world_.engine.observe(world_.now);
        std::optional<WallTime> stamp = world_.now.wall - Duration(dice_.below(1'000'000));
        switch (dice_.below(12)) {
            case 0: stamp.reset(); break;
            case 1: *stamp -= Duration(dice_.below(2'000'000'000)); break;  // nonsense
            case 2: *stamp += Duration(dice_.below(2'000'000'000)); break;
            default: break;
        }
        world_.engine.on_answer({id, sequence}, stamp, world_.now);
        ++ledger.answers;
        ++ledger.asked[sequence];
    }

    void unasked_answer() {
        const std::uint32_t id = any_session();
        const Ledger& ledger = ledgers_[id];
        if (!ledger.order.empty()) {
            const std::uint32_t next = ledger.order.back() + 1 + 5000 + dice_.below(1'000'000);
            world_.engine.on_answer({id, next}, world_.now.wall, world_.now);
        }
    }

    void late_stamp() {
        const std::uint32_t id = any_session();
        const Ledger& ledger = ledgers_[id];
        if (!ledger.order.empty()) {
            const auto stamp = world_.now.wall - Duration(dice_.below(20'000'000));
            world_.engine.on_transmit_stamp({id, ledger.order.back()}, stamp);
        }
    }

    bool note_trouble() {
        const MonoTime deadline = world_.engine.next_deadline();
        const bool stalled =
            deadline != mono_never && world_.now.mono > deadline + ProbeEngine::stall_threshold;
        troubles_ += stalled ? 1U : 0U;
        return stalled;
    }

    void turn() {
        if (dice_.below(3) != 0) {
            const MonoTime deadline = world_.engine.next_deadline();
            world_.advance(std::max(Duration{}, deadline - world_.now.mono));
        }
        const bool stalled = note_trouble();
        std::map<std::uint32_t, std::uint64_t> lost_before;
        for (const auto& [id, ledger] : ledgers_) {
            lost_before[id] = world_.counters(id).lost;
        }
        const auto orders = world_.poll();
        for (const auto& [id, lost] : lost_before) {
            // What was out while we stood still is not lost by it, but for who has used up his
            // second chances.
            const std::uint64_t troubles = troubles_ - ledgers_[id].quiet_since;
            const bool spared = stalled && troubles <= ProbeEngine::second_chances_max;
            stalls_spared_ += spared && world_.in_flight(id) > 0 ? 1U : 0U;
            REQUIRE((!spared || world_.counters(id).lost == lost));
        }
        std::set<std::uint32_t> scheduled;
        for (const SendOrder& order : orders) {
            if (!order.in_burst && !order.repeated) {
                REQUIRE(scheduled.insert(order.token.session).second);  // no catching up
            }
            settle(order);
        }
    }

    void settle(const SendOrder& order) {
        Ledger& ledger = ledgers_[order.token.session];
        REQUIRE(ledger.asked.contains(order.token.sequence) == order.repeated);
        // In the end nothing new is asked, but what we owe is asked again.
        const std::uint32_t fate = stop_ ? (order.repeated ? 2 : 0) : dice_.below(20);
        if (fate == 0) {
            world_.engine.on_skipped(order, SkipReason::busy);
        } else if (fate == 1) {
            world_.engine.on_not_sent(order, FailureReason::no_route, world_.now);
            ledger.refused += order.repeated ? 0 : 1;
        } else {
            world_.engine.on_sent(order, world_.now);
            if (dice_.below(4) != 0) {
                world_.engine.on_transmit_stamp(order.token, world_.now.wall + 3us);
            }
            if (!order.repeated) {
                ++ledger.sent;
                ledger.asked[order.token.sequence] = 0;
                ledger.order.push_back(order.token.sequence);
            }
        }
    }

    void check() {
        for (auto& [id, ledger] : ledgers_) {
            world_.check(id);
            const ProbeCounters now_is = world_.counters(id);
            const std::uint64_t samples = samples_of(world_.engine, id);
            const bool consistent =
                now_is.sent == ledger.sent &&
                // Each answer is one of these, and only one.
                now_is.received + now_is.late + now_is.duplicates == ledger.answers &&
                now_is.reordered <= now_is.received && samples <= now_is.received &&
                samples >= ledger.last_samples &&
                failures_of(world_.engine, id, FailureReason::no_route) == ledger.refused &&
                snapshot_of(world_.engine, id).rtt_sum >= Duration{} &&
                snapshot_of(world_.engine, id).jitter >= Duration{};
            if (!consistent) {
                FAIL("session " << id << ": sent " << now_is.sent << " of " << ledger.sent
                                << ", answers " << now_is.received << " + " << now_is.late << " + "
                                << now_is.duplicates << " of " << ledger.answers);
            }
            if (now_is.sent == now_is.received + now_is.lost) {
                ledger.quiet_since = troubles_;
            }
            ledger.last = now_is;
            ledger.last_samples = samples;
        }
    }

    Random dice_;
    EngineWorld world_;
    std::map<std::uint32_t, Ledger> ledgers_;
    bool sessions_end_;
    bool stop_ = false;
    std::uint64_t troubles_ = 0;  ///< stalls and overflows of our own
    std::uint64_t stalls_spared_ = 0;
};

}  // namespace

TEST_CASE("engine: the accounting adds up after every step of any story") {
    const std::uint64_t seed = GENERATE(range<std::uint64_t>(1, 21));
    CAPTURE(seed);
    Story story(seed, seed % 2 == 0);
    for (int i = 0; i < 5000; ++i) {
        story.step();
    }
    story.finish();
}
