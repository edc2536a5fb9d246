#include "agent/gateway_aim.hpp"

#include <catch2/catch.hpp>

#include <linux/if_addr.h>

#include "tests/agent/netlink_builder.hpp"

namespace reachd::test {
namespace {

const MacAddress own_mac = mac("52:54:00:00:00:01");
const MacAddress router_mac = mac("52:54:00:00:00:fe");

/// eth0 (2) with these addresses.
struct Host {
    explicit Host(const std::vector<std::pair<std::string, std::uint32_t>>& addresses,
                  LinkFacts link = {.index = 2, .name = "eth0", .mac = own_mac}) {
        feed(new_link(link));
        for (const auto& [text, flags] : addresses) {
            const auto slash = text.find('/');
            InterfaceAddress own{IfIndex{2}, address(text.substr(0, slash))};
            own.prefix_length = static_cast<std::uint8_t>(std::stoi(text.substr(slash + 1)));
            own.flags = flags;
            feed(new_address(own));
        }
    }

    void feed(const Bytes& datagram) {
        NetlinkReader reader{ByteView(datagram)};
        while (const auto* message = reader.next()) {
            topology.apply(*message);
        }
    }

    std::optional<NeighbourTarget> aim(const std::string& gateway) const {
        IpAddress where = address(gateway);
        if (where.is_link_local_v6()) {
            where.set_scope(IfIndex{2});
        }
        return aim_at_gateway(topology, {where, IfIndex{2}, 0});
    }

    /// Where the question comes from; empty: it is not asked.
    std::string sender(const std::string& gateway) const {
        const auto target = aim(gateway);
        return target ? target->sender.to_string() : std::string();
    }

    Topology topology;
};

TEST_CASE("gateway aim: as the kernel would ask") {
    const Host host({{"10.0.0.5/24", IFA_F_PERMANENT}, {"fe80::5/64", IFA_F_PERMANENT}});
    const auto arp = host.aim("10.0.0.254");
    REQUIRE(arp);
    CHECK(arp->device == IfIndex{2});
    CHECK(arp->address == address("10.0.0.254"));
    CHECK(arp->sender == address("10.0.0.5"));
    CHECK(arp->sender_mac == own_mac);
    CHECK(arp->use == PortUse::gateway_arp);
    CHECK_FALSE(arp->mac);

    const auto nd = host.aim("fe80::fe");
    REQUIRE(nd);
    CHECK(nd->use == PortUse::gateway_nd);
    CHECK(nd->address.scope() == IfIndex{2});
    CHECK(nd->sender == address("fe80::5"));
    CHECK(nd->sender.scope() == IfIndex::any);
}

TEST_CASE("gateway aim: the address that fits") {
    const Host host({{"10.9.0.1/24", 0},
                     {"10.0.0.9/24", IFA_F_SECONDARY},
                     {"10.0.0.5/24", 0},
                     {"fd00::5/64", 0},
                     {"fd01::9/64", IFA_F_DEPRECATED},
                     {"fd01::5/64", 0}});
    CHECK(host.sender("10.0.0.254") == "10.0.0.5");
    CHECK(host.sender("10.9.0.254") == "10.9.0.1");
    CHECK_FALSE(host.sender("192.168.7.1").empty());  // a next hop outside of all networks
    CHECK(host.sender("fd01::1") == "fd01::5");
    CHECK(Host({{"fd00::5/64", 0}, {"fe80::5/64", 0}}).sender("fd00::1") == "fe80::5");
}

TEST_CASE("gateway aim: only from an address that the host has and may use") {
    CHECK(Host({}).sender("10.0.0.254").empty());
    CHECK(Host({{"fe80::5/64", 0}}).sender("10.0.0.254").empty());
    CHECK(Host({{"10.0.0.5/24", 0}}).sender("fe80::fe").empty());
    CHECK(Host({{"fe80::5/64", IFA_F_TENTATIVE}}).sender("fe80::fe").empty());
    CHECK(Host({{"fe80::5/64", IFA_F_DADFAILED}}).sender("fe80::fe").empty());
    for (const std::uint32_t flags :
         {unsigned{IFA_F_OPTIMISTIC}, unsigned{IFA_F_TENTATIVE | IFA_F_OPTIMISTIC}}) {
        CHECK(Host({{"fe80::5/64", flags}}).sender("fe80::fe").empty());
        CHECK(Host({{"fe80::5/64", flags}, {"fd00::5/64", 0}}).sender("fe80::fe") == "fd00::5");
    }
    CHECK(Host({{"127.0.0.5/8", 0}}).sender("10.0.0.254").empty());
    // It is the gateway, for now (VRRP).
    CHECK(Host({{"10.0.0.5/24", 0}, {"10.0.0.254/32", 0}}).sender("10.0.0.254").empty());
    CHECK(Host({{"fe80::5/64", 0}, {"fe80::fe/64", 0}}).sender("fe80::fe").empty());
}

TEST_CASE("gateway aim: only where neighbours are resolved to Ethernet addresses") {
    const std::vector<std::pair<std::string, std::uint32_t>> addresses{{"10.0.0.5/24", 0}};
    const LinkFacts good{.index = 2, .name = "eth0", .mac = own_mac};
    const auto asked = [&](const LinkFacts& link) {
        const Host host(addresses, link);
        const bool any = !host.sender("10.0.0.254").empty();
        CHECK(resolves_neighbours(host.topology, IfIndex{2}) == any);
        return any;
    };
    CHECK(asked(good));
    for (const unsigned flag : {IFF_NOARP, IFF_LOOPBACK, IFF_POINTOPOINT}) {
        LinkFacts link = good;
        link.more_flags = flag;
        CHECK_FALSE(asked(link));
    }
    LinkFacts link = good;
    link.hardware_type = 32;  // InfiniBand
    CHECK_FALSE(asked(link));
    link = good;
    link.mac = MacAddress{};
    CHECK_FALSE(asked(link));
    link.mac.reset();
    CHECK_FALSE(asked(link));
    CHECK_FALSE(aim_at_gateway(Topology(), {address("10.0.0.254"), IfIndex{2}, 0}));
}

TEST_CASE("gateway aim: to the MAC that the host itself sends to") {
    Host host({{"10.0.0.5/24", 0}});
    const auto target = host.aim("10.0.0.254");
    REQUIRE(target);
    const auto told = [&](const std::optional<MacAddress>& to, std::uint16_t state) {
        host.feed(new_neighbour({2, address("10.0.0.254"), to, state}));
        return known_mac(host.topology, *target);
    };
    CHECK_FALSE(known_mac(host.topology, *target));
    CHECK(told(router_mac, NUD_REACHABLE) == router_mac);
    CHECK(told(router_mac, NUD_STALE) == router_mac);
    CHECK(told(router_mac, NUD_PROBE) == router_mac);
    CHECK_FALSE(told(std::nullopt, NUD_FAILED));
    CHECK(told(router_mac, NUD_PERMANENT) == router_mac);
    CHECK_FALSE(told(mac("03:bf:0a:00:00:fe"), NUD_PERMANENT));  // a cluster's group
    CHECK_FALSE(told(MacAddress{}, NUD_PERMANENT));
}

}  // namespace
}  // namespace reachd::test
