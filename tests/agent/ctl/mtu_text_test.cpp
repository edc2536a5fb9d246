#include "agent/ctl/mtu_text.hpp"

#include <algorithm>
#include <chrono>
#include <string>

#include <catch2/catch.hpp>

using namespace reachd;
using namespace reachd::ctl;

namespace {

constexpr Terminal piped{80, true, false, false};
const IpAddress router = IpAddress::v4({10, 0, 0, 1});

MtuReport report_of(MtuVerdict verdict, MtuDirection direction, std::uint32_t bytes) {
    MtuReport report;
    report.target = "pm2";
    report.address = "10.77.0.21";
    report.source = "10.77.0.2";
    report.device = "eno1";
    report.device_mtu = 9000;
    report.result.verdict = verdict;
    report.result.direction = direction;
    report.result.expected = 9000;
    report.result.bytes = bytes;
    report.result.answers = true;
    report.trials = {{.bytes = 9000, .sent = 3},
                     {.bytes = 1500, .sent = 3, .answered = 3},
                     {.bytes = 1501, .sent = 3}};
    return report;
}

std::string shown(const MtuReport& report, const ViewOptions& view = {}) {
    return mtu_text(report, view, piped);
}

/// What stands behind a label; empty: it is not there.
std::string value_of(const MtuReport& report, const std::string& label) {
    const std::string text = shown(report);
    const auto at = text.find("\n  " + label + " ");
    if (at == std::string::npos) {
        return "";
    }
    const auto begin = text.find_first_not_of(' ', at + 3 + label.size());
    return text.substr(begin, text.find('\n', begin) - begin);
}

std::string verdict_of(const MtuReport& report) {
    const std::string text = shown(report, {.all = true, .legend = false});
    for (const std::string symbol : {"✖", "▲", "●", "○"}) {
        if (const auto at = text.find(symbol); at != std::string::npos) {
            return text.substr(at, text.find('\n', at) - at);
        }
    }
    return "";
}

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("mtu text: a black hole, whole") {
    CHECK(shown(report_of(MtuVerdict::black_hole, MtuDirection::forward, 1500)) ==
          "MTU to pm2 (10.77.0.21) from 10.77.0.2 by eno1, expected 9000\n"
          "    9000  0 of 3 answered, no ICMP message\n"
          "    1500  3 of 3 answered\n"
          "    1501  0 of 3 answered, no ICMP message\n"
          "✖ E5002 mtu_black_hole: largest packet that passes is 1500 bytes\n"
          "  Direction  towards pm2; large answers from pm2 arrive whole\n"
          "  Mend       find the hop that drops them; let ICMP type 3 code 4 pass\n"
          "  Asked by   raw sockets\n");
}

TEST_CASE("mtu text: all is as expected") {
    auto report = report_of(MtuVerdict::ok, MtuDirection::none, 9000);
    report.target = report.address;
    report.trials = {{.bytes = 9000, .sent = 1, .answered = 1},
                     {.bytes = 84, .sent = 1, .answered = 1}};
    CHECK(shown(report) ==
          "MTU to 10.77.0.21 from 10.77.0.2 by eno1, expected 9000\n"
          "    9000  1 of 1 answered\n"
          "      84  1 of 1 answered\n"
          "● packets of 9000 bytes pass, both ways\n"
          "  Asked by   raw sockets\n");
}

TEST_CASE("mtu text: a router says so") {
    auto report = report_of(MtuVerdict::signalled, MtuDirection::forward, 1400);
    report.result.reporter = router;
    report.result.reported = 1400;
    report.trials = {
        {.bytes = 9000, .sent = 1, .too_big = true, .reporter = router, .reported = 1400},
        {.bytes = 8000, .sent = 1, .too_big = true, .reporter = router}};
    CHECK(has(shown(report), "    9000  0 of 1 answered, too big: 10.0.0.1 says 1400\n"));
    CHECK(has(shown(report), "    8000  0 of 1 answered, too big: 10.0.0.1 gives no size\n"));
    CHECK(verdict_of(report) == "▲ E5001 mtu_mismatch: largest packet that passes is 1400 bytes");
    CHECK(value_of(report, "Direction") == "towards pm2; 10.0.0.1 passes 1400 on");
    CHECK(value_of(report, "Mend") ==
          "raise the MTU of the way out of 10.0.0.1 to 9000, or expect 1400");
    report.result.reported = 0;
    CHECK(value_of(report, "Direction") == "towards pm2; 10.0.0.1 says that they are too big");
}

TEST_CASE("mtu text: the other mismatches") {
    auto report = report_of(MtuVerdict::local, MtuDirection::none, 1500);
    report.smaller_device = "eno1";
    CHECK(verdict_of(report) ==
          "▲ E5001 mtu_mismatch: eno1 of this host passes 1500 bytes at most");
    CHECK(value_of(report, "Mend") == "raise the MTU of eno1 to 9000, or expect 1500");
    CHECK(value_of(report, "Direction").empty());
    report.result.answers = false;
    CHECK(value_of(report, "Direction") == "beyond this host nothing answers");

    report = report_of(MtuVerdict::peer_egress, MtuDirection::none, 1500);
    report.result.fragment = 1500;
    report.trials = {{.bytes = 9000, .sent = 1, .answered = 1, .fragment = 1500}};
    CHECK(has(shown(report), "    9000  1 of 1 answered, in fragments of 1500\n"));
    CHECK(verdict_of(report) ==
          "▲ E5001 mtu_mismatch: largest answer that comes whole is 1500 bytes");
    CHECK(value_of(report, "Direction") == "from pm2; packets of 9000 bytes towards pm2 arrive");
    CHECK(value_of(report, "Mend") == "raise the MTU of pm2 to 9000, or expect 1500");

    report = report_of(MtuVerdict::black_hole, MtuDirection::reverse, 1500);
    CHECK(verdict_of(report) ==
          "✖ E5004 mtu_reverse: largest answer that comes back is 1500 bytes");
    CHECK(value_of(report, "Direction") == "from pm2; large packets towards pm2 arrive");
    CHECK(
        value_of(report, "Mend") ==
        "find the hop on the way back that drops them, or a filter on large ICMP; let ICMP type 3 "
        "code 4 pass");
}

TEST_CASE("mtu text: which way a black hole is") {
    auto report = report_of(MtuVerdict::black_hole, MtuDirection::both, 1500);
    CHECK(value_of(report, "Direction") == "both, towards pm2 and from it");
    report.result.direction = MtuDirection::forward;
    report.result.fragment = 1500;
    CHECK(value_of(report, "Direction") ==
          "towards pm2; its large answers come in fragments of 1500");
    CHECK(value_of(report, "Mend") == "raise the MTU of pm2 to 9000, or expect 1500");
    report.result.fragment = 0;
    report.result.direction = MtuDirection::unknown;
    CHECK(value_of(report, "Direction") == "not known: large UDP or fragments may be filtered");
    report.by_raw_sockets = false;
    CHECK(value_of(report, "Direction") ==
          "not known: without CAP_NET_RAW large answers cannot be asked for");
    report.result.reporter = router;
    report.result.reported = 4000;
    CHECK(value_of(report, "Direction") ==
          "not known; 10.0.0.1 says 4000, and not even that passes");
    report.family = Family::ipv6;
    CHECK(value_of(report, "Mend") == "find the hop that drops them; let ICMPv6 type 2 pass");
}

TEST_CASE("mtu text: nothing can be said, and why") {
    auto report = report_of(MtuVerdict::undetermined, MtuDirection::none, 0);
    CHECK(verdict_of(report) ==
          "○ large echo requests are not answered, yet packets as large pass each way");
    CHECK(value_of(report, "Mend") == "look for a filter on large ICMP packets");
    report.result.forward = Passage::passes;
    CHECK(verdict_of(report) ==
          "○ large packets arrive, their answers are cut short: the way back is not known");
    CHECK(value_of(report, "Mend") == "ask from the other end: reachctl mtu there");
    report.result.answers = false;
    report.complaint = {router, FailureReason::host_unreachable};
    CHECK(verdict_of(report) == "○ too few answers came in time: the MTU is not known");
    for (MtuTrial& trial : report.trials) {
        trial.answered = 0;
    }
    CHECK(verdict_of(report) == "○ nothing answers: the MTU is not known");
    CHECK(value_of(report, "Note") == "10.0.0.1 says host unreachable");
    CHECK(value_of(report, "Mend") == "let ICMP echo pass, or look why nothing answers");
    report.settled = false;
    CHECK(verdict_of(report) == "○ no result in the time there is: the MTU is not known");
    report.trials.clear();
    CHECK(verdict_of(report) == "○ nothing could be sent: the MTU is not known");
    CHECK(value_of(report, "Mend") == "see what refuses it: ip route get 10.77.0.21");
}

TEST_CASE("mtu text: the room for a VLAN tag is told apart from the MTU") {
    auto report = report_of(MtuVerdict::black_hole, MtuDirection::forward, 1500);
    CHECK(value_of(report, "Note").empty());
    report.trials.push_back({.bytes = 1504, .sent = 1, .answered = 1});
    CHECK(value_of(report, "Note") == "1504 pass too: room for a VLAN tag, no MTU");
}

TEST_CASE("mtu text: by which sockets, and what they cannot") {
    auto report = report_of(MtuVerdict::ok, MtuDirection::none, 9000);
    report.by_raw_sockets = false;
    CHECK(value_of(report, "Asked by") ==
          "ping sockets; without CAP_NET_RAW which way it fails may stay unknown");
}

TEST_CASE("mtu text: of many sizes those that the verdict stands on") {
    auto report = report_of(MtuVerdict::black_hole, MtuDirection::forward, 3333);
    report.trials = {{.bytes = 9000, .sent = 3}, {.bytes = 84, .sent = 3, .answered = 3}};
    for (std::uint32_t bytes = 500; bytes < 9000; bytes += 500) {
        report.trials.push_back({.bytes = bytes, .sent = 1, .answered = bytes < 3333 ? 1U : 0U});
    }
    report.trials.push_back({.bytes = 3333, .sent = 1, .answered = 1});
    report.trials.push_back({.bytes = 3334, .sent = 8});
    CHECK(shown(report, {.all = false, .legend = false})
              .find("    9000  0 of 3 answered, no ICMP message\n"
                    "    3333  1 of 1 answered\n"
                    "    3334  0 of 8 answered, no ICMP message\n"
                    "    … 18 more sizes: --all\n"
                    "✖ E5002") == 0);
    const std::string all = shown(report, {.all = true, .legend = false});
    CHECK(has(all, "    8500  0 of 1 answered"));
    CHECK_FALSE(has(all, "--all"));
}

TEST_CASE("mtu text: without colour or UTF-8 nothing is missing, and lines fit") {
    for (const auto verdict : {MtuVerdict::ok,
                               MtuVerdict::local,
                               MtuVerdict::signalled,
                               MtuVerdict::peer_egress,
                               MtuVerdict::black_hole,
                               MtuVerdict::undetermined}) {
        auto report = report_of(verdict, MtuDirection::unknown, 1500);
        const std::string ascii = mtu_text(report, {}, {80, false, false, false});
        CHECK(std::all_of(ascii.begin(), ascii.end(), [](char c) { return c > 0; }));
        const std::string coloured = mtu_text(report, {}, {80, true, true, true});
        CHECK(has(coloured, "\x1b[") == (verdict != MtuVerdict::undetermined));
        const std::string text = shown(report);
        std::size_t begin = 0;
        while (begin < text.size()) {
            const auto end = text.find('\n', begin);
            CHECK(display_width(text.substr(begin, end - begin)) <= 80);
            begin = end + 1;
        }
    }
}

TEST_CASE("mtu text: progress is one line that fits") {
    MtuTrace trace;
    trace.on_sent({{0, 1}, {MtuForm::echo, 9000}, 0});
    CHECK(mtu_progress_text(trace, std::chrono::milliseconds(340), piped) ==
          "  0.3 s: 1 sent, 0 answered");
    trace.on_sent({{0, 2}, {MtuForm::echo, 1500}, 0});
    trace.on_answered({0, 2}, 0);
    CHECK(mtu_progress_text(trace, std::chrono::milliseconds(1200), piped) ==
          "  1.2 s: 2 sent, 1 answered, 1500 bytes pass");
    const auto narrow =
        mtu_progress_text(trace, std::chrono::milliseconds(1200), {20, true, false, true});
    CHECK(display_width(narrow) == 19);
    CHECK_FALSE(has(narrow, "\n"));
}
