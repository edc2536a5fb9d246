#include "exporters/json_text.hpp"

#include <chrono>
#include <cmath>
#include <limits>
#include <string>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "common/random.hpp"

using namespace reachd;

namespace {

std::string text_of(std::string_view value) {
    JsonText out;
    out.begin_object();
    out.text("a", value);
    out.end_object();
    return out.take();
}

}  // namespace

TEST_CASE("values are separated and nested as written") {
    JsonText out;
    out.begin_object();
    out.begin_array("none");
    out.end_array();
    out.begin_array("list");
    out.element("x");
    out.element("{");
    out.begin_object();
    out.end_object();
    out.begin_object();
    out.flag("t", true);
    out.flag("f", false);
    out.end_object();
    out.end_array();
    out.begin_object("inner");
    out.null("n");
    out.number("max", std::numeric_limits<std::uint64_t>::max());
    out.number("zero", 0);
    out.end_object();
    out.text("open", "[");
    out.text_or_null("empty", "");
    out.text_or_null("full", "v");
    out.end_object();
    CHECK(out.take() == R"({"none":[],"list":["x","{",{},{"t":true,"f":false}],)"
                        R"("inner":{"n":null,"max":18446744073709551615,"zero":0},)"
                        R"("open":"[","empty":null,"full":"v"})");
}

TEST_CASE("reals are the shortest that read back, or null") {
    JsonText out;
    out.begin_object();
    out.real("a", 15.5);
    out.real("b", 0.1);
    out.real("c", std::numeric_limits<double>::infinity());
    out.real("d", std::nan(""));
    out.end_object();
    CHECK(out.take() == R"({"a":15.5,"b":0.1,"c":null,"d":null})");
}

TEST_CASE("times and durations have one form, and null where there is none") {
    JsonText out;
    out.begin_object();
    out.seconds("a", std::chrono::microseconds(214));
    out.seconds_or_null("b", std::nullopt);
    out.seconds_or_null("c", Duration::zero());
    out.time_or_null("d", WallTime{});
    out.time_or_null("e", WallTime(std::chrono::milliseconds(1'700'000'000'042)));
    out.end_object();
    CHECK(out.take() == R"({"a":0.000214,"b":null,"c":0,"d":null,"e":"2023-11-14T22:13:20.042Z"})");
}

TEST_CASE("names that are not ours are escaped") {
    JsonText out;
    out.begin_object();
    out.foreign_text("a\"b", "c");
    out.foreign_text("\xff", "\"");
    out.end_object();
    CHECK(out.take() == "{\"a\\\"b\":\"c\",\"\xef\xbf\xbd\":\"\\\"\"}");
}

TEST_CASE("texts are escaped, and what is not UTF-8 is replaced") {
    CHECK(text_of("eth0") == R"({"a":"eth0"})");
    CHECK(text_of("a\"b\\c") == R"({"a":"a\"b\\c"})");
    CHECK(text_of("\n\t\x01\x7f") == "{\"a\":\"\\n\\t\\u0001\x7f\"}");
    CHECK(text_of("é") == "{\"a\":\"é\"}");
    CHECK(text_of("\xff") == "{\"a\":\"\xef\xbf\xbd\"}");
    CHECK(text_of(std::string_view("\0", 1)) == "{\"a\":\"\\u0000\"}");
}

TEST_CASE("any bytes give a text that parses, and ASCII comes back as it was") {
    Random random(9);
    for (int round = 0; round < 2000; ++round) {
        std::string value(random.below(12), '\0');
        const bool is_ascii = round % 2 == 0;
        for (char& letter : value) {
            letter = static_cast<char>(random.below(is_ascii ? 128 : 256));
        }
        const auto parsed = nlohmann::json::parse(text_of(value));
        if (is_ascii) {
            CHECK(parsed["a"] == value);
        }
    }
}
