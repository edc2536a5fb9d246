#include "agent/topology_change.hpp"

#include <set>

#include <catch2/catch.hpp>

using namespace reachd;

namespace {

std::string words(std::vector<LinkFact> facts) {
    TopologyChange change;
    change.facts = std::move(facts);
    return describe(change);
}

}  // namespace

TEST_CASE("each fact in words", "[change]") {
    using enum LinkAspect;
    CHECK(words({{appeared, "", "veth"}}) == "appeared (veth)");
    CHECK(words({{removed, "veth", ""}}) == "removed");
    CHECK(words({{moved_away, "veth", ""}}) == "moved into another namespace");
    CHECK(words({{name, "veth7", "vnet7"}}) == "renamed from veth7");
    CHECK(words({{master, "", "bond0"}}) == "joined bond0");
    CHECK(words({{master, "bond0", ""}}) == "left bond0");
    CHECK(words({{master, "br0", "br1"}}) == "moved from br0 to br1");
    CHECK(words({{admin, "up", "down"}}) == "switched off");
    CHECK(words({{admin, "down", "up"}}) == "switched on");
    CHECK(words({{carrier, "on", "off"}}) == "lost carrier");
    CHECK(words({{carrier, "off", "on"}}) == "gained carrier");
    CHECK(words({{oper_state, "up", "dormant"}}) == "operational state up -> dormant");
    CHECK(words({{port_state, "forwarding", "blocking"}}) == "port state forwarding -> blocking");
    CHECK(words({{port_isolated, "off", "on"}}) == "port isolated");
    CHECK(words({{mtu, "9000", "1500"}}) == "mtu 9000 -> 1500");
    CHECK(words({{mac, "", "02:00:00:00:00:01"}}) == "mac none -> 02:00:00:00:00:01");
    CHECK(words({{address_added, "", "10.0.0.1/24"}}) == "address 10.0.0.1/24 added");
    CHECK(words({{address_removed, "10.0.0.1/24", ""}}) == "address 10.0.0.1/24 removed");
    CHECK(words({{gateway_added, "", "10.0.0.1"}}) == "default gateway 10.0.0.1 added");
    CHECK(words({{gateway_removed, "10.0.0.1", ""}}) == "default gateway 10.0.0.1 removed");
    CHECK(words({{mac_moved, "m vlan 5 port a", "m vlan 5 port b"}}) ==
          "m vlan 5 moved from a to b");
    CHECK(words({{neighbour_mac, "10.0.0.5 a", "10.0.0.5 b"}}) == "neighbour 10.0.0.5 a -> b");
    CHECK(words({}).empty());
}

TEST_CASE("several facts read as one sentence, without what is understood", "[change]") {
    using enum LinkAspect;
    CHECK(words({{appeared, "", "tap"}, {master, "", "br0"}, {port_state, "", "forwarding"}}) ==
          "appeared (tap), joined bridge br0");
    CHECK(words({{master, "br0", ""}, {port_state, "forwarding", ""}, {vlans, "1 pvid", ""}}) ==
          "left bridge br0");
    CHECK(words({{carrier, "on", "off"}, {oper_state, "up", "down"}, {mtu, "9000", "1500"}}) ==
          "lost carrier, mtu 9000 -> 1500");
    TopologyChange change;
    change.facts = {{mtu, "1", "2"}};
    change.facts_refused = 3;
    CHECK(describe(change) == "mtu 1 -> 2, 3 more");
}

TEST_CASE("each aspect has a name of its own", "[change]") {
    std::set<std::string_view> names;
    for (std::size_t i = 0; i < link_aspect_count; ++i) {
        names.insert(to_text(static_cast<LinkAspect>(i)));
        CHECK_FALSE(words({{static_cast<LinkAspect>(i), "a b", "c d"}}).empty());
    }
    CHECK(names.size() == link_aspect_count);
}
