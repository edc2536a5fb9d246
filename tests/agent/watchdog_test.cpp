// The watchdog is fed for real progress of both loops, and for nothing else.
#include "agent/watchdog.hpp"

#include <catch2/catch.hpp>

using namespace reachd;
using namespace std::chrono_literals;

namespace {

const MonoTime start(1000s);

/// Both loops well: the probe loop will be back in a second, the web loop has answered.
LoopProgress lively() {
    LoopProgress progress(5s);
    progress.on_probe_progress(start + 1s);
    progress.on_web_answer(progress.take_ask().value());
    return progress;
}

}  // namespace

TEST_CASE("nothing is alive before it has shown life") {
    LoopProgress progress(5s);
    CHECK_FALSE(progress.both_alive(start));
    progress.on_probe_progress(mono_never);
    CHECK(progress.probe_alive(start));
    CHECK_FALSE(progress.both_alive(start));
    const auto ask = progress.take_ask();
    REQUIRE(ask.has_value());
    CHECK_FALSE(progress.both_alive(start));
    progress.on_web_answer(*ask);
    CHECK(progress.both_alive(start));
}

TEST_CASE("an answer alone does not make the probe loop alive") {
    LoopProgress progress(5s);
    progress.on_web_answer(progress.take_ask().value());
    CHECK(progress.web_alive());
    CHECK_FALSE(progress.both_alive(start));
}

TEST_CASE("a probe loop that misses its own deadline by more than the tolerance is not alive") {
    auto progress = lively();
    CHECK(progress.both_alive(start + 6s));
    CHECK_FALSE(progress.both_alive(start + 6s + 1ns));
    progress.on_probe_progress(start + 8s);
    CHECK(progress.both_alive(start + 7s));
}

TEST_CASE("an idle probe loop stays alive without being woken") {
    auto progress = lively();
    progress.on_probe_progress(mono_never);
    CHECK(progress.both_alive(start + std::chrono::hours(24 * 365)));
}

TEST_CASE("an unanswered question keeps the watchdog hungry, and is not repeated") {
    auto progress = lively();
    const auto ask = progress.take_ask();
    REQUIRE(ask.has_value());
    for (int i = 0; i < 100; ++i) {
        CHECK_FALSE(progress.both_alive(start));
        CHECK_FALSE(progress.take_ask().has_value());
    }
    progress.on_web_answer(*ask);
    CHECK(progress.both_alive(start));
    CHECK(progress.take_ask().has_value());
}

TEST_CASE("only the answer to the last question counts") {
    auto progress = lively();
    const auto ask = progress.take_ask().value();
    progress.on_web_answer(ask - 1);
    CHECK_FALSE(progress.web_alive());
    progress.on_web_answer(ask + 1);
    CHECK_FALSE(progress.web_alive());
    progress.on_web_answer(ask);
    CHECK(progress.web_alive());
    progress.on_web_answer(ask - 1);
    CHECK(progress.web_alive());
}

TEST_CASE("the loops are looked after four times in the service manager's limit") {
    CHECK(watchdog_period(30s) == 7500ms);
    CHECK(watchdog_period(1us) == 1ms);  // an absurd limit is no reason to spin
}
