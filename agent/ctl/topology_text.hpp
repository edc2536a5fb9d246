// How `reachctl topology` looks: one line a device, symbol, name and what matters about it. Which
// device stands where is topology_tree's.
#pragma once

#include <string>
#include <vector>

#include "agent/ctl/status_text.hpp"
#include "agent/ctl/terminal.hpp"
#include "agent/ctl/topology_report.hpp"
#include "common/result.hpp"

namespace reachd::ctl {

/// `words`: names or globs of devices or guests; none: the whole tree. An error is a line for
/// people about a word that means no device.
Result<std::string, std::string> topology_text(const TopologyReport& report,
                                               const std::vector<std::string>& words,
                                               const ViewOptions& view,
                                               const Terminal& terminal);

}  // namespace reachd::ctl
