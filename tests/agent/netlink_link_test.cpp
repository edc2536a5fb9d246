// Links: agent/netlink_link.cpp and netlink_link_info.cpp by the parser's one door.
#include <set>

#include <catch2/catch.hpp>

#include "agent/netlink_message.hpp"
#include "tests/agent/netlink_builder.hpp"
#include "tests/agent/netlink_reading.hpp"

using namespace reachd;
using namespace reachd::test;

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
    CHECK(link.resolves);
    for (const unsigned flag : {IFF_NOARP, IFF_LOOPBACK, IFF_POINTOPOINT}) {
        const LinkFacts silent{.index = 7, .name = "veth0", .more_flags = flag};
        CHECK_FALSE(read_body<LinkChanged>(new_link(silent)).resolves);
    }
    CHECK(link.name == "veth0");
    CHECK(link.kind == LinkKind::veth);
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
    CHECK(plain.kind == LinkKind::physical);

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
    CHECK(std::get<LinkChanged>(message.body).kind == LinkKind::bridge);
}

TEST_CASE("what comes with a link is read too", "[netlink]") {
    const LinkFacts facts{.index = 7,
                          .name = "veth0",
                          .master = 3,
                          .kind = "veth",
                          .carrier = false,
                          .mac = mac("02:00:00:00:00:07"),
                          .lower = 2,
                          .lower_namespace = 5,
                          .carrier_changes = 9,
                          .port = BridgePort{PortState::blocking, true},
                          .counters = LinkCounters{1, 2, 7, 4}};
    const auto link = read_body<LinkChanged>(new_link(facts));
    CHECK(link.admin_up);
    CHECK_FALSE(link.carrier);
    CHECK(link.mac == mac("02:00:00:00:00:07"));
    CHECK(link.lower == device(2));
    CHECK(link.lower_namespace == 5);
    CHECK(link.carrier_changes == 9U);
    CHECK(link.port == BridgePort{PortState::blocking, true});
    CHECK(link.counters == LinkCounters{1, 2, 7, 4});
    CHECK_FALSE(link.bridge.has_value());
    CHECK_FALSE(link.vlans.has_value());
    CHECK_FALSE(link.virtual_functions.has_value());
}

TEST_CASE("each kind has its enumerator", "[netlink]") {
    const auto kind = [](const std::string& name) {
        return read_body<LinkChanged>(new_link({.index = 2, .name = "x", .kind = name})).kind;
    };
    // The kernel has no kinds of these names, or they need more than a name.
    const std::set<LinkKind> derived{
        LinkKind::physical, LinkKind::loopback, LinkKind::tun, LinkKind::tap, LinkKind::other};
    for (std::size_t i = 0; i < link_kind_count; ++i) {
        const auto expected = static_cast<LinkKind>(i);
        if (derived.count(expected) == 0) {
            CHECK(kind(std::string(to_text(expected))) == expected);
        }
    }
    for (const auto* name : {"gretap", "ip6gre", "ip6gretap", "erspan", "ip6erspan"}) {
        CHECK(kind(name) == LinkKind::gre);
    }
    CHECK(kind("ipvtap") == LinkKind::ipvlan);
    CHECK(kind("netkit") == LinkKind::other);
    CHECK(kind("veth2") == LinkKind::other);
    CHECK(kind("physical") == LinkKind::other);
}

TEST_CASE("without a kind the hardware type tells", "[netlink]") {
    CHECK(read_body<LinkChanged>(new_link({.index = 1, .name = "lo", .hardware_type = 772})).kind ==
          LinkKind::loopback);
    // A port without a kind of its own has IFLA_LINKINFO all the same.
    const LinkFacts port{.index = 2, .name = "eth0", .master = 3, .port = BridgePort{}};
    CHECK(read_body<LinkChanged>(new_link(port)).kind == LinkKind::physical);
    MessageBuilder partial(RTM_NEWLINK, 0, 0);
    partial.header(link_header(4, true)).text(IFLA_IFNAME, "wlan0");
    CHECK_FALSE(read_body<LinkChanged>(partial.bytes()).kind.has_value());
}

TEST_CASE("tun and tap are one kind to the kernel", "[netlink]") {
    const auto kind = [](std::uint8_t type, std::uint16_t hardware) {
        return read_body<LinkChanged>(new_link({.index = 2,
                                                .name = "vnet0",
                                                .kind = "tun",
                                                .hardware_type = hardware,
                                                .tun_type = type}))
            .kind;
    };
    CHECK(kind(1, 65534) == LinkKind::tun);
    CHECK(kind(2, 1) == LinkKind::tap);
    CHECK(kind(2, 65534) == LinkKind::tap);
    CHECK(kind(0, 65534) == LinkKind::tun);  // old kernels do not say
    CHECK(kind(0, 1) == LinkKind::tap);
    CHECK(kind(9, 1) == LinkKind::tap);
}

TEST_CASE("the owner of a tap, if it has one", "[netlink]") {
    LinkFacts tap{.index = 2, .name = "vnet0", .kind = "tun", .tun_type = 2};
    CHECK_FALSE(read_body<LinkChanged>(new_link(tap)).owner_uid.has_value());
    tap.tun_owner = 0;
    CHECK(read_body<LinkChanged>(new_link(tap)).owner_uid == 0U);
    tap.tun_owner = 1000;
    CHECK(read_body<LinkChanged>(new_link(tap)).owner_uid == 1000U);
    MessageBuilder cut_short(RTM_NEWLINK, 0, 0);
    cut_short.header(link_header(tap)).text(IFLA_IFNAME, "vnet0");
    cut_short.nested(IFLA_LINKINFO, [](MessageBuilder& info) {
        info.text(IFLA_INFO_KIND, "tun").nested(IFLA_INFO_DATA, [](MessageBuilder& data) {
            data.number(IFLA_TUN_OWNER, std::uint16_t{1000});
        });
    });
    CHECK_FALSE(read_body<LinkChanged>(cut_short.bytes()).owner_uid.has_value());
}

TEST_CASE("the detail of each kind that has one", "[netlink]") {
    const auto detail = [](const std::string& kind, std::optional<std::uint32_t> value) {
        return read_body<LinkChanged>(
                   new_link({.index = 2, .name = "x", .kind = kind, .detail = value}))
            .detail;
    };
    CHECK(detail("vlan", 4094) == 4094U);
    CHECK(detail("vxlan", 0xffffff) == 0xffffffU);
    CHECK(detail("geneve", 78) == 78U);
    CHECK(detail("bond", 6) == 6U);
    CHECK(detail("macvlan", 4) == 4U);
    CHECK(detail("macvtap", 8) == 8U);
    CHECK_FALSE(detail("vxlan", std::nullopt).has_value());
    CHECK_FALSE(detail("veth", 1).has_value());
}

TEST_CASE("a vxlan names the device below it in its own data", "[netlink]") {
    MessageBuilder builder(RTM_NEWLINK, 0, 0);
    builder.header(link_header(7, true)).text(IFLA_IFNAME, "vx0").number(IFLA_MTU, 1450U);
    builder.nested(IFLA_LINKINFO, [](MessageBuilder& info) {
        info.text(IFLA_INFO_KIND, "vxlan");
        info.nested(IFLA_INFO_DATA, [](MessageBuilder& data) {
            data.number(IFLA_VXLAN_ID, 42U).number(IFLA_VXLAN_LINK, 3U);
        });
    });
    const auto link = read_body<LinkChanged>(builder.bytes());
    CHECK(link.lower == IfIndex{3});
    CHECK(link.detail == 42U);
    CHECK(link.over_ipv6 == false);
}

TEST_CASE("a tunnel with an address of IPv6 is one over IPv6", "[netlink]") {
    const auto over_ipv6 = [](const std::string& kind, std::uint16_t attribute) {
        MessageBuilder builder(RTM_NEWLINK, 0, 0);
        builder.header(link_header(7, true)).text(IFLA_IFNAME, "x0").number(IFLA_MTU, 1430U);
        builder.nested(IFLA_LINKINFO, [&](MessageBuilder& info) {
            info.text(IFLA_INFO_KIND, kind);
            info.nested(IFLA_INFO_DATA,
                        [&](MessageBuilder& data) { data.attribute(attribute, Bytes(16, 0xfd)); });
        });
        return read_body<LinkChanged>(builder.bytes()).over_ipv6;
    };
    CHECK(over_ipv6("vxlan", IFLA_VXLAN_GROUP6) == true);
    CHECK(over_ipv6("vxlan", IFLA_VXLAN_LOCAL6) == true);
    CHECK(over_ipv6("vxlan", IFLA_VXLAN_GROUP) == false);
    CHECK(over_ipv6("geneve", IFLA_GENEVE_REMOTE6) == true);
    CHECK_FALSE(over_ipv6("vlan", IFLA_VXLAN_GROUP6).has_value());
}

TEST_CASE("data of a kind may come before the kind", "[netlink]") {
    MessageBuilder builder(RTM_NEWLINK, 0, 0);
    builder.header(link_header(2, true)).text(IFLA_IFNAME, "x").number(IFLA_MTU, 1500U);
    builder.nested(IFLA_LINKINFO, [](MessageBuilder& info) {
        info.nested(IFLA_INFO_SLAVE_DATA, [](MessageBuilder& data) {
            add_port(data, {PortState::forwarding, true});
        });
        info.nested(IFLA_INFO_DATA, [](MessageBuilder& data) { data.number(IFLA_VXLAN_ID, 77U); });
        info.text(IFLA_INFO_SLAVE_KIND, "bridge").text(IFLA_INFO_KIND, "vxlan");
    });
    const auto link = read_body<LinkChanged>(builder.bytes());
    CHECK(link.kind == LinkKind::vxlan);
    CHECK(link.detail == 77U);
    CHECK(link.port == BridgePort{PortState::forwarding, true});
}

TEST_CASE("a port of a bond is no port of a bridge", "[netlink]") {
    MessageBuilder builder(RTM_NEWLINK, 0, 0);
    builder.header(link_header(2, true)).text(IFLA_IFNAME, "x").number(IFLA_MTU, 1500U);
    builder.nested(IFLA_LINKINFO, [](MessageBuilder& info) {
        info.text(IFLA_INFO_SLAVE_KIND, "bond");
        info.nested(IFLA_INFO_SLAVE_DATA, [](MessageBuilder& data) { add_port(data, {}); });
    });
    CHECK_FALSE(read_body<LinkChanged>(builder.bytes()).port.has_value());
}

TEST_CASE("a bridge tells its settings", "[netlink]") {
    LinkFacts facts{.index = 3, .name = "br0", .kind = "bridge"};
    facts.bridge = BridgeSettings{true, true, 1500, 1};
    CHECK(read_body<LinkChanged>(new_link(facts)).bridge == facts.bridge);
    facts.bridge = BridgeSettings{};
    CHECK(read_body<LinkChanged>(new_link(facts)).bridge == facts.bridge);
    facts.bridge->default_pvid = 4095;
    const auto message = read_one(new_link(facts));
    CHECK(message.attributes_malformed == 1);
    CHECK_FALSE(std::get<LinkChanged>(message.body).complete);
}

TEST_CASE("only six bytes are a MAC address, others are no mistake", "[netlink]") {
    for (const std::size_t size : {0U, 4U, 5U, 7U, 16U, 20U}) {
        MessageBuilder builder(RTM_NEWLINK, 0, 0);
        builder.header(link_header(2, true)).text(IFLA_IFNAME, "ib0").number(IFLA_MTU, 1500U);
        builder.attribute(IFLA_ADDRESS, Bytes(size, 1));
        const auto message = read_one(builder.bytes());
        CHECK(message.attributes_malformed == 0);
        CHECK(std::get<LinkChanged>(message.body).complete);
        CHECK_FALSE(std::get<LinkChanged>(message.body).mac.has_value());
    }
}

TEST_CASE("the lower device is another one, here or in its namespace", "[netlink]") {
    const auto read = [](int lower, std::optional<std::int32_t> where) {
        const auto link = read_body<LinkChanged>(
            new_link({.index = 2, .name = "x", .lower = lower, .lower_namespace = where}));
        return std::pair(link.lower, link.lower_namespace);
    };
    using Read = std::pair<std::optional<IfIndex>, std::optional<std::int32_t>>;
    CHECK(read(5, std::nullopt) == Read(device(5), std::nullopt));
    CHECK(read(2, std::nullopt) == Read());   // itself
    CHECK(read(2, 0) == Read(device(2), 0));  // its namesake in another namespace
    CHECK(read(5, -1) == Read());             // a namespace without a number
    CHECK(read(0, 4) == Read());
}

TEST_CASE("statistics of old kernels are shorter", "[netlink]") {
    const auto full = statistics({1, 2, 8, 4});
    const auto read = [&](std::size_t size) {
        MessageBuilder builder(RTM_NEWLINK, 0, 0);
        builder.header(link_header(2, true)).text(IFLA_IFNAME, "x").number(IFLA_MTU, 1500U);
        builder.attribute(IFLA_STATS64, &full, size);
        return read_one(builder.bytes());
    };
    CHECK(std::get<LinkChanged>(read(sizeof full).body).counters == LinkCounters{1, 2, 8, 4});
    CHECK(std::get<LinkChanged>(read(184).body).counters == LinkCounters{1, 2, 8, 4});
    CHECK(std::get<LinkChanged>(read(64).body).counters == LinkCounters{1, 2, 4, 4});  // no missed
    CHECK_FALSE(std::get<LinkChanged>(read(63).body).counters.has_value());
    CHECK(read(63).attributes_malformed == 1);
    CHECK(read(0).attributes_malformed == 1);
}

TEST_CASE("RTM_NEWSTATS is a link's counters", "[netlink]") {
    const auto message = read_one(new_statistics(7, {1, 2, 3, 4}));
    CHECK(message.type == NetlinkType::new_statistics);
    CHECK(message.dump_part);
    CHECK(std::get<LinkStatistics>(message.body).index == device(7));
    CHECK(std::get<LinkStatistics>(message.body).counters == LinkCounters{1, 2, 3, 4});
    CHECK(is_malformed(read_one(new_statistics(0, {}))));
    if_stats_msg header{};
    header.ifindex = 7;
    const auto empty = read_one(MessageBuilder(RTM_NEWSTATS, 0, 0).header(header).bytes());
    CHECK(std::holds_alternative<NetlinkOther>(empty.body));
}

TEST_CASE("a bridge tells of its port", "[netlink]") {
    const LinkFacts port{.index = 7,
                         .name = "veth0",
                         .master = 3,
                         .lower = 2,
                         .port = BridgePort{PortState::learning, true}};
    const auto link = read_body<LinkChanged>(bridge_link(port, {}));
    CHECK_FALSE(link.complete);
    CHECK_FALSE(link.kind.has_value());
    CHECK(link.master == device(3));
    CHECK(link.port == BridgePort{PortState::learning, true});
    CHECK_FALSE(link.lower.has_value());  // the bridge leaves out whose namespace it is of
    REQUIRE(link.vlans.has_value());      // the kernel leaves an empty list out
    CHECK(link.vlans->empty());
}

TEST_CASE("VLANs come one by one or as the two ends of a range", "[netlink]") {
    const std::vector<VlanRange> vlans{{.first = 1, .last = 1, .pvid = true, .untagged = true},
                                       {.first = 10, .last = 20},
                                       {.first = 30, .last = 31, .untagged = true},
                                       {.first = 4094, .last = 4094}};
    const LinkFacts port{.index = 7, .name = "veth0", .master = 3};
    CHECK(read_body<LinkChanged>(bridge_link(port, vlans)).vlans == vlans);

    const LinkFacts bridge{.index = 3, .name = "br0", .master = 3};
    const auto own = read_body<LinkChanged>(bridge_link(bridge, vlans));
    CHECK(own.vlans == vlans);
    CHECK_FALSE(own.master.has_value());  // it names itself
}

TEST_CASE("VLANs that cannot be spoil the list, not the link", "[netlink]") {
    constexpr std::uint16_t begin = BRIDGE_VLAN_INFO_RANGE_BEGIN;
    constexpr std::uint16_t end = BRIDGE_VLAN_INFO_RANGE_END;
    using Entries = std::vector<bridge_vlan_info>;
    const std::vector<Entries> hostile{{{0, 0}},
                                       {{0, 4095}},
                                       {{0, 65535}},
                                       {{begin, 5}},
                                       {{end, 5}},
                                       {{begin, 5}, {end, 4}},
                                       {{begin, 5}, {0, 6}},
                                       {{begin, 5}, {begin, 6}, {end, 7}},
                                       {{static_cast<std::uint16_t>(begin | end), 5}},
                                       Entries(vlan_ranges_max + 1, {0, 1})};
    for (const auto& entries : hostile) {
        MessageBuilder builder(RTM_NEWLINK, 0, 0);
        builder.header(link_header(7, true, AF_BRIDGE)).number(IFLA_MASTER, 3U);
        builder.nested(IFLA_AF_SPEC, [&](MessageBuilder& list) {
            for (const auto& entry : entries) {
                list.number(IFLA_BRIDGE_VLAN_INFO, entry);
            }
        });
        const auto message = read_one(builder.bytes());
        CHECK(message.attributes_malformed == 1);
        CHECK(std::get<LinkChanged>(message.body).master == device(3));
        CHECK_FALSE(std::get<LinkChanged>(message.body).vlans.has_value());
    }
}

TEST_CASE("a device that switches by itself says nothing of its bridge's VLANs", "[netlink]") {
    MessageBuilder builder(RTM_NEWLINK, 0, 0);
    builder.header(link_header(7, true, AF_BRIDGE)).number(IFLA_MASTER, 3U);
    builder.nested(IFLA_AF_SPEC, [](MessageBuilder& list) {
        list.number(IFLA_BRIDGE_FLAGS, std::uint16_t{BRIDGE_FLAGS_SELF});
        list.number(IFLA_BRIDGE_VLAN_INFO, bridge_vlan_info{0, 5});
    });
    CHECK_FALSE(read_body<LinkChanged>(builder.bytes()).vlans.has_value());

    // IFLA_AF_SPEC of a plain message is about protocols.
    MessageBuilder plain(RTM_NEWLINK, 0, 0);
    plain.header(link_header(7, true)).number(IFLA_MASTER, 3U);
    plain.nested(IFLA_AF_SPEC, [](MessageBuilder& list) { list.number(AF_INET, 1U); });
    CHECK_FALSE(read_body<LinkChanged>(plain.bytes()).vlans.has_value());
}

TEST_CASE("virtual functions as their physical function tells them", "[netlink]") {
    using Policy = VirtualFunction::LinkPolicy;
    LinkFacts nic{.index = 2, .name = "eth0"};
    nic.virtual_functions = {{.number = 0, .mac = mac("02:00:00:00:00:01"), .vlan = 100},
                             {.number = 3, .policy = Policy::disable, .spoof_check = true},
                             {.number = 4, .policy = Policy::enable, .trusted = true}};
    const auto link = read_body<LinkChanged>(new_link(nic));
    CHECK(link.complete);
    CHECK(link.virtual_functions == nic.virtual_functions);

    nic.virtual_functions.assign(virtual_functions_max + 5, {});
    CHECK(read_body<LinkChanged>(new_link(nic)).virtual_functions->size() == virtual_functions_max);

    nic.virtual_functions = {{.vlan = 4096}};
    CHECK(read_one(new_link(nic)).attributes_malformed == 1);
}

TEST_CASE("settings that a virtual function does not have are off", "[netlink]") {
    MessageBuilder builder(RTM_NEWLINK, 0, 0);
    builder.header(link_header(2, true)).text(IFLA_IFNAME, "eth0").number(IFLA_MTU, 1500U);
    builder.nested(IFLA_VFINFO_LIST, [](MessageBuilder& list) {
        list.nested(IFLA_VF_INFO, [](MessageBuilder& one) {
            one.number(IFLA_VF_MAC, ifla_vf_mac{});
            one.number(IFLA_VF_SPOOFCHK, ifla_vf_spoofchk{0, UINT32_MAX});
            one.number(IFLA_VF_TRUST, ifla_vf_trust{0, UINT32_MAX});
        });
        list.nested(IFLA_VF_INFO, [](MessageBuilder&) {});  // nobody knows which
    });
    const auto message = read_one(builder.bytes());
    CHECK(message.attributes_malformed == 1);
    const auto functions = std::get<LinkChanged>(message.body).virtual_functions;
    CHECK(functions == std::vector<VirtualFunction>(1));
}

TEST_CASE("a port state of the future is not believed", "[netlink]") {
    LinkFacts port{.index = 7, .name = "veth0", .port = BridgePort{static_cast<PortState>(5)}};
    const auto message = read_one(new_link(port));
    CHECK(message.attributes_malformed == 1);
    CHECK_FALSE(std::get<LinkChanged>(message.body).port.has_value());
}

TEST_CASE("a link that moves away says so", "[netlink]") {
    CHECK_FALSE(read_body<LinkRemoved>(del_link(8)).moved);
    CHECK(read_body<LinkRemoved>(moved_link(8, 0)).moved);
    MessageBuilder builder(RTM_DELLINK, 0, 0);
    builder.header(link_header(8, false)).number(IFLA_NEW_IFINDEX, std::int32_t{4});
    CHECK(read_body<LinkRemoved>(builder.bytes()).moved);
}
