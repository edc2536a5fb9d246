#include "exporters/peers_json.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "common/probe.hpp"
#include "exporters/json_text.hpp"
#include "exporters/peer_view.hpp"
#include "exporters/topology_view.hpp"

namespace reachd {
namespace {

constexpr double p99 = 0.99;
constexpr double median = 0.5;

void write_loss_ratio(JsonText& out, const std::optional<double>& ratio) {
    ratio ? out.real("loss_ratio", *ratio) : out.null("loss_ratio");
}

void write_reason(JsonText& out, const std::optional<FailureReason>& reason) {
    out.text_or_null("reason", reason ? to_text(*reason) : std::string_view());
}

// ---- Path MTU

/// 0 stands for what is not known.
void write_bytes(JsonText& out, std::string_view name, std::uint32_t bytes) {
    bytes != 0 ? out.number(name, bytes) : out.null(name);
}

void write_path_mtu(JsonText& out, const PathMtuSnapshot* row, const TopologyView& topology) {
    if (row == nullptr) {
        return out.null("mtu");
    }
    const auto& mtu = row->mtu;
    out.begin_object("mtu");
    out.number("expected_bytes", mtu.expected);
    write_bytes(out, "bytes", mtu.bytes);
    out.text("verdict", to_text(mtu.verdict));
    out.text("direction", to_text(mtu.direction));
    out.text_or_null("reporter", topology.address_text(mtu.reporter));
    write_bytes(out, "reporter_mtu_bytes", mtu.reported);
    out.text_or_null("device", topology.name_of(mtu.device));
    write_bytes(out, "largest_fragment_bytes", mtu.fragment);
    out.end_object();
}

// ---- Probes

void write_counters(JsonText& out, const ProbeCounters& counters) {
    constexpr std::pair<std::string_view, std::uint64_t ProbeCounters::*> fields[]{
        {"sent", &ProbeCounters::sent},
        {"received", &ProbeCounters::received},
        {"lost", &ProbeCounters::lost},
        {"late", &ProbeCounters::late},
        {"duplicates", &ProbeCounters::duplicates},
        {"reordered", &ProbeCounters::reordered}};
    for (const auto& [name, counter] : fields) {
        out.number(name, counters.*counter);
    }
}

void write_failures(JsonText& out, std::span<const FailureCount> failures) {
    out.begin_object("failures");
    for (const auto& failure : failures) {
        out.number(to_text(failure.reason), failure.count);
    }
    out.end_object();
}

void write_probe(JsonText& out, const PeerView& view, std::size_t place) {
    const auto& probe = view.probe(place);
    out.begin_object();
    out.text("probe", to_text(probe.kind));
    probe.port != 0 ? out.number("port", probe.port) : out.null("port");
    out.text("state", to_text(probe.state));
    write_counters(out, probe.counters);
    write_loss_ratio(out, view.loss_ratio(place));
    out.seconds_or_null("rtt_seconds", view.rtt(place));
    out.seconds_or_null("rtt_median_seconds", view.rtt_quantile(place, median));
    out.seconds_or_null("rtt_p99_seconds", view.rtt_quantile(place, p99));
    out.seconds("jitter_seconds", probe.jitter);
    if (probe.kind == ProbeKind::tcp) {
        out.number("syn_retransmits", probe.syn_retransmits);
    } else {
        out.null("syn_retransmits");
    }
    write_reason(out, view.failure_reason(place));
    write_failures(out, view.failures_of(place));
    out.end_object();
}

// ---- Peers

void write_summary(JsonText& out, const PeerView& view, std::size_t peer) {
    const auto probe = view.main_probe(peer);
    out.seconds_or_null("rtt_seconds", probe ? view.rtt(*probe) : std::nullopt);
    out.seconds_or_null("rtt_p99_seconds", probe ? view.rtt_quantile(*probe, p99) : std::nullopt);
    write_loss_ratio(out, probe ? view.loss_ratio(*probe) : std::nullopt);
    write_reason(out, view.loss_reason(peer));
}

void write_details(JsonText& out, const PeerDetails& details) {
    out.text_or_null("source", details.source);
    out.text_or_null("device", details.device);
    out.text_or_null("bridge", details.bridge);
    out.text_or_null("vm", details.vm);
    out.begin_object("labels");
    for (const auto& label : details.labels) {
        out.foreign_text(label.name, label.value);
    }
    out.end_object();
}

void write_peer(JsonText& out,
                const PeerView& view,
                const TopologyView& topology,
                std::size_t place) {
    const auto& peer = view.peer(place);
    const auto& identity = *peer.identity;
    out.begin_object();
    out.text("name", identity.name());
    out.text_or_null("address", identity.address());
    out.text("kind", to_text(identity.kind()));
    out.text("state", to_text(peer.state));
    out.time_or_null("since", peer.last_change);
    write_summary(out, view, place);
    write_path_mtu(out, view.path_mtu(place), topology);
    out.begin_array("probes");
    for (const auto probe : view.probes_of(place)) {
        write_probe(out, view, probe);
    }
    out.end_array();
    write_details(out, identity.details());
    out.end_object();
}

}  // namespace

std::string peers_json(const Snapshot& snapshot, std::size_t bytes_max) {
    constexpr std::size_t peer_bytes_usual = 550;
    constexpr std::size_t probe_bytes_usual = 350;
    constexpr std::size_t other_bytes_usual = 4096;
    const PeerView view(snapshot);
    const TopologyView topology(snapshot);
    const auto peers = snapshot.peers.size();
    JsonText out;
    out.reserve(
        std::min(peers * peer_bytes_usual + snapshot.probes.size() * probe_bytes_usual, bytes_max) +
        other_bytes_usual);
    out.begin_object();
    out.number("sequence", snapshot.sequence);
    out.time_or_null("time", snapshot.taken.wall);
    out.text("host", snapshot.host.name);
    out.begin_array("peers");
    std::size_t peer = 0;
    for (; peer < peers && out.size() < bytes_max; ++peer) {
        write_peer(out, view, topology, peer);
    }
    out.end_array();
    out.number("peers_omitted", peers - peer);
    out.end_object();
    return out.take();
}

}  // namespace reachd
