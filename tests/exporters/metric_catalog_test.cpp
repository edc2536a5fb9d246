#include "exporters/metric_catalog.hpp"

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include <catch2/catch.hpp>

using namespace reachd;

namespace {

const std::string document_path = std::string(REACHD_SOURCE_DIR) + "/METRICS.md";

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return std::move(text).str();
}

bool is_metric_name(std::string_view name) {
    return !name.empty() && std::all_of(name.begin(), name.end(), [](char letter) {
        return (letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9') ||
               letter == '_';
    });
}

bool ends_with(std::string_view text, std::string_view end) {
    return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

}  // namespace

TEST_CASE("every metric is described once, in the order of its enumerator") {
    std::set<std::string_view> names;
    std::size_t index = 0;
    for (const auto& row : metric_catalog()) {
        CAPTURE(row.name);
        CHECK(row.metric == static_cast<Metric>(index++));
        CHECK(&describe(row.metric) == &row);
        CHECK(names.insert(row.name).second);
    }
}

TEST_CASE("names follow the conventions of Prometheus") {
    for (const auto& row : metric_catalog()) {
        CAPTURE(row.name);
        CHECK(is_metric_name(row.name));
        const bool is_process = row.group == MetricGroup::process;
        CHECK((row.name.substr(0, 7) == (is_process ? "process" : "reachd_")));
        CHECK(ends_with(row.name, "_total") == (row.type == MetricType::counter));
        CHECK(ends_with(row.name, "_info") == (row.unit == "info"));
        if (row.unit == "seconds" || row.unit == "timestamp") {
            CHECK((ends_with(row.name, "_seconds") || ends_with(row.name, "_seconds_total")));
        }
        if (row.unit == "bytes") {
            CHECK(ends_with(row.name, "_bytes"));
        }
    }
}

TEST_CASE("help is one sentence that needs no escaping") {
    for (const auto& row : metric_catalog()) {
        CAPTURE(row.name);
        REQUIRE_FALSE(row.help.empty());
        CHECK(row.help.back() == '.');
        CHECK(row.help.find_first_of("\"\\\n") == std::string_view::npos);
    }
}

TEST_CASE("the example query of a metric asks for that metric") {
    for (const auto& row : metric_catalog()) {
        CAPTURE(row.name);
        CHECK(row.query.find(row.name) != std::string_view::npos);
    }
}

TEST_CASE("a family header has one HELP and one TYPE line") {
    CHECK(family_header(Metric::netlink_overruns) ==
          "# HELP reachd_netlink_overruns_total Times the kernel dropped messages because reachd "
          "did not read fast enough.\n"
          "# TYPE reachd_netlink_overruns_total counter\n");
}

TEST_CASE("METRICS.md is what the catalogue says") {
    INFO("after a change of the catalogue: unit_tests \"[.rewrite]\"");
    CHECK((read_file(document_path) == metrics_document()));
}

TEST_CASE("write METRICS.md anew", "[.rewrite]") {
    std::ofstream file(document_path, std::ios::binary | std::ios::trunc);
    file << metrics_document();
    REQUIRE(file.good());
}
