// The command line of reachctl as values: commands, options before or after them, words, and what
// is wrong with it, with the nearest right word. One table says which option belongs to which
// command; --help is written from it. Prints nothing and ends nothing.
//
// An own reader and not CLI11's: options stand on either side of the command, wrong usage has one
// exit code and one form, and all of it is tested without a process.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/ctl/terminal.hpp"
#include "common/result.hpp"

namespace reachd::ctl {

inline constexpr std::string_view default_control_socket = "/run/reachd/control.sock";

enum class Command : std::uint8_t { status, peers, guests, topology, mtu };

struct Invocation {
    std::optional<Command> command;  ///< nothing only with help or version
    bool help = false;
    bool version = false;
    bool json = false;
    bool quiet = false;
    bool all = false;
    bool no_legend = false;
    ColourWish colour = ColourWish::automatic;
    std::string socket{default_control_socket};
    std::vector<std::string> words;
    std::uint32_t expected_bytes = 0;  ///< of mtu; 0: what the device allows
    std::string source;                ///< of mtu: an address, not yet read; empty: any
    std::string device;                ///< of mtu: its name; empty: as the routes say
};

/// `arguments` without the program's name. An error is a line for people without "reachctl: ".
Result<Invocation, std::string> parse_command_line(const std::vector<std::string>& arguments);

/// What --help prints, of the whole or of one command.
std::string help_text(std::optional<Command> command);

/// "reachctl 0.1.0 (0123456789ab, gcc 12.2.0)".
std::string version_text(std::string_view version,
                         std::string_view revision,
                         std::string_view compiler);

}  // namespace reachd::ctl
