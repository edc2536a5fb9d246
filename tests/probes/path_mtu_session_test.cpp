#include "probes/path_mtu_session.hpp"

#include <algorithm>
#include <vector>

#include <catch2/catch.hpp>

namespace reachd {
namespace {

using namespace std::chrono_literals;

constexpr MonoTime start{100s};
const IpAddress router = *IpAddress::parse("192.0.2.1");

PathMtuSession session_expecting(std::uint32_t expected, Family family = Family::ipv4) {
    PathMtuSession session({family, 60s, 500ms}, start);
    static_cast<void>(session.set_facts({expected, 0, IfIndex{2}}, start));
    return session;
}

TEST_CASE("a check asks with the expected and with a small size", "[path_mtu]") {
    PathMtuSession session = session_expecting(1500);
    CHECK(session.due() == start);
    const auto volley = session.next_volley({}, start);
    REQUIRE(volley.size() == 2);
    CHECK(volley[0] == MtuPacket{MtuForm::echo, 1500});
    CHECK(volley[1].bytes < 200);
    CHECK(session.due() == mono_never);
    session.on_volley_sent(start + 1ms);
    CHECK(session.due() == start + 501ms);
    session.on_answer(volley[0], 0, 2ms, start + 3ms);
    session.on_volley_over(start + 501ms);
    CHECK(session.result().verdict == MtuVerdict::ok);
    CHECK(session.due() == start + 60s);
}

TEST_CASE("nothing is asked where nothing is expected, or less than any MTU", "[path_mtu]") {
    for (const std::uint32_t expected : {0U, 60U}) {
        PathMtuSession session = session_expecting(expected);
        CHECK(session.next_volley({}, start).empty());
        CHECK(session.due() == (expected == 0 ? mono_never : start + 60s));
    }
}

TEST_CASE("the time-out follows the distance within its bounds", "[path_mtu]") {
    PathMtuSession session = session_expecting(1500);
    CHECK(session.timeout() == 500ms);
    const auto volley = session.next_volley({}, start);
    session.on_answer(volley[1], 0, 1ms, start);
    CHECK(session.timeout() == PathMtuSession::timeout_min);
    for (int answer = 0; answer < 100; ++answer) {
        session.on_answer(volley[1], 0, 30ms, start);
    }
    CHECK(session.timeout() > 110ms);
    CHECK(session.timeout() <= 120ms);
    for (int answer = 0; answer < 100; ++answer) {
        session.on_answer(volley[1], 0, 2s, start);
    }
    CHECK(session.timeout() == 500ms);
}

TEST_CASE("three copies fail before a search, a tenth of a second apart", "[path_mtu]") {
    PathMtuSession session = session_expecting(9000);
    MonoTime now = start;
    for (unsigned attempt = 0; attempt < PathMtuSession::attempts_max; ++attempt) {
        CHECK_FALSE(session.is_searching());
        const auto volley = session.next_volley({}, now);
        CHECK(std::count(volley.begin(), volley.end(), MtuPacket{MtuForm::echo, 9000}) == 1);
        session.on_answer(volley[1], 0, 1ms, now);
        session.on_volley_sent(now);
        CHECK(session.due() - now == (attempt == 2 ? 50ms : 100ms));
        now = session.due();
        session.on_volley_over(now);
    }
    CHECK(session.is_searching());
    CHECK(session.due() == now);
}

TEST_CASE("a shorter interval is kept at once", "[path_mtu]") {
    PathMtuSession session = session_expecting(1500);
    const auto volley = session.next_volley({}, start);
    session.on_volley_sent(start);
    session.on_answer(volley[0], 0, 1ms, start);
    session.on_volley_over(start);
    CHECK(session.due() == start + 60s);
    session.set_options({Family::ipv4, 2s, 500ms}, start + 1s);
    CHECK(session.due() <= start + 4s);
    session.set_options({Family::ipv4, 60s, 500ms}, start + 1s);
    CHECK(session.due() <= start + 4s);
}

TEST_CASE("impossible signals are told from possible ones", "[path_mtu]") {
    PathMtuSession session = session_expecting(1500);
    const MtuPacket packet = session.next_volley({}, start).front();
    CHECK_FALSE(session.on_too_big(packet, router, 1500, start));
    CHECK_FALSE(session.on_too_big(packet, router, 67, start));
    CHECK_FALSE(session.is_searching());
    CHECK(session.on_too_big(packet, router, 68, start));
    CHECK(session.is_searching());

    PathMtuSession ipv6 = session_expecting(1500, Family::ipv6);
    const MtuPacket packet6 = ipv6.next_volley({}, start).front();
    CHECK_FALSE(ipv6.on_too_big(packet6, router, 1279, start));
    CHECK(ipv6.on_too_big(packet6, router, 1280, start));
}

TEST_CASE("other facts make what was measured void", "[path_mtu]") {
    PathMtuSession session = session_expecting(1500);
    const auto volley = session.next_volley({}, start);
    session.on_volley_sent(start);
    session.on_answer(volley[0], 0, 1ms, start);
    session.on_volley_over(start + 50ms);
    const auto revision = session.revision();
    CHECK_FALSE(session.set_facts({1500, 0, IfIndex{2}}, start + 1s));
    CHECK(session.revision() == revision);
    CHECK(session.set_facts({1500, 0, IfIndex{3}}, start + 1s));
    CHECK(session.result().verdict == MtuVerdict::undetermined);
    CHECK(session.revision() != revision);
    CHECK(session.due() == start + 1s);
}

TEST_CASE("own trouble makes a check begin anew, but not for ever", "[path_mtu]") {
    PathMtuSession session = session_expecting(1500);
    for (unsigned chance = 0; chance <= PathMtuSession::second_chances_max; ++chance) {
        static_cast<void>(session.next_volley({}, start));
        session.on_volley_sent(start);
        session.on_own_trouble(start);
        session.on_volley_over(start + 1s);
        const bool again = chance < PathMtuSession::second_chances_max;
        CHECK((session.due() <= start + 1s) == again);
    }
    CHECK(session.result().verdict == MtuVerdict::undetermined);
}

TEST_CASE("what own trouble keeps from being measured again is known no more", "[path_mtu]") {
    PathMtuSession session = session_expecting(1500);
    auto volley = session.next_volley({}, start);
    session.on_volley_sent(start);
    session.on_answer(volley[0], 0, 1ms, start);
    session.on_volley_over(start);
    MonoTime now = start;
    for (unsigned check = 0; check < PathMtuSession::spoilt_checks_max; ++check) {
        CHECK(session.result().verdict == MtuVerdict::ok);
        now = session.due();
        for (unsigned chance = 0; chance <= PathMtuSession::second_chances_max; ++chance) {
            volley = session.next_volley({}, now);
            session.on_not_sent(volley[0], now);
            session.on_volley_sent(now);
            session.on_volley_over(now);
        }
    }
    CHECK(session.result().verdict == MtuVerdict::undetermined);
    now = session.due();
    volley = session.next_volley({}, now);
    session.on_volley_sent(now);
    session.on_answer(volley[0], 0, 1ms, now);
    CHECK(session.result().verdict == MtuVerdict::ok);
}

TEST_CASE("a limit of the kernel is tried again without being forgotten", "[path_mtu]") {
    PathMtuSession session = session_expecting(1500);
    MonoTime now = start;
    const auto check = [&](std::uint32_t limit) {
        now = session.due();
        for (bool refused = true; refused;) {
            const auto volley = session.next_volley({}, now);
            REQUIRE(volley.size() == 2);
            refused = volley[0].bytes > limit;
            if (refused) {
                session.on_too_big_for_device(limit, now);
            }
            session.on_volley_sent(now);
            if (!refused) {
                session.on_answer(volley[0], 0, 1ms, now);
            }
            session.on_volley_over(now);
        }
        return session.result();
    };
    CHECK(check(1438).bytes == 1438);
    CHECK(session.result().verdict == MtuVerdict::local);
    const auto revision = session.revision();
    while (now < start + 3 * PathMtuSession::raise_interval) {
        CHECK(check(1438).verdict == MtuVerdict::local);
    }
    CHECK(session.revision() == revision);
    const MonoTime before = now;
    while (session.result().verdict != MtuVerdict::ok) {
        static_cast<void>(check(1500));
    }
    CHECK(session.result().bytes == 1500);
    CHECK(now - before <= PathMtuSession::raise_interval + 60s);
}

TEST_CASE("options that change while packets wait change nothing that is out", "[path_mtu]") {
    PathMtuSession session = session_expecting(1500);
    static_cast<void>(session.next_volley({}, start));  // and its packets wait for their turn
    static_cast<void>(session.set_facts({1400, 0, IfIndex{2}}, start));
    session.set_options({Family::ipv4, 2s, 500ms}, start);
    CHECK(session.due() == mono_never);
    session.on_volley_sent(start + 1s);
    CHECK(session.due() > start + 1s);
}

TEST_CASE("the slack for a VLAN tag is no MTU", "[path_mtu]") {
    CHECK(customary_mtu(1504) == 1500);
    CHECK(customary_mtu(1500) == 1500);
    CHECK(customary_mtu(9004) == 9000);
    CHECK(customary_mtu(1492) == 1492);
    CHECK(customary_mtu(1501) == 1501);
    CHECK(customary_mtu(4) == 4);
}

}  // namespace
}  // namespace reachd
