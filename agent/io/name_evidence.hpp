// All that names of guests may come from, read in one go. Owns only the order.
#pragma once

#include <atomic>
#include <filesystem>

#include "agent/guest_identity.hpp"

namespace reachd {

/// Blocks: some milliseconds for hundreds of machines, at most a few seconds (see
/// name_scan_time_max). Never to be called on a loop; safe on any thread. Once `stop` is set it
/// ends at the next file, with what there is by then.
NameEvidence read_name_evidence(const std::atomic<bool>& stop,
                                const std::filesystem::path& root = "/");

}  // namespace reachd
