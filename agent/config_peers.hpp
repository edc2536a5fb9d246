// The peers of a configuration: one peer's keys, and what peers must not have in common. Also the
// two things that peers share with other sections: labels, and options of ICMP probes.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "agent/config.hpp"
#include "agent/json_document.hpp"

namespace reachd {

/// Keys of probe kinds and thresholds that later versions serve, for all peers or for one.
inline constexpr std::array<std::string_view, 3> tcp_keys{"interval", "timeout", "ports"};
inline constexpr std::array<std::string_view, 3> arp_keys{"interval", "timeout", "sender"};
inline constexpr std::array<std::string_view, 4> mtu_keys{
    "enabled", "interval", "timeout", "expected_bytes"};
inline constexpr std::array<std::string_view, 5> threshold_keys{
    "loss_ratio", "jitter", "latency_factor", "latency_floor", "reorder_ratio"};

/// Replaces `labels` by an object's members; at most labels_max.
void read_labels(JsonProblems& problems, const JsonValue& value, std::vector<Label>& labels);

/// Applies an object of changes to `options`; checks the whole afterwards.
void read_icmp(JsonProblems& problems, const JsonValue& value, IcmpOptions& options);

/// Replaces config.peers. Needs config.icmp and config.limits: both must have been read before.
/// Takes O(n log n) for n peers, duplicates or not.
void read_peers(JsonProblems& problems, const JsonValue& value, Config& config);

}  // namespace reachd
