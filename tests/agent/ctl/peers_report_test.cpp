#include "agent/ctl/peers_report.hpp"

#include <chrono>
#include <string>

#include <catch2/catch.hpp>

using namespace reachd;
using namespace reachd::ctl;

TEST_CASE("peers are read whole") {
    const auto report = parse_peers(R"({
        "time":"1970-01-01T00:01:00.000Z","host":"hv1","peers_omitted":3,
        "peers":[{"name":"db1","address":"10.0.0.1","kind":"guest","state":"up",
                  "since":"1970-01-01T00:00:30.000Z","rtt_seconds":0.5,"rtt_p99_seconds":1,
                  "loss_ratio":0.25,"reason":"timeout","vm":"db","labels":{},
                  "mtu":{"expected_bytes":9000,"bytes":1500,"verdict":"black_hole",
                         "direction":"reverse","reporter":null},
                  "probes":[{"probe":"tcp","port":443,"state":"down","received":1,
                             "rtt_seconds":null,"reason":"refused"},
                            {"probe":"icmp","port":null,"state":"up","rtt_seconds":0.5}]}]})");
    REQUIRE(report.has_value());
    CHECK(report->time == WallTime(std::chrono::minutes(1)));
    CHECK(report->peers_omitted == 3);
    REQUIRE(report->peers.size() == 1);
    const auto& peer = report->peers[0];
    CHECK(peer.name == "db1");
    CHECK(peer.address == "10.0.0.1");
    CHECK(peer.kind == "guest");
    CHECK(peer.state == "up");
    CHECK(peer.since == WallTime(std::chrono::seconds(30)));
    CHECK(peer.rtt_seconds == 0.5);
    CHECK(peer.rtt_p99_seconds == 1);
    CHECK(peer.loss_ratio == 0.25);
    CHECK(peer.reason == "timeout");
    CHECK(peer.vm == "db");
    REQUIRE(peer.mtu.has_value());
    CHECK(peer.mtu->bytes == 1500);
    CHECK(peer.mtu->verdict == MtuVerdict::black_hole);
    CHECK(peer.mtu->direction == MtuDirection::reverse);
    REQUIRE(peer.probes.size() == 2);
    CHECK(peer.probes[0].port == 443U);
    CHECK(peer.probes[0].answered);
    CHECK(peer.probes[0].reason == "refused");
    CHECK_FALSE(peer.probes[0].rtt_seconds.has_value());
    CHECK(peer.probes[1].answered);
}

TEST_CASE("a name is the least of a peer") {
    const auto report = parse_peers(R"({"peers":[{"name":"a","address":null}]})");
    REQUIRE(report.has_value());
    CHECK(report->peers[0].address.empty());
    CHECK(report->peers[0].state == "unknown");
    CHECK_FALSE(report->peers[0].rtt_seconds.has_value());
    CHECK_FALSE(report->peers[0].mtu.has_value());
}

TEST_CASE("every word of a path MTU is read; one that is not known says nothing") {
    const auto mtu_of = [](const std::string& members) {
        const auto report = parse_peers(R"({"peers":[{"name":"a","mtu":{)" + members + "}}]}");
        REQUIRE(report.has_value());
        return report->peers.at(0).mtu.value();
    };
    for (std::size_t i = 0; i < mtu_verdict_count; ++i) {
        const auto verdict = static_cast<MtuVerdict>(i);
        const std::string word(to_text(verdict));
        CHECK(mtu_of("\"verdict\":\"" + word + "\"").verdict == verdict);
    }
    for (std::size_t i = 0; i < mtu_direction_count; ++i) {
        const auto direction = static_cast<MtuDirection>(i);
        const std::string word(to_text(direction));
        CHECK(mtu_of("\"direction\":\"" + word + "\"").direction == direction);
    }
    const auto newer = mtu_of(R"("verdict":"worm_hole","direction":"sideways","bytes":null)");
    CHECK(newer.verdict == MtuVerdict::undetermined);
    CHECK(newer.direction == MtuDirection::unknown);
    CHECK(newer.bytes == 0);
    CHECK(mtu_of(R"("bytes":18446744073709551615)").bytes == 4'294'967'295U);
}

TEST_CASE("what is no answer about peers is refused with its place") {
    CHECK(parse_peers("").error() == "it is no JSON");
    CHECK(parse_peers("{}").error() == "/peers is missing");
    CHECK(parse_peers(R"({"peers":{}})").error() == "/peers is no array");
    CHECK(parse_peers(R"({"peers":[{}]})").error() == "/peers/0/name is missing");
    CHECK(parse_peers(R"({"peers":[{"name":"a","probes":[{"port":-1}]}]})").error() ==
          "/peers/0/probes/0/port is no whole number from 0 on");
    CHECK(parse_peers(R"({"peers":[{"name":"a","mtu":1500}]})").error() ==
          "/peers/0/mtu is no object");
    CHECK(parse_peers(R"({"peers":[{"name":"a","mtu":{"bytes":-5}}]})").error() ==
          "/peers/0/mtu/bytes is no whole number from 0 on");
    CHECK(parse_peers(R"({"peers":[{"name":"a","since":"now"}]})").error() ==
          "/peers/0/since is no time in RFC 3339 and UTC");
}
