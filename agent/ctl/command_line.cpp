#include "agent/ctl/command_line.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "common/log_text.hpp"
#include "common/nearest.hpp"
#include "common/path_mtu.hpp"

namespace reachd::ctl {
namespace {

using Parsed = Result<Invocation, std::string>;

struct CommandRow {
    std::string_view name;
    Command command;
    std::string_view arguments;  ///< as help shows them; empty: it takes none
    std::string_view purpose;
    std::string_view help;
    std::string_view exit_codes;
};

constexpr std::string_view usual_exit_codes =
    "Exit codes: 0 well; 1 what was asked for is unhealthy; 2 wrong usage;\n"
    "3 no daemon to talk to. Errors go to stderr.\n";

constexpr std::array commands{
    CommandRow{"status",
               Command::status,
               "",
               "how this host and its peers are, on one screen",
               "Shows the verdict on this host, every peer that cannot be reached, since when\n"
               "and why, and in numbers what is well. Exit code 1 when a peer is unreachable.\n"
               "\n"
               "Examples:\n"
               "  reachctl status\n"
               "  reachctl status --quiet || echo 'see reachctl status'\n"
               "  reachctl status --json | jq .peers.unreachable\n",
               usual_exit_codes},
    CommandRow{"peers",
               Command::peers,
               "[PEER...]",
               "who is probed, and how each answers",
               "Shows every peer that is not well first, then some of those that are, and counts\n"
               "the rest. PEER is a name, an address, or a pattern such as 'db*', and shows all\n"
               "that it means. RTT, P99 and LOSS are those of the first probe that is answered\n"
               "of icmp, arp, tcp: of its last answer, of all answers, of all probes since it\n"
               "began. Exit code 1 when one of the peers that were asked for is down.\n"
               "\n"
               "Examples:\n"
               "  reachctl peers\n"
               "  reachctl peers db1 'web*'\n"
               "  reachctl peers --json | jq -r '.peers[] | select(.state != \"up\") | .name'\n",
               usual_exit_codes},
    CommandRow{"guests",
               Command::guests,
               "[GUEST...]",
               "virtual machines and containers of this host",
               "Shows what is behind the ports of this host's bridges, and how each of its\n"
               "addresses answers: those that are not well first, then some of the others.\n"
               "GUEST is a name, uuid, address, MAC address, port or bridge, or a pattern such\n"
               "as '10.77.*'. ARP stands for ARP and IPv6 neighbour discovery; --all also shows\n"
               "addresses that are known and not probed. Exit code 1 when one that was asked\n"
               "for is down.\n"
               "\n"
               "Examples:\n"
               "  reachctl guests\n"
               "  reachctl guests web01 br1\n"
               "  reachctl guests --json | jq '.guests[] | {name, device, state}'\n",
               usual_exit_codes},
    CommandRow{"topology",
               Command::topology,
               "[DEVICE...]",
               "the network devices of this host as a tree",
               "Shows NICs, bonds, bridges, their ports and the devices of guests: what hangs\n"
               "on what, its state, speed, addresses, MTU and MAC; beside a port its guest.\n"
               "DEVICE is a name, also of a guest, or a pattern such as 'vnet*', and leaves the\n"
               "branches with it. Two names in one line are the ends of a veth pair.\n"
               "\n"
               "Examples:\n"
               "  reachctl topology\n"
               "  reachctl topology br0 'vnet1*'\n"
               "  reachctl topology --json | jq -r '.links[] | select(.up | not) | .name'\n",
               usual_exit_codes},
    CommandRow{"mtu",
               Command::mtu,
               "ADDRESS",
               "the largest packet that gets to an address and back",
               "Searches, once, for the path MTU to an address or host name, and says which way\n"
               "larger packets do not pass, and whether somebody says so. Sizes are those of\n"
               "whole IP packets. It sends by itself and needs no daemon: as root, with\n"
               "CAP_NET_RAW, or as a group in net.ipv4.ping_group_range, though then which way\n"
               "it fails may stay unknown. It costs up to 1 MB/s for some seconds.\n"
               "\n"
               "Examples:\n"
               "  reachctl mtu db1\n"
               "  reachctl mtu 10.77.0.21 --expected 9000\n"
               "  reachctl mtu fd77::21 --device br0 --json | jq .mtu.bytes\n",
               "Exit codes: 0 as expected; 1 not as expected, or nothing answers; 2 wrong usage\n"
               "or an unknown name; 3 no permission to ask. Errors go to stderr.\n"},
};

// Of INTERFACE.md, and not here yet.
constexpr std::array<std::string_view, 6> later_commands{
    "faults", "watch", "reload", "ping", "diagnose", "check-config"};

enum class Option : std::uint8_t {
    all,
    color,
    device,
    expected,
    help,
    json,
    no_legend,
    quiet,
    socket,
    source,
    version,
};

struct OptionRow {
    std::string_view name;
    Option option;
    std::string_view value;       ///< as help shows it; empty: it takes none
    std::optional<Command> only;  ///< the one command that takes it; nothing: all do
    std::string_view help;

    bool fits(std::optional<Command> command) const { return !only || only == command; }
};

constexpr std::array options{
    OptionRow{"--all", Option::all, "", std::nullopt, "also what is well or of little interest"},
    OptionRow{"--no-legend", Option::no_legend, "", std::nullopt, "without header and footer"},
    OptionRow{"--quiet", Option::quiet, "", Command::status, "only the exit code"},
    OptionRow{"--expected", Option::expected, "BYTES", Command::mtu, "as 9000, not the device's"},
    OptionRow{"--source", Option::source, "ADDR", Command::mtu, "send from this address"},
    OptionRow{"--device", Option::device, "NAME", Command::mtu, "send by this device"},
    OptionRow{
        "--json", Option::json, "", std::nullopt, "for programs: all there is, as one object"},
    OptionRow{"--color", Option::color, "WHEN", std::nullopt, "auto (default), always or never"},
    OptionRow{"--socket", Option::socket, "PATH", std::nullopt, "control socket of the daemon"},
    OptionRow{"--help", Option::help, "", std::nullopt, "this text; after a command, about it"},
    OptionRow{"--version", Option::version, "", std::nullopt, "version of this program"},
};

const CommandRow& row_of(Command command) {
    return *std::find_if(commands.begin(), commands.end(), [command](const CommandRow& row) {
        return row.command == command;
    });
}

/// Said in so many words: a text could also be taken for the start of an Invocation.
Parsed failed(std::string why) {
    return {boost::system::in_place_error, std::move(why)};
}

std::string did_you_mean(const std::string& near) {
    return near.empty() ? std::string("; see reachctl --help")
                        : fmt::format("; did you mean {}?", near);
}

std::string unknown_command(const std::string& word) {
    if (std::find(later_commands.begin(), later_commands.end(), word) != later_commands.end()) {
        return word + ": not available in this version; see reachctl --help";
    }
    std::vector<std::string_view> names;
    names.reserve(commands.size());
    for (const CommandRow& row : commands) {
        names.push_back(row.name);
    }
    return fmt::format("no command '{}'{}", printable(word), did_you_mean(nearest(word, names)));
}

std::string unknown_option(const std::string& name) {
    std::vector<std::string_view> names;
    names.reserve(options.size());
    for (const OptionRow& row : options) {
        names.push_back(row.name);
    }
    return fmt::format("no option '{}'{}", printable(name), did_you_mean(nearest(name, names)));
}

/// Reads arguments from left to right; the first problem ends it.
class Reader {
  public:
    explicit Reader(const std::vector<std::string>& arguments) : arguments_(arguments) {}

    Parsed read();

  private:
    void read_word(const std::string& word);
    void read_option(const std::string& argument);
    void read_expected(const std::string& value);
    void apply(const OptionRow& row, const std::string& value);
    void check();
    void check_words(const CommandRow& row);

    void fail(std::string why) {
        if (problem_.empty()) {
            problem_ = std::move(why);
        }
    }

    const std::vector<std::string>& arguments_;
    std::size_t next_ = 0;
    Invocation result_;
    std::vector<const OptionRow*> given_;
    std::string problem_;
};

Parsed Reader::read() {
    bool options_ended = false;
    while (next_ < arguments_.size() && problem_.empty()) {
        const std::string& argument = arguments_[next_++];
        if (!options_ended && argument == "--") {
            options_ended = true;
        } else if (!options_ended && argument.size() > 1 && argument[0] == '-') {
            read_option(argument);
        } else {
            read_word(argument);
        }
    }
    if (problem_.empty()) {
        check();
    }
    if (!problem_.empty()) {
        return failed(problem_);
    }
    return {boost::system::in_place_value, std::move(result_)};
}

void Reader::read_word(const std::string& word) {
    if (result_.command) {
        result_.words.push_back(word);
        return;
    }
    for (const CommandRow& row : commands) {
        if (word == row.name) {
            result_.command = row.command;
            return;
        }
    }
    fail(unknown_command(word));
}

void Reader::read_option(const std::string& argument) {
    const auto equals = argument.find('=');
    const std::string name = argument == "-h" ? "--help" : argument.substr(0, equals);
    const auto* const row =
        std::find_if(options.begin(), options.end(), [&](const OptionRow& option) {
            return name == option.name;
        });
    if (row == options.end()) {
        fail(unknown_option(name));
        return;
    }
    std::string value;
    if (row->value.empty()) {
        if (equals != std::string::npos) {
            fail(name + " takes no value");
        }
    } else if (equals != std::string::npos) {
        value = argument.substr(equals + 1);
    } else if (next_ < arguments_.size()) {
        value = arguments_[next_++];
    }
    if (!row->value.empty() && value.empty()) {
        fail(fmt::format("{} wants a value: {}={}", name, name, row->value));
    }
    if (problem_.empty()) {
        apply(*row, value);
    }
}

void Reader::read_expected(const std::string& value) {
    const char* const end = value.data() + value.size();
    std::uint32_t bytes = 0;
    const auto [stop, error] = std::from_chars(value.data(), end, bytes);
    const std::uint32_t least = minimum_mtu(Family::ipv4);
    if (error != std::errc() || stop != end || bytes < least || bytes > ip_packet_bytes_max) {
        fail(fmt::format("--expected={}: want {} to {} bytes, of the whole IP packet",
                         printable(value),
                         least,
                         ip_packet_bytes_max));
    }
    result_.expected_bytes = bytes;
}

void Reader::apply(const OptionRow& row, const std::string& value) {
    given_.push_back(&row);
    switch (row.option) {
        case Option::all: result_.all = true; return;
        case Option::color:
            if (const auto wish = parse_colour_wish(value)) {
                result_.colour = *wish;
            } else {
                fail(fmt::format("--color={}: want auto, always or never", printable(value)));
            }
            return;
        case Option::device: result_.device = value; return;
        case Option::expected: read_expected(value); return;
        case Option::help: result_.help = true; return;
        case Option::json: result_.json = true; return;
        case Option::no_legend: result_.no_legend = true; return;
        case Option::quiet: result_.quiet = true; return;
        case Option::socket: result_.socket = value; return;
        case Option::source: result_.source = value; return;
        case Option::version: result_.version = true; return;
    }
}

/// What only the whole line can tell.
void Reader::check() {
    if (result_.help || result_.version) {
        return;
    }
    if (!result_.command) {
        fail("which command? See reachctl --help");
        return;
    }
    const auto& row = row_of(*result_.command);
    for (const OptionRow* option : given_) {
        if (!option->fits(result_.command)) {
            fail(fmt::format(
                "{} is not for {}; see reachctl {} --help", option->name, row.name, row.name));
        }
    }
    check_words(row);
}

void Reader::check_words(const CommandRow& row) {
    const auto& words = result_.words;
    if (result_.command == Command::mtu) {
        if (words.size() != 1 || words[0].empty()) {
            fail("mtu wants one address or host name: reachctl mtu ADDRESS");
        }
    } else if (row.arguments.empty() && !words.empty()) {
        fail(fmt::format("{} takes no words, such as '{}'", row.name, printable(words[0])));
    } else if (result_.json && !words.empty()) {
        fail(fmt::format("--json is the whole of {}, without words such as '{}'",
                         row.name,
                         printable(words[0])));
    }
}

std::string options_text(std::optional<Command> command) {
    std::string text;
    for (const OptionRow& row : options) {
        if (command && !row.fits(command)) {
            continue;
        }
        const auto name =
            row.value.empty() ? std::string(row.name) : fmt::format("{}={}", row.name, row.value);
        text += fmt::format("  {:<16}  {}", name, row.help);
        if (!command && row.only) {
            text += fmt::format(" ({})", row_of(*row.only).name);
        }
        text += "\n";
        if (row.option == Option::socket) {
            text += fmt::format("  {:<16}  (default {})\n", "", default_control_socket);
        }
    }
    return text;
}

}  // namespace

Parsed parse_command_line(const std::vector<std::string>& arguments) {
    return Reader(arguments).read();
}

std::string help_text(std::optional<Command> command) {
    if (command) {
        const auto& row = row_of(*command);
        return fmt::format("Usage: reachctl {}{}{} [OPTION...]\n\n{}\nOptions:\n{}\n{}",
                           row.name,
                           row.arguments.empty() ? "" : " ",
                           row.arguments,
                           row.help,
                           options_text(command),
                           row.exit_codes);
    }
    std::string text =
        "Usage: reachctl COMMAND [OPTION...]\n\n"
        "Asks the reachd of this host how the network is. For root and the group reachd.\n\n"
        "Commands:\n";
    for (const CommandRow& row : commands) {
        text += fmt::format("  {:<9} {:<11}  {}\n", row.name, row.arguments, row.purpose);
    }
    text += fmt::format(
        "\nOptions, before or after the command:\n{}"
        "\nExamples:\n"
        "  reachctl status\n"
        "  reachctl guests web01\n"
        "  reachctl status --json | jq .healthy\n\n{}",
        options_text(std::nullopt),
        usual_exit_codes);
    return text;
}

std::string version_text(std::string_view version,
                         std::string_view revision,
                         std::string_view compiler) {
    return fmt::format("reachctl {} ({}, {})", version, revision, compiler);
}

}  // namespace reachd::ctl
