#include "exporters/host_text.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <sstream>
#include <string_view>
#include <utility>

#include <prometheus/text_serializer.h>

#include "common/probe.hpp"
#include "exporters/metric_catalog.hpp"
#include "exporters/number_text.hpp"
#include "exporters/topology_view.hpp"

namespace reachd {
namespace {

std::string number(std::uint64_t value) {
    return std::to_string(value);
}

template <class Write, class Value>
std::string written(Write write, Value value) {
    std::array<char, number_text_max> text{};
    return {text.data(), write(text.data(), value)};
}

/// `name="value"`, escaped.
std::string label(std::string_view name, std::string_view value) {
    std::string text(name);
    text += "=\"";
    text += exposition_label_value(value);
    text += '"';
    return text;
}

std::string joined(std::string text, const std::vector<Label>& labels) {
    for (const auto& item : labels) {
        if (!item.value.empty()) {
            text += ',';
            text += label(item.name, item.value);
        }
    }
    return text;
}

std::string host_labels(const HostSnapshot& host) {
    return joined(
        label("host", host.name),
        {{"role", std::string(to_text(host.role))}, {"virtualization", host.virtualization}});
}

/// Collects sample lines and counts them.
class Writer {
  public:
    void family(Metric metric) {
        result_.text += family_header(metric);
        name_ = describe(metric).name;
    }

    void sample(std::string_view labels, std::string_view value, std::string_view suffix = "") {
        result_.text += name_;
        result_.text += suffix;
        if (!labels.empty()) {
            result_.text += '{';
            result_.text += labels;
            result_.text += '}';
        }
        result_.text += ' ';
        result_.text += value;
        result_.text += '\n';
        ++result_.series;
    }

    void single(Metric metric, std::string_view value) {
        family(metric);
        sample("", value);
    }

    void named_counts(Metric metric,
                      std::string_view label_name,
                      const std::vector<NamedCount>& counts) {
        family(metric);
        for (const auto& item : counts) {
            sample(label(label_name, item.name), number(item.count));
        }
    }

    void histogram(std::string_view labels, const HistogramSnapshot& values) {
        static const std::vector<double> no_edges;
        const auto& edges = values.edges ? *values.edges : no_edges;
        ENSURE(values.counts.size() == edges.size() + 1);
        const std::string separator = labels.empty() ? "" : ",";
        std::uint64_t below = 0;
        for (std::size_t i = 0; i < values.counts.size(); ++i) {
            below += values.counts[i];
            const auto bound = i < edges.size() ? bucket_bound_text(edges[i]) : "+Inf";
            sample(std::string(labels) + separator + label("le", bound), number(below), "_bucket");
        }
        sample(labels, written(write_seconds, values.sum), "_sum");
        sample(labels, number(below), "_count");
    }

    void serialized(const std::vector<prometheus::MetricFamily>& families) {
        std::ostringstream out;
        prometheus::TextSerializer().Serialize(out, families);
        const auto text = std::move(out).str();
        for (std::size_t at = 0; at < text.size();) {
            result_.series += text[at] != '#' ? 1U : 0U;
            at = std::min(text.find('\n', at), text.size() - 1) + 1;
        }
        result_.text += text;
    }

    HostText take() { return std::move(result_); }

  private:
    HostText result_;
    std::string_view name_;
};

void write_agent(Writer& out, const Snapshot& snapshot, const BuildInfo& build) {
    out.family(Metric::build_info);
    out.sample(label("version", build.version) + "," + label("revision", build.revision) + "," +
                   label("compiler", build.compiler),
               "1");
    out.family(Metric::host_info);
    out.sample(joined(host_labels(snapshot.host), snapshot.host.labels), "1");
    out.single(Metric::config_last_reload_successful, snapshot.reload.last_successful ? "1" : "0");
    out.family(Metric::config_last_reload_success);
    if (snapshot.reload.last_success != WallTime{}) {
        out.sample("", written(write_unix_seconds, snapshot.reload.last_success));
    }
}

void write_peer_counts(Writer& out, const Snapshot& snapshot) {
    std::array<std::uint64_t, peer_kind_count> by_kind{};
    for (const auto& peer : snapshot.peers) {
        ++by_kind[static_cast<std::size_t>(peer.identity->kind())];
    }
    out.family(Metric::peers);
    for (std::size_t kind = 0; kind < peer_kind_count; ++kind) {
        out.sample(label("kind", to_text(static_cast<PeerKind>(kind))), number(by_kind[kind]));
    }
}

/// A line for each bridge, also one without guests: none is a number. Names, because a guest may
/// outlive its bridge's link by a moment. Guests in no bridge have a line without the label.
void write_guest_counts(Writer& out, const Snapshot& snapshot) {
    std::map<std::string_view, std::uint64_t> by_bridge;
    const TopologyView view(snapshot);
    for (std::size_t row = 0; row < view.size(); ++row) {
        if (view.link(row).kind == LinkKind::bridge) {
            by_bridge.try_emplace(view.link(row).name, 0);
        }
    }
    for (const auto& guest : snapshot.guests) {
        ++by_bridge[guest.bridge_name];
    }
    out.family(Metric::guests);
    for (const auto& [bridge, count] : by_bridge) {
        out.sample(bridge.empty() ? "" : label("bridge", bridge), number(count));
    }
}

void write_interface_counts(Writer& out, const Snapshot& snapshot) {
    const TopologyView view(snapshot);
    std::array<std::uint64_t, interface_kind_count> by_kind{};
    for (std::size_t row = 0; row < view.size(); ++row) {
        ++by_kind[static_cast<std::size_t>(view.kind(view.link(row)))];
    }
    out.family(Metric::interfaces);
    for (std::size_t kind = 0; kind < interface_kind_count; ++kind) {
        out.sample(label("kind", to_text(static_cast<InterfaceKind>(kind))), number(by_kind[kind]));
    }
}

void write_host_rtt(Writer& out, const Snapshot& snapshot) {
    out.family(Metric::host_rtt);
    for (const auto& item : snapshot.host_rtt) {
        out.histogram(label("probe", to_text(item.probe)) + "," + label("kind", to_text(item.kind)),
                      item.rtt);
    }
}

void write_samples(Writer& out, const Snapshot& snapshot) {
    out.family(Metric::probe_samples_discarded);
    for (std::size_t kind = 0; kind < probe_kind_count; ++kind) {
        const auto probe = label("probe", to_text(static_cast<ProbeKind>(kind)));
        for (std::size_t reason = 0; reason < discard_reason_count; ++reason) {
            out.sample(probe + "," + label("reason", to_text(static_cast<DiscardReason>(reason))),
                       number(snapshot.discarded[kind][reason]));
        }
    }
    out.family(Metric::probe_user_stamped);
    for (std::size_t kind = 0; kind < probe_kind_count; ++kind) {
        out.sample(label("probe", to_text(static_cast<ProbeKind>(kind))),
                   number(snapshot.user_stamped[kind]));
    }
}

void write_engine(Writer& out, const Snapshot& snapshot) {
    out.family(Metric::probe_delay);
    if (!snapshot.probe_delay.counts.empty()) {
        out.histogram("", snapshot.probe_delay);
    }
    out.family(Metric::probes_skipped);
    for (std::size_t reason = 0; reason < skip_reason_count; ++reason) {
        out.sample(label("reason", to_text(static_cast<SkipReason>(reason))),
                   number(snapshot.skipped[reason]));
    }
    out.single(Metric::throttle_ratio, float_text(snapshot.throttle_ratio));
    out.named_counts(Metric::packets_ignored, "reason", snapshot.packets_ignored);
    out.family(Metric::socket_receive_buffer);
    for (const auto& socket : snapshot.sockets) {
        out.sample(label("socket", socket.name), number(socket.receive_buffer_bytes));
    }
}

void write_netlink(Writer& out, const Snapshot& snapshot) {
    const auto& netlink = snapshot.netlink;
    out.named_counts(Metric::netlink_messages, "type", netlink.messages);
    out.single(Metric::netlink_overruns, number(netlink.overruns));
    out.single(Metric::netlink_resyncs, number(netlink.resyncs));
    out.named_counts(Metric::netlink_ignored, "reason", netlink.ignored);
    out.family(Metric::topology_last_sync);
    if (netlink.last_sync != WallTime{}) {
        out.sample("", written(write_unix_seconds, netlink.last_sync));
    }
    out.named_counts(Metric::discovery_errors, "source", snapshot.discovery_errors);
}

}  // namespace

HostText host_text(const Snapshot& snapshot, const ExpositionExtras& extras) {
    Writer out;
    write_agent(out, snapshot, extras.build);
    write_peer_counts(out, snapshot);
    write_guest_counts(out, snapshot);
    write_interface_counts(out, snapshot);
    write_host_rtt(out, snapshot);
    write_samples(out, snapshot);
    write_engine(out, snapshot);
    write_netlink(out, snapshot);
    out.serialized(extras.families);
    return out.take();
}

std::string series_text(std::uint64_t series, std::uint64_t series_dropped) {
    Writer out;
    out.single(Metric::series, number(series));
    out.single(Metric::series_dropped, number(series_dropped));
    auto result = out.take();
    ENSURE(result.series == series_text_lines);
    return std::move(result.text);
}

}  // namespace reachd
