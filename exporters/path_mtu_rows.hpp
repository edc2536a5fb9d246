// The families of /metrics that have lines for each peer of which a path MTU is expected, written
// row by row, and the choice of those that a limit on series leaves in. Holds no text but that of
// the few reporters, and refers to the snapshot, which must outlive it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "common/snapshot.hpp"
#include "exporters/family_rows.hpp"
#include "exporters/topology_view.hpp"

namespace reachd {

/// A snapshot whose path MTUs are of no peer, or not by ascending peer, is a bug.
class PathMtuRows {
  public:
    using Family = RowFamily<PathMtuRows, PathMtuSnapshot>;

    explicit PathMtuRows(const Snapshot& snapshot);

    /// Leaves out those of all but the first `peers` peers, then the last ones first, until their
    /// lines are at most `budget`.
    void limit(std::uint64_t budget, std::size_t peers);

    /// Lines of the path MTUs that are shown, and of those left out.
    std::uint64_t series() const { return series_; }

    std::uint64_t series_dropped() const { return series_dropped_; }

    static std::span<const Family> families();

  private:
    const PathMtuSnapshot& path_mtu(std::size_t row) const { return snapshot_->path_mtus[row]; }

    const std::string& labels_of(const PathMtuSnapshot& row) const {
        return snapshot_->peers[row.peer].identity->label_text();
    }

    template <class IsShown, class WriteValue>
    bool write_lines(const Family& family,
                     RowCursor& cursor,
                     IsShown is_shown,
                     WriteValue write_value) const;

    bool write_bytes(const Family& family, RowCursor& cursor) const;
    bool write_expected(const Family& family, RowCursor& cursor) const;
    bool write_mismatches(const Family& family, RowCursor& cursor) const;
    bool write_infos(const Family& family, RowCursor& cursor) const;
    bool write_info(TextBlock& block, std::string_view name, const PathMtuSnapshot& row) const;
    bool write_packets(const Family& family, RowCursor& cursor) const;
    bool write_results(TextBlock& block, std::string_view name, const PathMtuSnapshot& row) const;

    const Snapshot* snapshot_;
    TopologyView topology_;  ///< for the zones of reporters
    std::size_t rows_kept_ = 0;
    std::uint64_t series_ = 0;
    std::uint64_t series_dropped_ = 0;
};

}  // namespace reachd
