#include "agent/agent.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "agent/config_text.hpp"
#include "common/prefetch.hpp"

namespace reachd {
namespace {

/// systemd's MESSAGE_ID: one for each kind of event, never to be changed.
constexpr std::string_view peer_down_message = "6d0c2f0a8f5e4b4a9a1ad1d5a8b0e6c1";
constexpr std::string_view peer_up_message = "0f9be2f0d2a54b3a8b7d5f8a37c4e952";
constexpr std::string_view gateways_refused_message = "a4be9a1c35df4c0ab0a2f4a63f1f0d77";

/// The label `peer` of every discovered gateway.
const std::string gateway_name = "gateway";

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

std::size_t index(Family family) {
    return static_cast<std::size_t>(family);
}

std::string address_text(const IpAddress& address, std::string_view zone) {
    const bool zoned = address.is_link_local_v6() && !zone.empty();
    return zoned ? fmt::format("{}%{}", address.to_string(), zone) : address.to_string();
}

bool same_hop(const Gateway& a, const Gateway& b) {
    return a.address == b.address && a.device == b.device;
}

bool contains(const std::vector<Gateway>& gateways, const Gateway& wanted) {
    return std::any_of(gateways.begin(), gateways.end(), [&wanted](const Gateway& gateway) {
        return same_hop(gateway, wanted);
    });
}

PeerDetails configured_details(const PeerConfig& config) {
    return {
        config.source ? config.source->to_string() : std::string(), config.device, config.labels};
}

std::shared_ptr<const PeerIdentity> configured_identity(const PeerConfig& config,
                                                        std::string_view address) {
    return std::make_shared<const PeerIdentity>(
        config.name, address, PeerKind::host, configured_details(config));
}

}  // namespace

Agent::Agent(Config config, std::string host_name, const AgentSeed& seed, const Instant& start)
    : config_(std::move(config)),
      host_name_(config_.host.name.empty() ? std::move(host_name) : config_.host.name),
      random_(seed.random),
      cookie_key_(seed.cookie_key),
      engine_(engine_options(config_), random_, start.mono) {
    reload_.last_success = start.wall;
    peers_.reserve(config_.peers.size());
    engine_.reserve(config_.peers.size());
    const auto configured = std::exchange(config_.peers, {});
    apply_peers(configured, start);
}

// ---- Peers

void Agent::open_session(std::uint32_t id, const IcmpOptions& icmp, const Instant& now) {
    Peer& peer = peers_[id];
    peer.target.payload_bytes = icmp.payload_bytes;
    peer.target.dscp = icmp.dscp;
    if (!icmp.enabled) {
        return;
    }
    payload_bytes_max_ = std::max<std::size_t>(payload_bytes_max_, icmp.payload_bytes);
    const SessionOptions options{
        ProbeKind::icmp, peer.identity->kind(), icmp.interval, icmp.timeout};
    peers_.bind_session(id, engine_.open(options, now.mono));
}

std::uint32_t Agent::add_peer(Peer peer, const IcmpOptions& icmp, const Instant& now) {
    resolve_device(peer);
    const std::uint32_t id = peers_.add(std::move(peer));
    open_session(id, icmp, now);
    return id;
}

void Agent::remove_peer(std::uint32_t id) {
    const Peer& peer = peers_[id];
    if (peer.session != Peer::no_session) {
        engine_.close(peer.session);
    }
    if (peer.extras && !peer.extras->host_name.empty()) {
        names_.remove(peer.extras->host_name, peer.extras->family);
        const auto [first, last] = by_host_name_.equal_range(peer.extras->host_name);
        by_host_name_.erase(
            std::find_if(first, last, [id](const auto& entry) { return entry.second == id; }));
    }
    if (gateway_namesake_ == id) {
        gateway_namesake_.reset();
    }
    peers_.remove(id);
}

void Agent::add_configured_peer(const PeerConfig& config, const Instant& now) {
    const auto where = parse_peer_address(config.address);
    ENSURE(where.has_value());  // else it had not become a configuration
    const auto& address = where->numeric;
    const std::string& zone = where->zone;
    Peer peer;
    peer.identity = configured_identity(config, address ? config.address : "");
    peer.target.source = config.source.value_or(IpAddress{});
    peer.target.destination = address.value_or(IpAddress{});
    if (!address || !zone.empty() || !config.device.empty()) {
        peer.extras = std::make_unique<PeerExtras>();
        peer.extras->host_name = address ? std::string() : config.address;
        peer.extras->family = config.family;
        peer.extras->device = config.device.empty() ? zone : config.device;
    }
    if (!address) {
        names_.add(config.address, config.family, now.mono);
        if (const auto known = names_.state(config.address, config.family)) {
            peer.target.destination = known->address.value_or(IpAddress{});
        }
        if (peer.is_resolved()) {
            peer.identity = configured_identity(
                config, resolved_address_text(peer.target.destination, config.device));
        }
    }
    const std::uint32_t id = add_peer(std::move(peer), config.icmp, now);
    if (config.name == gateway_name) {
        gateway_namesake_ = id;
    }
    if (!address) {
        by_host_name_.emplace(config.address, id);
    }
}

/// The same peer, perhaps with other labels or probe options; a peer whose target changed is
/// another one. Counters survive what does not touch the probes.
void Agent::update_configured_peer(std::uint32_t id, const PeerConfig& config, const Instant& now) {
    Peer& peer = peers_[id];
    const PeerDetails& details = peer.identity->details();
    const PeerDetails wanted = configured_details(config);
    const std::string address = peer.extras && !peer.extras->host_name.empty()
                                    ? peer.extras->host_name
                                    : peer.identity->address();
    const bool same_target =
        address == config.address && details.source == wanted.source &&
        details.device == wanted.device &&
        (!peer.extras || peer.extras->host_name.empty() || peer.extras->family == config.family);
    const bool enabled = peer.session != Peer::no_session;
    const SessionOptions options{
        ProbeKind::icmp, PeerKind::host, config.icmp.interval, config.icmp.timeout};
    const bool same_probes = enabled == config.icmp.enabled &&
                             (!enabled || engine_.options(peer.session) == options) &&
                             peer.target.payload_bytes == config.icmp.payload_bytes &&
                             peer.target.dscp == config.icmp.dscp;
    if (!same_target || !same_probes) {
        // In this order, so that a host name keeps the address it has.
        add_configured_peer(config, now);
        remove_peer(id);
    } else if (details.labels != config.labels) {
        peer.identity = configured_identity(config, peer.identity->address());
    }
}

void Agent::apply_peers(const std::vector<PeerConfig>& configured, const Instant& now) {
    std::unordered_map<std::string, std::uint32_t> before;
    for (std::uint32_t id = 0; id < peers_.places(); ++id) {
        if (peers_[id].identity && peers_[id].identity->kind() == PeerKind::host) {
            before.emplace(peers_[id].identity->name(), id);
        }
    }
    std::vector<const PeerConfig*> fresh;
    for (const PeerConfig& config : configured) {
        const auto known = before.find(config.name);
        if (known == before.end()) {
            fresh.push_back(&config);
        } else {
            update_configured_peer(known->second, config, now);
            before.erase(known);
        }
    }
    for (const auto& [name, id] : before) {
        remove_peer(id);
    }
    for (const PeerConfig* config : fresh) {
        add_configured_peer(*config, now);
    }
}

/// The zone of a link-local address that a host name has led to is the configured device, else the
/// one that the resolver named.
std::string Agent::resolved_address_text(const IpAddress& address,
                                         const std::string& device) const {
    return address_text(address,
                        device.empty() ? netlink_.topology().name_of(address.scope()) : device);
}

/// Another address is another series: the identity changes, and the session begins anew.
void Agent::set_address(std::uint32_t id, const IpAddress& address, const Instant& now) {
    Peer& peer = peers_[id];
    peer.identity =
        std::make_shared<const PeerIdentity>(peer.identity->name(),
                                             resolved_address_text(address, peer.extras->device),
                                             peer.identity->kind(),
                                             peer.identity->details());
    peer.target.destination = address;
    peer.forget_verdict();
    peers_.touch_addresses();
    if (peer.identity->name() == gateway_name) {
        topology_followed_ = false;  // it may take a gateway's place now, or give it back
    }
    resolve_device(peer);
    if (peer.session == Peer::no_session) {
        return;
    }
    const SessionOptions options = engine_.options(peer.session);
    engine_.close(peer.session);
    peers_.bind_session(id, engine_.open(options, now.mono));
}

// ---- Configuration

/// Counts by old edges cannot be told by new ones: every session begins anew.
void Agent::change_rtt_edges(const std::vector<double>& edges, const Instant& now) {
    std::vector<std::pair<std::uint32_t, SessionOptions>> closed;
    for (std::uint32_t id = 0; id < peers_.places(); ++id) {
        Peer& peer = peers_[id];
        if (peer.identity && peer.session != Peer::no_session) {
            closed.emplace_back(id, engine_.options(peer.session));
            engine_.close(peer.session);
            peer.forget_verdict();
        }
    }
    engine_.set_rtt_edges(edges);
    for (const auto& [id, options] : closed) {
        peers_.bind_session(id, engine_.open(options, now.mono));
    }
}

void Agent::handle(ConfigLoaded event, const Instant& now) {
    Config config = std::move(event.config);
    const auto configured = std::exchange(config.peers, {});
    if (config.rtt_edges != config_.rtt_edges) {
        change_rtt_edges(config.rtt_edges, now);
    }
    const bool other_defaults = config.icmp != config_.icmp;
    config_ = std::move(config);
    engine_.set_probes_per_second(config_.limits.probes_per_second);
    apply_peers(configured, now);
    const bool keeps_gateways = !other_defaults && config_.discover_gateways;
    while (!gateways_.empty() && (!keeps_gateways || peers_.size() > config_.limits.peers)) {
        remove_peer(gateways_.back().peer);
        gateways_.pop_back();
    }
    topology_followed_ = false;
    reload_ = {true, now.wall};
}

void Agent::handle(const ConfigRejected&, const Instant&) {
    reload_.last_successful = false;
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

void Agent::resolve_device(Peer& peer) const {
    if (!peer.extras || peer.extras->device.empty()) {
        return;
    }
    const auto device = netlink_.topology().index_of(peer.extras->device);
    peer.extras->device_missing = !device;
    peer.target.device = device.value_or(IfIndex::any);
    if (peer.target.destination.is_link_local_v6()) {
        peer.target.destination.set_scope(peer.target.device);
    }
}

/// Names of devices and default routes, whenever the model may have changed.
void Agent::follow_topology(const Instant& now) {
    const Topology& topology = netlink_.topology();
    if (topology_followed_ && topology_revision_ == topology.revision()) {
        return;
    }
    topology_revision_ = topology.revision();
    topology_followed_ = true;
    for (std::uint32_t id = 0; id < peers_.places(); ++id) {
        if (peers_[id].extras) {
            resolve_device(peers_[id]);
            peers_.touch_addresses();
        }
    }
    if (config_.discover_gateways) {
        follow_gateways(now);
    }
}

/// A series is told by name and address alone: of two devices that lead to one address the better
/// metric counts, and a peer of the operator's that is named like a gateway takes its place.
std::vector<Gateway> Agent::wanted_gateways() const {
    std::vector<Gateway> wanted;
    for (const Gateway& gateway : netlink_.topology().default_gateways()) {
        const bool repeated =
            std::any_of(wanted.begin(), wanted.end(), [&gateway](const Gateway& better) {
                return better.address == gateway.address;
            });
        const bool configured =
            gateway_namesake_ && peers_[*gateway_namesake_].target.destination == gateway.address;
        if (!repeated && !configured) {
            wanted.push_back(gateway);
        }
    }
    return wanted;
}

void Agent::follow_gateways(const Instant& now) {
    const std::vector<Gateway> wanted = wanted_gateways();
    std::erase_if(gateways_, [&](const GatewayPeer& known) {
        // A renamed device has another name in its series.
        const bool keep = contains(wanted, known.gateway) &&
                          peers_[known.peer].identity->details().device ==
                              netlink_.topology().name_of(known.gateway.device);
        if (!keep) {
            remove_peer(known.peer);
        }
        return !keep;
    });
    const auto refused_before = std::exchange(refused_gateways_, {});
    for (const Gateway& gateway : wanted) {
        const bool known =
            std::any_of(gateways_.begin(), gateways_.end(), [&](const GatewayPeer& peer) {
                return same_hop(gateway, peer.gateway);
            });
        if (known) {
            continue;
        }
        if (peers_.size() < config_.limits.peers) {
            add_gateway(gateway, now);
        } else {
            refused_gateways_.push_back(gateway);
            if (!contains(refused_before, gateway)) {
                count_refused(gateway);
            }
        }
    }
}

/// Each once, however often the routes are looked at while there is no room for it.
void Agent::count_refused(const Gateway& gateway) {
    ++gateways_refused_;
    if (std::exchange(gateways_refused_logged_, true)) {
        return;
    }
    const auto device = netlink_.topology().name_of(gateway.device);
    logs_.push_back({LogLevel::warning,
                     fmt::format("gateway {} is not probed: limits.peers ({}) is reached",
                                 address_text(gateway.address, device),
                                 config_.limits.peers),
                     gateways_refused_message,
                     {}});
}

void Agent::add_gateway(const Gateway& gateway, const Instant& now) {
    const std::string device(netlink_.topology().name_of(gateway.device));
    Peer peer;
    peer.identity = std::make_shared<const PeerIdentity>(gateway_name,
                                                         address_text(gateway.address, device),
                                                         PeerKind::gateway,
                                                         PeerDetails{{}, device, {}});
    peer.target.destination = gateway.address;
    peer.target.device = gateway.device;
    gateways_.push_back({gateway, add_peer(std::move(peer), config_.icmp, now)});
}

void Agent::handle(const NameLookedUp& event, const Instant& now) {
    const auto update = names_.on_result(event.id, event.result, now.mono, random_);
    if (!update || !update->changed || !update->address) {
        return;
    }
    const auto [first, last] = by_host_name_.equal_range(update->name);
    for (auto entry = first; entry != last; ++entry) {
        if (peers_[entry->second].extras->family == update->family) {
            set_address(entry->second, *update->address, now);
        }
    }
}

// ---- Probes

void Agent::handle(const EchoSocketOpened& event, const Instant&) {
    identifiers_[index(event.family)] = event.identifiers;
    family_open_[index(event.family)] = true;
}

void Agent::handle(const EchoSent& event, const Instant& now) {
    engine_.on_sent(event.order, now);
}

void Agent::handle(const EchoNotSent& event, const Instant& now) {
    engine_.on_not_sent(event.order, event.reason, now);
}

void Agent::handle(const EchoSkipped& event, const Instant&) {
    engine_.on_skipped(event.order, SkipReason::busy);
}

/// Sessions with one address mostly have different identifiers, so that an error which quotes only
/// a header still leads to one of them.
std::uint16_t Agent::identifier_of(Family family, std::uint32_t session) const {
    const EchoIdentifiers& ours = identifiers_[index(family)];
    return static_cast<std::uint16_t>(ours.first + session % ours.count);
}

bool Agent::is_ours(const ProbeCookie& cookie) const {
    const auto session = cookie.token.session;
    return engine_.is_open(session) &&
           cookie_key_.tag(cookie.token, engine_.generation(session)) == cookie.tag;
}

void Agent::handle(const TransmitStamped& event, const Instant&) {
    // Straight from our own kernel: whatever it looped back, we sent.
    if (engine_.is_open(event.cookie.token.session)) {
        engine_.on_transmit_stamp(event.cookie.token, event.stamp);
    }
}

void Agent::prefetch(std::uint32_t session) const {
    if (engine_.prefetch_session(session)) {
        reachd::prefetch(peers_[peers_.peer_of(session)]);
    }
}

void Agent::handle(const EchoReplied& event, const Instant& now) {
    const ProbeCookie& cookie = event.reply.cookie;
    if (!is_ours(cookie)) {
        return ignore(Ignored::foreign);
    }
    const Peer& peer = peers_[peers_.peer_of(cookie.token.session)];
    if (event.from != peer.target.destination) {
        return ignore(Ignored::wrong_source);
    }
    if (event.reply.sequence != static_cast<std::uint16_t>(cookie.token.sequence) ||
        event.reply.identifier != identifier_of(event.from.family(), cookie.token.session)) {
        return ignore(Ignored::foreign);
    }
    engine_.on_answer(cookie.token, event.received, now);
}

/// The session an ICMP error is about. A quote with the cookie proves itself; one of a bare header
/// must match destination, identifier and a sequence number in flight.
std::optional<std::uint32_t> Agent::session_of(const EchoError& error) {
    if (error.cookie) {
        return is_ours(*error.cookie) ? std::optional(error.cookie->token.session) : std::nullopt;
    }
    for (const std::uint32_t id : peers_.peers_at(error.destination)) {
        const std::uint32_t session = peers_[id].session;
        if (session == Peer::no_session || !engine_.knows_sequence(session, error.sequence)) {
            continue;
        }
        if (error.identifier == identifier_of(error.destination.family(), session)) {
            return session;
        }
    }
    return std::nullopt;
}

void Agent::handle(const EchoFailed& event, const Instant& now) {
    EchoError error = event.error;
    // A quote carries no zone; the reporter of a link-local destination is on the same link.
    if (error.destination.is_link_local_v6()) {
        error.destination.set_scope(event.reporter.scope());
    }
    const auto session = session_of(error);
    if (!session) {
        return ignore(Ignored::foreign);
    }
    const IpAddress& destination = peers_[peers_.peer_of(*session)].target.destination;
    if (destination.bytes().size() != error.destination.bytes().size() ||
        !std::equal(destination.bytes().begin(),
                    destination.bytes().end(),
                    error.destination.bytes().begin())) {
        return ignore(Ignored::foreign);
    }
    // Our own host says "host unreachable" when nobody answers ARP or neighbour discovery.
    const bool by_ourselves = std::equal(error.source.bytes().begin(),
                                         error.source.bytes().end(),
                                         event.reporter.bytes().begin(),
                                         event.reporter.bytes().end());
    const bool neighbour = by_ourselves && error.reason == FailureReason::host_unreachable;
    engine_.on_error(*session, neighbour ? FailureReason::neighbour_failed : error.reason, now);
}

void Agent::handle(const PacketRejected& event, const Instant&) {
    ignore(reason_of(event.flaw));
}

void Agent::handle(const ReceiveOverflowed&, const Instant& now) {
    engine_.on_receive_overflow(now);
}

Agent::Ignored Agent::reason_of(PacketFlaw flaw) {
    switch (flaw) {
        case PacketFlaw::malformed: return Ignored::malformed;
        case PacketFlaw::bad_checksum: return Ignored::bad_checksum;
        case PacketFlaw::foreign: return Ignored::foreign;
    }
    return Ignored::malformed;
}

void Agent::ignore(Ignored why) {
    ++ignored_[static_cast<std::size_t>(why)];
}

void Agent::order_echo(const SendOrder& order, const Instant& now, Actions& actions) {
    const std::uint32_t session = order.token.session;
    const Peer& peer = peers_[peers_.peer_of(session)];
    if (!peer.is_resolved()) {
        return engine_.on_not_sent(order, FailureReason::unresolved, now);
    }
    const std::size_t family = index(peer.target.destination.family());
    const bool device_missing = peer.extras && peer.extras->device_missing;
    if (device_missing && !netlink_.synced()) {
        return engine_.on_skipped(order, SkipReason::busy);  // not missed yet: we do not know
    }
    if (!family_open_[family] || device_missing) {
        return engine_.on_not_sent(order, FailureReason::local_error, now);
    }
    const std::uint64_t tag = cookie_key_.tag(order.token, engine_.generation(session));
    actions.echo_requests[family].push_back(
        {order,
         peer.target,
         ProbeCookie{tag, order.token},
         identifier_of(peer.target.destination.family(), session)});
}

// ---- Verdicts

void Agent::judge_changed_peers(const Instant& now) {
    for (const std::uint32_t session : engine_.take_changed()) {
        Peer& peer = peers_[peers_.peer_of(session)];
        peer.state = engine_.state(session);
        const auto before = std::exchange(peer.up, engine_.up(session));
        if (peer.up == before) {
            continue;
        }
        peer.last_change = now.wall;
        ++verdicts_;
        if (before.has_value()) {
            ++peer.state_changes;
        }
        log_verdict(peer, before);
    }
}

void Agent::log_verdict(const Peer& peer, std::optional<bool> before) {
    const bool up = *peer.up;
    if (up && !before.has_value()) {
        return;  // ten thousand healthy peers at start are no news
    }
    const PeerIdentity& identity = *peer.identity;
    const std::string who = identity.name() == identity.address() || identity.address().empty()
                                ? identity.name()
                                : fmt::format("{} ({})", identity.name(), identity.address());
    const std::string text =
        up ? fmt::format("peer {} is up again", who)
           : fmt::format("peer {} is down: {}", who, to_text(engine_.last_failure(peer.session)));
    LogRecord record{up ? LogLevel::notice : LogLevel::warning,
                     text,
                     up ? peer_up_message : peer_down_message,
                     {{"REACHD_PEER", identity.name()}, {"REACHD_ADDRESS", identity.address()}}};
    if (const std::string& device = identity.details().device; !device.empty()) {
        record.fields.emplace_back("REACHD_DEVICE", device);
    }
    logs_.push_back(std::move(record));
}

// ---- A turn

void Agent::poll(const Instant& now, Actions& actions) {
    netlink_.advance(now);
    while (const auto request = netlink_.take_request(now.mono)) {
        actions.dumps.push_back(*request);
    }
    follow_topology(now);
    for (LookupRequest& request : names_.take_requests(now.mono, random_)) {
        actions.lookups.push_back(std::move(request));
    }
    orders_.clear();
    engine_.poll(now, orders_);
    for (std::size_t i = 0; i < orders_.size(); ++i) {
        if (i + prefetch_distance < orders_.size()) {
            reachd::prefetch(peers_[peers_.peer_of(orders_[i + prefetch_distance].token.session)]);
        }
        order_echo(orders_[i], now, actions);
    }
    judge_changed_peers(now);
    std::move(logs_.begin(), logs_.end(), std::back_inserter(actions.logs));
    logs_.clear();
}

MonoTime Agent::next_deadline() const {
    return std::min({engine_.next_deadline(), netlink_.next_deadline(), names_.next_deadline()});
}

// ---- Snapshot

Snapshot Agent::snapshot(const Instant& now) const {
    Snapshot snapshot;
    snapshot.sequence = ++snapshots_;
    snapshot.taken = now;
    snapshot.host = {host_name_, config_.host.labels};
    snapshot.peers.reserve(peers_.size());
    snapshot.probes.reserve(peers_.size());
    snapshot.rtt_buckets.reserve(peers_.size() * (config_.rtt_edges.size() + 1));
    snapshot.every_peer_asked = true;
    for (std::uint32_t id = 0; id < peers_.places(); ++id) {
        const Peer& peer = peers_[id];
        if (!peer.identity) {
            continue;
        }
        const auto place = static_cast<std::uint32_t>(snapshot.peers.size());
        snapshot.peers.push_back(
            {peer.identity, peer.state, peer.up, peer.state_changes, peer.last_change});
        if (peer.session == Peer::no_session) {
            continue;
        }
        ProbeSnapshot probe;
        probe.peer = place;
        engine_.snapshot_session(peer.session, probe, snapshot);
        snapshot.probes.push_back(probe);
        const bool asked = engine_.asked(peer.session) || !peer.is_resolved();
        snapshot.every_peer_asked = snapshot.every_peer_asked && asked;
    }
    engine_.snapshot_totals(snapshot);
    constexpr std::array<const char*, ignored_count> names{
        "malformed", "bad_checksum", "foreign", "wrong_source"};
    for (std::size_t i = 0; i < ignored_count; ++i) {
        snapshot.packets_ignored.push_back({names[i], ignored_[i]});
    }
    snapshot.netlink = netlink_.snapshot();
    snapshot.topology_synced = netlink_.synced();
    snapshot.discovery_errors = {{"dns", names_.errors()}, {"gateways", gateways_refused_}};
    snapshot.reload = reload_;
    snapshot.series_limit = config_.limits.series;
    return snapshot;
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
