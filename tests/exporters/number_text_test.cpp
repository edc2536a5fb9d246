#include "exporters/number_text.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>

#include <catch2/catch.hpp>
#include <fmt/core.h>

#include "common/random.hpp"

using namespace reachd;

namespace {

std::string seconds(std::int64_t nanoseconds) {
    std::array<char, number_text_max> text{};
    return {text.data(), write_seconds(text.data(), Duration(nanoseconds))};
}

std::string unix_seconds(std::int64_t nanoseconds) {
    std::array<char, number_text_max> text{};
    return {text.data(), write_unix_seconds(text.data(), WallTime(Duration(nanoseconds)))};
}

}  // namespace

TEST_CASE("durations are plain decimals without needless digits") {
    CHECK(seconds(0) == "0");
    CHECK(seconds(1) == "0.000000001");
    CHECK(seconds(123'000) == "0.000123");
    CHECK(seconds(100'000'000) == "0.1");
    CHECK(seconds(1'000'000'000) == "1");
    CHECK(seconds(12'500'000'000) == "12.5");
    CHECK(seconds(10'000'000'001) == "10.000000001");
    CHECK(seconds(999'999'999'999'999) == "999999.999999999");
}

TEST_CASE("long durations fall back to the nearest double") {
    CHECK(seconds(1'000'000'000'000'000) == "1000000");
    CHECK(seconds(1'000'000'000'000'001) == "1000000.000000001");
    CHECK(std::strtod(seconds(std::numeric_limits<std::int64_t>::max()).c_str(), nullptr) ==
          9223372036.854775807);
}

TEST_CASE("a negative duration is written, not mangled") {
    CHECK(seconds(-1'500'000'000) == "-1.5");
    CHECK(seconds(std::numeric_limits<std::int64_t>::min()).size() < number_text_max);
}

TEST_CASE("durations read back to the double they stand for, in no more digits than it needs") {
    Random random(3);
    for (int i = 0; i < 20'000; ++i) {
        const auto bits = random.below(63);
        const auto nanoseconds = static_cast<std::int64_t>(random.next() >> (bits + 1));
        const auto text = seconds(nanoseconds);
        const auto exact =
            fmt::format("{}.{:09}", nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000);
        CAPTURE(exact, text);
        const double value = std::strtod(text.c_str(), nullptr);
        const double expected = std::strtod(exact.c_str(), nullptr);
        // Beyond 11 days the last bit may be off: some 100 ns of a time of day.
        const double allowed = nanoseconds < 1'000'000'000'000'000 ? 0 : expected * 2.3e-16;
        REQUIRE(std::fabs(value - expected) <= allowed);
        std::array<char, 64> shortest{};
        const auto end = std::to_chars(
            shortest.data(), shortest.data() + shortest.size(), value, std::chars_format::fixed);
        REQUIRE(text == std::string(shortest.data(), end.ptr));
    }
}

TEST_CASE("times of day are plain decimals too") {
    CHECK(unix_seconds(1'700'000'000'000'000'000) == "1700000000");
    CHECK(unix_seconds(1'700'000'000'250'000'000) == "1700000000.25");
}

TEST_CASE("floating-point values have the form of Prometheus' own libraries") {
    CHECK(float_text(0) == "0");
    CHECK(float_text(1) == "1");
    CHECK(float_text(-1.5) == "-1.5");
    CHECK(float_text(0.25) == "0.25");
    CHECK(float_text(0.0001) == "0.0001");
    CHECK(float_text(0.00005) == "5e-05");
    CHECK(float_text(0.000012) == "1.2e-05");
    CHECK(float_text(100) == "100");
    CHECK(float_text(123456) == "123456");
    CHECK(float_text(1234567) == "1.234567e+06");
    CHECK(float_text(1e100) == "1e+100");
    CHECK(float_text(0.1 + 0.2) == "0.30000000000000004");
    CHECK(float_text(std::numeric_limits<double>::infinity()) == "+Inf");
    CHECK(float_text(-std::numeric_limits<double>::infinity()) == "-Inf");
    CHECK(float_text(std::numeric_limits<double>::quiet_NaN()) == "NaN");
}

TEST_CASE("bounds of buckets always look like floating-point numbers") {
    CHECK(bucket_bound_text(1) == "1.0");
    CHECK(bucket_bound_text(10) == "10.0");
    CHECK(bucket_bound_text(0) == "0.0");
    CHECK(bucket_bound_text(0.005) == "0.005");
    CHECK(bucket_bound_text(0.00001) == "1e-05");
    CHECK(bucket_bound_text(1e6) == "1e+06");
    CHECK(bucket_bound_text(std::numeric_limits<double>::infinity()) == "+Inf");
}
