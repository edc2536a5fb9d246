#include "probes/sent_requests.hpp"

#include <catch2/catch.hpp>

namespace reachd {
namespace {

using namespace std::chrono_literals;

const IpAddress one = *IpAddress::parse("10.0.0.1");
const IpAddress two = *IpAddress::parse("10.0.0.2");

WallTime at(Duration since) {
    return WallTime(1000s + since);
}

ProbeToken token(std::uint32_t sequence) {
    return {7, sequence};
}

TEST_CASE("sent requests: a stamp is of the request to that address, once") {
    SentRequests sent;
    CHECK(sent.empty());
    sent.add(one, token(1), at(0us));
    sent.add(two, token(2), at(1us));
    CHECK(sent.take(two, at(5us)) == token(2));
    CHECK(sent.take(two, at(5us)) == std::nullopt);
    CHECK(sent.take(one, at(6us)) == token(1));
    CHECK(sent.empty());
}

TEST_CASE("sent requests: of several to one address each stamp finds its own") {
    SentRequests sent;
    SECTION("each stamp comes before the next request") {
        sent.add(one, token(1), at(0us));
        CHECK(sent.take(one, at(3us)) == token(1));
        sent.add(one, token(2), at(10us));
        CHECK(sent.take(one, at(13us)) == token(2));
    }
    SECTION("stamps are read late") {
        sent.add(one, token(1), at(0us));
        sent.add(one, token(2), at(10us));
        CHECK(sent.take(one, at(3us)) == token(1));
        CHECK(sent.take(one, at(13us)) == token(2));
    }
    SECTION("a queue holds the frames back") {
        sent.add(one, token(1), at(0us));
        sent.add(one, token(2), at(10us));
        sent.add(one, token(3), at(20us));
        CHECK(sent.take(one, at(40ms)) == token(1));
        CHECK(sent.take(one, at(50ms)) == token(2));
        CHECK(sent.take(one, at(60ms)) == token(3));
    }
    CHECK(sent.empty());
}

TEST_CASE("sent requests: a lost stamp harms none of the next burst, and none of other addresses") {
    SentRequests sent;
    sent.add(two, token(1), at(0us));
    sent.add(one, token(2), at(1us));
    CHECK(sent.take(one, at(4us)) == token(2));
    for (std::uint32_t i = 3; i < 10; ++i) {
        const WallTime before = at(i * 150ms);
        sent.add(two, token(i), before);
        CHECK(sent.take(two, before + 3us) == token(i));
    }
    CHECK(sent.empty());
}

TEST_CASE("sent requests: a stamp from before, or from long after, is nobody's") {
    SentRequests sent;
    sent.add(one, token(1), at(1s));
    CHECK(sent.take(one, at(1s - 1ns)) == std::nullopt);  // the clock was set back
    CHECK(sent.take(one, at(1s + SentRequests::queue_time_max + 1ns)) == std::nullopt);
    CHECK(sent.take(one, at(1s + SentRequests::queue_time_max)) == token(1));
}

TEST_CASE("sent requests: the scope of a link-local address is no part of it") {
    SentRequests sent;
    IpAddress scoped = *IpAddress::parse("fe80::1");
    scoped.set_scope(IfIndex{4});
    sent.add(scoped, token(1), at(0s));
    CHECK(sent.take(*IpAddress::parse("fe80::1"), at(1us)) == token(1));
}

TEST_CASE("sent requests: bounded, and the first ones keep their places") {
    SentRequests sent;
    for (std::uint32_t i = 0; i < 100; ++i) {
        sent.add(one, token(i), at(i * 1us));
        CHECK(sent.size() <= SentRequests::requests_max);
    }
    for (std::uint32_t i = 0; i < SentRequests::requests_max; ++i) {
        CHECK(sent.take(one, at(1ms)) == token(i));
    }
    CHECK(sent.take(one, at(1ms)) == std::nullopt);
    CHECK(sent.empty());
}

TEST_CASE("sent requests: who waits too long is forgotten") {
    SentRequests sent;
    sent.add(one, token(1), at(0s));
    sent.add(two, token(2), at(SentRequests::queue_time_max));
    CHECK(sent.size() == 2);
    sent.add(two, token(3), at(SentRequests::queue_time_max + 1ns));
    CHECK(sent.size() == 2);
    CHECK(sent.take(one, at(SentRequests::queue_time_max)) == std::nullopt);
}

}  // namespace
}  // namespace reachd
