// Addresses, neighbours, forwarding tables: agent/netlink_neighbour.cpp by the parser's one door.
#include <catch2/catch.hpp>

#include "agent/netlink_message.hpp"
#include "tests/agent/netlink_builder.hpp"
#include "tests/agent/netlink_reading.hpp"

using namespace reachd;
using namespace reachd::test;

TEST_CASE("addresses of both families", "[netlink]") {
    const InterfaceAddress ipv4{device(3), address("10.0.0.1"), 24, IFA_F_PERMANENT};
    CHECK(read_body<AddressChanged>(new_address(ipv4)).address == ipv4);
    CHECK(read_body<AddressRemoved>(del_address(ipv4)).address == ipv4);

    // More flags than the header's eight bits.
    const InterfaceAddress ipv6{
        device(3), address("2001:db8::1"), 128, IFA_F_STABLE_PRIVACY | IFA_F_TENTATIVE};
    const auto read = read_body<AddressChanged>(new_address(ipv6)).address;
    CHECK(read == ipv6);
    CHECK(read.address.scope() == IfIndex::any);

    const auto local =
        read_body<AddressChanged>(new_address({device(3), address("fe80::1"), 64, 0})).address;
    CHECK(local.address.to_string() == "fe80::1");
    CHECK(local.address.scope() == device(3));
}

TEST_CASE("of a point-to-point link the own end counts", "[netlink]") {
    ifaddrmsg header{};
    header.ifa_family = AF_INET6;
    header.ifa_prefixlen = 128;
    header.ifa_index = 3;
    header.ifa_flags = 0x81;
    MessageBuilder builder(RTM_NEWADDR, 0, 0);
    builder.header(header).address(IFA_LOCAL, address("fd00::5"));
    builder.address(IFA_ADDRESS, address("fd00::6"));
    const auto read = read_body<AddressChanged>(builder.bytes()).address;
    CHECK(read.address == address("fd00::5"));
    CHECK(read.flags == 0x81);  // no IFA_FLAGS: an old kernel
}

TEST_CASE("half an address is none", "[netlink]") {
    const auto good = InterfaceAddress{device(3), address("10.0.0.1"), 24, 0};
    const auto with = [&](auto change) {
        auto told = good;
        change(told);
        return read_one(new_address(told));
    };
    CHECK(is_malformed(with([](auto& told) { told.prefix_length = 33; })));
    CHECK(is_malformed(with([](auto& told) { told.device = IfIndex::any; })));
    CHECK(is_malformed(with([](auto& told) { told.device = static_cast<IfIndex>(1U << 31U); })));
    CHECK_FALSE(is_malformed(with([](auto&) {})));

    ifaddrmsg header{};
    header.ifa_family = AF_INET;
    header.ifa_index = 3;
    CHECK(is_malformed(read_one(MessageBuilder(RTM_NEWADDR, 0, 0).header(header).bytes())));
    MessageBuilder wrong_size(RTM_NEWADDR, 0, 0);
    wrong_size.header(header).attribute(IFA_LOCAL, Bytes(16, 1));
    wrong_size.address(IFA_ADDRESS, address("10.0.0.1"));
    CHECK(is_malformed(read_one(wrong_size.bytes())));  // not the other end instead
    CHECK(read_one(wrong_size.bytes()).attributes_malformed == 1);
    header.ifa_family = AF_BRIDGE;
    const auto other = read_one(MessageBuilder(RTM_NEWADDR, 0, 0).header(header).bytes());
    CHECK(std::holds_alternative<NetlinkOther>(other.body));
}

TEST_CASE("neighbours and what is known of them", "[netlink]") {
    NeighbourFacts facts{.device = 3,
                         .address = address("10.0.0.9"),
                         .mac = mac("02:00:00:00:00:09"),
                         .flags = NTF_ROUTER};
    const auto neighbour = read_body<NeighbourChanged>(new_neighbour(facts));
    CHECK(neighbour.device == device(3));
    CHECK(neighbour.address == address("10.0.0.9"));
    CHECK(neighbour.mac == mac("02:00:00:00:00:09"));
    CHECK(neighbour.state == NeighbourState::resolved);
    CHECK(neighbour.router);
    const auto gone = read_body<NeighbourRemoved>(del_neighbour(facts));
    CHECK(gone.device == device(3));
    CHECK(gone.address == address("10.0.0.9"));

    const auto state = [&](std::uint16_t value) {
        facts.state = value;
        return read_body<NeighbourChanged>(new_neighbour(facts)).state;
    };
    for (const auto value : {NUD_REACHABLE, NUD_STALE, NUD_DELAY, NUD_PROBE}) {
        CHECK(state(static_cast<std::uint16_t>(value)) == NeighbourState::resolved);
    }
    for (const auto value : {NUD_NONE, NUD_INCOMPLETE, NUD_FAILED}) {
        CHECK(state(static_cast<std::uint16_t>(value)) == NeighbourState::unresolved);
    }
    CHECK(state(NUD_PERMANENT) == NeighbourState::permanent);
}

TEST_CASE("link-local neighbours carry their device as scope", "[netlink]") {
    const NeighbourFacts facts{.device = 3, .address = address("fe80::9"), .state = NUD_FAILED};
    const auto neighbour = read_body<NeighbourChanged>(new_neighbour(facts));
    CHECK(neighbour.address.scope() == device(3));
    CHECK_FALSE(neighbour.mac.has_value());
    CHECK_FALSE(neighbour.router);
    CHECK(read_body<NeighbourRemoved>(del_neighbour(facts)).address == neighbour.address);
}

TEST_CASE("neighbours that need no resolution are not followed", "[netlink]") {
    const auto is_other = [](const Bytes& bytes) {
        return std::holds_alternative<NetlinkOther>(read_one(bytes).body);
    };
    CHECK(is_other(new_neighbour({.device = 3, .address = address("ff02::1")})));
    CHECK(is_other(new_neighbour({.device = 3, .address = address("224.0.0.1")})));
    CHECK(
        is_other(new_neighbour({.device = 3, .address = address("10.0.0.9"), .flags = NTF_PROXY})));
    NeighbourFacts facts{.device = 3, .address = address("10.0.0.9"), .state = NUD_NOARP};
    CHECK(is_other(new_neighbour(facts, NLM_F_MULTI)));
    // One that was followed until now; and the kernel takes entries in use away as NUD_NOARP.
    CHECK(read_body<NeighbourRemoved>(new_neighbour(facts)).address == address("10.0.0.9"));
    CHECK(read_body<NeighbourRemoved>(del_neighbour(facts)).address == address("10.0.0.9"));
}

TEST_CASE("half a neighbour is none", "[netlink]") {
    CHECK(is_malformed(read_one(new_neighbour({.device = 0, .address = address("10.0.0.9")}))));
    CHECK(is_malformed(read_one(new_neighbour({.device = -4, .address = address("10.0.0.9")}))));
    ndmsg header{};
    header.ndm_family = AF_INET;
    header.ndm_ifindex = 3;
    CHECK(is_malformed(read_one(MessageBuilder(RTM_NEWNEIGH, 0, 0).header(header).bytes())));
    MessageBuilder wrong_size(RTM_NEWNEIGH, 0, 0);
    wrong_size.header(header).attribute(NDA_DST, Bytes(5, 1));
    CHECK(is_malformed(read_one(wrong_size.bytes())));
    // A link-layer address that is no MAC: an IP tunnel's.
    MessageBuilder tunnel(RTM_NEWNEIGH, 0, 0);
    tunnel.header(header).address(NDA_DST, address("10.0.0.9"));
    tunnel.address(NDA_LLADDR, address("192.0.2.1"));
    CHECK_FALSE(read_body<NeighbourChanged>(tunnel.bytes()).mac.has_value());
    header.ndm_family = 28;  // AF_MPLS
    const auto other = read_one(MessageBuilder(RTM_NEWNEIGH, 0, 0).header(header).bytes());
    CHECK(std::holds_alternative<NetlinkOther>(other.body));
}

TEST_CASE("MACs behind the ports of a bridge", "[netlink]") {
    FdbFacts facts{.bridge = 3, .port = 7, .mac = mac("02:00:00:00:00:08"), .vlan = 4094};
    const auto entry = read_body<FdbChanged>(new_fdb(facts));
    CHECK(entry.bridge == device(3));
    CHECK(entry.port == device(7));
    CHECK(entry.mac == facts.mac);
    CHECK(entry.vlan == 4094);
    CHECK_FALSE(entry.fixed);
    const auto gone = read_body<FdbRemoved>(del_fdb(facts));
    CHECK(gone.bridge == device(3));
    CHECK(gone.port == device(7));
    CHECK(gone.mac == facts.mac);
    CHECK(gone.vlan == 4094);

    facts.state = NUD_NOARP;
    facts.vlan = 0;
    CHECK(read_body<FdbChanged>(new_fdb(facts)).fixed);
    CHECK(read_body<FdbChanged>(new_fdb(facts)).vlan == 0);
}

TEST_CASE("entries of tables that are not followed", "[netlink]") {
    const auto is_other = [](const Bytes& bytes) {
        return std::holds_alternative<NetlinkOther>(read_one(bytes).body);
    };
    FdbFacts facts{.bridge = 0, .port = 7, .mac = mac("02:00:00:00:00:08")};
    CHECK(is_other(new_fdb(facts)));  // a VXLAN's own
    facts.bridge = 3;
    facts.mac = mac("33:33:00:00:00:01");
    CHECK(is_other(new_fdb(facts)));
    facts.mac = mac("02:00:00:00:00:07");
    facts.state = NUD_PERMANENT;  // the port's own address
    CHECK(is_other(new_fdb(facts, NLM_F_MULTI)));
    CHECK(is_other(del_fdb(facts)));
    CHECK(read_body<FdbRemoved>(new_fdb(facts)).mac == facts.mac);  // perhaps was learnt before
}

TEST_CASE("half an entry is none", "[netlink]") {
    FdbFacts facts{.bridge = 3, .port = 7, .mac = mac("02:00:00:00:00:08"), .vlan = 4095};
    CHECK(is_malformed(read_one(new_fdb(facts))));
    facts = {.bridge = 3, .port = 0, .mac = mac("02:00:00:00:00:08")};
    CHECK(is_malformed(read_one(new_fdb(facts))));
    ndmsg header{};
    header.ndm_family = AF_BRIDGE;
    header.ndm_ifindex = 7;
    MessageBuilder no_mac(RTM_NEWNEIGH, 0, 0);
    no_mac.header(header).number(NDA_MASTER, 3U);
    CHECK(is_malformed(read_one(no_mac.bytes())));
    MessageBuilder short_master(RTM_NEWNEIGH, 0, 0);
    short_master.header(header).mac(NDA_LLADDR, mac("02:00:00:00:00:08"));
    short_master.number(NDA_MASTER, std::uint16_t{3});
    CHECK(is_malformed(read_one(short_master.bytes())));
}
