// A table for people: a symbol in front of each row, columns as wide as what is in them, and what
// to leave out or cut where the terminal is too narrow. Into a pipe everything goes whole. Knows no
// peer and no guest.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/ctl/terminal.hpp"

namespace reachd::ctl {

/// What happens to a column when the table is too wide, in this order. A column whose end is cut is
/// left out in the end, before a line is wider than the terminal.
enum class Fit : std::uint8_t {
    drop_first,
    drop_second,
    drop_third,
    cut_end,
    cut_middle,
    whole,  ///< never cut: addresses, numbers, codes
};

struct Column {
    std::string_view title;
    Fit fit = Fit::whole;
    bool right = false;      ///< aligned, for numbers
    bool if_needed = false;  ///< left out where all its cells are empty
};

struct Cell {
    std::string text{};
    Ink ink = Ink::plain;
};

struct TableRow {
    Cell mark;                ///< one character wide
    std::vector<Cell> cells;  ///< as many as columns
};

/// `header`: the titles come first. Nothing for no rows.
std::string table_text(const std::vector<Column>& columns,
                       const std::vector<TableRow>& rows,
                       bool header,
                       const Terminal& terminal);

}  // namespace reachd::ctl
