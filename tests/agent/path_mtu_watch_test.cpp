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
    }

    void link(const LinkFacts& facts) {
        const auto datagram = test::new_link(facts);
        NetlinkReader reader{ByteView(datagram)};
        while (const auto* message = reader.next()) {
            topology.apply(*message);
        }
    }

    static PathMtuWish wish(std::uint32_t expected = 0) {
        PathMtuWish wish;
        wish.destination = *IpAddress::parse("10.0.0.9");
        wish.expected = expected;
        return wish;
    }

    void want(std::uint32_t peer, const PathMtuWish& wish) {
        watch.want(peer, wish, topology, now);
    }

    /// Runs for so long; every packet is answered, every way out is `egress`.
    void run(Duration time) {
        for (const MonoTime end = now + time; now < end; now += 10ms) {
            std::vector<MtuOrder> orders;
            std::vector<EgressLookup> asked;
            watch.prober().observe(now);
            watch.poll(now, asked, orders);
            for (const EgressLookup& lookup : asked) {
                ++lookups;
                watch.on_egress({lookup.session, lookup.generation, egress}, topology, now);
            }
            for (const MtuOrder& order : orders) {
                sizes.insert(order.packet.bytes);
                watch.prober().on_sent(order, now);
                watch.prober().on_answer(order.token, 0, now);
            }
        }
    }

    PathMtu result(std::uint32_t peer) { return watch.result(peer).value(); }

    Topology topology;
    MonoTime now{1000s};
    PathMtuWatch watch{1'000'000, now};
    IfIndex egress = eno1;
    std::size_t lookups = 0;
    std::set<std::uint32_t> sizes;
};

TEST_CASE("the way out is looked up, and its device says what to expect", "[path_mtu_watch]") {
    Bench bench;
    bench.want(7, Bench::wish());
    CHECK(bench.result(7).expected == 0);
    bench.run(2s);
    CHECK(bench.lookups == 1);
    CHECK(bench.result(7).expected == 1500);
    CHECK(bench.result(7).verdict == MtuVerdict::ok);
    CHECK(bench.watch.take_changed() == std::vector<std::uint32_t>{7});
    CHECK(bench.watch.take_changed().empty());
    CHECK(bench.watch.counts(7)->at(0) == 2);
}

TEST_CASE("a peer with a device of its own needs no lookup", "[path_mtu_watch]") {
    Bench bench;
    PathMtuWish wish = Bench::wish();
    wish.device = eno2;
    bench.want(7, wish);
    bench.run(2s);
    CHECK(bench.lookups == 0);
    CHECK(bench.result(7).bytes == 9000);
}

TEST_CASE("where no way leads nothing is expected, and nothing sent", "[path_mtu_watch]") {
    Bench bench;
    bench.egress = IfIndex::any;
    bench.want(7, Bench::wish());
    bench.run(120s);
    CHECK(bench.result(7) == PathMtu{});
    CHECK(bench.sizes.empty());
}

TEST_CASE("more is expected than the device allows: told before any probe", "[path_mtu_watch]") {
    Bench bench;
    PathMtuWish wish = Bench::wish(9000);
    wish.device = eno1;
    bench.want(7, wish);
    CHECK(bench.result(7).verdict == MtuVerdict::local);
    CHECK(bench.result(7).device == eno1);
    CHECK(bench.result(7).bytes == 1500);
}

TEST_CASE("a device that changes its MTU is noticed at once", "[path_mtu_watch]") {
    Bench bench;
    bench.want(7, Bench::wish());
    bench.run(2s);
    bench.link({.index = 2, .name = "eno1", .mtu = 1400});
    bench.watch.follow_links(bench.topology, bench.now);
    CHECK(bench.result(7).expected == 1400);
    bench.run(1s);
    CHECK(bench.result(7).verdict == MtuVerdict::ok);
    CHECK(bench.sizes.contains(1400));
    const auto changes = bench.watch.take_changed();
    bench.watch.follow_links(bench.topology, bench.now);
    bench.run(1s);
    CHECK(bench.watch.take_changed().empty());
}

TEST_CASE("a way out that changes is found when routes are in doubt", "[path_mtu_watch]") {
    Bench bench;
    bench.want(7, Bench::wish());
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

TEST_CASE("the answer to an old lookup is nobody's", "[path_mtu_watch]") {
    Bench bench;
    bench.want(7, Bench::wish());
    std::vector<MtuOrder> orders;
    std::vector<EgressLookup> lookups;
    bench.watch.poll(bench.now + 10ms, lookups, orders);
    REQUIRE(lookups.size() == 1);
    bench.watch.forget(7);
    CHECK_FALSE(bench.watch.is_wanted(7));
    CHECK_FALSE(bench.watch.result(7));
    CHECK(bench.watch.counts(7) == nullptr);
    bench.watch.on_egress(
        {lookups[0].session, lookups[0].generation, eno1}, bench.topology, bench.now);
    bench.want(8, Bench::wish());
    bench.watch.on_egress(
        {lookups[0].session, lookups[0].generation, eno1}, bench.topology, bench.now);
    CHECK(bench.result(8).expected == 0);
    bench.watch.forget(99);  // never wanted
}

TEST_CASE("the same wish again changes nothing, another begins anew", "[path_mtu_watch]") {
    Bench bench;
    bench.want(7, Bench::wish());
    bench.run(2s);
    bench.want(7, Bench::wish());
    CHECK(bench.result(7).verdict == MtuVerdict::ok);
    bench.want(7, Bench::wish(1300));
    CHECK(bench.result(7).verdict == MtuVerdict::undetermined);
    bench.run(2s);
    CHECK(bench.result(7).bytes == 1300);
}

TEST_CASE("lookups of many peers are spread over turns", "[path_mtu_watch]") {
    Bench bench;
    for (std::uint32_t peer = 0; peer < 1000; ++peer) {
        bench.want(peer, Bench::wish());
    }
    bench.run(10ms);
    std::vector<MtuOrder> orders;
    std::vector<EgressLookup> lookups;
    bench.watch.poll(bench.now, lookups, orders);
    CHECK(lookups.size() == PathMtuWatch::lookups_per_turn);
    bench.lookups = lookups.size() + bench.lookups;
    bench.run(2s);
    CHECK(bench.lookups == 1000);
}

}  // namespace
}  // namespace reachd
