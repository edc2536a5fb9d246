// How fast probes may leave: the configured limit a second, and fewer while our own loop is late.
// Knows no sessions and draws no lots: the engine asks before each order.
#pragma once

#include <cstdint>

#include "common/time.hpp"

namespace reachd {

class SendPace {
  public:
    /// No configuration sends more than this.
    static constexpr std::uint32_t probes_per_second_max = 200'000;

    /// `probes_per_second`: 1 or more; what exceeds the maximum is cut.
    SendPace(std::uint32_t probes_per_second, MonoTime start);

    void set_probes_per_second(std::uint32_t limit);

    /// Of each wake-up that may send, first; `lag`: how late it is.
    void on_wake_up(MonoTime now, Duration lag);

    /// The right to send one probe now; false: not yet.
    bool take() {
        if (tokens_ < 1.0) {
            return false;
        }
        tokens_ -= 1.0;
        return true;
    }

    /// A right that was not used.
    void give_back() { tokens_ += 1.0; }

    /// Whether there are rights for this many at once.
    bool has_for(std::size_t probes) const { return tokens_ >= static_cast<double>(probes); }

    /// Of the scheduled probes this share may be sent; 1: the loop is in time.
    double throttle_ratio() const { return throttle_ratio_; }

    /// Of the wake-up under way.
    Duration lag() const { return lag_; }

  private:
    void refill(MonoTime now);
    void adapt_throttle(MonoTime now);

    std::uint32_t probes_per_second_;
    double tokens_ = 0;
    MonoTime tokens_at_;
    double throttle_ratio_ = 1.0;
    MonoTime throttle_window_;
    std::uint32_t polls_ = 0;  ///< since throttle_window_
    std::uint32_t late_polls_ = 0;
    std::uint32_t punctual_polls_ = 0;
    Duration lag_{};
};

}  // namespace reachd
