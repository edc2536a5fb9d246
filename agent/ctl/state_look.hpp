// The words for states in symbols and colours, and how ill each of them is. Knows no peer and no
// guest; a word of a newer daemon is shown as what it is, with the symbol of the unknown.
#pragma once

#include <cstdint>
#include <string_view>

#include "agent/ctl/terminal.hpp"

namespace reachd::ctl {

/// In the order in which tables show them: what is ill first, what is not known yet last.
enum class Health : std::uint8_t { down, doubtful, noted, well, unknown };

/// Of "down", "suspect", "degraded", "up"; anything else is unknown. Never `noted`: that is for
/// those that are up with something to tell.
Health health_of(std::string_view state);

std::string_view symbol_of(std::string_view state, const Terminal& terminal);

/// Plain for what is unknown.
Ink ink_of(std::string_view state);

}  // namespace reachd::ctl
