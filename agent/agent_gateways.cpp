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
    if (topology_followed_ && topology_revision_ == topology.revision()) {
        return;
    }
    topology_revision_ = topology.revision();
    topology_followed_ = true;
    resolve_devices(now);
    follow_gateways(now);
}

/// Whether both would have the same labels. Two devices have one name for a while when a message
/// about a rename was lost.
bool Agent::is_same_series(const Gateway& a, const Gateway& b) const {
    if (!a.address.is_link_local_v6() || !b.address.is_link_local_v6()) {
        return a.address == b.address;
    }
    const Topology& topology = netlink_.topology();
    return std::equal(
               a.address.bytes().begin(), a.address.bytes().end(), b.address.bytes().begin()) &&
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
        evict_guests(1);
        if (peers_.size() < config_.limits.peers) {
            add_gateway(gateway, now);
        } else {
            refused_gateways_.push_back(gateway);
            if (!contains(refused_before, gateway)) {
                count_refused(gateway);
            }
        }
    }
    for (const GatewayPeer& each : gateways_) {
        aim_at_gateway(each);
    }
    want_gateway_ports();
    follow_gateway_probes(now);
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
    const auto probes = gateway_probes(peer);
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
}

/// Sockets that were opened in the turn before can be used from now on.
void Agent::follow_gateway_ports(const Instant& now) {
    const bool had_failed = gateway_ports_.any_failed();
    if (!gateway_ports_.advance(now.mono)) {
        return;
    }
    follow_gateway_probes(now);
    if (had_failed && !gateway_ports_.any_failed()) {
        logs_.push_back({LogLevel::notice,
                         "gateways are asked by ARP and neighbour discovery again",
                         gateway_ports_open_message,
                         {}});
    }
}

void Agent::handle(const GatewayPortFailed& event, const Instant& now) {
    const bool first = !gateway_ports_.any_failed();
    gateway_ports_failed_ += gateway_ports_.on_failed(event.port, now.mono) ? 1U : 0U;
    const auto device = netlink_.topology().name_of(event.port.device);
    if (!first || device.empty()) {
        return;
    }
    logs_.push_back(
        {LogLevel::warning,
         fmt::format("gateways behind {} cannot be asked by {}: {}",
                     device,
                     event.port.use == PortUse::gateway_arp ? "ARP" : "neighbour discovery",
                     event.reason),
         gateway_port_failed_message,
         {}});
}

/// On its own link, too.
bool Agent::is_asked_by_arp(const Peer& gateway) const {
    const auto& target = gateway.extras->neighbour;
    return target && gateway_ports_.is_open({target->device, target->use});
}

std::vector<Agent::ProbeSpec> Agent::gateway_probes(const Peer& gateway) const {
    auto probes = ip_probes(PeerKind::gateway, config_.icmp, config_.tcp);
    if (is_asked_by_arp(gateway)) {
        probes.push_back(
            {{ProbeKind::arp, PeerKind::gateway, config_.arp.interval, config_.arp.timeout}});
    }
    return probes;
}

void Agent::follow_gateway_probes(const Instant& now) {
    for (const GatewayPeer& each : gateways_) {
        const bool asked = peers_.session_of(each.peer, ProbeKind::arp) != no_session;
        if (asked != is_asked_by_arp(peers_[each.peer])) {
            set_probes(each.peer, gateway_probes(peers_[each.peer]), now);
        }
    }
}

/// Whoever answers for the gateway's address is the gateway: routers hand it on (VRRP).
void Agent::on_gateway_heard(const NeighbourHeard& event, const Instant& now) {
    for (const GatewayPeer& each : gateways_) {
        const auto& target = peers_[each.peer].extras->neighbour;
        if (!target || target->device != event.port || !is_answer_to(*target, event.frame)) {
            continue;
        }
        // The kernel asks in the same words. What answers none of our questions answers its own,
        // and is neither late nor a duplicate.
        const auto session = peers_.session_of(each.peer, ProbeKind::arp);
        if (session != no_session && engine_.awaits_answer(session)) {
            engine_.on_unnumbered_answer(session, event.received, now);
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
