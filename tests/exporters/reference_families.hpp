// The families of peers and interfaces of a snapshot as prometheus-cpp knows them: the reference
// that the product's own writer is compared with, in values by a test and in time by a benchmark.
// Written without a look at how the product does it, and not meant to be fast.
#pragma once

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <prometheus/metric_family.h>

#include "common/snapshot.hpp"
#include "exporters/metric_catalog.hpp"

namespace reachd::test {

using ReferenceLabels = std::vector<prometheus::ClientMetric::Label>;

inline prometheus::MetricFamily reference_family(Metric metric) {
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

inline ReferenceLabels reference_labels(const PeerSnapshot& peer) {
    return {{"peer", peer.identity->name()}, {"address", peer.identity->address()}};
}

inline ReferenceLabels reference_labels(const Snapshot& snapshot, const ProbeSnapshot& probe) {
    auto labels = reference_labels(snapshot.peers[probe.peer]);
    labels.push_back({"probe", std::string(to_text(probe.kind))});
    if (probe.port != 0) {
        labels.push_back({"port", std::to_string(probe.port)});
    }
    return labels;
}

inline void add_value(prometheus::MetricFamily& family, ReferenceLabels labels, double value) {
    prometheus::ClientMetric metric;
    metric.label = std::move(labels);
    metric.counter.value = value;
    metric.gauge.value = value;
    family.metric.push_back(std::move(metric));
}

inline void add_peer_families(std::vector<prometheus::MetricFamily>& families,
                              const Snapshot& snapshot) {
    auto up = reference_family(Metric::peer_up);
    auto changes = reference_family(Metric::peer_state_changes);
    auto last = reference_family(Metric::peer_last_change);
    auto info = reference_family(Metric::peer_info);
    for (const auto& peer : snapshot.peers) {
        const auto labels = reference_labels(peer);
        if (peer.up.has_value()) {
            add_value(up, labels, *peer.up ? 1 : 0);
        }
        add_value(changes, labels, static_cast<double>(peer.state_changes));
        if (peer.last_change.time_since_epoch().count() != 0) {
            add_value(last, labels, to_unix_seconds(peer.last_change));
        }
        auto described = labels;
        described.push_back({"kind", std::string(to_text(peer.identity->kind()))});
        if (!peer.identity->details().source.empty()) {
            described.push_back({"source", peer.identity->details().source});
        }
        if (!peer.identity->details().device.empty()) {
            described.push_back({"device", peer.identity->details().device});
        }
        if (!peer.identity->details().bridge.empty()) {
            described.push_back({"bridge", peer.identity->details().bridge});
        }
        if (!peer.identity->details().vm.empty()) {
            described.push_back({"vm", peer.identity->details().vm});
        }
        for (const auto& label : peer.identity->details().labels) {
            if (!label.value.empty()) {
                described.push_back({label.name, label.value});
            }
        }
        add_value(info, std::move(described), 1);
    }
    families.push_back(std::move(up));
    families.push_back(std::move(changes));
    families.push_back(std::move(last));
    families.push_back(std::move(info));
}

inline prometheus::ClientMetric reference_histogram(const Snapshot& snapshot, std::size_t index) {
    const auto& edges = *snapshot.rtt_edges;
    prometheus::ClientMetric metric;
    metric.label = reference_labels(snapshot, snapshot.probes[index]);
    auto& histogram = metric.histogram;
    histogram.sample_sum = to_seconds(snapshot.probes[index].rtt_sum);
    for (std::size_t i = 0; i <= edges.size(); ++i) {
        histogram.sample_count += snapshot.rtt_buckets[index * (edges.size() + 1) + i];
        prometheus::ClientMetric::Bucket bucket;
        bucket.cumulative_count = histogram.sample_count;
        bucket.upper_bound = i < edges.size() ? edges[i] : INFINITY;
        histogram.bucket.push_back(bucket);
    }
    return metric;
}

inline void add_probe_families(std::vector<prometheus::MetricFamily>& families,
                               const Snapshot& snapshot) {
    auto up = reference_family(Metric::probe_up);
    auto rtt = reference_family(Metric::probe_rtt);
    auto jitter = reference_family(Metric::probe_jitter);
    auto failures = reference_family(Metric::probe_failures);
    for (std::size_t i = 0; i < snapshot.probes.size(); ++i) {
        const auto& probe = snapshot.probes[i];
        if (probe.up.has_value()) {
            add_value(up, reference_labels(snapshot, probe), *probe.up ? 1 : 0);
        }
        rtt.metric.push_back(reference_histogram(snapshot, i));
        add_value(jitter, reference_labels(snapshot, probe), to_seconds(probe.jitter));
    }
    for (const auto& failure : snapshot.failures) {
        auto labels = reference_labels(snapshot, snapshot.probes[failure.probe]);
        labels.push_back({"reason", std::string(to_text(failure.reason))});
        add_value(failures, std::move(labels), static_cast<double>(failure.count));
    }
    families.push_back(std::move(up));
    families.push_back(std::move(rtt));
    constexpr std::pair<Metric, std::uint64_t ProbeCounters::*> counters[]{
        {Metric::probe_sent, &ProbeCounters::sent},
        {Metric::probe_received, &ProbeCounters::received},
        {Metric::probe_lost, &ProbeCounters::lost},
        {Metric::probe_late, &ProbeCounters::late},
        {Metric::probe_duplicates, &ProbeCounters::duplicates},
        {Metric::probe_reordered, &ProbeCounters::reordered}};
    for (const auto& [metric, counter] : counters) {
        auto family = reference_family(metric);
        for (const auto& probe : snapshot.probes) {
            add_value(family,
                      reference_labels(snapshot, probe),
                      static_cast<double>(probe.counters.*counter));
        }
        families.push_back(std::move(family));
    }
    families.push_back(std::move(failures));
    auto retransmits = reference_family(Metric::tcp_syn_retransmits);
    for (const auto& probe : snapshot.probes) {
        if (probe.kind == ProbeKind::tcp) {
            auto labels = reference_labels(snapshot.peers[probe.peer]);
            labels.push_back({"port", std::to_string(probe.port)});
            add_value(retransmits, std::move(labels), static_cast<double>(probe.syn_retransmits));
        }
    }
    families.push_back(std::move(retransmits));
    families.push_back(std::move(jitter));
}

/// Link-local addresses with the name of their interface.
inline std::string reference_address(const Snapshot& snapshot, const IpAddress& address) {
    if (snapshot.topology) {
        for (const auto& link : snapshot.topology->links) {
            if (link->index == address.scope()) {
                return address.to_string(link->name);
            }
        }
    }
    return address.to_string();
}

inline void add_path_mtu_families(std::vector<prometheus::MetricFamily>& families,
                                  const Snapshot& snapshot) {
    auto bytes = reference_family(Metric::path_mtu);
    auto expected = reference_family(Metric::path_mtu_expected);
    auto mismatch = reference_family(Metric::path_mtu_mismatch);
    auto info = reference_family(Metric::path_mtu_info);
    auto packets = reference_family(Metric::path_mtu_packets);
    for (const auto& [peer, mtu, counts] : snapshot.path_mtus) {
        const auto labels = reference_labels(snapshot.peers[peer]);
        const bool known = mtu.verdict != MtuVerdict::undetermined;
        if (known) {
            add_value(bytes, labels, mtu.bytes);
        }
        add_value(expected, labels, mtu.expected);
        add_value(mismatch, labels, known && mtu.verdict != MtuVerdict::ok ? 1 : 0);
        auto described = labels;
        described.push_back({"verdict", std::string(to_text(mtu.verdict))});
        described.push_back({"direction", std::string(to_text(mtu.direction))});
        if (!mtu.reporter.is_unspecified()) {
            described.push_back({"reporter", reference_address(snapshot, mtu.reporter)});
        }
        add_value(info, std::move(described), 1);
        const char* const results[]{"answered", "lost", "too_big", "not_sent"};
        for (std::size_t i = 0; i < counts.size(); ++i) {
            auto counted = labels;
            counted.push_back({"result", results[i]});
            add_value(packets, std::move(counted), static_cast<double>(counts[i]));
        }
    }
    for (auto* family : {&bytes, &expected, &mismatch, &info, &packets}) {
        families.push_back(std::move(*family));
    }
}

inline std::string reference_kind(const Snapshot& snapshot, const Link& link) {
    for (const auto& device : snapshot.devices) {
        if (device.index == link.index && device.virtual_function) {
            return "vf";
        }
    }
    switch (link.kind) {
        case LinkKind::physical: return "physical";
        case LinkKind::bridge: return "bridge";
        case LinkKind::veth: return "veth";
        case LinkKind::tap: return "tap";
        case LinkKind::macvtap: return "macvtap";
        case LinkKind::vlan: return "vlan";
        case LinkKind::vxlan: return "vxlan";
        case LinkKind::bond: return "bond";
        case LinkKind::openvswitch: return "ovs";
        case LinkKind::loopback:
        case LinkKind::tun:
        case LinkKind::macvlan:
        case LinkKind::ipvlan:
        case LinkKind::geneve:
        case LinkKind::gre:
        case LinkKind::team:
        case LinkKind::vrf:
        case LinkKind::dummy:
        case LinkKind::ifb:
        case LinkKind::wireguard:
        case LinkKind::other: return "other";
    }
    return "";
}

inline const Link* reference_bridge(const Snapshot& snapshot, const Link& link) {
    for (const auto& other : snapshot.topology->links) {
        if (other->index == link.master && other->kind == LinkKind::bridge) {
            return other.get();
        }
    }
    return nullptr;
}

inline ReferenceLabels reference_info_labels(const Snapshot& snapshot, const Link& link) {
    ReferenceLabels labels{{"device", link.name}, {"kind", reference_kind(snapshot, link)}};
    for (const auto& device : snapshot.devices) {
        if (device.index == link.index && !device.driver.empty()) {
            labels.push_back({"driver", device.driver});
        }
    }
    if (link.mac) {
        labels.push_back({"mac", link.mac->to_string()});
    }
    if (const Link* bridge = reference_bridge(snapshot, link)) {
        labels.push_back({"bridge", bridge->name});
    }
    for (const auto& guest : snapshot.guests) {
        if (guest.port == link.index && !guest.vm.empty()) {
            labels.push_back({"vm", guest.vm});
        }
    }
    return labels;
}

inline void add_port_states(prometheus::MetricFamily& family,
                            const Snapshot& snapshot,
                            const Link& link) {
    const Link* bridge = reference_bridge(snapshot, link);
    if (bridge == nullptr || !link.port) {
        return;
    }
    for (const auto* state : {"disabled", "listening", "learning", "forwarding", "blocking"}) {
        add_value(family,
                  {{"bridge", bridge->name}, {"device", link.name}, {"state", state}},
                  to_text(link.port->state) == state ? 1 : 0);
    }
}

inline void add_link_counters(std::vector<prometheus::MetricFamily>& families,
                              const Snapshot& snapshot) {
    constexpr std::pair<Metric, std::uint64_t LinkCounters::*> counters[]{
        {Metric::interface_receive_errors, &LinkCounters::receive_errors},
        {Metric::interface_transmit_errors, &LinkCounters::transmit_errors},
        {Metric::interface_receive_drops, &LinkCounters::receive_drops},
        {Metric::interface_transmit_drops, &LinkCounters::transmit_drops}};
    for (const auto& [metric, counter] : counters) {
        auto family = reference_family(metric);
        for (std::size_t i = 0; i < snapshot.link_counters.size(); ++i) {
            if (snapshot.link_counters[i]) {
                add_value(family,
                          {{"device", snapshot.topology->links[i]->name}},
                          static_cast<double>((*snapshot.link_counters[i]).*counter));
            }
        }
        families.push_back(std::move(family));
    }
}

/// For names that are there once only.
inline void add_interface_families(std::vector<prometheus::MetricFamily>& families,
                                   const Snapshot& snapshot) {
    auto info = reference_family(Metric::interface_info);
    auto admin_up = reference_family(Metric::interface_admin_up);
    auto up = reference_family(Metric::interface_up);
    auto mtu = reference_family(Metric::interface_mtu);
    auto carrier = reference_family(Metric::interface_carrier_changes);
    auto ports = reference_family(Metric::bridge_port_state);
    for (const auto& link : snapshot.topology->links) {
        const ReferenceLabels device{{"device", link->name}};
        add_value(info, reference_info_labels(snapshot, *link), 1);
        add_value(admin_up, device, link->admin_up ? 1 : 0);
        add_value(up, device, link->is_up() ? 1 : 0);
        add_value(mtu, device, link->mtu_bytes);
        add_value(carrier, device, link->carrier_changes);
        add_port_states(ports, snapshot, *link);
    }
    for (auto* family : {&info, &admin_up, &up, &mtu, &carrier}) {
        families.push_back(std::move(*family));
    }
    add_link_counters(families, snapshot);
    families.push_back(std::move(ports));
}

/// Every family that has lines for each interface or peer, in the order of the answer.
inline std::vector<prometheus::MetricFamily> reference_families(const Snapshot& snapshot) {
    std::vector<prometheus::MetricFamily> families;
    if (snapshot.topology) {
        add_interface_families(families, snapshot);
    }
    add_peer_families(families, snapshot);
    add_probe_families(families, snapshot);
    add_path_mtu_families(families, snapshot);
    return families;
}

}  // namespace reachd::test
