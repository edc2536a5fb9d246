#include "agent/ctl/cause_text.hpp"

#include <catch2/catch.hpp>

using namespace reachd::ctl;

TEST_CASE("reasons are words, also new ones") {
    CHECK(short_reason("timeout") == "no answer");
    CHECK(short_reason("host_unreachable") == "host unreachable");
    CHECK(short_reason("carrier_pigeon") == "carrier pigeon");
    CHECK(short_reason("").empty());
}

TEST_CASE("a session is told that is down and was answered, or asked for") {
    const auto session =
        [](const char* probe, std::optional<std::uint64_t> port, const char* state, bool answered) {
            return ProbeState{.probe = probe,
                              .port = port,
                              .state = state,
                              .answered = answered,
                              .rtt_seconds = {},
                              .reason = {}};
        };
    CHECK(sessions_down({}).empty());
    CHECK(sessions_down({session("icmp", {}, "down", false)}).empty());
    CHECK(sessions_down({session("icmp", {}, "down", true)}) == "icmp down");
    CHECK(sessions_down({session("icmp", {}, "up", true),
                         session("tcp", 443, "down", false),
                         session("arp", {}, "suspect", true),
                         session("tcp", 80, "down", true)}) == "tcp/443 down, tcp/80 down");
    auto refused = session("tcp", 443, "down", false);
    refused.reason = "refused";
    auto silent = session("icmp", {}, "down", true);
    silent.reason = "timeout";
    CHECK(sessions_down({refused, silent}) == "tcp/443 refused, icmp no answer");
}
