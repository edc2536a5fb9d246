// How `reachctl peers` looks: a table, what is ill first, most of what is well only counted.
#pragma once

#include <string>
#include <vector>

#include "agent/ctl/list_rows.hpp"
#include "agent/ctl/peers_report.hpp"
#include "agent/ctl/status_text.hpp"
#include "agent/ctl/terminal.hpp"
#include "common/result.hpp"

namespace reachd::ctl {

/// `words`: names or addresses of peers, or globs; none: all. With words all that they mean is
/// shown. An error is a line for people about a word that means no peer.
Result<ListText, std::string> peers_text(const PeersReport& report,
                                         const std::vector<std::string>& words,
                                         const ViewOptions& view,
                                         const Terminal& terminal);

}  // namespace reachd::ctl
