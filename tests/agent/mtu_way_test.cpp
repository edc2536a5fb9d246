#include "agent/mtu_way.hpp"

#include <catch2/catch.hpp>

#include "tests/agent/netlink_builder.hpp"

namespace reachd {
namespace {

using test::LinkFacts;

constexpr IfIndex eno1{2};
constexpr IfIndex upper{3};
constexpr IfIndex tap{4};

void feed(Topology& topology, const std::vector<LinkFacts>& links) {
    for (const LinkFacts& link : links) {
        const auto datagram = test::new_link(link);
        NetlinkReader reader{ByteView(datagram)};
        while (const auto* message = reader.next()) {
            topology.apply(*message);
        }
    }
}

WayMtu mtu_with(const std::vector<LinkFacts>& links, const MtuWay& way) {
    Topology topology;
    feed(topology, links);
    return mtu_of(way, topology);
}

TEST_CASE("what a NIC allows is expected", "[mtu_way]") {
    CHECK(mtu_with({{.index = 2, .name = "eno1", .mtu = 9000}}, {eno1}) ==
          WayMtu{9000, 9000, eno1});
    CHECK(mtu_with({}, {eno1}) == WayMtu{});
    CHECK(mtu_with({}, {}) == WayMtu{});
}

TEST_CASE("more than jumbo frames is never expected, and nothing of loopback", "[mtu_way]") {
    CHECK(mtu_with({{.index = 2, .name = "ib0", .mtu = 65520}}, {eno1}).expected ==
          expected_mtu_max);
    CHECK(mtu_with({{.index = 2,
                     .name = "lo",
                     .mtu = 65536,
                     .more_flags = IFF_LOOPBACK,
                     .hardware_type = 772 /* ARPHRD_LOOPBACK */}},
                   {eno1}) == WayMtu{});
}

TEST_CASE("a smaller device below a VLAN is the limit", "[mtu_way]") {
    const auto way =
        mtu_with({{.index = 2, .name = "eno1", .mtu = 1500},
                  {.index = 3, .name = "eno1.20", .kind = "vlan", .mtu = 9000, .lower = 2}},
                 {upper});
    CHECK(way == WayMtu{9000, 1500, eno1});
}

TEST_CASE("an overlay expects what its underlay leaves it", "[mtu_way]") {
    const auto way =
        mtu_with({{.index = 2, .name = "eno1", .mtu = 1500},
                  {.index = 3, .name = "vxlan7", .kind = "vxlan", .mtu = 1500, .lower = 2}},
                 {upper});
    CHECK(way.expected == 1450);
    CHECK(way.smallest == 1450);
    CHECK(way.device == eno1);
}

TEST_CASE("a device below in another namespace is another's number", "[mtu_way]") {
    const auto way = mtu_with({{.index = 2, .name = "eno1", .mtu = 1500},
                               {.index = 3,
                                .name = "mv0",
                                .kind = "macvlan",
                                .mtu = 9000,
                                .lower = 2,
                                .lower_namespace = 1}},
                              {upper});
    CHECK(way == WayMtu{9000, 9000, upper});
}

TEST_CASE("the port of a guest counts", "[mtu_way]") {
    const auto way = mtu_with({{.index = 3, .name = "br0", .kind = "bridge", .mtu = 9000},
                               {.index = 4, .name = "vnet0", .master = 3, .mtu = 1500}},
                              {upper, tap});
    CHECK(way == WayMtu{9000, 1500, tap});
}

TEST_CASE("devices in a circle come to an end", "[mtu_way]") {
    const auto way = mtu_with({{.index = 2, .name = "a", .kind = "vlan", .mtu = 1500, .lower = 3},
                               {.index = 3, .name = "b", .kind = "vlan", .mtu = 1400, .lower = 2}},
                              {eno1});
    CHECK(way == WayMtu{1500, 1400, upper});
}

}  // namespace
}  // namespace reachd
