// Scenarios of path MTUs: what befalls large packets, the verdict on it, its time and its price.
#include "common/path_mtu.hpp"

#include "tests/sim/scenario.hpp"

namespace reachd::sim {
namespace {

constexpr IfIndex eno1{2};

/// From the first check that failed to the verdict, at a short round trip.
constexpr Duration search_time = 1s;

Config jumbo_peers() {
    Config config = two_peers();
    config.mtu.interval = 60s;
    for (PeerConfig& peer : config.peers) {
        peer.mtu = config.mtu;
    }
    return config;
}

struct JumboWorld : World {
    explicit JumboWorld(std::uint64_t seed, Config config = jumbo_peers())
        : World({.seed = seed, .config = std::move(config)}) {
        set_link({.index = 2, .name = "eno1", .mtu = 9000});
        large.egress = eno1;
    }

    PathMtu mtu_of(const std::string& name) {
        const Snapshot taken = snapshot();
        for (const PathMtuSnapshot& found : taken.path_mtus) {
            if (taken.peers[found.peer].identity->name() == name) {
                return found.mtu;
            }
        }
        return {};
    }

    Texts warnings() const {
        Texts texts;
        for (const LogRecord& record : logs()) {
            if (record.level == LogLevel::warning) {
                texts.push_back(record.message);
            }
        }
        return texts;
    }
};

void check_healthy(JumboWorld& world, const std::string& peer) {
    CHECK(world.mtu_of(peer).verdict == MtuVerdict::ok);
    CHECK(world.mtu_of(peer).bytes == 9000);
}

}  // namespace

TEST_CASE("sim: healthy paths cost two packets an interval", "[sim][path_mtu]") {
    JumboWorld world(1);
    world.run(60s);
    check_healthy(world, "pm1");
    check_healthy(world, "pm2");
    const std::uint64_t before = world.large.packets();
    world.run(600s);
    CHECK(world.large.packets() - before == 2 * 2 * 10);
    CHECK(world.warnings() == Texts{});
    CHECK(verdict_texts(world) == both_up);
    check_sound(world);
}

TEST_CASE("sim: a black hole is told with its size and direction, of its peer alone",
          "[sim][path_mtu]") {
    JumboWorld world(2);
    world.run(60s);
    const std::uint32_t size = GENERATE(1500U, 1400U, 8000U, 4352U);
    const bool there = GENERATE(true, false);
    CAPTURE(size, there);
    LinkPair& link = pm1(world).link;
    (there ? link.there : link.back).mtu_bytes = size;
    world.run(60s + search_time + 500ms);
    const PathMtu mtu = world.mtu_of("pm1");
    CHECK(mtu.verdict == MtuVerdict::black_hole);
    CHECK(mtu.bytes == size);
    CHECK(mtu.direction == (there ? MtuDirection::forward : MtuDirection::reverse));
    check_healthy(world, "pm2");
    REQUIRE(world.warnings().size() == 1);
    CHECK(world.warnings()[0].find("pm1") != std::string::npos);
    CHECK(verdict_texts(world) == both_up);
    link = {};
    world.run(11min);  // PMTU_RAISE_TIMER
    check_healthy(world, "pm1");
    CHECK(world.warnings().size() == 1);
    check_sound(world);
}

TEST_CASE("sim: holes in both directions", "[sim][path_mtu]") {
    JumboWorld world(3);
    world.run(60s);
    pm1(world).link.there.mtu_bytes = 1500;
    pm1(world).link.back.mtu_bytes = 1500;
    world.run(63s);
    CHECK(world.mtu_of("pm1").direction == MtuDirection::both);
    CHECK(world.mtu_of("pm1").bytes == 1500);
    check_sound(world);
}

TEST_CASE("sim: a router that says so, and who it is", "[sim][path_mtu]") {
    JumboWorld world(4);
    world.run(60s);
    pm1(world).router.mtu_bytes = 1400;
    pm1(world).router.bare_quote = GENERATE(false, true);
    pm1(world).router.error_interval = GENERATE(0s, 1s);
    world.run(63s);
    const PathMtu mtu = world.mtu_of("pm1");
    CHECK(mtu.verdict == MtuVerdict::signalled);
    CHECK(mtu.bytes == 1400);
    CHECK(mtu.reported == 1400);
    CHECK(mtu.reporter == router_of(Family::ipv4));
    check_healthy(world, "pm2");
    check_sound(world);
}

TEST_CASE("sim: a peer whose own way out is smaller answers in fragments", "[sim][path_mtu]") {
    JumboWorld world(5);
    world.run(60s);
    pm1(world).host.mtu_bytes = 1500;
    world.run(63s);
    const PathMtu mtu = world.mtu_of("pm1");
    CHECK(mtu.verdict == MtuVerdict::peer_egress);
    CHECK(mtu.bytes == 1500);
    check_healthy(world, "pm2");
    check_sound(world);
}

TEST_CASE("sim: a host that tells nothing of closed ports makes no wrong direction",
          "[sim][path_mtu]") {
    JumboWorld world(6);
    pm1(world).host.closed_ports_silent = true;
    world.run(60s);
    pm1(world).link.there.mtu_bytes = 1500;
    world.run(63s);
    CHECK(world.mtu_of("pm1").verdict == MtuVerdict::black_hole);
    CHECK(world.mtu_of("pm1").bytes == 1500);
    CHECK(world.mtu_of("pm1").direction != MtuDirection::reverse);
    check_sound(world);
}

TEST_CASE("sim: who does not answer at all has no path MTU", "[sim][path_mtu]") {
    JumboWorld world(7);
    world.run(60s);
    SECTION("cut off") {
        pm1(world).link.there.down = true;
    }
    SECTION("ICMP filtered") {
        pm1(world).host.filtered = true;
    }
    SECTION("its neighbour is dead") {
        pm1(world).neighbour_dead = true;
    }
    world.run(200s);
    CHECK_FALSE(is_mismatch(world.mtu_of("pm1").verdict));
    CHECK(world.warnings() == Texts{"peer pm1 (10.77.0.20) is down: timeout"});
    check_healthy(world, "pm2");
    check_sound(world);
}

TEST_CASE("sim: loss is no hole, and hides none", "[sim][path_mtu]") {
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        CAPTURE(seed);
        JumboWorld world(seed);
        for (LinkFaults* link : {&pm1(world).link.there, &pm1(world).link.back}) {
            link->loss = always / 20;  // a tenth of all round trips
            link->delay = seed % 2 == 0 ? 100us : 25ms;
        }
        world.run(300s);
        CHECK_FALSE(is_mismatch(world.mtu_of("pm1").verdict));
        const std::uint32_t size = 1300 + static_cast<std::uint32_t>(seed) * 97;
        const bool there = seed % 3 != 0;
        (there ? pm1(world).link.there : pm1(world).link.back).mtu_bytes = size;
        world.run(65s);
        const PathMtu mtu = world.mtu_of("pm1");
        CHECK(mtu.verdict == MtuVerdict::black_hole);
        CHECK(mtu.bytes <= size);
        CHECK(mtu.bytes + 4 >= size);
        CHECK(mtu.direction == (there ? MtuDirection::forward : MtuDirection::reverse));
        check_healthy(world, "pm2");
        CHECK(world.broken() == Texts{});
    }
}

TEST_CASE("sim: own trouble is no hole", "[sim][path_mtu]") {
    JumboWorld world(8);
    for (int i = 0; i < 100; ++i) {
        world.after(i * 6s + 777ms, [&world, i] { world.starve(i % 2 == 0 ? 400ms : 3s); });
    }
    SECTION("a loop that stands still") {}
    SECTION("a socket that takes nothing") {
        world.large.busy = always / 2;
    }
    world.run(610s);
    CHECK_FALSE(is_mismatch(world.mtu_of("pm1").verdict));
    CHECK(world.warnings() == Texts{});
    world.large.busy = 0;
    world.run(120s);
    check_healthy(world, "pm1");
    check_healthy(world, "pm2");
    check_sound(world);
}

TEST_CASE("sim: the own device's MTU is followed at once", "[sim][path_mtu]") {
    JumboWorld world(9);
    world.run(60s);
    world.large.egress_bytes = 1500;
    world.set_link({.index = 2, .name = "eno1", .mtu = 1500});
    world.run(10s);
    CHECK(world.mtu_of("pm1").expected == 1500);
    CHECK(world.mtu_of("pm1").verdict == MtuVerdict::ok);
    world.large.egress_bytes = 9000;
    world.set_link({.index = 2, .name = "eno1", .mtu = 9000});
    world.run(10s);
    check_healthy(world, "pm1");
    CHECK(world.warnings() == Texts{});
    check_sound(world);
}

TEST_CASE("sim: many holes at once stay within the byte budget, and all are found",
          "[sim][path_mtu]") {
    Config config = jumbo_peers();
    for (int i = 0; i < 40; ++i) {
        PeerConfig peer = peer_config("x" + std::to_string(i), "10.77.1." + std::to_string(i + 1));
        peer.mtu = config.mtu;
        config.peers.push_back(peer);
    }
    JumboWorld world(10, config);
    world.run(60s);
    world.network.segment(0).there.mtu_bytes = 1500;
    world.run(300s);
    for (const PeerConfig& peer : config.peers) {
        CAPTURE(peer.name);
        CHECK(world.mtu_of(peer.name).verdict == MtuVerdict::black_hole);
        CHECK(world.mtu_of(peer.name).bytes == 1500);
    }
    CHECK(world.large.bytes_per_second_max() <= config.limits.mtu_bytes_per_second);
    check_sound(world);
}

}  // namespace reachd::sim
