#include "agent/netlink_sync.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <tuple>

#include <catch2/catch.hpp>

#include "tests/agent/fake_rtnetlink.hpp"
#include "tests/agent/netlink_builder.hpp"

using namespace reachd;
using namespace reachd::test;
using namespace std::chrono_literals;

namespace {

/// A sync with a clock of its own and shorthands for what the kernel may answer.
struct Bench {
    NetlinkSync sync;
    Instant now{MonoTime{1h}, WallTime{1000h}};

    void wait(Duration time) {
        now.mono += time;
        now.wall += time;
        sync.advance(now);
    }

    void feed(const Bytes& datagram) { sync.on_datagram(datagram, now); }

    void overrun() { sync.on_overrun(now); }

    std::optional<DumpRequest> request() { return sync.take_request(now.mono); }

    DumpRequest expect(DumpKind kind) {
        const auto taken = request();
        REQUIRE(taken.has_value());
        REQUIRE(taken->kind == kind);
        return *taken;
    }

    /// Answers the dump that is due with these links and an orderly end.
    void answer(DumpKind kind, const std::vector<LinkFacts>& links = {}) {
        const auto asked = expect(kind);
        for (const auto& link : links) {
            feed(new_link(link, NLM_F_MULTI, asked.sequence));
        }
        feed(dump_done(asked.sequence));
    }

    void answer_all(const std::vector<LinkFacts>& links = {}) {
        answer(DumpKind::links, links);
        answer(DumpKind::ipv4_routes);
        answer(DumpKind::ipv6_routes);
    }

    void interrupt(DumpKind kind) {
        const auto asked = expect(kind);
        feed(dump_done(asked.sequence, 0, NLM_F_DUMP_INTR));
    }

    bool idle() const { return sync.next_deadline() == mono_never; }

    /// Lets time pass until the next deadline.
    Duration wait_for_deadline() {
        const auto time = sync.next_deadline() - now.mono;
        REQUIRE(time < 1min);
        wait(std::max<Duration>(time, 0ns));
        return time;
    }
};

std::uint64_t count(const std::vector<NamedCount>& counts, std::string_view name) {
    for (const auto& each : counts) {
        if (each.name == name) {
            return each.count;
        }
    }
    FAIL("no such count");
    return 0;
}

const LinkFacts eth0{.index = 2, .name = "eth0"};
const LinkFacts eth1{.index = 3, .name = "eth1"};

}  // namespace

TEST_CASE("the first sync reads one table after the other, then rests", "[sync]") {
    Bench bench;
    CHECK_FALSE(bench.sync.synced());
    CHECK(bench.sync.next_deadline() <= bench.now.mono);
    const auto links = bench.expect(DumpKind::links);
    CHECK_FALSE(bench.request().has_value());  // one at a time
    bench.feed(new_link(eth0, NLM_F_MULTI, links.sequence));
    bench.feed(dump_done(links.sequence));
    CHECK_FALSE(bench.sync.synced());
    bench.answer(DumpKind::ipv4_routes);
    CHECK_FALSE(bench.sync.synced());
    CHECK(bench.sync.snapshot().last_sync == WallTime{});
    bench.answer(DumpKind::ipv6_routes);
    CHECK(bench.sync.synced());
    CHECK(bench.idle());
    CHECK_FALSE(bench.request().has_value());
    CHECK(bench.sync.topology().index_of("eth0") == static_cast<IfIndex>(2));
    CHECK(bench.sync.snapshot().last_sync == bench.now.wall);
    CHECK(bench.sync.snapshot().resyncs == 0);
}

TEST_CASE("events alone never wake an idle daemon", "[sync]") {
    Bench bench;
    bench.answer_all();
    bench.feed(new_link(eth0));
    bench.feed(del_link(2));
    CHECK(bench.idle());
    CHECK_FALSE(bench.request().has_value());
}

TEST_CASE("messages are counted by type", "[sync]") {
    Bench bench;
    bench.feed(new_link(eth0) + new_link(eth1) + del_link(2));
    bench.feed(MessageBuilder(RTM_NEWNEIGH, 0, 0).bytes());
    const auto snapshot = bench.sync.snapshot();
    CHECK(count(snapshot.messages, "newlink") == 2);
    CHECK(count(snapshot.messages, "dellink") == 1);
    CHECK(count(snapshot.messages, "newneigh") == 1);
    CHECK(count(snapshot.messages, "newroute") == 0);
}

TEST_CASE("an overrun is healed by a fresh dump, soon but not at once", "[sync]") {
    Bench bench;
    bench.answer_all({eth0, eth1});
    bench.wait(10s);
    bench.overrun();
    CHECK_FALSE(bench.request().has_value());
    CHECK(bench.wait_for_deadline() == 100ms);
    bench.answer_all({eth1});
    CHECK(bench.idle());
    CHECK_FALSE(bench.sync.topology().index_of("eth0").has_value());
    const auto snapshot = bench.sync.snapshot();
    CHECK(snapshot.overruns == 1);
    CHECK(snapshot.resyncs == 1);
    CHECK(snapshot.last_sync == bench.now.wall);
}

TEST_CASE("a burst of overruns is waited out, but for a second at most", "[sync]") {
    Bench bench;
    bench.answer_all();
    bench.wait(10s);
    for (int i = 0; i < 5; ++i) {
        bench.overrun();
        bench.wait(50ms);
        CHECK_FALSE(bench.request().has_value());
    }
    CHECK(bench.wait_for_deadline() == 50ms);  // 100 ms after the last one
    bench.answer_all();
    bench.wait(10s);
    Duration waited{};
    while (!bench.request()) {
        bench.overrun();
        bench.wait(50ms);
        waited += 50ms;
        REQUIRE(waited < 2s);
    }
    CHECK(waited <= 1100ms);
    CHECK(bench.sync.snapshot().resyncs == 2);
}

TEST_CASE("tables are not read again more than once a second", "[sync]") {
    Bench bench;
    bench.answer_all();
    int dumps = 0;
    const auto end = bench.now.mono + 10s;
    while (bench.now.mono < end) {
        bench.overrun();
        bench.wait(120ms);
        while (const auto request = bench.request()) {
            dumps += request->kind == DumpKind::links ? 1 : 0;
            bench.feed(dump_done(request->sequence));
        }
    }
    CHECK(dumps >= 8);
    CHECK(dumps <= 10);
}

TEST_CASE("an overrun during a dump spoils it", "[sync]") {
    Bench bench;
    bench.answer_all({eth0});
    bench.wait(10s);
    bench.overrun();
    bench.wait_for_deadline();
    const auto asked = bench.expect(DumpKind::links);
    bench.overrun();
    CHECK_FALSE(bench.request().has_value());  // the kernel is still at it
    bench.feed(dump_done(asked.sequence));
    CHECK(bench.sync.topology().link_count() == 1);  // nothing swept by the spoiled one
    CHECK(bench.wait_for_deadline() == 100ms);
    bench.answer(DumpKind::ipv4_routes);  // not yet read, so not to be spaced
    bench.answer(DumpKind::ipv6_routes);
    CHECK(bench.wait_for_deadline() == 900ms);
    bench.answer(DumpKind::links, {eth1});
    CHECK(bench.idle());
    CHECK(bench.sync.topology().index_of("eth1") == static_cast<IfIndex>(3));
    CHECK(bench.sync.topology().link_count() == 1);
}

TEST_CASE("interrupted dumps are retried three times, then left until it is quiet", "[sync]") {
    Bench bench;
    bench.answer_all({eth0});
    bench.wait(10s);
    bench.overrun();
    bench.wait_for_deadline();
    bench.interrupt(DumpKind::links);
    bench.answer(DumpKind::ipv4_routes);  // the others do not wait for it
    bench.answer(DumpKind::ipv6_routes);
    CHECK(bench.wait_for_deadline() == 1s);
    bench.interrupt(DumpKind::links);
    CHECK(bench.wait_for_deadline() == 1s);
    const auto last_good = bench.sync.snapshot().last_sync;
    bench.interrupt(DumpKind::links);
    CHECK(bench.sync.snapshot().last_sync == last_good);
    CHECK(bench.sync.topology().link_count() == 1);

    SECTION("quiet comes") {
        bench.wait(900ms);
        bench.feed(new_link(eth0));
        CHECK(bench.wait_for_deadline() == 300ms);
        bench.answer(DumpKind::links, {eth1});
        CHECK(bench.idle());
        CHECK(bench.sync.snapshot().last_sync == bench.now.wall);
    }
    SECTION("quiet does not come") {
        Duration waited{};
        while (!bench.request()) {
            bench.feed(new_link(eth0));
            bench.wait(100ms);
            waited += 100ms;
            REQUIRE(waited < 40s);
        }
        CHECK(waited == 30s);
    }
}

TEST_CASE("a daemon that can never read a table in peace is ready all the same", "[sync]") {
    Bench bench;
    Duration waited{};
    for (int i = 0; i < 3; ++i) {
        bench.interrupt(DumpKind::links);
        if (i == 0) {
            bench.answer(DumpKind::ipv4_routes);
            bench.answer(DumpKind::ipv6_routes);
        }
        CHECK(bench.sync.synced() == (i == 2));
        if (i < 2) {
            waited += bench.wait_for_deadline();
        }
    }
    CHECK(waited == 200ms);
    CHECK(bench.sync.snapshot().last_sync == WallTime{});
}

TEST_CASE("a silent kernel is asked again after 5 s, and after the third time 30 s later",
          "[sync]") {
    Bench bench;
    for (int i = 0; i < 3; ++i) {
        bench.expect(DumpKind::links);
        CHECK(bench.wait_for_deadline() == 5s);
        if (i == 0) {
            bench.answer(DumpKind::ipv4_routes);
            bench.answer(DumpKind::ipv6_routes);
        }
        if (i < 2) {
            CHECK(bench.wait_for_deadline() == 100ms);
        }
    }
    CHECK(bench.sync.synced());
    CHECK(bench.wait_for_deadline() == 30s);  // quiet is no reason to try sooner
    bench.answer(DumpKind::links, {eth0});
    CHECK(bench.idle());
}

TEST_CASE("a dump that goes on may take its time, one that never ends may not", "[sync]") {
    Bench bench;
    const auto asked = bench.expect(DumpKind::links);
    const auto start = bench.now.mono;
    while (bench.sync.next_deadline() > bench.now.mono) {
        bench.wait(1s);
        if (bench.request()) {
            break;
        }
        bench.feed(new_link(eth0, NLM_F_MULTI, asked.sequence));
        REQUIRE(bench.now.mono - start < 1min);
    }
    CHECK(bench.now.mono - start == 30s);
    // Its parts are still facts, its end is nobody's.
    bench.feed(new_link(eth1, NLM_F_MULTI, asked.sequence));
    CHECK(bench.sync.topology().index_of("eth1") == static_cast<IfIndex>(3));
    bench.feed(dump_done(asked.sequence));
    CHECK_FALSE(bench.idle());
}

TEST_CASE("the end of a stale dump does not end the current one", "[sync]") {
    Bench bench;
    const auto stale = bench.expect(DumpKind::links);
    bench.wait(5s);
    bench.answer(DumpKind::ipv4_routes);
    bench.answer(DumpKind::ipv6_routes);
    bench.wait(1s);
    const auto current = bench.expect(DumpKind::links);
    CHECK(current.sequence != stale.sequence);
    bench.feed(dump_done(stale.sequence, 0, NLM_F_DUMP_INTR));
    bench.feed(error_message(stale.sequence, EBUSY));
    bench.feed(new_link(eth0, NLM_F_MULTI, current.sequence));
    bench.feed(dump_done(current.sequence));
    CHECK(bench.idle());
    CHECK(bench.sync.topology().link_count() == 1);
}

TEST_CASE("an event with our sequence number is no part of our dump", "[sync]") {
    Bench bench;
    const auto asked = bench.expect(DumpKind::links);
    bench.wait(4s);
    bench.feed(new_link(eth0, 0, asked.sequence));
    CHECK(bench.wait_for_deadline() == 1s);  // it was no answer
    CHECK(bench.expect(DumpKind::ipv4_routes).sequence != asked.sequence);
}

TEST_CASE("the kernel's refusals", "[sync]") {
    Bench bench;
    const auto busy = bench.expect(DumpKind::links);
    bench.feed(error_message(busy.sequence, EBUSY));
    // Nobody has put a route into these tables yet, so they do not exist: nothing to read.
    bench.feed(error_message(bench.expect(DumpKind::ipv4_routes).sequence, ENOENT));
    bench.feed(dump_done(bench.expect(DumpKind::ipv6_routes).sequence, ENOENT));
    CHECK_FALSE(bench.sync.synced());
    CHECK(bench.wait_for_deadline() == 100ms);
    bench.answer(DumpKind::links);
    CHECK(bench.sync.synced());
    CHECK(bench.idle());
}

TEST_CASE("a request that cannot be sent is tried again", "[sync]") {
    Bench bench;
    bench.expect(DumpKind::links);
    bench.sync.on_request_failed(bench.now);
    bench.answer(DumpKind::ipv4_routes);
    bench.answer(DumpKind::ipv6_routes);
    CHECK(bench.wait_for_deadline() == 100ms);
    bench.answer(DumpKind::links);
    CHECK(bench.sync.synced());
}

TEST_CASE("malformed and truncated messages are counted and healed by a dump", "[sync]") {
    Bench bench;
    bench.answer_all({eth0});
    bench.wait(10s);
    SECTION("malformed header") {
        bench.feed({1, 2, 3, 4, 5});
    }
    SECTION("malformed event") {
        bench.feed(new_link({.index = -4, .name = "x"}));
    }
    SECTION("truncated datagram") {
        bench.sync.on_truncated(bench.now);
    }
    CHECK(count(bench.sync.snapshot().ignored, "malformed") == 1);
    CHECK(bench.wait_for_deadline() == 100ms);
    bench.answer_all({eth0});
    CHECK(bench.idle());
    CHECK(bench.sync.snapshot().overruns == 0);
    CHECK(bench.sync.snapshot().resyncs == 1);
}

TEST_CASE("a malformed part of a dump: nothing is swept, and no busy loop", "[sync]") {
    Bench bench;
    bench.answer_all({eth0, eth1});
    bench.wait(10s);
    bench.overrun();
    int dumps = 0;
    const auto end = bench.now.mono + 60s;
    while (bench.now.mono < end) {
        bench.wait(100ms);
        while (const auto asked = bench.request()) {
            if (asked->kind == DumpKind::links) {
                ++dumps;
                bench.feed(new_link({.index = -4, .name = "x"}, NLM_F_MULTI, asked->sequence));
            }
            bench.feed(dump_done(asked->sequence));
        }
    }
    CHECK(dumps <= 6);  // three in a row, 30 s of rest, three in a row
    CHECK(bench.sync.topology().link_count() == 2);
}

TEST_CASE("routes the kernel drops silently are read again", "[sync]") {
    Bench bench;
    RouteFacts route;
    route.hops = {{address("10.0.0.1"), 2}};
    bench.answer_all({eth0});
    bench.feed(new_route(route));
    bench.wait(10s);
    auto down = eth0;
    down.up = false;
    bench.feed(new_link(down));
    CHECK(bench.sync.topology().default_gateways().empty());
    CHECK(bench.wait_for_deadline() == 20ms);
    bench.answer(DumpKind::ipv4_routes);
    CHECK(bench.idle());
    bench.feed(new_link(eth0));
    CHECK(bench.sync.topology().default_gateways().empty());  // it did not come back by itself
}

// --- Properties ------------------------------------------------------------------------------

namespace {

using GatewayTexts = std::set<std::string>;

GatewayTexts gateways_of(const FakeRtnetlink& kernel) {
    GatewayTexts texts;
    for (const auto& route : kernel.routes()) {
        for (const auto& hop : route.hops) {
            const auto link = kernel.links().find(hop.device);
            if (link != kernel.links().end() && link->second.up) {
                texts.insert(hop.gateway->to_string() + "%" + std::to_string(hop.device));
            }
        }
    }
    return texts;
}

GatewayTexts gateways_of(const Topology& topology) {
    GatewayTexts texts;
    for (const auto& gateway : topology.default_gateways()) {
        const auto device = static_cast<int>(gateway.device);
        texts.insert(gateway.address.to_string() + "%" + std::to_string(device));
    }
    return texts;
}

void require_equal(const Topology& topology, const FakeRtnetlink& kernel) {
    REQUIRE(topology.link_count() == kernel.links().size());
    for (const auto& [index, facts] : kernel.links()) {
        CAPTURE(index, facts.name);
        const auto* link = topology.link(static_cast<IfIndex>(index));
        REQUIRE(link != nullptr);
        REQUIRE(link->name == facts.name);
        REQUIRE(link->kind == facts.kind);
        REQUIRE(link->mtu_bytes == facts.mtu);
        REQUIRE(link->admin_up == facts.up);
        REQUIRE(link->master == static_cast<IfIndex>(facts.master));
        REQUIRE(topology.index_of(facts.name) == static_cast<IfIndex>(index));
    }
    REQUIRE(gateways_of(topology) == gateways_of(kernel));
}

class World {
  public:
    explicit World(std::uint64_t seed) : random_(seed), kernel_(random_) {}

    void step() {
        switch (random_.below(8)) {
            case 0:
            case 1: kernel_.change(); break;
            case 2:
            case 3: deliver(1 + random_.below(4)); break;
            case 4: ask(); break;
            case 5: kernel_.compose_part(); break;
            case 6: kernel_.queue_part(); break;
            default: bench_.wait(std::chrono::milliseconds(random_.below(80))); break;
        }
        if (random_.below(150) == 0) {
            lose();
        }
    }

    /// No more changes: all is delivered, and the sync may do what it wants. Returns the time it
    /// took.
    Duration settle() {
        const auto start = bench_.now.mono;
        for (int i = 0; i < 1000; ++i) {
            deliver(kernel_.queue.size());
            ask();
            kernel_.compose_part();
            kernel_.queue_part();
            if (kernel_.dumping() || !kernel_.queue.empty()) {
                continue;
            }
            if (bench_.idle()) {
                return bench_.now.mono - start;
            }
            bench_.wait(10ms);
        }
        FAIL("the sync does not come to rest");
        return {};
    }

    /// The same messages in an order that no kernel would send, then a loss that the sync is told
    /// of.
    void shuffle_and_lose() {
        for (auto i = static_cast<std::uint32_t>(kernel_.queue.size()); i > 1; --i) {
            std::swap(kernel_.queue[i - 1], kernel_.queue[random_.below(i)]);
        }
        deliver(kernel_.queue.size());
        bench_.overrun();
    }

    FakeRtnetlink& kernel() { return kernel_; }

    const NetlinkSync& sync() const { return bench_.sync; }

  private:
    void deliver(std::size_t datagrams) {
        for (std::size_t i = 0; i < datagrams && !kernel_.queue.empty(); ++i) {
            bench_.feed(kernel_.queue.front());
            kernel_.queue.pop_front();
        }
    }

    void ask() {
        if (kernel_.dumping()) {
            return;
        }
        if (const auto request = bench_.request()) {
            kernel_.begin_dump(*request);
        }
    }

    /// The queue was full: events are lost. Parts of dumps never are, the kernel waits with them.
    void lose() {
        std::erase_if(kernel_.queue, [](const Bytes& datagram) {
            nlmsghdr header{};
            std::memcpy(&header, datagram.data(), sizeof header);
            return (header.nlmsg_flags & NLM_F_MULTI) == 0;
        });
        bench_.overrun();
    }

    Random random_;
    FakeRtnetlink kernel_;
    Bench bench_;
};

}  // namespace

TEST_CASE("at rest the model equals the kernel, whatever happened before", "[sync]") {
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        CAPTURE(seed);
        World world(seed);
        for (int round = 0; round < 4; ++round) {
            for (int i = 0; i < 200; ++i) {
                world.step();
            }
            CHECK(world.settle() < 2500ms);
            require_equal(world.sync().topology(), world.kernel());
        }
    }
}

TEST_CASE("events in any order, then a dump: the model equals the kernel", "[sync]") {
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
        CAPTURE(seed);
        World world(seed);
        world.settle();
        for (int i = 0; i < 80; ++i) {
            world.kernel().change();
        }
        world.shuffle_and_lose();
        world.settle();
        require_equal(world.sync().topology(), world.kernel());
    }
}
