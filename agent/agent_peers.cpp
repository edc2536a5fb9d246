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

std::vector<Agent::ProbeSpec> Agent::ip_probes(PeerKind kind,
                                               const IcmpOptions& icmp,
                                               const TcpOptions& tcp) {
    std::vector<ProbeSpec> probes;
    if (icmp.enabled) {
        probes.push_back({{ProbeKind::icmp, kind, icmp.interval, icmp.timeout}});
    }
    for (const std::uint16_t port : tcp.ports) {
        probes.push_back({{ProbeKind::tcp, kind, tcp.interval, tcp.timeout}, port});
    }
    return probes;
}

std::vector<Agent::ProbeSpec> Agent::probes_of(std::uint32_t id) const {
    std::vector<ProbeSpec> probes;
    for (auto session = peers_[id].first_session; session != no_session;
         session = peers_.next_session(session)) {
        probes.push_back({engine_.options(session), peers_.place_of(session).port});
    }
    return probes;
}

void Agent::open_session(std::uint32_t id, const ProbeSpec& probe, const Instant& now) {
    const std::uint32_t session = engine_.open(probe.options, now.mono);
    peers_.add_session(id, session, probe.options.kind, probe.port);
}

void Agent::close_sessions(std::uint32_t id) {
    while (peers_[id].first_session != no_session) {
        const std::uint32_t session = peers_[id].first_session;
        engine_.close(session);
        peers_.drop_session(session);
    }
}

/// Ways of asking that stay keep their counters, also with other times.
void Agent::set_probes(std::uint32_t id, const std::vector<ProbeSpec>& wanted, const Instant& now) {
    std::vector<ProbeSpec> missing = wanted;
    for (auto session = peers_[id].first_session; session != no_session;) {
        const std::uint32_t next = peers_.next_session(session);
        const ProbeSpec known{engine_.options(session), peers_.place_of(session).port};
        const auto found = std::find_if(missing.begin(), missing.end(), [&](const ProbeSpec& each) {
            return is_same_way(each, known);
        });
        if (found == missing.end()) {
            engine_.close(session);
            peers_.drop_session(session);
        } else {
            if (*found != known) {
                const SessionOptions& times = found->options;
                engine_.set_times(session, times.interval, times.timeout, now.mono);
            }
            missing.erase(found);
        }
        session = next;
    }
    for (const ProbeSpec& probe : missing) {
        open_session(id, probe, now);
    }
    update_verdict(peers_[id], now);
}

void Agent::set_echo_options(Peer& peer, const IcmpOptions& icmp) {
    peer.target.payload_bytes = icmp.payload_bytes;
    peer.target.dscp = icmp.dscp;
    if (icmp.enabled) {
        payload_bytes_max_ = std::max<std::size_t>(payload_bytes_max_, icmp.payload_bytes);
    }
}

std::uint32_t Agent::add_peer(Peer peer,
                              const IcmpOptions& icmp,
                              const MtuOptions& mtu,
                              const std::vector<ProbeSpec>& probes,
                              const Instant& now) {
    set_echo_options(peer, icmp);
    resolve_device(peer);
    const std::uint32_t id = peers_.add(std::move(peer));
    for (const ProbeSpec& probe : probes) {
        open_session(id, probe, now);
    }
    want_mtu(id, mtu, now);
    aim_mtu(id, true, now);
    return id;
}

void Agent::remove_peer(std::uint32_t id) {
    close_sessions(id);
    mtus_.forget(id);
    mtu_told_.erase(id);
    const Peer& peer = peers_[id];
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
    const std::uint32_t id = add_peer(std::move(peer),
                                      config.icmp,
                                      config.mtu,
                                      ip_probes(PeerKind::host, config.icmp, config.tcp),
                                      now);
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
    if (!same_target) {
        // In this order, so that a host name keeps the address it has.
        add_configured_peer(config, now);
        remove_peer(id);
        return;
    }
    if (details.labels != config.labels) {
        peer.identity = configured_identity(config, peer.identity->address());
    }
    set_echo_options(peer, config.icmp);
    set_probes(id, ip_probes(PeerKind::host, config.icmp, config.tcp), now);
    want_mtu(id, config.mtu, now);
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
    follow_guests_anew();  // no guest may have the same series
    if (peer.identity->name() == gateway_name) {
        topology_followed_ = false;  // it may take a gateway's place now, or give it back
    }
    resolve_device(peer);
    const std::vector<ProbeSpec> probes = probes_of(id);
    close_sessions(id);
    set_probes(id, probes, now);
    aim_mtu(id, true, now);
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
    std::vector<std::pair<std::uint32_t, std::vector<ProbeSpec>>> closed;
    for (std::uint32_t id = 0; id < peers_.places(); ++id) {
        if (peers_[id].identity) {
            closed.emplace_back(id, probes_of(id));
            close_sessions(id);
            peers_[id].forget_verdict();
        }
    }
    engine_.set_rtt_edges(edges);
    for (const auto& [id, probes] : closed) {
        set_probes(id, probes, now);
    }
}

void Agent::handle(ConfigLoaded event, const Instant& now) {
    Config config = std::move(event.config);
    const auto configured = std::exchange(config.peers, {});
    if (config.rtt_edges != config_.rtt_edges) {
        change_rtt_edges(config.rtt_edges, now);
    }
    config_ = std::move(config);
    engine_.set_probes_per_second(config_.limits.probes_per_second);
    apply_peers(configured, now);
    evict_guests(0);
    guests_refused_logged_ = false;  // by other limits, perhaps
    while (!gateways_.empty() &&
           (!config_.discover_gateways || peers_.size() > config_.limits.peers)) {
        remove_peer(gateways_.back().peer);
        gateways_.pop_back();
    }
    for (const GatewayPeer& each : gateways_) {
        set_echo_options(peers_[each.peer], config_.icmp);
        set_probes(each.peer, gateway_probes(each), now);
        want_mtu(each.peer, config_.mtu, now);
    }
    mtus_.set_bytes_per_second(config_.limits.mtu_bytes_per_second);
    topology_followed_ = false;
    guests_.configure(config_, now);
    follow_guests_anew();
    reload_ = {true, now.wall};
}

void Agent::handle(const ConfigRejected&, const Instant&) {
    reload_.last_successful = false;
}

}  // namespace reachd
