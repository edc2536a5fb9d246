#include "probes/path_mtu_ladder.hpp"

#include <algorithm>
#include <functional>
#include <vector>

#include <catch2/catch.hpp>

#include "common/random.hpp"

namespace reachd {
namespace {

struct Search {
    std::uint32_t result = 0;
    std::size_t volleys = 0;
    std::size_t packets = 0;
    std::uint64_t bytes = 0;
};

/// Sends each volley over a path that passes what `passes` says.
Search search(PathMtuLadder ladder, const std::function<bool(std::uint32_t)>& passes) {
    Search done;
    while (!ladder.is_done()) {
        REQUIRE(++done.volleys < 10'000);
        for (const std::uint32_t bytes : ladder.next_volley()) {
            ++done.packets;
            done.bytes += bytes;
            if (passes(bytes)) {
                ladder.on_passed(bytes);
            }
        }
        ladder.on_volley_over();
    }
    CHECK(ladder.next_volley().empty());
    done.result = ladder.result();
    return done;
}

std::function<bool(std::uint32_t)> up_to(std::uint32_t mtu) {
    return [mtu](std::uint32_t bytes) { return bytes <= mtu; };
}

TEST_CASE("a search finds the largest size that passes, to the byte", "[path_mtu_ladder]") {
    for (const std::uint32_t mtu :
         {68U, 69U, 576U, 1280U, 1499U, 1500U, 1504U, 1600U, 8998U, 8999U}) {
        const Search done = search(PathMtuLadder(68, 9000), up_to(mtu));
        CHECK(done.result == mtu);
        CHECK(done.volleys <= 14);
        CHECK(done.packets <= 200);
    }
}

TEST_CASE("a search ends for every number of rungs and every gap", "[path_mtu_ladder]") {
    for (const std::size_t rungs : {0U, 1U, 2U, 3U, 16U, 100U}) {
        for (std::uint32_t high = 0; high < 40; ++high) {
            for (std::uint32_t mtu = 10; mtu < std::max(high, 11U); ++mtu) {
                CHECK(search(PathMtuLadder(10, high, {20, 3, 500}, rungs), up_to(mtu)).result ==
                      mtu);
            }
        }
    }
}

TEST_CASE("nothing to search is no search", "[path_mtu_ladder]") {
    CHECK(PathMtuLadder(1500, 1501).is_done());
    CHECK(PathMtuLadder(1500, 1500).is_done());
    CHECK(PathMtuLadder(1500, 68).is_done());
    CHECK(PathMtuLadder(1500, 1501).result() == 1500);
}

TEST_CASE("a true guess makes the search short", "[path_mtu_ladder]") {
    const Search guessed = search(PathMtuLadder(68, 9000, {1504, 1500}), up_to(1504));
    CHECK(guessed.result == 1504);
    CHECK(guessed.volleys == 2);  // guess, confirmation
    const Search blind = search(PathMtuLadder(68, 9000), up_to(1504));
    CHECK(blind.volleys > 2 * guessed.volleys);
}

TEST_CASE("a false guess does no harm", "[path_mtu_ladder]") {
    CHECK(search(PathMtuLadder(68, 9000, {1500, 9000, 0, 68, 70'000}), up_to(4321)).result == 4321);
}

TEST_CASE("random loss does not falsify a search", "[path_mtu_ladder]") {
    Random random(7);
    for (int run = 0; run < 3000; ++run) {
        const auto mtu = 68 + random.below(8932);
        const Search done = search(PathMtuLadder(68, 9000, {1500}), [&](std::uint32_t bytes) {
            return bytes <= mtu && random.below(100) >= 19;  // 10 % lost each way
        });
        CHECK(done.result == mtu);
    }
}

TEST_CASE("what passes after it seemed not to opens the search again", "[path_mtu_ladder]") {
    // The whole first round is lost, but for one: all sizes below 5000 seem to fail.
    int packets = 0;
    const Search done = search(PathMtuLadder(68, 9000), [&](std::uint32_t bytes) {
        return ++packets > 48 && bytes <= 7000;
    });
    CHECK(done.result == 7000);
}

TEST_CASE("a late answer above the expected size ends the search there", "[path_mtu_ladder]") {
    PathMtuLadder ladder(68, 9000);
    static_cast<void>(ladder.next_volley());
    ladder.on_passed(9000);
    ladder.on_volley_over();
    CHECK(ladder.is_done());
    CHECK(ladder.result() == 9000);
}

TEST_CASE("a refusal narrows at once, and an answer has the last word", "[path_mtu_ladder]") {
    PathMtuLadder ladder(68, 9000, {1400});
    const auto first = ladder.next_volley();
    CHECK(first.front() > 68);
    CHECK(first.back() < 9000);
    ladder.on_refused(1401);
    ladder.on_passed(1400);
    ladder.on_volley_over();
    const auto confirming = ladder.next_volley();
    CHECK(confirming == std::vector<std::uint32_t>(PathMtuLadder::confirmations, 1401));
    ladder.on_passed(1401);  // it was a lie
    ladder.on_volley_over();
    CHECK_FALSE(ladder.is_done());
    CHECK(search(ladder, up_to(3000)).result == 3000);

    PathMtuLadder below(1000, 9000);
    below.on_refused(3);
    CHECK(search(below, up_to(1000)).result == 1000);
}

TEST_CASE("a volley is ascending and bounded", "[path_mtu_ladder]") {
    PathMtuLadder ladder(68, 65'535, {1500, 1400, 9000, 1492, 1480, 1450, 576, 1280, 4000});
    const auto volley = ladder.next_volley();
    CHECK(std::is_sorted(volley.begin(), volley.end()));
    CHECK(volley.size() <= PathMtuLadder::copies * PathMtuLadder::rungs_default);
    CHECK(std::count(volley.begin(), volley.end(), 1500U) == PathMtuLadder::copies);
    CHECK(std::count(volley.begin(), volley.end(), 1501U) == PathMtuLadder::copies);
}

}  // namespace
}  // namespace reachd
