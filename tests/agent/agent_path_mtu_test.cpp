// Path MTU in the agent: whose packets are believed, what is told, and that it decides nothing
// else.
#include <catch2/catch.hpp>

#include "tests/agent/agent_fixture.hpp"

namespace reachd {
namespace {

using namespace test;

constexpr IfIndex eno1{2};

Config jumbo_peer() {
    Config config = config_of({peer_config("pm2", "10.77.0.21")});
    config.discover_gateways = false;
    config.guests.enabled = false;
    return config;
}

struct Bench : AgentWorld {
    explicit Bench(Config config = jumbo_peer())
        : AgentWorld(std::move(config), {.links = {{.index = 2, .name = "eno1", .mtu = 9000}}}) {
        egress = eno1;
        tell(new_link({.index = 9, .name = "other"}));  // and the ways out are looked up again
        agent.handle(ConfigLoaded{config_}, now);
    }

    PathMtu mtu() {
        const Snapshot taken = snapshot();
        return taken.path_mtus.empty() ? PathMtu{} : taken.path_mtus.front().mtu;
    }

    std::size_t told(std::string_view text) const {
        const auto all = messages();
        return static_cast<std::size_t>(
            std::count_if(all.begin(), all.end(), [text](const std::string& message) {
                return message.find(text) != std::string::npos;
            }));
    }

    Config config_ = jumbo_peer();
};

TEST_CASE("the size that the way out allows is expected and measured", "[agent_path_mtu]") {
    Bench bench;
    bench.run(12s);
    CHECK(bench.mtu().expected == 9000);
    CHECK(bench.mtu().verdict == MtuVerdict::ok);
    CHECK(bench.told("path MTU") == 0);
    const auto taken = bench.snapshot();
    REQUIRE(taken.path_mtus.size() == 1);
    CHECK(taken.peers[taken.path_mtus[0].peer].identity->name() == "pm2");
    CHECK(taken.path_mtus[0].packets[0] == bench.mtu_requests.size());
}

TEST_CASE("a hole is told once, and its end", "[agent_path_mtu]") {
    Bench bench;
    bench.mtu_forward = 1500;
    bench.run(200s);
    CHECK(bench.mtu().verdict == MtuVerdict::black_hole);
    CHECK(bench.mtu().direction == MtuDirection::forward);
    CHECK(bench.mtu().bytes == 1500);
    CHECK(bench.told("path MTU to pm2 (10.77.0.21) is 1500, 9000 expected: larger packets vanish "
                     "silently, towards") == 1);
    bench.mtu_forward = ip_packet_bytes_max;
    bench.run(70s);
    CHECK(bench.told("path MTU to pm2 (10.77.0.21) is 9000 again") == 1);
    CHECK(bench.told("is down") == 0);
}

TEST_CASE("forged answers and errors are ignored and counted", "[agent_path_mtu]") {
    Bench bench;
    bench.run(12s);
    REQUIRE_FALSE(bench.mtu_requests.empty());
    const MtuRequest request = bench.mtu_requests.back();
    const auto foreign = bench.ignored("foreign");

    MtuReplied forged = Bench::mtu_reply_to(request);
    forged.reply.cookie.tag ^= 1U;
    bench.handle(forged);
    CHECK(bench.ignored("foreign") == foreign + 1);

    MtuReplied elsewhere = Bench::mtu_reply_to(request);
    elsewhere.from = address("10.77.0.99");
    bench.handle(elsewhere);
    CHECK(bench.ignored("wrong_source") == 1);

    MtuEchoFailed lie;
    lie.reporter = address("10.77.0.1");
    lie.error.reason = FailureReason::too_big;
    lie.error.destination = address("10.77.0.21");
    lie.error.sequence = static_cast<std::uint16_t>(request.order.token.sequence ^ 0x8000U);
    lie.error.mtu = 1400;
    bench.handle(lie);
    bench.handle(MtuDatagramFailed{
        address("10.77.0.21"), address("10.77.0.21"), 1, FailureReason::port_unreachable, 0});
    CHECK(bench.ignored("foreign") == foreign + 3);
    CHECK(bench.mtu().verdict == MtuVerdict::ok);
}

TEST_CASE("a header's worth of quote is enough, if destination and number are right",
          "[agent_path_mtu]") {
    Bench bench;
    bench.mtu_forward = 84;  // large ones stay out
    bench.run(1s);
    while (bench.mtu_requests.empty()) {
        bench.run(100ms);
    }
    const auto large = std::find_if(
        bench.mtu_requests.rbegin(), bench.mtu_requests.rend(), [](const MtuRequest& request) {
            return request.order.packet == MtuPacket{MtuForm::echo, 9000};
        });
    REQUIRE(large != bench.mtu_requests.rend());
    MtuEchoFailed signal;
    signal.reporter = address("10.77.0.1");
    signal.error.reason = FailureReason::too_big;
    signal.error.destination = address("10.77.0.99");
    signal.error.sequence = static_cast<std::uint16_t>(large->order.token.sequence);
    signal.error.mtu = 1400;
    bench.handle(signal);  // another's
    bench.mtu_forward = 1400;
    signal.error.destination = address("10.77.0.21");
    bench.handle(signal);
    bench.run(5s);
    CHECK(bench.mtu().verdict == MtuVerdict::signalled);
    CHECK(bench.mtu().bytes == 1400);
    CHECK(bench.mtu().reporter == address("10.77.0.1"));
}

TEST_CASE("a peer may have its path MTU left alone", "[agent_path_mtu]") {
    Config config = jumbo_peer();
    config.peers.front().mtu.enabled = false;
    Bench bench(config);
    bench.handle(ConfigLoaded{config});
    bench.run(70s);
    CHECK(bench.snapshot().path_mtus.empty());
    CHECK(bench.mtu_requests.empty());
}

TEST_CASE("MTUs of devices that do not fit are told once", "[agent_path_mtu]") {
    Bench bench;
    bench.tell(new_link({.index = 3, .name = "br0", .kind = "bridge", .mtu = 9000}));
    bench.tell(new_link({.index = 2, .name = "eno1", .master = 3, .mtu = 1500}));
    bench.tell(new_link({.index = 4, .name = "vnet0", .master = 3, .kind = "tun", .mtu = 9000}));
    bench.run(10s);
    CHECK(bench.snapshot().mtu_inconsistencies.size() == 1);
    CHECK(bench.told("MTUs do not fit (port_above_uplink): vnet0 has 9000, eno1 takes 1500") == 1);
    bench.tell(new_link({.index = 4, .name = "vnet0", .master = 3, .kind = "tun", .mtu = 1500}));
    bench.run(2s);
    CHECK(bench.snapshot().mtu_inconsistencies.empty());
    CHECK(bench.told("MTUs fit again (port_above_uplink): vnet0 no longer has more than eno1") ==
          1);
    CHECK(bench.told("MTUs") == 2);
}

TEST_CASE(
    "MTUs that do not fit are told at once, but devices that change all the time are not "
    "compared all the time",
    "[agent_path_mtu]") {
    Bench bench;
    bench.tell(new_link({.index = 3, .name = "br0", .kind = "bridge", .mtu = 9000}));
    bench.tell(new_link({.index = 2, .name = "eno1", .master = 3, .mtu = 1500}));
    bench.run(5s);
    const auto tap = [](int mtu) {
        return new_link({.index = 4,
                         .name = "vnet0",
                         .master = 3,
                         .kind = "tun",
                         .mtu = static_cast<std::uint32_t>(mtu)});
    };
    bench.tell(tap(9000));
    bench.run(100ms);
    CHECK(bench.told("vnet0 has 9000") == 1);
    for (int i = 0; i < 50; ++i) {
        bench.tell(tap(8000 + i));
        bench.run(10ms);
    }
    const auto meanwhile = bench.told("MTUs do not fit");
    CHECK(meanwhile >= 4);
    CHECK(meanwhile <= 8);
    bench.run(1s);
    CHECK(bench.told("vnet0 has 8049") == 1);
    CHECK(bench.told("fit again") == 0);
}

TEST_CASE("one more port that is too large is no end of the conflict", "[agent_path_mtu]") {
    Bench bench;
    const auto tap = [](int index, std::uint32_t mtu) {
        return new_link({.index = index,
                         .name = "vnet" + std::to_string(index),
                         .master = 3,
                         .kind = "tun",
                         .mtu = mtu});
    };
    bench.tell(new_link({.index = 3, .name = "br0", .kind = "bridge", .mtu = 9200}));
    bench.tell(new_link({.index = 2, .name = "eno1", .master = 3, .mtu = 1500}));
    bench.tell(tap(4, 9000));
    bench.run(1s);
    bench.tell(tap(5, 9000));
    bench.run(1s);
    CHECK(bench.told("MTUs do not fit") == 1);
    bench.tell(tap(5, 9100));
    bench.run(1s);
    CHECK(bench.told("MTUs do not fit") == 2);
    CHECK(bench.told("vnet5 has 9100") == 1);
    bench.tell(tap(5, 1500));
    bench.run(1s);
    CHECK(bench.told("fit again") == 0);
    bench.tell(tap(4, 1500));
    bench.run(1s);
    CHECK(bench.told("fit again") == 1);
}

TEST_CASE("the port of a bridge behind which the next hop is limits what passes",
          "[agent_path_mtu]") {
    Bench bench;
    bench.tell(new_link({.index = 3, .name = "br0", .kind = "bridge", .mtu = 9000}));
    bench.tell(new_link({.index = 2, .name = "eno1", .master = 3, .mtu = 1500}));
    const MacAddress router({2, 0, 0, 0, 0, 1});
    bench.tell(new_neighbour({3, address("10.77.0.1"), router, NUD_REACHABLE}));
    bench.tell(new_fdb({.bridge = 3, .port = 2, .mac = router}));
    bench.egress = IfIndex{3};
    bench.gateway = address("10.77.0.1");
    bench.run(20s);
    CHECK(bench.mtu().expected == 9000);
    CHECK(bench.mtu().verdict == MtuVerdict::local);
    CHECK(bench.mtu().device == eno1);
    CHECK(bench.mtu().bytes == 1500);
}

TEST_CASE("a port that is learnt later counts soon", "[agent_path_mtu]") {
    Bench bench;
    bench.tell(new_link({.index = 3, .name = "br0", .kind = "bridge", .mtu = 9000}));
    bench.tell(new_link({.index = 2, .name = "eno1", .master = 3, .mtu = 1500}));
    bench.egress = IfIndex{3};
    bench.run(20s);
    CHECK(bench.mtu().verdict == MtuVerdict::ok);
    const MacAddress peer({2, 0, 0, 0, 0, 1});
    bench.tell(new_fdb({.bridge = 3, .port = 2, .mac = peer}));
    bench.tell(new_neighbour({3, address("10.77.0.21"), peer, NUD_REACHABLE}));
    bench.run(2s);
    CHECK(bench.mtu().verdict == MtuVerdict::local);
    CHECK(bench.mtu().device == eno1);
}

TEST_CASE("a peer with a device of its own is followed to the port too", "[agent_path_mtu]") {
    Config config = jumbo_peer();
    config.peers.front().device = "br0";
    Bench bench(config);
    bench.tell(new_link({.index = 3, .name = "br0", .kind = "bridge", .mtu = 9000}));
    bench.tell(new_link({.index = 2, .name = "eno1", .master = 3, .mtu = 1500}));
    bench.egress = IfIndex{3};
    bench.run(6s);
    CHECK(bench.mtu().expected == 9000);
    const MacAddress peer({2, 0, 0, 0, 0, 1});
    bench.tell(new_fdb({.bridge = 3, .port = 2, .mac = peer}));
    bench.tell(new_neighbour({3, address("10.77.0.21"), peer, NUD_REACHABLE}));
    bench.run(2s);
    CHECK(bench.mtu().verdict == MtuVerdict::local);
    CHECK(bench.mtu().device == eno1);
}

}  // namespace
}  // namespace reachd
