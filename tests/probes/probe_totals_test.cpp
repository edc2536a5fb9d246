// The counts of the whole host, as a snapshot shows them.
#include "probes/probe_totals.hpp"

#include <catch2/catch.hpp>

namespace reachd {
namespace {

using namespace std::chrono_literals;

Snapshot filled(const ProbeTotals& totals) {
    Snapshot snapshot;
    totals.fill(snapshot);
    return snapshot;
}

TEST_CASE("totals: a kind is shown from its first session on, and not before") {
    ProbeTotals totals({0.001, 1});
    CHECK(filled(totals).host_rtt.empty());
    totals.on_opened(ProbeKind::arp, PeerKind::guest);
    totals.on_opened(ProbeKind::arp, PeerKind::guest);
    const Snapshot snapshot = filled(totals);
    REQUIRE(snapshot.host_rtt.size() == 1);
    CHECK(snapshot.host_rtt[0].probe == ProbeKind::arp);
    CHECK(snapshot.host_rtt[0].kind == PeerKind::guest);
}

TEST_CASE("totals: samples, delays, discards and skips are counted each in their place") {
    ProbeTotals totals({0.001, 1});
    totals.on_opened(ProbeKind::icmp, PeerKind::host);
    totals.on_sample(ProbeKind::icmp, PeerKind::host, 500us);
    totals.on_sample(ProbeKind::icmp, PeerKind::host, 2s);
    totals.on_user_stamped(ProbeKind::tcp);
    totals.on_discarded(ProbeKind::arp, DiscardReason::ambiguous);
    totals.on_skipped(SkipReason::busy);
    totals.on_skipped(SkipReason::rate_limit, 7);
    totals.on_delay(3ms);
    const Snapshot snapshot = filled(totals);
    CHECK(snapshot.host_rtt[0].rtt.counts == std::vector<std::uint64_t>{1, 0, 1});
    CHECK(snapshot.host_rtt[0].rtt.sum == 2s + 500us);
    CHECK(snapshot.user_stamped[static_cast<std::size_t>(ProbeKind::tcp)] == 1);
    CHECK(snapshot.user_stamped[static_cast<std::size_t>(ProbeKind::icmp)] == 0);
    CHECK(snapshot.discarded[static_cast<std::size_t>(ProbeKind::arp)]
                            [static_cast<std::size_t>(DiscardReason::ambiguous)] == 1);
    CHECK(snapshot.skipped[static_cast<std::size_t>(SkipReason::busy)] == 1);
    CHECK(snapshot.skipped[static_cast<std::size_t>(SkipReason::rate_limit)] == 7);
    CHECK(snapshot.skipped[static_cast<std::size_t>(SkipReason::throttle)] == 0);
    CHECK(snapshot.probe_delay.sum == 3ms);
}

}  // namespace
}  // namespace reachd
