#include "exporters/own_families.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <utility>

#include "exporters/metric_catalog.hpp"

namespace reachd {
namespace {

std::optional<std::uint64_t> parse_unsigned(std::string_view text) {
    std::uint64_t value = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
    if (result.ec != std::errc{} || result.ptr != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

prometheus::MetricFamily empty_family(Metric metric) {
    const auto& row = describe(metric);
    prometheus::MetricFamily family;
    family.name = row.name;
    family.help = row.help;
    switch (row.type) {
        case MetricType::counter: family.type = prometheus::MetricType::Counter; break;
        case MetricType::gauge: family.type = prometheus::MetricType::Gauge; break;
        case MetricType::histogram: family.type = prometheus::MetricType::Histogram; break;
    }
    return family;
}

prometheus::ClientMetric sample(double value) {
    prometheus::ClientMetric metric;
    // The type of the family decides which of the two is shown.
    metric.counter.value = value;
    metric.gauge.value = value;
    return metric;
}

prometheus::MetricFamily single(Metric metric, double value) {
    auto family = empty_family(metric);
    family.metric.push_back(sample(value));
    return family;
}

prometheus::MetricFamily requests_by_code(const std::map<unsigned, std::uint64_t>& requests) {
    auto family = empty_family(Metric::http_requests);
    auto counts = requests;
    counts.try_emplace(200, 0);
    for (const auto& [code, count] : counts) {
        auto metric = sample(static_cast<double>(count));
        metric.label.push_back({"code", std::to_string(code)});
        family.metric.push_back(std::move(metric));
    }
    return family;
}

}  // namespace

std::optional<ProcessStat> parse_process_stat(std::string_view text) {
    // The second field is the command in parentheses and may hold blanks and parentheses itself:
    // what counts is behind the last one. Fields are numbered as in proc(5), from 1.
    const auto command_end = text.rfind(')');
    if (command_end == std::string_view::npos) {
        return std::nullopt;
    }
    constexpr std::size_t first_field = 3;
    constexpr std::size_t last_field = 24;
    std::array<std::optional<std::uint64_t>, last_field + 1> fields;
    auto rest = text.substr(command_end + 1);
    for (std::size_t field = first_field; field <= last_field; ++field) {
        const auto begin = rest.find_first_not_of(" \n");
        if (begin == std::string_view::npos) {
            return std::nullopt;
        }
        rest.remove_prefix(begin);
        const auto size = std::min(rest.find_first_of(" \n"), rest.size());
        fields[field] = parse_unsigned(rest.substr(0, size));
        rest.remove_prefix(size);
    }
    const auto user = fields[14];
    const auto system = fields[15];
    if (!user || !system || !fields[20] || !fields[22] || !fields[23] || !fields[24]) {
        return std::nullopt;
    }
    return ProcessStat{.cpu_ticks = *user + *system,
                       .threads = *fields[20],
                       .start_ticks = *fields[22],
                       .virtual_bytes = *fields[23],
                       .resident_pages = *fields[24]};
}

std::optional<std::uint64_t> parse_boot_time(std::string_view text) {
    constexpr std::string_view key = "btime ";
    while (!text.empty()) {
        const auto line = text.substr(0, text.find('\n'));
        if (line.substr(0, key.size()) == key) {
            return parse_unsigned(line.substr(key.size()));
        }
        text.remove_prefix(std::min(line.size() + 1, text.size()));
    }
    return std::nullopt;
}

std::vector<prometheus::MetricFamily> own_families(const ProcessSample& process,
                                                   const HttpCounters& http) {
    std::vector<prometheus::MetricFamily> families;
    families.push_back(requests_by_code(http.requests));
    const auto add = [&families](Metric metric, const auto& value) {
        if (value) {
            families.push_back(single(metric, static_cast<double>(*value)));
        }
    };
    add(Metric::http_connections, &http.connections);
    add(Metric::http_connections_rejected, &http.rejected);
    add(Metric::http_connections_evicted, &http.evicted);
    add(Metric::http_accept_errors, &http.accept_errors);
    add(Metric::process_cpu, process.cpu_seconds);
    add(Metric::process_resident_memory, process.resident_bytes);
    add(Metric::process_virtual_memory, process.virtual_bytes);
    add(Metric::process_open_fds, process.open_fds);
    add(Metric::process_max_fds, process.max_fds);
    add(Metric::process_start_time, process.start_time);
    add(Metric::process_threads, process.threads);
    return families;
}

}  // namespace reachd
