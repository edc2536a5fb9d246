#include "agent/fdb_table.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include <catch2/catch.hpp>

#include "common/random.hpp"

using namespace reachd;

namespace {

IfIndex device(int index) {
    return static_cast<IfIndex>(index);
}

MacAddress mac(int number) {
    return MacAddress(
        {2, 0, 0, 0, static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)});
}

FdbChanged entry(int bridge, int port, int number, std::uint16_t vlan = 0) {
    return {device(bridge), device(port), mac(number), vlan, false};
}

FdbRemoved gone(int bridge, int number, std::uint16_t vlan = 0) {
    return {device(bridge), IfIndex::any, mac(number), vlan};
}

}  // namespace

TEST_CASE("entries of a bridge are ordered by VLAN and address", "[fdb]") {
    FdbTable table(10);
    CHECK(table.change(entry(1, 2, 7, 5), Teller::event).added);
    CHECK(table.change(entry(1, 3, 9), Teller::event).added);
    CHECK(table.change(entry(1, 2, 8), Teller::event).added);
    CHECK(table.change(entry(4, 5, 1), Teller::event).added);
    CHECK_FALSE(table.change(entry(4, 5, 1), Teller::event).added);
    const auto all = table.of(device(1));
    REQUIRE(all.size() == 3);
    CHECK(all[0].mac == mac(8));
    CHECK(all[1].mac == mac(9));
    CHECK(all[2].mac == mac(7));
    CHECK(all[2].vlan == 5);
    CHECK(table.of(device(2)).empty());
}

TEST_CASE("a move is told with the port before, once", "[fdb]") {
    FdbTable table(10);
    table.change(entry(1, 2, 7), Teller::event);
    const auto moved = table.change(entry(1, 3, 7), Teller::event);
    CHECK_FALSE(moved.added);
    CHECK(moved.port_before == device(2));
    CHECK_FALSE(table.change(entry(1, 3, 7), Teller::event).port_before.has_value());
    CHECK(table.change(entry(9, 3, 7), Teller::event).added);  // another bridge, another entry
    CHECK(table.remove_device(device(2)) == false);            // nothing is behind it any more
    CHECK(table.remove_device(device(3)));
    CHECK(table.size() == 0);
}

TEST_CASE("where a bridge knows an address, by its VLAN", "[fdb]") {
    FdbTable table(10);
    table.change(entry(1, 2, 7), Teller::event);
    CHECK(table.port_of(device(1), 0, mac(7)) == device(2));
    CHECK(table.port_of(device(1), 0, mac(8)) == IfIndex::any);
    CHECK(table.port_of(device(1), 1, mac(7)) == IfIndex::any);
    CHECK(table.port_of(device(9), 0, mac(7)) == IfIndex::any);
}

TEST_CASE("a removal counts whatever port it names", "[fdb]") {
    FdbTable table(10);
    table.change(entry(1, 2, 7), Teller::event);
    CHECK(table.remove(gone(1, 7)));
    CHECK_FALSE(table.remove(gone(1, 7)));
}

TEST_CASE("random stories: the chains by port follow the table", "[fdb]") {
    Random random(7);
    for (int story = 0; story < 50; ++story) {
        FdbTable table(100);
        std::map<std::pair<int, int>, int> model;  // bridge and address to port
        for (int i = 0; i < 500; ++i) {
            const int bridge = 1 + static_cast<int>(random.below(2));
            const int port = 10 + static_cast<int>(random.below(4));
            const int number = static_cast<int>(random.below(20));
            switch (random.below(8)) {
                case 0: {
                    const auto erased = std::erase_if(
                        model, [port](const auto& each) { return each.second == port; });
                    CHECK(table.remove_device(device(port)) == (erased != 0));
                    break;
                }
                case 1:
                    std::erase_if(
                        model, [bridge](const auto& each) { return each.first.first == bridge; });
                    table.remove_device(device(bridge));
                    break;
                case 2:
                    CHECK(table.remove(gone(bridge, number)) ==
                          (model.erase({bridge, number}) != 0));
                    break;
                default:
                    table.change(entry(bridge, port, number), Teller::event);
                    model[{bridge, number}] = port;
            }
            REQUIRE(table.size() == model.size());
        }
        for (const auto& known : model) {
            const auto all = table.of(device(known.first.first));
            const auto same = [&known](const FdbChanged& each) {
                return each.mac == mac(known.first.second) && each.port == device(known.second);
            };
            CHECK(std::count_if(all.begin(), all.end(), same) == 1);
        }
    }
}

TEST_CASE("a dump sweeps entries away, if it cannot have skipped them", "[fdb]") {
    FdbTable table(10);
    table.change(entry(1, 2, 7), Teller::event);
    table.change(entry(1, 2, 8), Teller::event);
    table.begin_sweep();
    CHECK(table.remember_removal(gone(1, 9)));
    auto end = table.finish_sweep();
    CHECK(end.incomplete);
    CHECK_FALSE(end.changed);
    table.begin_sweep();
    table.change(entry(1, 2, 7), Teller::dump);
    end = table.finish_sweep();
    CHECK_FALSE(end.incomplete);
    CHECK(end.changed);
    CHECK(table.size() == 1);
}

namespace {

/// "2 added 00:07 in 5": port, what, end of the address, VLAN.
std::vector<std::string> texts(const FdbNewsBatch& batch) {
    std::vector<std::string> all;
    for (const FdbNews& news : batch.news) {
        all.push_back(std::to_string(static_cast<int>(news.port)) +
                      (news.added ? " added " : " removed ") + news.mac.to_string().substr(12) +
                      " in " + std::to_string(news.vlan));
    }
    return all;
}

FdbChanged by_hand(FdbChanged entry) {
    entry.fixed = true;
    return entry;
}

}  // namespace

TEST_CASE("news tell what was learnt and forgotten, and in which VLAN", "[fdb]") {
    using Texts = std::vector<std::string>;
    FdbTable table(10);
    table.change(entry(1, 2, 7, 5), Teller::event);
    table.change(entry(1, 2, 7, 6), Teller::event);
    table.remove(gone(1, 7, 5));
    CHECK(texts(table.take_news()) ==
          Texts{"2 added 00:07 in 5", "2 added 00:07 in 6", "2 removed 00:07 in 5"});
    table.change(entry(1, 3, 7, 6), Teller::event);
    CHECK(texts(table.take_news()) == Texts{"2 removed 00:07 in 6", "3 added 00:07 in 6"});
    table.change(entry(1, 3, 7, 6), Teller::event);
    CHECK(table.take_news().news.empty());

    SECTION("set by hand, it tells of nobody any more") {
        const auto changed = table.change(by_hand(entry(1, 3, 7, 6)), Teller::event);
        CHECK_FALSE(changed.added);
        CHECK_FALSE(changed.port_before.has_value());
        CHECK(texts(table.take_news()) == Texts{"3 removed 00:07 in 6"});
        table.change(entry(1, 3, 7, 6), Teller::event);
        CHECK(texts(table.take_news()) == Texts{"3 added 00:07 in 6"});
    }
    SECTION("moved by hand, it is behind the old port no more") {
        CHECK(table.change(by_hand(entry(1, 2, 7, 6)), Teller::event).port_before == device(3));
        CHECK(texts(table.take_news()) == Texts{"3 removed 00:07 in 6"});
        CHECK(table.learnt_behind(device(2)).empty());
    }
}

TEST_CASE("news beyond the most are dropped, and that is told once", "[fdb]") {
    FdbTable table(10);
    for (std::size_t i = 0; i <= FdbTable::news_max / 2; ++i) {
        table.change(entry(1, 2, 7), Teller::event);
        table.remove(gone(1, 7));
    }
    const auto batch = table.take_news();
    CHECK(batch.news.size() == FdbTable::news_max);
    CHECK(batch.dropped);
    CHECK_FALSE(table.take_news().dropped);
}

TEST_CASE("what was learnt behind one port", "[fdb]") {
    FdbTable table(10);
    table.change(entry(1, 2, 7, 5), Teller::event);
    table.change(entry(1, 2, 8), Teller::event);
    table.change(entry(1, 3, 9), Teller::event);
    table.change(by_hand(entry(1, 2, 10)), Teller::event);
    auto learnt = table.learnt_behind(device(2));
    std::sort(learnt.begin(), learnt.end());
    CHECK(learnt == std::vector<LearntMac>{{mac(7), 5}, {mac(8), 0}});
    CHECK(table.learnt_behind(device(4)).empty());
}
