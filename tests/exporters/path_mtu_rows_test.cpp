#include "exporters/path_mtu_rows.hpp"

#include <algorithm>
#include <memory>
#include <string>

#include <catch2/catch.hpp>

#include "tests/exporters/sample_snapshot.hpp"

using namespace reachd;

// Values and texts are compared with the reference by prometheus_text_test.

namespace {

std::string render(const PathMtuRows& rows) {
    TextBlock block(std::size_t{1} << 20U);
    for (const auto& family : PathMtuRows::families()) {
        RowCursor cursor{block};
        REQUIRE((rows.*family.write)(family, cursor));
    }
    return std::string(block.view());
}

/// One peer for each verdict, named like it, and one of which nothing is expected.
Snapshot one_of_each() {
    Snapshot snapshot;
    for (std::size_t i = 0; i < mtu_verdict_count; ++i) {
        const auto verdict = static_cast<MtuVerdict>(i);
        auto& row = snapshot.path_mtus.emplace_back();
        row.peer = static_cast<std::uint32_t>(snapshot.peers.size());
        row.mtu.verdict = verdict;
        row.mtu.expected = 9000;
        row.mtu.bytes = verdict == MtuVerdict::undetermined ? 0 : 1500;
        snapshot.peers.emplace_back().identity =
            std::make_shared<const PeerIdentity>(to_text(verdict), "a");
    }
    snapshot.peers.emplace_back().identity = std::make_shared<const PeerIdentity>("unasked", "a");
    return snapshot;
}

bool has_line(const std::string& text, const std::string& line) {
    return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

std::string sample(const std::string& name, const std::string& peer, const std::string& rest) {
    return "reachd_path_mtu_" + name + "{peer=\"" + peer + "\",address=\"a\"" + rest;
}

std::uint64_t count_lines(const std::string& text) {
    return static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

TEST_CASE("a path MTU that is not determined has no bytes, and is no mismatch") {
    const auto text = render(PathMtuRows(one_of_each()));
    CHECK(text.find("mtu_bytes{peer=\"undetermined\"") == std::string::npos);
    CHECK(has_line(text, sample("expected_bytes", "undetermined", "} 9000")));
    CHECK(has_line(text, sample("mismatch", "undetermined", "} 0")));
    CHECK(has_line(
        text, sample("info", "undetermined", ",verdict=\"undetermined\",direction=\"none\"} 1")));
    CHECK(has_line(text, sample("mismatch", "ok", "} 0")));
    for (const std::string peer : {"signalled", "black_hole", "local", "peer_egress"}) {
        CAPTURE(peer);
        CHECK(has_line(text, sample("bytes", peer, "} 1500")));
        CHECK(has_line(text, sample("mismatch", peer, "} 1")));
    }
    CHECK(text.find("unasked") == std::string::npos);
}

TEST_CASE("who signalled a path MTU is told with its zone, and escaped") {
    auto snapshot = test::sample_snapshot();
    auto& mtu = snapshot.path_mtus.at(0).mtu;
    const std::string begin =
        R"(reachd_path_mtu_info{peer="web \"01\"\\\n}",address="fe80::1%br0",)"
        R"(verdict="signalled",direction="forward")";
    CHECK(has_line(render(PathMtuRows(snapshot)), begin + R"(,reporter="fe80::9%br0"} 1)"));
    mtu.reporter.set_scope(static_cast<IfIndex>(5));
    CHECK(has_line(render(PathMtuRows(snapshot)), begin + R"(,reporter="fe80::9%vn\"0\\x1b"} 1)"));
    mtu.reporter.set_scope(static_cast<IfIndex>(99));
    CHECK(has_line(render(PathMtuRows(snapshot)), begin + R"(,reporter="fe80::9"} 1)"));
    mtu.reporter = *IpAddress::parse("10.0.0.254");
    CHECK(has_line(render(PathMtuRows(snapshot)), begin + R"(,reporter="10.0.0.254"} 1)"));
    mtu.reporter = {};
    CHECK(has_line(render(PathMtuRows(snapshot)), begin + "} 1"));
}

TEST_CASE("packets of path MTU probing have a line for each result, also for none") {
    auto snapshot = one_of_each();
    snapshot.path_mtus.at(1).packets = {1, 2, 3, 18'446'744'073'709'551'615U};
    const auto text = render(PathMtuRows(snapshot));
    CHECK(has_line(text, sample("packets_total", "ok", ",result=\"answered\"} 1")));
    CHECK(has_line(text, sample("packets_total", "ok", ",result=\"lost\"} 2")));
    CHECK(has_line(text, sample("packets_total", "ok", ",result=\"too_big\"} 3")));
    CHECK(has_line(text,
                   sample("packets_total", "ok", ",result=\"not_sent\"} 18446744073709551615")));
    CHECK(has_line(text, sample("packets_total", "local", ",result=\"lost\"} 0")));
}

TEST_CASE("lines of path MTUs are counted as written, whatever the limit") {
    const auto snapshot = one_of_each();
    const auto all = PathMtuRows(snapshot).series();
    for (std::uint64_t budget = 0; budget <= all + 1; ++budget) {
        PathMtuRows rows(snapshot);
        rows.limit(budget, snapshot.peers.size());
        CAPTURE(budget);
        CHECK(rows.series() <= budget);
        CHECK(rows.series() + rows.series_dropped() == all);
        CHECK(count_lines(render(rows)) == rows.series());
    }
}

TEST_CASE("a peer that is left out has no path MTU either") {
    const auto snapshot = one_of_each();
    PathMtuRows rows(snapshot);
    rows.limit(1'000'000, 2);
    const auto text = render(rows);
    CHECK(text.find("peer=\"ok\"") != std::string::npos);
    CHECK(text.find("peer=\"signalled\"") == std::string::npos);
    CHECK(count_lines(text) == rows.series());
    CHECK(rows.series() + rows.series_dropped() == PathMtuRows(snapshot).series());
    rows.limit(1'000'000, 0);
    CHECK(render(rows).empty());
}

TEST_CASE("a family of path MTUs goes on in the next block where the last one was full") {
    const auto snapshot = one_of_each();
    const PathMtuRows rows(snapshot);
    for (const auto& family : PathMtuRows::families()) {
        TextBlock whole(std::size_t{1} << 20U);
        RowCursor whole_cursor{whole};
        REQUIRE((rows.*family.write)(family, whole_cursor));
        TextBlock block(1);
        RowCursor cursor{block};
        std::string text;
        while (!(rows.*family.write)(family, cursor)) {
            REQUIRE_FALSE(block.empty());
            text += block.view();
            block.clear();
        }
        text += block.view();
        CHECK(text == whole.view());
    }
}
