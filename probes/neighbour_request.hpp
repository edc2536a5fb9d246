// One question to a neighbour on its own link, to be sent now: ARP (RFC 826) for IPv4, a Neighbor
// Solicitation (RFC 4861, section 4.3) for IPv6. A guest is asked unicast, at an address that was
// seen in use, out of its own port; a gateway as the kernel itself would ask it.
#pragma once

#include <optional>

#include "common/address.hpp"
#include "common/mac_address.hpp"
#include "probes/port_use.hpp"
#include "probes/probe_engine.hpp"

namespace reachd {

struct NeighbourTarget {
    IfIndex device = IfIndex::any;  ///< where the frame goes out
    IpAddress address;              ///< asked for
    /// The frame goes to it alone; none: to everybody on the link, or to the address's group.
    std::optional<MacAddress> mac{};
    MacAddress sender_mac;  ///< where the answer goes: an address of this host
    /// IPv4: unspecified is an ARP probe (RFC 5227, section 1.1). IPv6: never unspecified, lest the
    /// question look like a claim of the address (RFC 4862, section 5.4.3).
    IpAddress sender;
    PortUse use = PortUse::guest;  ///< whose socket on the device sends it

    friend bool operator==(const NeighbourTarget&, const NeighbourTarget&) = default;
};

struct NeighbourRequest {
    SendOrder order;
    NeighbourTarget target;
};

}  // namespace reachd
