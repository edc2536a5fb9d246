#include "exporters/peer_rows.hpp"

#include <algorithm>
#include <string>

#include <catch2/catch.hpp>

#include "tests/exporters/sample_snapshot.hpp"

using namespace reachd;

// Values and texts are compared with the reference by prometheus_text_test.

namespace {

std::string render(const PeerRows& rows) {
    TextBlock block(std::size_t{1} << 20U);
    for (const auto& family : PeerRows::families()) {
        RowCursor cursor{block};
        REQUIRE((rows.*family.write)(family, cursor));
    }
    return std::string(block.view());
}

}  // namespace

TEST_CASE("lines of peers are counted as written, whatever the limit") {
    auto snapshot = test::sample_snapshot();
    Random random(3);
    test::add_peer(snapshot, "a", "10.0.0.1", random);
    const auto all = PeerRows(snapshot).series();
    for (std::uint64_t budget = 0; budget <= all + 1; ++budget) {
        PeerRows rows(snapshot);
        rows.limit(budget);
        const auto text = render(rows);
        CAPTURE(budget);
        CHECK(rows.series() <= budget);
        CHECK(rows.series() + rows.series_dropped() == all);
        CHECK(static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n')) ==
              rows.series());
    }
}

TEST_CASE("a family goes on in the next block where the last one was full") {
    const auto snapshot = test::sample_snapshot();
    const PeerRows rows(snapshot);
    for (const auto& family : PeerRows::families()) {
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
