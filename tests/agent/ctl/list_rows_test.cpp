// The order of rows, what is left out of them, and the lines below a list.
#include "agent/ctl/list_rows.hpp"

#include <catch2/catch.hpp>

namespace reachd::ctl {
namespace {

using namespace std::chrono_literals;

constexpr WallTime now{1000h};

ListRow row(std::string_view name, std::string_view state, std::optional<WallTime> since = {}) {
    ListRow made{name, {}, state, {}, since};
    made.health = health_of(made);
    return made;
}

std::vector<std::string> names(std::vector<ListRow> rows) {
    std::stable_sort(rows.begin(), rows.end(), stands_before);
    std::vector<std::string> found;
    for (const ListRow& each : rows) {
        found.emplace_back(each.name);
    }
    return found;
}

TEST_CASE("list rows: up with something to tell is noted, and only that") {
    ListRow one{"a", {}, "up", "tcp/22 refused"};
    CHECK(health_of(one) == Health::noted);
    one.cause.clear();
    CHECK(health_of(one) == Health::well);
    one = {"a", {}, "down", "timeout"};
    CHECK(health_of(one) == Health::down);
    one = {"a", {}, "levitating", ""};
    CHECK(health_of(one) == Health::unknown);
}

TEST_CASE("list rows: ill first, the longest so before the others, unknown last") {
    CHECK(names({row("well", "up"),
                 row("new", "unknown"),
                 row("doubted", "suspect"),
                 row("lately", "down", now - 1min),
                 row("whenever", "down"),
                 row("long", "down", now - 1h)}) ==
          std::vector<std::string>{"long", "lately", "whenever", "doubted", "well", "new"});
}

TEST_CASE("list rows: names in the order of their numbers, whatever the age of the well") {
    CHECK(names({row("vm10", "up", now - 1h), row("vm2", "up", now - 1min)}) ==
          std::vector<std::string>{"vm2", "vm10"});
}

TEST_CASE("list rows: equal names by the second one, without that as they came") {
    std::vector<ListRow> rows{row("a", "up"), row("a", "up")};
    CHECK_FALSE(stands_before(rows[0], rows[1]));
    CHECK_FALSE(stands_before(rows[1], rows[0]));
    rows[0].second_name = "10.0.0.2";
    rows[1].second_name = "10.0.0.1";
    CHECK(stands_before(rows[1], rows[0]));
    CHECK_FALSE(stands_before(rows[0], rows[1]));
}

TEST_CASE("list rows: cells are empty or plain where nothing is known") {
    CHECK(since_cell(row("a", "up", now - 2min), now).text == "2m00s");
    CHECK(since_cell(row("a", "up"), now).text.empty());
    CHECK(since_cell(row("a", "up", now), std::nullopt).text.empty());
    CHECK(state_cell(row("a", "levitating")).ink == Ink::plain);
    ListRow noted{"a", {}, "up", "tcp/22 refused"};
    noted.health = health_of(noted);
    CHECK(cause_cell(noted).ink == Ink::warning);
    CHECK(cause_cell(row("a", "down")).ink == ink_of("down"));
}

TEST_CASE("list rows: well ones fill a short list up, and two of them stay in a long one") {
    const auto kept = [](int ill, int well) {
        std::vector<ListRow> rows(static_cast<std::size_t>(ill), row("ill", "down"));
        rows.insert(rows.end(), static_cast<std::size_t>(well), row("well", "up"));
        rows.push_back(row("new", "unknown"));
        leave_out_well(rows);
        CHECK(rows.back().name == "new");
        return std::count_if(
            rows.begin(), rows.end(), [](const ListRow& each) { return each.name == "well"; });
    };
    CHECK(kept(0, 30) == 4);
    CHECK(kept(1, 30) == 3);
    CHECK(kept(50, 30) == 2);
    CHECK(kept(50, 1) == 1);
    CHECK(kept(0, 0) == 0);
}

TEST_CASE("list rows: the totals tell each state that occurs, and one of a thing is one") {
    CHECK(total_text("peer", {"up", "down", "up", "suspect", "degraded", "unknown"}) ==
          "6 peers: 2 up, 1 degraded, 1 suspect, 1 down, 1 unknown yet.\n");
    CHECK(total_text("guest", {""}) == "1 guest: 1 without an address yet.\n");
}

}  // namespace
}  // namespace reachd::ctl
