// The kernel-side filters of the sockets that listen for neighbours, as classic BPF: on the port of
// a guest ARP, neighbour discovery and DHCP, on a device with a gateway the answers to ARP or
// neighbour discovery that go to one host. All other traffic is dropped unread, after as few
// instructions as may be: each packet pays for them. Lets through more than is believed later:
// neighbour_packet looks closer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <linux/filter.h>

#include "probes/port_use.hpp"

namespace reachd {

/// Longer ones are dropped: neighbours have no use for them, and a few of the giants that a guest
/// can make would fill a receive buffer. Ethernet header included.
inline constexpr std::size_t neighbour_frame_bytes_max = 1600;

/// For a packet socket of type SOCK_RAW (data begins with the Ethernet header). A VLAN tag may be
/// in the frame; the kernel mostly keeps the outer one apart, where it is not seen here.
std::vector<sock_filter> neighbour_filter(PortUse use = PortUse::guest);

}  // namespace reachd
