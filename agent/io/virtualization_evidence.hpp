// Asks the processor, the firmware and the kernel what this host runs on. Judges nothing: that is
// agent/virtualization's business.
#pragma once

#include <filesystem>

#include "agent/virtualization.hpp"

namespace reachd {

/// Takes well below a millisecond and never fails: what cannot be read is empty. Files are looked
/// for under `root`; processor and environment are this process's own.
VirtualizationEvidence read_virtualization_evidence(const std::filesystem::path& root = "/");

}  // namespace reachd
