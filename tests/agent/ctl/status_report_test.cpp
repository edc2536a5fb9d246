#include "agent/ctl/status_report.hpp"

#include <chrono>

#include <catch2/catch.hpp>

using namespace reachd;
using namespace reachd::ctl;

TEST_CASE("a status is read whole") {
    const auto report = parse_status(R"({
        "time":"1970-01-01T00:01:00.000Z","host":{"name":"hv1","labels":{}},"healthy":false,
        "peers":{"total":4,"up":1,"suspect":1,"down":1,"unknown":1,"rtt_median_seconds":0.5,
                 "worst":{"peer":"a","address":"10.0.0.1","rtt_seconds":2},
                 "unreachable":[{"peer":"b","address":"::1","kind":"gateway",
                                 "since":"1970-01-01T00:00:00.000Z","reason":"timeout"}]},
        "guests":{"total":9,"up":7,"suspect":1,
                  "bridges":[{"bridge":"br0","total":6,"up":5},{"bridge":null,"total":3,"up":2}],
                  "ill":[{"guest":"web01","state":"down","addresses":2}]},
        "topology":{"synced":true,"interfaces":3,"overruns":4,"resyncs":5,
                    "last_change":{"time":"1970-01-01T00:00:30.000Z","device":"br0","text":"up"}},
        "path_mtu":{"peers":9,"as_expected":4,"mismatched":3,"undetermined":2},
        "mtu_inconsistencies":[
            {"conflict":"port_below_uplink","bridge":"br0","larger":"eno1","larger_bytes":9000,
             "smaller":"vnet1","smaller_bytes":1500,"devices":1},
            {"conflict":"veth_ends","bridge":null,"larger":"v0","larger_bytes":9000,
             "smaller":null,"smaller_bytes":1500,"devices":4}],
        "agent":{"version":"0.4.0","uptime_seconds":60.5,"cpu_ratio":0.25,
                 "resident_memory_bytes":1024,"probes_on_time_ratio":1,"skipped_probes":6,
                 "throttle_ratio":0.5},
        "something new":[]})");
    REQUIRE(report.has_value());
    CHECK(report->host == "hv1");
    CHECK(report->time == WallTime(std::chrono::minutes(1)));
    CHECK_FALSE(report->healthy);
    CHECK(report->peers == 4);
    CHECK(report->peers_up + report->peers_suspect + report->peers_down + report->peers_unknown ==
          4);
    CHECK(report->rtt_median_seconds == 0.5);
    CHECK(report->worst->rtt_seconds == 2);
    REQUIRE(report->unreachable.size() == 1);
    CHECK(report->unreachable[0].peer == "b");
    CHECK(report->unreachable[0].kind == "gateway");
    CHECK(report->unreachable[0].since == WallTime{});
    CHECK(report->unreachable[0].reason == "timeout");
    CHECK(report->guests == 9);
    CHECK(report->guests_up == 7);
    CHECK(report->guests_suspect == 1);
    REQUIRE(report->bridges.size() == 2);
    CHECK(report->bridges[0].bridge == "br0");
    CHECK(report->bridges[1].bridge.empty());
    CHECK(report->bridges[1].guests == 3);
    REQUIRE(report->guests_ill.size() == 1);
    CHECK(report->guests_ill[0].guest == "web01");
    CHECK(report->guests_ill[0].addresses == 2);
    CHECK(report->synced);
    CHECK(report->interfaces == 3);
    CHECK(report->overruns == 4);
    CHECK(report->resyncs == 5);
    CHECK(report->last_change->device == "br0");
    CHECK(report->mtus_measured == 9);
    CHECK(report->mtus_as_expected == 4);
    CHECK(report->mtus_mismatched == 3);
    CHECK(report->mtus_undetermined == 2);
    REQUIRE(report->mtu_misfits.size() == 1);
    CHECK(report->mtu_misfits[0].conflict == "veth_ends");
    CHECK(report->mtu_misfits[0].bridge.empty());
    CHECK(report->mtu_misfits[0].larger == "v0");
    CHECK(report->mtu_misfits[0].larger_bytes == 9000);
    CHECK(report->mtu_misfits[0].smaller == "?");
    CHECK(report->mtu_misfits[0].smaller_bytes == 1500);
    CHECK(report->mtu_misfits[0].devices == 4);
    CHECK(report->version == "0.4.0");
    CHECK(report->uptime_seconds == 60.5);
    CHECK(report->resident_memory_bytes == 1024);
    CHECK(report->skipped_probes == 6);
    CHECK(report->throttle_ratio == 0.5);
}

TEST_CASE("a verdict and the peers are the least") {
    const auto least = parse_status(R"({"healthy":true,"peers":{}})");
    REQUIRE(least.has_value());
    CHECK(least->healthy);
    CHECK_FALSE(least->last_change.has_value());
    CHECK(least->throttle_ratio == 1);
    CHECK(least->mtus_measured == 0);
    CHECK(least->mtu_misfits.empty());
    CHECK(parse_status(R"({"peers":{}})").error() == "/healthy is missing");
    CHECK(parse_status(R"({"healthy":true})").error() == "/peers is missing");
    CHECK(parse_status(R"({"healthy":null,"peers":{}})").error() == "/healthy is missing");
    CHECK(parse_status("x").error() == "it is no JSON");
}

TEST_CASE("wrong types anywhere are refused with their place") {
    const auto error_of = [](const std::string& part) {
        return parse_status(R"({"healthy":true,"peers":{},)" + part + "}").error();
    };
    CHECK(error_of(R"("host":"hv1")") == "/host is no object");
    CHECK(error_of(R"("topology":{"last_change":{"time":5}})") ==
          "/topology/last_change/time is no text");
    CHECK(error_of(R"("path_mtu":{"peers":0.5})") ==
          "/path_mtu/peers is no whole number from 0 on");
    CHECK(error_of(R"("mtu_inconsistencies":[{"larger":5}])") ==
          "/mtu_inconsistencies/0/larger is no text");
    CHECK(error_of(R"("agent":{"uptime_seconds":"long"})") == "/agent/uptime_seconds is no number");
    CHECK(parse_status(R"({"healthy":true,"peers":{"unreachable":[7]}})").error() ==
          "/peers/unreachable/0 is no object");
}
