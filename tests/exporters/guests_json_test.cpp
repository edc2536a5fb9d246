#include "exporters/guests_json.hpp"

#include <string>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/exporters/sample_snapshot.hpp"

using namespace reachd;
using nlohmann::json;

// The whole of an answer is a golden file; here is what the sample does not have.

TEST_CASE("without guests there is an empty list of them") {
    const auto answer = json::parse(guests_json({}));
    CHECK(answer["guests"] == json::array());
    CHECK(answer["guests_omitted"] == 0);
}

TEST_CASE("an address has a state only where it is probed") {
    const auto guests = json::parse(guests_json(test::sample_snapshot()))["guests"];
    REQUIRE(guests.size() == 2);
    const auto& addresses = guests[0]["addresses"];
    REQUIRE(addresses.size() == 2);
    CHECK(addresses[0]["state"] == "down");
    CHECK(addresses[0]["reason"] == "timeout");
    CHECK(addresses[0]["not_probed"].is_null());
    CHECK(addresses[0]["probes"].size() == 2);
    CHECK(addresses[1]["state"].is_null());
    CHECK(addresses[1]["probes"] == json::array());
    CHECK(addresses[1]["not_probed"] == "claimed 1 s ago");
    CHECK(guests[1]["name"].is_null());
    CHECK(guests[1]["bridge"].is_null());
    CHECK(guests[1]["state"] == "unknown");
}

TEST_CASE("a port that lost its bridge is in none") {
    Snapshot snapshot = test::sample_snapshot();
    CHECK(json::parse(guests_json(snapshot))["guests"][0]["bridge"] == "br0");
    snapshot.guests[0].bridge = IfIndex::any;
    CHECK(json::parse(guests_json(snapshot))["guests"][0]["bridge"].is_null());
}

TEST_CASE("names that a guest chose cannot break the answer") {
    Snapshot snapshot;
    auto& guest = snapshot.guests.emplace_back();
    guest.name = "\"},{\xff\x1b[2J";
    guest.vm = std::string(1000, '"');
    const auto answer = json::parse(guests_json(snapshot))["guests"];
    REQUIRE(answer.size() == 1);
    CHECK(answer[0]["name"] == "\"},{\xef\xbf\xbd\x1b[2J");
    CHECK(answer[0]["vm"] == guest.vm);
}

TEST_CASE("an answer about guests has an end, and says what is missing") {
    Snapshot snapshot;
    snapshot.guests.resize(1000);
    const auto text = guests_json(snapshot, 10'000);
    CHECK(text.size() < 11'000);
    const auto answer = json::parse(text);
    CHECK(answer["guests"].size() + answer["guests_omitted"].get<std::size_t>() == 1000);
    CHECK(answer["guests_omitted"] > 900);
}
