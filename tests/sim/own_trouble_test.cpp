// Scenarios of our own host's trouble, none of which is the network's: starved loops, stepping
// clocks, full buffers, a local firewall. Whoever is reachable stays up.
#include "tests/sim/scenario.hpp"

namespace reachd::sim {
namespace {

std::uint64_t skipped(World& world, SkipReason reason) {
    return world.snapshot().skipped[static_cast<std::size_t>(reason)];
}

std::uint64_t discarded(World& world, DiscardReason reason) {
    return world.snapshot().discarded[0][static_cast<std::size_t>(reason)];
}

}  // namespace

TEST_CASE("sim: a loop that is starved for 5 s loses nothing", "[sim]") {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        CAPTURE(seed);
        World world({.seed = seed, .config = two_peers()});
        pm1(world).link.back.delay = 500ms;  // something is always out
        world.run(10s);
        world.starve(5s);
        world.run(15s);
        CHECK(verdict_texts(world).size() == 2);
        CHECK(world.logs().empty());
        for (const char* peer : {"pm1", "pm2"}) {
            CHECK(row_of(world, peer).counters.lost == 0);
            CHECK(row_of(world, peer).counters.late == 0);
        }
        CHECK(skipped(world, SkipReason::throttle) >= 8);
        CHECK(discarded(world, DiscardReason::starved) >= 1);
        check_sound(world);
    }
}

TEST_CASE("sim: starved again and again, still no loss", "[sim]") {
    World world({.seed = 2, .config = two_peers()});
    for (int i = 0; i < 20; ++i) {
        world.run(700ms);
        world.starve(1300ms);
        world.run(1300ms);
    }
    world.run(3s);
    CHECK(verdict_texts(world) == both_up);
    CHECK(row_of(world, "pm1").counters.lost == 0);
    CHECK(row_of(world, "pm2").counters.lost == 0);
    check_sound(world);
}

TEST_CASE("sim: an outage during which we were starved is told all the same", "[sim]") {
    World world({.seed = 3, .config = two_peers()});
    world.run(10s);
    pm1(world).link.back.down = true;
    world.run(1500ms);
    world.starve(5s);
    world.run(5s);
    const Duration awake = world.elapsed();
    world.run(10s);
    CHECK(verdict_texts(world) == Texts{"pm1 up", "pm2 up", "pm1 down"});
    // The probes that were out get their time-out again, then the burst.
    CHECK(last_verdict(world, "pm1") <= awake + 1s + 1s + 100ms);
    check_untouched(world, "pm2");
    check_sound(world);
}

TEST_CASE("sim: a step of the wall clock in flight costs samples, not answers", "[sim]") {
    const Duration step =
        GENERATE(Duration(-3600s), Duration(-10ms), Duration(10ms), Duration(3600s));
    World world({.seed = 4, .config = two_peers()});
    pm1(world).link.back.delay = 500ms;
    world.run(10s);
    for (int i = 0; i < 5; ++i) {
        world.step_wall(step);
        world.run(1330ms);
    }
    world.run(5s);
    CHECK(verdict_texts(world).size() == 2);
    CHECK(row_of(world, "pm1").counters.lost == 0);
    CHECK(row_of(world, "pm2").counters.lost == 0);
    CHECK(discarded(world, DiscardReason::clock_step) >= 1);
    CHECK(discarded(world, DiscardReason::clock_step) <= 10);
    check_sound(world);
}

TEST_CASE("sim: a clock step while starved is neither loss nor latency", "[sim]") {
    World world({.seed = 5, .config = two_peers()});
    world.run(10s);
    world.starve(3s);
    world.after(1s, [&] { world.step_wall(-2s); });
    world.run(10s);
    CHECK(verdict_texts(world) == both_up);
    CHECK(row_of(world, "pm1").counters.lost == 0);
    CHECK(row_of(world, "pm2").counters.lost == 0);
    const Snapshot snapshot = world.snapshot();
    for (const ProbeSnapshot& probe : snapshot.probes) {
        CHECK(probe.rtt_sum < 20ms);
    }
    check_sound(world);
}

TEST_CASE("sim: a clock that steps back makes no late answer punctual", "[sim]") {
    World world({.seed = 13, .config = two_peers()});
    world.run(10500ms);
    const ProbeCounters before = row_of(world, "pm1").counters;
    pm1(world).host.answer_after = 1500ms;
    for (int i = 0; i < 30; ++i) {
        world.run(330ms);
        world.step_wall(-300ms);
    }
    const Row row = row_of(world, "pm1");
    CHECK(row.up == false);
    CHECK(row.counters.received == before.received);
    CHECK(row.counters.late > 8);
    CHECK(row_of(world, "pm2").counters.lost == 0);
    check_sound(world);
}

TEST_CASE("sim: a slewing clock is no step", "[sim]") {
    World world({.seed = 6, .config = two_peers()});
    world.slew_wall(400);
    world.run(30s);
    CHECK(discarded(world, DiscardReason::clock_step) == 0);
    check_untouched(world, "pm1");
    check_sound(world);
}

TEST_CASE("sim: answers that our own buffer dropped are asked for again", "[sim]") {
    Config config = two_peers();
    for (PeerConfig& peer : config.peers) {
        peer.icmp.interval = 200ms;
    }
    World world({.seed = 7, .config = config});
    world.run(5s);
    // The loop stops for a moment with room for one packet.
    world.local.receive_buffer_packets = 1;
    world.starve(1s);
    world.run(1s);
    world.local.receive_buffer_packets = 100'000;
    world.run(10s);
    CHECK(verdict_texts(world).size() == 2);
    CHECK(world.logs().empty());
    CHECK(row_of(world, "pm1").counters.lost == 0);
    CHECK(row_of(world, "pm2").counters.lost == 0);
    check_sound(world);
}

TEST_CASE("sim: an overflow in the midst of an outage does not put off its verdict", "[sim]") {
    Config config = two_peers();
    for (PeerConfig& peer : config.peers) {
        peer.icmp.interval = 200ms;
    }
    for (Duration into = 0s; into <= 2s; into += 100ms) {
        CAPTURE(into.count());
        World world({.seed = 14, .config = config});
        world.run(5s);
        pm1(world).link.there.down = true;
        world.run(into);
        world.local.receive_buffer_packets = 0;
        world.run(400ms);
        world.local.receive_buffer_packets = 100'000;
        // The loss is told with the next answer of pm2; a probe sent after that times out in 1 s.
        const Duration told = world.elapsed() + 250ms;
        world.run(10s);
        CHECK(verdict_texts(world) == Texts{"pm1 up", "pm2 up", "pm1 down"});
        CHECK(last_verdict(world, "pm1") <= told + 200ms + 1s + 1s + 100ms);
        CHECK(row_of(world, "pm2").counters.lost == 0);
        check_sound(world);
    }
}

TEST_CASE("sim: a standstill in the midst of an outage does not put off its verdict", "[sim]") {
    Config config = two_peers();
    for (PeerConfig& peer : config.peers) {
        peer.icmp.timeout = 2s;
    }
    for (Duration into = 0s; into <= 3s; into += 100ms) {
        CAPTURE(into.count());
        World world({.seed = 15, .config = config});
        world.run(5s);
        pm1(world).link.there.down = true;
        world.run(into);
        world.starve(300ms);
        world.run(300ms);
        const Duration awake = world.elapsed();
        world.run(10s);
        CHECK(verdict_texts(world) == Texts{"pm1 up", "pm2 up", "pm1 down"});
        CHECK(last_verdict(world, "pm1") <= awake + 1s + 2s + 1s + 100ms);
        check_untouched(world, "pm2");
        check_sound(world);
    }
}

TEST_CASE("sim: a local firewall is not loss of the path", "[sim]") {
    World world({.seed = 8, .config = two_peers()});
    world.run(10s);
    const ProbeCounters before = row_of(world, "pm1").counters;
    world.local.send_fails = FailureReason::local_firewall;
    world.local.send_failure = always;
    world.run(10s);
    const Row row = row_of(world, "pm1");
    CHECK(row.counters.sent == before.sent);
    CHECK(row.counters.lost == 0);
    CHECK(row.failed(FailureReason::local_firewall) >= 10);
    // No probe can tell that the peer is up.
    CHECK(row.up == false);
    CHECK(last_verdict(world, "pm1") <= 10s + 1s + 1s);
    CHECK(world.logs().front().message.find("local_firewall") != std::string::npos);
    world.local = {};
    world.run(5s);
    CHECK(row_of(world, "pm1").up == true);
    check_sound(world);
}

TEST_CASE("sim: a busy socket skips probes and says so", "[sim]") {
    World world({.seed = 9, .config = two_peers()});
    world.run(10s);
    world.local.busy = always;
    world.run(10s);
    world.local.busy = 0;
    world.run(5s);
    CHECK(verdict_texts(world) == both_up);
    check_untouched(world, "pm1");
    check_untouched(world, "pm2");
    CHECK(skipped(world, SkipReason::busy) == 20);
    check_sound(world);
}

TEST_CASE("sim: without kernel stamps the samples are marked, not lost", "[sim]") {
    World world({.seed = 10, .config = two_peers()});
    SECTION("no transmit stamps") {
        world.local.transmit_stamp_missing = always;
    }
    SECTION("no receive stamps") {
        world.local.receive_stamp_missing = always;
    }
    world.run(20s);
    CHECK(verdict_texts(world) == both_up);
    check_untouched(world, "pm1");
    CHECK(world.snapshot().user_stamped[0] >= 36);
    check_sound(world);
}

TEST_CASE("sim: transmit stamps that come after their answers still count", "[sim]") {
    World world({.seed = 11, .config = two_peers()});
    world.local.transmit_stamp_after = 300ms;
    world.run(20s);
    CHECK(world.snapshot().user_stamped[0] == 0);
    check_untouched(world, "pm1");
    check_sound(world);
}

TEST_CASE("sim: a loop that is always a little late stays punctual enough", "[sim]") {
    World world({.seed = 12, .config = two_peers()});
    world.local.loop_lag = 15ms;
    world.run(10s);
    pm1(world).link.there.down = true;
    world.run(10s);
    CHECK(verdict_texts(world) == Texts{"pm1 up", "pm2 up", "pm1 down"});
    CHECK(last_verdict(world, "pm1") <= 13s + 100ms);
    check_untouched(world, "pm2");
    check_sound(world);
}

}  // namespace reachd::sim
