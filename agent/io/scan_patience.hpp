// How long a scan of many files goes on: to its deadline, or until the daemon wants to end. Each
// scan asks before each of its entries. Interrupts no call that blocks.
#pragma once

#include <atomic>

#include "common/io/system_clock.hpp"
#include "common/time.hpp"

namespace reachd {

class ScanPatience {
  public:
    /// `stop`: set by any thread, never cleared; must outlive this. `time`: from now on.
    ScanPatience(const std::atomic<bool>& stop, Duration time)
        : stop_(stop),
          deadline_(mono_now() + time) {}

    bool is_over() const { return stop_.load(std::memory_order_relaxed) || mono_now() > deadline_; }

  private:
    const std::atomic<bool>& stop_;
    MonoTime deadline_;
};

}  // namespace reachd
