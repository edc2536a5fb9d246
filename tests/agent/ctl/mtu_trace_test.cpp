#include "agent/ctl/mtu_trace.hpp"

#include <catch2/catch.hpp>

using namespace reachd;
using namespace reachd::ctl;

namespace {

MtuOrder order(std::uint32_t sequence, std::uint32_t bytes, MtuForm form = MtuForm::echo) {
    return {{0, sequence}, {form, bytes}, 0};
}

const IpAddress router = IpAddress::v4({10, 0, 0, 1});

}  // namespace

TEST_CASE("mtu trace: sizes stand in the order in which they were tried first") {
    MtuTrace trace;
    trace.on_sent(order(1, 9000));
    trace.on_sent(order(2, 84));
    trace.on_sent(order(3, 1500));
    trace.on_sent(order(4, 9000));
    trace.on_answered({0, 2}, 0);
    trace.on_answered({0, 3}, 0);
    REQUIRE(trace.trials().size() == 3);
    CHECK(trace.trials()[0] == MtuTrial{.bytes = 9000, .sent = 2});
    CHECK(trace.trials()[1] == MtuTrial{.bytes = 84, .sent = 1, .answered = 1});
    CHECK(trace.trials()[2] == MtuTrial{.bytes = 1500, .sent = 1, .answered = 1});
    CHECK(largest_answered(trace.trials()) == 1500);
    CHECK(largest_answered({}) == 0);
}

TEST_CASE("mtu trace: a packet has one end") {
    MtuTrace trace;
    trace.on_sent(order(1, 1500));
    trace.on_answered({0, 1}, 0);
    trace.on_answered({0, 1}, 0);
    trace.on_too_big({0, 1}, router, 1400);
    trace.on_answered({0, 7}, 0);
    CHECK(trace.trials()[0] == MtuTrial{.bytes = 1500, .sent = 1, .answered = 1});
}

TEST_CASE("mtu trace: the largest fragment of all answers") {
    MtuTrace trace;
    for (const std::uint32_t fragment : {1400U, 1500U, 0U}) {
        trace.on_sent(order(fragment, 9000));
        trace.on_answered({0, fragment}, fragment);
    }
    CHECK(trace.trials()[0].answered == 3);
    CHECK(trace.trials()[0].fragment == 1500);
}

TEST_CASE("mtu trace: who says that it is too big") {
    MtuTrace trace;
    trace.on_sent(order(1, 1500));
    trace.on_too_big({0, 1}, router, 1400);
    const MtuTrial& trial = trace.trials()[0];
    CHECK(trial.too_big);
    CHECK(trial.reporter == router);
    CHECK(trial.reported == 1400);
    CHECK(trial.answered == 0);
}

TEST_CASE("mtu trace: tests of directions are no sizes, and take the place of what is over") {
    constexpr auto again = 1 + static_cast<std::uint32_t>(PathMtuProber::flights_max);
    MtuTrace trace;
    trace.on_sent(order(1, 1500));
    trace.on_sent(order(again, 1501, MtuForm::datagram));
    trace.on_answered({0, again}, 0);
    CHECK(trace.trials() == std::vector<MtuTrial>{{.bytes = 1500, .sent = 1}});
}

TEST_CASE("mtu trace: it is bounded") {
    MtuTrace trace;
    for (std::uint32_t i = 0; i < 2 * MtuTrace::trials_max; ++i) {
        trace.on_sent(order(i, 100 + i));
        trace.on_answered({0, i}, 0);
    }
    CHECK(trace.trials().size() == MtuTrace::trials_max);
    CHECK(trace.trials().back().bytes == 100 + MtuTrace::trials_max - 1);
}
