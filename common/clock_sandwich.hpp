// How two clocks are read as one moment, without owning a clock: the readers are arguments, so that
// tests can put a scheduler's pause or a step of the wall clock exactly where it hurts.
#pragma once

#include "common/time.hpp"

namespace reachd {

/// A wall reading is believed to belong to the middle of its two monotonic neighbours when these
/// are at most this far apart; a preempted reader sees more, an undisturbed one well below 1 us.
inline constexpr Duration sandwich_width_max = std::chrono::microseconds(20);
/// Tries after the first one. A machine too busy for four tries gets the best of them.
inline constexpr int sandwich_rereads_max = 3;

/// Reads mono, wall, mono until the outer two are close enough, and returns the narrowest try:
/// `mono` is the middle of its outer readings, so that it is wrong by at most half its width.
/// `read_mono` returns MonoTime, `read_wall` returns WallTime.
template <class ReadMono, class ReadWall>
Instant read_both_clocks(ReadMono&& read_mono, ReadWall&& read_wall) {
    Instant best{};
    Duration best_width = Duration::max();
    for (int tries = 0; tries <= sandwich_rereads_max; ++tries) {
        const MonoTime before = read_mono();
        const WallTime wall = read_wall();
        const MonoTime after = read_mono();
        const Duration width = after - before;
        if (width < best_width) {
            best = Instant{before + width / 2, wall};
            best_width = width;
        }
        if (best_width <= sandwich_width_max) {
            break;
        }
    }
    return best;
}

}  // namespace reachd
