// The part of /metrics that does not grow with the number of peers: build, host, counts by kind and
// by bridge, engine, netlink, and the families of the process and the HTTP server. Small
// enough to be one string.
#pragma once

#include <cstdint>
#include <string>

#include "common/snapshot.hpp"
#include "exporters/prometheus_text.hpp"

namespace reachd {

struct HostText {
    std::string text;
    std::uint64_t series = 0;  ///< sample lines in it
};

HostText host_text(const Snapshot& snapshot, const ExpositionExtras& extras);

/// reachd_series and reachd_series_dropped_total, two sample lines, apart from the others because
/// their values are known last.
std::string series_text(std::uint64_t series, std::uint64_t series_dropped);
inline constexpr std::uint64_t series_text_lines = 2;

}  // namespace reachd
