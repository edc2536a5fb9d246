// The answers of the API for the sample snapshot, indented for readers:
// the order of fields counts. After a wanted change: unit_tests "[.rewrite]".
#include <fstream>
#include <sstream>
#include <string>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "exporters/guests_json.hpp"
#include "exporters/peers_json.hpp"
#include "exporters/status_json.hpp"
#include "exporters/topology_json.hpp"
#include "tests/exporters/sample_snapshot.hpp"

using namespace reachd;

namespace {

std::string path_of(const std::string& name) {
    return std::string(REACHD_SOURCE_DIR) + "/tests/golden/" + name;
}

std::string indented(const std::string& json) {
    return nlohmann::ordered_json::parse(json).dump(2) + "\n";
}

std::string status() {
    return indented(status_json(test::sample_snapshot(),
                                {.version = "0.1.0",
                                 .revision = "0123456789ab",
                                 .cpu_seconds = 0.5,
                                 .resident_memory_bytes = 9'437'184}));
}

std::string topology() {
    return indented(topology_json(test::sample_snapshot()));
}

std::string peers() {
    return indented(peers_json(test::sample_snapshot()));
}

std::string guests() {
    return indented(guests_json(test::sample_snapshot()));
}

std::string golden(const std::string& name) {
    std::ifstream file(path_of(name), std::ios::binary);
    REQUIRE(file.good());
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

void rewrite(const std::string& name, const std::string& text) {
    std::ofstream file(path_of(name), std::ios::binary | std::ios::trunc);
    file << text;
    REQUIRE(file.good());
}

}  // namespace

TEST_CASE("the status of the sample snapshot is the golden one") {
    CHECK(status() == golden("api_status.json"));
}

TEST_CASE("the peers of the sample snapshot are the golden ones") {
    CHECK(peers() == golden("api_peers.json"));
}

TEST_CASE("the guests of the sample snapshot are the golden ones") {
    CHECK(guests() == golden("api_guests.json"));
}

TEST_CASE("the topology of the sample snapshot is the golden one") {
    CHECK(topology() == golden("api_topology.json"));
}

TEST_CASE("write the golden answers of the API anew", "[.rewrite]") {
    rewrite("api_status.json", status());
    rewrite("api_peers.json", peers());
    rewrite("api_guests.json", guests());
    rewrite("api_topology.json", topology());
}
