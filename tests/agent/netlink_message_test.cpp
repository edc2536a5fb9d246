#include "agent/netlink_message.hpp"

#include <algorithm>
#include <memory>

#include <catch2/catch.hpp>

#include "common/random.hpp"
#include "tests/agent/netlink_builder.hpp"
#include "tests/agent/netlink_reading.hpp"

using namespace reachd;
using namespace reachd::test;

namespace {

/// A message of each kind of body, with as much in it as the parser reads.
std::vector<Bytes> one_of_each() {
    const LinkFacts port{.index = 7,
                         .name = "veth0",
                         .master = 3,
                         .kind = "veth",
                         .mac = mac("02:00:00:00:00:07"),
                         .lower = 2,
                         .lower_namespace = 0,
                         .carrier_changes = 4,
                         .port = BridgePort{},
                         .counters = LinkCounters{}};
    const LinkFacts bridge{.index = 3, .name = "br0", .kind = "bridge", .bridge = BridgeSettings{}};
    const LinkFacts nic{.index = 2, .name = "eth0", .virtual_functions = {{.number = 1}}};
    return {new_link(port),
            new_link(bridge),
            new_link(nic),
            bridge_link(port, {{.first = 1, .last = 1}, {.first = 5, .last = 9}}),
            new_route(multipath_route()),
            del_link(7),
            moved_link(7, 1),
            left_bridge(7, 3),
            new_address({device(7), address("fe80::7"), 64, 0x80}),
            new_neighbour({.device = 7, .address = address("10.0.0.9"), .mac = port.mac}),
            new_fdb({.bridge = 3, .port = 7, .mac = mac("02:00:00:00:00:08"), .vlan = 5}),
            new_statistics(7, {})};
}

}  // namespace

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
    CHECK(text("\xe2\x80\xae") == "\\xe2\\x80\\xae");  // turns the text round (U+202E)
    CHECK(text("\xe2\x81\xa6") == "\\xe2\\x81\\xa6");  // U+2066
    CHECK(text("\xd8\x9c") == "\\xd8\\x9c");           // U+061C
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
    CHECK(label(RTM_NEWSTATS) == "newstats");
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
    for (const auto& whole : one_of_each()) {
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
    for (const auto& whole : one_of_each()) {
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
    Bytes whole = dump_done(1);
    for (const auto& message : one_of_each()) {
        whole = whole + message;
    }
    for (int round = 0; round < 20000; ++round) {
        auto changed = whole;
        for (std::uint32_t i = 0; i <= random.below(6); ++i) {
            const auto at = random.below(static_cast<std::uint32_t>(changed.size()));
            changed[at] = static_cast<std::uint8_t>(random.below(256));
        }
        REQUIRE(read_all(changed).size() <= changed.size() / sizeof(nlmsghdr) + 1);
    }
}

namespace {

/// The fixed header of a request, past the netlink header, which is checked for all of them alike.
template <class Header>
Header request_header(DumpKind kind, int type, std::size_t attribute_bytes = 0) {
    const auto bytes = encode({.sequence = 9, .kind = kind});
    REQUIRE(bytes.size() == sizeof(nlmsghdr) + sizeof(Header) + attribute_bytes);
    nlmsghdr header{};
    std::memcpy(&header, bytes.data(), sizeof header);
    CHECK(header.nlmsg_len == bytes.size());
    CHECK(header.nlmsg_type == type);
    CHECK(header.nlmsg_flags == (NLM_F_REQUEST | NLM_F_DUMP));
    CHECK(header.nlmsg_seq == 9);
    Header body{};
    std::memcpy(&body, bytes.data() + sizeof header, sizeof body);
    return body;
}

/// Strict checking refuses a header that says more than it must.
template <class Header>
bool all_zero(const Header& header) {
    const Header zero{};
    return std::memcmp(&header, &zero, sizeof zero) == 0;
}

std::uint32_t extended_mask(DumpKind kind) {
    const auto bytes = encode({.sequence = 9, .kind = kind});
    const auto at = find_attribute(bytes, sizeof(ifinfomsg), IFLA_EXT_MASK);
    std::uint32_t mask = 0;
    std::memcpy(&mask, bytes.data() + at + sizeof(nlattr), sizeof mask);
    return mask;
}

}  // namespace

TEST_CASE("requests for links and VLANs say what to leave out", "[netlink]") {
    CHECK(all_zero(request_header<ifinfomsg>(DumpKind::links, RTM_GETLINK, 8)));
    CHECK(extended_mask(DumpKind::links) == (RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS));
    auto link = request_header<ifinfomsg>(DumpKind::bridge_vlans, RTM_GETLINK, 8);
    CHECK(std::exchange(link.ifi_family, std::uint8_t{0}) == AF_BRIDGE);
    CHECK(all_zero(link));
    CHECK(extended_mask(DumpKind::bridge_vlans) == RTEXT_FILTER_BRVLAN_COMPRESSED);
}

TEST_CASE("the other requests are a header of what a strict kernel takes", "[netlink]") {
    CHECK(all_zero(request_header<ifaddrmsg>(DumpKind::addresses, RTM_GETADDR)));
    CHECK(all_zero(request_header<ndmsg>(DumpKind::neighbours, RTM_GETNEIGH)));
    auto fdb = request_header<ndmsg>(DumpKind::fdb, RTM_GETNEIGH);
    CHECK(std::exchange(fdb.ndm_family, std::uint8_t{0}) == AF_BRIDGE);
    CHECK(all_zero(fdb));
    for (const auto kind : {DumpKind::ipv4_routes, DumpKind::ipv6_routes}) {
        auto route = request_header<rtmsg>(kind, RTM_GETROUTE);
        const int family = std::exchange(route.rtm_family, std::uint8_t{0});
        CHECK(family == (kind == DumpKind::ipv4_routes ? AF_INET : AF_INET6));
        CHECK(std::exchange(route.rtm_table, std::uint8_t{0}) == RT_TABLE_MAIN);
        CHECK(all_zero(route));
    }
    auto statistics = request_header<if_stats_msg>(DumpKind::statistics, RTM_GETSTATS);
    CHECK(std::exchange(statistics.filter_mask, 0U) == IFLA_STATS_FILTER_BIT(IFLA_STATS_LINK_64));
    CHECK(all_zero(statistics));
}
