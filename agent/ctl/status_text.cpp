#include "agent/ctl/status_text.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "agent/ctl/quantity_text.hpp"
#include "common/path_mtu.hpp"

namespace reachd::ctl {
namespace {

// What is set at the right end does not go further than this from the rest of its line.
constexpr std::size_t right_end_max = 100;
constexpr std::size_t label_column = 2;
constexpr std::size_t value_column = 13;
constexpr std::size_t detail_column = 42;
constexpr std::size_t name_width_min = 8;
constexpr std::size_t cause_width_min = 9;  // "no answer"
constexpr std::size_t mark_width = 2;
constexpr std::size_t gap = 2;
constexpr double on_time_enough = 0.99;

std::size_t right_end(const Terminal& terminal) {
    return std::min(terminal.columns, right_end_max);
}

std::string plural(std::uint64_t count, std::string_view one) {
    return fmt::format("{} {}{}", count, one, count == 1 ? "" : "s");
}

std::string joined(const std::vector<std::string>& parts) {
    return fmt::format("{}", fmt::join(parts, ", "));
}

/// The reason of a loss as a sentence says it.
std::string reason_text(std::string_view reason) {
    static constexpr std::array<std::pair<std::string_view, std::string_view>, 8> texts{{
        {"", "cause not known"},
        {"timeout", "no answer"},
        {"prohibited", "prohibited by a filter on the way"},
        {"host_unreachable", "a router says: host unreachable"},
        {"net_unreachable", "a router says: network unreachable"},
        {"port_unreachable", "says: port unreachable"},
        {"ttl_exceeded", "lost in a routing loop (TTL exceeded)"},
        {"neighbour_failed", "does not answer ARP or neighbour discovery"},
    }};
    for (const auto& [word, text] : texts) {
        if (word == reason) {
            return std::string(text);
        }
    }
    std::string text(reason);
    std::replace(text.begin(), text.end(), '_', ' ');
    return text;
}

std::vector<std::string> ills(const StatusReport& report) {
    std::vector<std::string> parts;
    if (report.peers_down > 0) {
        parts.push_back(
            fmt::format("{} of {} unreachable", report.peers_down, plural(report.peers, "peer")));
    }
    if (!report.synced) {
        parts.emplace_back("the topology is not in step");
    }
    if (report.throttle_ratio < 1) {
        parts.push_back(fmt::format("probing at {}", percent_text(report.throttle_ratio)));
    }
    if (report.mtus_mismatched > 0) {
        parts.push_back(plural(report.mtus_mismatched, "path MTU") + " mismatched");
    }
    if (!report.mtu_misfits.empty()) {
        parts.push_back(plural(report.mtu_misfits.size(), "MTU conflict"));
    }
    return parts;
}

TextLine verdict_line(const StatusReport& report, const Terminal& terminal) {
    const auto host = report.host.empty() ? std::string("this host") : report.host;
    TextLine line;
    if (is_well(report)) {
        line.add(glyphs(terminal).up, Ink::good).add(" " + host + " is ");
        line.add("healthy", Ink::good);
    } else {
        const bool bad = report.peers_down > 0;
        const auto ink = bad ? Ink::bad : Ink::warning;
        const auto parts = ills(report);
        line.add(bad ? glyphs(terminal).down : glyphs(terminal).warning, ink).add(" " + host);
        line.add(parts.empty() ? " is " : ": ");
        line.add(parts.empty() ? "not healthy" : joined(parts), ink);
    }
    const auto time = report.time ? clock_text(*report.time) + " UTC" : std::string();
    if (terminal.is_terminal) {
        const auto besides = time.empty() ? 0 : gap + display_width(time);
        line.cut(terminal.columns - std::min(terminal.columns, besides), terminal);
    }
    return time.empty() ? line : line.add_right(time, right_end(terminal));
}

/// Widths of the columns; 0: each row takes what it needs.
struct PeerColumns {
    std::size_t peer = 0;
    std::size_t address = 0;
    std::size_t cause = 0;
    std::size_t since = 0;
};

std::string since_text(const UnreachablePeer& peer, const StatusReport& report) {
    return report.time && peer.since ? "for " + age_text(*report.time - *peer.since) : "";
}

PeerColumns columns_of(const StatusReport& report, const Terminal& terminal) {
    PeerColumns columns;
    for (const auto& peer : report.unreachable) {
        columns.peer = std::max(columns.peer, display_width(peer.peer));
        columns.address = std::max(columns.address, display_width(peer.address));
        columns.cause = std::max(columns.cause, display_width(reason_text(peer.reason)));
        columns.since = std::max(columns.since, display_width(since_text(peer, report)));
    }
    const auto width = mark_width + columns.peer + gap + columns.address + gap + columns.cause +
                       gap + columns.since;
    return terminal.is_terminal && width > right_end(terminal) ? PeerColumns{} : columns;
}

/// Too wide: the cause is cut first, then the middle of the name.
TextLine peer_line(const UnreachablePeer& peer,
                   const StatusReport& report,
                   const PeerColumns& columns,
                   const Terminal& terminal) {
    const auto width = right_end(terminal);
    const auto since = since_text(peer, report);
    TextLine cause;
    cause.add(reason_text(peer.reason), Ink::bad);
    auto name = peer.peer;
    const auto besides = [&] {
        return mark_width + gap + display_width(peer.address) + gap + gap + display_width(since);
    };
    if (terminal.is_terminal && display_width(name) + besides() + cause.width() > width) {
        const auto room = width - std::min(width, besides() + cause_width_min);
        name = cut_middle(name, std::max(name_width_min, room), terminal);
        const auto taken = display_width(name) + besides();
        cause.cut(width - std::min(width, taken), terminal);
    }
    TextLine line;
    line.add(glyphs(terminal).down, Ink::bad).add(" ").add(name);
    line.pad_to(mark_width + std::max(columns.peer, display_width(name)) + gap);
    const auto address_end = line.width() + std::max(columns.address, display_width(peer.address));
    line.add(peer.address).pad_to(address_end + gap).add(cause);
    return since.empty() ? line : line.add_right(since, width);
}

std::string unreachable_text(const StatusReport& report, const Terminal& terminal) {
    const auto columns = columns_of(report, terminal);
    std::string text;
    for (const auto& peer : report.unreachable) {
        text += peer_line(peer, report, columns, terminal).text(terminal);
    }
    if (report.peers_down > report.unreachable.size()) {
        text += fmt::format("{} {} more are unreachable\n",
                            glyphs(terminal).ellipsis,
                            report.peers_down - report.unreachable.size());
    }
    return text;
}

/// "port vnet3 has MTU 9000, uplink eno1 takes 1500"; of a newer daemon's conflict only who and how
/// much.
std::string misfit_text(const MtuMisfit& misfit) {
    const auto is = [&misfit](MtuConflict conflict) {
        return misfit.conflict == to_text(conflict);
    };
    std::string_view larger;
    std::string_view smaller;
    std::string_view place;
    if (is(MtuConflict::port_above_uplink)) {
        larger = "port ";
        smaller = "uplink ";
    } else if (is(MtuConflict::port_above_bridge)) {
        larger = "port ";
        smaller = "bridge ";
    } else if (is(MtuConflict::bridge_above_uplink)) {
        larger = "bridge ";
        smaller = "uplink ";
    } else if (is(MtuConflict::veth_ends)) {
        smaller = "its other end ";
    } else if (is(MtuConflict::overlay_above_underlay)) {
        place = " below it";
    }
    auto text = fmt::format("{}{} has MTU {}, {}{}{} takes {}",
                            larger,
                            misfit.larger,
                            misfit.larger_bytes,
                            smaller,
                            misfit.smaller,
                            place,
                            misfit.smaller_bytes);
    if (misfit.devices > 1) {
        text += fmt::format(" ({} more too large)", misfit.devices - 1);
    }
    return text;
}

std::string misfits_text(const StatusReport& report, const Terminal& terminal) {
    std::string text;
    for (const auto& misfit : report.mtu_misfits) {
        TextLine line;
        line.add(glyphs(terminal).warning, Ink::warning).add(" ");
        line.add(misfit.bridge.empty() ? "" : misfit.bridge + ": ").add(misfit_text(misfit));
        if (terminal.is_terminal) {
            line.cut(terminal.columns, terminal);
        }
        text += line.text(terminal);
    }
    return text;
}

std::string summary_line(std::string_view label,
                         std::string_view value,
                         std::string_view detail,
                         const Terminal& terminal) {
    TextLine line;
    line.pad_to(label_column).add(label).pad_to(value_column).add(value);
    if (!detail.empty()) {
        line.pad_to(std::max(detail_column, line.width() + gap)).add(detail);
    }
    if (terminal.is_terminal) {
        line.cut(terminal.columns, terminal);
    }
    return line.text(terminal);
}

std::string peers_line(const StatusReport& report, const Terminal& terminal) {
    std::vector<std::string> states;
    const auto add = [&states](std::uint64_t count, std::string_view state) {
        if (count > 0) {
            states.push_back(fmt::format("{} {}", count, state));
        }
    };
    add(report.peers_up, "up");
    add(report.peers_suspect, "suspect");
    add(report.peers_down, "down");
    add(report.peers_unknown, "unknown yet");
    std::string detail;
    if (report.rtt_median_seconds) {
        detail = "RTT median " + rtt_text(*report.rtt_median_seconds, terminal);
    }
    if (report.worst && report.peers_up > 1) {
        const auto rtt = rtt_text(report.worst->rtt_seconds, terminal);
        auto name = report.worst->peer;
        const auto taken =
            detail_column + display_width(detail) + display_width(", worst  ") + display_width(rtt);
        if (terminal.is_terminal && taken + display_width(name) > terminal.columns) {
            const auto room = terminal.columns - std::min(terminal.columns, taken);
            name = cut_middle(name, std::max(name_width_min, room), terminal);
        }
        detail += fmt::format("{}worst {} {}", detail.empty() ? "" : ", ", name, rtt);
    }
    return summary_line("Peers", states.empty() ? "none" : joined(states), detail, terminal);
}

/// "br0 6, br1 3"; of those that are ill "web01 down, build7 has no address".
std::string guests_detail(const StatusReport& report) {
    constexpr std::size_t named_max = 3;
    std::vector<std::string> parts;
    for (const auto& guest : report.guests_ill) {
        if (parts.size() == named_max) {
            parts.push_back(fmt::format("{} more", report.guests_ill.size() - named_max));
            break;
        }
        parts.push_back(guest.guest + (guest.state == "down" ? " down" : " has no address"));
    }
    if (!parts.empty()) {
        return joined(parts);
    }
    for (const auto& bridge : report.bridges) {
        parts.push_back(fmt::format(
            "{} {}", bridge.bridge.empty() ? "no bridge" : bridge.bridge, bridge.guests));
    }
    return joined(parts);
}

/// One that is suspect was up a moment ago, and may be all the time.
std::string guests_line(const StatusReport& report, const Terminal& terminal) {
    auto value = fmt::format("{} of {} reachable", report.guests_up, report.guests);
    if (report.guests_suspect > 0) {
        value += fmt::format(", {} suspect", report.guests_suspect);
    }
    return summary_line("Guests", value, guests_detail(report), terminal);
}

std::string more_text(const StatusReport& report) {
    std::vector<std::string> commands;
    if (report.peers_down > 0 || report.mtus_mismatched > 0) {
        commands.emplace_back("reachctl peers");
    }
    if (!report.guests_ill.empty()) {
        commands.emplace_back("reachctl guests");
    }
    commands.emplace_back("reachctl topology");
    return fmt::format("\nMore: {}\n", joined(commands));
}

std::string topology_line(const StatusReport& report,
                          const ViewOptions& view,
                          const Terminal& terminal) {
    auto value = plural(report.interfaces, "interface") +
                 (report.synced ? ", in step" : ", not in step yet");
    if (view.all) {
        value += fmt::format(
            ", {}, {}", plural(report.overruns, "overrun"), plural(report.resyncs, "resync"));
    }
    std::string detail;
    if (report.last_change && report.time) {
        detail = fmt::format("last change {} ago: {} {}",
                             long_age_text(*report.time - report.last_change->time),
                             report.last_change->device,
                             report.last_change->text);
    }
    return summary_line("Topology", value, detail, terminal);
}

std::string path_mtu_line(const StatusReport& report, const Terminal& terminal) {
    auto value = fmt::format("{} of {} as expected", report.mtus_as_expected, report.mtus_measured);
    if (report.mtus_mismatched > 0) {
        value += fmt::format(", {} mismatched", report.mtus_mismatched);
    }
    if (report.mtus_undetermined > 0) {
        value += fmt::format(", {} undetermined", report.mtus_undetermined);
    }
    return summary_line("Path MTU", value, "", terminal);
}

std::string agent_line(const StatusReport& report,
                       const ViewOptions& view,
                       const Terminal& terminal) {
    std::vector<std::string> value;
    if (!report.version.empty()) {
        value.push_back(report.version);
    }
    if (report.uptime_seconds) {
        // A hostile number of seconds must fit the type; of NaN std::max makes 0.
        constexpr double seconds_max = 9e9;
        const std::chrono::duration<double> up(
            std::min(std::max(0.0, *report.uptime_seconds), seconds_max));
        value.push_back("up " + long_age_text(std::chrono::duration_cast<Duration>(up)));
    }
    std::vector<std::string> detail;
    if (report.cpu_ratio) {
        detail.push_back(percent_text(*report.cpu_ratio) + " CPU");
    }
    if (report.resident_memory_bytes) {
        detail.push_back(bytes_text(*report.resident_memory_bytes));
    }
    if (report.probes_on_time_ratio) {
        detail.push_back(*report.probes_on_time_ratio >= on_time_enough
                             ? std::string("probes on time")
                             : percent_text(*report.probes_on_time_ratio) + " of probes on time");
    }
    if (view.all) {
        detail.push_back(fmt::format("{} skipped", plural(report.skipped_probes, "probe")));
    }
    return summary_line("Agent", joined(value), joined(detail), terminal);
}

}  // namespace

bool is_well(const StatusReport& report) {
    return report.healthy && ills(report).empty();
}

std::string status_text(const StatusReport& report,
                        const ViewOptions& view,
                        const Terminal& terminal) {
    // The verdict is no legend: it stays.
    std::string text = verdict_line(report, terminal).text(terminal);
    const auto ill = unreachable_text(report, terminal) + misfits_text(report, terminal);
    if (!ill.empty()) {
        text += "\n" + ill + "\n";
    }
    text += peers_line(report, terminal);
    text += report.guests > 0 ? guests_line(report, terminal) : "";
    text += topology_line(report, view, terminal);
    text += report.mtus_measured > 0 ? path_mtu_line(report, terminal) : "";
    text += agent_line(report, view, terminal);
    if (!is_well(report) && view.legend) {
        text += more_text(report);
    }
    return text;
}

}  // namespace reachd::ctl
