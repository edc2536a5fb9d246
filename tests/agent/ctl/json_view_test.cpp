#include "agent/ctl/json_view.hpp"

#include <string>

#include <catch2/catch.hpp>

using namespace reachd::ctl;

TEST_CASE("what is no JSON object is refused") {
    for (const auto* text : {"", "null", "[]", "1", "\"a\"", "{", "{\"a\":}", "{}x", "\xff"}) {
        CAPTURE(text);
        CHECK_FALSE(JsonDocument::parse(text).has_value());
    }
    CHECK_FALSE(JsonDocument::parse(std::string(10'000, '[')).has_value());
}

TEST_CASE("members are read by type") {
    const auto document = JsonDocument::parse(
        R"({"t":"x","b":true,"i":7,"n":1.5,"o":{"t":"y"},"a":[{"i":1},{"i":2}],"s":["p","q"],
            "w":"1970-01-01T00:00:01.000Z"})");
    REQUIRE(document.has_value());
    const auto root = (*document)->root();
    CHECK(root.text("t") == "x");
    CHECK(root.boolean("b") == true);
    CHECK(root.integer("i") == 7);
    CHECK(root.number("i") == 7.0);
    CHECK(root.number("n") == 1.5);
    CHECK(root.object("o")->text("t") == "y");
    REQUIRE(root.objects("a").size() == 2);
    CHECK(root.objects("a")[1].integer("i") == 2);
    CHECK(root.texts("s") == std::vector<std::string>{"p", "q"});
    CHECK(root.time("w") == reachd::WallTime(std::chrono::seconds(1)));
    CHECK((*document)->problem().empty());
}

TEST_CASE("missing and null are unknown, and no problem unless required") {
    const auto document = JsonDocument::parse(R"({"a":null})");
    REQUIRE(document.has_value());
    const auto root = (*document)->root();
    for (const auto* key : {"a", "b"}) {
        CHECK_FALSE(root.text(key).has_value());
        CHECK_FALSE(root.boolean(key).has_value());
        CHECK_FALSE(root.integer(key).has_value());
        CHECK_FALSE(root.number(key).has_value());
        CHECK_FALSE(root.time(key).has_value());
        CHECK_FALSE(root.object(key).has_value());
        CHECK(root.objects(key).empty());
        CHECK(root.texts(key).empty());
    }
    CHECK((*document)->problem().empty());
    root.require("b");
    CHECK((*document)->problem() == "/b is missing");
}

TEST_CASE("wrong types are noted with their place, the first of them") {
    const auto problem_of = [](auto read) {
        const auto document =
            JsonDocument::parse(R"({"x":[1,{}],"n":-1,"o":{"f":1.5},"t":"soon","l":[{"n":"1"}]})");
        REQUIRE(document.has_value());
        read((*document)->root());
        return (*document)->problem();
    };
    CHECK(problem_of([](const JsonView& root) { root.text("x"); }) == "/x is no text");
    CHECK(problem_of([](const JsonView& root) { root.boolean("x"); }) ==
          "/x is neither true nor false");
    CHECK(problem_of([](const JsonView& root) { root.integer("n"); }) ==
          "/n is no whole number from 0 on");
    CHECK(problem_of([](const JsonView& root) { root.number("t"); }) == "/t is no number");
    CHECK(problem_of([](const JsonView& root) { root.object("x"); }) == "/x is no object");
    CHECK(problem_of([](const JsonView& root) { root.objects("x"); }) == "/x/0 is no object");
    CHECK(problem_of([](const JsonView& root) { root.objects("o"); }) == "/o is no array");
    CHECK(problem_of([](const JsonView& root) { root.texts("x"); }) ==
          "/x has an element that is no text");
    CHECK(problem_of([](const JsonView& root) { root.time("t"); }) ==
          "/t is no time in RFC 3339 and UTC");
    CHECK(problem_of([](const JsonView& root) {
              root.object("o")->integer("f");
              root.text("x");
          }) == "/o/f is no whole number from 0 on");
    CHECK(problem_of([](const JsonView& root) { root.objects("l")[0].integer("n"); }) ==
          "/l/0/n is no whole number from 0 on");
}

TEST_CASE("texts cannot steer a terminal") {
    const auto document =
        JsonDocument::parse("{\"t\":\"a\\u001b[31m\\nb\",\"s\":[\"\\u0007\\u202e\"]}");
    REQUIRE(document.has_value());
    const auto root = (*document)->root();
    CHECK(root.text("t") == "a\\x1b[31m\\nb");
    CHECK(root.texts("s")[0].find('\x07') == std::string::npos);
    CHECK(root.texts("s")[0].find("\u202e") == std::string::npos);
}
