// Counts what could not be read, by source and reason, so that a thousand refusals are one line.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "agent/guest_identity.hpp"

namespace reachd {

/// Sources are few and fixed, reasons as many as the kernel has errors.
class GapCollector {
  public:
    void add(std::string_view source, std::string_view reason) {
        const auto known = std::find_if(gaps_.begin(), gaps_.end(), [&](const NameGap& gap) {
            return gap.source == source && gap.reason == reason;
        });
        if (known == gaps_.end()) {
            gaps_.push_back({std::string(source), std::string(reason), 1});
        } else {
            ++known->count;
        }
    }

    /// What was not there, or went away meanwhile, is no gap.
    void add(std::string_view source, const std::error_code& error) {
        if (error != std::errc::no_such_file_or_directory && error != std::errc::no_such_process) {
            add(source, error.message());
        }
    }

    std::vector<NameGap> take() { return std::move(gaps_); }

  private:
    std::vector<NameGap> gaps_;
};

}  // namespace reachd
