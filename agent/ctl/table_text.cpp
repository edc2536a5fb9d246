#include "agent/ctl/table_text.hpp"

#include <algorithm>
#include <cstddef>

#include "common/check.hpp"

namespace reachd::ctl {
namespace {

constexpr std::size_t mark_width = 2;
constexpr std::size_t gap = 2;
// What columns are cut to at least; the last one first to a width that has room for "no answer".
constexpr std::size_t middle_width_min = 8;
constexpr std::size_t end_width_usual = 9;
constexpr std::size_t end_width_min = 6;

/// Widths of the columns as they are shown.
class Layout {
  public:
    Layout(const std::vector<Column>& columns, const std::vector<TableRow>& rows, bool header);

    /// Drops and cuts until the table is as wide as `columns_max`, as far as that goes.
    void fit(std::size_t columns_max);

    bool is_shown(std::size_t column) const { return shown_[column]; }

    std::size_t width(std::size_t column) const { return widths_[column]; }

  private:
    void drop(Fit fit, std::size_t columns_max);
    void cut(Fit fit, std::size_t least, std::size_t columns_max);
    std::size_t total() const;

    std::size_t excess(std::size_t columns_max) const {
        return total() - std::min(total(), columns_max);
    }

    const std::vector<Column>& columns_;
    std::vector<std::size_t> widths_;
    std::vector<bool> shown_;
};

Layout::Layout(const std::vector<Column>& columns, const std::vector<TableRow>& rows, bool header)
    : columns_(columns),
      widths_(columns.size()),
      shown_(columns.size(), true) {
    for (std::size_t i = 0; i < columns.size(); ++i) {
        for (const auto& row : rows) {
            ENSURE(row.cells.size() == columns.size());
            widths_[i] = std::max(widths_[i], display_width(row.cells[i].text));
        }
        shown_[i] = !columns[i].if_needed || widths_[i] > 0;
        widths_[i] = std::max(widths_[i], header ? display_width(columns[i].title) : 0);
    }
}

std::size_t Layout::total() const {
    std::size_t width = mark_width;
    std::size_t count = 0;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
        width += shown_[i] ? widths_[i] : 0;
        count += shown_[i] ? 1U : 0U;
    }
    return width + (count > 0 ? (count - 1) * gap : 0);
}

void Layout::drop(Fit fit, std::size_t columns_max) {
    for (std::size_t i = 0; i < columns_.size(); ++i) {
        shown_[i] = shown_[i] && (columns_[i].fit != fit || excess(columns_max) == 0);
    }
}

void Layout::cut(Fit fit, std::size_t least, std::size_t columns_max) {
    for (std::size_t i = 0; i < columns_.size(); ++i) {
        if (columns_[i].fit == fit && shown_[i]) {
            const auto wanted = widths_[i] - std::min(widths_[i], excess(columns_max));
            widths_[i] = std::min(widths_[i], std::max(least, wanted));
        }
    }
}

void Layout::fit(std::size_t columns_max) {
    drop(Fit::drop_first, columns_max);
    drop(Fit::drop_second, columns_max);
    drop(Fit::drop_third, columns_max);
    cut(Fit::cut_end, end_width_usual, columns_max);
    const auto before = widths_;
    cut(Fit::cut_middle, middle_width_min, columns_max);
    cut(Fit::cut_end, end_width_min, columns_max);
    if (excess(columns_max) > 0) {
        // So little of it would tell nothing: what it took is better used.
        drop(Fit::cut_end, columns_max);
        widths_ = before;
        cut(Fit::cut_middle, middle_width_min, columns_max);
    }
}

/// The cell, cut as its column says.
TextLine cell_text(const Cell& cell,
                   const Column& column,
                   std::size_t width,
                   const Terminal& terminal) {
    TextLine text;
    if (column.fit == Fit::cut_middle) {
        return text.add(cut_middle(cell.text, width, terminal), cell.ink);
    }
    text.add(cell.text, cell.ink);
    if (column.fit == Fit::cut_end) {
        text.cut(width, terminal);
    }
    return text;
}

std::string row_text(const TableRow& row,
                     const std::vector<Column>& columns,
                     const Layout& layout,
                     const Terminal& terminal) {
    TextLine line;
    line.add(row.mark.text, row.mark.ink).pad_to(mark_width);
    std::size_t begin = mark_width;
    for (std::size_t i = 0; i < columns.size(); ++i) {
        if (!layout.is_shown(i)) {
            continue;
        }
        const auto width = layout.width(i);
        const auto text = cell_text(row.cells[i], columns[i], width, terminal);
        const auto indent = columns[i].right ? width - std::min(width, text.width()) : 0;
        line.pad_to(begin + indent).add(text);
        begin += width + gap;
    }
    return line.text(terminal);
}

}  // namespace

std::string table_text(const std::vector<Column>& columns,
                       const std::vector<TableRow>& rows,
                       bool header,
                       const Terminal& terminal) {
    if (rows.empty()) {
        return "";
    }
    Layout layout(columns, rows, header);
    if (terminal.is_terminal) {
        layout.fit(terminal.columns);
    }
    std::string text;
    if (header) {
        TableRow titles;
        for (const auto& column : columns) {
            titles.cells.push_back({std::string(column.title)});
        }
        text += row_text(titles, columns, layout, terminal);
    }
    for (const auto& row : rows) {
        text += row_text(row, columns, layout, terminal);
    }
    return text;
}

}  // namespace reachd::ctl
