// Times and quantities as people read them: fixed forms with their units, never the locale's. Reads
// no clock: ages are differences of times that the daemon told.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "agent/ctl/terminal.hpp"
#include "common/time.hpp"

namespace reachd::ctl {

/// RFC 3339 in UTC, as the API writes it: "2026-01-31T23:59:59.042Z"; the fraction may be missing.
std::optional<WallTime> parse_rfc3339_utc(std::string_view text);

/// "03:12:09".
std::string clock_text(WallTime time);

/// "85 µs", "1.9 ms", "12 ms", "1.2 s".
std::string rtt_text(double seconds, const Terminal& terminal);

/// "40s", "2m31s", "6h", "12d": for columns.
std::string age_text(Duration age);

/// "40s", "2m31s", "4 h", "12 d 4 h": for sentences.
std::string long_age_text(Duration age);

/// "11 MiB", "512 KiB".
std::string bytes_text(std::uint64_t bytes);

/// "0.1 %", "12 %", "100 %".
std::string percent_text(double ratio);

/// "0 %", "<0.1 %", "0.3 %", "100 %": a little loss is never shown as none, nor as all.
std::string loss_text(double ratio);

/// "25 Gbit/s", "2.5 Gbit/s", "100 Mbit/s".
std::string speed_text(std::uint64_t bits_per_second);

}  // namespace reachd::ctl
