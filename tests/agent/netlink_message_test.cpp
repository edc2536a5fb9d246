#include "agent/netlink_message.hpp"

#include <algorithm>
#include <memory>

#include <catch2/catch.hpp>

#include "common/random.hpp"
#include "tests/agent/netlink_builder.hpp"

using namespace reachd;
using namespace reachd::test;

namespace {

/// In a buffer of exactly its size, so that a sanitizer sees any read past the end.
std::vector<NetlinkMessage> read_all(const Bytes& bytes) {
    const auto exact = std::make_unique<std::uint8_t[]>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), exact.get());
    std::vector<NetlinkMessage> messages;
    NetlinkReader reader(ByteView(exact.get(), bytes.size()));
    while (const auto* message = reader.next()) {
        messages.push_back(*message);
    }
    return messages;
}

NetlinkMessage read_one(const Bytes& bytes) {
    const auto messages = read_all(bytes);
    REQUIRE(messages.size() == 1);
    return messages.front();
}

template <class Body>
Body read_body(const Bytes& bytes) {
    const auto message = read_one(bytes);
    REQUIRE(std::holds_alternative<Body>(message.body));
    return std::get<Body>(message.body);
}

bool is_malformed(const NetlinkMessage& message) {
    return std::holds_alternative<NetlinkMalformed>(message.body);
}

IfIndex device(int index) {
    return static_cast<IfIndex>(index);
}

RouteFacts multipath_route() {
    RouteFacts route;
    route.hops = {{address("10.0.0.1"), 2}, {address("fe80::7"), 3}, {std::nullopt, 4}};
    route.metric = 50;
    route.preferred_source = address("10.0.0.9");
    return route;
}

/// Start of the IFLA_MTU or other attribute `type` in a message, past its 16 + `header` bytes.
std::size_t find_attribute(const Bytes& bytes, std::size_t header, int type) {
    for (std::size_t at = 16 + header; at + 4 <= bytes.size();) {
        nlattr attribute{};
        std::memcpy(&attribute, bytes.data() + at, sizeof attribute);
        if (attribute.nla_type == type) {
            return at;
        }
        at += (attribute.nla_len + 3U) & ~std::size_t{3};
    }
    FAIL("no such attribute");
    return 0;
}

}  // namespace

TEST_CASE("a link is read with all that the model keeps", "[netlink]") {
    const LinkFacts facts{.index = 7,
                          .name = "veth0",
                          .up = true,
                          .master = 3,
                          .kind = "veth",
                          .mtu = 9000,
                          .oper_state = IF_OPER_LOWERLAYERDOWN};
    const auto message = read_one(new_link(facts));
    CHECK(message.type == NetlinkType::new_link);
    CHECK_FALSE(message.dump_part);
    const auto link = std::get<LinkChanged>(message.body);
    CHECK(link.index == device(7));
    CHECK(link.complete);
    CHECK(link.admin_up);
    CHECK(link.carrier);
    CHECK(link.hardware_type == 1);
    CHECK(link.name == "veth0");
    CHECK(link.kind == "veth");
    CHECK(link.mtu_bytes == 9000U);
    CHECK(link.oper_state == OperState::lower_layer_down);
    CHECK(link.master == device(3));
}

TEST_CASE("what a link does not say stays unsaid", "[netlink]") {
    const LinkFacts lone{.index = 1, .name = "lo", .up = false};
    const auto plain = read_body<LinkChanged>(new_link(lone));
    CHECK(plain.complete);
    CHECK_FALSE(plain.admin_up);
    CHECK_FALSE(plain.master.has_value());
    CHECK_FALSE(plain.kind.has_value());

    // As the wireless extensions send it: no MTU.
    MessageBuilder wireless(RTM_NEWLINK, 0, 0);
    wireless.header(link_header(4, true)).text(IFLA_IFNAME, "wlan0");
    CHECK_FALSE(read_body<LinkChanged>(wireless.bytes()).complete);

    MessageBuilder port(RTM_NEWLINK, 0, 0);
    port.header(link_header(5, true, AF_BRIDGE)).text(IFLA_IFNAME, "veth1");
    port.number(IFLA_MTU, std::uint32_t{1500}).number(IFLA_MASTER, std::uint32_t{9});
    const auto bridged = read_body<LinkChanged>(port.bytes());
    CHECK_FALSE(bridged.complete);
    CHECK(bridged.master == device(9));

    MessageBuilder ipv6(RTM_NEWLINK, 0, 0);
    ipv6.header(link_header(5, true, AF_INET6)).text(IFLA_IFNAME, "veth1");
    CHECK(std::holds_alternative<NetlinkOther>(read_one(ipv6.bytes()).body));
}

TEST_CASE("RTM_DELLINK removes a link, or only takes it out of a bridge", "[netlink]") {
    CHECK(read_body<LinkRemoved>(del_link(8)).index == device(8));
    const auto left = read_body<LinkLeftBridge>(left_bridge(8, 3));
    CHECK(left.index == device(8));
    CHECK(left.bridge == device(3));
}

TEST_CASE("interface indexes that cannot be are malformed", "[netlink]") {
    for (const int index : {0, -1, INT32_MIN}) {
        CHECK(is_malformed(read_one(new_link({.index = index, .name = "x"}))));
        CHECK(is_malformed(read_one(del_link(index))));
    }
}

TEST_CASE("names are kept as safe text, and apart", "[netlink]") {
    const auto text = [](std::string_view bytes) {
        return device_text(
            ByteView(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()));
    };
    CHECK(text("eth0.100@x") == "eth0.100@x");
    CHECK(text("m\xc3\xbc"
               "nchen") == "m\xc3\xbcnchen");
    CHECK(text("\xe2\x82\xac") == "\xe2\x82\xac");
    CHECK(text("\xf0\x9f\x98\x80") == "\xf0\x9f\x98\x80");
    CHECK(text("a\xff"
               "b") == "a\\xffb");
    CHECK(text("\xc3") == "\\xc3");
    CHECK(text("\x1b[31m") == "\\x1b[31m");
    CHECK(text("\xc2\x9b"
               "31m") == "\\xc2\\x9b31m");                      // C1: also an escape to terminals
    CHECK(text("\xc0\x80") == "\\xc0\\x80");                    // overlong
    CHECK(text("\xe0\x80\x80") == "\\xe0\\x80\\x80");           // overlong
    CHECK(text("\xed\xa0\x80") == "\\xed\\xa0\\x80");           // surrogate
    CHECK(text("\xf4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");  // beyond Unicode
    CHECK(text("a\\xffb") == "a\\x5cxffb");                     // never the text of another name

    const auto link = read_body<LinkChanged>(new_link({.index = 2, .name = "bad\xff"}));
    CHECK(link.name == "bad\\xff");
}

TEST_CASE("attributes of a wrong length are skipped and counted", "[netlink]") {
    MessageBuilder builder(RTM_NEWLINK, 0, 0);
    builder.header(link_header(2, true));
    builder.text(IFLA_IFNAME, "a name far too long for the kernel");
    builder.number(IFLA_MTU, std::uint16_t{1500});
    builder.attribute(IFLA_OPERSTATE, nullptr, 0);
    builder.number(IFLA_MASTER, std::uint32_t{9});
    const auto message = read_one(builder.bytes());
    CHECK(message.attributes_malformed == 3);
    const auto link = std::get<LinkChanged>(message.body);
    CHECK_FALSE(link.complete);
    CHECK_FALSE(link.name.has_value());
    CHECK_FALSE(link.mtu_bytes.has_value());
    CHECK(link.master == device(9));
}

TEST_CASE("unknown attributes and deep nests are passed over", "[netlink]") {
    MessageBuilder builder(RTM_NEWLINK, 0, 0);
    builder.header(link_header(2, true)).text(IFLA_IFNAME, "eth0");
    builder.number(999, std::uint64_t{1}).number(IFLA_MTU, std::uint32_t{1500});
    builder.nested(IFLA_LINKINFO | NLA_F_NESTED, [](MessageBuilder& info) {
        info.text(IFLA_INFO_KIND, "bridge");
        info.nested(IFLA_INFO_DATA, [](MessageBuilder& deep) {
            deep.nested(1, [](MessageBuilder& deeper) { deeper.nested(1, [](auto&) {}); });
        });
    });
    const auto message = read_one(builder.bytes());
    CHECK(message.attributes_malformed == 0);
    CHECK(std::get<LinkChanged>(message.body).complete);
    CHECK(std::get<LinkChanged>(message.body).kind == "bridge");
}

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

TEST_CASE("control messages", "[netlink]") {
    CHECK(read_body<DumpDone>(dump_done(3)).error == 0);
    CHECK(read_body<DumpDone>(dump_done(3, ENOENT)).error == ENOENT);
    CHECK(read_one(dump_done(3, 0, NLM_F_DUMP_INTR)).dump_interrupted);
    CHECK(read_body<NetlinkError>(error_message(3, EBUSY)).error == EBUSY);
    CHECK(read_one(error_message(3, EBUSY)).sequence == 3);
    const auto overrun = read_one(MessageBuilder(NLMSG_OVERRUN, 0, 0).bytes());
    CHECK(std::holds_alternative<NetlinkOverrun>(overrun.body));
    CHECK(is_malformed(read_one(MessageBuilder(NLMSG_ERROR, 0, 0).bytes())));
    // -errno beyond what the kernel has.
    CHECK(is_malformed(read_one(error_message(3, 5000))));
    CHECK(is_malformed(read_one(error_message(3, -1))));

    MessageBuilder next_hop(RTM_DELNEXTHOP, 0, 0);
    next_hop.header(std::uint64_t{0}).number(1, std::uint32_t{77});
    CHECK(read_body<NextHopRemoved>(next_hop.bytes()).id == 77);
}

TEST_CASE("each type has its metric label", "[netlink]") {
    const auto label = [](int type) {
        return std::string(to_text(read_one(MessageBuilder(type, 0, 0).bytes()).type));
    };
    CHECK(label(RTM_NEWLINK) == "newlink");
    CHECK(label(RTM_DELLINK) == "dellink");
    CHECK(label(RTM_NEWADDR) == "newaddr");
    CHECK(label(RTM_DELADDR) == "deladdr");
    CHECK(label(RTM_NEWNEIGH) == "newneigh");
    CHECK(label(RTM_DELNEIGH) == "delneigh");
    CHECK(label(RTM_NEWROUTE) == "newroute");
    CHECK(label(RTM_DELROUTE) == "delroute");
    CHECK(label(RTM_NEWNEXTHOP) == "newnexthop");
    CHECK(label(RTM_DELNEXTHOP) == "delnexthop");
    CHECK(label(RTM_NEWRULE) == "other");
    CHECK(label(NLMSG_NOOP) == "other");
}

TEST_CASE("several messages of one datagram, each for itself", "[netlink]") {
    auto broken = new_link({.index = 2, .name = "eth1"});
    const auto at = find_attribute(broken, sizeof(ifinfomsg), IFLA_MTU);
    broken[at] = 3;  // an attribute shorter than its own header
    const auto messages = read_all(new_link({.index = 1, .name = "eth0"}) + broken +
                                   new_link({.index = 3, .name = "eth2"}));
    REQUIRE(messages.size() == 3);
    CHECK(std::get<LinkChanged>(messages[0].body).name == "eth0");
    CHECK(is_malformed(messages[1]));
    CHECK(messages[1].type == NetlinkType::new_link);
    CHECK(std::get<LinkChanged>(messages[2].body).name == "eth2");
    CHECK(std::get<LinkChanged>(messages[2].body).complete);
}

TEST_CASE("a length that cannot be true ends the datagram", "[netlink]") {
    const auto good = new_link({.index = 1, .name = "eth0"});
    for (const std::uint32_t length : {0U, 1U, 15U, 100000U, UINT32_MAX}) {
        auto bad = good;
        std::memcpy(bad.data(), &length, sizeof length);
        const auto messages = read_all(good + bad + good);
        REQUIRE(messages.size() == 2);
        CHECK(is_malformed(messages[1]));
        CHECK(messages[1].type == NetlinkType::other);
    }
    CHECK(read_all({}).empty());
    CHECK(is_malformed(read_one({1, 2, 3})));
}

TEST_CASE("messages cut at every length are malformed, never read past", "[netlink]") {
    LinkFacts link{.index = 7, .name = "veth0", .up = true, .master = 3, .kind = "veth"};
    for (const auto& whole : {new_link(link), new_route(multipath_route()), del_link(7)}) {
        for (std::size_t size = 1; size < whole.size(); ++size) {
            Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
            CHECK(is_malformed(read_one(cut)));  // the header says more than there is
            if (size >= sizeof(nlmsghdr)) {
                const auto length = static_cast<std::uint32_t>(size);
                std::memcpy(cut.data(), &length, sizeof length);
                CHECK(read_all(cut).size() == 1);  // the header lies along
            }
        }
    }
}

TEST_CASE("attributes cut or stretched at every length are survived", "[netlink]") {
    LinkFacts link{.index = 7, .name = "veth0", .up = true, .master = 3, .kind = "veth"};
    for (const auto& whole : {new_link(link), new_route(multipath_route())}) {
        for (std::size_t at = sizeof(nlmsghdr); at + 1 < whole.size(); at += 2) {
            for (std::uint16_t value = 0; value < 80; ++value) {
                auto changed = whole;
                std::memcpy(changed.data() + at, &value, sizeof value);
                REQUIRE(read_all(changed).size() == 1);
            }
        }
    }
}

TEST_CASE("random damage is survived", "[netlink]") {
    const std::uint64_t seed = 20260101;
    CAPTURE(seed);
    Random random(seed);
    const auto whole = new_link({.index = 7, .name = "veth0", .kind = "veth"}) +
                       new_route(multipath_route()) + dump_done(1);
    for (int round = 0; round < 20000; ++round) {
        auto changed = whole;
        for (std::uint32_t i = 0; i <= random.below(6); ++i) {
            const auto at = random.below(static_cast<std::uint32_t>(changed.size()));
            changed[at] = static_cast<std::uint8_t>(random.below(256));
        }
        REQUIRE(read_all(changed).size() <= changed.size() / sizeof(nlmsghdr) + 1);
    }
}

TEST_CASE("dump requests are what a strict kernel takes", "[netlink]") {
    const auto links = encode({.sequence = 9, .kind = DumpKind::links});
    nlmsghdr header{};
    REQUIRE(links.size() == sizeof(nlmsghdr) + sizeof(ifinfomsg) + 8);
    std::memcpy(&header, links.data(), sizeof header);
    CHECK(header.nlmsg_len == links.size());
    CHECK(header.nlmsg_type == RTM_GETLINK);
    CHECK(header.nlmsg_flags == (NLM_F_REQUEST | NLM_F_DUMP));
    CHECK(header.nlmsg_seq == 9);
    const auto mask = find_attribute(links, sizeof(ifinfomsg), IFLA_EXT_MASK);
    CHECK(links.at(mask + 4) == 8);  // RTEXT_FILTER_SKIP_STATS

    for (const auto kind : {DumpKind::ipv4_routes, DumpKind::ipv6_routes}) {
        const auto routes = encode({.sequence = 10, .kind = kind});
        rtmsg route{};
        REQUIRE(routes.size() == sizeof(nlmsghdr) + sizeof(rtmsg));
        std::memcpy(&header, routes.data(), sizeof header);
        std::memcpy(&route, routes.data() + sizeof header, sizeof route);
        CHECK(header.nlmsg_type == RTM_GETROUTE);
        CHECK(route.rtm_family == (kind == DumpKind::ipv4_routes ? AF_INET : AF_INET6));
        CHECK(route.rtm_table == RT_TABLE_MAIN);
        CHECK(route.rtm_flags == 0);
    }
}
