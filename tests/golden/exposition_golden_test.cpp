// The whole answer to GET /metrics for a small snapshot, byte for byte: what a scraper would see of
// every family, with names that need escaping. After a wanted change: unit_tests "[.rewrite]".
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>

#include <catch2/catch.hpp>

#include "exporters/own_families.hpp"
#include "exporters/prometheus_text.hpp"
#include "tests/exporters/sample_snapshot.hpp"

using namespace reachd;

namespace {

const std::string golden_path = std::string(REACHD_SOURCE_DIR) + "/tests/golden/metrics.txt";

std::string exposition() {
    const ProcessSample process{.cpu_seconds = 12.5,
                                .resident_bytes = 9'437'184,
                                .virtual_bytes = 123'456'789,
                                .open_fds = 14,
                                .max_fds = 524'288,
                                .start_time = 1'700'000'000.25,
                                .threads = 2};
    const HttpCounters http{.requests = {{200, 1234}, {404, 2}},
                            .connections = 1,
                            .rejected = 3,
                            .evicted = 4,
                            .accept_errors = 5};
    const ExpositionExtras extras{.build = {"0.1.0", "0123456789ab", "gcc 12.2.0"},
                                  .families = own_families(process, http),
                                  .series_dropped_before = 0};
    PrometheusText text(std::make_shared<const Snapshot>(test::sample_snapshot()), extras);
    std::string whole;
    for (auto block = text.next_block(); !block.empty(); block = text.next_block()) {
        whole += block;
    }
    return whole;
}

}  // namespace

TEST_CASE("the exposition of the sample snapshot is the golden one") {
    std::ifstream file(golden_path, std::ios::binary);
    REQUIRE(file.good());
    std::ostringstream golden;
    golden << file.rdbuf();
    CHECK(exposition() == golden.str());
}

TEST_CASE("write the golden exposition anew", "[.rewrite]") {
    std::ofstream file(golden_path, std::ios::binary | std::ios::trunc);
    file << exposition();
    REQUIRE(file.good());
}
