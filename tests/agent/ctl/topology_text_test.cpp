#include "agent/ctl/topology_text.hpp"

#include <chrono>
#include <sstream>
#include <string>

#include <catch2/catch.hpp>

using namespace reachd::ctl;

namespace {

constexpr Terminal piped{80, true, false, false};

Device device(std::uint64_t index, std::string name, std::string kind, std::string master = {}) {
    Device result;
    result.index = index;
    result.name = std::move(name);
    result.kind = kind;
    result.link_kind = std::move(kind);
    result.master = std::move(master);
    result.admin_up = true;
    result.up = true;
    result.carrier = true;
    return result;
}

/// The line of a tree of one device, from its name on.
std::string line_of(const Device& one, const ViewOptions& view = {.all = true}) {
    const TopologyReport report{.host = "h", .synced = true, .devices = {one}};
    const auto text = topology_text(report, {}, view, piped);
    REQUIRE(text.has_value());
    const auto begin = text->find(one.name);
    const auto facts = text->find_first_not_of(' ', begin + one.name.size());
    return text->substr(facts, text->find('\n', facts) - facts);
}

}  // namespace

TEST_CASE("each kind is told in the words of its people") {
    auto one = device(1, "d", "physical");
    CHECK(line_of(one) == "NIC");
    one.driver = "ice";
    one.speed_bits_per_second = 100'000'000'000;
    CHECK(line_of(one) == "ice, 100 Gbit/s");
    one.kind = "vf";
    CHECK(line_of(one) == "ice, virtual function, 100 Gbit/s");
    one = device(1, "d", "vlan");
    one.vlan_id = 20;
    one.lower = "eno1";
    CHECK(line_of(one) == "vlan 20 on eno1");
    one = device(1, "d", "vxlan");
    one.vni = 4096;
    CHECK(line_of(one) == "vxlan 4096");
    one = device(1, "d", "veth");
    CHECK(line_of(one) == "veth");
    one.lower_namespace = 0;
    CHECK(line_of(one) == "veth to ns 0");
    CHECK(line_of(device(1, "d", "bond")) == "bond, no slaves");
    CHECK(line_of(device(1, "d", "ovs")) == "Open vSwitch");
    CHECK(line_of(device(1, "d", "tap")) == "tap, in no bridge");
    one = device(1, "d", "other");
    one.link_kind = "wireguard";
    CHECK(line_of(one) == "wireguard");
}

TEST_CASE("why a device is not up is said") {
    auto one = device(1, "d", "physical");
    one.up = false;
    one.admin_up = false;
    CHECK(line_of(one) == "NIC, switched off");
    one.admin_up = true;
    one.carrier = false;
    CHECK(line_of(one) == "NIC, no carrier");
    one.carrier = true;
    one.oper_state = "dormant";
    CHECK(line_of(one) == "NIC, dormant");
    one.oper_state = "lower_layer_down";
    CHECK(line_of(one) == "NIC, the device below is down");
}

TEST_CASE("link-local addresses are for --all") {
    auto one = device(1, "d", "physical");
    one.addresses = {"10.0.0.1/24", "fe80::1/64"};
    CHECK(line_of(one) == "NIC, 10.0.0.1/24, fe80::1/64");
    CHECK(line_of(one, {}) == "NIC, 10.0.0.1/24");
}

TEST_CASE("where the tree cannot show what belongs together, words do") {
    auto a = device(5, "a", "veth", "br1");
    a.lower_index = 6;
    a.lower = "b";
    auto b = device(6, "b", "veth", "br2");
    b.lower_index = 5;
    b.lower = "a";
    auto vlan = device(7, "eno1.5", "vlan", "red");
    vlan.vlan_id = 5;
    vlan.lower_index = 1;
    vlan.lower = "eno1";
    auto vrf = device(8, "red", "other");
    vrf.link_kind = "vrf";
    const TopologyReport report{.host = "h",
                                .synced = true,
                                .devices = {device(1, "eno1", "physical", "br1"),
                                            device(2, "eno2", "physical", "br2"),
                                            device(3, "br1", "bridge"),
                                            device(4, "br2", "bridge"),
                                            a,
                                            b,
                                            vlan,
                                            vrf}};
    const auto text = topology_text(report, {}, {}, piped);
    REQUIRE(text.has_value());
    CHECK(*text ==
          "h\n"
          "├─● eno1           NIC\n"
          "│ ├─● br1          bridge, no address\n"
          "│ │ └─● a          veth to b in br2\n"
          "│ └─● eno1.5       vlan 5, in red\n"
          "├─● eno2           NIC\n"
          "│ └─● br2          bridge, no address\n"
          "│   └─● b          veth to a in br1\n"
          "└─● red            vrf\n");
}

TEST_CASE("ports with guests look alike, and no line is wider than the terminal") {
    TopologyReport report{.host = "h", .synced = true, .devices = {device(1, "br0", "bridge")}};
    for (std::uint64_t i = 2; i < 12; ++i) {
        auto port = device(i, "vnet" + std::to_string(i), "tap", "br0");
        port.mtu_bytes = 1500;
        port.mac = "52:54:00:00:00:01";
        if (i % 3 == 0) {
            port.port_state = "blocking";
        }
        port.guest = PortGuest{.name = "guest-with-a-long-name-" + std::to_string(i),
                               .state = i % 4 == 0 ? "down" : "up",
                               .addresses = {{"10.77.0." + std::to_string(i), "up", 0.0001}}};
        report.devices.push_back(port);
    }
    for (std::size_t columns = 66; columns < 140; ++columns) {
        const auto text = topology_text(report, {}, {}, Terminal{columns, true, false, true});
        REQUIRE(text.has_value());
        std::istringstream lines(*text);
        std::size_t with_mac = 0;
        for (std::string line; std::getline(lines, line);) {
            CAPTURE(columns, line);
            CHECK(display_width(line) <= columns);
            with_mac += line.find("52:54") != std::string::npos ? 1U : 0U;
        }
        CHECK((with_mac == 0 || with_mac == 10));
    }
    const auto whole = topology_text(report, {}, {}, piped);
    REQUIRE(whole.has_value());
    CHECK(whole->find("tap, mtu 1500, 52:54:00:00:00:01 ────") != std::string::npos);
    CHECK(whole->find("● guest-with-a-long-name-2   10.77.0.2   100 µs\n") != std::string::npos);
    CHECK(whole->find("✖ guest-with-a-long-name-4   10.77.0.4     down\n") != std::string::npos);
}

TEST_CASE("a topology that is not in step says so, also without a legend") {
    const TopologyReport report{.host = "h"};
    for (const bool legend : {true, false}) {
        const auto text = topology_text(report, {}, {.legend = legend}, piped);
        REQUIRE(text.has_value());
        CHECK(text->find("▲ h: not in step with the kernel yet") == 0);
    }
}

TEST_CASE("links that the daemon left out are told") {
    const TopologyReport report{.host = "h", .synced = true, .devices_omitted = 7};
    const auto text = topology_text(report, {}, {}, piped);
    REQUIRE(text.has_value());
    CHECK(text->find("… 7 more do not fit the answer of reachd") != std::string::npos);
}

TEST_CASE("an unknown word cannot steer a terminal") {
    const TopologyReport report{.synced = true};
    const auto text = topology_text(report, {"a\x1b[2J"}, {}, piped);
    REQUIRE_FALSE(text.has_value());
    CHECK(text.error() == "no device 'a\\x1b[2J'. All: reachctl topology --all");
}

TEST_CASE("2000 ports, and a chain of 2000, take no time") {
    TopologyReport report{.host = "h", .synced = true};
    report.devices = {device(1, "eno1", "physical", "br0"), device(2, "br0", "bridge")};
    for (std::uint64_t i = 3; i < 2003; ++i) {
        report.devices.push_back(device(i, "vnet" + std::to_string(i), "tap", "br0"));
    }
    for (std::uint64_t i = 3000; i < 5000; ++i) {
        auto one = device(i, "v" + std::to_string(i), "vlan");
        one.lower_index = i - 1;
        report.devices.push_back(one);
    }
    for (const auto& terminal : {piped, Terminal{80, true, true, true}}) {
        const auto text = topology_text(report, {}, {}, terminal);
        REQUIRE(text.has_value());
        std::size_t lines = 0;
        for (const char byte : *text) {
            lines += byte == '\n' ? 1 : 0;
        }
        CHECK(lines == 4003);
    }
}
