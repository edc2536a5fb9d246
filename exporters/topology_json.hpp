// The answer to GET /api/v1/topology: the network of the host as the agent knows it, in one JSON
// object. Made link by link, so that only its text is ever held. Judges nothing.
//
// Times are RFC 3339, UTC, with milliseconds; units are in the names; null means not known, or that
// there is none.
//   sequence, time, host   of the snapshot; host: its name
//   synced                 the first full reading of the kernel's tables is in
//   links                  by ascending index:
//     index, generation      identity: the kernel gives an index out again, never a generation
//     name                   safe text, not always unique for an instant
//     kind                   as the label of reachd_interface_info: physical, bridge, veth, tap, …
//     link_kind              the same in finer words: loopback, macvlan, tun, dummy, team, …
//     driver, speed_bits_per_second   of a NIC, or null
//     mac                    "52:54:00:12:34:56", or null
//     mtu_bytes
//     admin_up, up, carrier  switched on; on and operational state up or unknown; signal
//     oper_state             unknown, not_present, down, lower_layer_down, testing, dormant, up
//     master                 name of the bridge, bond, team or VRF it belongs to, or null
//     port                   of a bridge: state (disabled, listening, learning, forwarding,
//                            blocking) and isolated; or null
//     lower                  name of the device below, or of the other end of a veth, where that is
//                            in this namespace; else null
//     lower_index            its index in its own namespace, or null
//     lower_namespace        the number of its namespace, or null for this one
//     vlan_id, vni, bond_mode   for a VLAN; a VXLAN or Geneve tunnel; a bond. Absent for others
//     bridge                 stp, vlan_filtering, forward_delay_seconds, default_pvid (0: none);
//                            null for others
//     vlans                  that it lets pass as a port: first, last, pvid, untagged
//     addresses              "10.0.0.1/24"
//     virtual_functions      of a physical function: number, mac or null, vlan or null, link_policy
//                            (auto, enable, disable), spoof_check, trusted
//     guest                  behind this port: name, vm (null where not known), state as in
//                            /api/v1/guests, addresses (address, state, rtt_seconds of the last
//                            answer; state is null where it is not probed); or null
//     carrier_changes        since the link appeared
//     receive_errors, transmit_errors, receive_drops, transmit_drops   null until read
//   links_omitted          links left out because the answer became too long
//   default_gateways       best first: address (with its zone where link-local), device, metric
//   routes                 ipv4, ipv6: routes of the main table, or null
//   neighbours, fdb_entries   how many, or null
#pragma once

#include <cstddef>
#include <string>

#include "common/snapshot.hpp"

namespace reachd {

/// No further link is written once the text is this long. 10,000 links take about 7 MB; only many
/// thousand ports with thousands of separate VLANs each come here.
inline constexpr std::size_t topology_json_bytes_max = std::size_t{64} * 1024 * 1024;

std::string topology_json(const Snapshot& snapshot,
                          std::size_t bytes_max = topology_json_bytes_max);

}  // namespace reachd
