#include "agent/mtu_consistency.hpp"

#include <catch2/catch.hpp>

namespace reachd {
namespace {

constexpr IfIndex eno1{2};
constexpr IfIndex br0{3};
constexpr IfIndex vnet0{4};
constexpr IfIndex vnet1{5};
constexpr IfIndex other{6};

std::shared_ptr<const Link> device(IfIndex index,
                                   LinkKind kind,
                                   std::uint32_t mtu,
                                   IfIndex master = IfIndex::any,
                                   IfIndex lower = IfIndex::any,
                                   std::int32_t lower_namespace = -1) {
    Link link;
    link.index = index;
    link.kind = kind;
    link.mtu_bytes = mtu;
    link.master = master;
    link.lower = lower;
    link.lower_namespace = lower_namespace;
    return std::make_shared<const Link>(link);
}

std::vector<MtuInconsistency> check_mtus(const std::vector<std::shared_ptr<const Link>>& links) {
    return find_mtu_inconsistencies(links, {});
}

std::vector<MtuInconsistency> hypervisor(std::uint32_t uplink,
                                         std::uint32_t bridge,
                                         std::uint32_t first,
                                         std::uint32_t second) {
    return check_mtus({device(eno1, LinkKind::physical, uplink, br0),
                       device(br0, LinkKind::bridge, bridge),
                       device(vnet0, LinkKind::tap, first, br0),
                       device(vnet1, LinkKind::tap, second, br0)});
}

TEST_CASE("one MTU along a segment is consistent", "[mtu_consistency]") {
    CHECK(hypervisor(1500, 1500, 1500, 1500).empty());
    CHECK(hypervisor(9000, 9000, 9000, 9000).empty());
    CHECK(check_mtus({}).empty());
}

TEST_CASE("a vNIC above its uplink is told with both devices", "[mtu_consistency]") {
    const auto found = hypervisor(1500, 9000, 1500, 9000);
    REQUIRE(found.size() == 1);
    CHECK(found[0] ==
          MtuInconsistency{MtuConflict::port_above_uplink, br0, vnet1, eno1, 9000, 1500, 1});
    CHECK(loses_traffic(found[0].conflict));
    CHECK(hypervisor(1500, 9000, 9000, 4000)[0].devices == 2);
}

TEST_CASE("a port above the bridge device is told", "[mtu_consistency]") {
    const auto found = hypervisor(9000, 1500, 9000, 9000);
    REQUIRE(found.size() == 1);
    CHECK(found[0].conflict == MtuConflict::port_above_bridge);
    CHECK(found[0].smaller == br0);
    CHECK(found[0].devices == 3);
}

TEST_CASE("a bridge above its uplink is told where the host itself uses it", "[mtu_consistency]") {
    const std::vector<std::shared_ptr<const Link>> links{
        device(eno1, LinkKind::physical, 1500, br0), device(br0, LinkKind::bridge, 9000)};
    const auto with = [&](const char* address) {
        return find_mtu_inconsistencies(links, {{br0, *IpAddress::parse(address), 24, 0}});
    };
    CHECK(check_mtus(links).empty());
    CHECK(with("fe80::1").empty());
    REQUIRE(with("10.0.0.1").size() == 1);
    CHECK(with("10.0.0.1")[0] ==
          MtuInconsistency{MtuConflict::bridge_above_uplink, br0, br0, eno1, 9000, 1500, 1});
}

TEST_CASE("a smaller guest on a larger network is no loss by itself", "[mtu_consistency]") {
    const auto found = hypervisor(9000, 9000, 1500, 9000);
    REQUIRE(found.size() == 1);
    CHECK(found[0].conflict == MtuConflict::port_below_uplink);
    CHECK(found[0].smaller == vnet0);
    CHECK_FALSE(loses_traffic(found[0].conflict));
}

TEST_CASE("veth ends that differ are told once, if both are here", "[mtu_consistency]") {
    const auto ends = [](std::uint32_t a, std::uint32_t b, std::int32_t space) {
        return check_mtus({device(vnet0, LinkKind::veth, a, br0, vnet1, space),
                           device(vnet1, LinkKind::veth, b, IfIndex::any, vnet0)});
    };
    REQUIRE(ends(9000, 1500, -1).size() == 1);
    CHECK(ends(9000, 1500, -1)[0] ==
          MtuInconsistency{MtuConflict::veth_ends, br0, vnet0, vnet1, 9000, 1500, 1});
    CHECK(ends(1500, 9000, -1)[0].larger == vnet1);
    CHECK(ends(1500, 1500, -1).empty());
    CHECK(ends(9000, 1500, 7).empty());  // an index of another namespace
}

TEST_CASE("an overlay must leave room for its header", "[mtu_consistency]") {
    const auto overlay = [](LinkKind kind, std::uint32_t mtu, std::uint32_t underlay) {
        return check_mtus({device(eno1, LinkKind::physical, underlay),
                           device(other, kind, mtu, IfIndex::any, eno1)});
    };
    CHECK(overlay(LinkKind::vxlan, 1450, 1500).empty());
    REQUIRE(overlay(LinkKind::vxlan, 1500, 1500).size() == 1);
    CHECK(overlay(LinkKind::vxlan, 1500, 1500)[0] ==
          MtuInconsistency{
              MtuConflict::overlay_above_underlay, IfIndex::any, other, eno1, 1500, 1450, 1});
    CHECK(overlay(LinkKind::vxlan, 1500, 40).empty());
    auto over_ipv6 =
        std::make_shared<Link>(*device(other, LinkKind::vxlan, 1450, IfIndex::any, eno1));
    over_ipv6->over_ipv6 = true;
    const auto found = check_mtus({device(eno1, LinkKind::physical, 1500), over_ipv6});
    REQUIRE(found.size() == 1);
    CHECK(found[0].smaller_bytes == 1430);
    CHECK(overlay(LinkKind::vlan, 1500, 1500).empty());
}

TEST_CASE("what is no bridge has no ports to compare", "[mtu_consistency]") {
    CHECK(check_mtus({device(eno1, LinkKind::physical, 9000, other),
                      device(vnet0, LinkKind::physical, 1500, other),
                      device(other, LinkKind::bond, 1500)})
              .empty());
    // A master that is in another namespace, or gone.
    CHECK(check_mtus({device(vnet0, LinkKind::tap, 9000, br0)}).empty());
}

}  // namespace
}  // namespace reachd
