#include "exporters/number_text.hpp"

#include <array>
#include <cmath>
#include <cstdlib>
#include <string_view>

namespace reachd {
namespace {

constexpr std::uint64_t nanoseconds_per_second = 1'000'000'000;

// Up to 15 significant digits, a decimal is the shortest text of the double nearest to it.
constexpr std::int64_t exact_nanoseconds_max = 999'999'999'999'999;

/// Nine digits of a fraction without its trailing zeros, behind a point; nothing for zero.
char* write_fraction(char* at, std::uint64_t nanoseconds) {
    if (nanoseconds == 0) {
        return at;
    }
    *at++ = '.';
    std::size_t digits = 9;
    while (nanoseconds % 10 == 0) {
        nanoseconds /= 10;
        --digits;
    }
    for (std::size_t i = digits; i > 0; --i) {
        at[i - 1] = static_cast<char>('0' + nanoseconds % 10);
        nanoseconds /= 10;
    }
    return at + digits;
}

char* write_nanoseconds(char* at, std::int64_t nanoseconds) {
    if (nanoseconds < 0 || nanoseconds > exact_nanoseconds_max) {
        // long double holds more than 53 bits, and so the nanoseconds of today unrounded.
        const auto seconds = static_cast<double>(static_cast<long double>(nanoseconds) / 1e9L);
        return std::to_chars(at, at + number_text_max, seconds, std::chars_format::fixed).ptr;
    }
    const auto value = static_cast<std::uint64_t>(nanoseconds);
    at = write_unsigned(at, value / nanoseconds_per_second);
    return write_fraction(at, value % nanoseconds_per_second);
}

/// "d.ddde±xx" taken apart: digits without the point, and the power of ten of the first one.
struct Scientific {
    std::string digits;
    int exponent = 0;
};

Scientific shortest_digits(double magnitude) {
    std::array<char, 40> text{};
    const auto end = std::to_chars(
        text.data(), text.data() + text.size(), magnitude, std::chars_format::scientific);
    const std::string_view whole(text.data(), static_cast<std::size_t>(end.ptr - text.data()));
    const auto mark = whole.find('e');
    Scientific parts;
    for (const char character : whole.substr(0, mark)) {
        if (character != '.') {
            parts.digits += character;
        }
    }
    parts.exponent = std::atoi(std::string(whole.substr(mark + 1)).c_str());
    return parts;
}

std::string exponent_form(const Scientific& parts) {
    std::string text = parts.digits.substr(0, 1);
    if (parts.digits.size() > 1) {
        text += '.';
        text += parts.digits.substr(1);
    }
    text += parts.exponent < 0 ? "e-" : "e+";
    const auto power = std::to_string(std::abs(parts.exponent));
    text += power.size() < 2 ? "0" + power : power;
    return text;
}

std::string decimal_form(const Scientific& parts) {
    if (parts.exponent < 0) {
        return "0." + std::string(static_cast<std::size_t>(-parts.exponent - 1), '0') +
               parts.digits;
    }
    const auto integral = static_cast<std::size_t>(parts.exponent) + 1;
    std::string text = parts.digits.substr(0, integral);
    text.resize(integral, '0');
    if (parts.digits.size() > integral) {
        text += '.';
        text += parts.digits.substr(integral);
    }
    return text;
}

}  // namespace

char* write_seconds(char* at, Duration value) {
    return write_nanoseconds(at, value.count());
}

char* write_unix_seconds(char* at, WallTime time) {
    return write_nanoseconds(at, time.time_since_epoch().count());
}

std::string float_text(double value) {
    if (std::isnan(value)) {
        return "NaN";
    }
    if (std::isinf(value)) {
        return value > 0 ? "+Inf" : "-Inf";
    }
    const std::string sign = std::signbit(value) ? "-" : "";
    if (value == 0) {
        return sign + "0";
    }
    const auto parts = shortest_digits(std::fabs(value));
    const bool plain = parts.exponent >= -4 && parts.exponent < 6;
    return sign + (plain ? decimal_form(parts) : exponent_form(parts));
}

std::string bucket_bound_text(double value) {
    auto text = float_text(value);
    if (std::isfinite(value) && text.find_first_of(".e") == std::string::npos) {
        text += ".0";
    }
    return text;
}

}  // namespace reachd
