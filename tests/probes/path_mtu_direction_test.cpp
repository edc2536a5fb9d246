#include "probes/path_mtu_direction.hpp"

#include <catch2/catch.hpp>

namespace reachd {
namespace {

using Test = PathMtuDirection::Test;

struct Answers {
    bool answer;  // B
    bool answer_control;
    bool datagram;  // C
    bool datagram_control;
};

PathMtuDirection after(const Answers& answers) {
    PathMtuDirection tests;
    if (answers.answer) {
        tests.on_answer(Test::large_answer, false);
    }
    if (answers.answer_control) {
        tests.on_answer(Test::large_answer, true);
    }
    if (answers.datagram) {
        tests.on_answer(Test::large_datagram, false);
    }
    if (answers.datagram_control) {
        tests.on_answer(Test::large_datagram, true);
    }
    return tests;
}

TEST_CASE("holes are told apart", "[path_mtu_direction]") {
    CHECK(after({true, true, false, true}).direction() == MtuDirection::forward);
    CHECK(after({false, true, true, true}).direction() == MtuDirection::reverse);
    CHECK(after({false, true, false, true}).direction() == MtuDirection::both);
}

TEST_CASE("one way that passes leaves the other", "[path_mtu_direction]") {
    CHECK(after({true, true, false, false}).direction() == MtuDirection::forward);
    CHECK(after({false, false, true, true}).direction() == MtuDirection::reverse);
}

TEST_CASE("silence where everything is filtered says nothing", "[path_mtu_direction]") {
    CHECK(after({false, false, false, false}).direction() == MtuDirection::unknown);
    CHECK(after({false, false, false, true}).direction() == MtuDirection::unknown);
    CHECK(after({false, true, false, false}).direction() == MtuDirection::unknown);
}

TEST_CASE("when both ways pass by themselves it is no matter of size", "[path_mtu_direction]") {
    CHECK(after({true, true, true, true}).direction() == MtuDirection::unknown);
    CHECK(after({true, true, true, true}).forward() == Passage::passes);
    CHECK(after({true, true, true, true}).reverse() == Passage::passes);
}

TEST_CASE("a large answer needs no control", "[path_mtu_direction]") {
    CHECK(after({true, false, false, true}).direction() == MtuDirection::forward);
    CHECK(after({false, true, true, false}).direction() == MtuDirection::reverse);
}

}  // namespace
}  // namespace reachd
