// Routes: agent/netlink_route.cpp by the parser's one door.
#include <catch2/catch.hpp>

#include "agent/netlink_message.hpp"
#include "tests/agent/netlink_builder.hpp"
#include "tests/agent/netlink_reading.hpp"

using namespace reachd;
using namespace reachd::test;

TEST_CASE("a default route with one gateway", "[netlink]") {
    RouteFacts facts;
    facts.hops = {{address("192.0.2.1"), 4}};
    facts.metric = 100;
    const auto message = read_one(new_route(facts, NLM_F_CREATE));
    CHECK(message.type == NetlinkType::new_route);
    const auto change = std::get<RouteChanged>(message.body);
    CHECK_FALSE(change.replaces);
    const auto& route = change.route;
    CHECK(route.family == Family::ipv4);
    CHECK(route.prefix_length == 0);
    CHECK(route.table == RT_TABLE_MAIN);
    CHECK(route.type == RTN_UNICAST);
    CHECK(route.protocol == RTPROT_STATIC);
    CHECK(route.metric == 100);
    REQUIRE(route.next_hops.size() == 1);
    CHECK(route.next_hops[0].gateway == address("192.0.2.1"));
    CHECK(route.next_hops[0].device == device(4));

    CHECK(read_body<RouteChanged>(new_route(facts, NLM_F_REPLACE)).replaces);
    CHECK(read_body<RouteRemoved>(del_route(facts)).route.metric == 100);
}

TEST_CASE("a replace is an event's, not a dump's", "[netlink]") {
    RouteFacts facts;
    facts.hops = {{address("192.0.2.1"), 4}};
    const auto part = read_one(new_route(facts, NLM_F_MULTI | NLM_F_REPLACE, 5));
    CHECK(part.dump_part);
    CHECK(part.sequence == 5);
    CHECK_FALSE(std::get<RouteChanged>(part.body).replaces);
}

TEST_CASE("link-local gateways carry their device as scope", "[netlink]") {
    RouteFacts facts;
    facts.family = Family::ipv6;
    facts.hops = {{address("fe80::1"), 6}};
    const auto hop = read_body<RouteChanged>(new_route(facts)).route.next_hops.at(0);
    CHECK(hop.gateway->to_string() == "fe80::1");
    CHECK(hop.gateway->scope() == device(6));

    facts.hops = {{address("2001:db8::1"), 6}};
    const auto global = read_body<RouteChanged>(new_route(facts)).route.next_hops.at(0);
    CHECK(global.gateway->scope() == IfIndex::any);
}

TEST_CASE("multipath routes, with a gateway of the other family", "[netlink]") {
    const auto route = read_body<RouteChanged>(new_route(multipath_route())).route;
    REQUIRE(route.next_hops.size() == 3);
    CHECK(route.next_hops[0].gateway == address("10.0.0.1"));
    CHECK(route.next_hops[1].gateway->to_string() == "fe80::7");
    CHECK(route.next_hops[1].gateway->scope() == device(3));
    CHECK_FALSE(route.next_hops[2].gateway.has_value());
    CHECK(route.next_hops[2].device == device(4));
    CHECK(route.preferred_source == address("10.0.0.9"));
}

TEST_CASE("next hops beyond the limit, and of removed devices, are not kept", "[netlink]") {
    RouteFacts facts;
    for (int i = 1; i <= 70; ++i) {
        facts.hops.push_back({address("10.0.0.1"), i});
    }
    facts.hops.push_back({address("10.0.0.2"), 0});
    const auto route = read_body<RouteChanged>(new_route(facts)).route;
    CHECK(route.next_hops.size() == next_hops_max);
    CHECK(route.next_hops_refused == 70 - next_hops_max);
}

TEST_CASE("half a route is no route", "[netlink]") {
    MessageBuilder short_gateway(RTM_NEWROUTE, 0, 0);
    rtmsg header{};
    header.rtm_family = AF_INET;
    short_gateway.header(header).attribute(RTA_GATEWAY, Bytes{10, 0, 1});
    short_gateway.number(RTA_OIF, std::uint32_t{2});
    const auto message = read_one(short_gateway.bytes());
    CHECK(is_malformed(message));
    CHECK(message.attributes_malformed == 1);

    header.rtm_dst_len = 33;
    CHECK(is_malformed(read_one(MessageBuilder(RTM_NEWROUTE, 0, 0).header(header).bytes())));

    header = {};
    header.rtm_family = 28;  // AF_MPLS
    CHECK(std::holds_alternative<NetlinkOther>(
        read_one(MessageBuilder(RTM_NEWROUTE, 0, 0).header(header).bytes()).body));
}

TEST_CASE("the large table number wins over the 8-bit one", "[netlink]") {
    RouteFacts facts;
    facts.hops = {{address("192.0.2.1"), 4}};
    facts.table = 1000;
    CHECK(read_body<RouteChanged>(new_route(facts)).route.table == 1000);
}
