// How `reachctl status` looks: the verdict, what is ill, and what is well in numbers. The verdict
// is the daemon's; here it is only put into words.
#pragma once

#include <string>

#include "agent/ctl/status_report.hpp"
#include "agent/ctl/terminal.hpp"

namespace reachd::ctl {

struct ViewOptions {
    bool all = false;    ///< also what is well, or of no interest most of the time
    bool legend = true;  ///< headers and footers; the verdict is neither
};

/// The daemon calls a host healthy that everything answers; what else is known to be wrong counts
/// here as well.
bool is_well(const StatusReport& report);

std::string status_text(const StatusReport& report,
                        const ViewOptions& view,
                        const Terminal& terminal);

}  // namespace reachd::ctl
