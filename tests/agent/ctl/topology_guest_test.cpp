#include "agent/ctl/topology_guest.hpp"

#include <string>

#include <catch2/catch.hpp>

using namespace reachd::ctl;

namespace {

constexpr Terminal piped{80, true, false, false};

GuestCells cells_of(const PortGuest& guest) {
    return guest_cells(guest, piped);
}

}  // namespace

TEST_CASE("the address that tells most stands for all") {
    PortGuest guest{.name = "db2", .state = "up", .addresses = {}};
    CHECK(cells_of(guest).address == "no address seen yet");
    CHECK_FALSE(cells_of(guest).has_address);
    guest.addresses.push_back({"10.0.0.9", "", {}});
    CHECK(cells_of(guest).address == "10.0.0.9");
    CHECK(cells_of(guest).answer.empty());
    guest.addresses.push_back({"10.0.0.1", "down", {}});
    CHECK(cells_of(guest).address == "10.0.0.1 +1");
    guest.addresses.push_back({"fe80::1%br0", "up", 0.5});
    CHECK(cells_of(guest).address == "fe80::1%br0 +2");
    guest.addresses.push_back({"10.0.0.2", "up", 0.00021});
    CHECK(cells_of(guest).address == "10.0.0.2 +3");
    CHECK(cells_of(guest).answer == "210 µs");
}

TEST_CASE("a guest that is not well says so in a word, one without a name too") {
    PortGuest guest{.name = "", .state = "down", .addresses = {{"10.0.0.1", "down", 0.1}}};
    CHECK(cells_of(guest).answer == "down");
    CHECK(cells_of(guest).name == "unnamed");
    guest.state = "suspect";
    CHECK(cells_of(guest).answer == "suspect");
}

TEST_CASE("guests stand in columns, and only names are cut") {
    const auto first = cells_of({"a-name-of-some-length", "up", {{"10.0.0.1", "up", 0.00021}}});
    const auto second = cells_of({"b", "down", {{"10.0.0.100", "down", {}}}});
    const auto third = cells_of({"c", "unknown", {}});
    GuestColumns columns;
    for (const auto& cells : {first, second, third}) {
        columns.add(cells);
    }
    CHECK(columns.text(first, piped).text(piped) ==
          "● a-name-of-some-length  10.0.0.1    210 µs\n");
    CHECK(columns.text(second, piped).text(piped) ==
          "✖ b                      10.0.0.100    down\n");
    CHECK(columns.text(third, piped).text(piped) ==
          "○ c                      no address seen yet\n");
    CHECK(columns.width() == 44);
    columns.fit(35);
    CHECK(columns.width() == 35);
    CHECK(columns.text(first, piped).text(piped) == "● a-name…ength  10.0.0.1    210 µs\n");
    columns.fit(5);
    CHECK(columns.text(second, piped).text(piped) == "✖ b         10.0.0.100    down\n");
}
