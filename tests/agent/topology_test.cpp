#include "agent/topology.hpp"

#include <catch2/catch.hpp>

#include "tests/agent/netlink_builder.hpp"

using namespace reachd;
using namespace reachd::test;

namespace {

void feed(Topology& topology, const Bytes& datagram) {
    NetlinkReader reader{ByteView(datagram)};
    while (const auto* message = reader.next()) {
        topology.apply(*message);
    }
}

IfIndex device(int index) {
    return static_cast<IfIndex>(index);
}

Bytes dumped(const LinkFacts& link) {
    return new_link(link, NLM_F_MULTI, 1);
}

Bytes dumped(const RouteFacts& route) {
    return new_route(route, NLM_F_MULTI, 1);
}

RouteFacts default_route(std::vector<HopFacts> hops, std::uint32_t metric = 0) {
    RouteFacts route;
    route.hops = std::move(hops);
    route.metric = metric;
    if (route.hops.at(0).gateway) {
        route.family = route.hops[0].gateway->family();
    }
    return route;
}

/// "address%device metric" of each, in the order of the model.
std::vector<std::string> gateways(const Topology& topology) {
    std::vector<std::string> texts;
    for (const auto& gateway : topology.default_gateways()) {
        texts.push_back(gateway.address.to_string() + "%" +
                        std::to_string(static_cast<int>(gateway.device)) + " " +
                        std::to_string(gateway.metric));
    }
    return texts;
}

using Texts = std::vector<std::string>;

DumpKinds just(DumpKind kind) {
    DumpKinds kinds;
    kinds.insert(kind);
    return kinds;
}

}  // namespace

TEST_CASE("links are found by name and index until they go", "[topology]") {
    Topology topology;
    feed(topology, new_link({.index = 2, .name = "eth0"}));
    feed(topology, new_link({.index = 3, .name = "br0", .kind = "bridge"}));
    CHECK(topology.index_of("eth0") == device(2));
    CHECK(topology.name_of(device(3)) == "br0");
    CHECK(topology.link(device(3))->kind == LinkKind::bridge);
    CHECK_FALSE(topology.index_of("eth1").has_value());
    CHECK(topology.name_of(device(9)).empty());

    feed(topology, del_link(2));
    CHECK_FALSE(topology.index_of("eth0").has_value());
    CHECK(topology.name_of(device(2)).empty());
    CHECK(topology.link_count() == 1);
    feed(topology, del_link(2));  // repeats do no harm
    CHECK(topology.link_count() == 1);
}

TEST_CASE("a renamed link keeps its identity, a re-used index does not", "[topology]") {
    Topology topology;
    feed(topology, new_link({.index = 2, .name = "veth0"}));
    const auto generation = topology.link(device(2))->generation;
    feed(topology, new_link({.index = 2, .name = "renamed"}));
    CHECK_FALSE(topology.index_of("veth0").has_value());
    CHECK(topology.index_of("renamed") == device(2));
    CHECK(topology.link(device(2))->generation == generation);

    feed(topology, del_link(2));
    feed(topology, new_link({.index = 2, .name = "renamed"}));
    CHECK(topology.link(device(2))->generation != generation);
}

TEST_CASE("a link that changes its kind is another link", "[topology]") {
    Topology topology;
    feed(topology, new_link({.index = 2, .name = "a", .kind = "veth"}));
    const auto generation = topology.link(device(2))->generation;
    feed(topology, new_link({.index = 2, .name = "b", .kind = "tun"}));
    CHECK(topology.link(device(2))->generation != generation);
    CHECK(topology.link_count() == 1);
    CHECK_FALSE(topology.index_of("a").has_value());
    CHECK(topology.index_of("b") == device(2));
}

TEST_CASE("two links swap their names", "[topology]") {
    Topology topology;
    feed(topology, new_link({.index = 2, .name = "a"}));
    feed(topology, new_link({.index = 3, .name = "b"}));
    feed(topology, new_link({.index = 2, .name = "tmp"}));
    feed(topology, new_link({.index = 3, .name = "a"}));
    feed(topology, new_link({.index = 2, .name = "b"}));
    CHECK(topology.index_of("a") == device(3));
    CHECK(topology.index_of("b") == device(2));
    CHECK_FALSE(topology.index_of("tmp").has_value());
}

TEST_CASE("a name claimed by a link whose rival is swept away stays found", "[topology]") {
    Topology topology;
    feed(topology, new_link({.index = 2, .name = "a"}));
    feed(topology, new_link({.index = 3, .name = "b"}));
    // Both messages of the swap that follow were lost but one.
    topology.begin_sweep(DumpKind::links);
    feed(topology, dumped(LinkFacts{.index = 3, .name = "a"}));
    feed(topology, dumped(LinkFacts{.index = 2, .name = "b"}));
    topology.finish_sweep(DumpKind::links);
    CHECK(topology.index_of("a") == device(3));
    CHECK(topology.index_of("b") == device(2));

    // The rival comes late and goes again: the lookup has lost the rightful owner.
    topology.begin_sweep(DumpKind::links);
    feed(topology, dumped(LinkFacts{.index = 2, .name = "b"}));
    feed(topology, dumped(LinkFacts{.index = 3, .name = "b"}));
    feed(topology, dumped(LinkFacts{.index = 3, .name = "c"}));
    topology.finish_sweep(DumpKind::links);
    CHECK(topology.index_of("b") == device(2));
    CHECK(topology.index_of("c") == device(3));
    CHECK_FALSE(topology.index_of("a").has_value());
}

TEST_CASE("what a partial message does not say is kept", "[topology]") {
    Topology topology;
    LinkFacts facts{.index = 2, .name = "wlan0", .kind = "ipvlan", .mtu = 1400};
    facts.master = 9;
    feed(topology, new_link(facts));
    MessageBuilder wireless(RTM_NEWLINK, 0, 0);
    wireless.header(link_header(2, false)).text(IFLA_IFNAME, "wlan0");
    feed(topology, wireless.bytes());
    const auto link = topology.link(device(2));
    CHECK(link->mtu_bytes == 1400);
    CHECK(link->kind == LinkKind::ipvlan);
    CHECK(link->master == device(9));
    CHECK_FALSE(link->admin_up);
}

TEST_CASE("leaving a bridge keeps the link", "[topology]") {
    Topology topology;
    LinkFacts facts{.index = 2, .name = "veth0"};
    facts.master = 5;
    feed(topology, new_link(facts));
    feed(topology, left_bridge(2, 6));  // of an older bridge
    CHECK(topology.link(device(2))->master == device(5));
    feed(topology, left_bridge(2, 5));
    REQUIRE(topology.link(device(2)) != nullptr);
    CHECK(topology.link(device(2))->master == IfIndex::any);
    feed(topology, left_bridge(77, 5));  // never announced
}

TEST_CASE("up means admin up and operationally up or unknown", "[topology]") {
    Topology topology;
    const auto is_up = [&](bool admin, std::uint8_t state) {
        feed(topology, new_link({.index = 2, .name = "e", .up = admin, .oper_state = state}));
        return topology.link(device(2))->is_up();
    };
    CHECK(is_up(true, IF_OPER_UP));
    CHECK(is_up(true, IF_OPER_UNKNOWN));
    CHECK(is_up(true, 200));  // of a kernel to come
    CHECK_FALSE(is_up(true, IF_OPER_DOWN));
    CHECK_FALSE(is_up(true, IF_OPER_LOWERLAYERDOWN));
    CHECK_FALSE(is_up(true, IF_OPER_DORMANT));
    CHECK_FALSE(is_up(false, IF_OPER_UP));
}

TEST_CASE("a sweep removes what neither dump nor event mentioned", "[topology]") {
    Topology topology;
    for (int i = 2; i <= 5; ++i) {
        feed(topology, new_link({.index = i, .name = "e" + std::to_string(i)}));
    }
    topology.begin_sweep(DumpKind::links);
    feed(topology, dumped(LinkFacts{.index = 3, .name = "e3"}));
    feed(topology, new_link({.index = 4, .name = "e4"}));
    feed(topology, new_link({.index = 6, .name = "e6"}));
    topology.finish_sweep(DumpKind::links);
    CHECK(topology.link_count() == 3);
    CHECK(topology.index_of("e3") == device(3));
    CHECK(topology.index_of("e4") == device(4));
    CHECK(topology.index_of("e6") == device(6));
    CHECK_FALSE(topology.index_of("e2").has_value());

    topology.begin_sweep(DumpKind::links);
    topology.abandon_sweep(DumpKind::links);
    topology.finish_sweep(DumpKind::links);  // of a dump that was given up: nothing to do
    CHECK(topology.link_count() == 3);
}

TEST_CASE("an event is believed over a part of the dump", "[topology]") {
    Topology topology;
    topology.begin_sweep(DumpKind::links);
    feed(topology, new_link({.index = 2, .name = "new", .mtu = 9000}));
    feed(topology, dumped(LinkFacts{.index = 2, .name = "old", .mtu = 1500}));
    CHECK(topology.index_of("new") == device(2));
    CHECK(topology.link(device(2))->mtu_bytes == 9000);

    // Composed before the removal, queued after it.
    feed(topology, new_link({.index = 3, .name = "gone"}));
    feed(topology, del_link(3));
    feed(topology, dumped(LinkFacts{.index = 3, .name = "gone"}));
    CHECK_FALSE(topology.index_of("gone").has_value());
    // The index is given out again before the dump is over.
    feed(topology, new_link({.index = 3, .name = "next"}));
    feed(topology, dumped(LinkFacts{.index = 3, .name = "gone"}));
    CHECK(topology.index_of("next") == device(3));
    topology.finish_sweep(DumpKind::links);
    CHECK(topology.link_count() == 2);

    // The following dump is as good as any.
    topology.begin_sweep(DumpKind::links);
    feed(topology, dumped(LinkFacts{.index = 2, .name = "newer"}));
    topology.finish_sweep(DumpKind::links);
    CHECK(topology.index_of("newer") == device(2));
    CHECK(topology.link_count() == 1);
}

TEST_CASE("half a message about an unknown link raises doubt, not a link", "[topology]") {
    Topology topology;
    MessageBuilder port(RTM_NEWLINK, 0, 0);
    port.header(link_header(5, true, AF_BRIDGE)).text(IFLA_IFNAME, "veth1");
    feed(topology, port.bytes());
    CHECK(topology.link_count() == 0);
    CHECK(topology.take_doubts() == just(DumpKind::links));
    CHECK(topology.take_doubts() == DumpKinds{});
}

TEST_CASE("the number of links is limited, and counted", "[topology]") {
    Topology topology({.links = 3, .default_routes = 2});
    for (int i = 1; i <= 5; ++i) {
        feed(topology, new_link({.index = i, .name = "e" + std::to_string(i)}));
    }
    CHECK(topology.link_count() == 3);
    CHECK(topology.refusals().links == 2);
    feed(topology, new_link({.index = 2, .name = "renamed"}));  // known ones still change
    CHECK(topology.index_of("renamed") == device(2));
    feed(topology, del_link(1));
    feed(topology, new_link({.index = 5, .name = "e5"}));
    CHECK(topology.index_of("e5") == device(5));
}

TEST_CASE("gateways of both families, by metric, each once", "[topology]") {
    Topology topology;
    feed(topology, new_route(default_route({{address("10.0.0.1"), 2}}, 100)));
    feed(topology, new_route(default_route({{address("10.0.0.1"), 2}}, 50)));
    feed(topology, new_route(default_route({{address("10.0.1.1"), 3}}, 10)));
    feed(topology, new_route(default_route({{address("fe80::1"), 2}}, 1024)));
    feed(topology, new_route(default_route({{address("fe80::1"), 3}}, 1024)));
    CHECK(gateways(topology) ==
          Texts{"10.0.1.1%3 10", "10.0.0.1%2 50", "fe80::1%2 1024", "fe80::1%3 1024"});
    CHECK(topology.default_gateways()[2].address.scope() == device(2));
}

TEST_CASE("only default routes of the main table lead to gateways", "[topology]") {
    Topology topology;
    auto route = default_route({{address("10.0.0.1"), 2}});
    route.destination = address("192.0.2.0");
    route.prefix_length = 24;
    feed(topology, new_route(route));
    route = default_route({{address("10.0.0.1"), 2}});
    route.table = 100;
    feed(topology, new_route(route));
    route.table = RT_TABLE_MAIN;
    route.type = RTN_UNREACHABLE;
    feed(topology, new_route(route));
    feed(topology, new_route(default_route({{std::nullopt, 2}})));  // `default dev tun0`
    CHECK(gateways(topology).empty());
}

TEST_CASE("a full table of routes is bounded, and default routes stay right", "[topology]") {
    Topology topology;
    auto route = default_route({{address("10.0.0.1"), 2}});
    route.prefix_length = 32;
    const auto before = topology.revision();
    for (std::uint32_t i = 0; i < 50000; ++i) {
        route.destination = IpAddress::v4(
            {172, 16, static_cast<std::uint8_t>(i >> 8U), static_cast<std::uint8_t>(i)});
        feed(topology, new_route(route));
    }
    CHECK(topology.revision() == before);
    CHECK(topology.route_count(Family::ipv4) == 16384);
    CHECK(topology.refusals().routes == 50000 - 16384);
    CHECK(topology.take_doubts() == DumpKinds{});
    feed(topology, new_route(default_route({{address("10.0.0.1"), 2}})));
    CHECK(gateways(topology) == Texts{"10.0.0.1%2 0"});
    feed(topology, del_link(2));  // takes all of them along
    CHECK(topology.route_count(Family::ipv4) == 0);
    CHECK(gateways(topology).empty());
}

TEST_CASE("the number of default routes is limited, and counted", "[topology]") {
    Topology topology({.links = 10, .default_routes = 2});
    for (std::uint32_t metric = 1; metric <= 5; ++metric) {
        feed(topology, new_route(default_route({{address("10.0.0.1"), 2}}, metric)));
    }
    CHECK(topology.refusals().routes == 3);
    feed(topology, del_route(default_route({{address("10.0.0.1"), 2}}, 1)));
    feed(topology, new_route(default_route({{address("10.0.0.9"), 2}}, 9)));
    CHECK(gateways(topology) == Texts{"10.0.0.1%2 2", "10.0.0.9%2 9"});
}

TEST_CASE("replace takes the place of the route with the same key", "[topology]") {
    Topology topology;
    feed(topology, new_route(default_route({{address("10.0.0.1"), 2}}, 100)));
    feed(topology, new_route(default_route({{address("10.0.0.1"), 2}}, 200)));
    feed(topology, new_route(default_route({{address("10.0.0.2"), 2}}, 100), NLM_F_REPLACE));
    CHECK(gateways(topology) == Texts{"10.0.0.2%2 100", "10.0.0.1%2 200"});

    auto blackhole = default_route({{std::nullopt, 0}}, 100);
    blackhole.type = RTN_BLACKHOLE;
    feed(topology, new_route(blackhole, NLM_F_REPLACE));
    CHECK(gateways(topology) == Texts{"10.0.0.1%2 200"});
    CHECK(topology.take_doubts() == DumpKinds{});
}

TEST_CASE("replacing one of several routes with the same key is doubtful", "[topology]") {
    Topology topology;
    feed(topology, new_route(default_route({{address("10.0.0.1"), 2}}), NLM_F_CREATE));
    feed(topology, new_route(default_route({{address("10.0.0.2"), 2}}), NLM_F_APPEND));
    CHECK(gateways(topology).size() == 2);
    CHECK(topology.take_doubts() == DumpKinds{});
    feed(topology, new_route(default_route({{address("10.0.0.3"), 2}}), NLM_F_REPLACE));
    CHECK(topology.take_doubts() == just(DumpKind::ipv4_routes));
}

TEST_CASE("an IPv6 multipath route grows and shrinks hop by hop", "[topology]") {
    Topology topology;
    const HopFacts a{address("fe80::a"), 2};
    const HopFacts b{address("fe80::b"), 3};
    const HopFacts c{address("fe80::c"), 3};
    feed(topology, new_route(default_route({a}, 1024)));
    feed(topology, new_route(default_route({a, b}, 1024), NLM_F_APPEND));
    feed(topology, new_route(default_route({c, b, a}, 1024), NLM_F_APPEND));
    CHECK(gateways(topology) == Texts{"fe80::a%2 1024", "fe80::b%3 1024", "fe80::c%3 1024"});
    feed(topology, del_route(default_route({b}, 1024)));
    CHECK(gateways(topology) == Texts{"fe80::a%2 1024", "fe80::c%3 1024"});
    feed(topology, del_route(default_route({c, a}, 1024)));
    CHECK(gateways(topology).empty());
}

TEST_CASE("IPv6 routes of two router advertisements stand side by side", "[topology]") {
    Topology topology;
    feed(topology, new_route(default_route({{address("fe80::a"), 2}}, 1024)));
    feed(topology, new_route(default_route({{address("fe80::b"), 2}}, 1024)));
    CHECK(gateways(topology).size() == 2);
    feed(topology, del_route(default_route({{address("fe80::a"), 2}}, 1024)));
    CHECK(gateways(topology) == Texts{"fe80::b%2 1024"});
}

TEST_CASE("an IPv4 gateway behind an IPv6 router", "[topology]") {
    Topology topology;
    RouteFacts route;
    route.hops = {{address("fe80::9"), 4}};
    feed(topology, new_route(route));
    CHECK(gateways(topology) == Texts{"fe80::9%4 0"});
    CHECK(topology.default_gateways()[0].address.scope() == device(4));
}

TEST_CASE("routes of a device that goes down are hidden at once and doubted", "[topology]") {
    Topology topology;
    feed(topology, new_link({.index = 2, .name = "e2"}));
    feed(topology, new_link({.index = 3, .name = "e3"}));
    feed(topology, new_route(default_route({{address("10.0.0.1"), 2}, {address("10.0.1.1"), 3}})));
    const auto revision = topology.revision();
    feed(topology, new_link({.index = 3, .name = "e3", .up = false}));
    CHECK(topology.revision() > revision);
    CHECK(gateways(topology) == Texts{"10.0.0.1%2 0"});
    CHECK(topology.take_doubts() == just(DumpKind::ipv4_routes));
    feed(topology, new_link({.index = 3, .name = "e3", .up = true}));
    CHECK(gateways(topology).size() == 2);
}

TEST_CASE("lost carrier hides no gateway: it is to be seen failing", "[topology]") {
    Topology topology;
    feed(topology, new_link({.index = 2, .name = "e2"}));
    feed(topology, new_route(default_route({{address("10.0.0.1"), 2}})));
    feed(topology, new_link({.index = 2, .name = "e2", .oper_state = IF_OPER_DOWN}));
    CHECK(gateways(topology) == Texts{"10.0.0.1%2 0"});
}

TEST_CASE("a removed device takes its next hops along", "[topology]") {
    Topology topology;
    feed(topology, new_link({.index = 2, .name = "e2"}));
    feed(topology, new_link({.index = 3, .name = "e3"}));
    feed(topology, new_route(default_route({{address("10.0.0.1"), 2}, {address("10.0.1.1"), 3}})));
    feed(topology, new_route(default_route({{address("fe80::1"), 3}}, 1024)));
    feed(topology, del_link(3));
    // Another device with the same index inherits nothing.
    feed(topology, new_link({.index = 3, .name = "other"}));
    CHECK(gateways(topology) == Texts{"10.0.0.1%2 0"});
}

TEST_CASE("what the kernel does to IPv4 routes without a word is doubted", "[topology]") {
    Topology topology;
    feed(topology, new_link({.index = 2, .name = "e2"}));
    auto route = default_route({{address("10.0.0.1"), 2}});
    route.preferred_source = address("10.9.9.9");
    feed(topology, new_route(route));

    RouteFacts local;
    local.type = RTN_LOCAL;
    local.table = RT_TABLE_LOCAL;
    local.prefix_length = 32;
    local.hops = {{std::nullopt, 7}};
    local.destination = address("10.8.8.8");
    feed(topology, del_route(local));  // an address of another device
    CHECK(topology.take_doubts() == DumpKinds{});
    local.destination = address("10.9.9.9");  // the preferred source
    feed(topology, del_route(local));
    CHECK(topology.take_doubts() == just(DumpKind::ipv4_routes));
    local.destination = address("10.0.0.2");  // perhaps the last address of the device
    local.hops = {{std::nullopt, 2}};
    feed(topology, del_route(local));
    CHECK(topology.take_doubts() == just(DumpKind::ipv4_routes));

    LinkFacts in_vrf{.index = 2, .name = "e2"};
    in_vrf.master = 20;
    feed(topology, new_link(in_vrf));
    CHECK(topology.take_doubts() == just(DumpKind::ipv4_routes));
}

TEST_CASE("a removed next hop object raises doubt on the routes that used it", "[topology]") {
    Topology topology;
    rtmsg header{};
    header.rtm_family = AF_INET;
    header.rtm_table = RT_TABLE_MAIN;
    header.rtm_type = RTN_UNICAST;
    MessageBuilder route(RTM_NEWROUTE, 0, 0);
    route.header(header).number(RTA_NH_ID, std::uint32_t{7});
    route.address(RTA_GATEWAY, address("10.0.0.1")).number(RTA_OIF, std::uint32_t{2});
    feed(topology, route.bytes());
    const auto removed = [](std::uint32_t id) {
        MessageBuilder message(RTM_DELNEXTHOP, 0, 0);
        return message.header(std::uint64_t{0}).number(1, id).bytes();
    };
    feed(topology, removed(8));
    CHECK(topology.take_doubts() == DumpKinds{});
    feed(topology, removed(7));
    CHECK(topology.take_doubts() == just(DumpKind::ipv4_routes));
}

TEST_CASE("a default route that changes during its dump is read once more", "[topology]") {
    Topology topology;
    topology.begin_sweep(DumpKind::ipv4_routes);
    feed(topology, new_route(default_route({{address("10.0.0.1"), 2}})));
    CHECK(topology.take_doubts() == just(DumpKind::ipv4_routes));
    feed(topology, dumped(default_route({{address("10.0.0.1"), 2}})));
    CHECK(topology.take_doubts() == DumpKinds{});
    feed(topology, del_route(default_route({{address("10.0.0.1"), 2}})));
    CHECK(topology.take_doubts() == just(DumpKind::ipv4_routes));
}

TEST_CASE("route sweeps are each family's own", "[topology]") {
    Topology topology;
    feed(topology, new_route(default_route({{address("10.0.0.1"), 2}})));
    feed(topology, new_route(default_route({{address("10.0.0.2"), 2}}, 5)));
    feed(topology, new_route(default_route({{address("fe80::1"), 2}}, 1024)));
    topology.begin_sweep(DumpKind::ipv4_routes);
    feed(topology, dumped(default_route({{address("10.0.0.2"), 2}}, 5)));
    CHECK(gateways(topology).size() == 3);  // no flap while the dump runs
    topology.finish_sweep(DumpKind::ipv4_routes);
    CHECK(gateways(topology) == Texts{"10.0.0.2%2 5", "fe80::1%2 1024"});
}

TEST_CASE("the revision rises with the answers, and only then", "[topology]") {
    Topology topology;
    const auto rises = [&](const Bytes& datagram) {
        const auto before = topology.revision();
        feed(topology, datagram);
        return topology.revision() != before;
    };
    LinkFacts link{.index = 2, .name = "e2"};
    CHECK(rises(new_link(link)));
    CHECK_FALSE(rises(new_link(link)));
    link.mtu = 9000;
    CHECK_FALSE(rises(new_link(link)));
    link.up = false;
    CHECK_FALSE(rises(new_link(link)));  // it carries no default route
    link.up = true;
    link.name = "renamed";
    CHECK(rises(new_link(link)));
    const auto route = default_route({{address("10.0.0.1"), 2}});
    CHECK(rises(new_route(route)));
    CHECK_FALSE(rises(new_route(route)));
    CHECK_FALSE(rises(new_route(route, NLM_F_MULTI)));
    // How the host asks a gateway: of its device only.
    InterfaceAddress own{device(2), address("10.0.0.5"), 24, 0};
    CHECK(rises(new_address(own)));
    CHECK_FALSE(rises(new_address(own)));
    own.flags = IFA_F_DEPRECATED;
    CHECK(rises(new_address(own)));
    CHECK(rises(del_address(own)));
    CHECK_FALSE(rises(new_address({device(3), address("10.0.0.6"), 24, 0})));
    CHECK_FALSE(rises(new_neighbour({2, address("10.0.0.1"), mac("52:54:00:00:00:01")})));
    link.mac = mac("52:54:00:00:00:02");
    CHECK(rises(new_link(link)));
    link.more_flags = IFF_NOARP;
    CHECK(rises(new_link(link)));
    link.up = false;
    CHECK(rises(new_link(link)));
    CHECK(rises(del_route(route)));
    CHECK_FALSE(rises(del_route(route)));
    CHECK(rises(del_link(2)));
    CHECK_FALSE(rises(del_link(2)));
}

// --- Partial messages, ports, VLANs, virtual functions -----------------------------------------

namespace {

const LinkFacts br0{.index = 10, .name = "br0", .kind = "bridge", .bridge = BridgeSettings{}};

LinkFacts filtering_bridge() {
    auto bridge = br0;
    bridge.bridge = BridgeSettings{true, false, 1500, 1};
    return bridge;
}

LinkFacts port_of_br0(int index, PortState state = PortState::forwarding) {
    LinkFacts port{.index = index, .name = "p" + std::to_string(index), .kind = "veth"};
    port.master = 10;
    port.port = BridgePort{state, false};
    return port;
}

const std::vector<VlanRange> one_vlan{VlanRange{1, 1, true, true}};

const Instant later{MonoTime{std::chrono::hours(1)}, WallTime{std::chrono::hours(2)}};

}  // namespace

TEST_CASE("the bridge tells of a port's state only, and nothing else is lost", "[topology]") {
    Topology topology;
    auto port = port_of_br0(2, PortState::learning);
    port.lower = 7;
    port.lower_namespace = 3;
    port.carrier_changes = 4;
    feed(topology, new_link(br0) + new_link(port));
    port.port->state = PortState::forwarding;
    feed(topology, bridge_link(port, one_vlan));
    const auto link = topology.link(device(2));
    REQUIRE(link->port.has_value());
    CHECK(link->port->state == PortState::forwarding);
    CHECK(link->kind == LinkKind::veth);
    CHECK(link->lower == device(7));
    CHECK(link->lower_namespace == 3);
    CHECK(link->carrier_changes == 4);
    CHECK(link->master == device(10));
}

TEST_CASE("a link is not copied for a message that tells nothing new", "[topology]") {
    Topology topology;
    feed(topology, new_link(port_of_br0(2)));
    const auto before = topology.link(device(2));
    const auto revision = topology.state_revision();
    feed(topology, new_link(port_of_br0(2)));
    CHECK(topology.link(device(2)) == before);
    CHECK(topology.state_revision() == revision);
    auto other = port_of_br0(2);
    other.mtu = 9000;
    feed(topology, new_link(other));
    CHECK(topology.link(device(2)) != before);
    CHECK(before->mtu_bytes == 1500);  // who holds the old one still sees it
    CHECK(topology.state_revision() > revision);
}

TEST_CASE("each kind of churn has a revision of its own", "[topology]") {
    Topology topology;
    feed(topology, new_link(port_of_br0(2)));
    const auto structure = topology.structure_revision();
    const auto neighbours = topology.neighbour_revision();
    auto state = topology.state_revision();
    const auto state_rose = [&] { return std::exchange(state, topology.state_revision()) < state; };
    feed(topology, new_fdb({.bridge = 1, .port = 2, .mac = mac("02:00:00:00:00:07")}));
    CHECK(state_rose());
    CHECK(topology.neighbour_revision() == neighbours);
    NeighbourFacts neighbour{
        .device = 2, .address = address("10.0.0.1"), .mac = mac("02:00:00:00:00:08")};
    feed(topology, new_neighbour(neighbour));
    CHECK(state_rose());
    const auto known = topology.neighbour_revision();
    CHECK(known > neighbours);
    neighbour.state = NUD_STALE;
    feed(topology, new_neighbour(neighbour));
    CHECK(topology.neighbour_revision() == known);
    neighbour.mac = mac("02:00:00:00:00:09");
    feed(topology, new_neighbour(neighbour));
    CHECK(topology.neighbour_revision() > known);
    CHECK(topology.structure_revision() == structure);
    feed(topology, new_address({device(2), address("10.0.0.2"), 24, 0}));
    CHECK(topology.structure_revision() > structure);
    CHECK(topology.addresses().size() == 1);
}

TEST_CASE("VLANs are kept while a bridge filters, and go with the port", "[topology]") {
    Topology topology;
    feed(topology, new_link(br0) + new_link(port_of_br0(2)));
    feed(topology, bridge_link(port_of_br0(2), one_vlan));
    CHECK_FALSE(topology.filters_vlans());
    CHECK(topology.vlans_of(device(2)).empty());
    CHECK(topology.take_doubts() == DumpKinds{});

    feed(topology, new_link(filtering_bridge()));
    CHECK(topology.filters_vlans());
    CHECK(topology.take_doubts() == just(DumpKind::bridge_vlans));
    topology.begin_sweep(DumpKind::bridge_vlans);
    feed(topology, bridge_link(port_of_br0(2), one_vlan, NLM_F_MULTI, 1));
    CHECK(topology.finish_sweep(DumpKind::bridge_vlans));
    CHECK(topology.vlans_of(device(2)) == one_vlan);
    CHECK(topology.snapshot()->vlans.size() == 1);

    SECTION("the port leaves") {
        feed(topology, left_bridge(2, 10));
        CHECK(topology.vlans_of(device(2)).empty());
        CHECK_FALSE(topology.link(device(2))->port.has_value());
    }
    SECTION("the port goes") {
        feed(topology, del_link(2));
        CHECK(topology.snapshot()->vlans.empty());
    }
    SECTION("a dump does not tell of it any more") {
        topology.begin_sweep(DumpKind::bridge_vlans);
        CHECK(topology.finish_sweep(DumpKind::bridge_vlans));
        CHECK(topology.vlans_of(device(2)).empty());
    }
    SECTION("nobody filters any more") {
        feed(topology, new_link(br0));
        CHECK(topology.vlans_of(device(2)).empty());
    }
    SECTION("the port gets others") {
        feed(topology, bridge_link(port_of_br0(2), {VlanRange{5, 9}}));
        CHECK(topology.vlans_of(device(2)) == std::vector<VlanRange>{VlanRange{5, 9}});
        feed(topology, bridge_link(port_of_br0(2), {}));
        CHECK(topology.vlans_of(device(2)).empty());
    }
}

TEST_CASE("the port towards a neighbour of the host itself", "[topology]") {
    Topology topology;
    const MacAddress mac({2, 0, 0, 0, 0, 7});
    const IpAddress peer = address("10.0.0.7");
    feed(topology, new_link(filtering_bridge()) + new_link(port_of_br0(2)));
    CHECK(topology.port_towards(device(10), peer) == IfIndex::any);
    feed(topology, new_neighbour({10, peer, mac, NUD_REACHABLE}));
    CHECK(topology.port_towards(device(10), peer) == IfIndex::any);
    feed(topology, new_fdb({.bridge = 10, .port = 2, .mac = mac, .vlan = 20}));
    CHECK(topology.port_towards(device(10), peer) == IfIndex::any);
    topology.begin_sweep(DumpKind::bridge_vlans);
    feed(topology,
         bridge_link(filtering_bridge(), {VlanRange{20, 20, true, true}}, NLM_F_MULTI, 1));
    CHECK(topology.finish_sweep(DumpKind::bridge_vlans));
    CHECK(topology.port_towards(device(10), peer) == device(2));
    CHECK(topology.port_towards(device(2), peer) == IfIndex::any);
}

TEST_CASE("the dump of the VLANs does not overwrite what events tell of the link", "[topology]") {
    Topology topology;
    feed(topology, new_link(filtering_bridge()) + new_link(port_of_br0(2)));
    topology.begin_sweep(DumpKind::bridge_vlans);
    auto port = port_of_br0(2, PortState::blocking);
    port.name = "old";
    feed(topology, bridge_link(port, one_vlan, NLM_F_MULTI, 1));
    CHECK(topology.link(device(2))->name == "p2");
    CHECK(topology.link(device(2))->port->state == PortState::forwarding);
    CHECK(topology.vlans_of(device(2)) == one_vlan);
}

TEST_CASE("the number of VLANs is limited, and counted", "[topology]") {
    Topology topology({.vlan_ranges = 3});
    feed(topology, new_link(filtering_bridge()));
    for (int i = 2; i < 6; ++i) {
        feed(topology, new_link(port_of_br0(i)));
        feed(topology, bridge_link(port_of_br0(i), {VlanRange{1, 1}, VlanRange{3, 3}}));
    }
    CHECK(topology.vlans_of(device(2)).size() == 2);
    CHECK(topology.vlans_of(device(3)).empty());
    CHECK(topology.refusals().vlans == 3);
    feed(topology, del_link(2));
    feed(topology, bridge_link(port_of_br0(3), {VlanRange{1, 1}, VlanRange{3, 3}}));
    CHECK(topology.vlans_of(device(3)).size() == 2);
}

TEST_CASE("virtual functions are those of the last dump", "[topology]") {
    Topology topology;
    LinkFacts physical{.index = 2, .name = "eno1"};
    feed(topology, new_link(physical));
    CHECK_FALSE(topology.has_virtual_functions());
    physical.virtual_functions = {VirtualFunction{.number = 0}, VirtualFunction{.number = 1}};
    feed(topology, dumped(physical));
    CHECK(topology.has_virtual_functions());
    CHECK(topology.snapshot()->virtual_functions.at(0).functions.size() == 2);
    physical.virtual_functions.clear();
    feed(topology, new_link(physical));  // an event does not tell of them
    CHECK(topology.has_virtual_functions());
    feed(topology, dumped(physical));
    CHECK_FALSE(topology.has_virtual_functions());
}

// --- Counters --------------------------------------------------------------------------------

TEST_CASE("counters never fall, whatever the driver does", "[topology]") {
    Topology topology;
    feed(topology, new_link({.index = 2, .name = "e2"}));
    CHECK_FALSE(topology.counters_of(device(2)).has_value());
    feed(topology, new_statistics(2, {.receive_errors = 5, .transmit_drops = 100}));
    const auto revision = topology.state_revision();
    feed(topology, new_statistics(2, {.receive_errors = 7, .transmit_drops = 100}));
    feed(topology, new_statistics(2, {.receive_errors = 3, .transmit_drops = 101}));  // from 0
    const auto counters = topology.counters_of(device(2));
    REQUIRE(counters.has_value());
    CHECK(counters->receive_errors == 10);
    CHECK(counters->transmit_drops == 101);  // kept by the kernel, not by the driver
    CHECK(topology.state_revision() == revision);

    feed(topology, del_link(2));
    feed(topology, new_link({.index = 2, .name = "e2"}));
    CHECK_FALSE(topology.counters_of(device(2)).has_value());
    feed(topology, new_statistics(2, {.receive_errors = 1}));
    CHECK(topology.counters_of(device(2))->receive_errors == 1);
    feed(topology, new_statistics(9, {.receive_errors = 1}));  // never announced
    CHECK_FALSE(topology.counters_of(device(9)).has_value());
}

TEST_CASE("a part of the statistics that is older than an event is no restart", "[topology]") {
    Topology topology;
    LinkFacts link{.index = 2, .name = "e2"};
    link.counters = LinkCounters{.receive_drops = 1000};
    feed(topology, new_link(link));
    CHECK(topology.counters_of(device(2))->receive_drops == 1000);
    feed(topology, new_statistics(2, {.receive_drops = 990}));
    CHECK(topology.counters_of(device(2))->receive_drops == 1000);
    link.counters->receive_drops = 1100;
    feed(topology, new_link(link));
    feed(topology, new_statistics(2, {.receive_drops = 1090}));
    CHECK(topology.counters_of(device(2))->receive_drops == 1100);
}

// --- Addresses, neighbours, forwarding entries -------------------------------------------------

namespace {

InterfaceAddress on(int index, std::string_view text, std::uint8_t length) {
    return {device(index), address(text), length, IFA_F_PERMANENT};
}

}  // namespace

TEST_CASE("addresses follow events, dumps and their device", "[topology]") {
    Topology topology;
    feed(topology, new_link({.index = 2, .name = "e2"}));
    feed(topology, new_address(on(2, "10.0.0.2", 24)) + new_address(on(2, "10.0.0.1", 24)));
    feed(topology, new_address(on(3, "10.0.0.3", 24)));  // of a device never announced
    const auto found = topology.addresses_of(device(2));
    REQUIRE(found.size() == 2);
    CHECK(found[0] == on(2, "10.0.0.1", 24));
    CHECK(topology.address_count() == 3);
    feed(topology, del_address(on(2, "10.0.0.2", 24)));
    feed(topology, del_address(on(2, "10.0.0.9", 24)));  // never known
    CHECK(topology.addresses_of(device(2)).size() == 1);

    topology.begin_sweep(DumpKind::addresses);
    feed(topology, del_address(on(3, "10.0.0.3", 24)));
    feed(topology, new_address(on(3, "10.0.0.3", 24), NLM_F_MULTI, 1));  // the older of the two
    feed(topology, new_address(on(4, "10.0.0.4", 24), NLM_F_MULTI, 1));
    CHECK(topology.finish_sweep(DumpKind::addresses));
    CHECK(topology.address_count() == 1);
    CHECK(topology.addresses_of(device(4)).size() == 1);

    feed(topology, new_address(on(2, "10.0.0.1", 24)));
    feed(topology, del_link(2));  // the kernel told of the address before, and that was lost
    CHECK(topology.addresses_of(device(2)).empty());
}

TEST_CASE("a removed neighbour during its dump may have made the dump skip others", "[topology]") {
    Topology topology;
    const auto neighbour = [](std::uint8_t byte) {
        NeighbourFacts facts;
        facts.device = 2;
        facts.address = IpAddress::v4({10, 0, 0, byte});
        facts.mac = mac("02:00:00:00:00:01");
        return facts;
    };
    feed(topology, new_neighbour(neighbour(1)) + new_neighbour(neighbour(2)));
    feed(topology, new_neighbour(neighbour(3)));
    topology.begin_sweep(DumpKind::neighbours);
    feed(topology, del_neighbour(neighbour(1)));
    feed(topology, new_neighbour(neighbour(3), NLM_F_MULTI, 1));
    CHECK_FALSE(topology.finish_sweep(DumpKind::neighbours));
    CHECK(topology.neighbour_count() == 2);  // the second may live on
    topology.begin_sweep(DumpKind::neighbours);
    feed(topology, new_neighbour(neighbour(3), NLM_F_MULTI, 1));
    CHECK(topology.finish_sweep(DumpKind::neighbours));
    CHECK(topology.neighbour_count() == 1);
    CHECK(topology.neighbour(device(2), address("10.0.0.3"))->state == NeighbourState::resolved);
    CHECK_FALSE(topology.neighbour(device(2), address("10.0.0.2")).has_value());
}

TEST_CASE("limits of all tables: refused and counted, never a doubt", "[topology]") {
    Topology topology({.links = 4, .addresses = 2, .neighbours = 3, .fdb_entries = 4});
    for (std::uint8_t i = 1; i <= 10; ++i) {
        const auto some = IpAddress::v4({10, 0, 0, i});
        feed(topology, new_address({device(2), some, 24, 0}));
        feed(topology, new_neighbour({.device = 2, .address = some, .mac = MacAddress{}}));
        feed(topology, new_fdb({.bridge = 9, .port = 2, .mac = MacAddress({2, 0, 0, 0, 0, i})}));
    }
    CHECK(topology.address_count() == 2);
    CHECK(topology.neighbour_count() == 3);
    CHECK(topology.fdb_count() == 4);
    CHECK(topology.refusals().addresses == 8);
    CHECK(topology.refusals().neighbours == 7);
    CHECK(topology.refusals().fdb_entries == 6);
    CHECK(topology.take_doubts() == DumpKinds{});
}

TEST_CASE("a snapshot is shared until something it shows changes", "[topology]") {
    Topology topology;
    feed(topology, new_link({.index = 3, .name = "eth1"}) + new_link({.index = 2, .name = "eth0"}));
    feed(topology, new_address(on(2, "10.0.0.1", 24)));
    feed(topology, new_route(default_route({{address("fe80::1"), 2}}, 1024)));
    const auto snapshot = topology.snapshot();
    REQUIRE(snapshot->links.size() == 2);
    CHECK(snapshot->links[0]->name == "eth0");
    CHECK(snapshot->addresses.size() == 1);
    REQUIRE(snapshot->default_gateways.size() == 1);
    CHECK(snapshot->default_gateways[0].address == "fe80::1%eth0");
    CHECK(snapshot->default_gateways[0].device == "eth0");
    CHECK(snapshot->ipv6_routes == 1);
    feed(topology, new_statistics(2, {.receive_errors = 9}));
    CHECK(topology.snapshot() == snapshot);
    feed(topology, new_link({.index = 2, .name = "wan"}));
    CHECK(topology.snapshot() != snapshot);
    CHECK(topology.snapshot()->default_gateways[0].address == "fe80::1%wan");
    CHECK(snapshot->links[0]->name == "eth0");
}

// --- Changes, as the topology notices them -----------------------------------------------------

TEST_CASE("what the tables notice becomes changes of devices", "[topology]") {
    Topology topology;
    const auto told = [&](const Bytes& datagram) {
        topology.forget_changes();
        NetlinkReader reader{ByteView(datagram)};
        while (const auto* message = reader.next()) {
            topology.apply(*message, later);
        }
        Texts texts;
        for (const auto& change : topology.take_changes(later.mono + std::chrono::seconds(1))) {
            texts.push_back(change.name + " " + describe(change));
        }
        return texts;
    };
    CHECK(told(new_link(br0)) == Texts{"br0 appeared (bridge)"});
    LinkFacts veth{.index = 2, .name = "p2", .kind = "veth"};
    feed(topology, new_link(veth));
    CHECK(told(new_link(port_of_br0(2))) == Texts{"p2 joined bridge br0"});
    CHECK(told(left_bridge(2, 10) + new_link(veth)) == Texts{"p2 left bridge br0"});
    CHECK(told(new_link(veth)) == Texts{});
    veth.carrier_changes = 9;
    CHECK(told(new_link(veth)) == Texts{});
    CHECK(told(new_statistics(2, {.receive_errors = 1})) == Texts{});
    CHECK(told(new_address(on(2, "10.0.0.1", 24))) == Texts{"p2 address 10.0.0.1/24 added"});
    CHECK(told(new_route(default_route({{address("10.0.0.9"), 2}}))) ==
          Texts{"p2 default gateway 10.0.0.9 added"});
    veth.up = false;
    CHECK(told(new_link(veth)) ==
          Texts{"p2 switched off, lost carrier, default gateway 10.0.0.9 removed"});

    FdbFacts entry{.bridge = 10, .port = 2, .mac = mac("02:00:00:00:00:01"), .vlan = 5};
    CHECK(told(new_fdb(entry)) == Texts{});
    feed(topology, new_link({.index = 3, .name = "p3"}));
    entry.port = 3;
    CHECK(told(new_fdb(entry)) == Texts{"br0 02:00:00:00:00:01 vlan 5 moved from p2 to p3"});

    NeighbourFacts neighbour{.device = 2, .address = address("10.0.0.5")};
    neighbour.state = NUD_FAILED;
    CHECK(told(new_neighbour(neighbour)) == Texts{});
    neighbour.state = NUD_REACHABLE;
    neighbour.mac = mac("02:00:00:00:00:0a");
    CHECK(told(new_neighbour(neighbour)) == Texts{});
    neighbour.state = NUD_STALE;
    CHECK(told(new_neighbour(neighbour)) == Texts{});
    neighbour.mac = mac("02:00:00:00:00:0b");
    CHECK(told(new_neighbour(neighbour)) ==
          Texts{"p2 neighbour 10.0.0.5 02:00:00:00:00:0a -> 02:00:00:00:00:0b"});
    CHECK(told(moved_link(2, 3)) == Texts{"p2 moved into another namespace"});
    CHECK(told(del_link(3)) == Texts{"p3 removed"});
}

TEST_CASE("both ends of a veth pair are followed, though the kernel tells of one", "[topology]") {
    Topology topology;
    const auto end = [](int index, int lower) {
        LinkFacts link{.index = index, .name = "v" + std::to_string(index), .kind = "veth"};
        link.lower = lower;
        return link;
    };
    feed(topology, new_link(end(3, 0)) + new_link(end(4, 3)));
    CHECK(topology.link(device(3))->lower == device(4));
    CHECK(topology.link(device(3))->lower_namespace == -1);
    topology.forget_changes();

    feed(topology, moved_link(4, 7));
    CHECK(topology.link(device(3))->lower == device(4));
    CHECK(topology.link(device(3))->lower_namespace == 7);
    const auto state = topology.state_revision();

    feed(topology, new_link(end(9, 3)));  // back, with another index
    CHECK(topology.link(device(3))->lower == device(9));
    CHECK(topology.link(device(3))->lower_namespace == -1);
    CHECK(topology.state_revision() > state);
    for (const auto& change : topology.take_changes(mono_never)) {
        CHECK(change.name != "v3");  // nothing happened to this end
    }

    feed(topology,
         MessageBuilder(RTM_DELLINK, 0, 0)
             .header(link_header(9, false))
             .number(IFLA_NEW_IFINDEX, std::int32_t{2})
             .bytes());
    CHECK(topology.take_doubts() == just(DumpKind::links));  // whereto, the kernel did not say
}

TEST_CASE("what is no veth pair is not bent into one", "[topology]") {
    Topology topology;
    LinkFacts vlan{.index = 5, .name = "eth0.5", .kind = "vlan"};
    vlan.lower = 2;
    LinkFacts elsewhere{.index = 6, .name = "v6", .kind = "veth"};
    elsewhere.lower = 2;
    elsewhere.lower_namespace = 1;
    LinkFacts odd{.index = 7, .name = "v7", .kind = "veth"};
    odd.lower = 5;
    feed(topology,
         new_link({.index = 2, .name = "eth0"}) + new_link(vlan) + new_link(elsewhere) +
             new_link(odd) + moved_link(6, 3) + moved_link(7, 3));
    CHECK(topology.link(device(2))->lower == IfIndex::any);
    CHECK(topology.link(device(5))->lower == device(2));
}

TEST_CASE("the removal of a link never announced takes its routes along", "[topology]") {
    Topology topology;
    feed(topology, new_route(default_route({{address("10.0.0.1"), 9}})));
    CHECK(topology.snapshot()->default_gateways.size() == 1);
    const auto revision = topology.revision();
    feed(topology, del_link(9));
    CHECK(gateways(topology).empty());
    CHECK(topology.revision() > revision);
    CHECK(topology.snapshot()->default_gateways.empty());
    CHECK(topology.take_doubts() == just(DumpKind::ipv4_routes));
}
