#include "agent/ctl/state_look.hpp"

#include <string>

#include <catch2/catch.hpp>

using namespace reachd::ctl;

TEST_CASE("each state has a symbol, and a colour where it says how things are") {
    constexpr Terminal utf8{80, true, false, true};
    constexpr Terminal ascii{80, false, false, true};
    CHECK(symbol_of("up", utf8) == "●");
    CHECK(symbol_of("degraded", utf8) == "▲");
    CHECK(symbol_of("suspect", ascii) == "!");
    CHECK(symbol_of("down", ascii) == "x");
    CHECK(symbol_of("unknown", utf8) == "○");
    CHECK(ink_of("up") == Ink::good);
    CHECK(ink_of("suspect") == Ink::warning);
    CHECK(ink_of("down") == Ink::bad);
    CHECK(ink_of("unknown") == Ink::plain);
}

TEST_CASE("a word of a newer daemon is not taken for well") {
    for (const auto* word : {"", "UP", "upside", "maintenance"}) {
        CHECK(health_of(word) == Health::unknown);
    }
    CHECK(health_of("down") < health_of("suspect"));
    CHECK(health_of("suspect") < health_of("up"));
    CHECK(health_of("up") < health_of("unknown"));
}
