#include "agent/swept_table.hpp"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace reachd;

namespace {

struct Entry {
    std::string text;
};

using Table = SweptTable<int, Entry>;

void tell(Table& table, int key, Teller teller) {
    if (!table.is_stale(key, teller)) {
        table.mention(key, teller);
    }
}

void remove(Table& table, int key) {
    CHECK(table.remember_removal(key));
    table.erase(key);
}

using Keys = std::vector<int>;

}  // namespace

TEST_CASE("what neither dump nor event mentioned is swept away", "[swept]") {
    Table table(10);
    for (int key = 1; key <= 4; ++key) {
        tell(table, key, Teller::event);
    }
    table.begin_sweep();
    tell(table, 2, Teller::dump);
    tell(table, 3, Teller::event);
    tell(table, 4, Teller::half_event);
    tell(table, 5, Teller::dump);
    CHECK(table.finish_sweep(true).gone == Keys{1});
    CHECK_FALSE(table.sweeping());
}

TEST_CASE("a sweep that was given up sweeps nothing", "[swept]") {
    Table table(10);
    tell(table, 1, Teller::event);
    table.begin_sweep();
    table.abandon_sweep();
    CHECK(table.finish_sweep(true).gone.empty());
}

TEST_CASE("an event is believed over the dump, within one sweep", "[swept]") {
    Table table(10);
    tell(table, 1, Teller::event);
    CHECK_FALSE(table.is_stale(1, Teller::dump));  // no sweep: an answer to nobody's question
    table.begin_sweep();
    CHECK_FALSE(table.is_stale(1, Teller::dump));  // it was told before the dump began
    tell(table, 1, Teller::event);
    CHECK(table.is_stale(1, Teller::dump));
    CHECK_FALSE(table.is_stale(1, Teller::event));
    tell(table, 2, Teller::half_event);
    CHECK_FALSE(table.is_stale(2, Teller::dump));
    CHECK(table.told_by(2, Teller::half_event));
    tell(table, 2, Teller::dump);
    CHECK(table.told_by(2, Teller::half_event));
    table.begin_sweep();
    CHECK_FALSE(table.is_stale(1, Teller::dump));
    CHECK_FALSE(table.told_by(2, Teller::half_event));
}

TEST_CASE("the dump does not bring back what an event removed", "[swept]") {
    Table table(10);
    table.begin_sweep();
    remove(table, 1);
    tell(table, 1, Teller::dump);
    CHECK(table.size() == 0);
    tell(table, 1, Teller::event);  // it came back
    CHECK(table.size() == 1);
    CHECK(table.finish_sweep(true).gone.empty());
    table.begin_sweep();
    tell(table, 1, Teller::dump);
    CHECK(table.size() == 1);
}

TEST_CASE("a dump that may have skipped entries is not believed about what is gone", "[swept]") {
    Table table(10);
    for (int key = 1; key <= 3; ++key) {
        tell(table, key, Teller::event);
    }
    table.begin_sweep();
    remove(table, 1);
    auto end = table.finish_sweep(false);
    CHECK(end.incomplete);
    CHECK(end.gone.empty());
    table.begin_sweep();
    remove(table, 9);  // known or not, the kernel had it
    tell(table, 2, Teller::dump);
    end = table.finish_sweep(false);
    CHECK(end.incomplete);
    CHECK(end.gone == Keys{3});  // missed twice
    table.erase(3);
    table.begin_sweep();
    CHECK(table.remember_absence(7));  // nothing was removed
    end = table.finish_sweep(false);
    CHECK_FALSE(end.incomplete);
    CHECK(end.gone == Keys{2});
}

TEST_CASE("what was refused is asked for again once there is room", "[swept]") {
    Table table(2);
    tell(table, 1, Teller::event);
    tell(table, 2, Teller::event);
    table.begin_sweep();
    tell(table, 2, Teller::dump);
    tell(table, 3, Teller::dump);
    auto end = table.finish_sweep(true);
    CHECK(end.gone == Keys{1});
    CHECK(end.incomplete);
    table.erase(1);
    table.begin_sweep();
    for (const int key : {2, 3, 4}) {
        tell(table, key, Teller::dump);
    }
    end = table.finish_sweep(true);
    CHECK_FALSE(end.incomplete);  // still too many, but a repeat would not help
    CHECK(table.find(3) != nullptr);
}

TEST_CASE("the number of entries and of remembered removals is limited", "[swept]") {
    Table table(2);
    CHECK(table.mention(1, Teller::event).added);
    CHECK_FALSE(table.mention(1, Teller::event).added);
    CHECK(table.mention(2, Teller::event).node != nullptr);
    CHECK(table.mention(3, Teller::event).node == nullptr);
    CHECK(table.refused() == 1);
    CHECK(table.remember_removal(1));  // no sweep: nothing to remember
    CHECK(table.remember_removal(2));
    CHECK(table.remember_removal(3));
    table.begin_sweep();
    CHECK(table.remember_removal(1));
    CHECK(table.remember_removal(2));
    CHECK(table.remember_removal(2));
    CHECK_FALSE(table.remember_removal(3));
}
