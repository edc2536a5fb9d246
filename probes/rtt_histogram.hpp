// Fixed upper edges and counts of durations: which bucket, and the tables for many sessions at
// once.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "common/check.hpp"
#include "common/snapshot.hpp"
#include "common/time.hpp"

namespace reachd {

/// Upper bounds in seconds as exported (`le`, inclusive) and in nanoseconds as compared.
class HistogramEdges {
  public:
    explicit HistogramEdges(std::vector<double> seconds)
        : seconds_(std::make_shared<const std::vector<double>>(std::move(seconds))) {
        for (const double edge : *seconds_) {
            limits_.push_back(std::chrono::round<Duration>(std::chrono::duration<double>(edge)));
        }
        ENSURE(std::is_sorted(limits_.begin(), limits_.end()));
    }

    /// One more than there are edges: the last bucket is +Inf.
    std::size_t bucket_count() const { return limits_.size() + 1; }

    std::size_t bucket(Duration value) const {
        const auto edge = std::lower_bound(limits_.begin(), limits_.end(), value);
        return static_cast<std::size_t>(edge - limits_.begin());
    }

    const std::shared_ptr<const std::vector<double>>& seconds() const { return seconds_; }

  private:
    std::shared_ptr<const std::vector<double>> seconds_;
    std::vector<Duration> limits_;
};

class Histogram {
  public:
    explicit Histogram(std::vector<double> edges_in_seconds)
        : edges_(std::move(edges_in_seconds)),
          counts_(edges_.bucket_count()) {}

    void record(Duration value) {
        ++counts_[edges_.bucket(value)];
        sum_ += value;
    }

    HistogramSnapshot snapshot() const { return {edges_.seconds(), counts_, sum_}; }

  private:
    HistogramEdges edges_;
    std::vector<std::uint64_t> counts_;
    Duration sum_{};
};

}  // namespace reachd
