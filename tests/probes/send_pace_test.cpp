// The rate of probes: never above the limit, without bursts after a pause, less when we are late.
#include "probes/send_pace.hpp"

#include <catch2/catch.hpp>

namespace reachd {
namespace {

using namespace std::chrono_literals;

constexpr MonoTime start{1h};

/// Takes all it can get in `time`, at wake-ups `every` so often.
std::uint64_t taken_in(SendPace& pace, MonoTime from, Duration time, Duration every) {
    std::uint64_t taken = 0;
    for (Duration at = every; at <= time; at += every) {
        pace.on_wake_up(from + at, 0ms);
        while (pace.take()) {
            ++taken;
        }
    }
    return taken;
}

TEST_CASE("pace: the limit holds over a second, whatever the limit") {
    const std::uint32_t limit = GENERATE(1U, 3U, 100U, 50'000U);
    CAPTURE(limit);
    SendPace pace(limit, start);
    const auto taken = taken_in(pace, start, 10s, 10ms);
    CHECK(taken <= 10ULL * limit);
    CHECK(taken + 2 >= 10ULL * limit);
}

TEST_CASE("pace: a pause is not made up for") {
    SendPace pace(1000, start);
    pace.on_wake_up(start + 1h, 0ms);
    CHECK(pace.has_for(20));
    CHECK_FALSE(pace.has_for(21));
}

TEST_CASE("pace: a new limit holds at once, and none exceeds the maximum") {
    SendPace pace(10, start);
    pace.set_probes_per_second(0xffffffffU);
    const auto taken = taken_in(pace, start, 1s, 10ms);
    CHECK(taken <= SendPace::probes_per_second_max);
    CHECK(taken > SendPace::probes_per_second_max - 100);
}

TEST_CASE("pace: what is given back can be taken again") {
    SendPace pace(100, start);
    pace.on_wake_up(start + 10ms, 0ms);
    REQUIRE(pace.take());
    REQUIRE_FALSE(pace.take());
    pace.give_back();
    CHECK(pace.take());
}

TEST_CASE("pace: a loop that is always late throttles itself, to a tenth at most, and recovers") {
    SendPace pace(1000, start);
    MonoTime now = start;
    const auto run = [&](Duration time, Duration lag) {
        for (const MonoTime end = now + time; now < end; now += 100ms) {
            pace.on_wake_up(now, lag);
        }
    };
    run(2s, 10ms);
    CHECK(pace.throttle_ratio() == 1.0);
    run(3s, 80ms);
    CHECK(pace.throttle_ratio() < 0.7);
    run(60s, 80ms);
    CHECK(pace.throttle_ratio() == Approx(0.1));
    const double before = pace.throttle_ratio();
    run(10s, 30ms);  // neither late nor in time
    CHECK(pace.throttle_ratio() == before);
    run(60s, 1ms);
    CHECK(pace.throttle_ratio() == 1.0);
}

TEST_CASE("pace: one long stop alone does not throttle") {
    SendPace pace(1000, start);
    MonoTime now = start;
    const auto every = GENERATE(100ms, 250ms);  // as of thousands of peers, or of three
    for (int i = 0; i < 100; ++i, now += every) {
        pace.on_wake_up(now, i == 50 ? Duration(1h) : 0ms);
        CHECK(pace.throttle_ratio() == 1.0);
    }
}

}  // namespace
}  // namespace reachd
