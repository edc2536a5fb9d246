// The ICMP socket on the real kernel, over loopback: kernel stamps both ways, and a receive buffer
// that really overflows. Needs CAP_NET_RAW (or ping sockets); says so aloud where it has neither.
#include "probes/io/icmp_socket.hpp"

#include <chrono>
#include <thread>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>

#include <sys/socket.h>

namespace reachd {
namespace {

constexpr EchoIdentifiers identifiers{0x5a00, 16};

class Recorder final : public EchoSink {
  public:
    std::size_t sent = 0;
    std::size_t not_sent = 0;
    std::size_t stamps = 0;
    std::size_t replies = 0;
    std::size_t stamped_replies = 0;
    std::size_t overflows = 0;
    std::uint32_t last_sequence = 0;

    void on_batch(const Instant&) override {}

    void expect(std::uint32_t) override {}

    void on_sent(const SendOrder&, const Instant&) override { ++sent; }

    void on_not_sent(const SendOrder&, FailureReason) override { ++not_sent; }

    void on_skipped(const SendOrder&) override { ++not_sent; }

    void on_transmit_stamp(const ProbeCookie&, WallTime) override { ++stamps; }

    void on_reply(const IpAddress&,
                  const EchoReply& reply,
                  std::optional<WallTime> received) override {
        ++replies;
        stamped_replies += received ? 1U : 0U;
        last_sequence = reply.cookie.token.sequence;
    }

    void on_error(const IpAddress&, const EchoError&) override {}

    void on_flaw(PacketFlaw) override {}

    void on_overflow() override { ++overflows; }
};

EchoRequest request(Family family, std::uint16_t identifier, std::uint32_t sequence) {
    EchoRequest made;
    made.order.token = {3, sequence};
    made.target.destination = *IpAddress::parse(family == Family::ipv4 ? "127.0.0.1" : "::1");
    made.cookie = {0x1122334455667788U, {3, sequence}};
    made.identifier = identifier;
    return made;
}

std::unique_ptr<IcmpSocket> open(boost::asio::io_context& context, Family family, int buffer) {
    auto opened = IcmpSocket::open(context, family, identifiers, buffer);
    if (!opened) {
        FAIL("no ICMP socket: " << opened.error().message());
    }
    (*opened)->expect_payload(56);
    return std::move(*opened);
}

/// Wants receive stamps until the program ends: switching them off after one test would come in the
/// midst of the next one, for the kernel does that late too.
void keep_receive_stamps_on() {
    static const int keeper = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    REQUIRE(setsockopt(keeper, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) == 0);
}

/// The kernel switches receive stamps on by a worker of its own, a moment after the first socket of
/// the host has asked for them (net_enable_timestamp).
void await_receive_stamps(IcmpSocket& socket) {
    constexpr std::uint32_t tries_max = 400;
    keep_receive_stamps_on();
    for (std::uint32_t i = 0; i < tries_max; ++i) {
        const std::vector<EchoRequest> one{
            request(socket.family(), socket.identifiers().first, 10'000 + i)};
        Recorder seen;
        socket.send(one, seen);
        socket.drain(seen);
        if (seen.stamped_replies == 1) {
            return;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    FAIL("no receive stamps within two seconds");
}

TEST_CASE("icmp socket: every request over loopback is stamped and answered") {
    const Family family = GENERATE(Family::ipv4, Family::ipv6);
    boost::asio::io_context context(1);
    const auto socket = open(context, family, IcmpSocket::receive_buffer_wanted);
    await_receive_stamps(*socket);
    std::vector<EchoRequest> requests;
    for (std::uint32_t i = 0; i < 200; ++i) {
        requests.push_back(request(family, socket->identifiers().first, i));
    }
    Recorder seen;
    socket->send(requests, seen);
    socket->drain(seen);
    CHECK(seen.sent == 200);
    CHECK(seen.not_sent == 0);
    CHECK(seen.replies == 200);
    CHECK(seen.stamped_replies == 200);
    CHECK(seen.stamps == 200);
    CHECK(seen.overflows == 0);
    CHECK(seen.last_sequence == 199);
}

TEST_CASE("icmp socket: answers that our own buffer drops are told of, by the next packet") {
    boost::asio::io_context context(1);
    const auto socket = open(context, Family::ipv4, 32 * 1024);
    std::vector<EchoRequest> requests;
    for (std::uint32_t i = 0; i < 2000; ++i) {
        requests.push_back(request(Family::ipv4, socket->identifiers().first, i));
    }
    Recorder seen;
    socket->send(requests, seen);
    CHECK(socket->drain(seen));
    REQUIRE(seen.replies < seen.sent);  // else there was no overflow to be told of
    const std::vector<EchoRequest> one_more{
        request(Family::ipv4, socket->identifiers().first, 2000)};
    socket->send(one_more, seen);
    socket->drain(seen);
    CHECK(seen.last_sequence == 2000);
    CHECK(seen.overflows >= 1);
    const std::size_t told = seen.overflows;
    socket->send(one_more, seen);
    socket->drain(seen);
    CHECK(seen.overflows == told);
}

}  // namespace
}  // namespace reachd
