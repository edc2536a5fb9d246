#include "exporters/host_text.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "exporters/metric_catalog.hpp"
#include "exporters/own_families.hpp"
#include "exporters/topology_view.hpp"
#include "tests/exporters/sample_snapshot.hpp"

using namespace reachd;

namespace {

std::string text_of(const Snapshot& snapshot) {
    return host_text(snapshot, {}).text;
}

bool has_line(const std::string& text, const std::string& line) {
    return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

std::uint64_t sample_lines(const std::string& text) {
    const auto all = std::count(text.begin(), text.end(), '\n');
    std::int64_t comments = text.empty() || text[0] != '#' ? 0 : 1;
    for (auto at = text.find("\n#"); at != std::string::npos; at = text.find("\n#", at + 1)) {
        ++comments;
    }
    return static_cast<std::uint64_t>(all - comments);
}

}  // namespace

TEST_CASE("the series of the host part are counted as written") {
    const auto snapshot = test::sample_snapshot();
    const auto plain = host_text(snapshot, {});
    CHECK(plain.series == sample_lines(plain.text));
    const auto empty = host_text({}, {});
    CHECK(empty.series == sample_lines(empty.text));
    ExpositionExtras extras;
    extras.families = own_families({}, {});
    const auto more = host_text(snapshot, extras);
    CHECK(more.series == sample_lines(more.text));
    CHECK(more.series == plain.series + extras.families.size());
    CHECK(sample_lines(series_text(1, 2)) == series_text_lines);
}

TEST_CASE("every family of the host and the agent has its place, used or not") {
    const auto text = text_of({}) + series_text(0, 0);
    for (const auto& row : metric_catalog()) {
        const bool is_own = row.group == MetricGroup::http || row.group == MetricGroup::process;
        const bool is_of_peers =
            (row.group == MetricGroup::peers && row.metric != Metric::peers &&
             row.metric != Metric::guests) ||
            (row.group == MetricGroup::probes && row.metric != Metric::host_rtt) ||
            row.group == MetricGroup::path_mtu;
        const bool is_of_interfaces =
            row.group == MetricGroup::interfaces && row.metric != Metric::interfaces;
        CAPTURE(row.name);
        CHECK((text.find(family_header(row.metric)) != std::string::npos) ==
              (!is_own && !is_of_peers && !is_of_interfaces));
    }
}

TEST_CASE("host labels are escaped, and left out where they are empty") {
    Snapshot snapshot;
    snapshot.host = {"h\"v\\1\n", {{"zone", ""}, {"rack", "r\"1"}}, HostRole::guest, ""};
    CHECK(has_line(text_of(snapshot),
                   R"(reachd_host_info{host="h\"v\\1\n",role="guest",rack="r\"1"} 1)"));
    snapshot.host = {"h", {}, HostRole::hypervisor, "none"};
    CHECK(has_line(text_of(snapshot),
                   R"(reachd_host_info{host="h",role="hypervisor",virtualization="none"} 1)"));
}

TEST_CASE("a histogram without edges is one bucket") {
    Snapshot snapshot;
    snapshot.probe_delay.counts = {7};
    const auto text = text_of(snapshot);
    CHECK(has_line(text, "reachd_probe_delay_seconds_bucket{le=\"+Inf\"} 7"));
    CHECK(has_line(text, "reachd_probe_delay_seconds_count 7"));
    CHECK(text.find(",le=") == std::string::npos);
}

TEST_CASE("counts by name are shown as they are given") {
    Snapshot snapshot;
    snapshot.netlink.messages = {{"newlink", 3}, {"delneigh", 18'446'744'073'709'551'615U}};
    const auto text = text_of(snapshot);
    CHECK(has_line(text, "reachd_netlink_messages_total{type=\"newlink\"} 3"));
    CHECK(has_line(text, "reachd_netlink_messages_total{type=\"delneigh\"} 18446744073709551615"));
}

TEST_CASE("peers are counted by kind") {
    const auto text = text_of(test::sample_snapshot());
    CHECK(has_line(text, "reachd_peers{kind=\"host\"} 0"));
    CHECK(has_line(text, "reachd_peers{kind=\"gateway\"} 1"));
    CHECK(has_line(text, "reachd_peers{kind=\"guest\"} 1"));
}

TEST_CASE("guests are counted by bridge, with a line also for those without and for none") {
    auto snapshot = test::sample_snapshot();
    auto text = text_of(snapshot);
    CHECK(has_line(text, "reachd_guests{bridge=\"br0\"} 1"));
    CHECK(has_line(text, "reachd_guests 1"));
    snapshot.guests.clear();
    text = text_of(snapshot);
    CHECK(has_line(text, "reachd_guests{bridge=\"br0\"} 0"));
    CHECK_FALSE(has_line(text, "reachd_guests 0"));
    CHECK(text_of({}).find("\nreachd_guests") == std::string::npos);
    // A bridge that is gone already, with a name from hell.
    snapshot.guests.emplace_back().bridge_name = "b\"r\n";
    CHECK(has_line(text_of(snapshot), R"(reachd_guests{bridge="b\"r\n"} 1)"));
}

TEST_CASE("interfaces are counted by kind, with and without a topology") {
    const auto text = text_of(test::sample_snapshot());
    CHECK(has_line(text, "reachd_interfaces{kind=\"physical\"} 1"));
    CHECK(has_line(text, "reachd_interfaces{kind=\"vf\"} 1"));
    CHECK(has_line(text, "reachd_interfaces{kind=\"macvtap\"} 0"));
    CHECK(has_line(text, "reachd_interfaces{kind=\"other\"} 1"));
    const auto empty = text_of({});
    for (std::size_t kind = 0; kind < interface_kind_count; ++kind) {
        const auto name = std::string(to_text(static_cast<InterfaceKind>(kind)));
        CHECK(has_line(empty, "reachd_interfaces{kind=\"" + name + "\"} 0"));
    }
}
