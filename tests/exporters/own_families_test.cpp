#include "exporters/own_families.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "exporters/metric_catalog.hpp"

using namespace reachd;

namespace {

const std::string stat_tail =
    " S 1 4711 4711 0 -1 4194560 2216 0 0 0 125 75 0 0 20 0 3 0 987654 12345678 2048 "
    "18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";

const prometheus::MetricFamily* find(const std::vector<prometheus::MetricFamily>& families,
                                     Metric metric) {
    const auto found = std::find_if(families.begin(), families.end(), [&](const auto& family) {
        return family.name == describe(metric).name;
    });
    return found == families.end() ? nullptr : &*found;
}

}  // namespace

TEST_CASE("/proc/PID/stat is read behind the name of the command") {
    for (const auto* command : {"4711 (reachd)", "4711 (a b) S 9 9)", "4711 ())", "4711 (\n)"}) {
        CAPTURE(command);
        const auto stat = parse_process_stat(command + stat_tail);
        REQUIRE(stat.has_value());
        CHECK(stat->cpu_ticks == 200);
        CHECK(stat->threads == 3);
        CHECK(stat->start_ticks == 987654);
        CHECK(stat->virtual_bytes == 12345678);
        CHECK(stat->resident_pages == 2048);
    }
}

TEST_CASE("a stat that is cut short or holds no numbers gives nothing") {
    const auto whole = "4711 (reachd)" + stat_tail;
    const auto last_needed = whole.find(" 2048 ") + 5;
    for (std::size_t size = 0; size < last_needed - 4; ++size) {
        CAPTURE(size);
        CHECK_FALSE(parse_process_stat(std::string_view(whole).substr(0, size)).has_value());
    }
    CHECK(parse_process_stat(std::string_view(whole).substr(0, last_needed)).has_value());
    auto wrong = whole;
    wrong.replace(wrong.find(" 125 "), 5, " 1x5 ");
    CHECK_FALSE(parse_process_stat(wrong).has_value());
    wrong = whole;
    wrong.replace(wrong.find(" 12345678 "), 10, " 99999999999999999999 ");
    CHECK_FALSE(parse_process_stat(wrong).has_value());
}

TEST_CASE("the boot time is a line of its own") {
    CHECK(parse_boot_time("cpu 1 2\nintr 5\nbtime 1700000000\nprocesses 9\n") == 1'700'000'000U);
    CHECK(parse_boot_time("btime 7") == 7U);
    CHECK_FALSE(parse_boot_time("").has_value());
    CHECK_FALSE(parse_boot_time("xbtime 7\n").has_value());
    CHECK_FALSE(parse_boot_time("btime \n").has_value());
    CHECK_FALSE(parse_boot_time("btime 7x\n").has_value());
}

TEST_CASE("what could not be read is left out") {
    const auto families = own_families({}, {});
    CHECK(find(families, Metric::process_cpu) == nullptr);
    CHECK(find(families, Metric::process_open_fds) == nullptr);
    REQUIRE(find(families, Metric::http_connections) != nullptr);
}

TEST_CASE("the process and the HTTP server are shown with their numbers") {
    const ProcessSample process{.cpu_seconds = 1.25,
                                .resident_bytes = 4096,
                                .virtual_bytes = 8192,
                                .open_fds = 7,
                                .max_fds = 1024,
                                .start_time = 1.7e9,
                                .threads = 2};
    HttpCounters http;
    http.requests[404] = 3;
    http.connections = 5;
    http.rejected = 6;
    const auto families = own_families(process, http);

    const auto* cpu = find(families, Metric::process_cpu);
    REQUIRE(cpu != nullptr);
    CHECK(cpu->type == prometheus::MetricType::Counter);
    CHECK(cpu->metric.at(0).counter.value == 1.25);
    CHECK(find(families, Metric::process_threads)->metric.at(0).gauge.value == 2);
    CHECK(find(families, Metric::http_connections_rejected)->metric.at(0).counter.value == 6);

    const auto* requests = find(families, Metric::http_requests);
    REQUIRE(requests != nullptr);
    REQUIRE(requests->metric.size() == 2);  // 200 is there from the start
    CHECK(requests->metric[0].label.at(0).value == "200");
    CHECK(requests->metric[0].counter.value == 0);
    CHECK(requests->metric[1].label.at(0).value == "404");
    CHECK(requests->metric[1].counter.value == 3);
}
