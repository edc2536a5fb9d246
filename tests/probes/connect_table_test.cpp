#include "probes/connect_table.hpp"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "common/random.hpp"

namespace reachd {
namespace {

PendingConnect pending(int descriptor, std::uint32_t session, std::uint32_t sequence = 0) {
    PendingConnect made;
    made.descriptor = descriptor;
    made.token = {session, sequence};
    return made;
}

TEST_CASE("connect table: found by handle and by token until removed") {
    ConnectTable table(4);
    CHECK_FALSE(table.find(ProbeToken{1, 2}));
    const auto handle = table.add(pending(7, 1, 2));
    REQUIRE(table.find(handle) != nullptr);
    CHECK(table.find(handle)->descriptor == 7);
    CHECK(table.find(ProbeToken{1, 2}) == handle);
    CHECK_FALSE(table.find(ProbeToken{2, 1}));
    table.remove(handle);
    CHECK(table.find(handle) == nullptr);
    CHECK_FALSE(table.find(ProbeToken{1, 2}));
    CHECK(table.size() == 0);
}

TEST_CASE("connect table: the handle of a former use finds and removes nothing") {
    ConnectTable table(1);
    const auto old = table.add(pending(7, 1));
    table.remove(old);
    const auto fresh = table.add(pending(8, 2));
    CHECK(table.find(old) == nullptr);
    table.remove(old);
    REQUIRE(table.find(fresh) != nullptr);
    CHECK(table.size() == 1);
    CHECK(table.find(ConnectTable::Handle{0xffffffffffffffffU}) == nullptr);
}

TEST_CASE("connect table: full at its capacity, and a place is free again at once") {
    ConnectTable table(3);
    std::vector<ConnectTable::Handle> handles;
    for (int i = 0; i < 3; ++i) {
        CHECK_FALSE(table.full());
        handles.push_back(table.add(pending(i, static_cast<std::uint32_t>(i))));
    }
    CHECK(table.full());
    table.remove(handles[1]);
    CHECK_FALSE(table.full());
    table.add(pending(9, 9));
    CHECK(table.full());
    CHECK(ConnectTable(0).full());
}

TEST_CASE("connect table: of two with one token the latest is found first") {
    ConnectTable table(2);
    const auto first = table.add(pending(1, 5, 5));
    const auto second = table.add(pending(2, 5, 5));
    CHECK(table.find(ProbeToken{5, 5}) == second);
    table.remove(second);
    CHECK(table.find(ProbeToken{5, 5}) == first);
}

TEST_CASE("connect table: take_all gives each once and leaves nothing") {
    ConnectTable table(100);
    for (int i = 0; i < 50; ++i) {
        table.add(pending(i, 3, static_cast<std::uint32_t>(i)));
    }
    table.remove(*table.find(ProbeToken{3, 10}));
    std::vector<int> descriptors;
    for (const PendingConnect& connect : table.take_all()) {
        descriptors.push_back(connect.descriptor);
    }
    std::sort(descriptors.begin(), descriptors.end());
    CHECK(descriptors.size() == 49);
    CHECK(std::adjacent_find(descriptors.begin(), descriptors.end()) == descriptors.end());
    CHECK_FALSE(std::binary_search(descriptors.begin(), descriptors.end(), 10));
    CHECK(table.size() == 0);
    CHECK(table.take_all().empty());
    CHECK_FALSE(table.find(ProbeToken{3, 11}));
}

TEST_CASE("connect table: agrees with a map over many adds and removals") {
    ConnectTable table(64);
    std::map<std::pair<std::uint32_t, std::uint32_t>, int> model;
    Random random(4711);
    for (int step = 0; step < 20000; ++step) {
        const auto session = static_cast<std::uint32_t>(random.below(40));
        const auto sequence = static_cast<std::uint32_t>(random.below(3));
        const auto handle = table.find(ProbeToken{session, sequence});
        const auto known = model.find({session, sequence});
        REQUIRE(handle.has_value() == (known != model.end()));
        if (handle) {
            REQUIRE(table.find(*handle)->descriptor == known->second);
            table.remove(*handle);
            model.erase(known);
        } else if (!table.full()) {
            table.add(pending(step, session, sequence));
            model[{session, sequence}] = step;
        }
        REQUIRE(table.size() == model.size());
    }
}

}  // namespace
}  // namespace reachd
