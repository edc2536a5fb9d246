#include "tests/sim/swarm.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "tests/sim/draws.hpp"
#include "tests/sim/guest_swarm.hpp"
#include "tests/sim/world.hpp"

namespace reachd::sim {
namespace {

constexpr int uplink = Kernel::index_first;
constexpr int second_link = Kernel::index_first + 1;
constexpr const char* gateway = "10.0.9.1";

/// After the last repair: an interval, a time-out and the burst, or a new time-out for all of it.
constexpr Duration settle_time = 6s;
/// Dumps that were refused or never answered rest for 30 s, a resolver that did not answer is asked
/// again after as long.
constexpr Duration long_settle_time = 50s;
/// The self-throttle takes its time to believe that all is well.
constexpr Duration unthrottle_time = 20s;

constexpr std::uint64_t stream_guests = 6;
constexpr std::uint64_t stream_swarm = 7;

class Swarm : private Draws {
  public:
    Swarm(std::uint64_t seed, bool trace);

    SwarmResult run();

  private:
    /// A chance from one in a thousand to certainty, small ones as often as large ones.
    std::uint32_t any_chance() {
        return pick(std::array<std::uint32_t, 6>{1'000, 10'000, 100'000, 300'000, 800'000, always});
    }

    Config draw_config();
    void draw_mtu(Config& config);
    PeerConfig draw_peer(std::uint32_t number);
    void draw_network();
    void draw_kernel();
    void draw_fault();

    /// `begin` at a random time, `end` later, both before the world is healed.
    void plan(const std::string& what,
              std::function<void()> begin,
              std::function<void()> end,
              Duration longest = 10s);
    void plan_once(const std::string& what, std::function<void()> begin);

    Path& any_path();
    LinkFaults& any_link();
    void draw_link_fault(const std::string& where, LinkFaults& link);
    void draw_router_fault(Path& path);
    void draw_host_fault(Path& path);
    void draw_local_fault();
    void draw_stamp_fault();
    void draw_clock_fault();
    void draw_kernel_fault();
    void excuse_device_peers(MonoTime until);
    void draw_kernel_change();
    void draw_name_fault();
    void draw_reload();
    void add_peer(std::uint32_t number);
    void add_default_route();
    void finish();

    GuestSwarm guests_;
    bool has_guests_;
    bool has_large_packets_;  ///< path MTUs are probed
    Config config_;
    World world_;
    Duration duration_{};
    std::vector<std::string> names_;
    bool slow_to_settle_ = false;
    std::uint64_t seed_;
};

Swarm::Swarm(std::uint64_t seed, bool trace)
    : Draws(Random(seed * 8 + stream_swarm).next()),
      guests_(Random(seed * 8 + stream_guests).next()),
      has_guests_(guests_.is_wanted()),
      has_large_packets_(seed % 4 == 1),
      config_(draw_config()),
      world_({seed, config_, 2s, trace, has_guests_}),
      seed_(seed) {
    duration_ = between(3s, pick(std::array<Duration, 4>{5s, 10s, 15s, 40s}));
    draw_network();
    draw_kernel();
    for (std::uint32_t faults = below(8); faults > 0; --faults) {
        draw_fault();
    }
    if (has_guests_) {
        guests_.draw(world_, duration_);
    }
}

// --- The world -----------------------------------------------------------------------------------

PeerConfig Swarm::draw_peer(std::uint32_t number) {
    PeerConfig peer = peer_config(fmt::format("p{}", number), "");
    switch (below(10)) {
        case 0: peer.address = fmt::format("fd01::{}", number + 1); break;
        case 1: peer.address = fmt::format("h{}.example", number); break;
        case 2:
            peer.address = fmt::format("10.2.0.{}", number + 1);
            peer.device = "eth1";
            break;
        default: peer.address = fmt::format("10.1.0.{}", number + 1); break;
    }
    peer.icmp.interval = pick(std::array<Duration, 6>{1s, 1s, 1s, 200ms, 500ms, 2s});
    peer.icmp.timeout = pick(std::array<Duration, 6>{1s, 1s, 1s, 200ms, 500ms, 2s});
    peer.icmp.payload_bytes = pick(std::array<std::uint16_t, 5>{56, 56, 16, 1400, 8972});
    return peer;
}

Config Swarm::draw_config() {
    Config config;
    const std::uint32_t peers = 1 + below(one_in(2) ? 3 : 8);
    for (std::uint32_t i = 0; i < peers; ++i) {
        config.peers.push_back(draw_peer(i));
    }
    config.discover_gateways = one_in(2);
    if (has_large_packets_) {
        draw_mtu(config);
    }
    if (has_guests_) {
        guests_.draw_config(config);
    }
    return config;
}

/// Checks so often that some fall into each fault.
void Swarm::draw_mtu(Config& config) {
    config.limits.mtu_bytes_per_second = pick(std::array<std::uint32_t, 2>{1'000'000, 200'000});
    for (PeerConfig& peer : config.peers) {
        peer.mtu.interval = pick(std::array<Duration, 3>{1s, 3s, 10s});
        peer.mtu.timeout = pick(std::array<Duration, 2>{500ms, 100ms});
    }
}

void Swarm::draw_network() {
    for (const PeerConfig& peer : config_.peers) {
        std::string address = peer.address;
        if (address.front() == 'h') {
            names_.push_back(address);
            address = fmt::format("10.3.0.{}", names_.size());
            world_.set_name(names_.back(), {std::vector{*IpAddress::parse(address)}, 2ms, false});
        }
        // A round trip must fit well into the time-out, or nobody is ever up.
        const Duration delay = pick(std::array<Duration, 6>{50us, 50us, 200us, 5ms, 40ms, 150ms});
        LinkPair& link = world_.network.path(address).link;
        link.there.delay = std::min(delay, peer.icmp.timeout / 8);
        link.back.delay = link.there.delay;
    }
    world_.network.path(gateway);
    world_.local.loop_lag = pick(std::array<Duration, 4>{0ms, 0ms, 1ms, 15ms});
}

void Swarm::draw_kernel() {
    world_.set_link({.index = uplink, .name = "eth0", .mtu = has_large_packets_ ? 9000U : 1500U});
    world_.large.egress = has_large_packets_ ? IfIndex{uplink} : IfIndex::any;
    world_.set_link({.index = second_link, .name = "eth1"});
    add_default_route();
    world_.storm(static_cast<int>(below(20)));
    if (one_in(2)) {
        world_.kernel.faults.race = between(0ms, 30ms);
        world_.kernel.faults.part_time = between(0ms, 10ms);
    }
}

void Swarm::add_default_route() {
    test::RouteFacts route;
    route.hops = {{IpAddress::parse(gateway), uplink}};
    route.metric = 10;
    world_.add_route(route);
}

// --- Faults --------------------------------------------------------------------------------------

void Swarm::plan(const std::string& what,
                 std::function<void()> begin,
                 std::function<void()> end,
                 Duration longest) {
    const Duration from = between(0s, duration_);
    const Duration length = between(5ms, pick(std::array<Duration, 4>{50ms, 1s, 3s, longest}));
    const Duration to = std::min(from + length, duration_);
    world_.after(from, [this, what, to, begin = std::move(begin)] {
        world_.remark(fmt::format("{}, until {:.6f} s", what, to_seconds(to)));
        begin();
    });
    world_.after(to, [this, what, end = std::move(end)] {
        world_.remark("over: " + what);
        end();
    });
}

void Swarm::plan_once(const std::string& what, std::function<void()> begin) {
    world_.after(between(0s, duration_), [this, what, begin = std::move(begin)] {
        world_.remark(what);
        begin();
    });
}

Path& Swarm::any_path() {
    return world_.network[below(static_cast<std::uint32_t>(world_.network.size()))];
}

void Swarm::draw_fault() {
    switch (below(16)) {
        case 0:
        case 1:
        case 2: {
            Path& path = any_path();
            const bool there = one_in(2);
            draw_link_fault(fmt::format("{} {}", there ? "to" : "from", path.address.to_string()),
                            there ? path.link.there : path.link.back);
            break;
        }
        case 3: {
            LinkPair& shared = world_.network.segment(0);
            draw_link_fault("uplink", one_in(2) ? shared.there : shared.back);
            break;
        }
        case 4:
        case 5: draw_router_fault(any_path()); break;
        case 6:
        case 7: draw_host_fault(any_path()); break;
        case 8: draw_local_fault(); break;
        case 9: draw_stamp_fault(); break;
        case 10: draw_clock_fault(); break;
        case 11:
        case 12: draw_kernel_fault(); break;
        case 13: draw_kernel_change(); break;
        case 14: draw_name_fault(); break;
        default: draw_reload(); break;
    }
}

void Swarm::draw_link_fault(const std::string& where, LinkFaults& link) {
    const std::uint32_t chance = any_chance();
    switch (below(7)) {
        case 0:
        case 1:
            plan(
                "cut " + where, [&link] { link.down = true; }, [&link] { link.down = false; });
            break;
        case 2:
            plan(
                fmt::format("loss of {} ppm {}", chance, where),
                [&link, chance] { link.loss = chance; },
                [&link] { link.loss = 0; });
            break;
        case 3:
            plan(
                "duplication " + where,
                [&link, chance] { link.duplication = chance; },
                [&link] { link.duplication = 0; });
            break;
        case 4:
            plan(
                "reordering " + where,
                [&link, chance, by = between(1ms, 2500ms)] {
                    link.reordering = chance;
                    link.reorder_by = by;
                },
                [&link] { link.reordering = 0; });
            break;
        case 5:
            plan(
                "jitter " + where,
                [&link, most = between(1ms, 2500ms)] { link.jitter = most; },
                [&link] { link.jitter = {}; });
            break;
        default:
            plan(
                "MTU " + where,
                [&link, mtu = 500 + below(2000)] { link.mtu_bytes = mtu; },
                [&link] { link.mtu_bytes = 0; });
            break;
    }
}

void Swarm::draw_router_fault(Path& path) {
    RouterFaults faults;
    faults.error_interval = pick(std::array<Duration, 3>{0ms, 100ms, 4s});
    faults.bare_quote = one_in(2);
    const std::string who = path.address.to_string();
    if (one_in(4)) {
        plan(
            "neighbour dead: " + who,
            [&path] { path.neighbour_dead = true; },
            [&path] { path.neighbour_dead = false; });
        return;
    }
    if (one_in(4)) {
        faults.mtu_bytes = 500 + below(2000);
    } else {
        faults.says = pick(std::array{FailureReason::prohibited,
                                      FailureReason::host_unreachable,
                                      FailureReason::net_unreachable,
                                      FailureReason::ttl_exceeded});
    }
    plan(
        "router before " + who,
        [&path, faults] { path.router = faults; },
        [&path] { path.router = {}; });
}

void Swarm::draw_host_fault(Path& path) {
    HostFaults faults;
    switch (below(4)) {
        case 0: faults.filtered = true; break;
        case 1: faults.answer_after = between(1ms, 3s); break;
        case 2: faults.duplicates = 1 + below(4); break;
        default:
            faults.forgery = pick(std::array{
                Forgery::cookie, Forgery::source, Forgery::identifier, Forgery::sequence});
            faults.answers_too = one_in(2);
            break;
    }
    plan(
        "host " + path.address.to_string(),
        [&path, faults] { path.host = faults; },
        [&path] { path.host = {}; });
}

void Swarm::draw_local_fault() {
    LocalFaults& local = world_.local;
    switch (below(5)) {
        case 0:
            plan(
                "sends fail",
                [&local,
                 reason = pick(std::array{FailureReason::local_firewall,
                                          FailureReason::no_route,
                                          FailureReason::local_error}),
                 chance = any_chance()] {
                    local.send_fails = reason;
                    local.send_failure = chance;
                },
                [&local] { local.send_fails.reset(); });
            break;
        case 1:
            plan(
                "busy socket",
                [&local, chance = any_chance()] { local.busy = chance; },
                [&local] { local.busy = 0; });
            break;
        case 2:
            plan(
                "small receive buffer",
                [&local, packets = below(3)] { local.receive_buffer_packets = packets; },
                [&local] { local.receive_buffer_packets = LocalFaults{}.receive_buffer_packets; });
            break;
        case 3:
            plan(
                "late loop",
                [&local, lag = between(1ms, 400ms)] { local.loop_lag = lag; },
                [&local] { local.loop_lag = {}; });
            break;
        default:
            plan_once("starved",
                      [this, time = between(10ms, pick(std::array<Duration, 3>{300ms, 1s, 6s}))] {
                          world_.starve(time);
                      });
            break;
    }
}

void Swarm::draw_stamp_fault() {
    LocalFaults& local = world_.local;
    switch (below(3)) {
        case 0:
            plan(
                "transmit stamps missing",
                [&local, chance = any_chance()] { local.transmit_stamp_missing = chance; },
                [&local] { local.transmit_stamp_missing = 0; });
            break;
        case 1:
            plan(
                "transmit stamps late",
                [&local, by = between(1ms, 1500ms)] { local.transmit_stamp_after = by; },
                [&local] { local.transmit_stamp_after = {}; });
            break;
        default:
            plan(
                "receive stamps missing",
                [&local, chance = any_chance()] { local.receive_stamp_missing = chance; },
                [&local] { local.receive_stamp_missing = 0; });
            break;
    }
}

void Swarm::draw_clock_fault() {
    if (one_in(4)) {
        const auto ppm = static_cast<std::int32_t>(below(801)) - 400;
        plan(
            "slewing", [this, ppm] { world_.slew_wall(ppm); }, [this] { world_.slew_wall(0); });
        return;
    }
    for (std::uint32_t steps = one_in(2) ? 1 : 2 + below(30); steps > 0; --steps) {
        const Duration size = between(1us, pick(std::array<Duration, 4>{1ms, 100ms, 2s, 3600s}));
        plan_once("clock step", [this, by = one_in(2) ? size : -size] { world_.step_wall(by); });
    }
}

void Swarm::draw_kernel_fault() {
    KernelFaults& faults = world_.kernel.faults;
    const std::uint32_t chance = any_chance();
    const auto during = [&](const std::string& what, std::uint32_t KernelFaults::*fault) {
        plan(
            what,
            [&faults, fault, chance] { faults.*fault = chance; },
            [&faults, fault] { faults.*fault = 0; });
    };
    switch (below(9)) {
        case 0: during("netlink losses", &KernelFaults::loss); break;
        case 1: during("netlink truncations", &KernelFaults::truncation); break;
        case 2: during("interrupted dumps", &KernelFaults::interruption); break;
        case 3: during("dump requests fail", &KernelFaults::request_failure); break;
        case 4: during("dumps refused", &KernelFaults::refusal); break;
        case 5: during("dumps unanswered", &KernelFaults::silence); break;
        case 6:
            plan(
                "slow netlink",
                [&faults, delay = between(1ms, 300ms), jitter = between(0ms, 300ms)] {
                    faults.delay = delay;
                    faults.jitter = jitter;
                },
                [&faults] { faults.delay = faults.jitter = {}; });
            break;
        case 7:
            plan(
                "small netlink buffer",
                [&faults, size = 1 + below(8)] { faults.buffer_datagrams = size; },
                [&faults] { faults.buffer_datagrams = KernelFaults{}.buffer_datagrams; });
            break;
        default: break;
    }
    slow_to_settle_ = true;
    // A fault of the messenger needs something to tell.
    for (std::uint32_t storms = 1 + below(4); storms > 0; --storms) {
        plan_once("storm",
                  [this, changes = static_cast<int>(1 + below(40))] { world_.storm(changes); });
    }
}

/// Without their device the agent does not even ask them, which the world does not see.
void Swarm::excuse_device_peers(MonoTime until) {
    for (const PeerConfig& peer : config_.peers) {
        if (!peer.device.empty()) {
            world_.audit.excuse(world_.network.index_of(*IpAddress::parse(peer.address)), until);
        }
    }
}

void Swarm::draw_kernel_change() {
    if (one_in(3)) {
        plan(
            "uplink down",
            [this] { world_.set_up(uplink, false); },
            [this] {
                world_.set_up(uplink, true);
                add_default_route();
            });
        return;
    }
    if (one_in(2)) {
        const bool renamed = one_in(2);
        plan(
            "eth1 gone",
            [this, renamed] {
                excuse_device_peers(mono_never);
                if (renamed) {
                    world_.set_link({.index = second_link, .name = "old1"});
                } else {
                    world_.remove_link(second_link);
                }
            },
            [this] {
                excuse_device_peers(world_.mono() + 3s);
                world_.set_link({.index = second_link, .name = "eth1"});
            });
        return;
    }
    for (std::uint32_t storms = 1 + below(6); storms > 0; --storms) {
        plan_once("storm",
                  [this, changes = static_cast<int>(1 + below(80))] { world_.storm(changes); });
    }
}

void Swarm::draw_name_fault() {
    if (names_.empty()) {
        return draw_clock_fault();
    }
    const auto number = below(static_cast<std::uint32_t>(names_.size()));
    const std::string name = names_[number];
    NameFacts facts;
    facts.after = between(1ms, pick(std::array<Duration, 3>{10ms, 3s, 15s}));
    switch (below(4)) {
        case 0: facts.silent = true; break;
        case 1: facts.answer = ResolveError::temporary; break;
        case 2: facts.answer = ResolveError::not_found; break;
        default: {
            const auto other = IpAddress::parse(fmt::format("10.4.0.{}", number + 1));
            facts.answer = std::vector{*other};
            world_.network.path(*other);
            break;
        }
    }
    slow_to_settle_ = true;
    plan(
        "name " + name,
        [this, name, facts] { world_.set_name(name, facts); },
        [this, name, number] {
            const auto address = IpAddress::parse(fmt::format("10.3.0.{}", number + 1));
            world_.set_name(name, {std::vector{*address}, 2ms, false});
        },
        40s);
}

/// No two peers share a name.
void Swarm::add_peer(std::uint32_t number) {
    const PeerConfig peer =
        peer_config(fmt::format("p{}", number), fmt::format("10.5.0.{}", number));
    const bool known = std::any_of(config_.peers.begin(),
                                   config_.peers.end(),
                                   [&](const auto& other) { return other.name == peer.name; });
    if (!known) {
        config_.peers.push_back(peer);
    }
}

void Swarm::draw_reload() {
    const auto place = below(static_cast<std::uint32_t>(config_.peers.size()));
    const std::uint32_t what = below(6);
    const std::uint32_t number = 20 + below(100);
    plan_once(fmt::format("reload {}", what), [this, place, what, number] {
        PeerConfig& peer = config_.peers[std::min<std::size_t>(place, config_.peers.size() - 1)];
        switch (what) {
            case 0: break;
            case 1: peer.labels = {{"rack", fmt::format("r{}", number)}}; break;
            case 2: peer.icmp.interval = number * 10ms; break;
            case 3: add_peer(number); break;
            case 4: config_.discover_gateways = !config_.discover_gateways && !has_guests_; break;
            default: config_.rtt_edges = {0.001, 0.01, 0.001 * number}; break;
        }
        world_.reload(config_);
    });
}

// --- The end -------------------------------------------------------------------------------------

SwarmResult Swarm::run() {
    world_.run(duration_);
    world_.heal();
    const Duration settle = has_guests_ ? GuestSwarm::settle_time : settle_time;
    world_.run(slow_to_settle_ ? long_settle_time : settle);
    if (world_.agent->snapshot({world_.mono(), {}}).throttle_ratio < 1.0) {
        world_.run(unthrottle_time);
    }
    finish();
    return {seed_, world_.digest(), world_.turns(), world_.broken(), world_.trace()};
}

void Swarm::finish() {
    world_.audit.expect_all_up(world_.snapshot());
    // Counters are read now and then: not in the middle of that.
    for (int i = 0; i < 100 && !world_.kernel.at_rest(); ++i) {
        world_.run(1ms);
    }
    if (!world_.kernel.at_rest()) {
        world_.audit.fail("the kernel is not at rest", world_.mono());
    } else if (const auto difference = world_.model_difference()) {
        world_.audit.fail("the model differs from a fresh dump: " + *difference, world_.mono());
    }
    if (has_guests_) {
        world_.guests->audit.expect_settled(world_.snapshot());
    }
    if (world_.large.bytes_per_second_max() > config_.limits.mtu_bytes_per_second) {
        world_.audit.fail(fmt::format("{} bytes of path MTU probing in a second, {} is the limit",
                                      world_.large.bytes_per_second_max(),
                                      config_.limits.mtu_bytes_per_second),
                          world_.mono());
    }
}

}  // namespace

SwarmResult run_swarm(std::uint64_t seed, bool trace) {
    return Swarm(seed, trace).run();
}

}  // namespace reachd::sim
