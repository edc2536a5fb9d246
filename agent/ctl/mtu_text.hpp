// `reachctl mtu` in words: the line while it goes on, then what was tried, the verdict, which way,
// and how to mend it. Pure.
#pragma once

#include <string>

#include "agent/ctl/mtu_report.hpp"
#include "agent/ctl/mtu_trace.hpp"
#include "agent/ctl/status_text.hpp"
#include "agent/ctl/terminal.hpp"
#include "common/time.hpp"

namespace reachd::ctl {

/// `view.all`: every size that was tried. `view.legend`: the line that says from where to where.
std::string mtu_text(const MtuReport& report, const ViewOptions& view, const Terminal& terminal);

/// What is known so far, in one line without a line feed that fits the terminal.
std::string mtu_progress_text(const MtuTrace& trace, Duration elapsed, const Terminal& terminal);

}  // namespace reachd::ctl
