// The families of /metrics that have lines for each peer or probe session, written row by row, and
// the choice of the peers that a limit on series leaves in. Holds no text but the bounds of the
// buckets, and refers to the snapshot, which must outlive it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/snapshot.hpp"
#include "exporters/family_rows.hpp"

namespace reachd {

/// A snapshot whose tables do not belong together (a probe of no peer, missing buckets) is a bug.
class PeerRows {
  public:
    using Family = RowFamily<PeerRows, ProbeCounters>;

    explicit PeerRows(const Snapshot& snapshot);

    /// Leaves whole peers out, the last ones first, until their lines are at most `budget`.
    void limit(std::uint64_t budget);

    /// Lines of the peers that are shown, and of those left out.
    std::uint64_t series() const { return series_; }

    std::uint64_t series_dropped() const { return series_dropped_; }

    /// The first ones of Snapshot::peers are shown, so many.
    std::size_t peers_shown() const { return peers_kept_; }

    static std::span<const Family> families();

  private:
    std::uint64_t lines_of_peers(std::vector<std::uint32_t>* by_peer) const;

    template <class WriteValue>
    bool write_probe_line(TextBlock& block,
                          std::string_view name,
                          const ProbeSnapshot& probe,
                          WriteValue write_value) const;

    bool write_peer_up(const Family& family, RowCursor& cursor) const;
    bool write_state_changes(const Family& family, RowCursor& cursor) const;
    bool write_last_change(const Family& family, RowCursor& cursor) const;
    bool write_infos(const Family& family, RowCursor& cursor) const;
    bool write_probe_up(const Family& family, RowCursor& cursor) const;
    bool write_histograms(const Family& family, RowCursor& cursor) const;
    bool write_histogram(TextBlock& block, std::string_view name, std::size_t probe) const;
    bool write_counters(const Family& family, RowCursor& cursor) const;
    bool write_failures(const Family& family, RowCursor& cursor) const;
    bool write_syn_retransmits(const Family& family, RowCursor& cursor) const;
    bool write_jitter(const Family& family, RowCursor& cursor) const;

    bool is_kept(const ProbeSnapshot& probe) const { return probe.peer < peers_kept_; }

    static const std::string& labels_of(const PeerSnapshot& peer) {
        return peer.identity->label_text();
    }

    const std::string& labels_of(const ProbeSnapshot& probe) const {
        return labels_of(snapshot_->peers[probe.peer]);
    }

    const Snapshot* snapshot_;
    std::vector<std::string> bucket_ends_;  ///< `,le="0.005"} ` for each edge, then +Inf
    std::size_t bucket_ends_bytes_ = 0;
    std::size_t peers_kept_ = 0;
    std::uint64_t series_ = 0;
    std::uint64_t series_dropped_ = 0;
};

}  // namespace reachd
