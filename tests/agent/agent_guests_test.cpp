// Guests behind local bridges, from the first frame to the last series: found, named, asked on
// their own port, told from each other, and gone with their port.
#include <catch2/catch.hpp>

#include "agent/agent.hpp"
#include "tests/agent/agent_fixture.hpp"

namespace reachd::test {
namespace {

using Texts = std::vector<std::string>;

const MacAddress web01_mac = mac("52:54:00:00:00:01");
const IfIndex vnet0{5};

LinkFacts bridge() {
    return {.index = 4, .name = "br0", .kind = "bridge", .mac = mac("02:00:00:00:00:04")};
}

LinkFacts tap(int index = 5, const std::string& name = "vnet0", int master = 4) {
    LinkFacts link{.index = index, .name = name, .master = master, .kind = "tun", .tun_type = 2};
    link.mac = mac("fe:54:00:00:00:0" + std::to_string(index));
    return link;
}

KernelTables one_tap() {
    return {{bridge(), tap()}, {}, {}};
}

NeighbourFrame arp_of(const MacAddress& from, const std::string& own, const std::string& asked) {
    NeighbourFrame frame;
    frame.kind = NeighbourFrame::Kind::arp_request;
    frame.frame_source = frame.mac = from;
    frame.frame_destination = mac("ff:ff:ff:ff:ff:ff");
    frame.address = address(own);
    frame.target = address(asked);
    return frame;
}

struct GuestWorld : AgentWorld {
    explicit GuestWorld(Config config = {}, KernelTables tables = one_tap())
        : AgentWorld(std::move(config), std::move(tables)) {
        owners["vnet0"] = {"web01", "web01", "uuid-1", {}, IdentifiedBy::libvirt, ""};
        run(5s);
    }

    void say(const NeighbourFrame& frame, IfIndex port = vnet0) {
        handle(NeighbourHeard{port, frame, now.wall});
    }

    /// The link of its port is down for so long.
    void flap(Duration length) {
        LinkFacts down = tap();
        down.up = false;
        tell(new_link(down));
        run(length);
        tell(new_link(tap()));
    }

    void use_address(const std::string& own = "10.0.0.10") {
        say(arp_of(web01_mac, own, "10.0.0.1"));
    }
};

}  // namespace

TEST_CASE("a guest is found, named and asked on its own port", "[agent][guests]") {
    GuestWorld world;
    CHECK(world.ports_heard == std::set<IfIndex>{vnet0});
    CHECK(world.who().empty());
    world.use_address();
    world.run(4s);
    CHECK(world.who() == Texts{"web01 10.0.0.10 vnet0"});
    const PeerRow row = world.row("web01");
    CHECK(row.peer.identity->kind() == PeerKind::guest);
    CHECK(row.peer.identity->details().bridge == "br0");
    CHECK(row.peer.identity->details().vm == "web01");
    CHECK(row.peer.up == true);
    REQUIRE(row.probes.size() == 1);  // the host has no address there
    CHECK(row.probes[0].kind == ProbeKind::arp);
    CHECK(row.samples >= 2);
    const NeighbourTarget& target = world.questions.back().target;
    CHECK(target.device == vnet0);
    CHECK(target.mac == web01_mac);
    CHECK(target.address == address("10.0.0.10"));
    CHECK(target.sender.is_unspecified());
    CHECK(target.sender_mac == *tap().mac);
    const Snapshot snapshot = world.snapshot();
    REQUIRE(snapshot.guests.size() == 1);
    CHECK(snapshot.guests[0].name == "web01");
    REQUIRE(snapshot.guests[0].addresses.size() == 1);
    CHECK(snapshot.guests[0].addresses[0].peer == 0U);
    CHECK(world.requests.empty());
}

TEST_CASE("a guest that falls silent is down in time, and up again", "[agent][guests]") {
    GuestWorld world;
    world.use_address();
    world.run(4s);
    REQUIRE(world.row("web01").peer.up == true);
    world.neighbour_answers = [](const NeighbourTarget&) { return false; };
    world.run(1s + 500ms + 1s);
    CHECK(world.row("web01").peer.up == false);
    CHECK(world.messages().back() == "peer web01 (10.0.0.10) is down: timeout");
    world.neighbour_answers = [](const NeighbourTarget&) { return true; };
    world.run(1s + 200ms);
    CHECK(world.row("web01").peer.up == true);
}

TEST_CASE("what was asked before a link flapped may be answered after it", "[agent][guests]") {
    GuestWorld world;
    world.use_address();
    world.run(4s);
    world.neighbour_answers = [](const NeighbourTarget&) { return false; };
    const std::size_t asked = world.questions.size();
    while (world.questions.size() == asked) {
        world.run(10ms);
    }
    const std::uint64_t received = world.row("web01").probe->counters.received;
    world.flap(150ms);
    world.run(20ms);
    world.say(AgentWorld::answer_to(world.questions.back().target));
    CHECK(world.row("web01").probe->counters.received == received + 1);
}

TEST_CASE("one loss before its link flapped and one after it do not make a guest down",
          "[agent][guests]") {
    GuestWorld world;
    world.use_address();
    world.run(4s);
    world.neighbour_answers = [](const NeighbourTarget&) { return false; };
    world.run(1s + 400ms);  // one question at least is out, or lost
    world.flap(300ms);
    world.run(200ms);
    const std::size_t asked = world.questions.size();
    for (int i = 0; i < 2000 && world.row("web01").peer.up != false; ++i) {
        world.run(10ms);
    }
    CHECK(world.row("web01").peer.up == false);
    CHECK(world.questions.size() - asked >= ProbeEngine::burst_size);
}

TEST_CASE("a guest that checks its address again and again costs nobody else's probes",
          "[agent][guests]") {
    Config config;
    config.limits.probes_per_second = 100;
    GuestWorld world(config);
    world.use_address();
    world.run(4s);
    world.neighbour_answers = [](const NeighbourTarget&) { return false; };
    world.run(1s + 600ms);  // in doubt
    const auto skipped = [&world] {
        return world.snapshot().skipped[static_cast<std::size_t>(SkipReason::busy)];
    };
    const std::uint64_t before = skipped();
    for (int i = 0; i < 200; ++i) {
        world.say(arp_of(web01_mac, "0.0.0.0", "10.0.0.10"));
        world.run(10ms);
    }
    // Of a held burst one question each 150 ms is put off, beside the one a second.
    CHECK(skipped() - before <= 20);
}

TEST_CASE("only the guest's own answer counts", "[agent][guests]") {
    GuestWorld world;
    world.use_address();
    world.neighbour_answers = [](const NeighbourTarget&) { return false; };
    world.run(3s);
    REQUIRE_FALSE(world.questions.empty());
    const auto received = [&world] {
        for (const PeerRow& row : world.rows()) {
            if (row.peer.identity->address() == "10.0.0.10") {
                return row.probe->counters.received;
            }
        }
        return std::uint64_t{0};
    };
    const std::uint64_t before = received();
    NeighbourFrame answer = AgentWorld::answer_to(world.questions.back().target);
    SECTION("to somebody else") {
        answer.frame_destination = mac("02:00:00:00:00:99");
        world.say(answer);
    }
    SECTION("of another MAC") {
        answer.mac = answer.frame_source = mac("52:54:00:00:00:99");
        world.say(answer);
    }
    SECTION("for another address") {
        answer.address = address("10.0.0.11");
        world.say(answer);
    }
    SECTION("on another port") {
        world.tell(new_link(tap(6, "vnet1")));
        world.run(200ms);
        world.say(answer, IfIndex{6});
    }
    CHECK(received() == before);
}

TEST_CASE("ICMP and TCP too where the host is on the segment", "[agent][guests]") {
    Config config;
    config.tcp.ports = {22};
    config.tcp.interval = 1s;
    GuestWorld world(config);
    world.use_address();
    world.run(4s);
    CHECK(world.row("web01").probes.size() == 1);
    world.tell(new_address({IfIndex{4}, address("10.0.0.1"), 24, 0}));
    world.run(5s);
    const PeerRow row = world.row("web01");
    CHECK(row.probes.size() == 3);
    REQUIRE_FALSE(world.requests.empty());
    CHECK(world.requests.back().target.device == IfIndex{4});
    REQUIRE_FALSE(world.connects.empty());
    CHECK(world.connects.back().target.device == IfIndex{4});
    CHECK(world.connects.back().target.port == 22);
    SECTION("the ARP counters went on") {
        CHECK(row.probe->kind == ProbeKind::arp);
        CHECK(row.probe->counters.sent >= 6);
    }
}

TEST_CASE("a guest leaves with its port, series and all", "[agent][guests]") {
    GuestWorld world;
    world.use_address();
    world.run(4s);
    REQUIRE(world.who().size() == 1);
    world.tell(del_link(5));
    world.run(300ms);
    CHECK(world.who().empty());
    CHECK(world.ports_heard.empty());
    CHECK(world.snapshot().guests.empty());
    world.tell(new_link(tap()));
    world.run(300ms);
    CHECK(world.ports_heard == std::set<IfIndex>{vnet0});
}

TEST_CASE("a guest whose port lost its bridge is cut off, not forgotten", "[agent][guests]") {
    GuestWorld world;
    world.use_address();
    world.run(4s);
    REQUIRE(world.row("web01").peer.up == true);
    world.tell(new_link(tap(5, "vnet0", 0)));
    world.run(3s);
    CHECK(world.row("web01").peer.up == false);
    CHECK(world.row("web01").failed(FailureReason::local_error) >= 1);
    world.tell(new_link(tap()));
    world.run(3s);
    CHECK(world.row("web01").peer.up == true);
}

TEST_CASE("guests can be left alone", "[agent][guests]") {
    Config config;
    config.guests.enabled = false;
    GuestWorld world(config);
    world.use_address();
    world.run(3s);
    CHECK(world.ports_heard.empty());
    CHECK(world.who().empty());
    CHECK(world.guest_lookups == 0);
    world.reload({});
    world.run(1s);
    CHECK(world.ports_heard.size() == 1);
    world.reload(config);
    world.run(1s);
    CHECK(world.ports_heard.empty());
}

TEST_CASE("a configured peer of the same name and address takes the guest's place",
          "[agent][guests]") {
    Config config = config_of({peer_config("web01", "10.0.0.10")});
    GuestWorld world(config);
    world.use_address();
    world.run(4s);
    CHECK(world.row("web01").peer.identity->kind() == PeerKind::host);
    world.reload({});
    world.run(1s);
    CHECK(world.row("web01").peer.identity->kind() == PeerKind::guest);
    world.reload(config);
    world.run(1s);
    CHECK(world.row("web01").peer.identity->kind() == PeerKind::host);
}

TEST_CASE("guests beyond limits.guests are refused, counted once and told once",
          "[agent][guests]") {
    Config config;
    config.limits.guests = 1;
    GuestWorld world(config);
    world.use_address("10.0.0.10");
    world.use_address("10.0.0.11");
    world.use_address("10.0.0.12");
    world.run(10s);
    CHECK(world.who().size() == 1);
    CHECK(world.discovery_errors("guests") == 2);
    const auto messages = world.messages();
    CHECK(std::count_if(messages.begin(), messages.end(), [](const std::string& text) {
              return text.find("limits.guests") != std::string::npos;
          }) == 1);
}

TEST_CASE("addresses that one guest makes up take no places before another has one",
          "[agent][guests]") {
    Config config;
    config.limits.guests = 2;
    GuestWorld world(config, {{bridge(), tap(), tap(6, "vnet1")}, {}, {}});
    world.owners["vnet1"] = {"db01", "db01", "", {}, IdentifiedBy::libvirt, ""};
    const MacAddress db01_mac = mac("52:54:00:00:00:02");
    const IfIndex vnet1{6};
    SECTION("at once") {
        for (const std::string own : {"10.0.0.10", "10.0.0.11", "10.0.0.12", "10.0.0.13"}) {
            world.use_address(own);
        }
        // Nor by MACs that it makes up.
        world.say(arp_of(mac("52:54:00:00:00:99"), "10.0.0.14", "10.0.0.1"));
        world.say(arp_of(db01_mac, "10.0.0.20", "10.0.0.1"), vnet1);
        world.run(5s);
        CHECK(world.who() == Texts{"db01 10.0.0.20 vnet1", "web01 10.0.0.10 vnet0"});
        CHECK(world.discovery_errors("guests") == 4);
    }
    SECTION("when a place gets free") {
        world.use_address("10.0.0.10");
        world.use_address("10.0.0.11");
        world.run(5s);
        REQUIRE(world.who().size() == 2);
        world.use_address("10.0.0.12");
        world.say(arp_of(db01_mac, "10.0.0.20", "10.0.0.1"), vnet1);
        world.run(5s);
        CHECK(world.who() == Texts{"web01 10.0.0.10 vnet0", "web01 10.0.0.11 vnet0"});
        config.limits.guests = 3;
        world.reload(config);
        world.run(1s);
        CHECK(world.who() ==
              Texts{"db01 10.0.0.20 vnet1", "web01 10.0.0.10 vnet0", "web01 10.0.0.11 vnet0"});
    }
}

TEST_CASE("lower limits evict the guests that came last", "[agent][guests]") {
    Config config;
    GuestWorld world(config);
    for (const std::string own : {"10.0.0.12", "10.0.0.10", "10.0.0.11"}) {
        world.use_address(own);
        world.run(3s);
    }
    REQUIRE(world.who().size() == 3);
    const auto sent = [&world](const std::string& own) {
        for (const PeerRow& row : world.rows()) {
            if (row.peer.identity->address() == own) {
                return row.probe->counters.sent;
            }
        }
        return std::uint64_t{0};
    };
    const std::uint64_t before = sent("10.0.0.12");
    SECTION("by limits.guests") {
        config.limits.guests = 2;
        world.reload(config);
        CHECK(world.who() == Texts{"web01 10.0.0.10 vnet0", "web01 10.0.0.12 vnet0"});
        world.run(1s);
        CHECK(world.who().size() == 2);
        CHECK(sent("10.0.0.12") > before);  // its counters went on
        CHECK(world.discovery_errors("guests") == 1);
        config.limits.guests = 1;
        world.reload(config);
        world.run(1s);
        CHECK(world.who() == Texts{"web01 10.0.0.12 vnet0"});
        CHECK(world.discovery_errors("guests") == 2);
        world.reload({});
        world.run(1s);
        CHECK(world.who().size() == 3);
    }
    SECTION("by limits.peers, after the operator's own peers") {
        config.limits.peers = 3;
        config.peers = {peer_config("a", "192.0.2.1"), peer_config("b", "192.0.2.2")};
        world.reload(config);
        world.run(1s);
        CHECK(world.who() == Texts{"a 192.0.2.1 ", "b 192.0.2.2 ", "web01 10.0.0.12 vnet0"});
        CHECK(world.discovery_errors("guests") == 2);
        CHECK(world.discovery_errors("gateways") == 0);
    }
}

TEST_CASE("a gateway takes the place of the guest that came last", "[agent][guests]") {
    Config config;
    config.limits.peers = 2;
    GuestWorld world(config);
    world.use_address("10.0.0.10");
    world.run(3s);
    world.use_address("10.0.0.11");
    world.run(3s);
    REQUIRE(world.who().size() == 2);
    const Texts guests{"web01 10.0.0.10 vnet0", "web01 10.0.0.11 vnet0"};
    // Not while its route comes and goes.
    for (int i = 0; i < 5; ++i) {
        world.tell(new_route(default_route("192.0.2.1", 4)));
        world.run(4s);
        CHECK(world.who() == guests);
        world.tell(del_route(default_route("192.0.2.1", 4)));
        world.run(4s);
    }
    CHECK(world.discovery_errors("guests") == 0);
    for (int i = 0; i < 3; ++i) {
        world.tell(new_route(default_route("192.0.2.1", 4)));
        world.run(6s);
        CHECK(world.who() == Texts{"gateway 192.0.2.1 br0", "web01 10.0.0.10 vnet0"});
        // And gives it back.
        world.tell(del_route(default_route("192.0.2.1", 4)));
        world.run(1s);
        CHECK(world.who() == guests);
    }
    CHECK(world.discovery_errors("gateways") == 0);
    CHECK(world.discovery_errors("guests") == 3);
    const Texts all = world.messages();
    CHECK(std::count_if(all.begin(), all.end(), [](const std::string& each) {
              return each.find("is not probed") != std::string::npos;
          }) == 1);
}

TEST_CASE("a gateway that waits for room has it as soon as there is some", "[agent][guests]") {
    Config config;
    config.limits.peers = 1;
    GuestWorld world(config);
    world.use_address("10.0.0.10");
    world.run(3s);
    world.tell(new_route(default_route("192.0.2.1", 4)));
    world.run(1s);
    REQUIRE(world.who() == Texts{"web01 10.0.0.10 vnet0"});
    world.tell(del_link(5));
    world.run(1s);
    CHECK(world.who() == Texts{"gateway 192.0.2.1 br0"});
    CHECK(world.discovery_errors("gateways") == 0);
}

TEST_CASE("each guest that finds no room is counted, however many there are", "[agent][guests]") {
    Config config;
    config.limits.guests = 1;
    GuestWorld world(config);
    world.use_address("10.0.0.10");
    world.run(3s);
    for (int i = 0; i < 5; ++i) {  // ports that come and go, each with a guest
        world.owners["vnet1"] = {"web02", "web02", "", {}, IdentifiedBy::libvirt, ""};
        world.tell(new_link(tap(6, "vnet1")));
        world.run(3s);
        world.say(arp_of(mac("52:54:00:00:00:02"), "10.0.0.20", "10.0.0.1"), IfIndex{6});
        world.run(5s);
        world.tell(del_link(6));
        world.run(1s);
    }
    CHECK(world.discovery_errors("guests") == 5);
}

TEST_CASE("what an earlier run knew is asked as soon as its MAC is there", "[agent][guests]") {
    AgentWorld world({}, one_tap());
    world.owners["vnet0"] = {"web01", "web01", "", {web01_mac}, IdentifiedBy::libvirt, ""};
    world.handle(GuestsRestored{{{"vnet0",
                                  tap().mac,
                                  web01_mac,
                                  address("10.0.0.10"),
                                  world.now.wall - 60s,
                                  world.now.wall - 5s}}});
    world.run(4s);
    CHECK(world.who() == Texts{"web01 10.0.0.10 vnet0"});
    CHECK(world.row("web01").peer.up == true);
    world.run(60s);
    REQUIRE(world.kept.size() == 1);
    CHECK(world.kept[0].address == address("10.0.0.10"));
    CHECK(world.agent.guest_records().size() == 1);
}

TEST_CASE("IPv6 is asked from a link-local address, never from none", "[agent][guests]") {
    GuestWorld world;
    NeighbourFrame frame;
    frame.kind = NeighbourFrame::Kind::solicitation;
    frame.frame_source = frame.mac = web01_mac;
    frame.frame_destination = mac("33:33:ff:00:00:01");
    frame.address = address("fd00::10");
    frame.target = address("fd00::1");
    world.say(frame);
    world.run(4s);
    CHECK(world.who() == Texts{"web01 fd00::10 vnet0"});
    CHECK(world.row("web01").peer.up == true);
    CHECK(world.questions.back().target.sender == address("fe80::fc54:ff:fe00:5"));
}

TEST_CASE("a guest that checks its address is left alone at once", "[agent][guests]") {
    GuestWorld world;
    world.use_address();
    world.run(4s);
    REQUIRE(world.row("web01").peer.up == true);
    world.use_address("10.0.0.11");  // the peers have just been looked at
    world.run(20ms);
    NeighbourFrame probe = arp_of(web01_mac, "0.0.0.0", "10.0.0.10");
    world.say(probe);
    const std::size_t asked = world.questions.size();
    world.run(9s);
    const auto asked_for_it = [&world] {
        return std::count_if(
            world.questions.begin(), world.questions.end(), [](const NeighbourRequest& each) {
                return each.target.address == address("10.0.0.10");
            });
    };
    CHECK(world.questions.size() == asked);
    const auto before = asked_for_it();
    for (const PeerRow& row : world.rows()) {
        CHECK(row.peer.up != false);
    }
    world.run(4s);
    CHECK(asked_for_it() > before);
}

TEST_CASE("a port without a socket asks nobody, calls nobody down, and is tried again",
          "[agent][guests]") {
    AgentWorld world({}, {{bridge()}, {}, {}});
    world.owners["vnet0"] = {"web01", "web01", "", {web01_mac}, IdentifiedBy::libvirt, ""};
    world.handle(GuestsRestored{{{"vnet0",
                                  tap().mac,
                                  web01_mac,
                                  address("10.0.0.10"),
                                  world.now.wall - 60s,
                                  world.now.wall - 5s}}});
    world.deaf_ports = {vnet0};
    world.tell(new_link(tap()));
    world.run(6s);
    CHECK(world.row("web01").probes.empty());
    CHECK_FALSE(world.row("web01").peer.up.has_value());
    CHECK(world.snapshot().every_peer_asked);
    CHECK(world.discovery_errors("guests") == 1);
    const auto lines = [&world](const std::string& wanted) {
        const auto messages = world.messages();
        return std::count_if(messages.begin(), messages.end(), [&](const std::string& text) {
            return text.find(wanted) != std::string::npos;
        });
    };
    CHECK(lines("vnet0 cannot be asked by ARP") == 1);
    SECTION("and asked when that works") {
        world.deaf_ports.clear();
        world.run(5s);
        CHECK(world.row("web01").peer.up == true);
        CHECK(world.row("web01").probes.size() == 1);
        CHECK(lines("can be listened on again") == 1);
    }
    SECTION("until it is gone") {
        world.tell(del_link(5));
        world.deaf_ports.clear();
        world.run(2min);
        CHECK(world.ports_heard.empty());
    }
}

TEST_CASE("an overflow on a port asks its guests again, and calls nobody down", "[agent][guests]") {
    GuestWorld world;
    world.use_address();
    world.run(4s);
    int dropped = 0;
    world.neighbour_answers = [&dropped](const NeighbourTarget&) { return ++dropped > 2; };
    world.run(900ms);
    world.handle(NeighbourOverflowed{vnet0});
    world.run(5s);
    CHECK(world.row("web01").peer.up == true);
    CHECK(world.row("web01").peer.state_changes == 0);
}

TEST_CASE("an address that never answered is no news when it is down", "[agent][guests]") {
    GuestWorld world;
    world.neighbour_answers = [](const NeighbourTarget& target) {
        return target.address == address("10.0.0.10");
    };
    world.use_address("10.0.0.10");
    world.use_address("10.0.0.66");  // made up
    world.run(10s);
    const auto told = [&world] {
        const auto messages = world.messages();
        return std::count_if(messages.begin(), messages.end(), [](const std::string& text) {
            return text.find("is down") != std::string::npos;
        });
    };
    std::size_t down = 0;
    for (const PeerRow& row : world.rows()) {
        down += row.peer.up == false ? 1U : 0U;
    }
    CHECK(down == 1);
    CHECK(told() == 0);
    world.neighbour_answers = [](const auto&) { return false; };
    world.run(5s);
    CHECK(told() == 1);
    CHECK(world.messages().back() == "peer web01 (10.0.0.10) is down: timeout");
}

TEST_CASE("an address that the guest has also in a VLAN of its own is asked outside of it",
          "[agent][guests]") {
    GuestWorld world;
    NeighbourFrame tagged = arp_of(web01_mac, "10.0.0.10", "10.0.0.1");
    tagged.vlan = 20;
    world.say(tagged);
    world.use_address("10.0.0.10");
    world.run(4s);
    const Snapshot snapshot = world.snapshot();
    REQUIRE(snapshot.guests.size() == 1);
    const auto& addresses = snapshot.guests[0].addresses;
    REQUIRE(addresses.size() == 2);
    for (const GuestAddressSnapshot& each : addresses) {
        CHECK(each.address == "10.0.0.10");
        CHECK(each.peer.has_value() == (each.vlan == 0));
        CHECK(each.not_probed.empty() == (each.vlan == 0));
    }
    CHECK(addresses[0].vlan + addresses[1].vlan == 20);
}

}  // namespace reachd::test
