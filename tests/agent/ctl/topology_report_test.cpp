#include "agent/ctl/topology_report.hpp"

#include <catch2/catch.hpp>

using namespace reachd::ctl;

TEST_CASE("a topology is read whole") {
    const auto report = parse_topology(R"({"host":"hv1","synced":true,"links_omitted":3,
        "default_gateways":[{"address":"fe80::1%eno1","device":"eno1","metric":0}],
        "links":[{"index":7,"name":"eno1.20","kind":"vlan","link_kind":"vlan","driver":"x",
                  "speed_bits_per_second":1000,"mac":"52:54:00:00:00:01","mtu_bytes":1500,
                  "admin_up":true,"up":true,"carrier":true,"oper_state":"up","master":"br0",
                  "port":{"state":"blocking","isolated":true},"lower":"eno1","lower_index":2,
                  "lower_namespace":null,"vlan_id":20,"vni":5,"bond_mode":"802.3ad",
                  "addresses":["10.0.0.1/24"],"virtual_functions":[{},{}]}]})");
    REQUIRE(report.has_value());
    CHECK(report->host == "hv1");
    CHECK(report->synced);
    CHECK(report->devices_omitted == 3);
    REQUIRE(report->gateways.size() == 1);
    CHECK(report->gateways[0].address == "fe80::1%eno1");
    REQUIRE(report->devices.size() == 1);
    const auto& device = report->devices[0];
    CHECK(device.index == 7);
    CHECK(device.name == "eno1.20");
    CHECK(device.kind == "vlan");
    CHECK(device.driver == "x");
    CHECK(device.speed_bits_per_second == 1000);
    CHECK(device.mac == "52:54:00:00:00:01");
    CHECK(device.mtu_bytes == 1500);
    CHECK(device.admin_up);
    CHECK(device.up);
    CHECK(device.carrier);
    CHECK(device.master == "br0");
    CHECK(device.port_state == "blocking");
    CHECK(device.port_isolated);
    CHECK(device.lower == "eno1");
    CHECK(device.lower_index == 2);
    CHECK_FALSE(device.lower_namespace.has_value());
    CHECK(device.vlan_id == 20);
    CHECK(device.vni == 5);
    CHECK(device.bond_mode == "802.3ad");
    CHECK(device.addresses == std::vector<std::string>{"10.0.0.1/24"});
    CHECK(device.virtual_functions == 2);
}

TEST_CASE("a daemon of before tells less, and is understood") {
    const auto report = parse_topology(R"({"links":[{"index":1,"name":"lo","kind":"other"}]})");
    REQUIRE(report.has_value());
    CHECK_FALSE(report->synced);
    CHECK(report->devices[0].link_kind == "other");
    CHECK_FALSE(report->devices[0].up);
    CHECK_FALSE(report->devices[0].mtu_bytes.has_value());
}

TEST_CASE("the guest behind a port is read") {
    const auto report = parse_topology(R"({"links":[{"index":1,"name":"vnet0","guest":null},
        {"index":2,"name":"vnet1","guest":{"name":"web","vm":"w","state":"up",
         "addresses":[{"address":"10.0.0.1","state":"up","rtt_seconds":0.5},
                      {"address":"10.0.0.2","state":null,"rtt_seconds":null}]}},
        {"index":3,"name":"vnet2","guest":{"name":null}}]})");
    REQUIRE(report.has_value());
    CHECK_FALSE(report->devices[0].guest.has_value());
    REQUIRE(report->devices[1].guest.has_value());
    const auto& guest = *report->devices[1].guest;
    CHECK(guest.name == "web");
    CHECK(guest.state == "up");
    REQUIRE(guest.addresses.size() == 2);
    CHECK(guest.addresses[0].rtt_seconds == 0.5);
    CHECK(guest.addresses[1].state.empty());
    REQUIRE(report->devices[2].guest.has_value());
    CHECK(report->devices[2].guest->state == "unknown");
}

TEST_CASE("what is no topology is refused with its place") {
    CHECK(parse_topology("{}").error() == "/links is missing");
    CHECK(parse_topology(R"({"links":{}})").error() == "/links is no array");
    CHECK(parse_topology(R"({"links":[{"index":1}]})").error() == "/links/0/name is missing");
    CHECK(parse_topology(R"({"links":[{"name":"a","index":-1}]})").error() ==
          "/links/0/index is no whole number from 0 on");
    CHECK(parse_topology(R"({"links":[{"name":"a","index":1,"port":"x"}]})").error() ==
          "/links/0/port is no object");
    CHECK(parse_topology(R"({"links":[{"name":"a","index":1,"addresses":[1]}]})").error() ==
          "/links/0/addresses has an element that is no text");
}
