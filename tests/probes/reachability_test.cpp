// The verdict's state machine: each state with each event, and the promises that follow from it.
#include "probes/reachability.hpp"

#include <initializer_list>

#include <catch2/catch.hpp>

#include "common/random.hpp"

using namespace reachd;

namespace {

using Event = ReachabilityMachine::Event;
using Action = ReachabilityMachine::Action;

ReachabilityMachine after(std::initializer_list<Event> events) {
    ReachabilityMachine machine;
    for (const Event event : events) {
        machine.handle(event);
    }
    return machine;
}

}  // namespace

TEST_CASE("reachability: before the first verdict there is none") {
    const ReachabilityMachine fresh;
    CHECK(fresh.state() == Reachability::unknown);
    CHECK(fresh.up() == std::nullopt);
    const auto suspected = after({Event::no_answer});
    CHECK(suspected.state() == Reachability::suspect);
    CHECK(suspected.up() == std::nullopt);
}

TEST_CASE("reachability: the first answer is a verdict") {
    auto machine = after({});
    CHECK(machine.handle(Event::answer) == Action::end_burst);
    CHECK(machine.state() == Reachability::up);
    CHECK(machine.up() == true);
}

TEST_CASE("reachability: a first loss asks for confirmation and changes no verdict") {
    auto machine = after({Event::answer});
    CHECK(machine.handle(Event::no_answer) == Action::begin_burst);
    CHECK(machine.state() == Reachability::suspect);
    CHECK(machine.up() == true);
    SECTION("further losses begin no second burst") {
        CHECK(machine.handle(Event::no_answer) == Action::none);
        CHECK(machine.state() == Reachability::suspect);
    }
    SECTION("one answer clears it") {
        CHECK(machine.handle(Event::answer) == Action::end_burst);
        CHECK(machine.state() == Reachability::up);
    }
    SECTION("silence to the end is down") {
        CHECK(machine.handle(Event::verdict_due) == Action::end_burst);
        CHECK(machine.state() == Reachability::down);
        CHECK(machine.up() == false);
    }
}

TEST_CASE("reachability: a peer never heard of is down after the same confirmation") {
    auto machine = after({Event::no_answer, Event::verdict_due});
    CHECK(machine.state() == Reachability::down);
    CHECK(machine.up() == false);
}

TEST_CASE("reachability: two answers bring a peer back, one does not") {
    auto machine = after({Event::answer, Event::no_answer, Event::verdict_due});
    CHECK(machine.handle(Event::no_answer) == Action::none);
    CHECK(machine.handle(Event::answer) == Action::begin_burst);
    CHECK(machine.state() == Reachability::down);
    CHECK(machine.up() == false);
    SECTION("the second answer") {
        CHECK(machine.handle(Event::answer) == Action::end_burst);
        CHECK(machine.state() == Reachability::up);
        CHECK(machine.up() == true);
    }
    SECTION("a loss in between changes nothing") {
        CHECK(machine.handle(Event::no_answer) == Action::none);
        CHECK(machine.handle(Event::answer) == Action::end_burst);
        CHECK(machine.up() == true);
    }
    SECTION("silence throws it back, and the next try needs two again") {
        CHECK(machine.handle(Event::verdict_due) == Action::end_burst);
        CHECK(machine.handle(Event::answer) == Action::begin_burst);
        CHECK(machine.up() == false);
    }
}

TEST_CASE("reachability: a verdict that is due when none is pending changes nothing") {
    for (const auto& events : {std::initializer_list<Event>{},
                               {Event::answer},
                               {Event::answer, Event::no_answer, Event::verdict_due}}) {
        auto machine = after(events);
        const auto before = machine;
        CHECK(machine.handle(Event::verdict_due) == Action::none);
        CHECK(machine == before);
    }
}

TEST_CASE("reachability: the verdict only falls at a verdict's time, through any events") {
    Random random(11);
    ReachabilityMachine machine;
    bool burst = false;
    for (int i = 0; i < 100000; ++i) {
        const auto event = static_cast<Event>(random.below(3));
        const auto before = machine.up();
        const auto action = machine.handle(event);
        if (machine.up() != before) {
            REQUIRE(event == (machine.up() == true ? Event::answer : Event::verdict_due));
        }
        REQUIRE((before.has_value() ? machine.up().has_value() : true));
        // A burst begins only when none runs; suspicion always has one running.
        if (action == Action::begin_burst) {
            REQUIRE_FALSE(burst);
            burst = true;
        } else if (action == Action::end_burst) {
            burst = false;
        }
        REQUIRE((machine.state() == Reachability::suspect ? burst : true));
        REQUIRE((machine.state() == Reachability::up ? !burst : true));
    }
}
