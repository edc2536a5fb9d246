#include "exporters/prometheus_text.hpp"

#include <utility>

#include "common/check.hpp"
#include "exporters/host_text.hpp"

namespace reachd {
namespace {

std::shared_ptr<const Snapshot> not_null(std::shared_ptr<const Snapshot> snapshot) {
    ENSURE(snapshot != nullptr);
    return snapshot;
}

}  // namespace

PrometheusText::PrometheusText(std::shared_ptr<const Snapshot> snapshot,
                               const ExpositionExtras& extras,
                               std::size_t block_bytes)
    : snapshot_(not_null(std::move(snapshot))),
      interfaces_(*snapshot_),
      peers_(*snapshot_),
      path_mtus_(*snapshot_),
      block_(block_bytes) {
    ENSURE(block_bytes > 0);
    auto host = host_text(*snapshot_, extras);
    const auto host_series = host.series + series_text_lines;
    apply_limit(host_series);
    series_ = host_series + interfaces_.series() + peers_.series() + path_mtus_.series();
    host_part_ = std::move(host.text);
    host_part_ += series_text(series_, extras.series_dropped_before + series_dropped());
}

void PrometheusText::apply_limit(std::uint64_t host_series) {
    const auto limit = snapshot_->series_limit;
    if (limit == 0) {
        return;
    }
    auto budget = limit > host_series ? limit - host_series : 0;
    interfaces_.limit(budget);
    budget -= interfaces_.series();
    peers_.limit(budget);
    path_mtus_.limit(budget - peers_.series(), peers_.peers_shown());
}

std::string_view PrometheusText::next_block() {
    block_.clear();
    if (part_ == Part::host && write_host_part()) {
        part_ = Part::interfaces;
    }
    if (part_ == Part::interfaces && write_families(interfaces_)) {
        part_ = Part::peers;
        family_ = 0;
    }
    if (part_ == Part::peers && write_families(peers_)) {
        part_ = Part::path_mtus;
        family_ = 0;
    }
    if (part_ == Part::path_mtus && write_families(path_mtus_)) {
        part_ = Part::end;
    }
    return block_.view();
}

bool PrometheusText::write_host_part() {
    const auto left = std::string_view(host_part_).substr(host_part_written_);
    const auto part = left.substr(0, block_.room());
    block_.text(part);
    host_part_written_ += part.size();
    return part.size() == left.size();
}

/// Writes families from where the last block ended; false when the block is full before the end.
template <class Rows>
bool PrometheusText::write_families(const Rows& rows) {
    const auto families = Rows::families();
    for (; family_ < families.size(); ++family_) {
        const auto& family = families[family_];
        if (!write_header(family.metric) || !(rows.*family.write)(family, cursor_)) {
            return false;
        }
        header_written_ = false;
        cursor_.row = 0;
    }
    return true;
}

bool PrometheusText::write_header(Metric metric) {
    if (header_written_) {
        return true;
    }
    const auto header = family_header(metric);
    if (!block_.reserve(header.size())) {
        return false;
    }
    block_.text(header);
    header_written_ = true;
    return true;
}

}  // namespace reachd
