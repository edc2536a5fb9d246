// The default gateways, asked by ARP and neighbour discovery on their own links.
#include <catch2/catch.hpp>

#include <linux/if_addr.h>

#include "agent/agent.hpp"
#include "tests/agent/agent_fixture.hpp"

namespace reachd::test {
namespace {

const MacAddress router_mac = mac("52:54:00:00:00:fe");
const InterfaceAddress own_address{IfIndex{2}, address("10.0.0.5"), 24, 0};

KernelTables ethernet_uplink() {
    KernelTables tables{{{.index = 1, .name = "lo", .more_flags = IFF_LOOPBACK},
                         {.index = 2, .name = "eth0", .mac = mac("52:54:00:00:00:01")}},
                        {default_route("10.0.0.254", 2)}};
    tables.addresses = {own_address};
    tables.neighbours = {{2, address("10.0.0.254"), router_mac}};
    return tables;
}

ProbeCounters arp_counters(AgentWorld& world) {
    for (const ProbeSnapshot& probe : world.row("gateway").probes) {
        if (probe.kind == ProbeKind::arp) {
            return probe.counters;
        }
    }
    return {};
}

std::ptrdiff_t lines(const AgentWorld& world, const std::string& text) {
    return std::count_if(world.logs.begin(), world.logs.end(), [&](const LogRecord& record) {
        return record.message.find(text) != std::string::npos;
    });
}

bool asked_by_arp(AgentWorld& world) {
    const PeerRow row = world.row("gateway");
    return std::any_of(row.probes.begin(), row.probes.end(), [](const ProbeSnapshot& probe) {
        return probe.kind == ProbeKind::arp;
    });
}

}  // namespace

TEST_CASE("a gateway is asked by ARP, too", "[agent]") {
    AgentWorld world({}, ethernet_uplink());
    world.run(5s);
    CHECK(world.gateway_ports_heard == std::set{NeighbourPort{IfIndex{2}, PortUse::gateway_arp}});
    const ProbeCounters counters = arp_counters(world);
    CHECK(counters.sent >= 4);
    CHECK(counters.received >= counters.sent - 1);
    REQUIRE_FALSE(world.questions.empty());
    const NeighbourTarget& target = world.questions.back().target;
    CHECK(target.mac == router_mac);
    CHECK(target.sender == address("10.0.0.5"));
    CHECK(world.row("gateway").peer.up == true);
}

TEST_CASE("a gateway that drops ICMP is up, and down once ARP is dead too", "[agent]") {
    AgentWorld world({}, ethernet_uplink());
    world.silence();
    world.run(10s);
    CHECK(world.row("gateway").peer.up == true);
    CHECK(world.row("gateway").peer.state_changes == 0);
    world.neighbour_answers = [](const NeighbourTarget&) { return false; };
    world.run(4s);
    CHECK(world.row("gateway").peer.up == false);
    world.neighbour_answers = [](const NeighbourTarget&) { return true; };
    world.run(4s);
    CHECK(world.row("gateway").peer.up == true);
}

TEST_CASE("a gateway is asked where the host itself sends to", "[agent]") {
    AgentWorld world({}, ethernet_uplink());
    const auto next_mac = [&] {
        world.questions.clear();
        world.run(1500ms);
        REQUIRE_FALSE(world.questions.empty());
        return world.questions.back().target.mac;
    };
    CHECK(next_mac() == router_mac);
    world.tell(new_neighbour({2, address("10.0.0.254"), std::nullopt, NUD_FAILED}));
    CHECK(next_mac() == std::nullopt);
    const MacAddress standby = mac("00:00:5e:00:01:01");
    world.tell(new_neighbour({2, address("10.0.0.254"), standby, NUD_REACHABLE}));
    CHECK(next_mac() == standby);
    world.tell(del_neighbour({2, address("10.0.0.254")}));
    CHECK(next_mac() == std::nullopt);
}

TEST_CASE("only true answers of a gateway count", "[agent]") {
    AgentWorld world({}, ethernet_uplink());
    NeighbourHeard heard;
    world.neighbour_answers = [&](const NeighbourTarget& target) {
        heard = {target.device, AgentWorld::answer_to(target), std::nullopt, target.use};
        return false;
    };
    const auto ask = [&] {
        const std::size_t before = world.questions.size();
        while (world.questions.size() == before) {
            world.run(10ms);
        }
        return arp_counters(world).received;
    };
    const auto before = ask();
    const NeighbourHeard good = heard;
    SECTION("from another MAC: the other router") {
        heard.frame.mac = heard.frame.frame_source = mac("52:54:00:00:00:fd");
        world.handle(heard);
        CHECK(arp_counters(world).received == before + 1);
    }
    SECTION("an advertisement does not answer a request") {
        heard.frame.kind = NeighbourFrame::Kind::advertisement;
        world.handle(heard);
        CHECK(arp_counters(world).received == before);
    }
    SECTION("other addresses, other hosts, other devices, tagged ones") {
        heard.frame.address = address("10.0.0.253");
        world.handle(heard);
        heard = good;
        heard.frame.target = address("10.0.0.6");
        world.handle(heard);
        heard = good;
        heard.frame.frame_destination = mac("52:54:00:00:00:02");
        world.handle(heard);
        heard = good;
        heard.port = IfIndex{3};
        world.handle(heard);
        heard = good;
        heard.frame.vlan = 7;
        world.handle(heard);
        heard = good;
        heard.use = PortUse::guest;
        world.handle(heard);
        CHECK(arp_counters(world).received == before);
        world.handle(good);
        CHECK(arp_counters(world).received == before + 1);
    }
    SECTION("the kernel's own question has answers too, that are neither late nor twice") {
        world.handle(good);
        for (int i = 0; i < 5; ++i) {
            world.handle(good);
        }
        const ProbeCounters counters = arp_counters(world);
        CHECK(counters.received == before + 1);
        CHECK(counters.late == 0);
        CHECK(counters.duplicates == 0);
    }
}

TEST_CASE("an IPv6 gateway is asked by neighbour discovery", "[agent]") {
    KernelTables tables = ethernet_uplink();
    tables.routes = {default_route("fe80::1", 2)};
    IpAddress own = address("fe80::5054:ff:fe00:1");
    own.set_scope(IfIndex{2});
    tables.addresses = {{IfIndex{2}, own, 64, 0}};
    IpAddress router = address("fe80::1");
    router.set_scope(IfIndex{2});
    tables.neighbours = {{2, router, router_mac}};
    AgentWorld world({}, tables);
    world.silence();
    world.run(5s);
    CHECK(world.gateway_ports_heard == std::set{NeighbourPort{IfIndex{2}, PortUse::gateway_nd}});
    CHECK(arp_counters(world).received >= 3);
    CHECK(world.questions.back().target.mac == router_mac);
    CHECK(world.row("gateway").peer.up == true);
}

TEST_CASE("no gateway is asked by ARP where that cannot be", "[agent]") {
    KernelTables tables = ethernet_uplink();
    Config config;
    SECTION("switched off") {
        config.arp.enabled = false;
    }
    SECTION("no address to ask from") {
        tables.addresses.clear();
    }
    SECTION("no Ethernet") {
        tables.links[1].more_flags = IFF_POINTOPOINT | IFF_NOARP;
    }
    AgentWorld world(config, tables);
    world.run(3s);
    CHECK_FALSE(asked_by_arp(world));
    CHECK(world.gateway_ports_heard.empty());
    CHECK(world.row("gateway").peer.up == true);
}

TEST_CASE("the host's own address comes, changes and goes", "[agent]") {
    AgentWorld world({}, ethernet_uplink());
    world.run(3s);
    const auto sent = arp_counters(world).sent;
    const InterfaceAddress other{IfIndex{2}, address("10.0.0.6"), 24, 0};
    world.tell(new_address(other) + del_address(own_address));
    world.run(2s);
    CHECK(world.questions.back().target.sender == address("10.0.0.6"));
    CHECK(arp_counters(world).sent > sent);
    world.tell(del_address(other));
    CHECK(world.gateway_ports_heard.empty());
    const ProbeCounters before = arp_counters(world);
    world.run(2s);
    CHECK(arp_counters(world) == before);  // nobody is asked, and nobody forgets
    world.tell(new_address(own_address));
    world.run(2s);
    CHECK(arp_counters(world).sent > before.sent);
    CHECK(arp_counters(world).lost == 0);
}

TEST_CASE("no socket for gateways is no trouble of theirs", "[agent]") {
    AgentWorld world({}, KernelTables{});
    world.gateway_ports_fail = "Operation not permitted";
    world.kernel = ethernet_uplink();
    world.tell(new_link(world.kernel.links[1]) + new_address(own_address) +
               new_route(world.kernel.routes[0]));
    world.run(10s);
    CHECK_FALSE(asked_by_arp(world));
    CHECK(world.row("gateway").failures.empty());
    CHECK(world.row("gateway").peer.up == true);
    CHECK(world.discovery_errors("gateways") == 1);
    CHECK(lines(world, "cannot be asked by ARP: Operation not permitted; it is tried again") == 1);
    world.gateway_ports_fail.reset();
    world.run(61s);
    CHECK(asked_by_arp(world));
    CHECK(lines(world, "gateways are asked by ARP and neighbour discovery again") == 1);
    CHECK(lines(world, "cannot be asked") == 1);
}

TEST_CASE("ARP of gateways follows a reload", "[agent]") {
    AgentWorld world({}, ethernet_uplink());
    world.run(2s);
    Config config;
    config.arp.enabled = false;
    world.reload(config);
    world.run(10ms);
    CHECK_FALSE(asked_by_arp(world));
    CHECK(world.gateway_ports_heard.empty());
    config.arp.enabled = true;
    config.arp.interval = 100ms;
    world.reload(config);
    world.run(2s);
    CHECK(arp_counters(world).sent >= 15);
    config.discover_gateways = false;
    world.reload(config);
    CHECK(world.who().empty());
    CHECK(world.gateway_ports_heard.empty());
}

TEST_CASE("answers lost in our own buffer are asked for again, by their kind alone", "[agent]") {
    AgentWorld world({}, ethernet_uplink());
    world.run(3s);
    std::size_t unanswered = 0;
    world.neighbour_answers = [&](const NeighbourTarget&) { return ++unanswered > 1; };
    while (unanswered == 0) {
        world.run(10ms);
    }
    const std::size_t asked = world.questions.size();
    SECTION("of ARP on that device: the probe is repeated, and answered") {
        world.handle(NeighbourOverflowed{IfIndex{2}, PortUse::gateway_arp});
        world.run(600ms);
        CHECK(world.questions.size() > asked);
        CHECK(world.questions[asked].order.repeated);
        CHECK(arp_counters(world).lost == 0);
    }
    SECTION("of ICMP, or of another device: it is lost") {
        world.handle(ReceiveOverflowed{});
        world.handle(NeighbourOverflowed{IfIndex{3}, PortUse::gateway_arp});
        world.handle(NeighbourOverflowed{IfIndex{2}, PortUse::gateway_nd});
        world.run(600ms);
        CHECK(arp_counters(world).lost == 1);
    }
}

TEST_CASE("a gateway that cannot be asked for a moment keeps verdict and counters", "[agent]") {
    AgentWorld world({}, ethernet_uplink());
    world.silence();
    world.run(10s);
    const ProbeCounters before = arp_counters(world);
    REQUIRE(world.row("gateway").peer.up == true);
    SECTION("the host's address is away") {
        world.tell(del_address(own_address));
    }
    SECTION("the host's address is checked anew") {
        InterfaceAddress tentative = own_address;
        tentative.flags = IFA_F_TENTATIVE;
        world.tell(new_address(tentative));
    }
    SECTION("the socket is opened anew, and cannot be at first") {
        world.tell(del_address(own_address));
        world.gateway_ports_fail = "Too many open files";
        world.tell(new_address(own_address));
    }
    world.run(8s);
    CHECK(arp_counters(world).sent == before.sent);
    CHECK(world.row("gateway").peer.up == true);
    world.gateway_ports_fail.reset();
    world.tell(new_address(own_address));
    world.run(10s);
    CHECK(arp_counters(world).received >= before.received + 2);
    CHECK(world.row("gateway").peer.up == true);
    CHECK(world.row("gateway").peer.state_changes == 0);
    CHECK(lines(world, "peer gateway") == 0);
}

TEST_CASE("what a gateway answered by ARP long ago is no evidence", "[agent]") {
    AgentWorld world({}, ethernet_uplink());
    world.silence();
    world.run(10s);
    world.tell(del_address(own_address));
    world.run(28s);
    CHECK(world.row("gateway").peer.up == true);
    world.run(5s);
    CHECK(world.row("gateway").peer.up == false);
    CHECK(lines(world, "peer gateway (10.0.0.254) is down") == 1);
    SECTION("it answers again") {
        world.tell(new_address(own_address));
        world.run(3s);
        CHECK(world.row("gateway").peer.up == true);
        CHECK(world.row("gateway").peer.state_changes == 2);
        CHECK(lines(world, "peer gateway (10.0.0.254) is up again") == 1);
    }
    SECTION("asked again, it is silent: never up meanwhile") {
        world.neighbour_answers = [](const NeighbourTarget&) { return false; };
        world.tell(new_address(own_address));
        world.run(10s);
        CHECK(world.row("gateway").peer.up == false);
        CHECK(world.row("gateway").peer.state_changes == 1);
    }
}

TEST_CASE("a gateway that was told as down is told as up, whichever way is new", "[agent]") {
    Config config;
    config.arp.enabled = false;
    AgentWorld world(config, ethernet_uplink());
    world.silence();
    world.run(10s);
    REQUIRE(world.row("gateway").peer.up == false);
    REQUIRE(lines(world, "peer gateway (10.0.0.254) is down") == 1);
    config.arp.enabled = true;
    SECTION("it answers") {
        world.reload(config);
        world.run(3s);
        CHECK(world.row("gateway").peer.up == true);
        CHECK(world.row("gateway").peer.state_changes == 1);
        CHECK(lines(world, "peer gateway (10.0.0.254) is up again") == 1);
    }
    SECTION("it does not: that is no news") {
        world.neighbour_answers = [](const NeighbourTarget&) { return false; };
        world.reload(config);
        world.run(10s);
        CHECK(world.row("gateway").peer.up == false);
        CHECK(world.row("gateway").peer.state_changes == 0);
        CHECK(lines(world, "peer gateway") == 1);
    }
}

TEST_CASE("a gateway that never could be asked by ARP is down by ICMP alone", "[agent]") {
    KernelTables tables = ethernet_uplink();
    tables.addresses.clear();
    AgentWorld world({}, tables);
    world.silence();
    world.run(5s);
    CHECK(world.row("gateway").peer.up == false);
}

TEST_CASE("a gateway in doubt is asked by broadcast, whatever MAC the kernel has", "[agent]") {
    AgentWorld world({}, ethernet_uplink());
    world.silence();
    world.run(5s);
    REQUIRE(world.questions.back().target.mac == router_mac);
    // Another router has the address by now, and the kernel does not know it yet.
    world.neighbour_answers = [](const NeighbourTarget& target) { return !target.mac; };
    world.run(20s);
    CHECK(world.row("gateway").peer.up == true);
    CHECK(world.row("gateway").peer.state_changes == 0);
    world.neighbour_answers = [](const NeighbourTarget&) { return false; };
    world.run(5s);
    REQUIRE(world.row("gateway").peer.up == false);
    world.questions.clear();
    world.run(5s);
    REQUIRE_FALSE(world.questions.empty());
    for (const NeighbourRequest& question : world.questions) {
        CHECK_FALSE(question.target.mac);
    }
    world.neighbour_answers = [](const NeighbourTarget& target) { return !target.mac; };
    world.run(3s);
    CHECK(world.row("gateway").peer.up == true);
}

TEST_CASE("late answers of a gateway are counted, once for each lost probe", "[agent]") {
    Config config;
    config.arp.timeout = 200ms;
    AgentWorld world(config, ethernet_uplink());
    world.run(3s);
    NeighbourHeard heard;
    world.neighbour_answers = [&](const NeighbourTarget& target) {
        heard = {target.device, AgentWorld::answer_to(target), std::nullopt, target.use};
        return false;
    };
    world.run(10s);  // down by now: one question a second, and no more
    const std::size_t asked = world.questions.size();
    while (world.questions.size() == asked) {
        world.run(10ms);
    }
    world.run(300ms);
    const ProbeCounters before = arp_counters(world);
    REQUIRE(before.sent == before.received + before.lost);
    for (std::uint64_t i = 0; i < before.lost + 5; ++i) {
        world.handle(heard);
    }
    const ProbeCounters after = arp_counters(world);
    CHECK(after.late == before.lost);
    CHECK(after.received == before.received);
    CHECK(after.duplicates == 0);
}

TEST_CASE("each device whose gateways cannot be asked is named, and no more than some", "[agent]") {
    KernelTables tables;
    const auto add_uplink = [&](int index) {
        const std::string number = std::to_string(index);
        tables.links.push_back({.index = index,
                                .name = "eth" + number,
                                .mac = mac("52:54:00:00:00:0" + std::to_string(index % 10))});
        tables.routes.push_back(default_route("10.0." + number + ".254", index));
        tables.addresses.push_back(
            {IfIndex{static_cast<std::uint32_t>(index)}, address("10.0." + number + ".5"), 24, 0});
    };
    const auto run = [&](AgentWorld& world) {
        world.gateway_ports_fail = "Operation not permitted";
        for (std::size_t i = 0; i < tables.links.size(); ++i) {
            world.tell(new_link(tables.links[i]) + new_address(tables.addresses[i]) +
                       new_route(tables.routes[i], NLM_F_APPEND));
        }
        world.kernel = tables;
        world.run(70s);
    };
    AgentWorld world({}, KernelTables{});
    SECTION("two") {
        add_uplink(2);
        add_uplink(3);
        run(world);
        REQUIRE(lines(world, "cannot be asked by ARP") == 2);
        std::set<std::string> devices;
        for (const LogRecord& record : world.logs) {
            for (const auto& [name, value] : record.fields) {
                if (name == "REACHD_DEVICE") {
                    devices.insert(value);
                }
            }
        }
        CHECK(devices == std::set<std::string>{"eth2", "eth3"});
        CHECK(world.discovery_errors("gateways") == 2);
    }
    SECTION("thirty") {
        for (int index = 2; index < 32; ++index) {
            add_uplink(index);
        }
        run(world);
        CHECK(lines(world, "cannot be asked by ARP") == 16);
        CHECK(world.discovery_errors("gateways") == 30);
    }
    world.gateway_ports_fail.reset();
    world.run(61s);
    CHECK(lines(world, "gateways are asked by ARP and neighbour discovery again") == 1);
}

}  // namespace reachd::test
