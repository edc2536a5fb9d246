#include "exporters/peer_view.hpp"

#include <chrono>
#include <memory>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/exporters/sample_snapshot.hpp"

using namespace reachd;
using std::chrono::microseconds;
using Places = std::vector<std::uint32_t>;

namespace {

Places probes_of(const PeerView& view, std::size_t peer) {
    const auto probes = view.probes_of(peer);
    return {probes.begin(), probes.end()};
}

Snapshot with_peers(std::size_t count) {
    Snapshot snapshot;
    snapshot.peers.resize(count);
    for (auto& peer : snapshot.peers) {
        peer.identity = std::make_shared<const PeerIdentity>("p", "10.0.0.1");
    }
    return snapshot;
}

void add_probe(Snapshot& snapshot,
               std::uint32_t peer,
               ProbeKind kind,
               std::optional<bool> up,
               Duration rtt = {}) {
    auto& probe = snapshot.probes.emplace_back();
    probe.peer = peer;
    probe.kind = kind;
    probe.up = up;
    probe.last_rtt = rtt;
}

GuestSnapshot guest_at(const std::vector<std::optional<std::uint32_t>>& peers) {
    GuestSnapshot guest;
    for (const auto& peer : peers) {
        guest.addresses.emplace_back().peer = peer;
    }
    return guest;
}

}  // namespace

TEST_CASE("probes belong to their peers in whatever order they stand") {
    auto snapshot = with_peers(4);
    for (const std::uint32_t peer : {2U, 0U, 2U, 3U, 0U}) {
        add_probe(snapshot, peer, ProbeKind::icmp, {});
    }
    const PeerView view(snapshot);
    CHECK(probes_of(view, 0) == Places{1, 4});
    CHECK(probes_of(view, 1).empty());
    CHECK(probes_of(view, 2) == Places{0, 2});
    CHECK(probes_of(view, 3) == Places{3});
    CHECK(PeerView(Snapshot{}).failures_of(0).empty());
}

TEST_CASE("the most frequent reason of lost probes counts over all sessions") {
    const auto snapshot = test::sample_snapshot();
    const PeerView view(snapshot);
    CHECK(view.failures_of(0).size() == 2);
    CHECK(view.failures_of(3).empty());
    CHECK(view.loss_reason(0) == FailureReason::timeout);
    CHECK_FALSE(view.loss_reason(1).has_value());  // unresolved is no loss
    CHECK(view.failure_reason(0) == FailureReason::timeout);
    CHECK_FALSE(view.failure_reason(1).has_value());
    CHECK(view.failure_reason(2) == FailureReason::refused);
    CHECK_FALSE(view.failure_reason(3).has_value());
}

TEST_CASE("a session that is up stands for its peer, by icmp, arp, tcp") {
    auto snapshot = with_peers(3);
    add_probe(snapshot, 0, ProbeKind::tcp, true, microseconds(300));
    add_probe(snapshot, 0, ProbeKind::icmp, false, microseconds(200));
    add_probe(snapshot, 0, ProbeKind::arp, true, microseconds(100));
    add_probe(snapshot, 1, ProbeKind::tcp, {});
    add_probe(snapshot, 1, ProbeKind::icmp, false, microseconds(7));
    const PeerView view(snapshot);
    CHECK(view.main_probe(0) == 2U);
    CHECK(view.main_probe(1) == 4U);
    CHECK_FALSE(view.main_probe(2).has_value());
    CHECK(view.rtt(2) == microseconds(100));
    CHECK_FALSE(view.rtt(1).has_value());  // of before it went down
    CHECK_FALSE(view.rtt(3).has_value());
}

TEST_CASE("losses are of those that ended") {
    auto snapshot = with_peers(1);
    add_probe(snapshot, 0, ProbeKind::icmp, true);
    CHECK_FALSE(PeerView(snapshot).loss_ratio(0).has_value());
    snapshot.probes[0].counters = {.sent = 9, .received = 6, .lost = 2};
    CHECK(PeerView(snapshot).loss_ratio(0) == 0.25);
}

TEST_CASE("quantiles are spread evenly within their bucket") {
    auto snapshot = with_peers(1);
    add_probe(snapshot, 0, ProbeKind::icmp, true);
    add_probe(snapshot, 0, ProbeKind::arp, true);
    snapshot.rtt_edges =
        std::make_shared<const std::vector<double>>(std::vector<double>{0.0001, 0.0002, 0.001});
    snapshot.rtt_buckets = {0, 0, 0, 0, 10, 80, 0, 10};
    const PeerView view(snapshot);
    CHECK_FALSE(view.rtt_quantile(0, 0.5).has_value());
    CHECK(view.rtt_quantile(1, 0.05) == microseconds(50));
    CHECK(view.rtt_quantile(1, 0.5) == microseconds(150));
    CHECK(view.rtt_quantile(1, 0.9) == microseconds(200));
    CHECK(view.rtt_quantile(1, 0.99) == microseconds(1000));
    CHECK(view.rtt_quantile(1, 1) == microseconds(1000));
    snapshot.rtt_edges.reset();
    CHECK_FALSE(PeerView(snapshot).rtt_quantile(1, 0.5).has_value());
}

TEST_CASE("a guest is up with any of its addresses, and down with the last one") {
    auto snapshot = with_peers(5);
    const auto set = [&](std::size_t peer, Reachability state, int second) {
        snapshot.peers[peer].state = state;
        snapshot.peers[peer].last_change = WallTime(std::chrono::seconds(second));
    };
    set(0, Reachability::up, 50);
    set(1, Reachability::up, 40);
    set(2, Reachability::down, 20);
    set(3, Reachability::down, 30);
    set(4, Reachability::suspect, 10);
    const auto verdict = [&](const std::vector<std::optional<std::uint32_t>>& peers) {
        const auto found = guest_verdict(snapshot, guest_at(peers));
        return std::pair(found.state, to_unix_seconds(found.since));
    };
    CHECK(verdict({3, 0, 1, 2}) == std::pair(Reachability::up, 40.0));
    CHECK(verdict({2, 3}) == std::pair(Reachability::down, 30.0));
    CHECK(verdict({3, 2}) == std::pair(Reachability::down, 30.0));
    CHECK(verdict({4, 2}) == std::pair(Reachability::suspect, 10.0));
    CHECK(verdict({{}, 2}) == std::pair(Reachability::down, 20.0));
    CHECK(verdict({{}}) == std::pair(Reachability::unknown, 0.0));
    CHECK(verdict({}) == std::pair(Reachability::unknown, 0.0));
}

TEST_CASE("a path MTU is that of the peer, where a size is expected") {
    auto snapshot = with_peers(4);
    snapshot.path_mtus.resize(2);
    snapshot.path_mtus[0].peer = 1;
    snapshot.path_mtus[1].peer = 3;
    const PeerView view(snapshot);
    CHECK(view.path_mtu(0) == nullptr);
    CHECK(view.path_mtu(1) == &snapshot.path_mtus[0]);
    CHECK(view.path_mtu(2) == nullptr);
    CHECK(view.path_mtu(3) == &snapshot.path_mtus[1]);
}
