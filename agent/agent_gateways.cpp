#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "agent/agent.hpp"

namespace reachd {
namespace {

/// systemd's MESSAGE_ID, never to be changed.
constexpr std::string_view gateways_refused_message = "a4be9a1c35df4c0ab0a2f4a63f1f0d77";

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

void Agent::resolve_devices() {
    for (std::uint32_t id = 0; id < peers_.places(); ++id) {
        if (peers_[id].extras) {
            resolve_device(peers_[id]);
            peers_.touch_addresses();
        }
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
    if (peers_.any_extras()) {
        resolve_devices();
    }
    if (config_.discover_gateways) {
        follow_gateways(now);
    }
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
    follow_guests_anew();  // no guest may have the same series
    const auto probes = ip_probes(PeerKind::gateway, config_.icmp, config_.tcp);
    gateways_.push_back({gateway, add_peer(std::move(peer), config_.icmp, probes, now)});
}

}  // namespace reachd
