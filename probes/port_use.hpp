// What a packet socket on a device is for: which neighbours are heard through it. Opens none.
#pragma once

#include <compare>
#include <cstdint>

#include "common/address.hpp"

namespace reachd {

enum class PortUse : std::uint8_t {
    guest,          ///< behind a tap or a veth: what the guest sends comes in there
    macvtap_guest,  ///< what the guest sends goes out; what comes in is the rest of the network
    gateway_arp,    ///< answers to our ARP requests on a device that leads to a gateway
    gateway_nd,     ///< answers to our solicitations there
};

constexpr bool is_for_gateways(PortUse use) {
    return use == PortUse::gateway_arp || use == PortUse::gateway_nd;
}

struct NeighbourPort {
    IfIndex device = IfIndex::any;
    PortUse use = PortUse::guest;

    friend auto operator<=>(const NeighbourPort&, const NeighbourPort&) = default;
};

}  // namespace reachd
