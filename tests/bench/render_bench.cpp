// What rendering /metrics costs: the product's writer against a minimal hand-written formatter of
// the same bytes and against prometheus-cpp's serializer of the same data. Thread CPU time, the
// three taken in turn, medians of the rounds.
//     render_bench [peers, default 10000] [rounds, default 5] [interfaces, default 0]
#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/core.h>
#include <prometheus/text_serializer.h>

#include <time.h>

#include "common/random.hpp"
#include "common/snapshot.hpp"
#include "exporters/metric_catalog.hpp"
#include "exporters/prometheus_text.hpp"
#include "tests/exporters/reference_families.hpp"

namespace reachd {
namespace {

constexpr std::size_t block_bytes = PrometheusText::block_bytes_default;

PeerSnapshot make_peer(std::size_t index, Random& random) {
    PeerSnapshot peer;
    peer.identity = std::make_shared<const PeerIdentity>(
        fmt::format("host-{:05}.example.net", index),
        fmt::format("10.{}.{}.{}", index >> 16, (index >> 8) & 255, index & 255),
        PeerKind::host,
        PeerDetails{{}, {}, {{"rack", fmt::format("r{}", index / 40)}}});
    peer.state = Reachability::up;
    peer.up = true;
    peer.state_changes = 1;
    peer.last_change =
        WallTime(std::chrono::seconds(1'700'000'000) + Duration(random.below(1U << 30U)));
    return peer;
}

/// A day of probes at 1/s for each peer, so that the numbers have their usual width.
Snapshot make_snapshot(std::size_t peers) {
    Random random(1);
    Snapshot snapshot;
    snapshot.rtt_edges = std::make_shared<const std::vector<double>>(
        std::vector<double>{0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.02, 0.1, 1});
    for (std::size_t i = 0; i < peers; ++i) {
        snapshot.peers.push_back(make_peer(i, random));
        ProbeSnapshot probe;
        probe.peer = static_cast<std::uint32_t>(i);
        probe.up = true;
        for (std::size_t bucket = 0; bucket <= snapshot.rtt_edges->size(); ++bucket) {
            const std::uint64_t count = bucket > 0 && bucket < 7 ? random.below(28800) : 0;
            snapshot.rtt_buckets.push_back(count);
            probe.counters.received += count;
        }
        probe.counters.lost = random.below(10);
        probe.counters.sent = probe.counters.received + probe.counters.lost;
        probe.rtt_sum = Duration(static_cast<std::int64_t>(probe.counters.received) * 214'357);
        probe.jitter = Duration(random.below(100'000));
        snapshot.probes.push_back(probe);
        snapshot.failures.push_back(
            {static_cast<std::uint32_t>(i), FailureReason::timeout, probe.counters.lost});
    }
    return snapshot;
}

/// Ports of bridges of 1000 each, all counted.
void add_interfaces(Snapshot& snapshot, std::size_t count) {
    constexpr std::size_t ports_a_bridge = 1000;
    Random random(2);
    auto topology = std::make_shared<TopologySnapshot>();
    IfIndex bridge = IfIndex::any;
    for (std::size_t i = 0; i < count; ++i) {
        auto link = std::make_shared<Link>();
        const bool is_bridge = i % (ports_a_bridge + 1) == 0;
        link->index = static_cast<IfIndex>(i + 1);
        link->kind = is_bridge ? LinkKind::bridge : LinkKind::tap;
        link->name = fmt::format("{}{}", is_bridge ? "br" : "vnet", i);
        link->mac = MacAddress(
            {0x52, 0x54, 0, 0, static_cast<std::uint8_t>(i >> 8U), static_cast<std::uint8_t>(i)});
        link->admin_up = true;
        link->oper_state = OperState::up;
        link->mtu_bytes = 1500;
        link->carrier_changes = 1;
        bridge = is_bridge ? link->index : bridge;
        if (!is_bridge) {
            link->master = bridge;
            link->port = BridgePort{PortState::forwarding, false};
        }
        topology->links.push_back(std::move(link));
        snapshot.link_counters.push_back(
            LinkCounters{random.below(10), random.below(10), random.below(1'000'000), 0});
    }
    snapshot.topology = std::move(topology);
}

/// The least that any formatter has to do: copy the pieces, print the numbers, in one loop a family
/// and one buffer that is known to be large enough. No limits, no blocks, no absent values.
class MinimalFormatter {
  public:
    explicit MinimalFormatter(const Snapshot& snapshot)
        : snapshot_(snapshot),
          buffer_(snapshot.peers.size() * 3500 + snapshot.link_counters.size() * 1500 + 100'000,
                  '\0') {}

    std::string_view format() {
        at_ = buffer_.data();
        if (snapshot_.topology) {
            interfaces();
        }
        peers("reachd_peer_up", [](const PeerSnapshot& peer) { return peer.up ? 1U : 0U; });
        peers("reachd_peer_state_changes_total",
              [](const PeerSnapshot& peer) { return peer.state_changes; });
        peers("reachd_peer_last_change_timestamp_seconds",
              [](const PeerSnapshot& peer) { return to_unix_seconds(peer.last_change); });
        infos("reachd_peer_info");
        probes("reachd_probe_up", [](const ProbeSnapshot& probe) { return probe.up ? 1U : 0U; });
        histograms("reachd_probe_rtt_seconds");
        probes("reachd_probe_sent_total", [](const auto& probe) { return probe.counters.sent; });
        probes("reachd_probe_received_total",
               [](const auto& probe) { return probe.counters.received; });
        probes("reachd_probe_lost_total", [](const auto& probe) { return probe.counters.lost; });
        probes("reachd_probe_late_total", [](const auto& probe) { return probe.counters.late; });
        probes("reachd_probe_duplicates_total",
               [](const auto& probe) { return probe.counters.duplicates; });
        probes("reachd_probe_reordered_total",
               [](const auto& probe) { return probe.counters.reordered; });
        failures("reachd_probe_failures_total");
        probes("reachd_probe_jitter_seconds",
               [](const auto& probe) { return to_seconds(probe.jitter); });
        return {buffer_.data(), static_cast<std::size_t>(at_ - buffer_.data())};
    }

  private:
    void put(std::string_view piece) {
        std::memcpy(at_, piece.data(), piece.size());
        at_ += piece.size();
    }

    template <class Number>
    void end_line(Number number) {
        at_ = std::to_chars(at_, at_ + 32, number).ptr;
        *at_++ = '\n';
    }

    template <class Value>
    void links(std::string_view name, Value value) {
        const auto& all = snapshot_.topology->links;
        for (std::size_t i = 0; i < all.size(); ++i) {
            put(name);
            put("{device=\"");
            put(all[i]->name);
            put("\"} ");
            end_line(value(*all[i], *snapshot_.link_counters[i]));
        }
    }

    void mac(const MacAddress& address) {
        for (const auto byte : address.bytes()) {
            *at_++ = "0123456789abcdef"[byte >> 4U];
            *at_++ = "0123456789abcdef"[byte & 0xfU];
            *at_++ = ':';
        }
        --at_;
    }

    void interfaces() {
        for (const auto& link : snapshot_.topology->links) {
            put("reachd_interface_info{device=\"");
            put(link->name);
            put("\",kind=\"");
            put(to_text(link->kind));
            put("\",mac=\"");
            mac(*link->mac);
            if (link->port) {
                put("\",bridge=\"");
                put(bridge_of(*link).name);
            }
            put("\"} 1\n");
        }
        links("reachd_interface_admin_up",
              [](auto& link, auto&) { return link.admin_up ? 1U : 0U; });
        links("reachd_interface_up", [](auto& link, auto&) { return link.is_up() ? 1U : 0U; });
        links("reachd_interface_mtu_bytes", [](auto& link, auto&) { return link.mtu_bytes; });
        links("reachd_interface_carrier_changes_total",
              [](auto& link, auto&) { return link.carrier_changes; });
        links("reachd_interface_receive_errors_total",
              [](auto&, auto& counters) { return counters.receive_errors; });
        links("reachd_interface_transmit_errors_total",
              [](auto&, auto& counters) { return counters.transmit_errors; });
        links("reachd_interface_receive_drops_total",
              [](auto&, auto& counters) { return counters.receive_drops; });
        links("reachd_interface_transmit_drops_total",
              [](auto&, auto& counters) { return counters.transmit_drops; });
        port_states("reachd_bridge_port_state");
    }

    void port_states(std::string_view name) {
        for (const auto& link : snapshot_.topology->links) {
            for (std::size_t state = 0; link->port && state < port_state_count; ++state) {
                put(name);
                put("{bridge=\"");
                put(bridge_of(*link).name);
                put("\",device=\"");
                put(link->name);
                put("\",state=\"");
                put(to_text(static_cast<PortState>(state)));
                put("\"} ");
                end_line(static_cast<PortState>(state) == link->port->state ? 1U : 0U);
            }
        }
    }

    /// Indexes are places plus one here.
    const Link& bridge_of(const Link& link) const {
        return *snapshot_.topology->links[static_cast<std::size_t>(link.master) - 1];
    }

    const std::string& labels(std::uint32_t peer) const {
        return snapshot_.peers[peer].identity->label_text();
    }

    template <class Value>
    void peers(std::string_view name, Value value) {
        for (const auto& peer : snapshot_.peers) {
            put(name);
            put("{");
            put(peer.identity->label_text());
            put("} ");
            end_line(value(peer));
        }
    }

    template <class Value>
    void probes(std::string_view name, Value value) {
        for (const auto& probe : snapshot_.probes) {
            put(name);
            put("{");
            put(labels(probe.peer));
            put(",probe=\"icmp\"} ");
            end_line(value(probe));
        }
    }

    void infos(std::string_view name) {
        for (const auto& peer : snapshot_.peers) {
            put(name);
            put("{");
            put(peer.identity->label_text());
            put(",kind=\"host\",rack=\"");
            put(peer.identity->details().labels[0].value);
            put("\"} ");
            end_line(1);
        }
    }

    void failures(std::string_view name) {
        for (const auto& failure : snapshot_.failures) {
            put(name);
            put("{");
            put(labels(failure.probe));
            put(",probe=\"icmp\",reason=\"timeout\"} ");
            end_line(failure.count);
        }
    }

    void histograms(std::string_view name) {
        constexpr std::array<std::string_view, 11> ends{",le=\"5e-05\"} ",
                                                        ",le=\"0.0001\"} ",
                                                        ",le=\"0.0002\"} ",
                                                        ",le=\"0.0005\"} ",
                                                        ",le=\"0.001\"} ",
                                                        ",le=\"0.002\"} ",
                                                        ",le=\"0.005\"} ",
                                                        ",le=\"0.02\"} ",
                                                        ",le=\"0.1\"} ",
                                                        ",le=\"1.0\"} ",
                                                        ",le=\"+Inf\"} "};
        for (std::size_t i = 0; i < snapshot_.probes.size(); ++i) {
            const auto& probe = snapshot_.probes[i];
            std::uint64_t below = 0;
            for (std::size_t bucket = 0; bucket < ends.size(); ++bucket) {
                below += snapshot_.rtt_buckets[i * ends.size() + bucket];
                put(name);
                put("_bucket{");
                put(labels(probe.peer));
                put(",probe=\"icmp\"");
                put(ends[bucket]);
                end_line(below);
            }
            put(name);
            put("_sum{");
            put(labels(probe.peer));
            put(",probe=\"icmp\"} ");
            end_line(to_seconds(probe.rtt_sum));
            put(name);
            put("_count{");
            put(labels(probe.peer));
            put(",probe=\"icmp\"} ");
            end_line(below);
        }
    }

    const Snapshot& snapshot_;
    std::string buffer_;
    char* at_ = nullptr;
};

double thread_cpu_seconds() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

struct Contender {
    std::string_view name;
    std::function<std::size_t()> render;  ///< returns the bytes of the answer
    std::vector<double> nanoseconds_per_byte{};
    std::vector<double> milliseconds{};
    std::size_t bytes = 0;
};

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

void take_turns(std::vector<Contender>& contenders, int rounds) {
    for (int round = -1; round < rounds; ++round) {  // round -1 warms up
        for (auto& contender : contenders) {
            const double begin = thread_cpu_seconds();
            contender.bytes = contender.render();
            const double spent = thread_cpu_seconds() - begin;
            if (round >= 0) {
                contender.milliseconds.push_back(spent * 1e3);
                contender.nanoseconds_per_byte.push_back(spent * 1e9 /
                                                         static_cast<double>(contender.bytes));
            }
        }
    }
}

/// The per-peer part of both must be the same but for how large and small decimals are written.
void compare_sizes(std::size_t ours, std::size_t minimal) {
    const double ratio = static_cast<double>(ours) / static_cast<double>(minimal);
    if (ratio < 0.98 || ratio > 1.02) {
        fmt::print(
            stderr, "the formatters do not write the same: {} and {} bytes\n", ours, minimal);
        std::exit(1);
    }
}

int run(std::size_t peers, std::size_t interfaces, int rounds) {
    auto filled = make_snapshot(peers);
    if (interfaces > 0) {
        add_interfaces(filled, interfaces);
    }
    const auto snapshot = std::make_shared<const Snapshot>(std::move(filled));
    MinimalFormatter minimal(*snapshot);
    double first_block = 0;
    std::vector<Contender> contenders;
    contenders.push_back({"minimal", [&] { return minimal.format().size(); }});
    contenders.push_back({"reachd", [&] {
                              const double begin = thread_cpu_seconds();
                              PrometheusText text(snapshot, {}, block_bytes);
                              std::size_t bytes = text.next_block().size();
                              first_block = thread_cpu_seconds() - begin;
                              for (auto block = text.next_block(); !block.empty();
                                   block = text.next_block()) {
                                  bytes += block.size();
                              }
                              return bytes;
                          }});
    contenders.push_back({"prometheus-cpp", [&] {
                              std::ostringstream out;
                              prometheus::TextSerializer().Serialize(
                                  out, test::reference_families(*snapshot));
                              return std::move(out).str().size();
                          }});
    take_turns(contenders, rounds);
    compare_sizes(contenders[1].bytes, contenders[0].bytes);

    const double base = median(contenders[0].nanoseconds_per_byte);
    fmt::print(
        "{} peers, {} interfaces, {} rounds, medians of thread CPU\n", peers, interfaces, rounds);
    for (const auto& contender : contenders) {
        const double cost = median(contender.nanoseconds_per_byte);
        fmt::print("{:16} {:10} bytes {:9.2f} ms {:7.3f} ns/byte {:7.2f} x minimal\n",
                   contender.name,
                   contender.bytes,
                   median(contender.milliseconds),
                   cost,
                   cost / base);
    }
    fmt::print("first block after {:.2f} ms\n", first_block * 1e3);
    return 0;
}

}  // namespace
}  // namespace reachd

int main(int argc, char** argv) {
    const auto peers = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 10'000UL;
    const auto rounds = argc > 2 ? std::atoi(argv[2]) : 5;
    const auto interfaces = argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 0UL;
    if (peers > 1'000'000 || interfaces > 65'000 || peers + interfaces == 0 || rounds < 1) {
        fmt::print(stderr,
                   "usage: render_bench [peers, at most 1000000] [rounds] "
                   "[interfaces, at most 65000]\n");
        return 2;
    }
    return reachd::run(peers, interfaces, rounds);
}
