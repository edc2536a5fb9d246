// How `reachctl guests` looks: a table with a row for each address of a guest, what is ill first,
// most of what is well only counted.
#pragma once

#include <string>
#include <vector>

#include "agent/ctl/guests_report.hpp"
#include "agent/ctl/list_rows.hpp"
#include "agent/ctl/status_text.hpp"
#include "agent/ctl/terminal.hpp"
#include "common/result.hpp"

namespace reachd::ctl {

/// `words`: names of guests and their virtual machines, uuids, addresses, MAC addresses, ports or
/// bridges, or globs; none: all. With words all that they mean is shown. An error is a line for
/// people about a word that means no guest.
Result<ListText, std::string> guests_text(const GuestsReport& report,
                                          const std::vector<std::string>& words,
                                          const ViewOptions& view,
                                          const Terminal& terminal);

}  // namespace reachd::ctl
