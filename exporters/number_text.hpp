// Numbers as text for the exposition formats: durations and floating-point values in the shortest
// form that reads back to the same double. Knows no metric and allocates nothing but results.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>

#include "common/time.hpp"

namespace reachd {

/// Room that each writer below may need, in bytes.
inline constexpr std::size_t number_text_max = 32;

/// Decimal digits at `at`, of which number_text_max must be writable. Returns their end.
inline char* write_unsigned(char* at, std::uint64_t value) {
    return std::to_chars(at, at + number_text_max, value).ptr;
}

/// The duration in seconds, as plain decimals ("0", "0.000123", "12.5"), never in exponent form.
/// Shortest form up to 11 days; then the shortest form of the nearest double.
char* write_seconds(char* at, Duration value);

/// Unix time in seconds, as plain decimals.
char* write_unix_seconds(char* at, WallTime time);

/// The canonical form of Prometheus' own libraries: shortest digits, exponent form below 1e-4 and
/// from 1e6 on ("5e-05", "0.0001", "1e+06"), "+Inf", "-Inf", "NaN".
std::string float_text(double value);

/// A bucket's bound: float_text with ".0" added to integral values ("1.0", "0.005", "+Inf"), as
/// OpenMetrics and Prometheus 3 want it.
std::string bucket_bound_text(double value);

}  // namespace reachd
