#include "agent/ctl/status_text.hpp"

#include <chrono>
#include <limits>
#include <sstream>
#include <string>

#include <catch2/catch.hpp>

using namespace reachd;
using namespace reachd::ctl;

namespace {

constexpr Terminal usual{80, true, false, true};
constexpr Terminal piped{80, true, false, false};

StatusReport well() {
    StatusReport report;
    report.host = "hv1";
    report.time = WallTime(std::chrono::hours(1));
    report.healthy = true;
    report.synced = true;
    report.peers = 2;
    report.peers_up = 2;
    return report;
}

StatusReport with_peer_down(const std::string& reason) {
    auto report = well();
    report.healthy = false;
    report.peers_up = 1;
    report.peers_down = 1;
    report.unreachable = {
        {.peer = "db1", .address = "10.0.0.1", .kind = "host", .since = {}, .reason = reason}};
    return report;
}

std::string first_line(const StatusReport& report, const Terminal& terminal = piped) {
    const auto text = status_text(report, {}, terminal);
    return text.substr(0, text.find("  "));
}

bool shows(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("the first line is the verdict in words") {
    CHECK(first_line(well()) == "● hv1 is healthy");
    CHECK(first_line(with_peer_down("timeout")) == "✖ hv1: 1 of 2 peers unreachable");
    auto report = well();
    report.healthy = false;
    CHECK(first_line(report) == "▲ hv1 is not healthy");
    report.synced = false;
    report.throttle_ratio = 0.25;
    CHECK(first_line(report) == "▲ hv1: the topology is not in step, probing at 25 %");
    report = well();
    report.host.clear();
    report.time.reset();
    CHECK(status_text(report, {}, piped).find("● this host is healthy\n") == 0);
}

TEST_CASE("reasons are told as sentences do; new ones as they are") {
    CHECK(shows(status_text(with_peer_down("timeout"), {}, piped), "no answer"));
    CHECK(shows(status_text(with_peer_down("host_unreachable"), {}, piped),
                "a router says: host unreachable"));
    CHECK(shows(status_text(with_peer_down(""), {}, piped), "cause not known"));
    CHECK(shows(status_text(with_peer_down("carrier_pigeon_lost"), {}, piped),
                "carrier pigeon lost"));
}

TEST_CASE("peers that are not listed are counted") {
    auto report = with_peer_down("timeout");
    report.peers = 200;
    report.peers_down = 150;
    CHECK(shows(status_text(report, {}, piped), "… 149 more are unreachable\n"));
}

TEST_CASE("what is not known is left out, what is none is said") {
    auto report = well();
    report.peers = 0;
    report.peers_up = 0;
    const auto text = status_text(report, {}, piped);
    CHECK(shows(text, "  Peers      none\n"));
    CHECK(shows(text, "  Topology   0 interfaces, in step\n"));
    CHECK(shows(text, "  Agent\n"));
    CHECK_FALSE(shows(text, "RTT"));
    CHECK_FALSE(shows(text, "last change"));
}

TEST_CASE("no line is wider than the terminal, at any width") {
    auto report = with_peer_down("host_unreachable");
    report.unreachable[0].peer = std::string(200, 'p');
    report.worst = WorstPeer{std::string(100, 'w'), 0.5};
    report.peers_up = 5;
    report.rtt_median_seconds = 0.001;
    report.last_change = LastChange{WallTime{}, "vnet0", std::string(300, 'x')};
    report.version = "0.4.0";
    report.mtus_measured = 123'456;
    report.mtus_mismatched = 123'456;
    report.mtus_undetermined = 123'456;
    report.mtu_misfits = {{.conflict = "veth_ends",
                           .bridge = std::string(50, 'b'),
                           .larger = std::string(50, 'l'),
                           .smaller = "s"}};
    for (std::size_t columns = 60; columns <= 200; ++columns) {
        const Terminal terminal{columns, true, false, true};
        std::istringstream lines(status_text(report, {.all = true}, terminal));
        for (std::string line; std::getline(lines, line);) {
            CAPTURE(columns, line);
            CHECK(display_width(line) <= columns);
        }
        CHECK(shows(status_text(report, {}, terminal), "01:00:00 UTC\n"));
    }
    const auto whole = status_text(report, {}, piped);
    CHECK(shows(whole, report.unreachable[0].peer));
    CHECK(shows(whole, report.last_change->text));
}

TEST_CASE("legends can be left out, the verdict cannot") {
    const auto report = with_peer_down("timeout");
    CHECK(shows(status_text(report, {}, usual), "More: reachctl peers, reachctl topology\n"));
    const auto bare = status_text(report, {.legend = false}, usual);
    CHECK_FALSE(shows(bare, "More:"));
    CHECK(bare.find("✖ hv1") == 0);
}

TEST_CASE("guests have a line where there are any") {
    auto report = well();
    CHECK_FALSE(shows(status_text(report, {}, piped), "Guests"));
    report.guests = 5;
    report.guests_up = 4;
    report.guests_suspect = 1;
    report.bridges = {{"", 1}, {"br0", 4}};
    CHECK(shows(status_text(report, {}, piped),
                "\n  Guests     4 of 5 reachable, 1 suspect  no bridge 1, br0 4\n"));
    report.guests_ill = {{"a", "down", 1}, {"b", "down", 1}, {"c", "unknown", 0}, {"d", "down", 1}};
    report.healthy = false;
    const auto text = status_text(report, {}, piped);
    CHECK(shows(text, "a down, b down, c has no address, 1 more\n"));
    CHECK(shows(text, "More: reachctl guests, reachctl topology\n"));
}

TEST_CASE("path MTUs have a line where any is measured") {
    auto report = well();
    CHECK_FALSE(shows(status_text(report, {}, piped), "Path MTU"));
    report.mtus_measured = 30;
    report.mtus_as_expected = 30;
    auto text = status_text(report, {}, piped);
    CHECK(shows(text, "\n  Path MTU   30 of 30 as expected\n"));
    CHECK(text.find("● hv1 is healthy") == 0);
    report.mtus_as_expected = 28;
    report.mtus_undetermined = 2;
    text = status_text(report, {}, piped);
    CHECK(shows(text, "\n  Path MTU   28 of 30 as expected, 2 undetermined\n"));
    CHECK(text.find("● hv1 is healthy") == 0);
    report.mtus_undetermined = 1;
    report.mtus_mismatched = 1;
    text = status_text(report, {}, piped);
    CHECK(shows(text, "28 of 30 as expected, 1 mismatched, 1 undetermined\n"));
    CHECK(text.find("▲ hv1: 1 path MTU mismatched  ") == 0);
    CHECK(shows(text, "More: reachctl peers, reachctl topology\n"));
}

TEST_CASE("devices whose MTUs do not fit are named, each conflict in its words") {
    const auto line_of = [](MtuMisfit misfit) {
        auto report = well();
        misfit.larger = "a";
        misfit.larger_bytes = 9000;
        misfit.smaller = "b";
        misfit.smaller_bytes = 1500;
        report.mtu_misfits = {misfit};
        const auto text = status_text(report, {}, piped);
        CHECK(text.find("▲ hv1: 1 MTU conflict  ") == 0);
        const auto begin = text.find("\n\n") + 2;
        return text.substr(begin, text.find("\n\n", begin) - begin);
    };
    CHECK(line_of({.conflict = "port_above_uplink", .bridge = "br0", .devices = 3}) ==
          "▲ br0: port a has MTU 9000, uplink b takes 1500 (2 more too large)");
    CHECK(line_of({.conflict = "port_above_bridge", .bridge = "b", .devices = 1}) ==
          "▲ b: port a has MTU 9000, bridge b takes 1500");
    CHECK(line_of({.conflict = "bridge_above_uplink", .bridge = "a", .devices = 1}) ==
          "▲ a: bridge a has MTU 9000, uplink b takes 1500");
    CHECK(line_of({.conflict = "veth_ends"}) == "▲ a has MTU 9000, its other end b takes 1500");
    CHECK(line_of({.conflict = "overlay_above_underlay"}) ==
          "▲ a has MTU 9000, b below it takes 1500");
    CHECK(line_of({.conflict = "a newer word", .bridge = "br0"}) ==
          "▲ br0: a has MTU 9000, b takes 1500");
}

TEST_CASE("numbers beyond reason are written all the same") {
    auto report = well();
    report.uptime_seconds = std::numeric_limits<double>::max();
    report.cpu_ratio = std::numeric_limits<double>::infinity();
    report.rtt_median_seconds = -1;
    report.resident_memory_bytes = std::numeric_limits<std::uint64_t>::max();
    report.last_change = LastChange{WallTime(std::chrono::hours(20'000)), "a", "b"};
    CHECK(shows(status_text(report, {}, piped), "last change 0s ago: a b"));
    report.uptime_seconds = std::numeric_limits<double>::quiet_NaN();
    CHECK_FALSE(status_text(report, {}, piped).empty());
}
