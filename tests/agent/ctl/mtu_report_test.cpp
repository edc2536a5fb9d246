#include "agent/ctl/mtu_report.hpp"

#include <catch2/catch.hpp>

using namespace reachd;
using namespace reachd::ctl;

namespace {

std::string_view code_of(MtuVerdict verdict, MtuDirection direction = MtuDirection::none) {
    PathMtu mtu;
    mtu.verdict = verdict;
    mtu.direction = direction;
    const auto fault = fault_of(mtu);
    return fault ? fault->code : "";
}

}  // namespace

TEST_CASE("mtu report: verdicts have the codes of the daemon's faults") {
    CHECK(code_of(MtuVerdict::ok).empty());
    CHECK(code_of(MtuVerdict::undetermined).empty());
    CHECK(code_of(MtuVerdict::signalled, MtuDirection::forward) == "E5001");
    CHECK(code_of(MtuVerdict::local) == "E5001");
    CHECK(code_of(MtuVerdict::peer_egress) == "E5001");
    CHECK(code_of(MtuVerdict::black_hole, MtuDirection::forward) == "E5002");
    CHECK(code_of(MtuVerdict::black_hole, MtuDirection::both) == "E5002");
    CHECK(code_of(MtuVerdict::black_hole, MtuDirection::unknown) == "E5002");
    CHECK(code_of(MtuVerdict::black_hole, MtuDirection::reverse) == "E5004");
}
