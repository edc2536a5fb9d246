// The only clock reads of reachd. Everything else gets its time as an argument, which is what makes
// the rest testable under a virtual clock. Reads only: it never sets, sleeps or arms a timer.
#pragma once

#include "common/time.hpp"

namespace reachd {

/// CLOCK_MONOTONIC and CLOCK_REALTIME (vDSO, no system call) as one moment; see
/// common/clock_sandwich.hpp for how close the two are. Costs three clock reads when undisturbed.
[[nodiscard]] Instant now();

/// CLOCK_MONOTONIC alone, for deadlines and intervals. It stands still while the machine sleeps.
[[nodiscard]] MonoTime mono_now();

}  // namespace reachd
