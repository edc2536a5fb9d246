#include "exporters/metric_catalog.hpp"

#include <array>

#include "common/check.hpp"

namespace reachd {
namespace {

using enum MetricType;
using enum MetricGroup;

constexpr std::string_view peer_labels = "peer, address";
constexpr std::string_view probe_labels = "peer, address, probe, port";

constexpr std::array catalog{
    MetricDescription{
        .metric = Metric::peer_up,
        .group = peers,
        .name = "reachd_peer_up",
        .type = gauge,
        .unit = "boolean",
        .labels = peer_labels,
        .help = "Whether any enabled probe kind of the peer is answered; absent before the first "
                "verdict.",
        .query = "reachd_peer_up == 0",
    },
    MetricDescription{
        .metric = Metric::peer_state_changes,
        .group = peers,
        .name = "reachd_peer_state_changes_total",
        .type = counter,
        .unit = "count",
        .labels = peer_labels,
        .help = "Verdicts on the peer that differed from the one before.",
        .query = "increase(reachd_peer_state_changes_total[1h]) > 4",
    },
    MetricDescription{
        .metric = Metric::peer_last_change,
        .group = peers,
        .name = "reachd_peer_last_change_timestamp_seconds",
        .type = gauge,
        .unit = "timestamp",
        .labels = peer_labels,
        .help = "Unix time of the last change of the verdict; absent before the first one.",
        .query = "time() - reachd_peer_last_change_timestamp_seconds < 300",
    },
    MetricDescription{
        .metric = Metric::peer_info,
        .group = peers,
        .name = "reachd_peer_info",
        .type = gauge,
        .unit = "info",
        .labels = "peer, address, kind, source, device, bridge, vm, and the labels of the peer",
        .help = "Always 1; its labels describe the peer and are there to be joined.",
        .query = "(reachd_peer_up == 0) * on (instance, peer, address) group_left (kind, device, "
                 "bridge, vm) reachd_peer_info",
    },
    MetricDescription{
        .metric = Metric::peers,
        .group = peers,
        .name = "reachd_peers",
        .type = gauge,
        .unit = "count",
        .labels = "kind",
        .help = "Peers being probed, by kind: host, gateway or guest.",
        .query = "sum by (instance) (reachd_peers)",
    },
    MetricDescription{
        .metric = Metric::guests,
        .group = peers,
        .name = "reachd_guests",
        .type = gauge,
        .unit = "count",
        .labels = "bridge",
        .help = "Guests of this host, probed or not, by the bridge they are plugged into.",
        .query = "delta(reachd_guests[10m]) < 0",
    },

    MetricDescription{
        .metric = Metric::probe_up,
        .group = probes,
        .name = "reachd_probe_up",
        .type = gauge,
        .unit = "boolean",
        .labels = probe_labels,
        .help = "Whether this probe kind of the peer is answered; absent before the first verdict.",
        .query = "reachd_probe_up == 0 and on (instance, peer, address) reachd_peer_up == 1",
    },
    MetricDescription{
        .metric = Metric::probe_rtt,
        .group = probes,
        .name = "reachd_probe_rtt_seconds",
        .type = histogram,
        .unit = "seconds",
        .labels = probe_labels,
        .help = "Round-trip time of answered probes, by kernel time stamps where there are any.",
        .query = "histogram_quantile(0.99, sum by (le, peer) "
                 "(rate(reachd_probe_rtt_seconds_bucket[5m])))",
    },
    MetricDescription{
        .metric = Metric::host_rtt,
        .group = probes,
        .name = "reachd_host_rtt_seconds",
        .type = histogram,
        .unit = "seconds",
        .labels = "probe, kind",
        .help = "Round-trip time of answered probes of all peers of a kind, in fine steps.",
        .query = "histogram_quantile(0.5, sum by (le, kind) "
                 "(rate(reachd_host_rtt_seconds_bucket[5m])))",
    },
    MetricDescription{
        .metric = Metric::probe_sent,
        .group = probes,
        .name = "reachd_probe_sent_total",
        .type = counter,
        .unit = "count",
        .labels = probe_labels,
        .help = "Probes that the kernel took; always received plus lost plus those in flight.",
        .query = "sum by (instance) (rate(reachd_probe_sent_total[1m]))",
    },
    MetricDescription{
        .metric = Metric::probe_received,
        .group = probes,
        .name = "reachd_probe_received_total",
        .type = counter,
        .unit = "count",
        .labels = probe_labels,
        .help = "Probes that were answered within their time-out.",
        .query = "rate(reachd_probe_received_total[5m]) == 0",
    },
    MetricDescription{
        .metric = Metric::probe_lost,
        .group = probes,
        .name = "reachd_probe_lost_total",
        .type = counter,
        .unit = "count",
        .labels = probe_labels,
        .help = "Probes that were not answered within their time-out.",
        .query = "rate(reachd_probe_lost_total[5m]) / (rate(reachd_probe_lost_total[5m]) + "
                 "rate(reachd_probe_received_total[5m])) > 0.05",
    },
    MetricDescription{
        .metric = Metric::probe_late,
        .group = probes,
        .name = "reachd_probe_late_total",
        .type = counter,
        .unit = "count",
        .labels = probe_labels,
        .help = "Answers that came after their probe was counted as lost.",
        .query = "increase(reachd_probe_late_total[10m]) > 0",
    },
    MetricDescription{
        .metric = Metric::probe_duplicates,
        .group = probes,
        .name = "reachd_probe_duplicates_total",
        .type = counter,
        .unit = "count",
        .labels = probe_labels,
        .help = "Further answers to a probe that was already answered.",
        .query = "increase(reachd_probe_duplicates_total[10m]) > 0",
    },
    MetricDescription{
        .metric = Metric::probe_reordered,
        .group = probes,
        .name = "reachd_probe_reordered_total",
        .type = counter,
        .unit = "count",
        .labels = probe_labels,
        .help = "Answers in time that came after the answer to a later probe.",
        .query = "rate(reachd_probe_reordered_total[5m]) / "
                 "rate(reachd_probe_received_total[5m]) > 0.02",
    },
    MetricDescription{
        .metric = Metric::probe_failures,
        .group = probes,
        .name = "reachd_probe_failures_total",
        .type = counter,
        .unit = "count",
        .labels = "peer, address, probe, port, reason",
        .help = "Probes that failed, by reason; a reason appears with its first occurrence.",
        .query = "sum by (reason) (increase(reachd_probe_failures_total[10m])) > 0",
    },
    MetricDescription{
        .metric = Metric::tcp_syn_retransmits,
        .group = probes,
        .name = "reachd_tcp_syn_retransmits_total",
        .type = counter,
        .unit = "count",
        .labels = "peer, address, port",
        .help = "Connection requests of TCP probes that the kernel sent again: lost ones, or lost "
                "answers.",
        .query = "increase(reachd_tcp_syn_retransmits_total[10m]) > 0",
    },
    MetricDescription{
        .metric = Metric::probe_jitter,
        .group = probes,
        .name = "reachd_probe_jitter_seconds",
        .type = gauge,
        .unit = "seconds",
        .labels = probe_labels,
        .help = "Smoothed difference of successive round-trip times (RFC 3550, section 6.4.1).",
        .query = "reachd_probe_jitter_seconds > 0.01",
    },

    MetricDescription{
        .metric = Metric::path_mtu,
        .group = path_mtu,
        .name = "reachd_path_mtu_bytes",
        .type = gauge,
        .unit = "bytes",
        .labels = peer_labels,
        .help = "Largest IP packet that passes to the peer and back, or that this host can send "
                "where the verdict is local; absent while undetermined.",
        .query = "reachd_path_mtu_bytes < reachd_path_mtu_expected_bytes",
    },
    MetricDescription{
        .metric = Metric::path_mtu_expected,
        .group = path_mtu,
        .name = "reachd_path_mtu_expected_bytes",
        .type = gauge,
        .unit = "bytes",
        .labels = peer_labels,
        .help =
            "IP packet size that should pass: configured, or the MTU of the outgoing interface, at "
            "most 9216.",
        .query = "reachd_path_mtu_expected_bytes unless reachd_path_mtu_bytes",
    },
    MetricDescription{
        .metric = Metric::path_mtu_mismatch,
        .group = path_mtu,
        .name = "reachd_path_mtu_mismatch",
        .type = gauge,
        .unit = "boolean",
        .labels = peer_labels,
        .help = "Whether the path MTU is not the expected one; 0 also while undetermined.",
        .query = "(reachd_path_mtu_mismatch == 1) * on (instance, peer, address) group_left "
                 "(verdict, direction, reporter) reachd_path_mtu_info",
    },
    MetricDescription{
        .metric = Metric::path_mtu_info,
        .group = path_mtu,
        .name = "reachd_path_mtu_info",
        .type = gauge,
        .unit = "info",
        .labels = "peer, address, verdict, direction, reporter",
        .help = "Always 1; its labels say how large packets fare on the way to the peer and back.",
        .query = "reachd_path_mtu_info{verdict=\"black_hole\"}",
    },
    MetricDescription{
        .metric = Metric::path_mtu_packets,
        .group = path_mtu,
        .name = "reachd_path_mtu_packets_total",
        .type = counter,
        .unit = "count",
        .labels = "peer, address, result",
        .help = "Packets of path MTU probing, by what became of them: answered, lost, too_big or "
                "not_sent.",
        .query = "sum by (instance, result) (rate(reachd_path_mtu_packets_total[10m]))",
    },

    MetricDescription{
        .metric = Metric::interface_info,
        .group = interfaces,
        .name = "reachd_interface_info",
        .type = gauge,
        .unit = "info",
        .labels = "device, kind, driver, mac, bridge, vm",
        .help = "Always 1; its labels describe the network interface and are there to be joined.",
        .query = "(reachd_interface_up == 0) * on (instance, device) group_left (kind, bridge) "
                 "reachd_interface_info",
    },
    MetricDescription{
        .metric = Metric::interface_admin_up,
        .group = interfaces,
        .name = "reachd_interface_admin_up",
        .type = gauge,
        .unit = "boolean",
        .labels = "device",
        .help = "Whether the network interface is switched on.",
        .query = "reachd_interface_admin_up{device=~\"eth.*|en.*\"} == 0",
    },
    MetricDescription{
        .metric = Metric::interface_up,
        .group = interfaces,
        .name = "reachd_interface_up",
        .type = gauge,
        .unit = "boolean",
        .labels = "device",
        .help =
            "Whether the network interface is switched on and its operational state up or unknown.",
        .query =
            "reachd_interface_up == 0 and on (instance, device) reachd_interface_admin_up == 1",
    },
    MetricDescription{
        .metric = Metric::interface_mtu,
        .group = interfaces,
        .name = "reachd_interface_mtu_bytes",
        .type = gauge,
        .unit = "bytes",
        .labels = "device",
        .help = "Largest packet that the network interface sends.",
        .query = "count by (instance, bridge) (count_values by (instance, bridge) (\"mtu\", "
                 "reachd_interface_mtu_bytes * on (instance, device) group_left (bridge) "
                 "reachd_interface_info{bridge!=\"\"})) > 1",
    },
    MetricDescription{
        .metric = Metric::interface_carrier_changes,
        .group = interfaces,
        .name = "reachd_interface_carrier_changes_total",
        .type = counter,
        .unit = "count",
        .labels = "device",
        .help = "Times the carrier of the network interface came or went since it appeared.",
        .query = "increase(reachd_interface_carrier_changes_total[10m]) > 4",
    },
    MetricDescription{
        .metric = Metric::interface_receive_errors,
        .group = interfaces,
        .name = "reachd_interface_receive_errors_total",
        .type = counter,
        .unit = "count",
        .labels = "device",
        .help = "Packets that could not be received because of an error; absent until first read.",
        .query = "rate(reachd_interface_receive_errors_total[5m]) > 0",
    },
    MetricDescription{
        .metric = Metric::interface_transmit_errors,
        .group = interfaces,
        .name = "reachd_interface_transmit_errors_total",
        .type = counter,
        .unit = "count",
        .labels = "device",
        .help = "Packets that could not be sent because of an error; absent until first read.",
        .query = "rate(reachd_interface_transmit_errors_total[5m]) > 0",
    },
    MetricDescription{
        .metric = Metric::interface_receive_drops,
        .group = interfaces,
        .name = "reachd_interface_receive_drops_total",
        .type = counter,
        .unit = "count",
        .labels = "device",
        .help = "Packets received, but dropped for lack of room or of a receiver; absent until "
                "first read.",
        .query = "rate(reachd_interface_receive_drops_total[5m]) > 1",
    },
    MetricDescription{
        .metric = Metric::interface_transmit_drops,
        .group = interfaces,
        .name = "reachd_interface_transmit_drops_total",
        .type = counter,
        .unit = "count",
        .labels = "device",
        .help = "Packets dropped before they were sent; absent until first read.",
        .query = "rate(reachd_interface_transmit_drops_total[5m]) > 1",
    },
    MetricDescription{
        .metric = Metric::bridge_port_state,
        .group = interfaces,
        .name = "reachd_bridge_port_state",
        .type = gauge,
        .unit = "boolean",
        .labels = "bridge, device, state",
        .help =
            "Whether the port of the bridge is in this state: 1 for one state, 0 for all others.",
        .query = "reachd_bridge_port_state{state=\"forwarding\"} == 0",
    },
    MetricDescription{
        .metric = Metric::interfaces,
        .group = interfaces,
        .name = "reachd_interfaces",
        .type = gauge,
        .unit = "count",
        .labels = "kind",
        .help = "Network interfaces of the host, by kind.",
        .query = "delta(reachd_interfaces{kind=\"tap\"}[10m]) < 0",
    },

    MetricDescription{
        .metric = Metric::probe_samples_discarded,
        .group = engine,
        .name = "reachd_probe_samples_discarded_total",
        .type = counter,
        .unit = "count",
        .labels = "probe, reason",
        .help = "Answers that gave no round-trip time: the clock stepped, reachd itself was "
                "starved, or it is not clear what was answered.",
        .query = "increase(reachd_probe_samples_discarded_total[10m]) > 0",
    },
    MetricDescription{
        .metric = Metric::probe_user_stamped,
        .group = engine,
        .name = "reachd_probe_user_stamped_total",
        .type = counter,
        .unit = "count",
        .labels = "probe",
        .help = "Round-trip times that count, but were not stamped by the kernel both ways.",
        .query = "rate(reachd_probe_user_stamped_total[5m]) / on (instance, probe) "
                 "sum by (instance, probe) (rate(reachd_probe_received_total[5m])) > 0.01",
    },
    MetricDescription{
        .metric = Metric::probe_delay,
        .group = engine,
        .name = "reachd_probe_delay_seconds",
        .type = histogram,
        .unit = "seconds",
        .labels = "",
        .help = "How late after its due time a probe was sent.",
        .query = "histogram_quantile(0.99, rate(reachd_probe_delay_seconds_bucket[5m])) > 0.05",
    },
    MetricDescription{
        .metric = Metric::probes_skipped,
        .group = engine,
        .name = "reachd_probes_skipped_total",
        .type = counter,
        .unit = "count",
        .labels = "reason",
        .help = "Due probes that were not sent though nothing was wrong with their path.",
        .query = "rate(reachd_probes_skipped_total[5m]) > 0",
    },
    MetricDescription{
        .metric = Metric::throttle_ratio,
        .group = engine,
        .name = "reachd_throttle_ratio",
        .type = gauge,
        .unit = "ratio",
        .labels = "",
        .help = "Share of the configured probe rate that is being sent; 1 is the full rate.",
        .query = "reachd_throttle_ratio < 1",
    },
    MetricDescription{
        .metric = Metric::packets_ignored,
        .group = engine,
        .name = "reachd_packets_ignored_total",
        .type = counter,
        .unit = "count",
        .labels = "reason",
        .help = "Packets that claimed to answer a probe and did not: forged, foreign or damaged.",
        .query = "sum by (instance, reason) (rate(reachd_packets_ignored_total[5m])) > 1",
    },
    MetricDescription{
        .metric = Metric::socket_receive_buffer,
        .group = engine,
        .name = "reachd_socket_receive_buffer_bytes",
        .type = gauge,
        .unit = "bytes",
        .labels = "socket",
        .help = "Receive buffer that the kernel granted to a socket.",
        .query = "reachd_socket_receive_buffer_bytes{socket=\"netlink\"} < 4194304",
    },

    MetricDescription{
        .metric = Metric::netlink_messages,
        .group = netlink,
        .name = "reachd_netlink_messages_total",
        .type = counter,
        .unit = "count",
        .labels = "type",
        .help = "Messages that the kernel sent about links, addresses, neighbours and routes.",
        .query = "sum by (type) (rate(reachd_netlink_messages_total[5m]))",
    },
    MetricDescription{
        .metric = Metric::netlink_overruns,
        .group = netlink,
        .name = "reachd_netlink_overruns_total",
        .type = counter,
        .unit = "count",
        .labels = "",
        .help = "Times the kernel dropped messages because reachd did not read fast enough.",
        .query = "increase(reachd_netlink_overruns_total[1h]) > 0",
    },
    MetricDescription{
        .metric = Metric::netlink_resyncs,
        .group = netlink,
        .name = "reachd_netlink_resyncs_total",
        .type = counter,
        .unit = "count",
        .labels = "",
        .help = "Times the topology was read anew from the kernel after the first time.",
        .query = "increase(reachd_netlink_resyncs_total[1h]) > 2",
    },
    MetricDescription{
        .metric = Metric::netlink_ignored,
        .group = netlink,
        .name = "reachd_netlink_ignored_total",
        .type = counter,
        .unit = "count",
        .labels = "reason",
        .help = "Messages, or parts of them, that were not used: malformed or beyond a limit.",
        .query = "increase(reachd_netlink_ignored_total[1h]) > 0",
    },
    MetricDescription{
        .metric = Metric::topology_last_sync,
        .group = netlink,
        .name = "reachd_topology_last_sync_timestamp_seconds",
        .type = gauge,
        .unit = "timestamp",
        .labels = "",
        .help = "Unix time of the last complete reading of the topology; absent before the first.",
        .query = "absent(reachd_topology_last_sync_timestamp_seconds)",
    },
    MetricDescription{
        .metric = Metric::discovery_errors,
        .group = netlink,
        .name = "reachd_discovery_errors_total",
        .type = counter,
        .unit = "count",
        .labels = "source",
        .help = "Failed attempts of a source of peers, such as name resolution.",
        .query = "increase(reachd_discovery_errors_total[15m]) > 0",
    },

    MetricDescription{
        .metric = Metric::build_info,
        .group = agent,
        .name = "reachd_build_info",
        .type = gauge,
        .unit = "info",
        .labels = "version, revision, compiler",
        .help = "Always 1; its labels say which build this is.",
        .query = "count by (version) (reachd_build_info)",
    },
    MetricDescription{
        .metric = Metric::host_info,
        .group = agent,
        .name = "reachd_host_info",
        .type = gauge,
        .unit = "info",
        .labels = "host, role, virtualization, and the labels of the host",
        .help = "Always 1; its labels describe the host: role is hypervisor, physical or guest.",
        .query = "(reachd_peer_up == 0) * on (instance) group_left (host) reachd_host_info",
    },
    MetricDescription{
        .metric = Metric::config_last_reload_successful,
        .group = agent,
        .name = "reachd_config_last_reload_successful",
        .type = gauge,
        .unit = "boolean",
        .labels = "",
        .help = "Whether the last attempt to load the configuration succeeded.",
        .query = "reachd_config_last_reload_successful == 0",
    },
    MetricDescription{
        .metric = Metric::config_last_reload_success,
        .group = agent,
        .name = "reachd_config_last_reload_success_timestamp_seconds",
        .type = gauge,
        .unit = "timestamp",
        .labels = "",
        .help = "Unix time at which the configuration in force was loaded.",
        .query = "time() - reachd_config_last_reload_success_timestamp_seconds < 600",
    },
    MetricDescription{
        .metric = Metric::series,
        .group = agent,
        .name = "reachd_series",
        .type = gauge,
        .unit = "count",
        .labels = "",
        .help = "Series in this answer, this one included.",
        .query = "sum(reachd_series)",
    },
    MetricDescription{
        .metric = Metric::series_dropped,
        .group = agent,
        .name = "reachd_series_dropped_total",
        .type = counter,
        .unit = "count",
        .labels = "",
        .help = "Series left out of answers because of limits.series: path MTUs first, then whole "
                "peers, then whole interfaces.",
        .query = "increase(reachd_series_dropped_total[10m]) > 0",
    },

    MetricDescription{
        .metric = Metric::http_requests,
        .group = http,
        .name = "reachd_http_requests_total",
        .type = counter,
        .unit = "count",
        .labels = "code",
        .help = "HTTP requests answered, by status code.",
        .query = "sum by (code) (rate(reachd_http_requests_total{code!=\"200\"}[5m])) > 0",
    },
    MetricDescription{
        .metric = Metric::http_connections,
        .group = http,
        .name = "reachd_http_connections",
        .type = gauge,
        .unit = "count",
        .labels = "",
        .help = "Open HTTP connections.",
        .query = "max_over_time(reachd_http_connections[1h])",
    },
    MetricDescription{
        .metric = Metric::http_connections_rejected,
        .group = http,
        .name = "reachd_http_connections_rejected_total",
        .type = counter,
        .unit = "count",
        .labels = "",
        .help = "HTTP connections turned away because limits.connections were busy.",
        .query = "increase(reachd_http_connections_rejected_total[10m]) > 0",
    },
    MetricDescription{
        .metric = Metric::http_connections_evicted,
        .group = http,
        .name = "reachd_http_connections_evicted_total",
        .type = counter,
        .unit = "count",
        .labels = "",
        .help = "HTTP connections closed early, idle or slow, to make room for a new client.",
        .query = "increase(reachd_http_connections_evicted_total[10m]) > 0",
    },
    MetricDescription{
        .metric = Metric::http_accept_errors,
        .group = http,
        .name = "reachd_http_accept_errors_total",
        .type = counter,
        .unit = "count",
        .labels = "",
        .help = "Failed attempts to accept an HTTP connection, such as too many open files.",
        .query = "increase(reachd_http_accept_errors_total[10m]) > 0",
    },

    MetricDescription{
        .metric = Metric::process_cpu,
        .group = process,
        .name = "process_cpu_seconds_total",
        .type = counter,
        .unit = "seconds",
        .labels = "",
        .help = "Total user and system CPU time spent in seconds.",
        .query = "rate(process_cpu_seconds_total{job=\"reachd\"}[5m])",
    },
    MetricDescription{
        .metric = Metric::process_resident_memory,
        .group = process,
        .name = "process_resident_memory_bytes",
        .type = gauge,
        .unit = "bytes",
        .labels = "",
        .help = "Resident memory size in bytes.",
        .query = "process_resident_memory_bytes{job=\"reachd\"}",
    },
    MetricDescription{
        .metric = Metric::process_virtual_memory,
        .group = process,
        .name = "process_virtual_memory_bytes",
        .type = gauge,
        .unit = "bytes",
        .labels = "",
        .help = "Virtual memory size in bytes.",
        .query = "process_virtual_memory_bytes{job=\"reachd\"}",
    },
    MetricDescription{
        .metric = Metric::process_open_fds,
        .group = process,
        .name = "process_open_fds",
        .type = gauge,
        .unit = "count",
        .labels = "",
        .help = "Number of open file descriptors.",
        .query = "process_open_fds{job=\"reachd\"} / process_max_fds > 0.8",
    },
    MetricDescription{
        .metric = Metric::process_max_fds,
        .group = process,
        .name = "process_max_fds",
        .type = gauge,
        .unit = "count",
        .labels = "",
        .help = "Maximum number of open file descriptors.",
        .query = "process_max_fds{job=\"reachd\"} < 1024",
    },
    MetricDescription{
        .metric = Metric::process_start_time,
        .group = process,
        .name = "process_start_time_seconds",
        .type = gauge,
        .unit = "timestamp",
        .labels = "",
        .help = "Start time of the process since the Unix epoch in seconds.",
        .query = "changes(process_start_time_seconds{job=\"reachd\"}[1h]) > 1",
    },
    MetricDescription{
        .metric = Metric::process_threads,
        .group = process,
        .name = "process_threads",
        .type = gauge,
        .unit = "count",
        .labels = "",
        .help = "Number of threads of the process.",
        .query = "process_threads{job=\"reachd\"}",
    },
};

// describe() indexes the table by the enumerator.
constexpr bool in_order() {
    for (std::size_t i = 0; i < catalog.size(); ++i) {
        if (catalog[i].metric != static_cast<Metric>(i)) {
            return false;
        }
    }
    return true;
}

static_assert(in_order());
static_assert(catalog.back().metric == Metric::process_threads, "a metric has no row");

std::string_view title(MetricGroup group) {
    switch (group) {
        case peers: return "Peers";
        case probes: return "Probes of a peer";
        case path_mtu: return "Path MTU";
        case interfaces: return "Network interfaces";
        case engine: return "The probe engine";
        case netlink: return "Kernel events and discovery";
        case agent: return "The agent";
        case http: return "The HTTP server";
        case process: return "The process";
    }
    return "";
}

constexpr std::string_view preamble = R"(# Metrics

Every metric of this version of reachd, as served on `/metrics` in the Prometheus text format.
This page is rendered from the catalogue in `exporters/metric_catalog.cpp` and a test compares the
two; after a change there, run `unit_tests "[.rewrite]"` to write it anew.

What holds for all of them:

- Base units, seconds and bytes; counters end in `_total`. Times of day are Unix time in seconds.
- A peer or an interface that goes away takes its series with it. Descriptive labels are on
  `reachd_peer_info` and `reachd_interface_info` only, to be joined.
- `kind` of an interface is physical, bridge, veth, tap, macvtap, vf, vxlan, bond, vlan, ovs or
  other. Its counters never fall, also when its driver starts again from zero.
- `address` is the numeric address that is probed, with its zone where it has one. `probe` is icmp,
  tcp or arp, which is ARP or IPv6 neighbour discovery; `port` is there for TCP probes only. An
  empty label, in Prometheus the same as none, is left out.
- The `peer` of a guest is its name in the configuration, that of its virtual machine, container or
  network namespace, or else its MAC address. `bridge` and `vm` say where it is plugged in and
  which virtual machine it is. Several addresses of a guest are several peers of one name.
- Counters start at 0, but a failure reason appears with its first occurrence.
- `le` is written in one canonical way (`5e-05`, `0.001`, `1.0`, `+Inf`), and no query needs to
  match it.
- A path MTU is there for peers of which a size is expected. Sizes are those of whole IP packets.
  `verdict` is ok, signalled (a router says that large packets are too big), black_hole (they vanish
  without a message), local (a device of this host is smaller than what is expected), peer_egress
  (they arrive, and the peer answers in smaller fragments) or undetermined. `direction` is the one
  in which they do not pass: forward, reverse, both, unknown, or none. `reporter` is the address of
  who signalled.
- Beyond `limits.series` path MTUs are left out first, then whole peers, the last ones first, then
  whole interfaces, and `reachd_series_dropped_total` counts what is missing. What describes the
  host is never left out.
)";

void append_labels(std::string& page, std::string_view labels) {
    if (labels.empty()) {
        page += " No labels.\n";
        return;
    }
    page += " Labels: ";
    page += labels;
    page += ".\n";
}

}  // namespace

std::span<const MetricDescription> metric_catalog() {
    return catalog;
}

const MetricDescription& describe(Metric metric) {
    const auto row = static_cast<std::size_t>(metric);
    ENSURE(row < catalog.size());
    return catalog[row];
}

std::string family_header(Metric metric) {
    const auto& row = describe(metric);
    std::string header = "# HELP ";
    header += row.name;
    header += ' ';
    header += row.help;
    header += "\n# TYPE ";
    header += row.name;
    header += ' ';
    header += to_text(row.type);
    header += '\n';
    return header;
}

std::string metrics_document() {
    std::string page(preamble);
    const MetricDescription* previous = nullptr;
    for (const auto& row : catalog) {
        if (previous == nullptr || previous->group != row.group) {
            page += "\n## ";
            page += title(row.group);
            page += '\n';
        }
        page += "\n### ";
        page += row.name;
        page += "\n\n";
        page += row.help;
        page += "\n\nType: ";
        page += to_text(row.type);
        page += ". Unit: ";
        page += row.unit;
        page += '.';
        append_labels(page, row.labels);
        page += "\n```promql\n";
        page += row.query;
        page += "\n```\n";
        previous = &row;
    }
    return page;
}

}  // namespace reachd
