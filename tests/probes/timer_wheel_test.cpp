// The timing wheel against what it promises: never early, never late by more than a tick, and a
// deadline to wake up for that is never too late. A map with the exact times is the reference.
#include "probes/timer_wheel.hpp"

#include <algorithm>
#include <map>
#include <vector>

#include <catch2/catch.hpp>

#include "common/random.hpp"

using namespace reachd;
using namespace std::chrono_literals;

namespace {

constexpr MonoTime start{1234567ns};

std::vector<std::uint32_t> sorted(std::vector<std::uint32_t> ids) {
    std::sort(ids.begin(), ids.end());
    return ids;
}

/// Wakes up exactly when the wheel asks to, and says when timer `id` fired.
MonoTime fires_at(TimerWheel& wheel, std::uint32_t id) {
    while (wheel.is_scheduled(id)) {
        const MonoTime wake = wheel.next_deadline();
        REQUIRE(wake != mono_never);
        const auto due = wheel.take_due(wake);
        if (std::find(due.begin(), due.end(), id) != due.end()) {
            return wake;
        }
    }
    FAIL("the timer was not set");
    return mono_never;
}

}  // namespace

TEST_CASE("timer wheel: an empty wheel waits for nothing") {
    TimerWheel wheel(start);
    CHECK(wheel.next_deadline() == mono_never);
    CHECK(wheel.take_due(start + 100h).empty());
    CHECK(wheel.next_deadline() == mono_never);
    CHECK_FALSE(wheel.is_scheduled(0));
    wheel.cancel(17);  // never seen: nothing to do
}

TEST_CASE("timer wheel: fires at its time, rounded up to a tick") {
    const Duration wait = GENERATE(Duration{1},
                                   Duration{9999999},
                                   Duration{10ms},
                                   Duration{10000001},
                                   Duration{10239ms},
                                   Duration{10240ms},
                                   Duration{10241ms},
                                   Duration{20480ms},
                                   Duration{61s},
                                   Duration{1h});
    TimerWheel wheel(start);
    wheel.schedule(3, start + wait);
    const MonoTime fired = fires_at(wheel, 3);
    CHECK(fired >= start + wait);
    CHECK(fired < start + wait + TimerWheel::tick);
    CHECK_FALSE(wheel.is_scheduled(3));
}

TEST_CASE("timer wheel: a time in the past, or before the wheel began, fires at the next tick") {
    TimerWheel wheel(start);
    wheel.take_due(start + 5s);
    wheel.schedule(0, start - 1h);
    wheel.schedule(1, start + 1s);
    CHECK(wheel.take_due(start + 5s).empty());
    CHECK(wheel.next_deadline() == start + 5s + TimerWheel::tick);
    CHECK(sorted(wheel.take_due(start + 5s + TimerWheel::tick)) ==
          std::vector<std::uint32_t>{0, 1});
}

TEST_CASE("timer wheel: a clock before the start of the wheel fires nothing") {
    TimerWheel wheel(start);
    wheel.schedule(0, start);
    CHECK(wheel.take_due(start - 1s).empty());
    CHECK(wheel.is_scheduled(0));
}

TEST_CASE("timer wheel: after a pause of many turns everything due comes at once, the rest stays") {
    TimerWheel wheel(start);
    for (std::uint32_t id = 0; id < 100; ++id) {
        wheel.schedule(id, start + id * 1s);
    }
    CHECK(wheel.take_due(start + 49s + 500ms).size() == 50);
    CHECK(wheel.is_scheduled(50));
    CHECK(wheel.take_due(start + 10h).size() == 50);
    CHECK(wheel.next_deadline() == mono_never);
}

TEST_CASE("timer wheel: setting a timer again replaces its time") {
    TimerWheel wheel(start);
    wheel.schedule(7, start + 100ms);
    wheel.schedule(7, start + 30ms);
    CHECK(wheel.take_due(start + 50ms) == std::vector<std::uint32_t>{7});
    CHECK(wheel.take_due(start + 1s).empty());
    wheel.schedule(7, start + 1100ms);
    wheel.schedule(7, start + 30s);
    CHECK(wheel.take_due(start + 29s).empty());
    CHECK(wheel.take_due(start + 30s) == std::vector<std::uint32_t>{7});
}

TEST_CASE("timer wheel: timers are set, moved and cancelled while the due ones are walked") {
    TimerWheel wheel(start);
    for (std::uint32_t id = 0; id < 8; ++id) {
        wheel.schedule(id, start + 10ms);
    }
    wheel.schedule(100, start + 20ms);
    std::size_t walked = 0;
    const auto& due = wheel.take_due(start + 10ms);
    for (const std::uint32_t id : due) {
        wheel.schedule(id, start + 20ms);              // itself
        wheel.schedule(200 + id, start);               // new ones grow the table
        wheel.cancel(due[(walked + 1) % due.size()]);  // a neighbour
        wheel.cancel(100);
        ++walked;
    }
    CHECK(walked == 8);
    // Each one cancelled the next and then set itself: only the first was cancelled for good.
    const auto next = wheel.take_due(start + 20ms);
    CHECK(next.size() == 7 + 8);
    CHECK(std::find(next.begin(), next.end(), 100U) == next.end());
}

TEST_CASE("timer wheel: the wake-ups for one far timer are few") {
    TimerWheel wheel(start);
    wheel.schedule(0, start + 1h);
    int wakes = 0;
    while (wheel.take_due(wheel.next_deadline()).empty()) {
        ++wakes;
    }
    CHECK(wakes <= 3600 / 10 + 1);  // one a turn of the wheel
}

TEST_CASE("timer wheel: agrees with an exact model through random operations") {
    const std::uint64_t seed = GENERATE(1U, 2U, 3U, 4U, 5U, 6U);
    CAPTURE(seed);
    // Timers more than a turn away may wake us early; without them the deadline is exact.
    const bool far_timers = seed % 2 == 0;
    Random random(seed);
    TimerWheel wheel(start);
    std::map<std::uint32_t, MonoTime> model;
    MonoTime now = start;
    MonoTime walked = start;  // the last take_due
    const auto tick_after = [](MonoTime time) {
        const auto elapsed = std::max(Duration{0}, time - start);
        return start + (elapsed + TimerWheel::tick - 1ns) / TimerWheel::tick * TimerWheel::tick;
    };
    // When the wheel may fire it: at its tick, or at the next one for what is already past.
    const auto fire_tick = [&](MonoTime at) {
        const auto next = start + ((walked - start) / TimerWheel::tick + 1) * TimerWheel::tick;
        return std::max(tick_after(at), next);
    };
    std::map<std::uint32_t, MonoTime> fire;
    for (int step = 0; step < 20000; ++step) {
        const std::uint32_t id = random.below(300);
        switch (random.below(8)) {
            case 0: {
                wheel.cancel(id);
                model.erase(id);
                fire.erase(id);
                break;
            }
            case 1:
            case 2:
            case 3:
            case 4: {
                // Microseconds.
                const auto span = far_timers && random.below(4) == 0 ? 60'000'000U : 400'000U;
                const MonoTime at = now - 50ms + Duration(random.below(span) * 1000LL);
                wheel.schedule(id, at);
                model[id] = at;
                fire[id] = fire_tick(at);
                break;
            }
            default: {
                const auto span = random.below(50) == 0 ? 40'000'000U : 60'000U;
                now += Duration(random.below(span) * 1000LL);
                std::vector<std::uint32_t> expected;
                for (const auto& [timer, tick] : fire) {
                    if (tick <= now) {
                        expected.push_back(timer);
                    }
                }
                const auto due = sorted(wheel.take_due(now));
                REQUIRE(due == expected);
                for (const std::uint32_t timer : due) {
                    REQUIRE(model[timer] <= now);  // never early
                    model.erase(timer);
                    fire.erase(timer);
                }
                walked = now;
            }
        }
        REQUIRE(wheel.is_scheduled(id) == model.contains(id));
        MonoTime first = mono_never;
        for (const auto& [timer, tick] : fire) {
            first = std::min(first, tick);
        }
        const MonoTime wake = wheel.next_deadline();
        REQUIRE(wake <= first);  // never late
        if (!far_timers) {
            REQUIRE(wake == first);
        }
        REQUIRE((wake == mono_never) == model.empty());
    }
}
