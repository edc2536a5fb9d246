// The answer to GET /api/v1/status: how the host, its peers, its guests, its topology and the agent
// itself are, in one JSON object of bounded size. Reads a snapshot and nothing else; decides what
// "healthy" means, and lists what is not.
//
// Times are RFC 3339, UTC, with milliseconds; units are in the names; null means not known.
//   sequence    number of the snapshot; rises with each one of a run
//   time        when the snapshot was taken
//   host        name; role: physical, hypervisor or guest; virtualization: what the host runs on
//               (none, kvm, vmware, …) or null; labels: object of the operator's labels
//   healthy     whether no peer is down
//   peers       total, and of these by state: up, suspect, down, unknown
//     rtt_median_seconds   of the last answers of probes of peers that are up, or null
//     worst                the slowest of these: peer, address, rtt_seconds; or null
//     unreachable          the peers that are down, at most 100, in their order of configuration:
//                          peer, address, kind (host, gateway, guest), since: time of the verdict,
//                          reason: the most frequent one of its lost probes, or null
//   guests      total, and of these by state, as in /api/v1/guests: up, suspect, down, unknown
//     without_address      those of unknown state of which no address is known
//     bridges              by name, at most 100: bridge (null: in none), total, up
//     ill                  those that are down, then those without an address, at most 100: guest
//                          (name, else MAC, else device), device, bridge, state,
//                          since, addresses: how many are known
//   topology    synced: the first full reading of the kernel's tables is in
//     interfaces           number of network interfaces, or null
//     last_sync            time of the last full reading, or null
//     overruns, resyncs    as reachd_netlink_overruns_total and reachd_netlink_resyncs_total
//     last_change          time, device and text ("joined bridge br0"), or null
//   path_mtu    peers: those of which a size is expected; of these as_expected, mismatched,
//               undetermined
//   mtu_inconsistencies    devices of this host whose MTUs do not fit, at most 100, those that lose
//                          traffic first:
//     conflict             port_above_uplink, port_above_bridge, bridge_above_uplink, veth_ends,
//                          overlay_above_underlay, or port_below_uplink, which loses none by
//                          itself
//     bridge               or null: in none
//     larger, smaller      names; null where a device is gone by now
//     larger_bytes         MTU of the larger; smaller_bytes: what fits the smaller one,
//                          encapsulation subtracted
//     devices              how many do not fit; `larger` is the largest of them, except for
//                          port_below_uplink: there `smaller` is the smallest of them
//   agent       version, revision; started: when; uptime_seconds
//     cpu_ratio                mean share of one processor since the start, or null
//     resident_memory_bytes    or null
//     probes_on_time_ratio     share of probes sent at most 20 ms after their due time, or null
//     skipped_probes           due probes not sent: rate limit, throttle, busy
//     throttle_ratio           share of the configured rate that is being sent
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/snapshot.hpp"
#include "common/time.hpp"

namespace reachd {

/// What the status shows of the process itself; nothing where it could not be read.
struct AgentFigures {
    std::string_view version{};
    std::string_view revision{};
    std::optional<double> cpu_seconds{};  ///< user and system, since the start
    std::optional<std::uint64_t> resident_memory_bytes{};
};

/// Peers that `unreachable` lists at most; peers.down counts all of them.
inline constexpr std::size_t status_unreachable_max = 100;

/// Bridges, guests that are not well, and devices that do not fit, that are listed at most.
inline constexpr std::size_t status_bridges_max = 100;
inline constexpr std::size_t status_guests_max = 100;
inline constexpr std::size_t status_inconsistencies_max = 100;

/// A probe sent at most this much after its due time is on time.
inline constexpr Duration status_on_time = std::chrono::milliseconds(20);

std::string status_json(const Snapshot& snapshot, const AgentFigures& agent);

}  // namespace reachd
