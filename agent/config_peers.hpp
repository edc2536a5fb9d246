// The peers of a configuration: one peer's keys, and what peers must not have in common. Also the
// labels, which peers share with the host; the probes' options are config_probes' matter.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "agent/config.hpp"
#include "agent/json_document.hpp"

namespace reachd {

/// Keys of thresholds that later versions serve, for all peers or for one.
inline constexpr std::array<std::string_view, 5> threshold_keys{
    "loss_ratio", "jitter", "latency_factor", "latency_floor", "reorder_ratio"};

/// Replaces `labels` by an object's members; at most labels_max.
void read_labels(JsonProblems& problems, const JsonValue& value, std::vector<Label>& labels);

/// Replaces config.peers. Needs config.icmp, .tcp, .mtu and .limits: all must have been read
/// before.
/// Takes O(n log n) for n peers, duplicates or not.
void read_peers(JsonProblems& problems, const JsonValue& value, Config& config);

}  // namespace reachd
