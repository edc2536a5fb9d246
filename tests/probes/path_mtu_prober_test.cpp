#include "probes/path_mtu_prober.hpp"

#include <catch2/catch.hpp>

#include "tests/probes/mtu_world.hpp"

namespace reachd {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t jumbo = 9000;

PathMtu measure(const MtuPath& path, std::uint32_t expected = jumbo, std::uint64_t seed = 1) {
    MtuWorld world(1'000'000, seed);
    const auto id = world.add(path, expected);
    world.run(10s);
    return world.result(id);
}

TEST_CASE("a healthy path costs two packets an interval", "[path_mtu]") {
    MtuWorld world;
    const auto id = world.add({}, jumbo);
    world.run(299s);
    CHECK(world.result(id).verdict == MtuVerdict::ok);
    CHECK(world.result(id).direction == MtuDirection::none);
    CHECK(world.result(id).bytes == jumbo);
    CHECK(world.packets == 2 * 5);
    CHECK(world.prober.counts(id)[0] == world.packets);
}

TEST_CASE("a hole is measured to the byte, with its direction", "[path_mtu]") {
    for (const std::uint32_t mtu : {576U, 1280U, 1500U, 1501U, 4321U, 8999U}) {
        MtuPath forward;
        forward.forward = mtu;
        PathMtu result = measure(forward);
        CHECK(result.verdict == MtuVerdict::black_hole);
        CHECK(result.bytes == mtu);
        CHECK(result.direction == MtuDirection::forward);

        MtuPath reverse;
        reverse.reverse = mtu;
        result = measure(reverse);
        CHECK(result.bytes == mtu);
        CHECK(result.verdict == MtuVerdict::black_hole);
        CHECK(result.direction == MtuDirection::reverse);

        reverse.forward = mtu;
        CHECK(measure(reverse).direction == MtuDirection::both);
    }
}

TEST_CASE("an MTU is reported without the slack for a VLAN tag", "[path_mtu]") {
    MtuPath path;
    path.forward = 1504;
    CHECK(measure(path).bytes == 1500);
    path.forward = 1492;
    CHECK(measure(path).bytes == 1492);
}

TEST_CASE("a hole is measured within a second of the first failed check", "[path_mtu]") {
    MtuWorld world;
    MtuPath path;
    const auto first = world.add(path, jumbo, {Family::ipv4, 10s, 500ms});
    const auto second = world.add(path, jumbo, {Family::ipv4, 10s, 500ms});
    const auto third = world.add(path, jumbo, {Family::ipv4, 10s, 500ms});
    world.run(15s);
    path.forward = 4000;
    for (const auto id : {first, second, third}) {
        world.paths[id] = path;
    }
    const std::uint64_t before = world.packets;
    world.run(20s, [&] { return world.packets > before; });
    const Duration took = world.run(20s, [&] {
        return std::all_of(world.paths.begin(), world.paths.end(), [&](const auto& known) {
            return world.result(known.first).verdict == MtuVerdict::black_hole;
        });
    });
    CHECK(took <= 250ms + 1s);
    CHECK(world.result(third).bytes == 4000);
}

TEST_CASE("a signal is the answer, once it has proved true", "[path_mtu]") {
    MtuPath path;
    path.router = 1400;
    MtuWorld world;
    const auto id = world.add(path, jumbo);
    const Duration took = world.run(5s, [&] { return world.is_settled(id); });
    CHECK(took <= 600ms);
    const PathMtu result = world.result(id);
    CHECK(result.verdict == MtuVerdict::signalled);
    CHECK(result.bytes == 1400);
    CHECK(result.reported == 1400);
    CHECK(result.reporter == path.reporter);
    CHECK(world.packets < 30);
    const std::uint64_t before = world.packets;
    world.run(300s);
    CHECK(world.packets - before <= 5 * 3);
    CHECK(world.result(id).verdict == MtuVerdict::signalled);
}

TEST_CASE("three checks fail a tenth of a second apart, however near the peer is", "[path_mtu]") {
    MtuWorld world;
    const auto id = world.add({}, jumbo);
    world.run(59s);
    world.paths[id].forward = 4000;
    world.sent_bytes.clear();
    world.run(60s, [&] { return world.is_settled(id) && world.result(id).bytes == 4000; });
    std::vector<MonoTime> attempts;
    for (const auto& [at, bytes] : world.sent_bytes) {
        if (bytes >= jumbo && attempts.size() < 3) {
            attempts.push_back(at);
        }
    }
    REQUIRE(attempts.size() == 3);
    CHECK(attempts[1] - attempts[0] >= 100ms);
    CHECK(attempts[2] - attempts[1] >= 100ms);
    CHECK(attempts[2] - attempts[0] <= 250ms);
}

TEST_CASE("an answer of the expected size proves a signal a lie", "[path_mtu]") {
    MtuWorld world;
    const auto id = world.add({}, jumbo);
    bool forged = false;
    world.run(1s, [&] {
        const auto seen = world.prober.find(0);  // the first packet is a large one
        forged =
            forged || (seen && world.prober.on_too_big(*seen, MtuPath{}.reporter, 1400, world.now));
        return world.is_settled(id);
    });
    CHECK(forged);
    CHECK(world.result(id).verdict == MtuVerdict::ok);
    CHECK(world.result(id).bytes == jumbo);
}

TEST_CASE("a peer that answers with less than it was asked says nothing of the way back",
          "[path_mtu]") {
    MtuPath path;
    path.answer_max = 1028;
    PathMtu result = measure(path);
    CHECK(result.verdict == MtuVerdict::undetermined);
    CHECK(result.forward == Passage::passes);
    CHECK(result.reverse == Passage::unknown);
    path.forward = 4000;
    result = measure(path);
    CHECK(result.verdict == MtuVerdict::black_hole);
    CHECK(result.bytes == 4000);
    CHECK(result.direction == MtuDirection::unknown);
}

TEST_CASE("two routers, one after the other", "[path_mtu]") {
    MtuPath path;
    path.router = 1400;
    path.router_says = 4000;  // what the first says; the second drops without a word
    const PathMtu result = measure(path);
    CHECK(result.bytes == 1400);
    CHECK(result.reporter == path.reporter);
}

TEST_CASE("a router of old gives no size", "[path_mtu]") {
    MtuPath path;
    path.router = 1006;
    path.router_is_mute_about_size = true;
    const PathMtu result = measure(path);
    CHECK(result.verdict == MtuVerdict::signalled);
    CHECK(result.bytes == 1006);
    CHECK(result.reported == 0);
}

TEST_CASE("a lie about the size is no news", "[path_mtu]") {
    MtuWorld world;
    MtuPath path;
    path.router = 8000;
    path.router_says = 9500;  // more than what was sent
    const auto id = world.add(path, jumbo);
    world.run(5s);
    CHECK(world.lies > 0);
    CHECK(world.result(id).verdict == MtuVerdict::black_hole);
    CHECK(world.result(id).bytes == 8000);
    path.router_says = 40;  // below every MTU
    CHECK(measure(path).verdict == MtuVerdict::black_hole);
}

TEST_CASE("the peer's own MTU shows in the fragments of its answers", "[path_mtu]") {
    for (const std::uint32_t mtu : {576U, 1400U, 1497U, 1500U, 8996U}) {
        MtuPath path;
        path.peer = mtu;
        const PathMtu result = measure(path);
        CHECK(result.verdict == MtuVerdict::peer_egress);
        CHECK(result.bytes == mtu);
        CHECK(result.fragment == (mtu - 20) / 8 * 8 + 20);
    }
    MtuWorld world;
    MtuPath path;
    path.peer = 1500;
    static_cast<void>(world.add(path, jumbo));
    world.run(5s);
    const std::uint64_t before = world.packets;
    world.run(300s);
    CHECK(world.packets - before == 5 * 2);
}

TEST_CASE("a device of this host that is smaller is known without asking", "[path_mtu]") {
    MtuWorld world;
    const auto id = world.add({}, jumbo);
    world.prober.set_facts(id, {jumbo, 1500, IfIndex{7}}, world.now);
    CHECK(world.result(id).verdict == MtuVerdict::local);
    CHECK(world.result(id).bytes == 1500);
    CHECK(world.result(id).device == IfIndex{7});
    world.run(100s);
    CHECK(world.result(id).verdict == MtuVerdict::local);
    CHECK(world.result(id).answers);

    world.paths[id].forward = 1300;
    world.run(100s);
    CHECK(world.result(id).verdict == MtuVerdict::black_hole);
    CHECK(world.result(id).bytes == 1300);
}

TEST_CASE("what the kernel refuses tells its limit", "[path_mtu]") {
    MtuPath path;
    path.device = 1500;
    const PathMtu result = measure(path);
    CHECK(result.verdict == MtuVerdict::local);
    CHECK(result.bytes == 1500);
}

TEST_CASE("where nothing is answered nothing is said", "[path_mtu]") {
    MtuPath path;
    path.alive = false;
    const PathMtu result = measure(path);
    CHECK(result.verdict == MtuVerdict::undetermined);
    CHECK_FALSE(result.answers);
    CHECK(result.bytes == 0);
}

TEST_CASE("filtered tests of directions give no wrong direction", "[path_mtu]") {
    MtuPath path;
    path.forward = 1500;
    path.udp_answered = false;
    CHECK(measure(path).direction == MtuDirection::forward);  // by the large answer
    path.fragments_pass = false;
    CHECK(measure(path).direction == MtuDirection::unknown);
    path.forward = MtuPath::unlimited;
    path.reverse = 1500;
    CHECK(measure(path).direction == MtuDirection::unknown);
}

TEST_CASE("a filter on large echoes is no matter of MTU", "[path_mtu]") {
    MtuPath path;
    path.echo_filter = 1500;
    const PathMtu result = measure(path);
    CHECK(result.verdict == MtuVerdict::undetermined);
    CHECK(result.answers);
    CHECK(result.forward == Passage::passes);
    CHECK(result.reverse == Passage::passes);
}

TEST_CASE("a filter that reassembles before it looks is like a hole on the way back",
          "[path_mtu]") {
    MtuPath path;
    path.echo_filter = 1500;
    path.echo_filter_reassembles = true;
    const PathMtu result = measure(path);
    CHECK(result.verdict == MtuVerdict::black_hole);
    CHECK(result.direction == MtuDirection::reverse);
}

TEST_CASE("loss and distance do not falsify verdict, size or direction", "[path_mtu]") {
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        INFO("seed " << seed);
        MtuPath path;
        path.loss = 0.1;
        path.rtt = seed % 2 == 0 ? 300us : 50ms;
        CHECK(measure(path, jumbo, seed).verdict == MtuVerdict::ok);
        path.forward = 3333;
        const PathMtu forward = measure(path, jumbo, seed);
        CHECK(forward.bytes == 3333);
        CHECK(forward.verdict == MtuVerdict::black_hole);
        path.forward = MtuPath::unlimited;
        path.reverse = 3333;
        const PathMtu reverse = measure(path, jumbo, seed);
        CHECK(reverse.bytes == 3333);
        CHECK(forward.direction != MtuDirection::reverse);
        CHECK(reverse.direction != MtuDirection::forward);
    }
}

TEST_CASE("a hole that closes is noticed at the next check", "[path_mtu]") {
    MtuWorld world;
    MtuPath path;
    path.forward = 1500;
    const auto id = world.add(path, jumbo);
    world.run(5s);
    world.paths[id].forward = MtuPath::unlimited;
    world.run(61s);
    CHECK(world.result(id).verdict == MtuVerdict::ok);
}

TEST_CASE("a smaller hole is noticed at the next check, a larger one within ten minutes",
          "[path_mtu]") {
    MtuWorld world;
    MtuPath path;
    path.forward = 1500;
    const auto id = world.add(path, jumbo);
    world.run(5s);
    world.paths[id].forward = 1300;
    world.run(62s);
    CHECK(world.result(id).bytes == 1300);
    world.paths[id].forward = 4000;
    world.run(61s);
    CHECK(world.result(id).bytes == 1300);
    world.run(11min);
    CHECK(world.result(id).bytes == 4000);
}

TEST_CASE("netlink's word hurries the next check", "[path_mtu]") {
    MtuWorld world;
    MtuPath path;
    path.forward = 1500;
    const auto id = world.add(path, jumbo);
    world.run(5s);
    world.paths[id].forward = 4000;
    world.prober.hurry(id, world.now);
    world.run(2s);
    CHECK(world.result(id).bytes == 4000);
}

TEST_CASE("the bytes of all searches together stay within their limit", "[path_mtu]") {
    for (const std::uint32_t limit : {100'000U, 1'000'000U}) {
        MtuWorld world(limit);
        MtuPath path;
        path.forward = 2222;
        for (int peer = 0; peer < 50; ++peer) {
            world.add(path, jumbo, {}, static_cast<IfIndex>(peer + 2));
        }
        world.run(120s);
        std::uint64_t in_window = 0;
        std::uint64_t worst = 0;
        auto oldest = world.sent_bytes.begin();
        for (const auto& [at, bytes] : world.sent_bytes) {
            in_window += bytes;
            for (; at - oldest->first >= 1s; ++oldest) {
                in_window -= oldest->second;
            }
            worst = std::max(worst, in_window);
        }
        CHECK(worst <= limit);
        for (const auto& [id, unused] : world.paths) {
            CHECK((limit < 1'000'000 || world.result(id).bytes == 2222));
        }
    }
}

TEST_CASE("what was found for one peer is the first guess for the next", "[path_mtu]") {
    MtuWorld world;
    MtuPath path;
    path.forward = 5678;
    const auto first = world.add(path, jumbo);
    world.run(5s, [&] { return world.is_settled(first); });
    const std::uint64_t alone = world.packets;
    const auto second = world.add(path, jumbo);
    world.run(5s, [&] { return world.is_settled(second); });
    CHECK(world.result(second).bytes == 5678);
    CHECK(world.packets - alone < alone);
}

TEST_CASE("own trouble is not the path's", "[path_mtu]") {
    MtuWorld world;
    const auto id = world.add({}, jumbo);
    world.run(61s);
    const std::uint64_t sent = world.packets;
    world.run(61s, [&] { return world.packets > sent; });
    world.prober.on_receive_overflow(world.now);
    world.paths[id].alive = false;  // what was out is lost
    world.run(20ms);
    world.paths[id].alive = true;
    world.run(3s);
    CHECK(world.result(id).verdict == MtuVerdict::ok);
}

TEST_CASE("a session that is closed leaves nothing behind", "[path_mtu]") {
    MtuWorld world;
    MtuPath path;
    path.forward = 1500;
    for (int round = 0; round < 200; ++round) {
        const auto id = world.add(path, jumbo);
        world.run(std::chrono::milliseconds(round * 7));
        world.prober.close(id);
        CHECK_FALSE(world.prober.is_open(id));
        world.run(1s);
    }
    CHECK(world.prober.take_changed().empty());
    const auto id = world.add(path, jumbo);
    world.run(5s);
    CHECK(world.result(id).bytes == 1500);
    CHECK(world.prober.take_changed() == std::vector<std::uint32_t>{id});
}

TEST_CASE("packets in flight are found by what an ICMP error quotes", "[path_mtu]") {
    PathMtuProber prober(1'000'000, MonoTime(1s));
    const auto id = prober.open({}, 0.0, MonoTime(1s));
    prober.set_facts(id, {1500, 0, IfIndex{1}}, MonoTime(1s));
    std::vector<MtuOrder> orders;
    for (MonoTime now(1s); orders.empty(); now += 10ms) {
        prober.poll(now, orders);
    }
    REQUIRE(orders.size() == 2);
    CHECK_FALSE(prober.find(static_cast<std::uint16_t>(orders[0].token.sequence)));
    prober.on_sent(orders[0], MonoTime(2s));
    prober.on_not_sent(orders[1], MonoTime(2s));
    CHECK(prober.find(static_cast<std::uint16_t>(orders[0].token.sequence)) == orders[0].token);
    CHECK_FALSE(prober.find(static_cast<std::uint16_t>(orders[0].token.sequence ^ 0x8000U)));
    CHECK_FALSE(prober.find(static_cast<std::uint16_t>(orders[1].token.sequence)));
    CHECK_FALSE(prober.find_datagram(PathMtuProber::first_port));
    CHECK_FALSE(prober.find_datagram(1));
    CHECK(prober.counts(id)[static_cast<std::size_t>(MtuPacketResult::not_sent)] == 1);
}

}  // namespace
}  // namespace reachd
