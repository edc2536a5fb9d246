#include "common/glob.hpp"

#include <string>

#include <catch2/catch.hpp>

using namespace reachd;

TEST_CASE("a pattern without stars is a word") {
    CHECK(glob_matches("eno1", "eno1"));
    CHECK_FALSE(glob_matches("eno1", "eno10"));
    CHECK_FALSE(glob_matches("eno1", "Eno1"));
    CHECK_FALSE(glob_matches("", "a"));
    CHECK(glob_matches("", ""));
    CHECK_FALSE(is_glob("eno1.20"));
}

TEST_CASE("stars stand for anything, also for nothing") {
    CHECK(is_glob("v*"));
    CHECK(glob_matches("*", ""));
    CHECK(glob_matches("**", "x"));
    CHECK(glob_matches("vnet*", "vnet"));
    CHECK(glob_matches("vnet*", "vnet12"));
    CHECK(glob_matches("*0", "bond0"));
    CHECK(glob_matches("f*i*", "fwbr100i0"));
    CHECK(glob_matches("*aab", "aaab"));
    CHECK(glob_matches("a*b*c", "a-b-b-c"));
    CHECK_FALSE(glob_matches("a*b*c", "a-c-b"));
    CHECK_FALSE(glob_matches("*x", "xy"));
}

TEST_CASE("a question mark stands for one character") {
    CHECK(is_glob("eno?"));
    CHECK(glob_matches("eno?", "eno1"));
    CHECK(glob_matches("eno?", "enoü"));
    CHECK_FALSE(glob_matches("eno?", "eno"));
    CHECK_FALSE(glob_matches("eno?", "eno12"));
    CHECK(glob_matches("?*", "a"));
    CHECK_FALSE(glob_matches("?*", ""));
}

TEST_CASE("no pattern takes for ever") {
    std::string pattern;
    for (int i = 0; i < 100; ++i) {
        pattern += "a*";
    }
    CHECK_FALSE(glob_matches(pattern + "b", std::string(1000, 'a')));
}
