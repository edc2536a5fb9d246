#include <catch2/catch.hpp>

#include "agent/guest_table.hpp"
#include "tests/agent/guest_world.hpp"

using namespace reachd;
using namespace reachd::test;

namespace {

using Kind = NeighbourFrame::Kind;

}  // namespace

TEST_CASE("ordinary use shows that an address may be asked for", "[guest_claims]") {
    GuestWorld world = two_guests();
    NeighbourFrame used;
    SECTION("a question for another address") {
        used = request(web, "10.77.0.10");
    }
    SECTION("an answer") {
        used = frame(Kind::arp_reply, web, ip("10.77.0.10"), ip("10.77.0.99"));
    }
    world.hear(10, used);
    CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01"});
}

TEST_CASE("the same for IPv6", "[guest_claims]") {
    GuestWorld world = two_guests();
    NeighbourFrame used;
    SECTION("a question") {
        used = solicitation(web, "fe80::10");
    }
    SECTION("an answer") {
        used = advertisement(web, "fe80::10", true);
    }
    world.hear(10, used);
    CHECK(world.targets() == Texts{"vnet10 fe80::10%br0 web01"});
    CHECK(world.table.targets()[0].address.scope() == br0);
    CHECK(world.snapshot()[0].addresses[0].how == LearntBy::neighbour);
}

TEST_CASE("a claim is given time to prove wrong", "[guest_claims]") {
    GuestWorld world = two_guests();
    std::string text = "10.77.0.10";
    SECTION("gratuitous ARP") {
        world.hear(10, announcement(web, text));
    }
    SECTION("a gratuitous ARP reply") {
        world.hear(10, frame(Kind::arp_reply, web, ip(text), ip(text)));
    }
    SECTION("an unsolicited advertisement") {
        text = "2001:db8::10";
        world.hear(10, advertisement(web, text, false));
    }
    SECTION("DHCP") {
        world.hear(10, dhcp(Kind::dhcp_request, web, text));
        world.hear(11, dhcp(Kind::dhcp_ack, web, text, db));
    }
    CHECK(world.targets() == Texts{"vnet10 " + text + " web01 in 10 s"});
    world.pass(4s);
    CHECK(world.addresses() == Texts{"vnet10 52:54:00:00:00:01 " + text + " (claimed 4 s ago)"});
    world.pass(6s);
    CHECK(world.targets() == Texts{"vnet10 " + text + " web01"});
}

TEST_CASE("use after a claim does not shorten its time, another claim does not prolong it",
          "[guest_claims]") {
    GuestWorld world = two_guests();
    world.hear(10, announcement(web, "10.77.0.10"));
    world.pass(4s);
    world.hear(10, request(web, "10.77.0.10"));
    CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01 in 6 s"});
    world.hear(10, announcement(web, "10.77.0.10"));
    CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01 in 6 s"});
}

TEST_CASE("a guest that checks its address is not disturbed", "[guest_claims]") {
    GuestWorld world = two_guests();
    SECTION("before it has it") {
        world.hear(10, arp_probe(web, "10.77.0.10"));
        CHECK(world.targets().empty());
        world.pass(4s);
        world.hear(10, request(web, "10.77.0.10"));
        CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01 in 6 s"});
    }
    SECTION("duplicate address detection") {
        world.hear(10, solicitation(web, "::", "2001:db8::10"));
        world.pass(1s);
        world.hear(10, solicitation(web, "2001:db8::10"));
        CHECK(world.targets() == Texts{"vnet10 2001:db8::10 web01 in 9 s"});
    }
    SECTION("again, while it is probed") {
        world.hear(10, request(web, "10.77.0.10"));
        CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01"});
        const auto revision = world.table.revision();
        world.hear(10, arp_probe(web, "10.77.0.10"));
        CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01 in 10 s"});
        CHECK(world.table.revision() == revision + 1);
        // A storm of them is no storm of news.
        for (int i = 0; i < 100; ++i) {
            world.pass(1ms);
            world.hear(10, arp_probe(web, "10.77.0.10"));
        }
        CHECK(world.table.revision() == revision + 1);
    }
    SECTION("by DHCP, while it is probed") {
        world.hear(10, request(web, "10.77.0.10"));
        world.hear(10, dhcp(Kind::dhcp_request, web, "10.77.0.10"));
        CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01 in 10 s"});
    }
    SECTION("by asking a DHCP server for more time") {
        auto renewal = dhcp(Kind::dhcp_request, web, "10.77.0.10");
        renewal.address = renewal.target;
        world.hear(10, renewal);
        CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01 in 10 s"});
        CHECK(world.snapshot()[0].addresses[0].how == LearntBy::dhcp);
    }
    SECTION("another guest's question is none of its business") {
        world.hear(10, request(web, "10.77.0.10"));
        world.hear(11, arp_probe(db, "10.77.0.10"));
        CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01"});
    }
}

TEST_CASE("a probe alone is no address", "[guest_claims]") {
    GuestWorld world = two_guests();
    for (unsigned i = 1; i < 200; ++i) {
        world.hear(10, arp_probe(web, "10.77.0." + std::to_string(i)));
    }
    world.pass(60s);
    CHECK(world.addresses().empty());
}

TEST_CASE("a DHCP server only confirms what the client asked for", "[guest_claims]") {
    GuestWorld world = two_guests();
    SECTION("nobody asked") {
        world.hear(11, dhcp(Kind::dhcp_ack, web, "10.77.0.10", db));
    }
    SECTION("another address") {
        world.hear(10, dhcp(Kind::dhcp_request, web, "10.77.0.10"));
        world.hear(11, dhcp(Kind::dhcp_ack, web, "10.77.0.66", db));
    }
    SECTION("somebody else asked in its name") {
        world.hear(11, dhcp(Kind::dhcp_request, web, "10.77.0.66", db));
        world.hear(11, dhcp(Kind::dhcp_ack, web, "10.77.0.66", db));
    }
    SECTION("too late") {
        world.hear(10, dhcp(Kind::dhcp_request, web, "10.77.0.10"));
        world.pass(GuestTable::dhcp_wait);
        world.hear(11, dhcp(Kind::dhcp_ack, web, "10.77.0.10", db));
    }
    CHECK(world.addresses().empty());
}

TEST_CASE("addresses of the host and of gateways are refused", "[guest_claims]") {
    GuestWorld world = two_guests();
    world.host({own(br0, "10.77.0.1", 24), own(br0, "fe80::1", 64)}, {ip("192.0.2.1")});
    for (int i = 0; i < 3; ++i) {
        world.hear(10, announcement(web, "10.77.0.1"));
        world.hear(10, solicitation(web, "fe80::1"));
        world.hear(10, request(web, "192.0.2.1"));
    }
    CHECK(world.addresses().empty());
    CHECK(world.refused(GuestRefusal::host_address) == 6);
    CHECK(world.refused(GuestRefusal::gateway_address) == 3);
    CHECK(world.take_logs() ==
          Texts{"guest web01 on port vnet10 claims 10.77.0.1, an address of this host: refused",
                "guest web01 on port vnet10 claims fe80::1, an address of this host: refused",
                "guest web01 on port vnet10 claims 192.0.2.1, an address of a gateway: refused"});
}

TEST_CASE("an address that the host takes later is given up", "[guest_claims]") {
    GuestWorld world = two_guests();
    world.hear(10, request(web, "10.77.0.10"));
    world.host({own(device(3), "10.77.0.10", 24)});
    CHECK(world.addresses().empty());
    CHECK(world.table.address_count() == 0);
}

TEST_CASE("impossible addresses are counted, not listed", "[guest_claims]") {
    GuestWorld world = two_guests();
    world.host({own(br0, "10.77.0.1", 24)});
    for (const auto text : {"127.0.0.1", "224.0.0.1", "255.255.255.255", "10.77.0.255"}) {
        world.hear(10, request(web, text));
    }
    CHECK(world.addresses().empty());
    CHECK(world.refused(GuestRefusal::unusable_address) == 4);
    CHECK(world.take_logs().empty());
}

TEST_CASE("only what is on-link is probed", "[guest_claims]") {
    GuestWorld world = two_guests();
    world.hear(10, request(web, "198.51.100.7"));
    CHECK(world.targets().size() == 1);
    CHECK(world.table.targets()[0].host_device == IfIndex::any);

    const auto revision = world.table.revision();
    world.host({own(br0, "10.77.0.1", 24)});
    CHECK(world.table.revision() > revision);
    CHECK(world.targets().empty());
    CHECK(world.addresses() ==
          Texts{"vnet10 52:54:00:00:00:01 198.51.100.7 (outside the networks of br0)"});
    world.hear(10, request(web, "10.77.0.10"));
    CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01"});
    CHECK(world.table.targets()[0].host_device == br0);
    world.host({});
    CHECK(world.targets().size() == 2);
}

TEST_CASE("the address of a guest alive is not taken over", "[guest_claims]") {
    GuestWorld world = two_guests();
    world.hear(10, request(web, "10.77.0.10"));
    for (int second = 0; second < 300; ++second) {
        world.hear(11, announcement(db, "10.77.0.10"));
        world.table.on_seen(device(10), tap(10).generation, ip("10.77.0.10"), world.now);
        world.pass(1s);
    }
    CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01"});
    CHECK(world.refused(GuestRefusal::guest_address) == 300);
    CHECK(world.take_logs() == Texts{"guest db1 on port vnet11 claims 10.77.0.10, an address of "
                                     "guest web01 on port vnet10: refused"});
}

TEST_CASE("a silent owner loses its address to who uses it", "[guest_claims]") {
    GuestWorld world = two_guests();
    world.hear(10, request(web, "10.77.0.10"));
    world.pass(GuestTable::silence - 1s);
    world.hear(11, request(db, "10.77.0.10"));
    CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01"});
    world.pass(1s);
    world.hear(11, request(db, "10.77.0.10"));
    CHECK(world.targets() == Texts{"vnet11 10.77.0.10 db1"});
    const auto logs = world.take_logs();
    REQUIRE(logs.size() == 2);
    CHECK(logs[1] ==
          "guest db1 on port vnet11 has 10.77.0.10 now, which guest web01 on port "
          "vnet10 did not use for 120 s");
}

TEST_CASE("who is asked seldom is not silent soon", "[guest_claims]") {
    GuestWorld world = two_guests();
    world.table.configure({}, 5min, world.now);
    world.hear(10, request(web, "10.77.0.10"));
    world.pass(14min);
    world.hear(11, request(db, "10.77.0.10"));
    CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01"});
    world.pass(1min);
    world.hear(11, request(db, "10.77.0.10"));
    CHECK(world.targets() == Texts{"vnet11 10.77.0.10 db1"});
}

TEST_CASE("two MACs behind one port settle it among themselves", "[guest_claims]") {
    GuestWorld world = two_guests();
    const MacAddress second = guest_mac(3);
    world.hear(10, request(web, "10.77.0.10"));
    world.hear(10, request(second, "10.77.0.10"));
    CHECK(world.refused(GuestRefusal::contested_address) == 1);
    world.pass(GuestTable::silence_within_port);
    world.hear(10, request(second, "10.77.0.10"));
    const auto targets = world.table.targets();
    REQUIRE(targets.size() == 1);
    CHECK(targets[0].mac == second);
    CHECK(targets[0].name == "web01");
    CHECK(world.take_logs().empty());
}

TEST_CASE("nobody speaks for a MAC that is not behind its port", "[guest_claims]") {
    GuestWorld world = two_guests();
    auto forged = request(db, "10.77.0.66");
    forged.frame_source = web;
    world.hear(10, forged);
    forged.mac = guest_mac(77);
    world.hear(10, forged);
    CHECK(world.refused(GuestRefusal::foreign_mac) == 2);
    CHECK(world.addresses().empty());

    // A virtual router's MAC (RFC 5798) beside its own.
    const MacAddress router = mac("00:00:5e:00:02:05");
    world.learn(10, router);
    auto virtual_address = advertisement(router, "2001:db8::5", true);
    virtual_address.frame_source = web;
    world.hear(10, virtual_address);
    CHECK(world.targets() == Texts{"vnet10 2001:db8::5 web01"});
    CHECK(world.table.targets()[0].mac == router);

    forged.frame_source = mac("01:00:5e:00:00:01");
    world.hear(10, forged);
    CHECK(world.refused(GuestRefusal::foreign_mac) == 3);
}

TEST_CASE("four addresses a MAC", "[guest_claims]") {
    GuestWorld world = two_guests();
    for (int i = 1; i <= 6; ++i) {
        world.hear(10, request(web, "10.77.0." + std::to_string(i)));
    }
    CHECK(world.targets().size() == 4);
    CHECK(world.refused(GuestRefusal::address_limit) == 2);
    // One that was silent for long makes room.
    world.pass(60s);
    for (int i = 2; i <= 4; ++i) {
        world.hear(10, request(web, "10.77.0." + std::to_string(i)));
    }
    world.pass(60s);
    world.hear(10, request(web, "10.77.0.6"));
    CHECK(world.targets() == Texts{"vnet10 10.77.0.2 web01",
                                   "vnet10 10.77.0.3 web01",
                                   "vnet10 10.77.0.4 web01",
                                   "vnet10 10.77.0.6 web01"});
}

TEST_CASE("addresses that are not probed make room first", "[guest_claims]") {
    GuestWorld world = two_guests();
    world.host({own(br0, "10.77.0.1", 24)});
    for (int i = 1; i <= 4; ++i) {
        world.hear(10, request(web, "198.51.100." + std::to_string(i)));
        world.pass(3s);
    }
    world.hear(10, request(web, "10.77.0.10"));
    CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01"});
    CHECK(world.addresses().size() == 4);
    world.hear(10, request(web, "10.77.0.11"));
    CHECK(world.targets().size() == 1);
}

TEST_CASE("sixty-four addresses a port", "[guest_claims]") {
    GuestWorld world = two_guests();
    for (unsigned i = 0; i < 100; ++i) {
        world.hear(10, request(guest_mac(100 + i / 4), "10.77.1." + std::to_string(i + 1)));
    }
    CHECK(world.table.address_count() == GuestTable::addresses_per_port_max);
    CHECK(world.refused(GuestRefusal::address_limit) == 36);
    world.pass(GuestTable::silence);
    world.hear(10, request(web, "10.77.0.10"));
    CHECK(world.table.address_count() == GuestTable::addresses_per_port_max);
    CHECK(world.targets().at(0) == "vnet10 10.77.0.10 web01");
}

TEST_CASE("temporary addresses are listed, not probed", "[guest_claims]") {
    GuestWorld world = two_guests();
    const std::string random_one = "2001:db8::9c1f:72a4:e3b8:61d5";
    world.hear(10, solicitation(web, random_one));
    CHECK(world.targets() == Texts{"vnet10 " + random_one + " web01"});
    world.hear(10, solicitation(web, "2001:db8::5054:ff:fe00:1"));
    CHECK(world.targets() == Texts{"vnet10 2001:db8::5054:ff:fe00:1 web01"});
    CHECK(world.addresses().at(0) ==
          "vnet10 52:54:00:00:00:01 " + random_one + " (temporary address)");
}

TEST_CASE("VLANs of the guest's own are listed, not probed", "[guest_claims]") {
    GuestWorld world = two_guests();
    auto tagged = request(web, "10.77.0.10");
    tagged.vlan = 30;
    world.hear(10, tagged);
    CHECK(world.targets().empty());
    CHECK(world.addresses() ==
          Texts{"vnet10 52:54:00:00:00:01 10.77.0.10 (in VLAN 30, which the guest tags itself)"});
    // Another network, so another owner.
    world.hear(11, request(db, "10.77.0.10"));
    CHECK(world.targets() == Texts{"vnet11 10.77.0.10 db1"});
    CHECK(world.table.records().size() == 1);
}

TEST_CASE("a macvtap is listed, not probed", "[guest_claims]") {
    GuestWorld world;
    Vnic vnic = without_bridge(tap(10));
    vnic.kind = LinkKind::macvtap;
    vnic.may_send = false;
    world.ports({vnic});
    world.identify(vnic, machine("web01"));
    world.hear(10, request(web, "10.77.0.10"));
    CHECK(world.targets().empty());
    CHECK(world.snapshot().at(0).name == "web01");
    CHECK(world.addresses() == Texts{"vnet10 52:54:00:00:00:01 10.77.0.10 (a frame sent on a "
                                     "macvtap does not reach its guest)"});
}

TEST_CASE("the host's neighbour table", "[guest_claims]") {
    GuestWorld world = two_guests();
    world.table.on_host_neighbour(br0, ip("10.77.0.10"), web, world.now);
    world.table.on_host_neighbour(br0, ip("10.77.0.11"), guest_mac(9), world.now);
    world.table.on_host_neighbour(device(3), ip("10.77.0.12"), web, world.now);
    CHECK(world.targets() == Texts{"vnet10 10.77.0.10 web01"});
    CHECK(world.snapshot()[0].addresses[0].how == LearntBy::host_table);
    CHECK(world.table.records().empty());

    SECTION("is not enough for long") {
        world.pass(GuestTable::unconfirmed_age - 1s);
        world.table.on_host_neighbour(br0, ip("10.77.0.10"), web, world.now);
        world.pass(1s);
        CHECK(world.targets().empty());
        world.table.on_host_neighbour(br0, ip("10.77.0.10"), web, world.now);
        CHECK(world.targets().empty());
        world.hear(10, request(web, "10.77.0.10"));
        CHECK(world.targets().size() == 1);
    }
    SECTION("is confirmed by an answer") {
        world.table.on_seen(device(10), tap(10).generation, ip("10.77.0.10"), world.now);
        world.pass(2 * GuestTable::unconfirmed_age);
        CHECK(world.targets().size() == 1);
        CHECK(world.table.records().size() == 1);
    }
}
