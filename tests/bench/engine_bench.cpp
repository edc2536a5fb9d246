// The daemon's own probe path (Agent, probe loop, sockets) without web loop and configuration file:
// n loopback peers at hz probes a second each, one line of key=value results. Its RTT histogram has
// finer edges than the daemon's, so that quantiles can be compared with those of bare_icmp.
//
// Needs CAP_NET_RAW. Run it in a network namespace of its own.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <fmt/format.h>

#include <arpa/inet.h>
#include <sys/resource.h>
#include <time.h>

#include "agent/io/probe_loop.hpp"
#include "tests/bench/arguments.hpp"

namespace reachd::bench {
namespace {

/// Half a microsecond apart up to 20 µs, then 1.5 times as far each up to 100 ms: no more than the
/// configuration allows, so that the rows do not cost what the daemon's do not.
std::vector<double> fine_edges() {
    std::vector<double> edges;
    for (int i = 1; i <= 40; ++i) {
        edges.push_back(i * 0.5e-6);
    }
    while (edges.back() < 0.1) {
        edges.push_back(edges.back() * 1.5);
    }
    return edges;
}

std::uint64_t process_cpu_ns() {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(time.tv_nsec);
}

struct Totals {
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    std::uint64_t lost = 0;
    std::uint64_t user_stamped = 0;
    std::vector<std::uint64_t> rtt;

    explicit Totals(const Snapshot& snapshot)
        : user_stamped(snapshot.user_stamped[0]),
          rtt(snapshot.rtt_edges->size() + 1) {
        for (const ProbeSnapshot& probe : snapshot.probes) {
            sent += probe.counters.sent;
            received += probe.counters.received;
            lost += probe.counters.lost;
        }
        for (std::size_t i = 0; i < snapshot.rtt_buckets.size(); ++i) {
            rtt[i % rtt.size()] += snapshot.rtt_buckets[i];
        }
    }
};

/// The upper half of the bucket is as likely as the lower: its middle, in µs.
double quantile_us(const Totals& from,
                   const Totals& to,
                   const std::vector<double>& edges,
                   double share) {
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < to.rtt.size(); ++i) {
        total += to.rtt[i] - from.rtt[i];
    }
    auto left = static_cast<double>(total) * share;
    for (std::size_t i = 0; i < edges.size(); ++i) {
        left -= static_cast<double>(to.rtt[i] - from.rtt[i]);
        if (left <= 0) {
            return (edges[i] + (i == 0 ? 0.0 : edges[i - 1])) / 2 * 1e6;
        }
    }
    return edges.back() * 1e6;
}

Config bench_config(std::uint32_t base, std::uint32_t count, double hz) {
    Config config;
    config.discover_gateways = false;
    config.rtt_edges = fine_edges();
    config.limits.probes_per_second = ProbeEngine::probes_per_second_max;
    for (std::uint32_t i = 0; i < count; ++i) {
        const std::uint32_t address = base + i / 250 * 256 + i % 250 + 1;
        PeerConfig peer;
        peer.address = fmt::format("{}.{}.{}.{}",
                                   address >> 24U,
                                   address >> 16U & 255U,
                                   address >> 8U & 255U,
                                   address & 255U);
        peer.name = peer.address;
        peer.icmp.interval =
            std::chrono::duration_cast<Duration>(std::chrono::duration<double>(1.0 / hz));
        config.peers.push_back(std::move(peer));
    }
    return config;
}

int run(int count, char** values) {
    const Arguments arguments(
        count,
        values,
        {{"n", "10000"}, {"hz", "1"}, {"secs", "10"}, {"warm", "2"}, {"base", "127.1.0.0"}});
    const auto peers = arguments.number<std::uint32_t>("n", 1, 100'000);
    const auto hz = arguments.number<double>("hz", 0.01, 100);
    const auto seconds = arguments.number<double>("secs", 0.1, 600);
    const auto warm = arguments.number<double>("warm", 0.1, 600);
    in_addr base{};
    if (inet_pton(AF_INET, arguments.text("base").c_str(), &base) != 1) {
        throw std::invalid_argument("base: want an IPv4 address");
    }
    boost::asio::io_context context(1);
    const Instant start = now();
    Agent agent(bench_config(ntohl(base.s_addr), peers, hz),
                "bench",
                {1, {0x5eed, static_cast<std::uint64_t>(start.wall.time_since_epoch().count())}},
                start);
    ProbeLoop loop(
        context,
        agent,
        {.lookup = [](const LookupRequest&) {},
         .describe_device = [](const DeviceLookup&) {},
         .identify_guests = [](const GuestLookup&) {},
         .keep_guests = [](const std::vector<GuestAddressRecord>&) {},
         .log =
             [](const LogRecord& record) { std::fprintf(stderr, "%s\n", record.message.c_str()); },
         .after_turn = {}});
    loop.open({0x4200, 16});
    loop.start();
    const auto run_for = [&](double time) {
        context.run_for(std::chrono::duration_cast<Duration>(std::chrono::duration<double>(time)));
    };
    run_for(warm);
    const Totals before(agent.snapshot(now()));
    const std::uint64_t cpu_before = process_cpu_ns();
    const MonoTime from = mono_now();
    run_for(seconds);
    const double elapsed = to_seconds(mono_now() - from);
    const std::uint64_t cpu = process_cpu_ns() - cpu_before;
    const Snapshot last = agent.snapshot(now());
    const Totals after(last);
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const std::uint64_t sent = after.sent - before.sent;
    fmt::print(
        "n={} rate={:.0f} sent={} recv={} lost={} cpu_us_per_probe={:.3f} kern_p50={:.2f} "
        "kern_p99={:.2f} user_stamped={} skipped={} rss_kb={}\n",
        peers,
        static_cast<double>(sent) / elapsed,
        sent,
        after.received - before.received,
        after.lost - before.lost,
        sent == 0 ? 0.0 : static_cast<double>(cpu) / 1e3 / static_cast<double>(sent),
        quantile_us(before, after, *last.rtt_edges, 0.5),
        quantile_us(before, after, *last.rtt_edges, 0.99),
        after.user_stamped - before.user_stamped,
        last.skipped[0] + last.skipped[1] + last.skipped[2],
        usage.ru_maxrss);
    loop.close();
    return 0;
}

}  // namespace
}  // namespace reachd::bench

int main(int count, char** values) {
    try {
        return reachd::bench::run(count, values);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "engine_bench: %s\n", error.what());
        return 2;
    }
}
