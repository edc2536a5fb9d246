#include "exporters/status_json.hpp"

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "tests/exporters/sample_snapshot.hpp"

using namespace reachd;
using nlohmann::json;
using std::chrono::microseconds;

namespace {

json status_of(const Snapshot& snapshot, const AgentFigures& agent = {}) {
    return json::parse(status_json(snapshot, agent));
}

/// A peer with one probe.
void add(Snapshot& snapshot, const std::string& name, Reachability state, Duration rtt = {}) {
    PeerSnapshot peer;
    peer.identity = std::make_shared<const PeerIdentity>(name, "10.0.0." + name, PeerKind::host);
    peer.state = state;
    ProbeSnapshot probe;
    probe.peer = static_cast<std::uint32_t>(snapshot.peers.size());
    probe.state = state;
    probe.last_rtt = rtt;
    snapshot.peers.push_back(peer);
    snapshot.probes.push_back(probe);
}

}  // namespace

TEST_CASE("an empty snapshot has a status, with null for what is not known") {
    const auto status = status_of({});
    CHECK(status["healthy"] == false);  // a topology that is not known yet is not well
    CHECK(status["time"].is_null());
    CHECK(status["host"]["virtualization"].is_null());
    CHECK(status["host"]["labels"] == json::object());
    CHECK(status["peers"]["total"] == 0);
    CHECK(status["peers"]["rtt_median_seconds"].is_null());
    CHECK(status["peers"]["worst"].is_null());
    CHECK(status["peers"]["unreachable"] == json::array());
    CHECK(status["topology"]["synced"] == false);
    CHECK(status["topology"]["interfaces"].is_null());
    CHECK(status["topology"]["last_sync"].is_null());
    CHECK(status["topology"]["last_change"].is_null());
    for (const auto* field : {"version",
                              "revision",
                              "started",
                              "cpu_ratio",
                              "resident_memory_bytes",
                              "probes_on_time_ratio"}) {
        CAPTURE(field);
        CHECK(status["agent"].at(field).is_null());
    }
    CHECK(status["agent"]["throttle_ratio"] == 1.0);
}

TEST_CASE("peers are counted by state, and one that is down makes the host unhealthy") {
    Snapshot snapshot;
    snapshot.topology_in_step = true;
    add(snapshot, "1", Reachability::up);
    add(snapshot, "2", Reachability::up);
    add(snapshot, "3", Reachability::suspect);
    add(snapshot, "4", Reachability::unknown);
    CHECK(status_of(snapshot)["healthy"] == true);
    snapshot.topology_in_step = false;
    CHECK(status_of(snapshot)["healthy"] == false);
    snapshot.topology_in_step = true;
    add(snapshot, "5", Reachability::down);
    const auto status = status_of(snapshot);
    CHECK(status["healthy"] == false);
    const auto& peers = status["peers"];
    CHECK(peers["total"] == 5);
    CHECK(peers["up"] == 2);
    CHECK(peers["suspect"] == 1);
    CHECK(peers["down"] == 1);
    CHECK(peers["unknown"] == 1);
    REQUIRE(peers["unreachable"].size() == 1);
    CHECK(peers["unreachable"][0]["peer"] == "5");
    CHECK(peers["unreachable"][0]["since"].is_null());
    CHECK(peers["unreachable"][0]["reason"].is_null());
}

TEST_CASE("median and worst round-trip time are those of answered peers that are up") {
    Snapshot snapshot;
    add(snapshot, "1", Reachability::up, microseconds(300));
    add(snapshot, "2", Reachability::up);  // not answered yet
    add(snapshot, "3", Reachability::down, microseconds(9000));
    add(snapshot, "4", Reachability::suspect, microseconds(8000));
    CHECK(status_of(snapshot)["peers"]["rtt_median_seconds"] == 0.0003);
    add(snapshot, "5", Reachability::up, microseconds(100));
    CHECK(status_of(snapshot)["peers"]["rtt_median_seconds"] == 0.0002);
    add(snapshot, "6", Reachability::up, microseconds(1900));
    const auto peers = status_of(snapshot)["peers"];
    CHECK(peers["rtt_median_seconds"] == 0.0003);
    CHECK(peers["worst"] == json{{"peer", "6"}, {"address", "10.0.0.6"}, {"rtt_seconds", 0.0019}});
}

TEST_CASE("the reason is the most frequent one of the lost probes of all sessions of the peer") {
    Snapshot snapshot;
    add(snapshot, "1", Reachability::up);
    add(snapshot, "2", Reachability::down);
    snapshot.peers[1].last_change = WallTime(std::chrono::milliseconds(1'700'000'000'042));
    snapshot.probes.push_back(snapshot.probes[1]);
    snapshot.failures = {{0, FailureReason::timeout, 100},
                         {1, FailureReason::timeout, 5},
                         {1, FailureReason::host_unreachable, 4},
                         {1, FailureReason::refused, 50},
                         {2, FailureReason::host_unreachable, 2},
                         {2, FailureReason::no_route, 1000}};
    const auto peer = status_of(snapshot)["peers"]["unreachable"].at(0);
    CHECK(peer == json{{"peer", "2"},
                       {"address", "10.0.0.2"},
                       {"kind", "host"},
                       {"since", "2023-11-14T22:13:20.042Z"},
                       {"reason", "host_unreachable"}});
}

TEST_CASE("the list of unreachable peers is bounded, their count is not") {
    Snapshot snapshot;
    for (int i = 0; i < 20'000; ++i) {
        add(snapshot, std::to_string(i), Reachability::down);
        snapshot.failures.push_back(
            {static_cast<std::uint32_t>(i), FailureReason::timeout, std::uint64_t{1}});
    }
    const auto text = status_json(snapshot, {});
    CHECK(text.size() < 20'000);
    const auto peers = json::parse(text)["peers"];
    CHECK(peers["down"] == 20'000);
    REQUIRE(peers["unreachable"].size() == status_unreachable_max);
    CHECK(peers["unreachable"][0]["peer"] == "0");
    CHECK(peers["unreachable"][99]["reason"] == "timeout");
}

TEST_CASE("guests are counted by state and by bridge, and the ill ones named") {
    Snapshot snapshot;
    CHECK(status_of(snapshot)["guests"]["total"] == 0);
    CHECK(status_of(snapshot)["guests"]["bridges"] == json::array());
    add(snapshot, "1", Reachability::up);
    add(snapshot, "2", Reachability::down);
    const auto add_guest = [&](const std::string& name, const std::string& bridge) -> auto& {
        auto& guest = snapshot.guests.emplace_back();
        guest.name = name;
        guest.device = "vnet" + std::to_string(snapshot.guests.size());
        guest.bridge_name = bridge;
        return guest.addresses;
    };
    add_guest("a", "br1").emplace_back().peer = 0;
    add_guest("", "br0");
    add_guest("c", "").emplace_back().peer = 1;
    add_guest("d", "br1").emplace_back();
    const auto guests = status_of(snapshot)["guests"];
    CHECK(guests["total"] == 4);
    CHECK(guests["up"] == 1);
    CHECK(guests["down"] == 1);
    CHECK(guests["unknown"] == 2);
    CHECK(guests["without_address"] == 1);
    CHECK(guests["bridges"] == json::parse(R"([{"bridge":null,"total":1,"up":0},
                                               {"bridge":"br0","total":1,"up":0},
                                               {"bridge":"br1","total":2,"up":1}])"));
    REQUIRE(guests["ill"].size() == 2);
    CHECK(guests["ill"][0]["guest"] == "c");
    CHECK(guests["ill"][0]["state"] == "down");
    CHECK(guests["ill"][1]["guest"] == "vnet2");
    CHECK(guests["ill"][1]["addresses"] == 0);
}

TEST_CASE("lists of guests and bridges are bounded, their counts are not") {
    Snapshot snapshot;
    snapshot.guests.resize(5000);
    for (std::size_t i = 0; i < snapshot.guests.size(); ++i) {
        snapshot.guests[i].bridge_name = "fwbr" + std::to_string(i);
    }
    const auto text = status_json(snapshot, {});
    CHECK(text.size() < 30'000);
    const auto guests = json::parse(text)["guests"];
    CHECK(guests["total"] == 5000);
    CHECK(guests["bridges"].size() == status_bridges_max);
    CHECK(guests["ill"].size() == status_guests_max);
}

TEST_CASE("the agent is judged by its clock and its histogram") {
    Snapshot snapshot;
    snapshot.started = {MonoTime(std::chrono::seconds(50)), WallTime(std::chrono::seconds(1000))};
    snapshot.taken = {MonoTime(std::chrono::seconds(250)), WallTime(std::chrono::seconds(5000))};
    snapshot.probe_delay = {
        std::make_shared<const std::vector<double>>(std::vector<double>{0.001, 0.02, 0.05}),
        {60, 30, 9, 1},
        Duration{}};
    snapshot.skipped = {1, 2, 3};
    const auto agent = status_of(
        snapshot, {.version = "1.2.3", .cpu_seconds = 3.0, .resident_memory_bytes = 77})["agent"];
    CHECK(agent["uptime_seconds"] == 200.0);  // whatever the wall clock says
    CHECK(agent["started"] == "1970-01-01T00:16:40.000Z");
    CHECK(agent["cpu_ratio"] == 0.015);
    CHECK(agent["resident_memory_bytes"] == 77);
    CHECK(agent["probes_on_time_ratio"] == 0.9);
    CHECK(agent["skipped_probes"] == 6);
    CHECK(agent["version"] == "1.2.3");
    CHECK(agent["revision"].is_null());
}

TEST_CASE("names of every kind survive") {
    auto snapshot = test::sample_snapshot();
    const auto status = status_of(snapshot);
    CHECK(status["host"]["labels"]["owner"] == "\"ops\"\n");
    CHECK(status["peers"]["unreachable"][0]["peer"] == "web \"01\"\\\n}");
    CHECK(status["topology"]["last_change"]["device"] == R"(vn"0\x1b)");

    // Not UTF-8: replaced, and nothing thrown.
    snapshot.host.name = "h\xff\xfe";
    snapshot.last_change->text = "\xc3";
    snapshot.host.virtualization = "\xed\xa0\x80";
    CHECK(status_of(snapshot)["host"]["name"] == "h\xef\xbf\xbd\xef\xbf\xbd");
}

TEST_CASE("path MTUs are counted by what became of the expectation") {
    Snapshot snapshot;
    CHECK(status_of(snapshot)["path_mtu"] ==
          json{{"peers", 0}, {"as_expected", 0}, {"mismatched", 0}, {"undetermined", 0}});
    const auto add_verdict = [&](MtuVerdict verdict, int times) {
        for (int i = 0; i < times; ++i) {
            add(snapshot, "1", Reachability::up);
            auto& row = snapshot.path_mtus.emplace_back();
            row.peer = static_cast<std::uint32_t>(snapshot.peers.size() - 1);
            row.mtu.verdict = verdict;
        }
    };
    add_verdict(MtuVerdict::ok, 5);
    add_verdict(MtuVerdict::undetermined, 7);
    add_verdict(MtuVerdict::signalled, 1);
    add_verdict(MtuVerdict::black_hole, 1);
    add_verdict(MtuVerdict::local, 1);
    add_verdict(MtuVerdict::peer_egress, 1);
    CHECK(status_of(snapshot)["path_mtu"] ==
          json{{"peers", 16}, {"as_expected", 5}, {"mismatched", 4}, {"undetermined", 7}});
}

TEST_CASE("of MTUs that do not fit those that lose traffic come first, and the list is bounded") {
    auto snapshot = test::sample_snapshot();
    const auto bridge = static_cast<IfIndex>(4);
    const auto gone = static_cast<IfIndex>(99);
    snapshot.mtu_inconsistencies = {
        {MtuConflict::veth_ends, IfIndex::any, static_cast<IfIndex>(6), gone, 9000, 1500, 1}};
    snapshot.mtu_inconsistencies.insert(
        snapshot.mtu_inconsistencies.begin(),
        500,
        {MtuConflict::port_below_uplink, bridge, static_cast<IfIndex>(2), bridge, 9000, 1500, 3});
    const auto list = status_of(snapshot)["mtu_inconsistencies"];
    REQUIRE(list.size() == status_inconsistencies_max);
    CHECK(list[0] == json{{"conflict", "veth_ends"},
                          {"bridge", nullptr},
                          {"larger", "v\u00e9th6"},
                          {"larger_bytes", 9000},
                          {"smaller", nullptr},
                          {"smaller_bytes", 1500},
                          {"devices", 1}});
    CHECK(list[1]["conflict"] == "port_below_uplink");
    CHECK(list[1]["bridge"] == "br0");
    CHECK(list[1]["larger"] == "eno1");
    CHECK(list[1]["devices"] == 3);
}
