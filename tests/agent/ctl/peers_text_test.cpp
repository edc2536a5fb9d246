#include "agent/ctl/peers_text.hpp"

#include <chrono>
#include <sstream>
#include <string>

#include <catch2/catch.hpp>

using namespace reachd;
using namespace reachd::ctl;

// How the tables look is shown by the golden files; here are the decisions.

namespace {

constexpr Terminal piped{80, true, false, false};

Peer peer(const std::string& name, const std::string& state, int since = 0) {
    Peer result;
    result.name = name;
    result.address = "10.0.0.1";
    result.kind = "host";
    result.state = state;
    result.since = WallTime(std::chrono::seconds(since));
    return result;
}

PathMtu mtu_of(MtuVerdict verdict, MtuDirection direction, std::uint32_t bytes) {
    PathMtu mtu;
    mtu.verdict = verdict;
    mtu.direction = direction;
    mtu.bytes = bytes;
    return mtu;
}

ListText shown(const std::vector<Peer>& peers,
               const std::vector<std::string>& words = {},
               const ViewOptions& view = {}) {
    const PeersReport report{.time = WallTime(std::chrono::seconds(100)), .peers = peers};
    const auto text = peers_text(report, words, view, piped);
    REQUIRE(text.has_value());
    return *text;
}

/// The names of the rows, in their order.
std::string names(const std::string& text) {
    std::string result;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        std::istringstream cells(line);
        std::string mark;
        std::string name;
        cells >> mark >> name;
        if (mark == "●" || mark == "▲" || mark == "✖" || mark == "○") {
            result += result.empty() ? name : " " + name;
        }
    }
    return result;
}

bool shows(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("what is ill comes first, the longest so on top; the unknown last") {
    const auto list = shown({peer("u", "unknown"),
                             peer("a2", "up", 9),
                             peer("a10", "up", 1),
                             peer("s", "suspect", 50),
                             peer("late", "down", 60),
                             peer("early", "down", 10)},
                            {},
                            {.all = true});
    CHECK(names(list.text) == "early late s a2 a10 u");
    CHECK(list.is_ill);
    CHECK(shows(list.text, "6 peers: 2 up, 1 suspect, 2 down, 1 unknown yet.\n"));
}

TEST_CASE("of the well ones some are shown and all are counted") {
    std::vector<Peer> peers;
    for (int i = 0; i < 30; ++i) {
        peers.push_back(peer("p" + std::to_string(i), "up"));
    }
    auto list = shown(peers);
    CHECK(names(list.text) == "p0 p1 p2 p3 p4");
    CHECK(shows(list.text, "… 25 more are up: reachctl peers --all\n30 peers: 30 up.\n"));
    CHECK_FALSE(list.is_ill);
    for (int i = 0; i < 10; ++i) {
        peers[static_cast<std::size_t>(i)].state = "down";
    }
    list = shown(peers);
    CHECK(names(list.text) == "p0 p1 p2 p3 p4 p5 p6 p7 p8 p9 p10 p11");
    CHECK(shows(list.text, "… 18 more are up"));
    CHECK_FALSE(shows(shown(peers, {}, {.all = true}).text, "more"));
    CHECK_FALSE(shows(shown(peers, {"*"}).text, "more"));
    peers.resize(13);
    CHECK(shows(shown(peers).text, "… 1 more is up"));
}

TEST_CASE("words choose, and the verdict is that of what they mean") {
    const std::vector<Peer> peers{peer("db1", "down"), peer("web", "up")};
    CHECK(names(shown(peers, {"web"}).text) == "web");
    CHECK_FALSE(shown(peers, {"web"}).is_ill);
    CHECK(shown(peers, {"db*"}).is_ill);
    CHECK(shows(shown(peers, {"web"}).text, "1 peer: 1 up.\n"));
    const PeersReport report{.peers = peers};
    CHECK(peers_text(report, {"db2"}, {}, piped).error() ==
          "no peer 'db2'; near: db1. All: reachctl peers --all");
}

TEST_CASE("an address is a word with and without its zone") {
    auto one = peer("a", "up");
    one.address = "fe80::1%br0";
    CHECK(names(shown({one, peer("b", "up")}, {"fe80::1"}).text) == "a");
    CHECK(names(shown({one, peer("b", "up")}, {"fe80::1%br0"}).text) == "a");
}

TEST_CASE("a peer that is up with a session down is not among the counted") {
    std::vector<Peer> peers;
    for (int i = 0; i < 20; ++i) {
        peers.push_back(peer("p" + std::to_string(i), "up"));
    }
    peers[15].probes = {{.probe = "tcp", .port = 443, .state = "down"}};
    const auto list = shown(peers);
    CHECK(names(list.text).substr(0, 4) == "p15 ");
    CHECK(shows(list.text, "tcp/443 down\n"));
    CHECK_FALSE(list.is_ill);
}

TEST_CASE("a path MTU that is not the expected one degrades a peer that is up") {
    const auto shown_with =
        [](const std::string& state, MtuVerdict verdict, MtuDirection direction) {
            auto one = peer("a", state);
            one.mtu = mtu_of(verdict, direction, 1500);
            return shown({one}, {}, {.legend = false}).text;
        };
    const std::string degraded = "▲ a  10.0.0.1  host  degraded  -  -  -  1500    ";
    const auto hole = MtuVerdict::black_hole;
    for (const auto direction :
         {MtuDirection::forward, MtuDirection::both, MtuDirection::unknown}) {
        CHECK(shown_with("up", hole, direction) == degraded + "mtu_black_hole\n");
    }
    CHECK(shown_with("up", hole, MtuDirection::reverse) == degraded + "mtu_reverse\n");
    for (const auto verdict : {MtuVerdict::signalled, MtuVerdict::local, MtuVerdict::peer_egress}) {
        CHECK(shown_with("up", verdict, MtuDirection::none) == degraded + "mtu_mismatch\n");
    }
    for (const auto verdict : {MtuVerdict::ok, MtuVerdict::undetermined}) {
        CHECK(shows(shown_with("up", verdict, MtuDirection::none), "● a  10.0.0.1  host  up "));
    }
    CHECK(shows(shown_with("suspect", hole, MtuDirection::both), "suspect"));
    CHECK_FALSE(shows(shown_with("suspect", hole, MtuDirection::both), "mtu_"));
    CHECK_FALSE(shows(shown_with("down", hole, MtuDirection::both), "mtu_"));
}

TEST_CASE("a degraded peer stands among the ill ones and is counted, and nothing is down") {
    std::vector<Peer> peers;
    for (int i = 0; i < 20; ++i) {
        peers.push_back(peer("p" + std::to_string(i), "up"));
    }
    peers[15].mtu = mtu_of(MtuVerdict::signalled, MtuDirection::forward, 1400);
    peers[15].probes = {{.probe = "tcp", .port = 443, .state = "down"}};
    peers.push_back(peer("s", "suspect", 50));
    const auto list = shown(peers);
    CHECK(names(list.text).substr(0, 9) == "s p15 p0 ");
    CHECK(shows(list.text, "mtu_mismatch, tcp/443 down\n"));
    CHECK(shows(list.text, "21 peers: 19 up, 1 degraded, 1 suspect.\n"));
    CHECK(list.is_ill);
}

TEST_CASE("numbers of a peer that is down are not those of before") {
    auto one = peer("a", "down");
    one.rtt_seconds = 0.001;
    one.rtt_p99_seconds = 0.002;
    one.loss_ratio = 0.01;
    one.reason = "timeout";
    const auto text = shown({one}).text;
    CHECK_FALSE(shows(text, "ms"));
    CHECK(shows(text, "100 %"));
    CHECK(shows(text, "no answer"));
}

TEST_CASE("what is not known is a dash, or nothing") {
    Peer one;
    one.name = "a";
    one.state = "unknown";
    CHECK(shown({one}, {}, {.legend = false}).text ==
          "○ a  -    unknown  -  -  -  -    name not resolved\n");
}

TEST_CASE("no peers are told in a sentence") {
    CHECK(shown({}).text == "No peers: none is configured, and none was found.\n");
    CHECK(shown({}, {}, {.legend = false}).text.empty());
    CHECK_FALSE(shown({}).is_ill);
}

TEST_CASE("20,000 peers take no time") {
    std::vector<Peer> peers;
    for (int i = 0; i < 20'000; ++i) {
        peers.push_back(peer("p" + std::to_string(i), i % 2 == 0 ? "down" : "up"));
    }
    CHECK(names(shown(peers, {}, {.all = true}).text).size() > 100'000);
}
