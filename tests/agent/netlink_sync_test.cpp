#include "agent/netlink_sync.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/agent/fake_rtnetlink.hpp"
#include "tests/agent/netlink_builder.hpp"

using namespace reachd;
using namespace reachd::test;
using namespace std::chrono_literals;

namespace {

/// A sync with a clock of its own and shorthands for what the kernel may answer.
class Bench {
  public:
    NetlinkSync sync;
    Instant now{MonoTime{1h}, WallTime{1000h}};

    void wait(Duration time) {
        now.mono += time;
        now.wall += time;
        sync.advance(now);
    }

    void feed(const Bytes& datagram) {
        sync.on_datagram(datagram, now);
        reading_ = false;
    }

    void overrun() { sync.on_overrun(now); }

    /// The dump of a table that is due. Statistics are answered on the way: they have tests of
    /// their own.
    std::optional<DumpRequest> request() {
        if (next_) {
            return std::exchange(next_, std::nullopt);
        }
        auto taken = sync.take_request(now.mono);
        while (taken && taken->kind == DumpKind::statistics) {
            statistics_answered_ = true;
            feed(dump_done(taken->sequence));
            taken = sync.take_request(now.mono);
        }
        reading_ = taken.has_value();
        return taken;
    }

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

    /// All tables but the links, which no bridge here filters VLANs for.
    void answer_others() {
        for (const auto kind : {DumpKind::addresses,
                                DumpKind::neighbours,
                                DumpKind::fdb,
                                DumpKind::ipv4_routes,
                                DumpKind::ipv6_routes}) {
            answer(kind);
        }
    }

    void answer_all(const std::vector<LinkFacts>& links = {}) {
        answer(DumpKind::links, links);
        answer_others();
    }

    void interrupt(DumpKind kind) {
        const auto asked = expect(kind);
        feed(dump_done(asked.sequence, 0, NLM_F_DUMP_INTR));
    }

    bool idle() const { return sync.at_rest(); }

    /// Lets time pass until the next deadline that is about a table.
    Duration wait_for_deadline() {
        Duration waited{};
        for (int i = 0; i < 20 && !next_; ++i) {
            const auto time = std::max<Duration>(sync.next_deadline() - now.mono, 0ns);
            REQUIRE(time < 1min);
            wait(time);
            waited += time;
            if (std::exchange(reading_, false)) {
                break;  // it was about the dump under way
            }
            const bool changes = sync.topology().changes_due() <= now.mono;
            static_cast<void>(sync.take_changes(now.mono));
            statistics_answered_ = false;
            next_ = request();
            if (!changes && !statistics_answered_) {
                break;
            }
        }
        return waited;
    }

  private:
    std::optional<DumpRequest> next_{};
    bool reading_ = false;  ///< as far as can be seen from here
    bool statistics_answered_ = false;
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
    for (const auto kind :
         {DumpKind::addresses, DumpKind::neighbours, DumpKind::fdb, DumpKind::ipv4_routes}) {
        CHECK_FALSE(bench.sync.synced());
        bench.answer(kind);
    }
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

TEST_CASE("losses without end cost a tenth of the time, and a second's delay", "[sync]") {
    const auto rounds_in_10s = [](Duration dump_time) {
        Bench bench;
        bench.answer_all();
        bench.wait(10s);
        int rounds = 0;
        const auto end = bench.now.mono + 10s;
        while (bench.now.mono < end) {
            bench.overrun();
            bench.wait(30ms);
            const auto request = bench.request();
            if (request) {
                rounds += request->kind == DumpKind::links ? 1 : 0;
                bench.wait(dump_time);
                bench.feed(dump_done(request->sequence));
            }
        }
        return rounds;
    };
    CHECK(rounds_in_10s(0ms) >= 8);
    CHECK(rounds_in_10s(0ms) <= 40);
    CHECK(rounds_in_10s(5ms) >= 8);
    CHECK(rounds_in_10s(5ms) <= 36);
    CHECK(rounds_in_10s(50ms) >= 5);
    CHECK(rounds_in_10s(50ms) <= 10);
}

TEST_CASE("a second after the last loss the model is right again, even with slow dumps", "[sync]") {
    Bench bench;
    bench.answer_all({eth0});
    bench.wait(10s);
    const auto answer_slowly = [&bench](const std::vector<LinkFacts>& links) {
        const auto request = bench.request();
        if (!request) {
            return;
        }
        bench.wait(20ms);
        for (const auto& link : links) {
            if (request->kind == DumpKind::links) {
                bench.feed(new_link(link, NLM_F_MULTI, request->sequence));
            }
        }
        bench.feed(dump_done(request->sequence));
    };
    for (int i = 0; i < 200; ++i) {
        bench.overrun();
        bench.wait(10ms);
        answer_slowly({eth0});
    }
    const auto last_loss = bench.now.mono;
    while (!bench.idle()) {
        bench.wait(5ms);
        answer_slowly({eth1});
    }
    CHECK(bench.now.mono - last_loss < 1s);
    CHECK(bench.sync.topology().index_of("eth1").has_value());
    CHECK(bench.sync.topology().link_count() == 1);
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
    bench.answer_others();  // not yet read, so not to be spaced
    CHECK(bench.wait_for_deadline() == 150ms);
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
    bench.answer_others();                      // the others do not wait for it
    CHECK(bench.wait_for_deadline() == 200ms);  // 300 ms after the loss
    bench.interrupt(DumpKind::links);
    bench.feed(new_link(eth0));
    CHECK(bench.wait_for_deadline() == 250ms);
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
            bench.answer_others();
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
            bench.answer_others();
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
    bench.answer_others();
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
    CHECK(bench.sync.next_deadline() - bench.now.mono == 1s);  // it was no answer
    bench.wait(1s);
    CHECK(bench.expect(DumpKind::addresses).sequence != asked.sequence);
}

TEST_CASE("the kernel's refusals", "[sync]") {
    Bench bench;
    const auto busy = bench.expect(DumpKind::links);
    bench.feed(error_message(busy.sequence, EBUSY));
    bench.answer(DumpKind::addresses);
    bench.feed(error_message(bench.expect(DumpKind::neighbours).sequence, EOPNOTSUPP));
    bench.answer(DumpKind::fdb);
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
    bench.answer_others();
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

TEST_CASE("a malformed attribute of an event is healed by a dump", "[sync]") {
    Bench bench;
    bench.answer_all({eth0});
    bench.wait(10s);
    MessageBuilder event(RTM_NEWLINK, 0, 0);
    event.header(link_header(eth0.index, true)).text(IFLA_IFNAME, "renamed");
    event.number(IFLA_MTU, std::uint32_t{9000}).number(IFLA_MASTER, std::uint8_t{1});
    bench.feed(event.bytes());
    CHECK(count(bench.sync.snapshot().ignored, "malformed_attribute") == 1);
    CHECK(bench.wait_for_deadline() == 100ms);
    bench.answer_all({eth0});
    CHECK(bench.idle());
    CHECK(bench.sync.topology().index_of(eth0.name).has_value());
}

TEST_CASE("a malformed attribute in a dump removes no link", "[sync]") {
    Bench bench;
    bench.answer_all({eth0, eth1});
    bench.wait(10s);
    bench.overrun();
    bench.wait(1s);
    for (auto asked = bench.request(); asked; asked = bench.request()) {
        if (asked->kind == DumpKind::links) {
            MessageBuilder part(RTM_NEWLINK, NLM_F_MULTI, asked->sequence);
            part.header(link_header(eth0.index, true)).text(IFLA_IFNAME, eth0.name);
            part.number(IFLA_MTU, std::uint32_t{1500}).number(IFLA_MASTER, std::uint8_t{1});
            bench.feed(part.bytes() + new_link(eth1, NLM_F_MULTI, asked->sequence));
        }
        bench.feed(dump_done(asked->sequence));
    }
    CHECK(bench.sync.topology().link_count() == 2);
    CHECK_FALSE(bench.idle());  // it is read again
}

TEST_CASE("a model that waits to be read again is soon not in step", "[sync]") {
    Bench bench;
    CHECK_FALSE(bench.sync.in_step(bench.now.mono));
    bench.answer_all({eth0});
    bench.sync.advance(bench.now);
    CHECK(bench.sync.in_step(bench.now.mono));
    bench.wait(10s);
    bench.overrun();
    bench.sync.advance(bench.now);
    CHECK(bench.sync.in_step(bench.now.mono));
    bench.wait(3s);
    bench.sync.advance(bench.now);
    CHECK_FALSE(bench.sync.in_step(bench.now.mono));
    bench.answer_all({eth0});
    bench.sync.advance(bench.now);
    CHECK(bench.sync.in_step(bench.now.mono));
    bench.sync.on_failed();
    CHECK_FALSE(bench.sync.in_step(bench.now.mono));
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

TEST_CASE("VLANs are read where a bridge filters, after the links", "[sync]") {
    Bench bench;
    LinkFacts bridge{.index = 4, .name = "br0", .kind = "bridge"};
    bridge.bridge = BridgeSettings{.vlan_filtering = true};
    bench.answer(DumpKind::links, {bridge});
    CHECK_FALSE(bench.sync.synced());
    bench.answer(DumpKind::bridge_vlans);
    bench.answer_others();
    CHECK(bench.sync.synced());
    CHECK(bench.idle());

    bridge.bridge->vlan_filtering = false;
    bench.feed(new_link(bridge));
    bench.wait(10s);
    bench.overrun();
    bench.wait(1s);
    bench.answer(DumpKind::links, {bridge});
    bench.answer_others();
    CHECK(bench.idle());

    bridge.bridge->vlan_filtering = true;
    bench.feed(new_link(bridge));
    CHECK(bench.sync.synced());  // once is enough
    bench.wait(20ms);
    bench.answer(DumpKind::bridge_vlans);
    CHECK(bench.idle());
}

TEST_CASE("no links in peace, no VLANs: the daemon is ready all the same", "[sync]") {
    Bench bench;
    LinkFacts bridge{.index = 4, .name = "br0", .kind = "bridge"};
    bridge.bridge = BridgeSettings{.vlan_filtering = true};
    bench.feed(new_link(bridge));
    for (int i = 0; i < 3; ++i) {
        bench.interrupt(DumpKind::links);
        if (i == 0) {
            bench.answer_others();
        }
        CHECK(bench.sync.synced() == (i == 2));
        if (i < 2) {
            bench.wait_for_deadline();
        }
    }
}

TEST_CASE("a neighbour removed under its dump: the table is read once more", "[sync]") {
    Bench bench;
    bench.answer(DumpKind::links);
    bench.answer(DumpKind::addresses);
    const auto asked = bench.expect(DumpKind::neighbours);
    bench.feed(del_neighbour({.device = 2, .address = address("10.0.0.1")}));
    bench.feed(dump_done(asked.sequence));
    bench.answer(DumpKind::fdb);
    bench.answer(DumpKind::ipv4_routes);
    bench.answer(DumpKind::ipv6_routes);
    CHECK(bench.sync.synced());
    CHECK_FALSE(bench.idle());
    bench.wait_for_deadline();
    bench.answer(DumpKind::neighbours);
    CHECK(bench.idle());
}

// --- Statistics, virtual functions, changes ------------------------------------------------------

TEST_CASE("statistics are read every 5 s, and are no part of being synced", "[sync]") {
    Bench bench;
    const auto ask = [&bench] { return bench.sync.take_request(bench.now.mono); };
    bench.interrupt(DumpKind::links);
    bench.answer_others();
    CHECK_FALSE(ask().has_value());  // no links, no statistics
    bench.wait_for_deadline();
    const auto links = bench.request();
    bench.feed(dump_done(links->sequence));
    CHECK(bench.sync.synced());
    auto statistics = ask();
    REQUIRE(statistics.has_value());
    CHECK(statistics->kind == DumpKind::statistics);
    CHECK(bench.idle());
    bench.feed(new_link(eth0));
    bench.feed(new_statistics(2, {.receive_errors = 5}, NLM_F_MULTI, statistics->sequence));
    bench.feed(dump_done(statistics->sequence, EBUSY));  // no matter
    CHECK(bench.sync.topology().counters_of(static_cast<IfIndex>(2))->receive_errors == 5);
    CHECK(bench.sync.snapshot().resyncs == 1);
    bench.wait(4900ms);
    static_cast<void>(bench.sync.take_changes(bench.now.mono));
    CHECK_FALSE(ask().has_value());
    CHECK(bench.sync.next_deadline() - bench.now.mono == 100ms);
    bench.wait(100ms);
    statistics = ask();
    REQUIRE(statistics.has_value());

    SECTION("a silent kernel delays no table for long") {
        bench.overrun();
        bench.wait(500ms);
        CHECK(bench.request()->kind == DumpKind::links);
        CHECK(bench.sync.snapshot().resyncs == 2);
    }
    SECTION("an overrun during them is no failure of theirs") {
        bench.overrun();
        bench.feed(dump_done(statistics->sequence));
        CHECK(bench.wait_for_deadline() == 100ms);
        bench.answer_all();
        CHECK(bench.idle());
        CHECK_FALSE(ask().has_value());
    }
}

TEST_CASE("links are read each minute where there are virtual functions", "[sync]") {
    Bench bench;
    auto physical = eth0;
    bench.answer_all({physical});
    const auto dumps_of_links = [&](Duration time) {
        int dumps = 0;
        for (const auto end = bench.now.mono + time; bench.now.mono < end; bench.wait(1s)) {
            while (const auto request = bench.request()) {
                REQUIRE(request->kind == DumpKind::links);
                ++dumps;
                bench.feed(new_link(physical, NLM_F_MULTI, request->sequence));
                bench.feed(dump_done(request->sequence));
            }
        }
        return dumps;
    };
    CHECK(dumps_of_links(200s) == 0);
    physical.virtual_functions = {VirtualFunction{.number = 0}};
    bench.overrun();
    bench.wait(1s);
    bench.answer_all({physical});
    const auto resyncs = bench.sync.snapshot().resyncs;
    CHECK(dumps_of_links(299s) == 4);
    CHECK(bench.sync.snapshot().resyncs == resyncs);
    physical.virtual_functions.clear();
    CHECK(dumps_of_links(60s) == 1);
    CHECK(dumps_of_links(200s) == 0);
}

TEST_CASE("what the first reading tells is no change; what comes after is", "[sync]") {
    Bench bench;
    bench.feed(new_link(eth1));
    bench.answer(DumpKind::links, {eth0, eth1});
    bench.wait(100ms);
    CHECK(bench.sync.take_changes(bench.now.mono).empty());
    bench.answer_others();
    bench.wait(100ms);
    CHECK(bench.sync.take_changes(bench.now.mono).empty());
    CHECK_FALSE(bench.request().has_value());
    auto changed = eth0;
    changed.mtu = 9000;
    const auto time = bench.now;
    bench.feed(new_link(changed));
    CHECK(bench.sync.next_deadline() == time.mono + 25ms);
    bench.wait(25ms);
    const auto changes = bench.sync.take_changes(bench.now.mono);
    REQUIRE(changes.size() == 1);
    CHECK(changes[0].time.wall == time.wall);
    CHECK(changes[0].name == "eth0");
    CHECK(describe(changes[0]) == "mtu 1500 -> 9000");

    bench.overrun();  // what is learnt from a dump is news as well
    bench.wait(1s);
    bench.answer(DumpKind::links, {eth1});
    bench.wait(25ms);
    const auto removed = bench.sync.take_changes(bench.now.mono);
    REQUIRE(removed.size() == 1);
    CHECK(describe(removed[0]) == "removed");
}

// --- Properties ------------------------------------------------------------------------------

namespace {

using Texts = std::set<std::string>;

std::string text_of(const IpAddress& address) {
    return address.to_string() + "%" + std::to_string(static_cast<int>(address.scope()));
}

std::string text_of(const NextHop& hop) {
    return (hop.gateway ? text_of(*hop.gateway) : "") + " dev " +
           std::to_string(static_cast<int>(hop.device));
}

std::string text_of(const Route& route) {
    std::string text = std::to_string(route.type) + " " + std::to_string(route.metric) + " " +
                       (route.family == Family::ipv4 ? "v4 " : "v6 ");
    text += route.destination ? text_of(*route.destination) : "default";
    text += "/" + std::to_string(route.prefix_length);
    text += route.preferred_source ? " src " + text_of(*route.preferred_source) : "";
    Texts hops;
    for (const auto& hop : route.next_hops) {
        hops.insert(text_of(hop));
    }
    for (const auto& hop : hops) {
        text += ", " + hop;
    }
    return text;
}

/// As a dump would tell it; nothing: a route that lost its devices.
std::optional<Route> dumped(const RouteFacts& facts) {
    const auto bytes = new_route(facts);
    NetlinkReader reader{ByteView(bytes)};
    const auto* message = reader.next();
    const auto& route = std::get<RouteChanged>(message->body).route;
    const bool lost = route.type == RTN_UNICAST && route.next_hops.empty();
    return lost ? std::nullopt : std::optional(route);
}

Texts routes_of(const FakeRtnetlink& kernel) {
    Texts texts;
    for (const auto& facts : kernel.routes()) {
        if (const auto route = dumped(facts)) {
            texts.insert(text_of(*route));
        }
    }
    return texts;
}

Texts routes_of(const Topology& topology) {
    Texts texts;
    for (const auto& route : topology.routes()) {
        texts.insert(text_of(route));
    }
    return texts;
}

Texts gateways_of(const FakeRtnetlink& kernel) {
    Texts texts;
    for (const auto& route : kernel.routes()) {
        for (const auto& hop : route.hops) {
            const auto link = kernel.links().find(hop.device);
            if (route.prefix_length == 0 && link != kernel.links().end() && link->second.up) {
                texts.insert(hop.gateway->to_string() + "%" + std::to_string(hop.device));
            }
        }
    }
    return texts;
}

Texts gateways_of(const Topology& topology) {
    Texts texts;
    for (const auto& gateway : topology.default_gateways()) {
        const auto device = static_cast<int>(gateway.device);
        texts.insert(gateway.address.to_string() + "%" + std::to_string(device));
    }
    return texts;
}

LinkKind kind_of(const LinkFacts& facts) {
    return facts.kind.empty()      ? LinkKind::physical
           : facts.kind == "veth"  ? LinkKind::veth
           : facts.kind == "dummy" ? LinkKind::dummy
                                   : LinkKind::bridge;
}

void require_equal(const Link& link, const LinkFacts& facts) {
    REQUIRE(link.name == facts.name);
    REQUIRE(link.kind == kind_of(facts));
    REQUIRE(link.mtu_bytes == facts.mtu);
    REQUIRE(link.admin_up == facts.up);
    REQUIRE(link.carrier == facts.carrier.value_or(facts.up));
    REQUIRE(static_cast<int>(link.oper_state) == static_cast<int>(facts.oper_state));
    REQUIRE(link.master == static_cast<IfIndex>(facts.master));
    REQUIRE(link.mac == facts.mac);
    REQUIRE(link.port == facts.port);
    REQUIRE(link.bridge == facts.bridge.value_or(BridgeSettings{}));
    REQUIRE(link.carrier_changes == facts.carrier_changes.value_or(0));
}

void require_equal_links(const Topology& topology, const FakeRtnetlink& kernel) {
    REQUIRE(topology.link_count() == kernel.links().size());
    const bool filters =
        std::any_of(kernel.links().begin(), kernel.links().end(), [](const auto& entry) {
            return entry.second.bridge && entry.second.bridge->vlan_filtering;
        });
    REQUIRE(topology.filters_vlans() == filters);
    std::size_t virtual_functions = 0;
    for (const auto& [index, facts] : kernel.links()) {
        CAPTURE(index, facts.name);
        const auto device = static_cast<IfIndex>(index);
        const auto link = topology.link(device);
        REQUIRE(link != nullptr);
        require_equal(*link, facts);
        REQUIRE(topology.index_of(facts.name) == device);
        const auto vlans = kernel.vlans().find(index);
        const bool has_vlans = filters && vlans != kernel.vlans().end();
        REQUIRE(topology.vlans_of(device) ==
                (has_vlans ? vlans->second : std::vector<VlanRange>{}));
        virtual_functions += facts.virtual_functions.size();
    }
    // A function is seen only in a dump of the links, so it may be yet unseen, but never outlives.
    REQUIRE(topology.snapshot()->virtual_functions.size() <= virtual_functions);
}

void require_equal_neighbours(const Topology& topology, const FakeRtnetlink& kernel) {
    std::size_t known = 0;
    for (const auto& facts : kernel.neighbours()) {
        const auto found = topology.neighbour(static_cast<IfIndex>(facts.device), facts.address);
        const bool resolved = facts.state != NUD_INCOMPLETE && facts.state != NUD_FAILED;
        REQUIRE((found || !resolved));  // the first question is silent
        if (found) {
            ++known;
            REQUIRE(found->mac == facts.mac);
            REQUIRE((found->state == NeighbourState::resolved) == resolved);
        }
    }
    REQUIRE(topology.neighbour_count() == known);
}

void require_equal_fdb(const Topology& topology, const FakeRtnetlink& kernel) {
    REQUIRE(topology.fdb_count() == kernel.fdb().size());
    for (const auto& facts : kernel.fdb()) {
        const auto entries = topology.fdb_of(static_cast<IfIndex>(facts.bridge));
        const auto same = [&facts](const FdbChanged& entry) {
            return entry.port == static_cast<IfIndex>(facts.port) && entry.mac == facts.mac &&
                   entry.vlan == facts.vlan;
        };
        REQUIRE(std::count_if(entries.begin(), entries.end(), same) == 1);
    }
}

void require_equal(const Topology& topology, const FakeRtnetlink& kernel) {
    require_equal_links(topology, kernel);
    REQUIRE(topology.address_count() == kernel.addresses().size());
    for (const auto& address : kernel.addresses()) {
        const auto found = topology.addresses_of(address.device);
        REQUIRE(std::count(found.begin(), found.end(), address) == 1);
    }
    require_equal_neighbours(topology, kernel);
    require_equal_fdb(topology, kernel);
    REQUIRE(routes_of(topology) == routes_of(kernel));
    REQUIRE(topology.routes().size() == routes_of(kernel).size());
    REQUIRE(gateways_of(topology) == gateways_of(kernel));
}

/// Counters of a link never fall, whatever its driver does.
class CounterWatch {
  public:
    void check(const Topology& topology) {
        for (const auto& link : topology.links()) {
            const auto now = topology.counters_of(link->index);
            auto& before = seen_[link->generation];
            REQUIRE((now || !before));
            if (now && before) {
                REQUIRE(now->receive_errors >= before->receive_errors);
                REQUIRE(now->receive_drops >= before->receive_drops);
                REQUIRE(now->receive_drops - before->receive_drops < 1000);
            }
            before = now;
        }
    }

  private:
    std::map<std::uint64_t, std::optional<LinkCounters>> seen_;
};

class World {
  public:
    explicit World(std::uint64_t seed) : random_(seed), kernel_(random_) {}

    void step() {
        counters_.check(bench_.sync.topology());
        switch (random_.below(8)) {
            case 0:
            case 1: kernel_.change(); break;
            case 2:
            case 3: deliver(1 + random_.below(4)); break;
            case 4: ask(); break;
            case 5: kernel_.compose_part(); break;
            case 6: kernel_.queue_part(); break;
            default:
                bench_.wait(std::chrono::milliseconds(random_.below(80)));
                changes_ += bench_.sync.take_changes(bench_.now.mono).size();
                break;
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
        if (const auto request = bench_.sync.take_request(bench_.now.mono)) {
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
    CounterWatch counters_;
    std::size_t changes_ = 0;
};

}  // namespace

namespace {

void try_worlds(std::uint64_t first, std::uint64_t last) {
    for (std::uint64_t seed = first; seed <= last; ++seed) {
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

}  // namespace

TEST_CASE("at rest the model equals the kernel, whatever happened before", "[sync]") {
    try_worlds(1, 300);
}

TEST_CASE("at rest the model equals the kernel, in many more worlds", "[.worlds]") {
    try_worlds(301, 20'000);
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
