// Scenarios of the network: what happened to the packets, the verdict on it, and its time.
#include "tests/sim/scenario.hpp"

namespace reachd::sim {

TEST_CASE("sim: a healthy world is up and silent", "[sim]") {
    World world({.seed = 1, .config = two_peers()});
    world.run(60s);
    CHECK(verdict_texts(world) == both_up);
    CHECK(world.verdicts().back().at <= 1s + 10ms);  // within the first interval
    CHECK(world.logs().empty());
    check_untouched(world, "pm1");
    check_untouched(world, "pm2");
    const Snapshot snapshot = world.snapshot();
    CHECK(total(snapshot.packets_ignored) == 0);
    CHECK(snapshot.skipped == decltype(snapshot.skipped){});
    CHECK(snapshot.discarded == decltype(snapshot.discarded){});
    CHECK(snapshot.netlink.resyncs == 0);
    check_sound(world);
}

TEST_CASE("sim: cut and repair, each told in time", "[sim]") {
    World world({.seed = 2, .config = two_peers()});
    SECTION("on the way there") {
        world.after(10s, [&] { pm1(world).link.there.down = true; });
        world.after(20s, [&] { pm1(world).link.there.down = false; });
    }
    SECTION("on the way back") {
        world.after(10s, [&] { pm1(world).link.back.down = true; });
        world.after(20s, [&] { pm1(world).link.back.down = false; });
    }
    SECTION("ICMP filtered on the host") {
        world.after(10s, [&] { pm1(world).host.filtered = true; });
        world.after(20s, [&] { pm1(world).host.filtered = false; });
    }
    world.run(20s);
    CHECK(verdict_texts(world) == Texts{"pm1 up", "pm2 up", "pm1 down"});
    // An interval until the first unanswered probe, its time-out, and one second more.
    CHECK(last_verdict(world, "pm1") > 11s);
    CHECK(last_verdict(world, "pm1") <= 10s + 1s + 1s + 1s);
    const Row row = row_of(world, "pm1");
    CHECK(row.failed(FailureReason::timeout) == row.counters.lost);
    world.run(10s);
    CHECK(verdict_texts(world) == Texts{"pm1 up", "pm2 up", "pm1 down", "pm1 up"});
    CHECK(last_verdict(world, "pm1") <= 20s + 1s + 1s);
    REQUIRE(world.logs().size() == 2);
    CHECK(world.logs()[0].message == "peer pm1 (10.77.0.20) is down: timeout");
    CHECK(world.logs()[1].message == "peer pm1 (10.77.0.20) is up again");
    check_untouched(world, "pm2");
    check_sound(world);
}

TEST_CASE("sim: a cut shared uplink takes all down and brings all back", "[sim]") {
    World world({.seed = 3, .config = two_peers()});
    world.run(10s);
    world.network.segment(0).there.down = true;
    world.run(5s);
    CHECK(row_of(world, "pm1").up == false);
    CHECK(row_of(world, "pm2").up == false);
    world.network.segment(0).there.down = false;
    world.run(3s);
    CHECK(row_of(world, "pm1").up == true);
    CHECK(row_of(world, "pm2").up == true);
    CHECK(world.verdicts().size() == 6);
    check_sound(world);
}

TEST_CASE("sim: one lost packet is never a verdict", "[sim]") {
    for (int phase = 0; phase < 20; ++phase) {
        CAPTURE(phase);
        World world({.seed = 1, .config = two_peers()});
        world.run(10005ms + phase * 50ms);
        // For exactly an interval: one probe, and over before it times out.
        pm1(world).link.back.down = true;
        world.run(1s);
        pm1(world).link.back.down = false;
        world.run(5s);
        CHECK(verdict_texts(world) == both_up);
        CHECK(world.logs().empty());
        CHECK(row_of(world, "pm1").counters.lost == 1);
        CHECK(row_of(world, "pm1").state == Reachability::up);
        check_untouched(world, "pm2");
        check_sound(world);
    }
}

TEST_CASE("sim: 30 % loss is loss, hardly ever an outage", "[sim]") {
    int down = 0;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        CAPTURE(seed);
        World world({.seed = seed, .config = two_peers()});
        pm1(world).link.back.loss = 300'000;
        world.run(60s);
        const Row row = row_of(world, "pm1");
        const double ratio =
            static_cast<double>(row.counters.lost) / static_cast<double>(row.counters.sent);
        CHECK(ratio > 0.1);
        CHECK(ratio < 0.5);
        const auto texts = verdict_texts(world);
        down += static_cast<int>(std::count(texts.begin(), texts.end(), "pm1 down"));
        check_untouched(world, "pm2");
        check_sound(world);
    }
    // Some 18 suspicions a minute, of which 0.3^3 x 0.7 or so (a scheduled probe too) are believed.
    CHECK(down <= 12);
}

TEST_CASE("sim: late answers are late, not lost and found", "[sim]") {
    World world({.seed = 4, .config = two_peers()});
    world.run(10500ms);
    const ProbeCounters before = row_of(world, "pm1").counters;
    pm1(world).host.answer_after = 1500ms;
    world.run(10s);
    const Row row = row_of(world, "pm1");
    CHECK(verdict_texts(world) == Texts{"pm1 up", "pm2 up", "pm1 down"});
    CHECK(last_verdict(world, "pm1") <= 13500ms);
    CHECK(row.counters.received == before.received);
    CHECK(row.counters.late >= 8);
    CHECK(row.counters.duplicates == 0);
    check_untouched(world, "pm2");
    check_sound(world);
}

TEST_CASE("sim: duplicates are counted and change nothing", "[sim]") {
    World world({.seed = 5, .config = two_peers()});
    SECTION("made by the host") {
        pm1(world).host.duplicates = 2;
    }
    SECTION("made by the link") {
        pm1(world).link.back.duplication = always;
    }
    world.run(20s);
    const Row row = row_of(world, "pm1");
    CHECK(verdict_texts(world) == both_up);
    CHECK(row.counters.lost == 0);
    CHECK(row.counters.duplicates >= row.counters.received);
    CHECK(row.counters.late == 0);
    check_untouched(world, "pm2");
    check_sound(world);
}

TEST_CASE("sim: reordered answers are counted and change nothing", "[sim]") {
    Config config = two_peers();
    config.peers[0].icmp.interval = 100ms;
    World world({.seed = 6, .config = config});
    pm1(world).link.back.reordering = 300'000;
    pm1(world).link.back.reorder_by = 250ms;
    world.run(20s);
    const Row row = row_of(world, "pm1");
    CHECK(verdict_texts(world) == Texts{"pm1 up", "pm2 up"});
    CHECK(row.counters.reordered > 20);
    CHECK(row.counters.lost == 0);
    CHECK(row.counters.late == 0);
    check_untouched(world, "pm2");
    check_sound(world);
}

TEST_CASE("sim: a router that says unreachable gives the reason, however seldom", "[sim]") {
    World world({.seed = 7, .config = two_peers()});
    world.run(10s);
    RouterFaults& router = pm1(world).router;
    router.says = FailureReason::net_unreachable;
    SECTION("each time") {}
    SECTION("once in 5 s, as routers do") {
        router.error_interval = 5s;
    }
    SECTION("quoting no more than it must") {
        router.bare_quote = true;
    }
    world.run(15s);
    const Row row = row_of(world, "pm1");
    CHECK(verdict_texts(world) == Texts{"pm1 up", "pm2 up", "pm1 down"});
    CHECK(last_verdict(world, "pm1") <= 13s);
    CHECK(row.failed(FailureReason::net_unreachable) == row.counters.lost);
    CHECK(row.failed(FailureReason::timeout) == 0);
    REQUIRE(world.logs().size() == 1);
    CHECK(world.logs()[0].message == "peer pm1 (10.77.0.20) is down: net_unreachable");
    check_untouched(world, "pm2");
    check_sound(world);
}

TEST_CASE("sim: a router that complains and forwards all the same is no outage", "[sim]") {
    World world({.seed = 8, .config = two_peers()});
    world.run(10s);
    pm1(world).router.says = FailureReason::host_unreachable;
    world.run(200ms);
    pm1(world).router.says.reset();
    world.run(10s);
    CHECK(verdict_texts(world) == both_up);
    CHECK(row_of(world, "pm1").counters.lost <= 1);
    check_untouched(world, "pm2");
    check_sound(world);
}

TEST_CASE("sim: a dead neighbour is told from an unreachable host", "[sim]") {
    World world({.seed = 9, .config = two_peers()});
    world.run(10s);
    pm1(world).neighbour_dead = true;
    world.run(15s);
    const Row row = row_of(world, "pm1");
    CHECK(verdict_texts(world) == Texts{"pm1 up", "pm2 up", "pm1 down"});
    CHECK(last_verdict(world, "pm1") <= 13s);
    // The kernel needs 3 s to find out: the first losses have no reason yet.
    CHECK(row.failed(FailureReason::neighbour_failed) > 0);
    CHECK(row.failed(FailureReason::neighbour_failed) + row.failed(FailureReason::timeout) ==
          row.counters.lost);
    check_untouched(world, "pm2");
    check_sound(world);
}

TEST_CASE("sim: an MTU hole swallows large payloads and spares small ones", "[sim]") {
    Config config = two_peers();
    config.peers[0].icmp.payload_bytes = 8972;
    config.peers.push_back(peer_config("small", "10.77.0.22"));
    World world({.seed = 10, .config = config});
    world.run(10s);
    CHECK(world.verdicts().size() == 3);
    world.network.segment(0).there.mtu_bytes = 1500;
    world.run(10s);
    CHECK(row_of(world, "pm1").up == false);
    CHECK(row_of(world, "pm1").failed(FailureReason::too_big) == 0);  // silently
    CHECK(last_verdict(world, "pm1") <= 13s);
    CHECK(world.verdicts().size() == 4);
    check_untouched(world, "pm2");
    check_untouched(world, "small");
    check_sound(world);
}

TEST_CASE("sim: a router that says too big is believed", "[sim]") {
    Config config = two_peers();
    config.peers[0].icmp.payload_bytes = 8972;
    World world({.seed = 11, .config = config});
    world.run(10s);
    pm1(world).router.mtu_bytes = 1500;
    world.run(10s);
    const Row row = row_of(world, "pm1");
    CHECK(row.up == false);
    CHECK(row.failed(FailureReason::too_big) == row.counters.lost);
    check_untouched(world, "pm2");
    check_sound(world);
}

TEST_CASE("sim: forged answers bring nobody up and keep nobody up", "[sim]") {
    const auto forgery =
        GENERATE(Forgery::cookie, Forgery::source, Forgery::identifier, Forgery::sequence);
    World world({.seed = 12, .config = two_peers()});
    pm1(world).host.forgery = forgery;
    world.run(10s);
    CHECK(row_of(world, "pm1").up == false);
    CHECK(row_of(world, "pm1").counters.received == 0);
    CHECK(total(world.snapshot().packets_ignored) >= 10);
    check_untouched(world, "pm2");
    check_sound(world);
}

TEST_CASE("sim: a lie beside the truth is ignored", "[sim]") {
    World world({.seed = 13, .config = two_peers()});
    pm1(world).host.forgery = Forgery::cookie;
    pm1(world).host.answers_too = true;
    world.run(10s);
    CHECK(verdict_texts(world) == both_up);
    check_untouched(world, "pm1");
    CHECK(total(world.snapshot().packets_ignored) == row_of(world, "pm1").counters.received);
    check_sound(world);
}

TEST_CASE("sim: a slow path is up, and its outage is still told", "[sim]") {
    World world({.seed = 14, .config = two_peers()});
    LinkPair& link = pm1(world).link;
    link.there.delay = link.back.delay = 300ms;
    world.run(20s);
    CHECK(verdict_texts(world) == Texts{"pm1 up", "pm2 up"});
    check_untouched(world, "pm2");
    CHECK(row_of(world, "pm1").counters.lost == 0);
    link.there.down = true;
    world.run(10s);
    // 4 round trips of 600 ms after the time-out, and the time of the next probe.
    CHECK(row_of(world, "pm1").up == false);
    CHECK(last_verdict(world, "pm1") <= 20s + 1s + 1s + 4 * 601ms + 100ms);
    check_sound(world);
}

}  // namespace reachd::sim
