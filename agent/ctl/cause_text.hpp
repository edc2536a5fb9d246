// Why something does not answer, in the few words that a column has room for. Until a diagnosis
// tells causes, these are the reasons of lost probes and the sessions that are not answered.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agent/ctl/peers_report.hpp"

namespace reachd::ctl {

/// "no answer", "host unreachable", "neighbour failed"; empty for an empty reason.
std::string short_reason(std::string_view reason);

/// "tcp/443 refused, icmp no answer": the sessions that are down and should not be. One that was
/// never answered is not told, for many hosts ignore ICMP; a TCP port always, for somebody asked
/// for it.
std::string sessions_down(const std::vector<ProbeState>& probes);

}  // namespace reachd::ctl
