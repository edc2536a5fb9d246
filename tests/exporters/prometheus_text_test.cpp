#include "exporters/prometheus_text.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>
#include <fmt/core.h>
#include <prometheus/text_serializer.h>

#include "common/random.hpp"
#include "tests/exporters/reference_families.hpp"
#include "tests/exporters/sample_snapshot.hpp"

using namespace reachd;

namespace {

using test::add_peer;
using test::sample_snapshot;

std::string render(const Snapshot& snapshot,
                   const ExpositionExtras& extras = {},
                   std::size_t block_bytes = PrometheusText::block_bytes_default) {
    PrometheusText text(std::make_shared<const Snapshot>(snapshot), extras, block_bytes);
    std::string whole;
    for (auto block = text.next_block(); !block.empty(); block = text.next_block()) {
        whole += block;
    }
    CHECK(text.next_block().empty());
    return whole;
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
        lines.push_back(line);
    }
    return lines;
}

std::size_t count_samples(const std::string& text) {
    const auto lines = lines_of(text);
    return static_cast<std::size_t>(std::count_if(
        lines.begin(), lines.end(), [](const auto& line) { return line.at(0) != '#'; }));
}

/// The family that a sample line belongs to, given the families announced so far.
std::string family_of(const std::string& line, const std::set<std::string>& histograms) {
    const auto name = line.substr(0, line.find_first_of("{ "));
    for (const std::string suffix : {"_bucket", "_sum", "_count"}) {
        if (name.size() > suffix.size() &&
            name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0) {
            const auto base = name.substr(0, name.size() - suffix.size());
            if (histograms.count(base) > 0) {
                return base;
            }
        }
    }
    return name;
}

std::string rounded(const std::string& number) {
    char* end = nullptr;
    const double value = std::strtod(number.c_str(), &end);
    REQUIRE(*end == '\0');
    return fmt::format("{:.14g}", value);
}

/// A line with its value, and its bound if it has one, rounded alike.
std::string normalised(std::string line) {
    if (line.at(0) == '#') {
        return line;
    }
    const auto value = line.rfind(' ') + 1;
    line = line.substr(0, value) + rounded(line.substr(value));
    const std::string key = ",le=\"";
    const auto bound = line.rfind(key);
    if (bound != std::string::npos && line.find("_bucket{") != std::string::npos) {
        const auto begin = bound + key.size();
        const auto end = line.find('"', begin);
        line = line.substr(0, begin) + rounded(line.substr(begin, end - begin)) + line.substr(end);
    }
    return line;
}

/// Lines by family, each family's sorted: the order of lines within a histogram is free.
std::map<std::string, std::vector<std::string>> by_family(const std::string& text) {
    std::map<std::string, std::vector<std::string>> families;
    std::string current;
    for (const auto& line : lines_of(text)) {
        if (line.rfind("# HELP ", 0) == 0) {
            current = line.substr(7, line.find(' ', 7) - 7);
        }
        families[current].push_back(normalised(line));
    }
    for (auto& [name, lines] : families) {
        std::sort(lines.begin(), lines.end());
    }
    return families;
}

bool has_line(const std::string& text, const std::string& line) {
    return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

/// Of the peer that was added last.
void add_path_mtu(Snapshot& snapshot, Random& random) {
    auto& row = snapshot.path_mtus.emplace_back();
    row.peer = static_cast<std::uint32_t>(snapshot.peers.size() - 1);
    row.mtu.verdict = static_cast<MtuVerdict>(random.below(mtu_verdict_count));
    row.mtu.direction = static_cast<MtuDirection>(random.below(mtu_direction_count));
    row.mtu.expected = 9000;
    row.mtu.bytes = row.mtu.verdict == MtuVerdict::undetermined
                        ? 0
                        : static_cast<std::uint32_t>(68 + random.below(9000));
    row.mtu.reporter = random.below(2) == 0 ? IpAddress() : *IpAddress::parse("2001:db8::ff");
    for (auto& count : row.packets) {
        count = random.next() >> (20U + random.below(44));
    }
}

/// Every other one with a path MTU, host0 first.
Snapshot many_peers(std::size_t count) {
    Random random(11);
    auto snapshot = sample_snapshot();
    for (std::size_t i = 0; i < count; ++i) {
        add_peer(snapshot, fmt::format("host{}", i), fmt::format("10.1.0.{}", i), random);
        if (i % 2 == 0) {
            add_path_mtu(snapshot, random);
        }
    }
    return snapshot;
}

}  // namespace

TEST_CASE(
    "every line that has a peer or an interface equals prometheus-cpp's, after the rounding of "
    "numbers") {
    const auto snapshot = many_peers(40);
    std::ostringstream reference;
    prometheus::TextSerializer().Serialize(reference, test::reference_families(snapshot));
    const auto expected = by_family(reference.str());
    const auto actual = by_family(render(snapshot));
    REQUIRE(expected.size() == 30);
    for (const auto& [name, lines] : expected) {
        CAPTURE(name);
        REQUIRE(actual.count(name) == 1);
        CHECK(actual.at(name) == lines);
    }
}

TEST_CASE("families are whole, contiguous and announced once") {
    std::set<std::string> seen;
    std::set<std::string> histograms;
    std::string current;
    for (const auto& line : lines_of(render(many_peers(3)))) {
        CAPTURE(line);
        if (line.rfind("# HELP ", 0) == 0) {
            current = line.substr(7, line.find(' ', 7) - 7);
            CHECK(seen.insert(current).second);
        } else if (line.rfind("# TYPE ", 0) == 0) {
            CHECK(line.rfind("# TYPE " + current + " ", 0) == 0);
            if (line.find(" histogram") != std::string::npos) {
                histograms.insert(current);
            }
        } else {
            CHECK(family_of(line, histograms) == current);
        }
    }
    CHECK(seen.count("reachd_probe_rtt_seconds") == 1);
}

TEST_CASE("blocks of every size make up the same answer") {
    const auto snapshot = many_peers(4);
    const auto whole = render(snapshot, {}, std::size_t{1} << 20U);
    for (std::size_t size = 1; size < 3000; ++size) {
        if (render(snapshot, {}, size) != whole) {
            FAIL("differs at a block size of " << size);
        }
    }
}

TEST_CASE("blocks are bounded by their size, or by the lines of one peer") {
    const auto snapshot = std::make_shared<const Snapshot>(many_peers(200));
    constexpr std::size_t block_bytes = 8192;
    PrometheusText text(snapshot, {}, block_bytes);
    std::size_t blocks = 0;
    for (auto block = text.next_block(); !block.empty(); block = text.next_block()) {
        CHECK(block.size() <= block_bytes);
        ++blocks;
    }
    CHECK(blocks > 40);
}

TEST_CASE("a label larger than a block is still written whole") {
    auto snapshot = sample_snapshot();
    Random random(5);
    const std::string name(10'000, '"');
    add_peer(snapshot, name, "10.9.9.9", random);
    const auto text = render(snapshot, {}, 512);
    CHECK(text == render(snapshot));
    std::string escaped;
    for (std::size_t i = 0; i < name.size(); ++i) {
        escaped += "\\\"";
    }
    CHECK(text.find("reachd_probe_sent_total{peer=\"" + escaped + "\"") != std::string::npos);
}

TEST_CASE("what has no value yet is absent") {
    auto snapshot = sample_snapshot();
    for (auto& peer : snapshot.peers) {
        peer.up.reset();
        peer.last_change = WallTime{};
    }
    for (auto& probe : snapshot.probes) {
        probe.up.reset();
    }
    snapshot.failures.clear();
    snapshot.netlink.last_sync = WallTime{};
    snapshot.reload.last_success = WallTime{};
    const auto text = render(snapshot);
    for (const auto* name : {"reachd_peer_up",
                             "reachd_probe_up",
                             "reachd_peer_last_change_timestamp_seconds",
                             "reachd_probe_failures_total",
                             "reachd_topology_last_sync_timestamp_seconds",
                             "reachd_config_last_reload_success_timestamp_seconds"}) {
        CAPTURE(name);
        CHECK(text.find("\n" + std::string(name) + "{") == std::string::npos);
        CHECK(text.find("\n" + std::string(name) + " ") == std::string::npos);
    }
    CHECK(text.find("\nreachd_probe_lost_total{") != std::string::npos);
}

TEST_CASE("an empty snapshot still describes the host") {
    const auto text = render({}, {.build = {"0.1.0", "abc", "gcc 12.2.0"}});
    CHECK(has_line(text,
                   "reachd_build_info{version=\"0.1.0\",revision=\"abc\",compiler=\"gcc "
                   "12.2.0\"} 1"));
    CHECK(has_line(text, "reachd_peers{kind=\"guest\"} 0"));
    CHECK(has_line(text, "reachd_probes_skipped_total{reason=\"rate_limit\"} 0"));
    CHECK(has_line(text,
                   "reachd_probe_samples_discarded_total{probe=\"icmp\",reason=\"starved\"} 0"));
    CHECK(has_line(text, "reachd_throttle_ratio 1"));
}

TEST_CASE("a port is shown where there is one") {
    auto snapshot = sample_snapshot();
    snapshot.probes.at(0).port = 65535;
    const auto text = render(snapshot);
    CHECK(text.find(",probe=\"icmp\",port=\"65535\"} ") != std::string::npos);
    CHECK(text.find("port=\"0\"") == std::string::npos);
    CHECK(text.find(",probe=\"icmp\",port=\"65535\",le=\"1.0\"} ") != std::string::npos);
}

TEST_CASE("each kind of probe has its series, and only TCP retransmits") {
    const auto text = render(sample_snapshot());
    const std::string peer = R"({peer="web \"01\"\\\n}",address="fe80::1%br0")";
    CHECK(has_line(text, "reachd_probe_up" + peer + R"(,probe="tcp",port="443"} 0)"));
    CHECK(has_line(text, "reachd_probe_sent_total" + peer + R"(,probe="tcp",port="443"} 4)"));
    CHECK(has_line(
        text,
        "reachd_probe_failures_total" + peer + R"(,probe="tcp",port="443",reason="refused"} 3)"));
    CHECK(has_line(text, "reachd_tcp_syn_retransmits_total" + peer + R"(,port="443"} 2)"));
    CHECK(
        has_line(text, R"(reachd_probe_received_total{peer="gateway",address="",probe="arp"} 10)"));
    CHECK(has_line(text,
                   R"(reachd_probe_samples_discarded_total{probe="arp",reason="ambiguous"} 11)"));
    CHECK(text.find("retransmits_total{peer=\"gateway\"") == std::string::npos);
    CHECK(text.find("probe=\"arp\",port=") == std::string::npos);
}

TEST_CASE("buckets are cumulative and end with the count") {
    Snapshot snapshot;
    Random random(1);
    add_peer(snapshot, "a", "10.0.0.1", random);
    snapshot.rtt_edges =
        std::make_shared<const std::vector<double>>(std::vector<double>{0.00005, 0.005, 1});
    snapshot.rtt_buckets = {1, 2, 3, 4};
    snapshot.probes.at(0).rtt_sum = std::chrono::microseconds(1'500'001);
    const auto text = render(snapshot);
    const std::string name = "reachd_probe_rtt_seconds";
    const std::string labels = "{peer=\"a\",address=\"10.0.0.1\",probe=\"icmp\"";
    CHECK(has_line(text, name + "_bucket" + labels + ",le=\"5e-05\"} 1"));
    CHECK(has_line(text, name + "_bucket" + labels + ",le=\"0.005\"} 3"));
    CHECK(has_line(text, name + "_bucket" + labels + ",le=\"1.0\"} 6"));
    CHECK(has_line(text, name + "_bucket" + labels + ",le=\"+Inf\"} 10"));
    CHECK(has_line(text, name + "_sum" + labels + "} 1.500001"));
    CHECK(has_line(text, name + "_count" + labels + "} 10"));
}

TEST_CASE("the number of series is the number of sample lines") {
    for (const std::uint64_t limit : {0U, 1U, 60U, 75U, 100U, 110U, 200U, 1000U, 100000U}) {
        CAPTURE(limit);
        auto snapshot = many_peers(10);
        snapshot.series_limit = limit;
        PrometheusText text(std::make_shared<const Snapshot>(snapshot), {});
        const auto whole = render(snapshot);
        CHECK(count_samples(whole) == text.series());
        CHECK(has_line(whole, fmt::format("reachd_series {}", text.series())));
        CHECK(
            has_line(whole, fmt::format("reachd_series_dropped_total {}", text.series_dropped())));
    }
}

TEST_CASE("beyond the limit path MTUs are left out first, the last ones first") {
    auto snapshot = many_peers(10);
    const auto all = PrometheusText(std::make_shared<const Snapshot>(snapshot), {}).series();
    snapshot.series_limit = all - 1;
    PrometheusText limited(std::make_shared<const Snapshot>(snapshot), {});
    CHECK(limited.series() + limited.series_dropped() == all);
    const auto text = render(snapshot);
    CHECK(text.find("reachd_path_mtu_expected_bytes{peer=\"host8\"") == std::string::npos);
    CHECK(text.find("reachd_path_mtu_expected_bytes{peer=\"host6\"") != std::string::npos);
    CHECK(text.find("peer=\"host9\"") != std::string::npos);
}

TEST_CASE("beyond the limit whole peers are left out, the last ones first") {
    auto snapshot = many_peers(10);
    PrometheusText unlimited(std::make_shared<const Snapshot>(snapshot), {});
    const auto all = unlimited.series();

    snapshot.series_limit = all - PathMtuRows(snapshot).series() - 1;
    PrometheusText limited(std::make_shared<const Snapshot>(snapshot), {});
    const auto text = render(snapshot);
    CHECK(limited.series() < all);
    CHECK(limited.series() + limited.series_dropped() == all);
    CHECK(text.find("peer=\"host9\"") == std::string::npos);
    CHECK(text.find("peer=\"host8\"") != std::string::npos);
    // Still counted as peers: the limit hides series, not peers.
    CHECK(
        has_line(text, fmt::format("reachd_peers{{kind=\"host\"}} {}", snapshot.peers.size() - 2)));

    snapshot.series_limit = all;
    CHECK(PrometheusText(std::make_shared<const Snapshot>(snapshot), {}).series_dropped() == 0);
}

TEST_CASE("a limit below the host's own series keeps those and no peer") {
    auto snapshot = many_peers(2);
    snapshot.series_limit = 1;
    const auto text = render(snapshot, {.series_dropped_before = 1000});
    CHECK(text.find("peer=\"") == std::string::npos);
    CHECK(has_line(text, "reachd_throttle_ratio 0.5"));
    PrometheusText limited(std::make_shared<const Snapshot>(snapshot), {});
    CHECK(has_line(text,
                   fmt::format("reachd_series_dropped_total {}", 1000 + limited.series_dropped())));
}

TEST_CASE("interfaces come before peers, and the limit is spent on them first") {
    auto snapshot = many_peers(2);
    snapshot.series_limit = 1;
    PrometheusText host_only(std::make_shared<const Snapshot>(snapshot), {});
    const InterfaceRows interfaces(snapshot);

    snapshot.series_limit = host_only.series() + interfaces.series();
    auto text = render(snapshot);
    CHECK(text.find("device=\"vx1\"") != std::string::npos);
    CHECK(text.find("peer=\"") == std::string::npos);

    snapshot.series_limit -= 1;
    text = render(snapshot);
    CHECK(text.find("device=\"vx1\"") == std::string::npos);
    CHECK(text.find("device=\"bond0.20\"") != std::string::npos);
    // Still counted as an interface: the limit hides series, not interfaces.
    CHECK(has_line(text, "reachd_interfaces{kind=\"vxlan\"} 1"));

    snapshot.series_limit = 0;
    text = render(snapshot);
    CHECK(text.rfind("reachd_bridge_port_state{") < text.find("reachd_peer_up{peer=\"web"));
}

TEST_CASE("families of prometheus-cpp are part of the answer and of the count") {
    auto family = test::reference_family(Metric::process_threads);
    test::add_value(family, {}, 3);
    const auto plain = sample_snapshot();
    PrometheusText without(std::make_shared<const Snapshot>(plain), {});
    PrometheusText with(std::make_shared<const Snapshot>(plain), {.families = {family}});
    CHECK(with.series() == without.series() + 1);
    CHECK(has_line(render(plain, {.families = {family}}), "process_threads 3"));
}
