#include "agent/agent.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "common/prefetch.hpp"

namespace reachd {
namespace {

/// The 1-2-5 ladder of reachd_host_rtt_seconds, 10 µs to 10 s.
const std::vector<double> host_rtt_edges{0.00001,
                                         0.00002,
                                         0.00005,
                                         0.0001,
                                         0.0002,
                                         0.0005,
                                         0.001,
                                         0.002,
                                         0.005,
                                         0.01,
                                         0.02,
                                         0.05,
                                         0.1,
                                         0.2,
                                         0.5,
                                         1,
                                         2,
                                         5,
                                         10};

EngineOptions engine_options(const Config& config) {
    return {config.rtt_edges, host_rtt_edges, config.limits.probes_per_second};
}

}  // namespace

Agent::Agent(Config config, std::string host_name, const AgentSeed& seed, const Instant& start)
    : config_(std::move(config)),
      host_name_(config_.host.name.empty() ? std::move(host_name) : config_.host.name),
      started_(start),
      random_(seed.random),
      cookie_key_(seed.cookie_key),
      engine_(engine_options(config_), random_, start.mono),
      guests_(config_),
      mtus_(config_.limits.mtu_bytes_per_second, start.mono) {
    reload_.last_success = start.wall;
    // Numbers of another run must not come again: clients keep them as the state they know.
    const auto since_epoch = start.wall.time_since_epoch();
    snapshots_ = static_cast<std::uint64_t>(std::max<std::int64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch).count(), 0));
    peers_.reserve(config_.peers.size());
    engine_.reserve(config_.peers.size());
    const auto configured = std::exchange(config_.peers, {});
    apply_peers(configured, start);
}

// ---- Topology

void Agent::handle(const NetlinkReceived& event, const Instant& now) {
    netlink_.on_datagram(event.datagram, now);
}

void Agent::handle(const NetlinkOverran&, const Instant& now) {
    netlink_.on_overrun(now);
}

void Agent::handle(const NetlinkTruncated&, const Instant& now) {
    netlink_.on_truncated(now);
}

void Agent::handle(const DumpRequestFailed&, const Instant& now) {
    netlink_.on_request_failed(now);
}

void Agent::handle(const NetlinkPending&, const Instant& now) {
    netlink_.on_pending(now);
}

void Agent::handle(const NetlinkFailed&, const Instant&) {
    netlink_.on_failed();
}

void Agent::handle(const HostDescribed& event, const Instant&) {
    watch_.set_host(event.facts);
}

void Agent::handle(const DeviceDescribed& event, const Instant&) {
    watch_.on_described(event.facts, event.generation, netlink_.topology());
}

/// What the tables hold when they were first read is no news.
void Agent::follow_changes(const Instant& now) {
    if (!netlink_.synced()) {
        return;
    }
    if (!stock_taken_) {
        stock_taken_ = true;
        watch_.take_stock(netlink_.topology());
    }
    watch_.on_changes(netlink_.take_changes(now.mono), netlink_.topology(), now);
    watch_.take_logs(now.mono, logs_);
}

// ---- A turn

void Agent::poll(const Instant& now, Actions& actions) {
    netlink_.advance(now);
    while (const auto request = netlink_.take_request(now.mono)) {
        actions.dumps.push_back(*request);
    }
    follow_topology(now);
    follow_changes(now);
    follow_guests(now);
    follow_gateway_ports(now);
    follow_mtu_ways(now);
    actions.gateway_ports = gateway_ports_.take_changes();
    actions.guest_ports = guests_.take_ports();
    actions.guest_lookup = guests_.take_lookup(now.mono);
    actions.guest_records = guests_.take_records(now.mono);
    watch_.take_lookups(actions.device_lookups);
    for (LookupRequest& request : names_.take_requests(now.mono, random_)) {
        actions.lookups.push_back(std::move(request));
    }
    orders_.clear();
    engine_.poll(now, orders_);
    for (std::size_t i = 0; i < orders_.size(); ++i) {
        if (i + prefetch_distance < orders_.size()) {
            reachd::prefetch(peers_[peers_.peer_of(orders_[i + prefetch_distance].token.session)]);
        }
        order_probe(orders_[i], now, actions);
    }
    judge_changed_peers(now);
    order_mtu_packets(now, actions);
    actions.tcp_abandoned = engine_.take_abandoned();
    std::move(logs_.begin(), logs_.end(), std::back_inserter(actions.logs));
    logs_.clear();
}

MonoTime Agent::next_deadline() const {
    return std::min({engine_.next_deadline(),
                     netlink_.next_deadline(),
                     watch_.next_deadline(),
                     guests_deadline(),
                     gateway_ports_.next_deadline(),
                     mtus_.next_deadline(),
                     next_mtu_conflicts_,
                     admission_due(),
                     names_.next_deadline()});
}

// ---- Snapshot

std::shared_ptr<Snapshot> Agent::extend_snapshot(SnapshotDraft& draft,
                                                 std::size_t peers_max,
                                                 const Instant& now) const {
    constexpr int restarts_max = 3;  // then all at once: peers that come and go end that too
    if (!draft.snapshot || draft.peers_revision != peers_.revision()) {
        draft.restarts += draft.snapshot ? 1 : 0;
        begin_snapshot(draft);
    }
    if (draft.restarts > restarts_max) {
        peers_max = peers_.places();
    }
    for (std::size_t i = 0; i < peers_max && draft.next_peer < peers_.places(); ++i) {
        snapshot_peer(draft.next_peer++, *draft.snapshot);
    }
    if (draft.next_peer < peers_.places()) {
        return nullptr;
    }
    finish_snapshot(*draft.snapshot, now);
    return std::exchange(draft, SnapshotDraft{}).snapshot;
}

Snapshot Agent::snapshot(const Instant& now) const {
    SnapshotDraft draft;
    return *extend_snapshot(draft, peers_.places(), now);
}

void Agent::begin_snapshot(SnapshotDraft& draft) const {
    draft.snapshot = std::make_shared<Snapshot>();
    draft.next_peer = 0;
    draft.peers_revision = peers_.revision();
    Snapshot& snapshot = *draft.snapshot;
    snapshot.peers.reserve(peers_.size());
    snapshot.probes.reserve(peers_.size());
    snapshot.rtt_buckets.reserve(peers_.size() * (config_.rtt_edges.size() + 1));
    snapshot.every_peer_asked = true;
}

void Agent::snapshot_peer(std::uint32_t id, Snapshot& snapshot) const {
    const Peer& peer = peers_[id];
    if (!peer.identity) {
        return;
    }
    const auto place = static_cast<std::uint32_t>(snapshot.peers.size());
    snapshot.peers.push_back(
        {peer.identity, peer.state, peer.up, peer.state_changes, peer.last_change});
    // Guests come and go as they like: the daemon is as ready without them.
    bool asked = !peer.is_resolved() || peer.first_session == no_session ||
                 peer.identity->kind() == PeerKind::guest;
    Duration shortest = Duration::max();
    for (auto session = peer.first_session; session != no_session;
         session = peers_.next_session(session)) {
        ProbeSnapshot probe;
        probe.peer = place;
        probe.port = peers_.place_of(session).port;
        engine_.snapshot_session(session, probe, snapshot);
        snapshot.probes.push_back(probe);
        const Duration interval = engine_.interval(session);
        if (peer.is_resolved() && interval <= shortest &&
            peer.identity->kind() != PeerKind::guest) {
            asked = engine_.asked(session) || (asked && interval == shortest);
            shortest = interval;
        }
    }
    snapshot.every_peer_asked = snapshot.every_peer_asked && asked;
    snapshot_mtu(id, place, snapshot);
}

void Agent::finish_snapshot(Snapshot& snapshot, const Instant& now) const {
    snapshot.sequence = ++snapshots_;
    snapshot.taken = now;
    snapshot.started = started_;
    snapshot.host = {host_name_, config_.host.labels, watch_.role(), watch_.virtualization()};
    engine_.snapshot_totals(snapshot);
    constexpr std::array<const char*, ignored_count> names{
        "malformed", "bad_checksum", "foreign", "wrong_source"};
    for (std::size_t i = 0; i < ignored_count; ++i) {
        snapshot.packets_ignored.push_back({names[i], ignored_[i]});
    }
    snapshot_topology(snapshot);
    snapshot.mtu_inconsistencies = mtu_conflicts_;
    snapshot.netlink = netlink_.snapshot();
    snapshot.topology_synced = netlink_.synced();
    snapshot.topology_in_step = netlink_.in_step(now.mono);
    snapshot_guests(snapshot, now);
    std::uint64_t guest_errors = guests_refused_ + guest_ports_failed_;
    for (const NamedCount& refusal : guests_.refusals()) {
        guest_errors += refusal.count;
    }
    snapshot.discovery_errors = {{"dns", names_.errors()},
                                 {"gateways", gateways_refused_ + gateway_ports_failed_},
                                 {"guests", guest_errors}};
    snapshot.reload = reload_;
    snapshot.series_limit = config_.limits.series;
}

void Agent::snapshot_topology(Snapshot& snapshot) const {
    const Topology& topology = netlink_.topology();
    snapshot.topology = topology.snapshot();
    snapshot.link_counters.reserve(snapshot.topology->links.size());
    for (const auto& link : snapshot.topology->links) {
        snapshot.link_counters.push_back(topology.counters_of(link->index));
    }
    snapshot.devices = watch_.devices();
    snapshot.last_change = watch_.last_change();
}

std::string Agent::status_line() const {
    std::size_t up = 0;
    std::size_t down = 0;
    for (std::uint32_t id = 0; id < peers_.places(); ++id) {
        if (peers_[id].identity && peers_[id].up) {
            ++(*peers_[id].up ? up : down);
        }
    }
    return fmt::format(
        "{} peers: {} up, {} down, {} unknown", peers_.size(), up, down, peers_.size() - up - down);
}

}  // namespace reachd
