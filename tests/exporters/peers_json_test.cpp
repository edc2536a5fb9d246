#include "exporters/peers_json.hpp"

#include <chrono>
#include <memory>
#include <string>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/exporters/sample_snapshot.hpp"

using namespace reachd;
using nlohmann::json;

// The whole of an answer is a golden file; here is what the sample does not have.

TEST_CASE("without peers there is an empty list") {
    const auto answer = json::parse(peers_json({}));
    CHECK(answer["peers"] == json::array());
    CHECK(answer["peers_omitted"] == 0);
    CHECK(answer["time"].is_null());
}

TEST_CASE("a peer without sessions is shown all the same") {
    Snapshot snapshot;
    snapshot.peers.emplace_back().identity = std::make_shared<const PeerIdentity>("a", "");
    const auto peer = json::parse(peers_json(snapshot))["peers"].at(0);
    CHECK(peer["name"] == "a");
    CHECK(peer["address"].is_null());
    CHECK(peer["state"] == "unknown");
    CHECK(peer["since"].is_null());
    CHECK(peer["rtt_seconds"].is_null());
    CHECK(peer["loss_ratio"].is_null());
    CHECK(peer["probes"] == json::array());
    CHECK(peer["labels"] == json::object());
}

TEST_CASE("the numbers of a peer are those of the session that is answered") {
    auto snapshot = test::sample_snapshot();
    const auto gateway = json::parse(peers_json(snapshot))["peers"].at(1);
    CHECK(gateway["rtt_seconds"] == 0.000088);
    CHECK(gateway["loss_ratio"] == 0.0);
    REQUIRE(gateway["probes"].size() == 2);
    CHECK(gateway["probes"][0]["probe"] == "icmp");
    CHECK(gateway["probes"][0]["loss_ratio"].is_null());
    CHECK(gateway["probes"][1]["probe"] == "arp");
    CHECK(gateway["probes"][1]["port"].is_null());
}

TEST_CASE("names and labels of every kind survive as JSON") {
    auto snapshot = test::sample_snapshot();
    snapshot.peers[0].identity = std::make_shared<const PeerIdentity>(
        "a\xff\n",
        "::1",
        PeerKind::host,
        PeerDetails{.source = {}, .device = {}, .labels = {{"k\"}", "v\\"}}});
    const auto peer = json::parse(peers_json(snapshot))["peers"].at(0);
    CHECK(peer["name"] == "a\xef\xbf\xbd\n");
    CHECK(peer["labels"]["k\"}"] == "v\\");
}

TEST_CASE("an answer about peers has an end, and says what is missing") {
    Snapshot snapshot;
    Random random(1);
    for (int i = 0; i < 1000; ++i) {
        test::add_peer(snapshot, "peer" + std::to_string(i), "10.0.0.1", random);
    }
    const auto text = peers_json(snapshot, 50'000);
    CHECK(text.size() < 51'000);
    const auto answer = json::parse(text);
    CHECK(answer["peers"].size() + answer["peers_omitted"].get<std::size_t>() == 1000);
    CHECK(answer["peers_omitted"] > 800);
}

TEST_CASE("a path MTU names the smaller device and the peer's fragments where there are any") {
    auto snapshot = test::sample_snapshot();
    auto& mtu = snapshot.path_mtus.at(1).mtu;
    mtu.verdict = MtuVerdict::local;
    mtu.bytes = 1500;
    mtu.device = static_cast<IfIndex>(5);
    mtu.fragment = 1480;
    const auto mtu_of = [&snapshot](std::size_t peer) {
        return json::parse(peers_json(snapshot))["peers"].at(peer)["mtu"];
    };
    CHECK(mtu_of(1) == json{{"expected_bytes", 1500},
                            {"bytes", 1500},
                            {"verdict", "local"},
                            {"direction", "none"},
                            {"reporter", nullptr},
                            {"reporter_mtu_bytes", nullptr},
                            {"device", R"(vn"0\x1b)"},
                            {"largest_fragment_bytes", 1480}});
    mtu.device = static_cast<IfIndex>(99);  // gone by now
    CHECK(mtu_of(1)["device"].is_null());
    snapshot.path_mtus.erase(snapshot.path_mtus.begin());
    CHECK(mtu_of(0).is_null());
    CHECK(mtu_of(1)["verdict"] == "local");
}
