#include "agent/ctl/peers_report.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace reachd::ctl {
namespace {

using Parsed = Result<PeersReport, std::string>;

/// A word that is not known, of a newer daemon, is `unknown`.
template <class Word>
Word word_of(std::string_view text, std::size_t count, Word unknown) {
    for (std::size_t i = 0; i < count; ++i) {
        if (to_text(static_cast<Word>(i)) == text) {
            return static_cast<Word>(i);
        }
    }
    return unknown;
}

PathMtu read_path_mtu(const JsonView& view) {
    static constexpr std::uint64_t bytes_max = std::numeric_limits<std::uint32_t>::max();
    PathMtu mtu;
    mtu.verdict =
        word_of(view.text("verdict").value_or(""), mtu_verdict_count, MtuVerdict::undetermined);
    mtu.direction =
        word_of(view.text("direction").value_or(""), mtu_direction_count, MtuDirection::unknown);
    const auto bytes = [&view](std::string_view key) {
        return static_cast<std::uint32_t>(std::min(view.integer(key).value_or(0), bytes_max));
    };
    mtu.bytes = bytes("bytes");
    mtu.expected = bytes("expected_bytes");
    return mtu;
}

Peer read_peer(const JsonView& view) {
    view.require("name");
    Peer peer;
    peer.name = view.text("name").value_or("");
    peer.address = view.text("address").value_or("");
    peer.kind = view.text("kind").value_or("");
    peer.state = view.text("state").value_or("unknown");
    peer.since = view.time("since");
    peer.rtt_seconds = view.number("rtt_seconds");
    peer.rtt_p99_seconds = view.number("rtt_p99_seconds");
    peer.loss_ratio = view.number("loss_ratio");
    peer.reason = view.text("reason").value_or("");
    peer.vm = view.text("vm").value_or("");
    if (const auto mtu = view.object("mtu")) {
        peer.mtu = read_path_mtu(*mtu);
    }
    peer.probes = read_probes(view);
    return peer;
}

}  // namespace

std::vector<ProbeState> read_probes(const JsonView& owner) {
    std::vector<ProbeState> probes;
    for (const JsonView& view : owner.objects("probes")) {
        ProbeState probe;
        probe.probe = view.text("probe").value_or("");
        probe.port = view.integer("port");
        probe.state = view.text("state").value_or("unknown");
        probe.rtt_seconds = view.number("rtt_seconds");
        probe.answered = probe.rtt_seconds || view.integer("received").value_or(0) > 0;
        probe.reason = view.text("reason").value_or("");
        probes.push_back(std::move(probe));
    }
    return probes;
}

Parsed parse_peers(std::string_view body) {
    const auto document = JsonDocument::parse(body);
    if (!document) {
        return {boost::system::in_place_error, document.error()};
    }
    const auto root = (*document)->root();
    PeersReport report;
    root.require("peers");
    report.time = root.time("time");
    report.peers_omitted = root.integer("peers_omitted").value_or(0);
    for (const JsonView& peer : root.objects("peers")) {
        report.peers.push_back(read_peer(peer));
    }
    if (!(*document)->problem().empty()) {
        return {boost::system::in_place_error, (*document)->problem()};
    }
    return {boost::system::in_place_value, std::move(report)};
}

}  // namespace reachd::ctl
