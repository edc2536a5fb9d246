#include "common/probe.hpp"

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

#include "common/time.hpp"

namespace reachd {
namespace {

/// The texts of all values, in order; they are metric labels and never to change.
template <class Enum>
std::vector<std::string> texts(std::size_t count) {
    std::vector<std::string> all;
    for (std::size_t i = 0; i < count; ++i) {
        all.emplace_back(to_text(static_cast<Enum>(i)));
    }
    return all;
}

using Texts = std::vector<std::string>;

TEST_CASE("the words of probing are those of the public interface") {
    CHECK(texts<ProbeKind>(probe_kind_count) == Texts{"icmp", "tcp", "arp"});
    CHECK(texts<FailureReason>(failure_reason_count) == Texts{"timeout",
                                                              "prohibited",
                                                              "host_unreachable",
                                                              "net_unreachable",
                                                              "port_unreachable",
                                                              "ttl_exceeded",
                                                              "too_big",
                                                              "neighbour_failed",
                                                              "refused",
                                                              "no_route",
                                                              "local_firewall",
                                                              "unresolved",
                                                              "local_error"});
    CHECK(texts<SkipReason>(skip_reason_count) == Texts{"rate_limit", "throttle", "busy"});
    CHECK(texts<DiscardReason>(discard_reason_count) ==
          Texts{"clock_step", "starved", "ambiguous"});
    CHECK(texts<PeerKind>(peer_kind_count) == Texts{"host", "gateway", "guest"});
    CHECK(texts<Reachability>(4) == Texts{"unknown", "up", "suspect", "down"});
}

TEST_CASE("every value belongs to its own word") {
    CHECK(to_text(FailureReason::timeout) == "timeout");
    CHECK(to_text(FailureReason::neighbour_failed) == "neighbour_failed");
    CHECK(to_text(FailureReason::refused) == "refused");
    CHECK(to_text(FailureReason::local_error) == "local_error");
    CHECK(to_text(SkipReason::busy) == "busy");
    CHECK(to_text(DiscardReason::starved) == "starved");
    CHECK(to_text(PeerKind::guest) == "guest");
    CHECK(to_text(Reachability::down) == "down");
    CHECK(to_text(ProbeKind::icmp) == "icmp");
}

TEST_CASE("lost probes have one of eight reasons") {
    const std::set<FailureReason> losses{FailureReason::timeout,
                                         FailureReason::prohibited,
                                         FailureReason::host_unreachable,
                                         FailureReason::net_unreachable,
                                         FailureReason::port_unreachable,
                                         FailureReason::ttl_exceeded,
                                         FailureReason::too_big,
                                         FailureReason::neighbour_failed};
    for (std::size_t i = 0; i < failure_reason_count; ++i) {
        const auto reason = static_cast<FailureReason>(i);
        CAPTURE(to_text(reason));
        CHECK(is_loss(reason) == losses.contains(reason));
    }
}

TEST_CASE("seconds keep their fractions and their sign") {
    using namespace std::chrono_literals;
    CHECK(to_seconds(1500ms) == Approx(1.5));
    CHECK(to_seconds(1ns) == Approx(1e-9));
    CHECK(to_seconds(-2s) == Approx(-2.0));
    CHECK(to_unix_seconds(WallTime(1'700'000'000s + 250ms)) == Approx(1'700'000'000.25));
    CHECK(to_unix_seconds(WallTime{}) == 0.0);
    CHECK(mono_never > MonoTime(std::chrono::hours(24 * 365 * 200)));
}

}  // namespace
}  // namespace reachd
