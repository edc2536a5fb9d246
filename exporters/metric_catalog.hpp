// The one table of every metric of this version: name, type, unit, labels, help and a query that
// shows its use. METRICS.md is rendered from it, the writers take their HELP and TYPE lines from
// it. It holds no values: those come from the snapshot, the process and the HTTP server.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace reachd {

enum class MetricType : std::uint8_t { counter, gauge, histogram };

/// The word of a TYPE line.
constexpr std::string_view to_text(MetricType type) {
    switch (type) {
        case MetricType::counter: return "counter";
        case MetricType::gauge: return "gauge";
        case MetricType::histogram: return "histogram";
    }
    return "";
}

/// The chapters of METRICS.md, in their order.
enum class MetricGroup : std::uint8_t {
    peers,
    probes,
    path_mtu,
    interfaces,
    engine,
    netlink,
    agent,
    http,
    process
};

/// Every metric, in the order of the table and of METRICS.md.
enum class Metric : std::uint8_t {
    peer_up,
    peer_state_changes,
    peer_last_change,
    peer_info,
    peers,
    guests,

    probe_up,
    probe_rtt,
    host_rtt,
    probe_sent,
    probe_received,
    probe_lost,
    probe_late,
    probe_duplicates,
    probe_reordered,
    probe_failures,
    tcp_syn_retransmits,
    probe_jitter,

    path_mtu,
    path_mtu_expected,
    path_mtu_mismatch,
    path_mtu_info,
    path_mtu_packets,

    interface_info,
    interface_admin_up,
    interface_up,
    interface_mtu,
    interface_carrier_changes,
    interface_receive_errors,
    interface_transmit_errors,
    interface_receive_drops,
    interface_transmit_drops,
    bridge_port_state,
    interfaces,

    probe_samples_discarded,
    probe_user_stamped,
    probe_delay,
    probes_skipped,
    throttle_ratio,
    packets_ignored,
    socket_receive_buffer,

    netlink_messages,
    netlink_overruns,
    netlink_resyncs,
    netlink_ignored,
    topology_last_sync,
    discovery_errors,

    build_info,
    host_info,
    config_last_reload_successful,
    config_last_reload_success,
    series,
    series_dropped,

    http_requests,
    http_connections,
    http_connections_rejected,
    http_connections_evicted,
    http_accept_errors,

    process_cpu,
    process_resident_memory,
    process_virtual_memory,
    process_open_fds,
    process_max_fds,
    process_start_time,
    process_threads,
};

/// Text only, without double quotes, backslashes and line feeds in `help`, so that it needs no
/// escaping in any exposition format.
struct MetricDescription {
    Metric metric;
    MetricGroup group;
    std::string_view name;  ///< of the family; with `_total` where it is a counter
    MetricType type;
    std::string_view unit;    ///< seconds, bytes, ratio, boolean, timestamp, info or count
    std::string_view labels;  ///< names, comma separated; empty: none
    std::string_view help;    ///< one sentence
    std::string_view query;   ///< PromQL that an operator would really ask
};

std::span<const MetricDescription> metric_catalog();

const MetricDescription& describe(Metric metric);

/// "# HELP …" and "# TYPE …", each with its line feed.
std::string family_header(Metric metric);

/// The whole of METRICS.md.
std::string metrics_document();

}  // namespace reachd
