#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "agent/agent.hpp"
#include "agent/gateway_aim.hpp"

namespace reachd {
namespace {

/// systemd's MESSAGE_ID, never to be changed.
constexpr std::string_view gateways_refused_message = "a4be9a1c35df4c0ab0a2f4a63f1f0d77";
constexpr std::string_view gateway_port_failed_message = "3f5d0b7e8c9146d2a1e04b6f92d7c385";
constexpr std::string_view gateway_ports_open_message = "b81e6c24d0f34975936a2e58c7140f9d";

/// A gateway whose route comes and goes takes no guest's place.
constexpr Duration gateway_patience = std::chrono::seconds(5);

/// The last answer by ARP counts so long after the first question that could not be asked.
constexpr Duration arp_evidence_time = std::chrono::seconds(30);

bool same_hop(const Gateway& a, const Gateway& b) {
    return a.address == b.address && a.device == b.device;
}

bool contains(const std::vector<Gateway>& gateways, const Gateway& wanted) {
    return std::any_of(gateways.begin(), gateways.end(), [&wanted](const Gateway& gateway) {
        return same_hop(gateway, wanted);
    });
}

}  // namespace

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

void Agent::resolve_devices(const Instant& now) {
    for (const std::uint32_t id : peers_.with_device()) {
        resolve_device(peers_[id]);
        peers_.touch_addresses();
        aim_mtu(id, false, now);
    }
}

/// Names of devices and default routes, whenever the model may have changed.
void Agent::follow_topology(const Instant& now) {
    const Topology& topology = netlink_.topology();
    if (!topology_followed_ || topology_revision_ != topology.revision()) {
        topology_revision_ = topology.revision();
        topology_followed_ = true;
        resolve_devices(now);
    } else if (now.mono < admission_due()) {
        return;
    }
    follow_gateways(now);
}

/// Whether both would have the same labels. Two devices have one name for a while when a message
/// about a rename was lost.
bool Agent::is_same_series(const Gateway& a, const Gateway& b) const {
    if (!a.address.is_link_local_v6() || !b.address.is_link_local_v6()) {
        return a.address == b.address;
    }
    const Topology& topology = netlink_.topology();
    return a.address.has_same_bytes(b.address) &&
           topology.name_of(a.device) == topology.name_of(b.device);
}

/// A series is told by name and address alone: of two devices that lead to one address the better
/// metric counts, and a peer of the operator's that is named like a gateway takes its place. A
/// link-local address without the name of its device would be no label: it waits for the name.
std::vector<Gateway> Agent::wanted_gateways() const {
    std::vector<Gateway> wanted;
    if (!config_.discover_gateways) {
        return wanted;
    }
    for (const Gateway& gateway : netlink_.topology().default_gateways()) {
        if (gateway.address.is_link_local_v6() &&
            netlink_.topology().name_of(gateway.device).empty()) {
            continue;
        }
        const bool repeated = std::any_of(wanted.begin(), wanted.end(), [&](const Gateway& better) {
            return is_same_series(better, gateway);
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
    remove_gateways_not_in(wanted);
    admit_gateways(wanted, now);
    for (const GatewayPeer& each : gateways_) {
        aim_at_gateway(each);
    }
    want_gateway_ports();
    follow_gateway_probes(now);
}

void Agent::remove_gateways_not_in(const std::vector<Gateway>& wanted) {
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
}

/// Where there is no room, guests make it for one that stays.
void Agent::admit_gateways(const std::vector<Gateway>& wanted, const Instant& now) {
    const auto waiting_before = std::exchange(waiting_gateways_, {});
    for (const Gateway& gateway : wanted) {
        const auto is_same = [&gateway](const auto& known) {
            return same_hop(known.gateway, gateway);
        };
        if (std::any_of(gateways_.begin(), gateways_.end(), is_same)) {
            continue;
        }
        const auto known = std::find_if(waiting_before.begin(), waiting_before.end(), is_same);
        WaitingGateway waiting =
            known == waiting_before.end() ? WaitingGateway{gateway, now.mono} : *known;
        if (waiting.since + gateway_patience <= now.mono) {
            evict_guests(1);
        }
        if (peers_.size() < config_.limits.peers) {
            add_gateway(gateway, now);
            continue;
        }
        if (guest_peers_.empty() && !std::exchange(waiting.refused, true)) {
            count_refused(gateway);
        }
        waiting_gateways_.push_back(waiting);
    }
}

/// When a gateway that waits for room can have it.
MonoTime Agent::admission_due() const {
    if (waiting_gateways_.empty()) {
        return mono_never;
    }
    if (peers_.size() < config_.limits.peers) {
        return {};
    }
    MonoTime due = mono_never;
    if (!guest_peers_.empty()) {
        for (const WaitingGateway& each : waiting_gateways_) {
            due = std::min(due, each.since + gateway_patience);
        }
    }
    return due;
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
                                 gateway.address.to_string(device),
                                 config_.limits.peers),
                     gateways_refused_message,
                     {}});
}

void Agent::add_gateway(const Gateway& gateway, const Instant& now) {
    const std::string device(netlink_.topology().name_of(gateway.device));
    Peer peer;
    peer.identity = std::make_shared<const PeerIdentity>(gateway_name,
                                                         gateway.address.to_string(device),
                                                         PeerKind::gateway,
                                                         PeerDetails{{}, device, {}});
    peer.target.destination = gateway.address;
    peer.target.device = gateway.device;
    peer.extras = std::make_unique<PeerExtras>();
    follow_guests_anew();  // no guest may have the same series
    const auto probes = ip_probes(PeerKind::gateway, config_.icmp, config_.tcp);
    gateways_.push_back(
        {gateway, add_peer(std::move(peer), config_.icmp, config_.mtu, probes, now)});
}

// ---- By ARP and neighbour discovery

/// From the present addresses; to which MAC is settled when it is asked, since the host learns and
/// forgets that all the time.
void Agent::aim_at_gateway(const GatewayPeer& gateway) {
    peers_[gateway.peer].extras->neighbour =
        reachd::aim_at_gateway(netlink_.topology(), gateway.gateway);
}

void Agent::want_gateway_ports() {
    ListenedPorts::Wanted wanted;
    for (const GatewayPeer& each : gateways_) {
        const auto& target = peers_[each.peer].extras->neighbour;
        if (target && config_.arp.enabled) {
            wanted.emplace(NeighbourPort{target->device, target->use},
                           netlink_.topology().link(target->device)->generation);
        }
    }
    gateway_ports_.want(wanted);
    std::erase_if(gateway_ports_told_, [this](const NeighbourPort& port) {
        return !netlink_.topology().link(port.device);
    });
}

/// Sockets that were opened in the turn before can be used from now on.
void Agent::follow_gateway_ports(const Instant& now) {
    if (!gateway_ports_.advance(now.mono)) {
        return;
    }
    follow_gateway_probes(now);
    if (!gateway_ports_told_.empty() && !gateway_ports_.any_failed()) {
        gateway_ports_told_.clear();
        logs_.push_back({LogLevel::notice,
                         "gateways are asked by ARP and neighbour discovery again",
                         gateway_ports_open_message,
                         {}});
    }
}

void Agent::handle(const GatewayPortFailed& event, const Instant& now) {
    if (!gateway_ports_.on_failed(event.port, now.mono)) {
        return;
    }
    ++gateway_ports_failed_;
    const auto device = netlink_.topology().name_of(event.port.device);
    if (device.empty() || gateway_ports_told_.size() == gateway_ports_told_max ||
        !gateway_ports_told_.insert(event.port).second) {
        return;
    }
    const bool by_arp = event.port.use == PortUse::gateway_arp;
    logs_.push_back({LogLevel::warning,
                     fmt::format("gateways behind {} cannot be asked by {}: {}; it is tried again",
                                 device,
                                 by_arp ? "ARP" : "neighbour discovery",
                                 event.reason),
                     gateway_port_failed_message,
                     {{"REACHD_DEVICE", std::string(device)}}});
}

/// By ARP, now.
bool Agent::can_ask(const Peer& gateway) const {
    const auto& target = gateway.extras->neighbour;
    return target && gateway_ports_.is_open({target->device, target->use});
}

bool Agent::has_arp_session(const GatewayPeer& gateway) const {
    return peers_.session_of(gateway.peer, ProbeKind::arp) != no_session;
}

/// From the first time that it can be asked. The host's address, or the socket, may be away for a
/// moment: that ends nothing.
bool Agent::wants_arp_session(const GatewayPeer& gateway) const {
    return config_.arp.enabled &&
           (can_ask(peers_[gateway.peer]) ||
            (has_arp_session(gateway) &&
             resolves_neighbours(netlink_.topology(), gateway.gateway.device)));
}

std::vector<Agent::ProbeSpec> Agent::gateway_probes(const GatewayPeer& gateway) const {
    auto probes = ip_probes(PeerKind::gateway, config_.icmp, config_.tcp);
    if (wants_arp_session(gateway)) {
        probes.push_back(
            {{ProbeKind::arp, PeerKind::gateway, config_.arp.interval, config_.arp.timeout}});
    }
    return probes;
}

void Agent::follow_gateway_probes(const Instant& now) {
    for (const GatewayPeer& each : gateways_) {
        if (has_arp_session(each) != wants_arp_session(each)) {
            set_probes(each.peer, gateway_probes(each), now);
        }
    }
}

/// To the host's own MAC for it alone only while that answers: it may be wrong, as after another
/// router took the address over in silence.
void Agent::ask_gateway(Peer& gateway,
                        const SendOrder& order,
                        const Instant& now,
                        Actions& actions) {
    PeerExtras& extras = *gateway.extras;
    if (!can_ask(gateway)) {
        extras.neighbour_until = std::min(extras.neighbour_until, now.mono + arp_evidence_time);
        engine_.on_skipped(order, SkipReason::busy);
        return update_verdict(gateway, now);  // without this way, once it is too long ago
    }
    if (now.mono < extras.neighbour_until) {
        extras.neighbour_until = mono_never;
    }
    NeighbourTarget target = *extras.neighbour;
    if (!order.in_burst && engine_.reach_state(order.token.session) == Reachability::up) {
        target.mac = known_mac(netlink_.topology(), target);
    }
    actions.neighbour_requests.push_back({order, target});
}

/// A way that was not tried yet says nothing, nor does an answer of long ago.
bool Agent::is_evidence(const Peer& peer, std::uint32_t session, const Instant& now) const {
    if (peer.identity->kind() != PeerKind::gateway ||
        peers_.place_of(session).kind != ProbeKind::arp) {
        return true;
    }
    return engine_.asked(session) && now.mono < peer.extras->neighbour_until;
}

/// Whoever answers for the gateway's address is the gateway: routers hand it on (VRRP).
void Agent::on_gateway_heard(const NeighbourHeard& event, const Instant& now) {
    for (const GatewayPeer& each : gateways_) {
        Peer& peer = peers_[each.peer];
        const auto& target = peer.extras->neighbour;
        if (!target || target->device != event.port || !is_answer_to(*target, event.frame)) {
            continue;
        }
        // The kernel asks in the same words. What answers none of our questions answers its own,
        // and is neither late nor a duplicate.
        const auto session = peers_.session_of(each.peer, ProbeKind::arp);
        if (session == no_session || !engine_.awaits_answer(session, now.mono)) {
            return;
        }
        engine_.on_unnumbered_answer(session, event.received, now);
        if (std::exchange(peer.extras->neighbour_until, mono_never) != mono_never) {
            update_verdict(peer, now);  // it counts again
        }
        return;
    }
}

void Agent::on_gateway_overflow(const NeighbourOverflowed& event) {
    for (const GatewayPeer& each : gateways_) {
        const auto& target = peers_[each.peer].extras->neighbour;
        const auto session = peers_.session_of(each.peer, ProbeKind::arp);
        if (session != no_session && target && target->device == event.port &&
            target->use == event.use) {
            engine_.on_receive_overflow_of(session);
        }
    }
}

}  // namespace reachd
