#include "agent/ctl/io/mtu_command.hpp"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "agent/ctl/command_output.hpp"
#include "agent/ctl/io/control_client.hpp"
#include "agent/ctl/io/mtu_path.hpp"
#include "agent/ctl/io/mtu_runner.hpp"
#include "agent/ctl/mtu_json.hpp"
#include "agent/ctl/mtu_report.hpp"
#include "agent/ctl/mtu_text.hpp"
#include "agent/ctl/peers_report.hpp"
#include "common/io/system_clock.hpp"
#include "common/log_text.hpp"

namespace reachd::ctl {
namespace {

/// A line of the terminal that is drawn over again, and is gone in the end.
class ProgressLine {
  public:
    explicit ProgressLine(const Terminal& terminal) : terminal_(terminal) {}

    ~ProgressLine() { draw(""); }

    ProgressLine(const ProgressLine&) = delete;
    ProgressLine& operator=(const ProgressLine&) = delete;

    void draw(const std::string& text) {
        const std::size_t width = display_width(text);
        const std::string rest(drawn_ - std::min(drawn_, width), ' ');
        if (drawn_ > 0 || width > 0) {
            fmt::print("\r{}{}{}", text, rest, width == 0 ? "\r" : "");
            static_cast<void>(std::fflush(stdout));
        }
        drawn_ = width;
    }

    const Terminal& terminal() const { return terminal_; }

  private:
    const Terminal& terminal_;
    std::size_t drawn_ = 0;
};

/// Long enough for a daemon that is well; a search needs none.
constexpr Duration daemon_patience = std::chrono::seconds(1);

/// What a running daemon calls it, and expects of it; nothing: there is none, or it knows no such
/// peer.
std::optional<Peer> known_peer(const Invocation& invocation) {
    const auto answer = ask_daemon(invocation.socket, page_of(Command::peers), daemon_patience);
    const auto report = answer ? parse_peers(answer->body) : Result<PeersReport, std::string>("");
    if (!report) {
        return std::nullopt;
    }
    const std::string& word = invocation.words[0];
    const auto found =
        std::find_if(report->peers.begin(), report->peers.end(), [&word](const Peer& peer) {
            return peer.name == word || peer.address == word;
        });
    return found == report->peers.end() ? std::nullopt : std::optional(*found);
}

/// As wished, else as the daemon expects, else as the device allows.
PathMtuFacts facts_of(const MtuPath& path, std::uint32_t wished, const std::optional<Peer>& known) {
    const std::uint32_t device_mtu = std::min(path.device_mtu, ip_packet_bytes_max);
    std::uint32_t expected = std::min(device_mtu, expected_mtu_max);
    if (known && known->mtu && known->mtu->expected >= minimum_mtu(Family::ipv4)) {
        expected = std::min(known->mtu->expected, ip_packet_bytes_max);
    }
    return {wished != 0 ? wished : expected, device_mtu, path.device};
}

Result<MtuOutcome, IcmpSocketError> search(const MtuPath& path,
                                           const PathMtuFacts& facts,
                                           bool shows_progress,
                                           const Terminal& terminal) {
    ProgressLine line(terminal);
    MtuProgress progress;
    if (shows_progress) {
        progress = [&line](const MtuTrace& trace, Duration elapsed) {
            line.draw(mtu_progress_text(trace, elapsed, line.terminal()));
        };
    }
    return run_mtu_search(path.target, facts, progress);
}

Output cannot_ask(const IcmpSocketError& error) {
    const std::string remedy =
        error.family_missing() ? "this host does not speak it"
                               : "run it as root, or let your group into net.ipv4.ping_group_range";
    return {.text = {},
            .error = fmt::format("cannot send ICMP ({}); {}", error.message(), remedy),
            .exit_code = exit_no_daemon};
}

MtuReport report_of(std::string target, const MtuPath& path, MtuOutcome outcome) {
    MtuReport report;
    report.target = std::move(target);
    report.address = path.address;
    report.source = path.source;
    report.device = path.device_name;
    report.device_mtu = path.device_mtu;
    report.smaller_device =
        outcome.result.verdict == MtuVerdict::local ? path.device_name : std::string();
    report.family = path.target.destination.family();
    report.time = now().wall;
    report.by_raw_sockets = outcome.mode == IcmpMode::raw;
    report.settled = outcome.settled;
    report.result = outcome.result;
    report.trials = std::move(outcome.trials);
    report.complaint = outcome.complaint;
    return report;
}

}  // namespace

Output run_mtu_command(const Invocation& invocation, const Terminal& terminal) {
    const auto known = known_peer(invocation);
    const bool is_resolved = known && !known->address.empty();
    const auto path = find_mtu_path(invocation, is_resolved ? known->address : invocation.words[0]);
    if (!path) {
        return {.text = {}, .error = path.error().text, .exit_code = path.error().exit_code};
    }
    const PathMtuFacts facts = facts_of(*path, invocation.expected_bytes, known);
    const bool shows_progress = terminal.is_terminal && !invocation.json;
    auto outcome = search(*path, facts, shows_progress, terminal);
    if (!outcome) {
        return cannot_ask(outcome.error());
    }
    const MtuReport report =
        report_of(printable(known ? known->name : invocation.words[0]), *path, std::move(*outcome));
    const ViewOptions view{.all = invocation.all, .legend = !invocation.no_legend};
    return {.text = invocation.json ? mtu_json(report) : mtu_text(report, view, terminal),
            .error = {},
            .exit_code = report.result.verdict == MtuVerdict::ok ? exit_well : exit_ill};
}

}  // namespace reachd::ctl
