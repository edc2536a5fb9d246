// Readings of this process from /proc/self, for the process_* metrics. A reading that fails leaves
// its values out; it is never an error of the daemon.
#pragma once

#include <cstdint>
#include <optional>

#include "exporters/own_families.hpp"

namespace reachd {

class ProcessReader {
  public:
    /// Reads once what does not change: when the machine booted, page size, clock ticks.
    ProcessReader();

    ProcessSample read() const;

  private:
    std::optional<std::uint64_t> boot_time_;
    double ticks_per_second_;
    std::uint64_t page_bytes_;
};

}  // namespace reachd
