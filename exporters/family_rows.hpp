// What the writers of families with very many lines share: a row is a peer, a probe, a path MTU or
// an interface, a family writes its lines row by row, and stops where the block is full to go on
// there in the next one. Knows no metric.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "exporters/metric_catalog.hpp"
#include "exporters/text_block.hpp"

namespace reachd {

/// The block being filled, and the row of the current family with which it goes on.
struct RowCursor {
    TextBlock& block;
    std::size_t row = 0;

    /// Calls write_row(row) from where the last block ended, until it returns false: no room.
    template <class WriteRow>
    bool for_each_row(std::size_t count, WriteRow write_row) {
        for (; row < count; ++row) {
            if (!write_row(row)) {
                return false;
            }
        }
        return true;
    }
};

/// One family of `Rows`. `write` writes its lines from the cursor's row on, and returns false when
/// the block is full before the last one.
template <class Rows, class Counters>
struct RowFamily {
    Metric metric;
    bool (Rows::*write)(const RowFamily& family, RowCursor& cursor) const;
    std::uint64_t Counters::*counter = nullptr;  ///< for families that show one of them
};

/// What a limit on series lets through: the first `rows` with `series` lines, whole ones only.
struct KeptRows {
    std::size_t rows = 0;
    std::uint64_t series = 0;
};

/// The longest row of first rows whose lines fit: one is shown whole or not at all, and the same
/// ones stay while others come and go behind them.
template <class LinesOf>
KeptRows keep_first(std::size_t count, std::uint64_t budget, LinesOf lines_of) {
    KeptRows kept;
    for (; kept.rows < count; ++kept.rows) {
        const std::uint64_t lines = lines_of(kept.rows);
        if (lines > budget - kept.series) {
            break;
        }
        kept.series += lines;
    }
    return kept;
}

/// Room that write_label() may need: every character escaped.
constexpr std::size_t label_room(std::string_view name, std::string_view value) {
    return name.size() + 2 * value.size() + 4;
}

/// `,name="value"`, escaped; nothing for an empty value.
inline void write_label(TextBlock& block, std::string_view name, std::string_view value) {
    if (!value.empty()) {
        block.character(',');
        block.text(name);
        block.text("=\"");
        block.escaped(value);
        block.character('"');
    }
}

/// Room that a line needs beside its name and labels: braces, blank, line feed, the value.
inline constexpr std::size_t sample_rest_max = 8 + number_text_max;

/// `name{labels} value`; false: no room for it. `labels`: escaped.
template <class WriteValue>
bool write_sample(TextBlock& block,
                  std::string_view name,
                  std::string_view labels,
                  WriteValue write_value) {
    if (!block.reserve(name.size() + labels.size() + sample_rest_max)) {
        return false;
    }
    block.text(name);
    block.character('{');
    block.text(labels);
    block.text("} ");
    write_value(block);
    block.character('\n');
    return true;
}

constexpr std::string_view zero_or_one(bool value) {
    return value ? "1" : "0";
}

}  // namespace reachd
