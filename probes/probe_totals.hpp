// What is counted over all sessions of the host: round trips by kind, how late probes left, what
// was skipped or is no sample. Outlives every session. Knows no probe.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "common/probe.hpp"
#include "common/snapshot.hpp"
#include "common/time.hpp"
#include "probes/rtt_histogram.hpp"

namespace reachd {

class ProbeTotals {
  public:
    /// `rtt_edges`: of the round trips, seconds.
    explicit ProbeTotals(const std::vector<double>& rtt_edges);

    /// A session of these kinds exists from now on: its histogram is shown.
    void on_opened(ProbeKind kind, PeerKind peer_kind) {
        seen_[index(kind)][index(peer_kind)] = true;
    }

    void on_sample(ProbeKind kind, PeerKind peer_kind, Duration rtt) {
        rtt_[index(kind)][index(peer_kind)].record(rtt);
    }

    /// A sample whose end was stamped by us and not by the kernel.
    void on_user_stamped(ProbeKind kind) { ++user_stamped_[index(kind)]; }

    void on_discarded(ProbeKind kind, DiscardReason reason) {
        ++discarded_[index(kind)][static_cast<std::size_t>(reason)];
    }

    void on_skipped(SkipReason reason, std::uint64_t probes = 1) {
        skipped_[static_cast<std::size_t>(reason)] += probes;
    }

    /// How long after its due time a probe left.
    void on_delay(Duration delay) { delay_.record(delay); }

    /// Fills the fields of the whole host but the throttle and the sessions' edges.
    void fill(Snapshot& snapshot) const;

  private:
    template <class Kind>
    static std::size_t index(Kind kind) {
        return static_cast<std::size_t>(kind);
    }

    std::vector<std::array<Histogram, peer_kind_count>> rtt_;  ///< by probe kind
    std::array<std::array<bool, peer_kind_count>, probe_kind_count> seen_{};
    Histogram delay_;
    std::array<std::uint64_t, skip_reason_count> skipped_{};
    std::array<std::array<std::uint64_t, discard_reason_count>, probe_kind_count> discarded_{};
    std::array<std::uint64_t, probe_kind_count> user_stamped_{};
};

}  // namespace reachd
