#include "agent/ctl/command_output.hpp"

#include <chrono>
#include <string>

#include <catch2/catch.hpp>

#include "exporters/status_json.hpp"
#include "exporters/topology_json.hpp"

using namespace reachd;
using namespace reachd::ctl;

namespace {

constexpr Terminal piped{80, true, false, false};
constexpr unsigned ok = 200;

Output shown(const std::vector<std::string>& arguments, const std::string& body, unsigned status) {
    const auto invocation = parse_command_line(arguments);
    REQUIRE(invocation.has_value());
    return command_output(*invocation, status, body, piped);
}

const std::string healthy = R"({"healthy":true,"peers":{},"topology":{"synced":true}})";
const std::string misfit = R"({"healthy":true,"peers":{},"topology":{"synced":true},)"
                           R"("mtu_inconsistencies":[{"conflict":"veth_ends"}]})";
const std::string ill = R"({"healthy":false,"peers":{"total":2,"down":1}})";

}  // namespace

TEST_CASE("the exit code is the verdict, in every form") {
    for (const auto* form : {"--json", "--all", "--quiet", "--no-legend"}) {
        CHECK(shown({"status", form}, healthy, ok).exit_code == exit_well);
        CHECK(shown({"status", form}, misfit, ok).exit_code == exit_ill);
        CHECK(shown({"status", form}, ill, ok).exit_code == exit_ill);
    }
    CHECK(shown({"topology"}, R"({"links":[],"synced":true})", ok).exit_code == exit_well);
    CHECK(shown({"topology"}, R"({"links":[],"synced":false})", ok).exit_code == exit_ill);
    CHECK(shown({"topology", "--json"}, R"({"links":[]})", ok).exit_code == exit_ill);
}

TEST_CASE("--quiet is quiet, --json is the answer itself") {
    CHECK(shown({"status", "--quiet"}, ill, ok).text.empty());
    CHECK(shown({"status", "--json"}, ill, ok).text == ill + "\n");
    CHECK(shown({"status", "--json"}, ill + "\n", ok).text == ill + "\n");
}

TEST_CASE("an answer that is not understood is an error, also as --json") {
    for (const auto* body :
         {"", "{", "[]", "{}", R"({"healthy":1,"peers":{}})", R"({"healthy":true,"peers":[]})"}) {
        CAPTURE(body);
        for (const auto* form : {"--json", "--all", "--quiet"}) {
            const auto output = shown({"status", form}, body, ok);
            CHECK(output.exit_code == exit_no_daemon);
            CHECK(output.text.empty());
            CHECK(output.error.find("the answer of reachd is not understood: ") == 0);
        }
    }
    CHECK(shown({"topology"}, R"({"links":[{"index":1}]})", ok).error.find("/links/0/name") !=
          std::string::npos);
}

TEST_CASE("refusals are told with their remedy") {
    const auto refused =
        shown({"status"}, R"({"error":{"message":"busy","remedy":"ask again"}})", 503);
    CHECK(refused.exit_code == exit_no_daemon);
    CHECK(refused.error == "reachd gives no answer: busy; ask again");
    CHECK(shown({"status"}, "<html>", 503).error == "reachd gives no answer: HTTP status 503");
    CHECK(shown({"status"}, R"({"error":{"message":7}})", 500).error ==
          "reachd gives no answer: HTTP status 500");
    const auto old = shown({"topology"}, "no such page", 404);
    CHECK(old.exit_code == exit_no_daemon);
    CHECK(old.error.find("it knows no /api/v1/topology") != std::string::npos);
}

TEST_CASE("an unknown device is wrong usage") {
    const auto output =
        shown({"topology", "bro"}, R"({"links":[{"index":1,"name":"br0"}],"synced":true})", ok);
    CHECK(output.exit_code == exit_usage);
    CHECK(output.text.empty());
    CHECK(output.error == "no device 'bro'; near: br0. All: reachctl topology --all");
}

TEST_CASE("peers and guests answer with the verdict of what was asked for") {
    const std::string peers =
        R"({"peers":[{"name":"db1","state":"down"},{"name":"web","state":"up"}]})";
    const std::string guests =
        R"({"guests":[{"device":"vnet0","addresses":[{"address":"10.0.0.1","state":"down"}]},
                      {"device":"vnet1","addresses":[{"address":"10.0.0.2","state":"up"}]}]})";
    CHECK(shown({"peers"}, peers, ok).exit_code == exit_ill);
    CHECK(shown({"peers", "web"}, peers, ok).exit_code == exit_well);
    CHECK(shown({"peers", "wbe"}, peers, ok).exit_code == exit_usage);
    CHECK(shown({"peers", "wbe"}, peers, ok).error ==
          "no peer 'wbe'; near: web. All: reachctl peers --all");
    CHECK(shown({"peers", "--json"}, peers, ok).text == peers + "\n");
    CHECK(shown({"peers", "--json"}, peers, ok).exit_code == exit_ill);
    CHECK(shown({"peers"}, guests, ok).exit_code == exit_no_daemon);
    CHECK(shown({"guests"}, guests, ok).exit_code == exit_ill);
    CHECK(shown({"guests", "vnet1"}, guests, ok).exit_code == exit_well);
    CHECK(shown({"guests", "vnet2"}, guests, ok).exit_code == exit_usage);
    CHECK(shown({"guests", "--json"}, guests, ok).text == guests + "\n");
    CHECK(shown({"guests"}, "no such page", 404).error.find("it knows no /api/v1/guests") !=
          std::string::npos);
}

TEST_CASE("who is kept out learns how to get in") {
    CHECK(not_allowed_text("/run/reachd/control.sock", "reachd", "alice") ==
          "not allowed to use /run/reachd/control.sock; join its group: usermod -aG reachd alice, "
          "then log in again");
    CHECK(not_allowed_text("/s", "", "alice").find("-aG reachd alice") != std::string::npos);
    CHECK(not_allowed_text("/s", "root", "alice") ==
          "not allowed to use /s; it is for root: sudo reachctl");
}

TEST_CASE("what the daemon's own serializers write is understood") {
    Snapshot snapshot;
    snapshot.sequence = 7;
    snapshot.taken = {MonoTime(std::chrono::seconds(100)),
                      WallTime(std::chrono::seconds(1'769'829'129))};
    snapshot.host.name = "hv1";
    snapshot.topology_synced = true;
    snapshot.topology_in_step = true;
    TopologySnapshot topology;
    Link link;
    link.index = IfIndex{2};
    link.name = "br0";
    link.kind = LinkKind::bridge;
    link.admin_up = true;
    link.oper_state = OperState::up;
    link.carrier = true;
    link.mtu_bytes = 9000;
    topology.links.push_back(std::make_shared<const Link>(link));
    link.index = IfIndex{3};
    link.name = "tap1";
    link.kind = LinkKind::tap;
    link.master = IfIndex{2};
    link.port = BridgePort{PortState::learning, true};
    topology.links.push_back(std::make_shared<const Link>(link));
    snapshot.topology = std::make_shared<const TopologySnapshot>(std::move(topology));

    const auto status = shown({"status"}, status_json(snapshot, {.version = "0.4.0"}), ok);
    CHECK(status.error.empty());
    CHECK(status.text.find("● hv1 is healthy") == 0);
    CHECK(status.text.find("2 interfaces, in step") != std::string::npos);
    CHECK(status.text.find("0.4.0, up ") != std::string::npos);

    const auto tree = shown({"topology"}, topology_json(snapshot), ok);
    CHECK(tree.error.empty());
    CHECK(tree.text ==
          "hv1\n"
          "└─● br0            bridge, no address, mtu 9000\n"
          "  └─● tap1         tap, port learning, isolated, mtu 9000\n");
}
