// How a default gateway is asked on its own link: as the kernel itself would ask it, and only where
// the kernel would. Reads the topology, remembers and sends nothing.
#pragma once

#include <optional>

#include "agent/topology.hpp"
#include "probes/neighbour_request.hpp"

namespace reachd {

/// Whether neighbours on this device are resolved to Ethernet addresses, and it has one itself.
bool resolves_neighbours(const Topology& topology, IfIndex device);

/// By ARP or neighbour discovery out of its device; without a MAC to send it to, see known_mac().
/// Nothing: see resolves_neighbours(); or the host has no address there that it may ask from, or
/// has the gateway's address itself.
///
/// The question comes from an address of the host: an ARP probe, from 0.0.0.0, would look like a
/// claim of the gateway's own address. For IPv6 it is a link-local one, which every router has a
/// way back to; else, as for IPv4, one whose network the gateway is in, if there is one.
std::optional<NeighbourTarget> aim_at_gateway(const Topology& topology, const Gateway& gateway);

/// Where the host itself sends to now; nothing: it does not know either, and everybody on the link
/// must be asked.
std::optional<MacAddress> known_mac(const Topology& topology, const NeighbourTarget& target);

}  // namespace reachd
