// From the daemon's answer to what reachctl prints and its exit code. Pure: asks nobody, prints
// nothing.
#pragma once

#include <string>
#include <string_view>

#include "agent/ctl/command_line.hpp"
#include "agent/ctl/terminal.hpp"

namespace reachd::ctl {

inline constexpr int exit_well = 0;
inline constexpr int exit_ill = 1;    ///< the asked-for thing is unhealthy
inline constexpr int exit_usage = 2;  ///< wrong usage
inline constexpr int exit_no_daemon = 3;

struct Output {
    std::string text;   ///< for stdout
    std::string error;  ///< for stderr, one line without "reachctl: " and line feed; empty: none
    int exit_code = exit_well;
};

/// The page of the API that a command shows; empty: it asks no daemon.
std::string_view page_of(Command command);

/// What to show of an answer to GET page_of(command).
Output command_output(const Invocation& invocation,
                      unsigned status,
                      const std::string& body,
                      const Terminal& terminal);

/// What keeps this user out, and how to mend it. `group`: of the socket, empty where it cannot be
/// told; `user`: who is kept out.
std::string not_allowed_text(std::string_view socket,
                             std::string_view group,
                             std::string_view user);

}  // namespace reachd::ctl
