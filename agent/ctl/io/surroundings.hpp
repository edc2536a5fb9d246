// What this process finds around it: the terminal behind stdout, its width, the locale's character
// set, the wishes in the environment. Decides only by way of agent/ctl/terminal.
#pragma once

#include "agent/ctl/terminal.hpp"

namespace reachd::ctl {

/// Asks TIOCGWINSZ, then $COLUMNS, then takes 80. Sets the locale's LC_CTYPE, and nothing else of
/// it.
Terminal terminal_of_stdout(ColourWish wish);

}  // namespace reachd::ctl
