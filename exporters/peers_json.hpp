// The answer to GET /api/v1/peers: every peer with all its probe sessions, in one JSON object.
// Reads a snapshot and nothing else; filters and sorts nothing.
//
// Times are RFC 3339, UTC, with milliseconds; units are in the names; null means not known, or
// none.
//   sequence, time, host    number of the snapshot, when it was taken, name of this host
//   peers                   in their order of configuration, then as they were found:
//     name, address         labels of its series; address is null while a name is not resolved
//     kind                  host, gateway or guest
//     state                 up, suspect, down or unknown; since: time of the last verdict
//     rtt_seconds           of the last answer; rtt_p99_seconds, loss_ratio: as those of a probe.
//                           All three are those of the session that tells most about the peer: the
//                           first that is answered of icmp, arp, tcp
//     reason                the most frequent one of its lost probes
//     mtu                   null where no size is expected; sizes are those of whole IP packets:
//       expected_bytes      configured, or the MTU of the outgoing interface
//       bytes               largest packet that passes there and back; null while undetermined
//       verdict             ok, signalled, black_hole, local, peer_egress or undetermined
//       direction           in which larger ones do not pass: none, forward, reverse, both, unknown
//       reporter            address of who signalled that packets are too big, or null
//       reporter_mtu_bytes  the MTU that it told, or null
//       device              the smaller one of this host, where the verdict is local, or null
//       largest_fragment_bytes    of the peer's answers to large packets; null: they came whole
//     probes                one for each session:
//       probe               icmp, tcp or arp (ARP or IPv6 neighbour discovery); port: of TCP
//       state               of this session
//       sent, received, lost, late, duplicates, reordered    as the metrics
//       loss_ratio          lost ones of those that ended, since the session began
//       rtt_seconds         of the last answer; null unless it is up
//       rtt_median_seconds, rtt_p99_seconds    of all answers, estimated from the buckets
//       jitter_seconds      smoothed (RFC 3550, section 6.4.1)
//       syn_retransmits     of TCP, else null
//       reason              the most frequent one of its failures, of those lost or refused
//       failures            object: number of failures by reason, only of those that occurred
//     source, device        configured, or the gateway's; device of a guest: its port
//     bridge, vm            of a guest
//     labels                object of the operator's own labels
//   peers_omitted           peers that did not fit
#pragma once

#include <cstddef>
#include <string>

#include "common/snapshot.hpp"

namespace reachd {

/// No further peer is written once the text is this long. 20,000 peers with two sessions each take
/// about 20 MB.
inline constexpr std::size_t peers_json_bytes_max = std::size_t{64} * 1024 * 1024;

std::string peers_json(const Snapshot& snapshot, std::size_t bytes_max = peers_json_bytes_max);

}  // namespace reachd
