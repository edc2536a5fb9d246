#include "common/io/system_clock.hpp"

#include <ctime>

#include "common/check.hpp"
#include "common/clock_sandwich.hpp"

namespace reachd {

namespace {

Duration read_clock(clockid_t clock) {
    timespec time{};
    // Both clocks exist on every Linux; failing here would mean a broken build, not a bad day.
    ENSURE(clock_gettime(clock, &time) == 0);
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

WallTime wall_now() {
    return WallTime(read_clock(CLOCK_REALTIME));
}

}  // namespace

MonoTime mono_now() {
    return MonoTime(read_clock(CLOCK_MONOTONIC));
}

Instant now() {
    return read_both_clocks(mono_now, wall_now);
}

}  // namespace reachd
