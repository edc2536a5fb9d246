#include "agent/ctl/quantity_text.hpp"

#include <chrono>
#include <cmath>
#include <limits>

#include <catch2/catch.hpp>

#include "common/log_text.hpp"

using namespace reachd;
using namespace reachd::ctl;
using namespace std::chrono_literals;

namespace {

constexpr Terminal utf8{80, true, false, true};
constexpr Terminal ascii{80, false, false, true};

}  // namespace

TEST_CASE("times of the API are read back as they were written") {
    for (const auto time :
         {WallTime(0s), WallTime(1'769'831'529'042ms), WallTime(4'102'444'800s)}) {
        CHECK(parse_rfc3339_utc(rfc3339_utc(time)) == time);
    }
    CHECK(parse_rfc3339_utc("1970-01-01T00:00:01Z") == WallTime(1s));
    CHECK(parse_rfc3339_utc("1970-01-01T00:00:00.5Z") == WallTime(500ms));
    CHECK(parse_rfc3339_utc("2024-02-29T00:00:00Z").has_value());
}

TEST_CASE("what is no time is none") {
    for (const auto* text : {"",
                             "Z",
                             "1970-01-01",
                             "1970-01-01T00:00:00",
                             "1970-01-01T00:00:00+00:00",
                             "1970-01-01 00:00:00Z",
                             "2023-02-29T00:00:00Z",
                             "1970-13-01T00:00:00Z",
                             "1970-01-01T24:00:00Z",
                             "1970-01-01T00:60:00Z",
                             "1970-01-01T00:00:61Z",
                             "1970-01-01T00:00:00.Z",
                             "1970-01-01T00:00:00.1234567890Z",
                             "1970-01-01T00:00:00.-1Z",
                             "1970-01-01T00:00:-1Z",
                             "9999-01-01T00:00:00Z",
                             "-970-01-01T00:00:00Z",
                             "1970-01-01T00:00:00,5Z"}) {
        CAPTURE(text);
        CHECK_FALSE(parse_rfc3339_utc(text).has_value());
    }
}

TEST_CASE("round trips take the unit that suits them") {
    CHECK(rtt_text(0.000085, utf8) == "85 µs");
    CHECK(rtt_text(0.000085, ascii) == "85 us");
    CHECK(rtt_text(0.0009994, utf8) == "999 µs");
    CHECK(rtt_text(0.0009996, utf8) == "1.0 ms");
    CHECK(rtt_text(0.0019, utf8) == "1.9 ms");
    CHECK(rtt_text(0.00996, utf8) == "10 ms");
    CHECK(rtt_text(0.2134, utf8) == "213 ms");
    CHECK(rtt_text(0.9996, utf8) == "1.0 s");
    CHECK(rtt_text(12.4, utf8) == "12 s");
    CHECK(rtt_text(-1, utf8) == "0 µs");
}

TEST_CASE("ages are short") {
    CHECK(age_text(0s) == "0s");
    CHECK(age_text(40s) == "40s");
    CHECK(age_text(151s) == "2m31s");
    CHECK(age_text(3605s) == "1h");
    CHECK(age_text(24h * 12 + 4h) == "12d");
    CHECK(age_text(-5s) == "0s");
    CHECK(long_age_text(151s) == "2m31s");
    CHECK(long_age_text(4h + 59min) == "4 h");
    CHECK(long_age_text(24h * 12 + 4h) == "12 d 4 h");
    CHECK(long_age_text(24h) == "1 d");
}

TEST_CASE("quantities have one digit after the point below ten") {
    CHECK(bytes_text(0) == "0 KiB");
    CHECK(bytes_text(512 * 1024) == "512 KiB");
    CHECK(bytes_text(11 * 1024 * 1024) == "11 MiB");
    CHECK(bytes_text(std::uint64_t{1536} * 1024 * 1024) == "1.5 GiB");
    CHECK(percent_text(0.00123) == "0.1 %");
    CHECK(percent_text(0.0996) == "10 %");
    CHECK(percent_text(1) == "100 %");
    CHECK(percent_text(-1) == "0.0 %");
    CHECK(loss_text(0) == "0 %");
    CHECK(loss_text(-1) == "0 %");
    CHECK(loss_text(0.0000001) == "<0.1 %");
    CHECK(loss_text(0.003) == "0.3 %");
    CHECK(loss_text(0.5) == "50 %");
    CHECK(loss_text(0.9999) == ">99 %");
    CHECK(loss_text(1) == "100 %");
    CHECK(speed_text(25'000'000'000) == "25 Gbit/s");
    CHECK(speed_text(2'500'000'000) == "2.5 Gbit/s");
    CHECK(speed_text(100'000'000) == "100 Mbit/s");
}

TEST_CASE("the time of day is UTC, also before 1970") {
    CHECK(clock_text(WallTime(1'769'829'129'042ms)) == "03:12:09");
    CHECK(clock_text(WallTime(-1s)) == "23:59:59");
}

TEST_CASE("no number is too odd to be written") {
    for (const double number : {std::numeric_limits<double>::max(),
                                std::numeric_limits<double>::lowest(),
                                std::numeric_limits<double>::infinity(),
                                std::nan("")}) {
        CHECK_FALSE(rtt_text(number, utf8).empty());
        CHECK_FALSE(percent_text(number).empty());
        CHECK_FALSE(loss_text(number).empty());
    }
    CHECK_FALSE(bytes_text(std::numeric_limits<std::uint64_t>::max()).empty());
    CHECK_FALSE(speed_text(std::numeric_limits<std::uint64_t>::max()).empty());
    CHECK_FALSE(age_text(Duration::max()).empty());
    CHECK_FALSE(long_age_text(Duration::min()).empty());
}
