#include "agent/path_mtu_watch.hpp"

#include <set>

#include <catch2/catch.hpp>

#include "tests/agent/netlink_builder.hpp"

namespace reachd {
namespace {

using namespace std::chrono_literals;
using test::LinkFacts;

constexpr IfIndex eno1{2};
constexpr IfIndex eno2{3};

class Bench {
  public:
    Bench() {
        link({.index = 2, .name = "eno1", .mtu = 1500});
        link({.index = 3, .name = "eno2", .mtu = 9000});
        watch.follow_links(topology, now);
    }

    void link(const LinkFacts& facts) {
        const auto datagram = test::new_link(facts);
        NetlinkReader reader{ByteView(datagram)};
        while (const auto* message = reader.next()) {
            topology.apply(*message);
        }
    }

    static MtuOptions expecting(std::uint32_t bytes) {
        MtuOptions options;
        options.expected_bytes = bytes;
        return options;
    }

    void want(std::uint32_t peer, const MtuOptions& options = {}, IfIndex device = IfIndex::any) {
        watch.want(peer, options, now);
        aim(peer, MtuAim{Family::ipv4, device, IfIndex::any});
    }

    void aim(std::uint32_t peer, const std::optional<MtuAim>& aim, bool anew = false) {
        watch.aim(peer, aim, anew, topology, now);
    }

    /// Runs for so long; every packet is answered, every way out is `egress`.
    void run(Duration time) {
        for (const MonoTime end = now + time; now < end; now += 10ms) {
            std::vector<MtuOrder> orders;
            std::vector<std::uint32_t> asked;
            watch.prober().observe(now);
            watch.poll(now, asked, orders);
            for (const std::uint32_t peer : asked) {
                ++lookups;
                watch.on_egress(peer, {egress, port}, topology, now);
            }
            for (const MtuOrder& order : orders) {
                sizes.insert(order.packet.bytes);
                watch.prober().on_sent(order, now);
                watch.prober().on_answer(order.token, order.packet.bytes, 0, now);
            }
        }
    }

    PathMtu result(std::uint32_t peer) { return watch.result(peer).value_or(PathMtu{}); }

    Topology topology;
    MonoTime now{1000s};
    PathMtuWatch watch{1'000'000, now};
    IfIndex egress = eno1;
    IfIndex port = IfIndex::any;
    std::size_t lookups = 0;
    std::set<std::uint32_t> sizes;
};

TEST_CASE("the way out is looked up, and its device says what to expect", "[path_mtu_watch]") {
    Bench bench;
    bench.want(7);
    CHECK_FALSE(bench.watch.result(7));
    CHECK(bench.watch.counts(7) == nullptr);
    bench.run(2s);
    CHECK(bench.lookups == 1);
    CHECK(bench.result(7).expected == 1500);
    CHECK(bench.result(7).verdict == MtuVerdict::ok);
    CHECK(bench.watch.take_changed() == std::vector<std::uint32_t>{7});
    CHECK(bench.watch.take_changed().empty());
    REQUIRE(bench.watch.counts(7) != nullptr);
    CHECK(bench.watch.counts(7)->at(0) == 2);
}

TEST_CASE("a peer with a device of its own needs no lookup", "[path_mtu_watch]") {
    Bench bench;
    bench.want(7, {}, eno2);
    bench.run(2s);
    CHECK(bench.lookups == 0);
    CHECK(bench.result(7).bytes == 9000);
}

TEST_CASE("where no way leads nothing is expected, and nothing sent", "[path_mtu_watch]") {
    Bench bench;
    bench.egress = IfIndex::any;
    bench.want(7, Bench::expecting(1400));
    bench.run(120s);
    CHECK_FALSE(bench.watch.result(7));
    CHECK(bench.sizes.empty());
}

TEST_CASE("more is expected than the device allows: told before any probe", "[path_mtu_watch]") {
    Bench bench;
    bench.want(7, Bench::expecting(9000), eno1);
    CHECK(bench.result(7).verdict == MtuVerdict::local);
    CHECK(bench.result(7).device == eno1);
    CHECK(bench.result(7).bytes == 1500);
}

TEST_CASE("the port of a bridge by which a peer is reached counts", "[path_mtu_watch]") {
    Bench bench;
    bench.link({.index = 4, .name = "br0", .kind = "bridge", .mtu = 9000});
    bench.link({.index = 2, .name = "eno1", .master = 4, .mtu = 1500});
    bench.egress = IfIndex{4};
    bench.port = eno1;
    bench.want(7);
    bench.run(2s);
    CHECK(bench.result(7).expected == 9000);
    CHECK(bench.result(7).verdict == MtuVerdict::local);
    CHECK(bench.result(7).device == eno1);
    CHECK(bench.result(7).bytes == 1500);
    CHECK_FALSE(bench.sizes.contains(9000));
    bench.port = eno2;  // learnt elsewhere by now
    bench.run(PathMtuWatch::lookup_interval + 1s);
    CHECK(bench.result(7).verdict == MtuVerdict::ok);
    CHECK(bench.result(7).bytes == 9000);
}

TEST_CASE("options that nobody has any more make room for others", "[path_mtu_watch]") {
    Bench bench;
    bench.want(1, Bench::expecting(1400));
    for (std::uint32_t bytes = 0; bytes < 70'000; ++bytes) {
        bench.want(7, Bench::expecting(1000 + bytes % 40'000));
    }
    bench.watch.forget(7);
    bench.want(7, Bench::expecting(1300));
    bench.run(2s);
    CHECK(bench.result(1).expected == 1400);
    CHECK(bench.result(7).expected == 1300);
}

TEST_CASE("a device that changes its MTU is noticed at once", "[path_mtu_watch]") {
    Bench bench;
    bench.want(7);
    bench.run(2s);
    bench.link({.index = 2, .name = "eno1", .mtu = 1400});
    bench.watch.follow_links(bench.topology, bench.now);
    CHECK(bench.result(7).expected == 1400);
    bench.run(1s);
    CHECK(bench.result(7).verdict == MtuVerdict::ok);
    CHECK(bench.sizes.contains(1400));
    CHECK(bench.watch.take_changed() == std::vector<std::uint32_t>{7});
    bench.watch.follow_links(bench.topology, bench.now);
    bench.run(1s);
    CHECK(bench.watch.take_changed().empty());
}

TEST_CASE("a way out that changes is found when routes are in doubt", "[path_mtu_watch]") {
    Bench bench;
    bench.want(7);
    bench.run(2s);
    bench.egress = eno2;
    bench.run(10s);
    CHECK(bench.result(7).expected == 1500);
    bench.watch.doubt_ways(bench.now);
    bench.run(1s);
    CHECK(bench.result(7).expected == 9000);
    bench.egress = eno1;
    bench.run(PathMtuWatch::lookup_interval + 1s);
    CHECK(bench.result(7).expected == 1500);
}

TEST_CASE("doubts that never end cost a sweep now and then", "[path_mtu_watch]") {
    Bench bench;
    bench.want(7);
    for (int second = 0; second < 60; ++second) {
        bench.watch.doubt_ways(bench.now);
        bench.run(1s);
    }
    CHECK(bench.lookups <= 60s / PathMtuWatch::sweep_pause + 1);
}

TEST_CASE("a peer that cannot be asked for a while keeps its counters", "[path_mtu_watch]") {
    Bench bench;
    bench.want(7, {}, eno1);
    bench.run(2s);
    const auto counted = bench.watch.counts(7)->at(0);
    bench.aim(7, std::nullopt);
    CHECK_FALSE(bench.watch.result(7));
    bench.run(70s);
    CHECK(bench.watch.counts(7)->at(0) == counted);
    bench.aim(7, MtuAim{Family::ipv4, eno2, IfIndex::any});
    bench.run(2s);
    CHECK(bench.result(7).bytes == 9000);
    CHECK(bench.watch.counts(7)->at(0) > counted);
    bench.aim(7, MtuAim{Family::ipv4, eno2, IfIndex::any}, true);  // another destination
    CHECK(bench.watch.counts(7)->at(0) == 0);
}

TEST_CASE("who is forgotten, or no longer wanted, is asked no more", "[path_mtu_watch]") {
    Bench bench;
    bench.want(7);
    bench.want(8, {}, eno2);
    bench.run(2s);
    bench.watch.forget(7);
    MtuOptions off;
    off.enabled = false;
    bench.watch.want(8, off, bench.now);
    bench.watch.on_egress(7, {eno1}, bench.topology, bench.now);  // too late
    bench.sizes.clear();
    bench.run(130s);
    CHECK(bench.sizes.empty());
    CHECK_FALSE(bench.watch.result(7));
    CHECK_FALSE(bench.watch.result(8));
    bench.watch.forget(99);  // never there
    bench.want(8, {}, eno2);
    bench.run(2s);
    CHECK(bench.result(8).bytes == 9000);
}

TEST_CASE("other options begin no new series", "[path_mtu_watch]") {
    Bench bench;
    bench.want(7);
    bench.run(2s);
    const auto counted = bench.watch.counts(7)->at(0);
    bench.want(7, Bench::expecting(1300));
    CHECK(bench.result(7).verdict == MtuVerdict::undetermined);
    bench.run(2s);
    CHECK(bench.result(7).bytes == 1300);
    CHECK(bench.watch.counts(7)->at(0) > counted);
}

TEST_CASE("lookups of many peers are spread over turns", "[path_mtu_watch]") {
    Bench bench;
    for (std::uint32_t peer = 0; peer < 1000; ++peer) {
        bench.want(peer);
    }
    std::vector<MtuOrder> orders;
    std::vector<std::uint32_t> lookups;
    bench.watch.poll(bench.now, lookups, orders);
    CHECK(lookups.size() == PathMtuWatch::lookups_per_turn);
    bench.run(2s);
    CHECK(bench.lookups + lookups.size() == 1000);
}

}  // namespace
}  // namespace reachd
