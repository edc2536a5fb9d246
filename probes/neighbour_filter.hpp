// The kernel-side filter of the sockets that listen on guests' ports, as classic BPF: ARP,
// neighbour discovery, DHCP. All other traffic of the guest is dropped unread, after as few
// instructions as may be: each of its packets pays for them. Lets through more than is believed
// later: neighbour_packet looks closer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <linux/filter.h>

namespace reachd {

/// Longer ones are dropped: neighbours have no use for them, and a few of the giants that a guest
/// can make would fill a receive buffer. Ethernet header included.
inline constexpr std::size_t neighbour_frame_bytes_max = 1600;

/// How frames of the guest pass its port: what a guest behind a tap or a veth sends comes in there;
/// a macvtap sends it out itself, and what comes in is the rest of the network.
enum class GuestSide : std::uint8_t { incoming, outgoing };

/// For a packet socket of type SOCK_RAW (data begins with the Ethernet header). A VLAN tag may be
/// in the frame; the kernel mostly keeps the outer one apart, where it is not seen here.
std::vector<sock_filter> neighbour_filter(GuestSide side = GuestSide::incoming);

}  // namespace reachd
