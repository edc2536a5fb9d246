#include "exporters/topology_view.hpp"

#include <memory>
#include <set>
#include <string>

#include <catch2/catch.hpp>

#include "tests/exporters/sample_snapshot.hpp"

using namespace reachd;

namespace {

Link link_of_kind(LinkKind kind) {
    Link link;
    link.kind = kind;
    return link;
}

std::string_view kind_label(LinkKind kind, const DeviceFacts* facts = nullptr) {
    return to_text(interface_kind(link_of_kind(kind), facts));
}

}  // namespace

TEST_CASE("every kind of link has one of the labels of the public interface") {
    const std::set<std::string_view> labels{"physical",
                                            "bridge",
                                            "veth",
                                            "tap",
                                            "macvtap",
                                            "vf",
                                            "vxlan",
                                            "bond",
                                            "vlan",
                                            "ovs",
                                            "other"};
    REQUIRE(labels.size() == interface_kind_count);
    for (std::size_t kind = 0; kind < link_kind_count; ++kind) {
        CHECK(labels.count(kind_label(static_cast<LinkKind>(kind))) == 1);
    }
    CHECK(kind_label(LinkKind::openvswitch) == "ovs");
    CHECK(kind_label(LinkKind::loopback) == "other");
    CHECK(kind_label(LinkKind::tun) == "other");
    CHECK(kind_label(LinkKind::macvlan) == "other");
    CHECK(kind_label(LinkKind::macvtap) == "macvtap");
}

TEST_CASE("only a NIC can be a virtual function") {
    DeviceFacts facts;
    CHECK(kind_label(LinkKind::physical, &facts) == "physical");
    facts.virtual_function = true;
    CHECK(kind_label(LinkKind::physical, &facts) == "vf");
    CHECK(kind_label(LinkKind::bridge, &facts) == "bridge");
}

TEST_CASE("without a topology there are no links") {
    const Snapshot snapshot;
    const TopologyView view(snapshot);
    CHECK(view.size() == 0);
    CHECK_FALSE(view.row_of(static_cast<IfIndex>(1)));
}

TEST_CASE("links are found by index") {
    Snapshot snapshot;
    auto topology = std::make_shared<TopologySnapshot>();
    for (const std::uint32_t index : {1U, 7U, 4'294'967'295U}) {
        test::add_link(*topology, "d", LinkKind::dummy).index = static_cast<IfIndex>(index);
    }
    snapshot.topology = topology;
    const TopologyView view(snapshot);
    CHECK(view.row_of(static_cast<IfIndex>(1)) == 0U);
    CHECK(view.row_of(static_cast<IfIndex>(7)) == 1U);
    CHECK(view.row_of(static_cast<IfIndex>(4'294'967'295U)) == 2U);
    for (const std::uint32_t index : {0U, 2U, 8U, 4'294'967'294U}) {
        CHECK_FALSE(view.row_of(static_cast<IfIndex>(index)));
    }
    CHECK(view.counters(1) == nullptr);
}

TEST_CASE("counters and facts are those of the link") {
    const auto snapshot = test::sample_snapshot();
    const TopologyView view(snapshot);
    REQUIRE(view.size() == 9);
    CHECK(view.counters(1)->transmit_errors == 2);
    CHECK(view.counters(2) == nullptr);
    CHECK(view.facts(view.link(1))->driver == "mlx5_core");
    CHECK(view.facts(view.link(0)) == nullptr);
    CHECK(view.facts(view.link(8)) == nullptr);
    CHECK(view.kind(view.link(2)) == InterfaceKind::vf);
}

TEST_CASE("a guest is that behind the link") {
    const auto snapshot = test::sample_snapshot();
    const TopologyView view(snapshot);
    const auto guest_at = [&](std::size_t row) { return view.guest(view.link(row)); };
    CHECK(guest_at(4) == &snapshot.guests[0]);
    CHECK(guest_at(5) == &snapshot.guests[1]);
    CHECK(guest_at(0) == nullptr);
    CHECK(guest_at(8) == nullptr);
}

TEST_CASE("only a bridge is the bridge of a link") {
    Snapshot snapshot;
    auto topology = std::make_shared<TopologySnapshot>();
    const auto bond = test::add_link(*topology, "bond0", LinkKind::bond).index;
    const auto bridge = test::add_link(*topology, "br0", LinkKind::bridge).index;
    test::add_link(*topology, "a", LinkKind::veth).master = bond;
    test::add_link(*topology, "b", LinkKind::veth).master = bridge;
    test::add_link(*topology, "c", LinkKind::veth).master = static_cast<IfIndex>(99);
    test::add_link(*topology, "d", LinkKind::veth);
    snapshot.topology = topology;
    const TopologyView view(snapshot);
    CHECK_FALSE(view.bridge_of(view.link(2)));
    CHECK(view.bridge_of(view.link(3)) == 1U);
    CHECK_FALSE(view.bridge_of(view.link(4)));
    CHECK_FALSE(view.bridge_of(view.link(5)));
}

TEST_CASE("names are those of the indexes, as far as there are any") {
    const auto snapshot = test::sample_snapshot();
    const TopologyView view(snapshot);
    CHECK(view.name_of(static_cast<IfIndex>(4)) == "br0");
    CHECK(view.name_of(static_cast<IfIndex>(99)).empty());
    CHECK(view.name_of(IfIndex::any).empty());
    CHECK(TopologyView(Snapshot{}).name_of(static_cast<IfIndex>(4)).empty());
}

TEST_CASE("an address has the zone of its interface only where it needs one") {
    const auto snapshot = test::sample_snapshot();
    const TopologyView view(snapshot);
    auto local = *IpAddress::parse("fe80::9");
    CHECK(view.address_text(local) == "fe80::9");
    local.set_scope(static_cast<IfIndex>(4));
    CHECK(view.address_text(local) == "fe80::9%br0");
    local.set_scope(static_cast<IfIndex>(99));
    CHECK(view.address_text(local) == "fe80::9");
    auto global = *IpAddress::parse("2001:db8::9");
    global.set_scope(static_cast<IfIndex>(4));
    CHECK(view.address_text(global) == "2001:db8::9");
    CHECK(view.address_text({}).empty());
}
