#include "agent/ctl/quantity_text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>

#include <fmt/format.h>

namespace reachd::ctl {
namespace {

constexpr std::int64_t minute = 60;
constexpr std::int64_t hour = 60 * minute;
constexpr std::int64_t day = 24 * hour;

std::optional<int> digits(std::string_view text) {
    int number = 0;
    const auto* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    const bool whole = error == std::errc() && stop == end && text[0] != '-';
    return whole ? std::optional(number) : std::nullopt;
}

std::int64_t whole_seconds(Duration age) {
    return std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::seconds>(age).count());
}

/// 9.96 is "10", not "10.0": one digit after the point below ten, none above.
std::string short_number(double value) {
    constexpr double rounds_to_ten = 9.95;
    return value < rounds_to_ten ? fmt::format("{:.1f}", value) : fmt::format("{:.0f}", value);
}

}  // namespace

std::optional<WallTime> parse_rfc3339_utc(std::string_view text) {
    // yyyy-mm-ddThh:mm:ss, perhaps a fraction, Z
    constexpr std::size_t second_end = 19;
    constexpr std::size_t fraction_digits_max = 9;
    if (text.size() <= second_end || text[4] != '-' || text[7] != '-' || text[10] != 'T' ||
        text[13] != ':' || text[16] != ':' || text.back() != 'Z') {
        return std::nullopt;
    }
    std::array<int, 6> fields{};
    constexpr std::array<std::pair<std::size_t, std::size_t>, 6> places{
        {{0, 4}, {5, 2}, {8, 2}, {11, 2}, {14, 2}, {17, 2}}};
    for (std::size_t i = 0; i < places.size(); ++i) {
        const auto number = digits(text.substr(places[i].first, places[i].second));
        if (!number) {
            return std::nullopt;
        }
        fields[i] = *number;
    }
    const auto date = std::chrono::year{fields[0]} /
                      std::chrono::month{static_cast<unsigned>(fields[1])} /
                      std::chrono::day{static_cast<unsigned>(fields[2])};
    // WallTime counts nanoseconds in 64 bits: it ends in 2262. A leap second is 60.
    constexpr int year_first = 1970;
    constexpr int year_last = 2261;
    if (!date.ok() || fields[0] < year_first || fields[0] > year_last || fields[3] > 23 ||
        fields[4] > 59 || fields[5] > 60) {
        return std::nullopt;
    }
    Duration fraction{};
    auto rest = text.substr(second_end, text.size() - second_end - 1);
    if (!rest.empty()) {
        std::string padded(rest.substr(1));
        if (rest[0] != '.' || padded.empty() || padded.size() > fraction_digits_max) {
            return std::nullopt;
        }
        padded.resize(fraction_digits_max, '0');
        const auto nanoseconds = digits(padded);
        if (!nanoseconds) {
            return std::nullopt;
        }
        fraction = std::chrono::nanoseconds(*nanoseconds);
    }
    const auto of_day = std::chrono::hours(fields[3]) + std::chrono::minutes(fields[4]) +
                        std::chrono::seconds(fields[5]);
    return WallTime(std::chrono::sys_days(date).time_since_epoch() + of_day + fraction);
}

std::string clock_text(WallTime time) {
    const auto seconds =
        std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count() % day;
    const auto of_day = seconds < 0 ? seconds + day : seconds;
    return fmt::format("{:02}:{:02}:{:02}", of_day / hour, of_day % hour / minute, of_day % minute);
}

std::string rtt_text(double seconds, const Terminal& terminal) {
    constexpr double kilo = 1000.0;
    constexpr double rounds_up = 999.5;
    const double microseconds = std::max(0.0, seconds) * kilo * kilo;
    if (microseconds < rounds_up) {
        return fmt::format("{:.0f} {}", microseconds, glyphs(terminal).microsecond);
    }
    if (microseconds < rounds_up * kilo) {
        return short_number(microseconds / kilo) + " ms";
    }
    return short_number(seconds) + " s";
}

std::string age_text(Duration age) {
    const auto seconds = whole_seconds(age);
    if (seconds < minute) {
        return fmt::format("{}s", seconds);
    }
    if (seconds < hour) {
        return fmt::format("{}m{:02}s", seconds / minute, seconds % minute);
    }
    return seconds < day ? fmt::format("{}h", seconds / hour) : fmt::format("{}d", seconds / day);
}

std::string long_age_text(Duration age) {
    const auto seconds = whole_seconds(age);
    if (seconds < hour) {
        return age_text(age);
    }
    if (seconds < day) {
        return fmt::format("{} h", seconds / hour);
    }
    const auto hours = seconds % day / hour;
    return hours == 0 ? fmt::format("{} d", seconds / day)
                      : fmt::format("{} d {} h", seconds / day, hours);
}

std::string bytes_text(std::uint64_t bytes) {
    constexpr double step = 1024.0;
    const double kibibytes = static_cast<double>(bytes) / step;
    if (kibibytes < step) {
        return fmt::format("{:.0f} KiB", kibibytes);
    }
    const double mebibytes = kibibytes / step;
    return mebibytes < step ? short_number(mebibytes) + " MiB"
                            : short_number(mebibytes / step) + " GiB";
}

std::string percent_text(double ratio) {
    return short_number(std::max(0.0, ratio) * 100.0) + " %";
}

std::string loss_text(double ratio) {
    constexpr double shown_least = 0.0005;
    constexpr double shown_most = 0.995;
    if (ratio <= 0) {
        return "0 %";
    }
    if (ratio < shown_least) {
        return "<0.1 %";
    }
    return ratio >= shown_most && ratio < 1 ? ">99 %" : percent_text(ratio);
}

std::string speed_text(std::uint64_t bits_per_second) {
    constexpr std::uint64_t mega = 1'000'000;
    constexpr std::uint64_t giga = 1'000 * mega;
    if (bits_per_second < giga) {
        return fmt::format("{} Mbit/s", bits_per_second / mega);
    }
    const auto tenths = bits_per_second / (giga / 10);
    return tenths % 10 == 0 ? fmt::format("{} Gbit/s", tenths / 10)
                            : fmt::format("{}.{} Gbit/s", tenths / 10, tenths % 10);
}

}  // namespace reachd::ctl
