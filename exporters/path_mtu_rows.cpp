#include "exporters/path_mtu_rows.hpp"

#include <algorithm>
#include <array>

#include "common/check.hpp"

namespace reachd {
namespace {

bool is_measured(const PathMtuSnapshot& row) {
    return row.mtu.bytes != 0;
}

std::uint64_t lines_of(const PathMtuSnapshot& row) {
    constexpr std::uint64_t always = 3 + mtu_packet_result_count;  // expected, mismatch, info
    return always + (is_measured(row) ? 1U : 0U);
}

void ensure_consistent(const Snapshot& snapshot) {
    const auto& rows = snapshot.path_mtus;
    const auto follows = [](const auto& left, const auto& right) {
        return left.peer >= right.peer;
    };
    ENSURE(std::adjacent_find(rows.begin(), rows.end(), follows) == rows.end());
    ENSURE(rows.empty() || rows.back().peer < snapshot.peers.size());
}

}  // namespace

PathMtuRows::PathMtuRows(const Snapshot& snapshot)
    : snapshot_(&snapshot),
      topology_(snapshot),
      rows_kept_(snapshot.path_mtus.size()) {
    ensure_consistent(snapshot);
    for (const auto& row : snapshot.path_mtus) {
        series_ += lines_of(row);
    }
}

std::span<const PathMtuRows::Family> PathMtuRows::families() {
    using Self = PathMtuRows;
    static constexpr std::array families{
        Family{Metric::path_mtu, &Self::write_bytes},
        Family{Metric::path_mtu_expected, &Self::write_expected},
        Family{Metric::path_mtu_mismatch, &Self::write_mismatches},
        Family{Metric::path_mtu_info, &Self::write_infos},
        Family{Metric::path_mtu_packets, &Self::write_packets},
    };
    return families;
}

void PathMtuRows::limit(std::uint64_t budget, std::size_t peers) {
    const auto& rows = snapshot_->path_mtus;
    const auto end = std::partition_point(
        rows.begin(), rows.end(), [peers](const auto& row) { return row.peer < peers; });
    const auto kept = keep_first(static_cast<std::size_t>(end - rows.begin()),
                                 budget,
                                 [this](std::size_t row) { return lines_of(path_mtu(row)); });
    const auto wanted = series_ + series_dropped_;
    rows_kept_ = kept.rows;
    series_ = kept.series;
    series_dropped_ = wanted - kept.series;
}

/// A family with at most one line for each.
template <class IsShown, class WriteValue>
bool PathMtuRows::write_lines(const Family& family,
                              RowCursor& cursor,
                              IsShown is_shown,
                              WriteValue write_value) const {
    const auto name = describe(family.metric).name;
    return cursor.for_each_row(rows_kept_, [&](std::size_t index) {
        const auto& row = path_mtu(index);
        return !is_shown(row) ||
               write_sample(cursor.block, name, labels_of(row), [&](TextBlock& out) {
                   write_value(out, row.mtu);
               });
    });
}

bool PathMtuRows::write_bytes(const Family& family, RowCursor& cursor) const {
    return write_lines(family, cursor, is_measured, [](TextBlock& out, const PathMtu& mtu) {
        out.number(mtu.bytes);
    });
}

bool PathMtuRows::write_expected(const Family& family, RowCursor& cursor) const {
    return write_lines(
        family,
        cursor,
        [](const auto& /*row*/) { return true; },
        [](TextBlock& out, const PathMtu& mtu) { out.number(mtu.expected); });
}

bool PathMtuRows::write_mismatches(const Family& family, RowCursor& cursor) const {
    return write_lines(
        family,
        cursor,
        [](const auto& /*row*/) { return true; },
        [](TextBlock& out, const PathMtu& mtu) {
            out.text(zero_or_one(is_mismatch(mtu.verdict)));
        });
}

bool PathMtuRows::write_infos(const Family& family, RowCursor& cursor) const {
    const auto name = describe(family.metric).name;
    return cursor.for_each_row(
        rows_kept_, [&](std::size_t row) { return write_info(cursor.block, name, path_mtu(row)); });
}

bool PathMtuRows::write_info(TextBlock& block,
                             std::string_view name,
                             const PathMtuSnapshot& row) const {
    const auto& labels = labels_of(row);
    const auto verdict = to_text(row.mtu.verdict);
    const auto direction = to_text(row.mtu.direction);
    const auto reporter = topology_.address_text(row.mtu.reporter);
    if (!block.reserve(name.size() + labels.size() + label_room("verdict", verdict) +
                       label_room("direction", direction) + label_room("reporter", reporter) +
                       sample_rest_max)) {
        return false;
    }
    block.text(name);
    block.character('{');
    block.text(labels);
    write_label(block, "verdict", verdict);
    write_label(block, "direction", direction);
    write_label(block, "reporter", reporter);
    block.text("} 1\n");
    return true;
}

bool PathMtuRows::write_packets(const Family& family, RowCursor& cursor) const {
    const auto name = describe(family.metric).name;
    return cursor.for_each_row(rows_kept_, [&](std::size_t row) {
        return write_results(cursor.block, name, path_mtu(row));
    });
}

/// One line for each result.
bool PathMtuRows::write_results(TextBlock& block,
                                std::string_view name,
                                const PathMtuSnapshot& row) const {
    constexpr std::string_view result_label = ",result=\"";
    constexpr std::size_t result_room = result_label.size() + 16;  // the longest: not_sent
    const auto& labels = labels_of(row);
    if (!block.reserve(mtu_packet_result_count *
                       (name.size() + labels.size() + result_room + sample_rest_max))) {
        return false;
    }
    const char* const line = block.position();
    block.text(name);
    block.character('{');
    block.text(labels);
    block.text(result_label);
    const std::string_view prefix(line, static_cast<std::size_t>(block.position() - line));
    for (std::size_t i = 0; i < mtu_packet_result_count; ++i) {
        if (i > 0) {
            block.text(prefix);
        }
        block.text(to_text(static_cast<MtuPacketResult>(i)));
        block.text("\"} ");
        block.number(row.packets[i]);
        block.character('\n');
    }
    return true;
}

}  // namespace reachd
