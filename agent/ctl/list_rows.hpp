// What the lists of peers and of guests have in common: how many of the well rows they show, what
// they say of the others, and what they tell beside their text. Knows neither of the two.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/core.h>

#include "agent/ctl/state_look.hpp"
#include "agent/ctl/terminal.hpp"

namespace reachd::ctl {

/// What is shown of all that was asked for, and what all of it is like.
struct ListText {
    std::string text;
    bool is_ill = false;  ///< something of it is down
};

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

/// "… 25 more are up: reachctl peers --all"; nothing for 0.
inline std::string hidden_text(std::size_t hidden,
                               std::string_view command,
                               const Terminal& terminal) {
    return hidden == 0 ? std::string()
                       : fmt::format("{} {} more {} up: {}\n",
                                     glyphs(terminal).ellipsis,
                                     hidden,
                                     hidden == 1 ? "is" : "are",
                                     command);
}

/// What the daemon left out of its answer; nothing for 0.
inline std::string omitted_text(std::uint64_t omitted, const Terminal& terminal) {
    return omitted == 0 ? std::string()
                        : fmt::format("{} {} more do not fit the answer of reachd\n",
                                      glyphs(terminal).ellipsis,
                                      omitted);
}

}  // namespace reachd::ctl
