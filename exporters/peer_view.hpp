// What belongs to one peer, or to one guest, in a snapshot: its probe sessions, their failures, its
// path MTU, and the few numbers that stand for all of them. Copies no counters, so it must not
// outlive the snapshot; decides no verdict; writes no text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/snapshot.hpp"

namespace reachd {

/// Peers and probes are named by their places in Snapshot::peers and Snapshot::probes. Tables that
/// do not belong together are a bug.
class PeerView {
  public:
    explicit PeerView(const Snapshot& snapshot);

    const PeerSnapshot& peer(std::size_t peer) const { return snapshot_->peers[peer]; }

    const ProbeSnapshot& probe(std::size_t probe) const { return snapshot_->probes[probe]; }

    /// In their order in the snapshot.
    std::span<const std::uint32_t> probes_of(std::size_t peer) const {
        return std::span(probes_).subspan(begins_[peer], begins_[peer + 1] - begins_[peer]);
    }

    std::span<const FailureCount> failures_of(std::size_t probe) const;

    /// Null: no size is expected.
    const PathMtuSnapshot* path_mtu(std::size_t peer) const;

    /// The most frequent reason of the lost probes of all sessions; nothing: none is lost.
    std::optional<FailureReason> loss_reason(std::size_t peer) const;

    /// The most frequent reason why its probes are not answered as they should be, lost or refused.
    std::optional<FailureReason> failure_reason(std::size_t probe) const;

    /// The session whose numbers stand for the peer: the first by kind (icmp, arp, tcp) that is up,
    /// or the first one at all. Nothing: it has none.
    std::optional<std::size_t> main_probe(std::size_t peer) const;

    /// Of the last answer; nothing before the first one, and unless the session is up (or suspect
    /// and up before).
    std::optional<Duration> rtt(std::size_t probe) const;

    /// Estimated from the buckets as PromQL's histogram_quantile does: evenly spread within one,
    /// and the highest bound for all that lies above. `rank`: 0 to 1. Nothing: no samples.
    std::optional<Duration> rtt_quantile(std::size_t probe, double rank) const;

    /// Lost probes of those that ended, since the session began; nothing: none has ended.
    std::optional<double> loss_ratio(std::size_t probe) const;

  private:
    const Snapshot* snapshot_;
    std::vector<std::uint32_t> begins_;  ///< in probes_, by peer; then its size
    std::vector<std::uint32_t> probes_;  ///< by peer
};

/// A guest as a whole. An address is one peer at most, and a guest is up with any of them.
struct GuestVerdict {
    /// up where an address is, else suspect, else down; unknown without a verdict on any.
    Reachability state = Reachability::unknown;
    WallTime since{};  ///< epoch: not known
};

GuestVerdict guest_verdict(const Snapshot& snapshot, const GuestSnapshot& guest);

}  // namespace reachd
