#include "exporters/peer_view.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "common/check.hpp"

namespace reachd {
namespace {

/// The lower the sooner a session stands for its peer: the path alone, the neighbour, a service.
int precedence(ProbeKind kind) {
    switch (kind) {
        case ProbeKind::icmp: return 0;
        case ProbeKind::arp: return 1;
        case ProbeKind::tcp: return 2;
    }
    return 3;
}

/// How much a state of one address says about its guest.
int weight(Reachability state) {
    switch (state) {
        case Reachability::unknown: return 0;
        case Reachability::down: return 1;
        case Reachability::suspect: return 2;
        case Reachability::up: return 3;
    }
    return 0;
}

Duration from_seconds(double seconds) {
    return std::chrono::round<Duration>(std::chrono::duration<double>(seconds));
}

}  // namespace

PeerView::PeerView(const Snapshot& snapshot)
    : snapshot_(&snapshot),
      begins_(snapshot.peers.size() + 1),
      probes_(snapshot.probes.size()) {
    for (const auto& probe : snapshot.probes) {
        ENSURE(probe.peer < snapshot.peers.size());
        ++begins_[probe.peer + 1];
    }
    for (std::size_t peer = 1; peer < begins_.size(); ++peer) {
        begins_[peer] += begins_[peer - 1];
    }
    auto next = begins_;
    for (std::size_t probe = 0; probe < probes_.size(); ++probe) {
        probes_[next[snapshot.probes[probe].peer]++] = static_cast<std::uint32_t>(probe);
    }
}

std::span<const FailureCount> PeerView::failures_of(std::size_t probe) const {
    const auto& all = snapshot_->failures;
    const auto begin = std::lower_bound(
        all.begin(), all.end(), probe, [](const FailureCount& failure, std::size_t wanted) {
            return failure.probe < wanted;
        });
    auto end = begin;
    while (end != all.end() && end->probe == probe) {
        ++end;
    }
    return {begin, end};
}

const PathMtuSnapshot* PeerView::path_mtu(std::size_t peer) const {
    const auto& all = snapshot_->path_mtus;
    const auto found = std::lower_bound(
        all.begin(), all.end(), peer, [](const PathMtuSnapshot& row, std::size_t wanted) {
            return row.peer < wanted;
        });
    return found != all.end() && found->peer == peer ? &*found : nullptr;
}

std::optional<FailureReason> PeerView::loss_reason(std::size_t peer) const {
    std::array<std::uint64_t, failure_reason_count> counts{};
    for (const auto probe : probes_of(peer)) {
        for (const auto& failure : failures_of(probe)) {
            if (is_loss(failure.reason)) {
                counts[static_cast<std::size_t>(failure.reason)] += failure.count;
            }
        }
    }
    const auto most = std::max_element(counts.begin(), counts.end());
    return *most == 0 ? std::nullopt
                      : std::optional(static_cast<FailureReason>(most - counts.begin()));
}

std::optional<FailureReason> PeerView::failure_reason(std::size_t probe) const {
    const FailureCount* most = nullptr;
    for (const auto& failure : failures_of(probe)) {
        const bool counts = is_loss(failure.reason) || failure.reason == FailureReason::refused;
        if (counts && (most == nullptr || failure.count > most->count)) {
            most = &failure;
        }
    }
    return most == nullptr ? std::nullopt : std::optional(most->reason);
}

std::optional<std::size_t> PeerView::main_probe(std::size_t peer) const {
    const auto sessions = probes_of(peer);
    const auto best =
        std::min_element(sessions.begin(), sessions.end(), [this](auto left, auto right) {
            const auto key = [this](std::uint32_t place) {
                const auto& session = probe(place);
                return std::pair(session.up != true, precedence(session.kind));
            };
            return key(left) < key(right);
        });
    return best == sessions.end() ? std::nullopt : std::optional<std::size_t>(*best);
}

std::optional<Duration> PeerView::rtt(std::size_t probe) const {
    const auto& session = this->probe(probe);
    return session.up == true && session.last_rtt > Duration::zero()
               ? std::optional(session.last_rtt)
               : std::nullopt;
}

std::optional<Duration> PeerView::rtt_quantile(std::size_t probe, double rank) const {
    if (!snapshot_->rtt_edges || snapshot_->rtt_edges->empty()) {
        return std::nullopt;
    }
    const auto& edges = *snapshot_->rtt_edges;
    ENSURE(snapshot_->rtt_buckets.size() == snapshot_->probes.size() * (edges.size() + 1));
    const auto counts =
        std::span(snapshot_->rtt_buckets).subspan(probe * (edges.size() + 1), edges.size() + 1);
    std::uint64_t total = 0;
    for (const auto count : counts) {
        total += count;
    }
    if (total == 0) {
        return std::nullopt;
    }
    const double wanted = rank * static_cast<double>(total);
    double below = 0;
    for (std::size_t i = 0; i < edges.size(); ++i) {
        const auto here = static_cast<double>(counts[i]);
        if (here > 0 && below + here >= wanted) {
            const double begin = i == 0 ? 0.0 : edges[i - 1];
            return from_seconds(begin + (edges[i] - begin) * (wanted - below) / here);
        }
        below += here;
    }
    return from_seconds(edges.back());
}

std::optional<double> PeerView::loss_ratio(std::size_t probe) const {
    const auto& counters = this->probe(probe).counters;
    const auto ended = static_cast<double>(counters.received) + static_cast<double>(counters.lost);
    return ended == 0 ? std::nullopt : std::optional(static_cast<double>(counters.lost) / ended);
}

GuestVerdict guest_verdict(const Snapshot& snapshot, const GuestSnapshot& guest) {
    GuestVerdict verdict;
    for (const auto& address : guest.addresses) {
        if (!address.peer) {
            continue;
        }
        ENSURE(*address.peer < snapshot.peers.size());
        const auto& peer = snapshot.peers[*address.peer];
        if (peer.state == Reachability::unknown || weight(peer.state) < weight(verdict.state)) {
            continue;
        }
        // Up since the first of its addresses is, down since the last one is.
        const bool earlier = peer.state == Reachability::up;
        const bool first = weight(peer.state) > weight(verdict.state);
        verdict.since = first     ? peer.last_change
                        : earlier ? std::min(verdict.since, peer.last_change)
                                  : std::max(verdict.since, peer.last_change);
        verdict.state = peer.state;
    }
    return verdict;
}

}  // namespace reachd
