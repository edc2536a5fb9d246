// Durations and the two clocks as types. Owns no clock: neither type has a now(), so that a core
// cannot read time; only common/io/system_clock does, and hands it in as an argument.
#pragma once

#include <chrono>
#include <cstdint>

namespace reachd {

using Duration = std::chrono::nanoseconds;

/// CLOCK_MONOTONIC: intervals, deadlines, time-outs. Comparable only within one run.
struct MonoClock {
    using duration = Duration;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<MonoClock>;
    static constexpr bool is_steady = true;
};

/// CLOCK_REALTIME since the Unix epoch: kernel packet time stamps, and times shown to people.
/// It may step in either direction.
struct WallClock {
    using duration = Duration;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<WallClock>;
    static constexpr bool is_steady = false;
};

using MonoTime = MonoClock::time_point;
using WallTime = WallClock::time_point;

/// Both clocks read as one moment. The pair is what reveals a step of the wall clock.
struct Instant {
    MonoTime mono;
    WallTime wall;
};

/// "Never": later than any deadline. Safe to compare, not to add to.
inline constexpr MonoTime mono_never = MonoTime::max();

inline constexpr double to_seconds(Duration duration) {
    return std::chrono::duration<double>(duration).count();
}

inline constexpr double to_unix_seconds(WallTime time) {
    return to_seconds(time.time_since_epoch());
}

}  // namespace reachd
