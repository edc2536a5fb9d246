#include "agent/ctl/guests_text.hpp"

#include <chrono>
#include <sstream>
#include <string>

#include <catch2/catch.hpp>

using namespace reachd;
using namespace reachd::ctl;

// How the tables look is shown by the golden files; here are the decisions.

namespace {

constexpr Terminal piped{80, true, false, false};

GuestAddress address(const std::string& text, const std::string& state) {
    GuestAddress result;
    result.address = text;
    result.state = state;
    return result;
}

Guest guest(const std::string& name, const std::string& state, const std::string& ip) {
    Guest result;
    result.name = name;
    result.device = "vnet-" + name;
    result.bridge = "br0";
    result.state = state;
    result.macs = {"52:54:00:00:00:01"};
    if (!ip.empty()) {
        result.addresses = {address(ip, state)};
    }
    return result;
}

ListText shown(const std::vector<Guest>& guests,
               const std::vector<std::string>& words = {},
               const ViewOptions& view = {}) {
    const GuestsReport report{.time = WallTime(std::chrono::seconds(100)), .guests = guests};
    const auto text = guests_text(report, words, view, piped);
    REQUIRE(text.has_value());
    return *text;
}

std::size_t count(const std::string& text, const std::string& part) {
    std::size_t found = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
        ++found;
    }
    return found;
}

bool shows(const std::string& text, const std::string& part) {
    return count(text, part) > 0;
}

}  // namespace

TEST_CASE("each address has a row, and the guest counts once") {
    auto one = guest("a", "up", "10.0.0.1");
    one.addresses.push_back(address("10.0.0.2", "down"));
    const auto list = shown({one});
    CHECK(shows(list.text, "10.0.0.1"));
    CHECK(list.text.find("10.0.0.2") < list.text.find("10.0.0.1"));
    CHECK(shows(list.text, "1 guest: 1 up.\n"));
    CHECK(list.is_ill);
}

TEST_CASE("addresses that are not probed beside others are for --all and for words") {
    auto one = guest("a", "up", "10.0.0.1");
    one.addresses.push_back(address("fd00::1", ""));
    one.addresses.back().not_probed = "temporary address";
    CHECK_FALSE(shows(shown({one}).text, "fd00::1"));
    CHECK(shows(shown({one}, {}, {.all = true}).text, "temporary address"));
    CHECK(shows(shown({one}, {"a"}).text, "temporary address"));
    one.addresses.erase(one.addresses.begin());
    CHECK(shows(shown({one}).text, "unknown  br0/vnet-a    -     -         temporary address\n"));
}

TEST_CASE("a guest without an address is shown, last, and is not ill") {
    auto one = guest("b", "unknown", "");
    one.bridge.clear();
    const auto list = shown({one, guest("z", "up", "10.0.0.1")});
    CHECK(shows(list.text, "not seen  unknown  -/vnet-b"));
    CHECK(list.text.find("vnet-z") < list.text.find("vnet-b"));
    CHECK(shows(list.text, "2 guests: 1 up, 1 without an address yet.\n"));
    CHECK_FALSE(list.is_ill);
}

TEST_CASE("every name of a guest chooses it") {
    auto one = guest("a", "up", "10.0.0.1");
    one.vm = "machine";
    one.uuid = "1234-5678";
    one.macs.emplace_back("52:54:00:00:00:02");
    one.addresses.push_back(address("fe80::1%br0", "up"));
    auto other = guest("b", "down", "10.9.9.9");
    other.bridge = "br1";
    other.macs.clear();
    for (const auto* word : {"a",
                             "machine",
                             "1234-*",
                             "vnet-a",
                             "br0",
                             "52:54:00:00:00:02",
                             "10.0.0.1",
                             "fe80::1",
                             "fe80::1%br0",
                             "10.0.*"}) {
        CAPTURE(word);
        const auto list = shown({one, other}, {word});
        CHECK(shows(list.text, "vnet-a"));
        CHECK_FALSE(shows(list.text, "vnet-b"));
        CHECK_FALSE(list.is_ill);
    }
    CHECK(shown({one, other}, {"b"}).is_ill);
    CHECK(guests_text({.guests = {one}}, {"machin"}, {}, piped).error() ==
          "no guest 'machin'; near: machine. All: reachctl guests --all");
}

TEST_CASE("of the well ones some are shown and all guests are counted") {
    std::vector<Guest> guests;
    for (int i = 0; i < 9; ++i) {
        guests.push_back(guest("g" + std::to_string(i), "up", "10.0.0." + std::to_string(i)));
    }
    CHECK(shows(shown(guests).text, "… 4 more are up: reachctl guests --all\n9 guests: 9 up.\n"));
    CHECK(count(shown(guests).text, "vnet-") == 5);
    CHECK(count(shown(guests, {}, {.all = true}).text, "vnet-") == 9);
    // Two addresses each: guests are counted, not rows.
    for (auto& one : guests) {
        one.addresses.push_back(one.addresses[0]);
    }
    CHECK(shows(shown(guests).text, "… 6 more are up"));
}

TEST_CASE("causes are those of the address") {
    auto one = guest("a", "down", "10.0.0.1");
    one.addresses[0].reason = "neighbour_failed";
    one.addresses[0].probes = {{.probe = "arp", .state = "down", .rtt_seconds = 0.5}};
    CHECK(shows(shown({one}).text, "  -     -         neighbour failed\n"));
    auto other = guest("a", "up", "10.0.0.1");
    other.addresses[0].probes = {{.probe = "tcp", .port = 22, .state = "down"},
                                 {.probe = "icmp", .state = "down"},
                                 {.probe = "arp", .state = "up", .rtt_seconds = 0.0005}};
    CHECK(shows(shown({other}).text, "500 µs     -         tcp/22 down\n"));
}

TEST_CASE("no guests are told in a sentence") {
    CHECK(shown({}).text == "No guests: none was found behind the ports of this host.\n");
    CHECK(shown({}, {}, {.legend = false}).text.empty());
}
