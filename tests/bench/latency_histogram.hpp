// Latencies in log-linear buckets: 128 for each doubling, so a quantile is within 0.8 %, in a fixed
// 34 kB however many samples there are. Knows no clock and prints nothing.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

namespace reachd::bench {

class LatencyHistogram {
  public:
    /// `ns` must not be negative; beyond 18 minutes it counts as 18 minutes.
    void record(std::int64_t ns) {
        const auto value = std::min(static_cast<std::uint64_t>(ns), value_max);
        const auto width = static_cast<std::uint32_t>(std::bit_width(value));
        const std::uint32_t shift = width > mantissa_bits ? width - mantissa_bits : 0;
        ++counts_[shift * half + (value >> shift)];
        ++total_;
    }

    std::uint64_t total() const { return total_; }

    /// Nanoseconds; `share` from 0 to 1; 0 when nothing was recorded.
    double quantile(double share) const {
        const auto rank = static_cast<std::uint64_t>(share * static_cast<double>(total_));
        std::uint64_t seen = 0;
        for (std::uint32_t i = 0; i < counts_.size(); ++i) {
            seen += counts_[i];
            if (seen > rank || (seen == total_ && seen > 0)) {
                return middle_of(i);
            }
        }
        return 0;
    }

  private:
    static constexpr std::uint32_t mantissa_bits = 8;
    static constexpr std::uint32_t half = 1U << (mantissa_bits - 1U);
    static constexpr std::uint32_t shift_max = 32;
    static constexpr std::uint64_t value_max = (1ULL << (mantissa_bits + shift_max)) - 1U;

    static double middle_of(std::uint32_t bucket) {
        const std::uint32_t shift = bucket < 2 * half ? 0 : bucket / half - 1;
        const double offset = shift == 0 ? 0.0 : 0.5;
        return (bucket - shift * half + offset) * static_cast<double>(1ULL << shift);
    }

    std::array<std::uint64_t, (shift_max + 2) * half> counts_{};
    std::uint64_t total_ = 0;
};

}  // namespace reachd::bench
