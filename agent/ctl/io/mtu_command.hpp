// `reachctl mtu`: finds the way, searches, and gives what is to be printed. The only thing it
// prints itself is the line that shows how far it is, on a terminal.
#pragma once

#include "agent/ctl/command_line.hpp"
#include "agent/ctl/command_output.hpp"
#include "agent/ctl/terminal.hpp"

namespace reachd::ctl {

Output run_mtu_command(const Invocation& invocation, const Terminal& terminal);

}  // namespace reachd::ctl
