// The families of /metrics that have lines for each network interface, written row by row, and the
// choice of the interfaces that a limit on series leaves in. A device name stands for one interface
// only: where two links claim it (a rename in flight, lost messages), the one with the highest
// index is shown, so that no series is ever written twice. Refers to the snapshot, which must
// outlive it, and owns the escaped names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/snapshot.hpp"
#include "exporters/family_rows.hpp"
#include "exporters/topology_view.hpp"

namespace reachd {

class InterfaceRows {
  public:
    using Family = RowFamily<InterfaceRows, LinkCounters>;

    explicit InterfaceRows(const Snapshot& snapshot);

    /// Leaves whole interfaces out, those with the highest index first, until their lines are at
    /// most `budget`.
    void limit(std::uint64_t budget);

    /// Lines of the interfaces that are shown, and of those left out.
    std::uint64_t series() const { return series_; }

    std::uint64_t series_dropped() const { return series_dropped_; }

    static std::span<const Family> families();

  private:
    static constexpr std::uint32_t no_bridge = UINT32_MAX;

    /// One interface that is shown; what else there is to it is found by its place.
    struct Row {
        std::uint32_t link = 0;            ///< row of view_
        std::uint32_t bridge = no_bridge;  ///< row of view_: the bridge it is a port of
    };

    void quote_names();
    std::uint64_t lines_of(const Row& row) const;

    /// `="vnet0"`, escaped.
    std::string_view quoted_name(std::uint32_t link) const {
        const auto begin = name_begins_[link];
        return std::string_view(names_).substr(begin, name_begins_[link + 1] - begin);
    }

    template <class WriteValue>
    bool write_line(TextBlock& block,
                    std::string_view begin,
                    const Row& row,
                    WriteValue write_value) const;
    template <class WriteValue>
    bool write_lines(const Family& family, RowCursor& cursor, WriteValue write_value) const;

    bool write_infos(const Family& family, RowCursor& cursor) const;
    bool write_info(TextBlock& block, std::string_view name, const Row& row) const;
    bool write_admin_up(const Family& family, RowCursor& cursor) const;
    bool write_up(const Family& family, RowCursor& cursor) const;
    bool write_mtu(const Family& family, RowCursor& cursor) const;
    bool write_carrier_changes(const Family& family, RowCursor& cursor) const;
    bool write_counters(const Family& family, RowCursor& cursor) const;
    bool write_port_states(const Family& family, RowCursor& cursor) const;
    bool write_port_state(TextBlock& block, std::string_view name, const Row& row) const;

    const Link& link_of(const Row& row) const { return view_.link(row.link); }

    bool is_port(const Row& row) const {
        return row.bridge != no_bridge && link_of(row).port.has_value();
    }

    TopologyView view_;
    std::string names_;                       ///< quoted, of all links, one after the other
    std::vector<std::uint32_t> name_begins_;  ///< in names_, by row of view_; then its size
    std::vector<Row> rows_;                   ///< one for each name
    std::size_t rows_kept_ = 0;
    std::uint64_t series_ = 0;
    std::uint64_t series_dropped_ = 0;
};

}  // namespace reachd
