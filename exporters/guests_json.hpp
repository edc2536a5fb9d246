// The answer to GET /api/v1/guests: what is behind the ports of this host, its addresses and how
// each of them answers, in one JSON object. Reads a snapshot and nothing else; filters and sorts
// nothing. The counters of its probes are those of /api/v1/peers.
//
// Times are RFC 3339, UTC, with milliseconds; units are in the names; null means not known, or
// none.
//   sequence, time, host    number of the snapshot, when it was taken, name of this host
//   guests                  by ascending index of their port:
//     name                  label `peer` of its series; null while it is not decided
//     vm, uuid              of a virtual machine
//     port_index, device    interface index and name of the port on this host
//     bridge                that the port is in
//     kind                  of the port: tap, veth, macvtap or physical (a representor)
//     state                 up where one of its addresses is, else suspect, else down, else unknown
//     since                 up: since the first of them is, down: since the last one is
//     macs                  array: learnt behind the port, or told by the virtual machine
//     addresses             array:
//       mac, address        address with its zone where it is link-local
//       how                 it was learnt: arp, neighbour, dhcp, host_table or run_time_file
//       first_seen, last_seen
//       state, since        of the peer that is probed there; state is null where there is none
//       reason              the most frequent one of its lost probes
//       not_probed          why it is not probed (yet), in words
//       probes              array: probe (icmp, tcp or arp), port (of TCP), state, rtt_seconds
//                           (of the last answer; null unless it is up), reason (the most
//                           frequent one of its failures, of those lost or refused)
//   guests_omitted          guests that did not fit
#pragma once

#include <cstddef>
#include <string>

#include "common/snapshot.hpp"

namespace reachd {

/// No further guest is written once the text is this long. 2000 guests take about 1.5 MB.
inline constexpr std::size_t guests_json_bytes_max = std::size_t{64} * 1024 * 1024;

std::string guests_json(const Snapshot& snapshot, std::size_t bytes_max = guests_json_bytes_max);

}  // namespace reachd
