#include "agent/ctl/mtu_search.hpp"

#include <algorithm>
#include <functional>
#include <vector>

#include <catch2/catch.hpp>

using namespace reachd;
using namespace reachd::ctl;
using namespace std::chrono_literals;

namespace {

const MonoTime start{std::chrono::hours(1)};
const IpAddress here = IpAddress::v4({10, 0, 0, 9});
const IpAddress there = IpAddress::v4({10, 0, 0, 2});
const IpAddress router = IpAddress::v4({10, 0, 0, 1});
constexpr std::array<std::uint64_t, 2> key{1, 2};

EchoTarget target() {
    EchoTarget made;
    made.destination = there;
    return made;
}

constexpr PathMtuFacts facts{9000, 9000, static_cast<IfIndex>(3)};

/// A path in a test: sizes that pass either way, one round-trip time, and whoever says so.
struct Path {
    std::uint32_t forward = 9000;
    std::uint32_t reverse = 9000;
    Duration round_trip = 200us;
    bool answers = true;
    std::uint32_t signalled = 0;  ///< by the router, of what does not pass forward

    /// Runs the search to its end and returns how long it took.
    Duration run(MtuSearch& search) const;

  private:
    using Delivery = std::function<void(MtuSearch&, MonoTime)>;
    Delivery deliver(const MtuRequest& request) const;
    Delivery deliver_error(const MtuRequest& request) const;
};

EchoReply reply_to(const MtuRequest& request) {
    return {1, static_cast<std::uint16_t>(request.cookie.token.sequence), request.cookie};
}

/// As little as routers may quote: the header alone.
EchoError error_about(const MtuRequest& request, FailureReason reason, std::uint32_t mtu) {
    EchoError error;
    error.reason = reason;
    error.destination = there;
    error.source = here;
    error.sequence = static_cast<std::uint16_t>(request.cookie.token.sequence);
    error.mtu = mtu;
    return error;
}

Path::Delivery Path::deliver_error(const MtuRequest& request) const {
    if (signalled == 0) {
        return {};
    }
    if (request.order.packet.form == MtuForm::datagram) {
        return [port = request.order.port, mtu = signalled](MtuSearch& search, MonoTime now) {
            search.on_datagram_error(router, there, port, FailureReason::too_big, mtu, now);
        };
    }
    return [error = error_about(request, FailureReason::too_big, signalled)](
               MtuSearch& search, MonoTime now) { search.on_echo_error(router, error, now); };
}

Path::Delivery Path::deliver(const MtuRequest& request) const {
    const MtuPacket packet = request.order.packet;
    if (!answers) {
        return {};
    }
    if (packet.form != MtuForm::fragmented_echo && packet.bytes > forward) {
        return deliver_error(request);
    }
    if (packet.form == MtuForm::datagram) {
        return [port = request.order.port](MtuSearch& search, MonoTime now) {
            search.on_datagram_error(there, there, port, FailureReason::port_unreachable, 0, now);
        };
    }
    if (packet.bytes > reverse) {
        return {};
    }
    return [reply = reply_to(request), bytes = packet.bytes](MtuSearch& search, MonoTime now) {
        search.on_reply(there, reply, bytes, 0, now);
    };
}

Duration Path::run(MtuSearch& search) const {
    std::vector<std::pair<MonoTime, Delivery>> out;  // by time: the round trip is always the same
    std::vector<MtuRequest> requests;
    MonoTime now = start;
    while (!search.is_over(now)) {
        search.observe(now);
        while (!out.empty() && out.front().first <= now) {
            out.front().second(search, now);
            out.erase(out.begin());
        }
        requests.clear();
        search.poll(now, requests);
        for (const MtuRequest& request : requests) {
            search.on_sent(request.order, now);
            if (auto delivery = deliver(request)) {
                out.emplace_back(now + round_trip, std::move(delivery));
            }
        }
        if (search.is_over(now)) {
            break;
        }
        const MonoTime next = out.empty() ? mono_never : out.front().first;
        now = std::max(now + 1us, std::min(search.next_deadline(), next));
    }
    return now - start;
}

MtuTrial trial_of(const MtuSearch& search, std::uint32_t bytes) {
    const auto& trials = search.trace().trials();
    const auto found = std::find_if(trials.begin(), trials.end(), [bytes](const MtuTrial& trial) {
        return trial.bytes == bytes;
    });
    return found == trials.end() ? MtuTrial{} : *found;
}

}  // namespace

TEST_CASE("mtu search: what is expected passes, and it is over at once") {
    MtuSearch search(target(), facts, key, start);
    CHECK(Path{}.run(search) < 50ms);
    CHECK(search.is_settled());
    CHECK(search.result().verdict == MtuVerdict::ok);
    CHECK(search.result().bytes == 9000);
    CHECK(trial_of(search, 9000) == MtuTrial{.bytes = 9000, .sent = 1, .answered = 1});
}

TEST_CASE("mtu search: a black hole, its size and its direction") {
    const auto [forward, reverse, direction] =
        GENERATE(table<std::uint32_t, std::uint32_t, MtuDirection>({
            {1504, 9000, MtuDirection::forward},
            {9000, 1500, MtuDirection::reverse},
            {1500, 1500, MtuDirection::both},
            {3333, 9000, MtuDirection::forward},
        }));
    Path path;
    path.forward = forward;
    path.reverse = reverse;
    MtuSearch search(target(), facts, key, start);
    CHECK(path.run(search) < 2s);
    CHECK(search.is_settled());
    CHECK(search.result().verdict == MtuVerdict::black_hole);
    CHECK(search.result().direction == direction);
    const std::uint32_t boundary = std::min(forward, reverse);
    CHECK(search.result().bytes == customary_mtu(boundary));
    CHECK(largest_answered(search.trace().trials()) == boundary);
    CHECK(trial_of(search, 9000).answered == 0);
    CHECK(trial_of(search, 9000).sent >= 3);
    CHECK(trial_of(search, boundary + 1).answered == 0);
    CHECK(trial_of(search, boundary + 1).sent >= 3);
}

TEST_CASE("mtu search: a router says so, in a quote of a bare header") {
    Path path;
    path.forward = 1400;
    path.signalled = 1400;
    MtuSearch search(target(), facts, key, start);
    CHECK(path.run(search) < 1s);
    CHECK(search.result().verdict == MtuVerdict::signalled);
    CHECK(search.result().bytes == 1400);
    CHECK(search.result().reporter == router);
    const MtuTrial trial = trial_of(search, 9000);
    CHECK(trial.too_big);
    CHECK(trial.reporter == router);
    CHECK(trial.reported == 1400);
}

TEST_CASE("mtu search: the device is smaller than what is expected") {
    MtuSearch search(target(), {9000, 1500, static_cast<IfIndex>(3)}, key, start);
    CHECK(Path{}.run(search) < 50ms);
    CHECK(search.result().verdict == MtuVerdict::local);
    CHECK(search.result().bytes == 1500);
    CHECK(search.result().answers);
    CHECK(trial_of(search, 9000).sent == 0);
}

TEST_CASE("mtu search: nothing answers, and that is soon known") {
    Path path;
    path.answers = false;
    MtuSearch search(target(), facts, key, start);
    const Duration took = path.run(search);
    CHECK(took < 2s);
    CHECK(search.is_settled());
    CHECK(search.result().verdict == MtuVerdict::undetermined);
    CHECK_FALSE(search.result().answers);
    CHECK_FALSE(search.complaint());
}

TEST_CASE("mtu search: it ends whatever the round trip is, with the right result") {
    const auto round_trip = GENERATE(as<Duration>{}, 1ms, 50ms, 120ms, 250ms, 450ms);
    Path path;
    path.forward = 3333;  // nobody's guess
    path.round_trip = round_trip;
    MtuSearch search(target(), facts, key, start);
    const Duration took = path.run(search);
    CAPTURE(to_seconds(round_trip), to_seconds(took));
    CHECK(search.is_settled());
    CHECK(took < MtuSearch::patience);
    CHECK(search.result().verdict == MtuVerdict::black_hole);
    CHECK(search.result().bytes == 3333);
    CHECK(search.result().direction == MtuDirection::forward);
}

TEST_CASE("mtu search: too small a size asks nothing, and ends") {
    MtuSearch search(target(), {60, 9000, static_cast<IfIndex>(3)}, key, start);
    CHECK(Path{}.run(search) < 50ms);
    CHECK(search.trace().trials().empty());
    CHECK(search.result().verdict == MtuVerdict::undetermined);
}

TEST_CASE("mtu search: whoever never reports a packet as sent is not waited for") {
    MtuSearch search(target(), facts, key, start);
    std::vector<MtuRequest> requests;
    search.poll(start + 10ms, requests);
    REQUIRE_FALSE(requests.empty());
    CHECK_FALSE(search.is_over(start + 10ms));
    CHECK(search.is_over(start + MtuSearch::patience));
    CHECK_FALSE(search.is_settled());
}

TEST_CASE("mtu search: forged answers and errors change nothing") {
    MtuSearch search(target(), facts, key, start);
    std::vector<MtuRequest> requests;
    search.poll(start + 10ms, requests);
    REQUIRE_FALSE(requests.empty());
    const MtuRequest large = requests[0];
    REQUIRE(large.order.packet.bytes == 9000);
    for (const MtuRequest& request : requests) {
        search.on_sent(request.order, start + 10ms);
    }
    const MonoTime now = start + 11ms;
    const EchoReply reply = reply_to(large);

    search.on_reply(router, reply, 9000, 0, now);  // another's answer
    search.on_reply(there, reply, 9001, 0, now);   // larger than the question
    auto forged = reply;
    forged.cookie.tag ^= 1U;
    search.on_reply(there, forged, 9000, 0, now);
    forged = reply;
    forged.cookie.token.session = 7;
    search.on_reply(there, forged, 9000, 0, now);
    forged = reply;
    ++forged.sequence;
    search.on_reply(there, forged, 9000, 0, now);

    auto error = error_about(large, FailureReason::too_big, 1400);
    error.destination = router;  // about a packet to somebody else
    search.on_echo_error(router, error, now);
    error = error_about(large, FailureReason::too_big, 1400);
    error.cookie = large.cookie;
    error.cookie->tag ^= 1U;
    search.on_echo_error(router, error, now);
    error = error_about(large, FailureReason::too_big, 40);  // smaller than any IPv4 link
    search.on_echo_error(router, error, now);
    error = error_about(large, FailureReason::too_big, 9000);  // and what was sent is no larger
    search.on_echo_error(router, error, now);
    error = error_about(large, FailureReason::host_unreachable, 0);
    error.destination = router;
    search.on_echo_error(router, error, now);
    search.on_datagram_error(there, there, 33'434, FailureReason::port_unreachable, 0, now);

    CHECK(trial_of(search, 9000) == MtuTrial{.bytes = 9000, .sent = 1});
    CHECK(search.result().verdict == MtuVerdict::undetermined);
    CHECK_FALSE(search.complaint());

    search.on_reply(there, reply, 9000, 0, now);
    search.on_reply(there, reply, 9000, 0, now);  // twice
    CHECK(trial_of(search, 9000) == MtuTrial{.bytes = 9000, .sent = 1, .answered = 1});
    CHECK(search.result().verdict == MtuVerdict::ok);
}

TEST_CASE("mtu search: an error that is no matter of size is kept as evidence") {
    MtuSearch search(target(), facts, key, start);
    std::vector<MtuRequest> requests;
    search.poll(start + 10ms, requests);
    REQUIRE_FALSE(requests.empty());
    for (const MtuRequest& request : requests) {
        search.on_sent(request.order, start + 10ms);
    }
    const auto error = error_about(requests[0], FailureReason::host_unreachable, 0);
    search.on_echo_error(router, error, start + 11ms);
    REQUIRE(search.complaint());
    CHECK(search.complaint()->reporter == router);
    CHECK(search.complaint()->reason == FailureReason::host_unreachable);
    CHECK_FALSE(search.is_settled());
}
