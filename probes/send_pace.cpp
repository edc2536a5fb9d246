#include "probes/send_pace.hpp"

#include <algorithm>

namespace reachd {
namespace {

constexpr Duration pacing_burst = std::chrono::milliseconds(20);

/// Self-throttling: when half of the wake-ups of a second are late by more than `throttle_high`,
/// fewer probes are sent, until most are late by less than `throttle_low`. Not the mean: of the few
/// wake-ups of a quiet daemon one stop would make it, and cost probes for seconds.
constexpr Duration throttle_high = std::chrono::milliseconds(50);
constexpr Duration throttle_low = std::chrono::milliseconds(20);
constexpr double throttle_floor = 0.1;
constexpr std::uint32_t throttle_polls_min = 5;

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
    late_polls_ += lag_ > throttle_high ? 1U : 0U;
    punctual_polls_ += lag_ < throttle_low ? 1U : 0U;
    ++polls_;
    if (now - throttle_window_ < std::chrono::seconds(1) || polls_ < throttle_polls_min) {
        return;
    }
    if (2 * late_polls_ >= polls_) {
        throttle_ratio_ = std::max(throttle_floor, throttle_ratio_ * 0.7);
    } else if (2 * punctual_polls_ > polls_) {
        throttle_ratio_ = std::min(1.0, throttle_ratio_ + 0.05);
    }
    throttle_window_ = now;
    polls_ = late_polls_ = punctual_polls_ = 0;
}

}  // namespace reachd
