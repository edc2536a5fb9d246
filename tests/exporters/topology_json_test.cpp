#include "exporters/topology_json.hpp"

#include <memory>
#include <string>

#include <catch2/catch.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "tests/exporters/sample_snapshot.hpp"

using namespace reachd;
using nlohmann::json;

namespace {

json topology_of(const Snapshot& snapshot) {
    return json::parse(topology_json(snapshot));
}

json topology_of(const std::shared_ptr<TopologySnapshot>& topology) {
    Snapshot snapshot;
    snapshot.topology = topology;
    return topology_of(snapshot);
}

json link_named(const json& topology, const std::string& name) {
    for (const auto& link : topology["links"]) {
        if (link["name"] == name) {
            return link;
        }
    }
    FAIL("no link " << name);
    return {};
}

}  // namespace

TEST_CASE("without a topology there are no links and nothing is known") {
    const auto topology = topology_of(Snapshot{});
    CHECK(topology["synced"] == false);
    CHECK(topology["links"] == json::array());
    CHECK(topology["links_omitted"] == 0);
    CHECK(topology["default_gateways"] == json::array());
    CHECK(topology["routes"]["ipv4"].is_null());
    CHECK(topology["neighbours"].is_null());
}

TEST_CASE("a topology without links says so") {
    const auto topology = topology_of(std::make_shared<TopologySnapshot>());
    CHECK(topology["links"] == json::array());
    CHECK(topology["routes"] == json{{"ipv4", 0}, {"ipv6", 0}});
    CHECK(topology["fdb_entries"] == 0);
}

TEST_CASE("a link shows what belongs to it, and null where there is nothing") {
    const auto topology = topology_of(test::sample_snapshot());
    CHECK(topology["synced"] == true);
    CHECK(topology["links"].size() == 9);

    const auto nic = link_named(topology, "eno1");
    CHECK(nic["driver"] == "mlx5_core");
    CHECK(nic["speed_bits_per_second"] == 25'000'000'000U);
    CHECK(nic["master"] == "br0");
    CHECK(nic["port"] == json{{"state", "forwarding"}, {"isolated", false}});
    CHECK(nic["transmit_drops"] == 18'446'744'073'709'551'615U);
    REQUIRE(nic["virtual_functions"].size() == 2);
    CHECK(nic["virtual_functions"][1]["mac"].is_null());
    CHECK(nic["virtual_functions"][1]["vlan"].is_null());
    CHECK(nic["virtual_functions"][0]["link_policy"] == "enable");
    CHECK(nic["vlans"] == json::array());

    const auto function = link_named(topology, "eno1v0");
    CHECK(function["kind"] == "vf");
    CHECK(function["link_kind"] == "physical");
    CHECK(function["speed_bits_per_second"].is_null());
    CHECK(function["receive_errors"].is_null());

    const auto bridge = link_named(topology, "br0");
    CHECK(bridge["bridge"]["forward_delay_seconds"] == 15.5);
    CHECK(bridge["addresses"] == json{"10.77.0.2/24", "2001:db8::2/64"});
    CHECK(bridge["port"].is_null());
    CHECK(bridge["driver"].is_null());

    const auto guest = link_named(topology, R"(vn"0\x1b)");
    CHECK(guest["vlans"].size() == 2);
    CHECK(guest["vlans"][1] ==
          json{{"first", 100}, {"last", 199}, {"pvid", false}, {"untagged", false}});
    CHECK(guest["bridge"].is_null());
    CHECK(guest["addresses"] == json::array());
    CHECK(link_named(topology, "lo")["mac"].is_null());
}

TEST_CASE("a port shows the guest behind it, and each of its addresses") {
    auto snapshot = test::sample_snapshot();
    auto link = link_named(json::parse(topology_json(snapshot)), R"(vn"0\x1b)");
    CHECK(link["guest"] == json::parse(R"({"name":"web \"01\"\\\n}","vm":"web\\01","state":"down",
        "addresses":[{"address":"fe80::1%br0","state":"down","rtt_seconds":null},
                     {"address":"10.77.0.10","state":null,"rtt_seconds":null}]})"));
    snapshot.guests[0].addresses[1].peer = 1;
    snapshot.peers[1].state = Reachability::up;
    link = link_named(json::parse(topology_json(snapshot)), R"(vn"0\x1b)");
    CHECK(link["guest"]["state"] == "up");
    CHECK(link["guest"]["addresses"][1]["rtt_seconds"] == 0.000088);
    CHECK(link_named(json::parse(topology_json(snapshot)), "eno1")["guest"].is_null());
}

TEST_CASE("the lower device is named only where it is in this namespace") {
    const auto topology = topology_of(test::sample_snapshot());
    const auto veth = link_named(topology, "véth6");
    CHECK(veth["lower"].is_null());  // 3 is another device here
    CHECK(veth["lower_index"] == 3);
    CHECK(veth["lower_namespace"] == 2);
    const auto vlan = link_named(topology, "bond0.20");
    CHECK(vlan["lower"] == "bond0");
    CHECK(vlan["lower_index"] == 7);
    CHECK(vlan["lower_namespace"].is_null());
    CHECK(link_named(topology, "br0")["lower_index"].is_null());
}

TEST_CASE("details are there for the kinds that have them") {
    const auto topology = topology_of(test::sample_snapshot());
    CHECK(link_named(topology, "bond0.20")["vlan_id"] == 20);
    CHECK(link_named(topology, "vx1")["vni"] == 16'777'215);
    CHECK(link_named(topology, "bond0")["bond_mode"] == "802.3ad");
    for (const auto* field : {"vlan_id", "vni", "bond_mode"}) {
        CHECK_FALSE(link_named(topology, "eno1").contains(field));
    }
    auto odd = std::make_shared<TopologySnapshot>();
    test::add_link(*odd, "bond7", LinkKind::bond).detail = 7;
    CHECK(topology_of(odd)["links"][0]["bond_mode"].is_null());
}

TEST_CASE("a master or lower device that is gone leaves null") {
    auto topology = std::make_shared<TopologySnapshot>();
    auto& link = test::add_link(*topology, "a", LinkKind::vlan);
    link.master = static_cast<IfIndex>(88);
    link.lower = static_cast<IfIndex>(99);
    const auto shown = topology_of(topology)["links"].at(0);
    CHECK(shown["master"].is_null());
    CHECK(shown["lower"].is_null());
    CHECK(shown["lower_index"] == 99);
}

TEST_CASE("hostile names do not break the text") {
    auto topology = std::make_shared<TopologySnapshot>();
    const std::vector<std::string> names{
        "\"},{\"", R"(\x1b[31m)", "a\nb", "\xff\xfe", "é", std::string("\0", 1), "", "</script>"};
    for (const auto& name : names) {
        test::add_link(*topology, name, LinkKind::tap);
    }
    topology->default_gateways = {{"\"", "\xff", 0}};
    const auto links = topology_of(topology)["links"];
    REQUIRE(links.size() == names.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (i != 3) {
            CHECK(links[i]["name"] == names[i]);
        }
    }
    CHECK(links[3]["name"] == "\xef\xbf\xbd\xef\xbf\xbd");
}

TEST_CASE("ten thousand links are all there") {
    auto topology = std::make_shared<TopologySnapshot>();
    const auto bridge = test::add_link(*topology, "br0", LinkKind::bridge).index;
    for (int i = 1; i < 10'000; ++i) {
        auto& link = test::add_link(*topology, fmt::format("vnet{}", i), LinkKind::tap);
        link.master = bridge;
        link.port = BridgePort{PortState::forwarding, false};
    }
    const auto text = topology_json(*[&] {
        auto snapshot = std::make_shared<Snapshot>();
        snapshot->topology = topology;
        return snapshot;
    }());
    CHECK(text.size() < 10'000'000);
    const auto links = json::parse(text)["links"];
    REQUIRE(links.size() == 10'000);
    CHECK(links[9999]["name"] == "vnet9999");
    CHECK(links[9999]["master"] == "br0");
}

TEST_CASE("beyond its size limit the answer says how many links are missing") {
    const auto snapshot = test::sample_snapshot();
    const auto whole = topology_json(snapshot).size();
    for (std::size_t limit = 0; limit <= whole; limit += 100) {
        const auto shown = json::parse(topology_json(snapshot, limit));
        CAPTURE(limit);
        CHECK(shown["links"].size() + shown["links_omitted"].get<std::size_t>() == 9);
        CHECK(shown["default_gateways"].size() == 2);
        CHECK(shown["links"].empty() == (limit < 100));
    }
    CHECK(json::parse(topology_json(snapshot, 2000))["links_omitted"] > 0);
    CHECK(json::parse(topology_json(snapshot, whole))["links_omitted"] == 0);
}
