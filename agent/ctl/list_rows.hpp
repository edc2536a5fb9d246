// What the lists of peers and of guests have in common: the order of their rows, how many of the
// well ones they show, what they say of the others and of all. Knows neither of the two.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/ctl/state_look.hpp"
#include "agent/ctl/table_text.hpp"
#include "agent/ctl/terminal.hpp"
#include "common/time.hpp"

namespace reachd::ctl {

/// What is shown of all that was asked for, and what all of it is like.
struct ListText {
    std::string text;
    bool is_ill = false;  ///< something of it is down, or degraded
};

/// What places and colours a row. The views are into the report that it is about.
struct ListRow {
    std::string_view name;
    std::string_view second_name{};  ///< decides between equal names; empty: they keep their order
    std::string_view state;          ///< "up", "degraded", "suspect", "down", "unknown"
    std::string cause{};
    std::optional<WallTime> since{};
    Health health = Health::unknown;
};

/// Of the row's state; `noted` where it is up and there is a cause to tell.
Health health_of(const ListRow& row);

/// What is ill first, and of it the longest so: the rest may follow from it. Then by name.
bool stands_before(const ListRow& left, const ListRow& right);

/// The cells that all lists have: mark, state, age and cause.
Cell mark_of(const ListRow& row, const Terminal& terminal);
Cell state_cell(const ListRow& row);
Cell since_cell(const ListRow& row, const std::optional<WallTime>& now);
Cell cause_cell(const ListRow& row);

/// Stands in a cell for what there is none of.
inline constexpr std::string_view no_value = "-";

/// Rows of a list without --all: as many well ones as fill it up to the first number, and never
/// fewer than the second.
inline constexpr std::size_t list_rows_usual = 5;
inline constexpr std::size_t list_well_rows_min = 2;

/// Leaves out those of the well rows, which stand together, that are too many.
template <class Row>
void leave_out_well(std::vector<Row>& rows) {
    const auto is_well = [](const Row& row) { return row.health == Health::well; };
    const auto begin = std::find_if(rows.begin(), rows.end(), is_well);
    const auto end = std::find_if_not(begin, rows.end(), is_well);
    const auto well = static_cast<std::size_t>(end - begin);
    const auto others = std::min(list_rows_usual, rows.size() - well);
    const auto kept = std::min(well, std::max(list_well_rows_min, list_rows_usual - others));
    rows.erase(begin + static_cast<std::ptrdiff_t>(kept), end);
}

/// "30 peers: 27 up, 1 suspect, 2 down.", of the states of all; an empty one: a guest without an
/// address. `thing` is one of them.
std::string total_text(std::string_view thing, const std::vector<std::string_view>& states);

/// "… 25 more are up: reachctl peers --all"; nothing for 0.
std::string hidden_text(std::size_t hidden, std::string_view command, const Terminal& terminal);

/// What the daemon left out of its answer; nothing for 0.
std::string omitted_text(std::uint64_t omitted, const Terminal& terminal);

}  // namespace reachd::ctl
