#include "agent/ctl/command_output.hpp"

#include <utility>

#include <fmt/core.h>

#include "agent/ctl/guests_report.hpp"
#include "agent/ctl/guests_text.hpp"
#include "agent/ctl/json_view.hpp"
#include "agent/ctl/peers_report.hpp"
#include "agent/ctl/peers_text.hpp"
#include "agent/ctl/status_report.hpp"
#include "agent/ctl/status_text.hpp"
#include "agent/ctl/topology_report.hpp"
#include "agent/ctl/topology_text.hpp"

namespace reachd::ctl {
namespace {

ViewOptions view_of(const Invocation& invocation) {
    return {.all = invocation.all, .legend = !invocation.no_legend};
}

Output not_understood(const std::string& problem) {
    return {.text = {},
            .error = fmt::format("the answer of reachd is not understood: {}; reachd and reachctl "
                                 "of one version go together: systemctl restart reachd",
                                 problem),
            .exit_code = exit_no_daemon};
}

std::string with_line_end(const std::string& body) {
    return !body.empty() && body.back() == '\n' ? body : body + "\n";
}

Output status_output(const Invocation& invocation,
                     const std::string& body,
                     const Terminal& terminal) {
    const auto report = parse_status(body);
    if (!report) {
        return not_understood(report.error());
    }
    Output output;
    output.exit_code = is_well(*report) ? exit_well : exit_ill;
    if (invocation.quiet) {
        return output;
    }
    output.text =
        invocation.json ? with_line_end(body) : status_text(*report, view_of(invocation), terminal);
    return output;
}

Output topology_output(const Invocation& invocation,
                       const std::string& body,
                       const Terminal& terminal) {
    const auto report = parse_topology(body);
    if (!report) {
        return not_understood(report.error());
    }
    Output output;
    // A tree that may be wrong is nothing to rely on.
    output.exit_code = report->synced ? exit_well : exit_ill;
    if (invocation.json) {
        output.text = with_line_end(body);
        return output;
    }
    auto text = topology_text(*report, invocation.words, view_of(invocation), terminal);
    if (!text) {
        return {.text = {}, .error = text.error(), .exit_code = exit_usage};
    }
    output.text = std::move(*text);
    return output;
}

/// A list of which words may choose a part: its exit code is that of the part.
template <class Report, class Show>
Output list_output(const Invocation& invocation,
                   const std::string& body,
                   const Result<Report, std::string>& report,
                   Show show,
                   const Terminal& terminal) {
    if (!report) {
        return not_understood(report.error());
    }
    auto list = show(*report, invocation.words, view_of(invocation), terminal);
    if (!list) {
        return {.text = {}, .error = list.error(), .exit_code = exit_usage};
    }
    Output output;
    output.exit_code = list->is_ill ? exit_ill : exit_well;
    output.text = invocation.json ? with_line_end(body) : std::move(list->text);
    return output;
}

/// "message; remedy" of an error of the API, or what can be said without.
std::string refusal_text(unsigned status, const std::string& body) {
    if (const auto document = JsonDocument::parse(body)) {
        if (const auto error = (*document)->root().object("error")) {
            const auto message = error->text("message").value_or("");
            const auto remedy = error->text("remedy").value_or("");
            if (!message.empty()) {
                return remedy.empty() ? message : fmt::format("{}; {}", message, remedy);
            }
        }
    }
    return fmt::format("HTTP status {}", status);
}

}  // namespace

std::string_view page_of(Command command) {
    switch (command) {
        case Command::status: return "/api/v1/status";
        case Command::peers: return "/api/v1/peers";
        case Command::guests: return "/api/v1/guests";
        case Command::topology: return "/api/v1/topology";
        case Command::mtu: return "";
    }
    return "";
}

Output command_output(const Invocation& invocation,
                      unsigned status,
                      const std::string& body,
                      const Terminal& terminal) {
    constexpr unsigned ok = 200;
    constexpr unsigned not_found = 404;
    if (status == not_found) {
        return not_understood(fmt::format("it knows no {}", page_of(*invocation.command)));
    }
    if (status != ok) {
        return {.text = {},
                .error = "reachd gives no answer: " + refusal_text(status, body),
                .exit_code = exit_no_daemon};
    }
    switch (*invocation.command) {
        case Command::status: return status_output(invocation, body, terminal);
        case Command::peers:
            return list_output(invocation, body, parse_peers(body), peers_text, terminal);
        case Command::guests:
            return list_output(invocation, body, parse_guests(body), guests_text, terminal);
        case Command::topology: return topology_output(invocation, body, terminal);
        case Command::mtu: break;
    }
    return {};
}

std::string not_allowed_text(std::string_view socket,
                             std::string_view group,
                             std::string_view user) {
    if (group == "root") {
        // Nobody is told to join that one.
        return fmt::format("not allowed to use {}; it is for root: sudo reachctl", socket);
    }
    return fmt::format(
        "not allowed to use {}; join its group: usermod -aG {} {}, then log in again",
        socket,
        group.empty() ? "reachd" : group,
        user);
}

}  // namespace reachd::ctl
