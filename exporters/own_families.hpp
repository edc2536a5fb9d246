// The daemon's own metrics as prometheus-cpp families: the process (from the text of /proc) and the
// HTTP server. Reads no file: texts come in, values go out.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include <prometheus/metric_family.h>

#include "common/time.hpp"

namespace reachd {

/// The numbers of /proc/PID/stat that are shown (proc(5)); times in clock ticks.
struct ProcessStat {
    std::uint64_t cpu_ticks = 0;  ///< user and system
    std::uint64_t threads = 0;
    std::uint64_t start_ticks = 0;  ///< since the machine booted
    std::uint64_t virtual_bytes = 0;
    std::uint64_t resident_pages = 0;
};

/// Nothing when it is not what proc(5) describes. The name of the command may hold anything.
std::optional<ProcessStat> parse_process_stat(std::string_view text);

/// The line "btime" of /proc/stat: when the machine booted, in Unix seconds.
std::optional<std::uint64_t> parse_boot_time(std::string_view text);

/// One reading of the process; what could not be read is absent, and then so is its metric.
struct ProcessSample {
    std::optional<double> cpu_seconds;
    std::optional<std::uint64_t> resident_bytes;
    std::optional<std::uint64_t> virtual_bytes;
    std::optional<std::uint64_t> open_fds;
    std::optional<std::uint64_t> max_fds;
    std::optional<double> start_time;  ///< Unix seconds
    std::optional<std::uint64_t> threads;
};

struct HttpCounters {
    std::map<unsigned, std::uint64_t> requests;  ///< by status code
    std::uint64_t connections = 0;
    std::uint64_t rejected = 0;
    std::uint64_t evicted = 0;
    std::uint64_t accept_errors = 0;
};

std::vector<prometheus::MetricFamily> own_families(const ProcessSample& process,
                                                   const HttpCounters& http);

}  // namespace reachd
