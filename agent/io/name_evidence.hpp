// All that names of guests may come from, read in one go. Owns only the order.
#pragma once

#include <filesystem>

#include "agent/guest_identity.hpp"

namespace reachd {

/// Blocks: some milliseconds for hundreds of machines, at most a few seconds (see
/// process_table_time_max). Never to be called on a loop; safe on any thread.
NameEvidence read_name_evidence(const std::filesystem::path& root = "/");

}  // namespace reachd
