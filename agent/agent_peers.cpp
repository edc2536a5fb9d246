#include <algorithm>
#include <utility>

#include "agent/agent.hpp"
#include "agent/config_text.hpp"

namespace reachd {
namespace {

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
    return address.to_string(device.empty() ? netlink_.topology().name_of(address.scope())
                                            : std::string_view(device));
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

}  // namespace reachd
