#include "agent/ctl/word_choice.hpp"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace reachd::ctl;

namespace {

const std::vector<Names> hosts{
    {"db1", "10.0.0.1"}, {"db2", "10.0.0.2"}, {"web", ""}, {"web", "fe80::1%br0", "fe80::1"}};

std::vector<bool> chosen(const std::vector<std::string>& words) {
    const auto result = choose(words, hosts, "peer", "reachctl peers --all");
    REQUIRE(result.has_value());
    return *result;
}

std::string problem(const std::string& word) {
    const auto result = choose({word}, hosts, "peer", "reachctl peers --all");
    return result ? "none" : result.error();
}

}  // namespace

TEST_CASE("without words everything is meant") {
    CHECK(chosen({}) == std::vector<bool>{true, true, true, true});
}

TEST_CASE("words mean by any name, by globs, and add up") {
    CHECK(chosen({"db1"}) == std::vector<bool>{true, false, false, false});
    CHECK(chosen({"web"}) == std::vector<bool>{false, false, true, true});
    CHECK(chosen({"10.0.0.2", "db1"}) == std::vector<bool>{true, true, false, false});
    CHECK(chosen({"fe80::1"}) == std::vector<bool>{false, false, false, true});
    CHECK(chosen({"db?"}) == std::vector<bool>{true, true, false, false});
    CHECK(chosen({"*"}) == std::vector<bool>{true, true, true, true});
}

TEST_CASE("a word that means nothing is an error, with what is near") {
    CHECK(problem("db11") == "no peer 'db11'; near: db1. All: reachctl peers --all");
    CHECK(problem("zzzzzz") == "no peer 'zzzzzz'. All: reachctl peers --all");
    CHECK(problem("x*") == "no peer 'x*'. All: reachctl peers --all");
    CHECK(problem("") == "no peer ''. All: reachctl peers --all");
    CHECK(problem("\x1b[2J").find('\x1b') == std::string::npos);
}

TEST_CASE("nobody types a zone") {
    CHECK(without_zone("fe80::1%br0") == "fe80::1");
    CHECK(without_zone("10.0.0.1") == "10.0.0.1");
    CHECK(without_zone("").empty());
}
