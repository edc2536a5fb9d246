#include "probes/send_pace.hpp"

#include <algorithm>

namespace reachd {
namespace {

constexpr Duration pacing_burst = std::chrono::milliseconds(20);

/// Self-throttling: when the loop is late by more than `throttle_high` on average over a second,
/// fewer probes are sent, until it is below `throttle_low` again.
constexpr Duration throttle_high = std::chrono::milliseconds(50);
constexpr Duration throttle_low = std::chrono::milliseconds(20);
constexpr double throttle_floor = 0.1;
constexpr std::uint32_t throttle_polls_min = 5;
/// One wake-up after a long stop is not a loop that is always late.
constexpr Duration lag_counted_max = std::chrono::milliseconds(250);

}  // namespace

SendPace::SendPace(std::uint32_t probes_per_second, MonoTime start)
    : probes_per_second_(std::min(probes_per_second, probes_per_second_max)),
      tokens_at_(start),
      throttle_window_(start) {}

void SendPace::set_probes_per_second(std::uint32_t limit) {
    probes_per_second_ = std::min(limit, probes_per_second_max);
}

void SendPace::on_wake_up(MonoTime now, Duration lag) {
    lag_ = lag;
    adapt_throttle(now);
    refill(now);
}

void SendPace::refill(MonoTime now) {
    const double rate = probes_per_second_;
    // At least two, lest what a late tick brings in excess of one is thrown away.
    const double most = std::max(2.0, rate * to_seconds(pacing_burst));
    tokens_ = std::min(most, tokens_ + rate * to_seconds(now - tokens_at_));
    tokens_at_ = now;
}

void SendPace::adapt_throttle(MonoTime now) {
    throttle_lag_ += std::min(lag_, lag_counted_max);
    ++throttle_polls_;
    if (now - throttle_window_ < std::chrono::seconds(1) || throttle_polls_ < throttle_polls_min) {
        return;
    }
    const Duration mean = throttle_lag_ / throttle_polls_;
    if (mean > throttle_high) {
        throttle_ratio_ = std::max(throttle_floor, throttle_ratio_ * 0.7);
    } else if (mean < throttle_low) {
        throttle_ratio_ = std::min(1.0, throttle_ratio_ + 0.05);
    }
    throttle_window_ = now;
    throttle_lag_ = {};
    throttle_polls_ = 0;
}

}  // namespace reachd
