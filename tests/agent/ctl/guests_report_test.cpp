#include "agent/ctl/guests_report.hpp"

#include <chrono>
#include <string>

#include <catch2/catch.hpp>

using namespace reachd;
using namespace reachd::ctl;

TEST_CASE("guests are read whole") {
    const auto report = parse_guests(R"({
        "time":"1970-01-01T00:01:00.000Z","guests_omitted":1,
        "guests":[{"name":"web01","vm":"web","uuid":"u","port_index":5,"device":"vnet0",
                   "bridge":"br0","kind":"tap","state":"down","since":"1970-01-01T00:00:30.000Z",
                   "macs":["52:54:00:00:00:01"],
                   "addresses":[{"mac":"52:54:00:00:00:01","address":"10.0.0.1","how":"arp",
                                 "state":"down","since":"1970-01-01T00:00:30.000Z",
                                 "reason":"timeout","not_probed":null,
                                 "probes":[{"probe":"arp","port":null,"state":"down"}]},
                                {"address":"10.0.0.2","state":null,"not_probed":"why"}]}]})");
    REQUIRE(report.has_value());
    CHECK(report->guests_omitted == 1);
    REQUIRE(report->guests.size() == 1);
    const auto& guest = report->guests[0];
    CHECK(guest.name == "web01");
    CHECK(guest.vm == "web");
    CHECK(guest.uuid == "u");
    CHECK(guest.device == "vnet0");
    CHECK(guest.bridge == "br0");
    CHECK(guest.state == "down");
    CHECK(guest.since == WallTime(std::chrono::seconds(30)));
    CHECK(guest.macs == std::vector<std::string>{"52:54:00:00:00:01"});
    REQUIRE(guest.addresses.size() == 2);
    CHECK(guest.addresses[0].state == "down");
    CHECK(guest.addresses[0].reason == "timeout");
    CHECK(guest.addresses[0].probes.size() == 1);
    CHECK(guest.addresses[1].state.empty());
    CHECK(guest.addresses[1].not_probed == "why");
}

TEST_CASE("a guest without a name is shown by what there is") {
    Guest guest;
    guest.device = "vnet0";
    CHECK(shown_name(guest) == "vnet0");
    guest.macs = {"52:54:00:00:00:01", "52:54:00:00:00:02"};
    CHECK(shown_name(guest) == "52:54:00:00:00:01");
    guest.name = "web01";
    CHECK(shown_name(guest) == "web01");
}

TEST_CASE("what is no answer about guests is refused with its place") {
    CHECK(parse_guests("[]").error() == "it is no JSON object");
    CHECK(parse_guests("{}").error() == "/guests is missing");
    CHECK(parse_guests(R"({"guests":[{}]})").error() == "/guests/0/device is missing");
    CHECK(parse_guests(R"({"guests":[{"device":"a","addresses":[{}]}]})").error() ==
          "/guests/0/addresses/0/address is missing");
    CHECK(parse_guests(R"({"guests":[{"device":"a","macs":"x"}]})").error() ==
          "/guests/0/macs is no array");
}
