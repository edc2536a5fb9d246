// Answers without a number: which probe they are counted for, and which of them measure anything.
// The property test at the end knows what a network really did, and checks the counts against it.
#include <set>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/probes/engine_world.hpp"

namespace reachd {
namespace {

using namespace reachd::test;

constexpr Duration tick = TimerWheel::tick;

/// A guest that is asked by ARP, and answers when the test says so.
class Guest {
  public:
    explicit Guest(Duration interval = 10s, Duration timeout = 500ms)
        : id_(world.engine.open({ProbeKind::arp, PeerKind::guest, interval, timeout},
                                world.now.mono)) {}

    EngineWorld world;

    std::uint32_t id() const { return id_; }

    /// Until the next question, which is sent.
    void ask() {
        for (const SendOrder& order : world.next_orders()) {
            world.send(order);
        }
    }

    void wait(Duration time) { world.advance(time); }

    void answer() { answer_received(world.now.wall); }

    void answer_received(WallTime received) {
        world.engine.observe(world.now);
        world.engine.on_unnumbered_answer(id_, received, world.now);
        world.check(id_);
    }

    /// Nothing is answered until so many are lost; none is out then.
    void lose(std::uint64_t probes) {
        while (counters().lost < probes || world.in_flight(id_) > 0) {
            world.advance(std::max(Duration{}, world.engine.next_deadline() - world.now.mono));
            for (const SendOrder& order : world.poll()) {
                counters().lost < probes ? world.send(order)
                                         : world.engine.on_skipped(order, SkipReason::busy);
            }
        }
    }

    ProbeCounters counters() const { return world.counters(id_); }

    std::uint64_t samples() const { return samples_of(world.engine, id_); }

    std::uint64_t ambiguous() const {
        return totals_of(world.engine)
            .discarded[static_cast<std::size_t>(ProbeKind::arp)]
                      [static_cast<std::size_t>(DiscardReason::ambiguous)];
    }

  private:
    std::uint32_t id_;
};

TEST_CASE("unnumbered: an answer right after an answer is a duplicate, each time") {
    Guest guest;
    guest.ask();
    guest.wait(300us);
    guest.answer();
    guest.answer();
    guest.answer();
    CHECK(guest.counters() == ProbeCounters{1, 1, 0, 0, 2, 0});
    CHECK(guest.samples() == 1);
}

TEST_CASE("unnumbered: a duplicate takes nothing from the probe that is ordered next") {
    Guest guest(100ms, 90ms);
    guest.ask();
    guest.wait(300us);
    guest.answer();
    const auto next = guest.world.next_order();  // not sent yet
    guest.answer();
    guest.world.send(next);
    guest.wait(90ms + tick);
    static_cast<void>(guest.world.poll());
    REQUIRE(guest.counters().lost == 1);
    guest.answer();
    CHECK(guest.counters() == ProbeCounters{2, 1, 1, 1, 1, 0});
}

TEST_CASE("unnumbered: what came before a probe left is no answer to it") {
    Guest guest(100ms, 90ms);
    guest.ask();
    guest.wait(300us);
    guest.answer();
    const WallTime before = guest.world.now.wall;
    guest.ask();
    guest.answer_received(before);
    CHECK(guest.counters() == ProbeCounters{2, 1, 0, 0, 1, 0});
    guest.wait(90ms + tick);
    static_cast<void>(guest.world.poll());
    guest.answer();
    CHECK(guest.counters() == ProbeCounters{2, 1, 1, 1, 1, 0});
}

TEST_CASE("unnumbered: an answer to nothing that ever ended is none") {
    Guest guest;
    const WallTime before = guest.world.now.wall;
    guest.ask();
    guest.wait(1ms);
    guest.answer_received(before - 1ms);
    CHECK(guest.counters() == ProbeCounters{1, 0, 0, 0, 0, 0});
}

TEST_CASE("unnumbered: after the time-out it is lost and late, whether we noticed or not") {
    Guest guest;
    guest.ask();
    guest.wait(501ms);
    SECTION("the time-out was not looked at yet") {
        guest.answer();
        CHECK(guest.counters() == ProbeCounters{1, 0, 1, 1, 0, 0});
    }
    SECTION("it was") {
        guest.wait(tick);
        static_cast<void>(guest.world.poll());
        guest.answer();
        CHECK(guest.counters() == ProbeCounters{1, 0, 1, 1, 0, 0});
    }
    guest.answer();
    CHECK(guest.counters() == ProbeCounters{1, 0, 1, 1, 1, 0});
}

TEST_CASE("unnumbered: probes that were out together give no round trip, in whatever order") {
    Guest guest(100ms, 500ms);
    guest.ask();
    guest.ask();
    guest.wait(300us);
    guest.answer();
    // The only one left: its answer may be to either of the two.
    guest.answer();
    CHECK(guest.counters() == ProbeCounters{2, 2, 0, 0, 0, 0});
    CHECK(guest.samples() == 0);
    CHECK(guest.ambiguous() == 2);
    guest.ask();
    guest.wait(300us);
    guest.answer();
    CHECK(guest.samples() == 1);
}

TEST_CASE("unnumbered: a guest that stood still answers all at once, each counted once") {
    Guest guest(1s, 500ms);
    guest.ask();
    guest.wait(300us);
    guest.answer();
    guest.lose(10);
    const auto before = guest.counters();
    SECTION("while nothing is out") {
        for (int i = 0; i < 10; ++i) {
            guest.answer();
        }
        CHECK(guest.counters().late == 10);
        CHECK(guest.counters().duplicates == 0);
        guest.answer();
        CHECK(guest.counters().duplicates == 1);
    }
    SECTION("while one more is out, whose time none of them measures") {
        guest.ask();
        guest.wait(20ms);
        for (int i = 0; i < 11; ++i) {
            guest.answer();
        }
        CHECK(guest.counters().received == before.received + 1);
        CHECK(guest.counters().late == 10);
        CHECK(guest.counters().duplicates == 0);
        CHECK(guest.samples() == 1);  // that of the beginning
        CHECK(guest.ambiguous() == 1);
    }
}

TEST_CASE("unnumbered: a guest that was off for long owes nothing once it is back") {
    Guest guest(1s, 500ms);
    guest.lose(300);
    guest.ask();
    guest.wait(300us);
    guest.answer();
    CHECK(guest.samples() == 0);
    guest.wait(100ms);
    // Somebody else has its address: now every probe has two answers.
    const auto late = guest.counters().late;
    for (std::uint64_t i = 0; i < 10; ++i) {
        guest.ask();
        guest.wait(300us);
        guest.answer();
        guest.answer();
        CHECK(guest.counters().duplicates == i + 1);
    }
    CHECK(guest.counters().late == late);
    CHECK(guest.samples() == 10);
}

TEST_CASE("unnumbered: without a number nothing is reordered") {
    Guest guest(100ms, 500ms);
    guest.ask();
    guest.ask();
    guest.answer();
    guest.answer();
    CHECK(guest.counters().received == 2);
    CHECK(guest.counters().reordered == 0);
}

/// Random questions, answers, losses, delays and twins, one after the other as a wire keeps them.
TEST_CASE("unnumbered: each answer is received, late or a duplicate, and only one of these") {
    const std::uint64_t seed = GENERATE(range<std::uint64_t>(1, 41));
    CAPTURE(seed);
    Random dice(seed);
    Guest guest(seed % 2 == 0 ? 50ms : 200ms, 120ms);
    std::uint64_t answers = 0;
    std::uint64_t samples_possible = 0;
    for (int i = 0; i < 3000; ++i) {
        switch (dice.below(6)) {
            case 0: guest.wait(Duration(dice.below(30'000'000))); break;
            case 1:
            case 2:
                if (guest.counters().sent > guest.world.in_flight(guest.id())) {
                    ++answers;
                    samples_possible += guest.world.in_flight(guest.id()) > 0 ? 1U : 0U;
                    guest.answer();
                }
                break;
            case 3:
                if (dice.below(20) == 0) {
                    guest.wait(2s);  // we stand still
                }
                break;
            default:
                guest.world.advance(std::max(
                    Duration{}, guest.world.engine.next_deadline() - guest.world.now.mono));
                for (const SendOrder& order : guest.world.poll()) {
                    dice.below(10) == 0 ? guest.world.engine.on_skipped(order, SkipReason::busy)
                                        : guest.world.send(order);
                }
                break;
        }
        guest.world.check(guest.id());
        const ProbeCounters now_is = guest.counters();
        REQUIRE(now_is.received + now_is.late + now_is.duplicates == answers);
        REQUIRE(now_is.late <= now_is.lost);
        REQUIRE(guest.samples() <= now_is.received);
        REQUIRE(guest.samples() <= samples_possible);
    }
    CHECK(guest.counters().received > 100);
    CHECK(guest.counters().late > 0);
    CHECK(guest.counters().duplicates > 0);
    guest.lose(guest.counters().lost);
    CHECK(guest.counters().sent == guest.counters().received + guest.counters().lost);
}

}  // namespace
}  // namespace reachd
