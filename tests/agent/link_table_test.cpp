#include "agent/link_table.hpp"

#include <catch2/catch.hpp>

#include "common/random.hpp"

using namespace reachd;

namespace {

constexpr LinkTable::Limits limits{.links = 8, .vlan_ranges = 6, .virtual_functions = 4};

IfIndex device(int index) {
    return static_cast<IfIndex>(index);
}

bool put(LinkTable& table, int index, const std::string& name, bool filters = false) {
    table.mention(device(index), Teller::event);
    Link link;
    link.index = device(index);
    link.name = name;
    link.kind = LinkKind::bridge;
    link.bridge.vlan_filtering = filters;
    return table.put(std::move(link));
}

const std::vector<VlanRange> two_ranges{VlanRange{1, 1}, VlanRange{5, 7}};

}  // namespace

TEST_CASE("names lead to links, and putting a link tells if that changed", "[links]") {
    LinkTable table(limits);
    CHECK(put(table, 1, "a"));
    CHECK_FALSE(put(table, 1, "a"));
    CHECK(put(table, 1, "b"));
    CHECK_FALSE(table.index_of("a").has_value());
    CHECK(put(table, 2, "b"));  // claims the name
    CHECK(table.index_of("b") == device(2));
    CHECK(put(table, 1, "b"));  // and loses it again
    CHECK(table.index_of("b") == device(1));
    table.erase(device(1));
    CHECK_FALSE(table.index_of("b").has_value());
    CHECK(table.mend_names());
    CHECK(table.index_of("b") == device(2));
    CHECK_FALSE(table.mend_names());
}

TEST_CASE("a link counts how often it was switched, until it is gone", "[links]") {
    LinkTable table(limits);
    CHECK(table.admin_changes_of(device(1)) == 0);
    const auto put_switched = [&table](bool on) {
        table.mention(device(1), Teller::event);
        Link link;
        link.index = device(1);
        link.admin_up = on;
        table.put(std::move(link));
    };
    for (const bool on : {true, true, false, false, true}) {
        put_switched(on);
    }
    CHECK(table.admin_changes_of(device(1)) == 2);
    table.erase(device(1));
    put_switched(true);
    CHECK(table.admin_changes_of(device(1)) == 0);
}

TEST_CASE("counters add up over restarts of the driver", "[links]") {
    Random random(3);
    LinkTable table(limits);
    put(table, 1, "a");
    CHECK_FALSE(table.counters_of(device(1)).has_value());
    LinkCounters driver;
    std::uint64_t expected = 0;
    std::uint64_t last = 0;
    for (int i = 0; i < 1000; ++i) {
        if (random.below(10) == 0) {
            driver.receive_errors = 0;
        }
        driver.receive_errors += random.below(100);
        expected +=
            driver.receive_errors < last ? driver.receive_errors : driver.receive_errors - last;
        last = driver.receive_errors;
        table.count(device(1), driver, CounterSource::statistics);
        LinkCounters event = driver;
        event.receive_errors += random.below(3);  // newer than a part of a dump to come
        table.count(device(1), event, CounterSource::event);
        REQUIRE(table.counters_of(device(1))->receive_errors == expected);
    }
    CHECK(table.counters_of(device(1))->transmit_errors == 0);
    table.erase(device(1));
    put(table, 1, "a");
    CHECK_FALSE(table.counters_of(device(1)).has_value());
}

TEST_CASE("VLANs need a bridge that filters, and have a limit", "[links]") {
    LinkTable table(limits);
    put(table, 1, "a");
    CHECK_FALSE(table.put_vlans(device(1), two_ranges, Teller::event));
    put(table, 2, "b", true);
    CHECK(table.filters_vlans());
    CHECK(table.put_vlans(device(1), two_ranges, Teller::event));
    CHECK_FALSE(table.put_vlans(device(1), two_ranges, Teller::event));
    CHECK(table.put_vlans(device(2), two_ranges, Teller::event));
    put(table, 3, "c");
    put(table, 4, "d");
    CHECK(table.put_vlans(device(3), two_ranges, Teller::event));
    CHECK_FALSE(table.put_vlans(device(4), two_ranges, Teller::event));
    CHECK(table.vlans_refused() == 1);
    CHECK(table.all_vlans().size() == 3);
    table.erase(device(1));
    CHECK(table.put_vlans(device(4), two_ranges, Teller::event));
    put(table, 5, "e", true);
    put(table, 2, "b", false);
    CHECK(table.all_vlans().size() == 3);  // the other still filters
    table.erase(device(5));
    CHECK_FALSE(table.filters_vlans());
    CHECK(table.all_vlans().empty());
}

TEST_CASE("virtual functions are limited, over all devices", "[links]") {
    LinkTable table(limits);
    const std::vector<VirtualFunction> three(3);
    CHECK(table.put_virtual_functions(device(1), three));
    CHECK_FALSE(table.put_virtual_functions(device(1), three));
    CHECK_FALSE(table.put_virtual_functions(device(2), three));
    CHECK(table.virtual_functions_refused() == 1);
    CHECK(table.put_virtual_functions(device(1), {}));
    CHECK_FALSE(table.has_virtual_functions());
    CHECK(table.put_virtual_functions(device(2), three));
    CHECK(table.all_virtual_functions().at(0).physical_function == device(2));
}
