#include "agent/ctl/mtu_text.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace reachd::ctl {
namespace {

constexpr std::size_t size_end = 8;
constexpr std::size_t outcome_column = 10;
constexpr std::size_t label_column = 2;
constexpr std::size_t value_column = 13;
/// So many sizes are shown in any case.
constexpr std::size_t trials_shown_max = 8;

// ---- What was tried

std::string outcome_text(const MtuTrial& trial, const MtuReport& report) {
    std::string text = fmt::format("{} of {} answered", trial.answered, trial.sent);
    if (trial.too_big) {
        text += fmt::format(", too big: {} ", named(trial.reporter, report));
        text += trial.reported == 0 ? "gives no size" : fmt::format("says {}", trial.reported);
    } else if (trial.answered == 0) {
        text += ", no ICMP message";
    } else if (trial.fragment != 0) {
        text += fmt::format(", in fragments of {}", trial.fragment);
    }
    return text;
}

/// Those that the verdict stands on: what is expected, what limits it, and what somebody said.
bool is_telling(const MtuTrial& trial, const MtuReport& report, std::uint32_t largest) {
    const std::uint32_t result = report.result.bytes;
    return trial.bytes == report.result.expected || trial.too_big || trial.bytes == largest ||
           trial.bytes == largest + 1 || trial.bytes == result || trial.bytes == result + 1;
}

std::string trials_text(const MtuReport& report, bool all, const Terminal& terminal) {
    const bool shows_all = all || report.trials.size() <= trials_shown_max;
    const std::uint32_t largest = largest_answered(report.trials);
    std::string text;
    std::size_t left_out = 0;
    for (const MtuTrial& trial : report.trials) {
        if (!shows_all && !is_telling(trial, report, largest)) {
            ++left_out;
            continue;
        }
        TextLine line;
        line.add_right(fmt::format("{}", trial.bytes), size_end);
        text += line.pad_to(outcome_column).add(outcome_text(trial, report)).text(terminal);
    }
    if (left_out > 0) {
        TextLine line;
        line.add("    ").add(glyphs(terminal).ellipsis);
        text += line.add(fmt::format(" {} more sizes: --all", left_out)).text(terminal);
    }
    return text;
}

// ---- The verdict

/// The peer answers with less than it was asked.
bool is_cut_short(const PathMtu& mtu) {
    return mtu.forward == Passage::passes && mtu.reverse != Passage::passes;
}

std::string undetermined_text(const MtuReport& report) {
    const PathMtu& mtu = report.result;
    if (report.trials.empty()) {
        return "nothing could be sent: the MTU is not known";
    }
    if (!report.settled) {
        return "no result in the time there is: the MTU is not known";
    }
    if (!mtu.answers && largest_answered(report.trials) > 0) {
        return "too few answers came in time: the MTU is not known";
    }
    if (!mtu.answers) {
        return "nothing answers: the MTU is not known";
    }
    if (is_cut_short(mtu)) {
        return "large packets arrive, their answers are cut short: the way back is not known";
    }
    return "large echo requests are not answered, yet packets as large pass each way";
}

std::string verdict_text(const MtuReport& report) {
    const PathMtu& mtu = report.result;
    switch (mtu.verdict) {
        case MtuVerdict::undetermined: return undetermined_text(report);
        case MtuVerdict::ok: return fmt::format("packets of {} bytes pass, both ways", mtu.bytes);
        case MtuVerdict::local:
            return fmt::format(
                "{} of this host passes {} bytes at most", report.smaller_device, mtu.bytes);
        case MtuVerdict::peer_egress:
            return fmt::format("largest answer that comes whole is {} bytes", mtu.bytes);
        case MtuVerdict::signalled: break;
        case MtuVerdict::black_hole:
            if (mtu.direction == MtuDirection::reverse) {
                return fmt::format("largest answer that comes back is {} bytes", mtu.bytes);
            }
            break;
    }
    return fmt::format("largest packet that passes is {} bytes", mtu.bytes);
}

TextLine verdict_line(const MtuReport& report, const Terminal& terminal) {
    const auto& glyph = glyphs(terminal);
    TextLine line;
    if (const auto fault = fault_of(report.result)) {
        const Ink ink = fault->is_critical ? Ink::bad : Ink::warning;
        line.add(fault->is_critical ? glyph.down : glyph.warning, ink);
        line.add(fmt::format(" {} ", fault->code)).add(fault->name, ink).add(": ");
    } else if (report.result.verdict == MtuVerdict::ok) {
        line.add(glyph.up, Ink::good).add(" ");
    } else {
        line.add(glyph.unknown).add(" ");
    }
    return line.add(verdict_text(report));
}

// ---- Which way, and how to mend it

std::string black_hole_direction(const MtuReport& report) {
    const PathMtu& mtu = report.result;
    const std::string& peer = report.target;
    switch (mtu.direction) {
        case MtuDirection::none: return "";
        case MtuDirection::forward:
            return mtu.fragment == 0
                       ? fmt::format("towards {}; large answers from {} arrive whole", peer, peer)
                       : fmt::format("towards {}; its large answers come in fragments of {}",
                                     peer,
                                     mtu.fragment);
        case MtuDirection::reverse:
            return fmt::format("from {}; large packets towards {} arrive", peer, peer);
        case MtuDirection::both: return fmt::format("both, towards {} and from it", peer);
        case MtuDirection::unknown: break;
    }
    if (!mtu.reporter.is_unspecified()) {
        return fmt::format("not known; {} says {}, and not even that passes",
                           named(mtu.reporter, report),
                           mtu.reported);
    }
    return report.by_raw_sockets
               ? "not known: large UDP or fragments may be filtered"
               : "not known: without CAP_NET_RAW large answers cannot be asked for";
}

std::string direction_text(const MtuReport& report) {
    const PathMtu& mtu = report.result;
    switch (mtu.verdict) {
        case MtuVerdict::undetermined:
        case MtuVerdict::ok: return "";
        case MtuVerdict::local: return mtu.answers ? "" : "beyond this host nothing answers";
        case MtuVerdict::signalled:
            return mtu.reported == 0 ? fmt::format("towards {}; {} says that they are too big",
                                                   report.target,
                                                   named(mtu.reporter, report))
                                     : fmt::format("towards {}; {} passes {} on",
                                                   report.target,
                                                   named(mtu.reporter, report),
                                                   mtu.reported);
        case MtuVerdict::peer_egress:
            return fmt::format("from {}; packets of {} bytes towards {} arrive",
                               report.target,
                               mtu.expected,
                               report.target);
        case MtuVerdict::black_hole: return black_hole_direction(report);
    }
    return "";
}

std::string_view too_big_message(Family family) {
    return family == Family::ipv4 ? "ICMP type 3 code 4" : "ICMPv6 type 2";
}

std::string raise_text(std::string_view where, const PathMtu& mtu) {
    return fmt::format("raise the MTU of {} to {}, or expect {}", where, mtu.expected, mtu.bytes);
}

std::string mend_of_undetermined(const MtuReport& report) {
    if (report.trials.empty()) {
        return fmt::format("see what refuses it: ip route get {}", report.address);
    }
    if (!report.settled) {
        return "try again; if the loss is great, mend that first";
    }
    if (!report.result.answers) {
        return "let ICMP echo pass, or look why nothing answers";
    }
    return is_cut_short(report.result) ? "ask from the other end: reachctl mtu there"
                                       : "look for a filter on large ICMP packets";
}

std::string mend_text(const MtuReport& report) {
    const PathMtu& mtu = report.result;
    switch (mtu.verdict) {
        case MtuVerdict::undetermined: return mend_of_undetermined(report);
        case MtuVerdict::ok: return "";
        case MtuVerdict::local: return raise_text(report.smaller_device, mtu);
        case MtuVerdict::signalled:
            return raise_text(fmt::format("the way out of {}", named(mtu.reporter, report)), mtu);
        case MtuVerdict::peer_egress: return raise_text(report.target, mtu);
        case MtuVerdict::black_hole: break;
    }
    if (mtu.direction == MtuDirection::forward && mtu.fragment != 0) {
        return raise_text(report.target, mtu);
    }
    if (mtu.direction == MtuDirection::reverse) {
        return fmt::format(
            "find the hop on the way back that drops them, or a filter on large "
            "ICMP; let {} pass",
            too_big_message(report.family));
    }
    return fmt::format("find the hop that drops them; let {} pass", too_big_message(report.family));
}

/// The search knows to the byte what people call 1500.
std::string note_text(const MtuReport& report) {
    const std::uint32_t measured = largest_answered(report.trials);
    const bool fits_tag =
        measured > report.result.bytes && customary_mtu(measured) == report.result.bytes;
    if (report.result.verdict == MtuVerdict::black_hole && fits_tag) {
        return fmt::format("{} pass too: room for a VLAN tag, no MTU", measured);
    }
    if (report.result.verdict == MtuVerdict::undetermined && report.complaint) {
        std::string reason(to_text(report.complaint->reason));
        std::replace(reason.begin(), reason.end(), '_', ' ');
        return fmt::format("{} says {}", named(report.complaint->reporter, report), reason);
    }
    return "";
}

std::string sockets_text(const MtuReport& report) {
    return report.by_raw_sockets
               ? "raw sockets"
               : "ping sockets; without CAP_NET_RAW which way it fails may stay unknown";
}

std::string labelled(std::string_view label, const std::string& value, const Terminal& terminal) {
    if (value.empty()) {
        return "";
    }
    TextLine line;
    line.pad_to(label_column).add(label).pad_to(value_column).add(value);
    return line.text(terminal);
}

std::string header_text(const MtuReport& report) {
    std::string text = "MTU to " + report.target;
    text += report.address == report.target ? "" : fmt::format(" ({})", report.address);
    text += report.source.empty() ? "" : " from " + report.source;
    text += report.device.empty() ? "" : " by " + report.device;
    return text + fmt::format(", expected {}", report.result.expected);
}

}  // namespace

std::string mtu_text(const MtuReport& report, const ViewOptions& view, const Terminal& terminal) {
    std::string text;
    if (view.legend) {
        text += TextLine().add(header_text(report)).text(terminal);
    }
    text += trials_text(report, view.all, terminal);
    text += verdict_line(report, terminal).text(terminal);
    text += labelled("Direction", direction_text(report), terminal);
    text += labelled("Note", note_text(report), terminal);
    text += labelled("Mend", mend_text(report), terminal);
    text += labelled("Asked by", sockets_text(report), terminal);
    return text;
}

std::string mtu_progress_text(const MtuTrace& trace, Duration elapsed, const Terminal& terminal) {
    unsigned sent = 0;
    unsigned answered = 0;
    for (const MtuTrial& trial : trace.trials()) {
        sent += trial.sent;
        answered += trial.answered;
    }
    std::string text =
        fmt::format("{:.1f} s: {} sent, {} answered", to_seconds(elapsed), sent, answered);
    if (const std::uint32_t largest = largest_answered(trace.trials())) {
        text += fmt::format(", {} bytes pass", largest);
    }
    TextLine line;
    line.add("  ").add(text).cut(terminal.columns - 1, terminal);
    std::string drawn = line.text(terminal);
    drawn.pop_back();  // its line feed
    return drawn;
}

}  // namespace reachd::ctl
