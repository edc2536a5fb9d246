#include "agent/gateway_aim.hpp"

#include <algorithm>
#include <tuple>

#include <linux/if_addr.h>
#include <linux/if_arp.h>

#include "agent/guest_address_rules.hpp"

namespace reachd {
namespace {

/// Its own by now: nobody else has it, as far as is known. Our questions carry the host's MAC,
/// which those from an optimistic address must not (RFC 4429, section 3.3).
bool is_usable(const InterfaceAddress& own, Family family) {
    constexpr std::uint32_t unchecked = IFA_F_TENTATIVE | IFA_F_OPTIMISTIC | IFA_F_DADFAILED;
    return own.address.family() == family && (own.flags & unchecked) == 0 &&
           !own.address.is_loopback();
}

/// Less is better.
auto rank(const InterfaceAddress& own, const IpAddress& gateway) {
    const bool second_choice = (own.flags & (IFA_F_SECONDARY | IFA_F_DEPRECATED)) != 0;
    return std::tuple(!own.address.is_link_local_v6(), !in_prefix(gateway, own), second_choice);
}

std::optional<IpAddress> sender_for(const Topology& topology, const Gateway& gateway) {
    std::optional<InterfaceAddress> best;
    for (const InterfaceAddress& own : topology.addresses_of(gateway.device)) {
        if (own.address == gateway.address) {
            return std::nullopt;
        }
        const bool better = !best || rank(own, gateway.address) < rank(*best, gateway.address);
        if (is_usable(own, gateway.address.family()) && better) {
            best = own;
        }
    }
    return best ? std::optional(best->address) : std::nullopt;
}

}  // namespace

bool resolves_neighbours(const Topology& topology, IfIndex device) {
    const auto link = topology.link(device);
    return link && link->resolves && link->hardware_type == ARPHRD_ETHER && link->mac &&
           link->mac->is_station();
}

std::optional<NeighbourTarget> aim_at_gateway(const Topology& topology, const Gateway& gateway) {
    if (!resolves_neighbours(topology, gateway.device)) {
        return std::nullopt;
    }
    auto sender = sender_for(topology, gateway);
    if (!sender) {
        return std::nullopt;
    }
    sender->set_scope(IfIndex::any);  // as in a frame, which carries none
    const bool v4 = gateway.address.family() == Family::ipv4;
    return NeighbourTarget{gateway.device,
                           gateway.address,
                           std::nullopt,
                           *topology.link(gateway.device)->mac,
                           *sender,
                           v4 ? PortUse::gateway_arp : PortUse::gateway_nd};
}

std::optional<MacAddress> known_mac(const Topology& topology, const NeighbourTarget& target) {
    const auto known = topology.neighbour(target.device, target.address);
    // That of a cluster may be a group, which no question can be sent to alone.
    return known && known->mac && known->mac->is_station() ? known->mac : std::nullopt;
}

}  // namespace reachd
