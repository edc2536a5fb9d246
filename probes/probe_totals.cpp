#include "probes/probe_totals.hpp"

namespace reachd {

ProbeTotals::ProbeTotals(const std::vector<double>& rtt_edges)
    : delay_({0.001, 0.002, 0.005, 0.01, 0.012, 0.015, 0.02, 0.05, 0.1, 1.0}) {
    const Histogram empty(rtt_edges);
    rtt_.resize(probe_kind_count, {empty, empty, empty});
}

void ProbeTotals::fill(Snapshot& snapshot) const {
    for (std::size_t kind = 0; kind < probe_kind_count; ++kind) {
        for (std::size_t peer_kind = 0; peer_kind < peer_kind_count; ++peer_kind) {
            if (seen_[kind][peer_kind]) {
                snapshot.host_rtt.push_back({static_cast<ProbeKind>(kind),
                                             static_cast<PeerKind>(peer_kind),
                                             rtt_[kind][peer_kind].snapshot()});
            }
        }
    }
    snapshot.probe_delay = delay_.snapshot();
    snapshot.skipped = skipped_;
    snapshot.discarded = discarded_;
    snapshot.user_stamped = user_stamped_;
}

}  // namespace reachd
