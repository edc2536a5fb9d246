// reachctl: reads its command line, asks the daemon or the network, prints what came of it.
#include <cerrno>
#include <cstdio>
#include <exception>
#include <string>
#include <system_error>
#include <vector>

#include <fmt/core.h>

#include "agent/ctl/command_line.hpp"
#include "agent/ctl/command_output.hpp"
#include "agent/ctl/io/control_client.hpp"
#include "agent/ctl/io/mtu_command.hpp"
#include "agent/ctl/io/surroundings.hpp"
#include "common/build_info.hpp"

namespace {

using namespace reachd::ctl;

// Of standard tools, for an output that could not be written.
constexpr int exit_failure = 1;

void complain(const std::string& text) {
    fmt::print(stderr, "reachctl: {}\n", text);
}

/// Whoever reads may have had enough, as `head` does: that is no error.
int print(const std::string& text, int exit_code) {
    const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
    if ((written && std::fflush(stdout) == 0) || errno == EPIPE) {
        return exit_code;
    }
    complain("cannot write the output: " + std::generic_category().message(errno));
    return exit_failure;
}

std::string version() {
    const auto build = reachd::build_info();
    return version_text(build.version, build.revision, build.compiler) + "\n";
}

int print(const Output& output) {
    if (!output.error.empty()) {
        complain(output.error);
    }
    return print(output.text, output.exit_code);
}

int run(const Invocation& invocation) {
    constexpr unsigned forbidden = 403;
    if (invocation.command == Command::mtu) {
        return print(run_mtu_command(invocation, terminal_of_stdout(invocation.colour)));
    }
    const auto answer = ask_daemon(invocation.socket, page_of(*invocation.command));
    if (!answer) {
        complain(answer.error().text);
        return answer.error().kind == NoAnswer::Kind::wrong_path ? exit_usage : exit_no_daemon;
    }
    if (answer->status == forbidden) {
        complain(not_allowed_here(invocation.socket));
        return exit_no_daemon;
    }
    const auto terminal = terminal_of_stdout(invocation.colour);
    return print(command_output(invocation, answer->status, answer->body, terminal));
}

int run(const std::vector<std::string>& arguments) {
    const auto invocation = parse_command_line(arguments);
    if (!invocation) {
        complain(invocation.error());
        return exit_usage;
    }
    if (invocation->version) {
        return print(version(), exit_well);
    }
    if (invocation->help) {
        return print(help_text(invocation->command), exit_well);
    }
    return run(*invocation);
}

}  // namespace

int main(int count, char** values) {
    try {
        return run(std::vector<std::string>(values + (count > 0 ? 1 : 0), values + count));
    } catch (const std::exception& error) {
        complain(error.what());
        return exit_no_daemon;
    }
}
