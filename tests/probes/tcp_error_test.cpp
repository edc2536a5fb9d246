#include "probes/tcp_error.hpp"

#include <cerrno>

#include <catch2/catch.hpp>

#include <linux/errqueue.h>

namespace reachd {
namespace {

using Kind = TcpResult::Kind;
using enum FailureReason;

const IpAddress own = *IpAddress::parse("10.0.0.1");
const IpAddress router = *IpAddress::parse("10.0.0.254");
const IpAddress own_v6 = *IpAddress::parse("fd00::1");
const IpAddress router_v6 = *IpAddress::parse("fd00::fe");

TcpTarget free_target() {
    TcpTarget target;
    target.destination = *IpAddress::parse("10.0.0.2");
    target.port = 80;
    return target;
}

std::optional<FailureReason> failure(TcpStep step, int error) {
    return tcp_send_failure(step, error, free_target());
}

QueuedTcpError icmp(std::uint8_t type, std::uint8_t code, const IpAddress& offender = router) {
    return {SO_EE_ORIGIN_ICMP, type, code, offender};
}

QueuedTcpError icmp6(std::uint8_t type, std::uint8_t code, const IpAddress& offender = router_v6) {
    return {SO_EE_ORIGIN_ICMP6, type, code, offender};
}

TEST_CASE("tcp error: our own trouble is no evidence at any step") {
    const auto step = GENERATE(TcpStep::open, TcpStep::prepare, TcpStep::connect);
    for (const int error : {EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC, EAGAIN, EINTR}) {
        CAPTURE(error);
        CHECK_FALSE(failure(step, error));
    }
}

TEST_CASE("tcp error: what connect() refuses is a route, a firewall or a local error") {
    CHECK(failure(TcpStep::connect, ENETUNREACH) == no_route);
    CHECK(failure(TcpStep::connect, EHOSTUNREACH) == no_route);
    CHECK(failure(TcpStep::connect, EACCES) == no_route);
    CHECK(failure(TcpStep::connect, EPERM) == local_firewall);
    CHECK(failure(TcpStep::connect, ECONNREFUSED) == local_firewall);
    CHECK(failure(TcpStep::connect, ENODEV) == local_error);
    CHECK(failure(TcpStep::connect, 12345) == local_error);
}

TEST_CASE("tcp error: a lack of local ports is our own trouble, a source that is not ours is not") {
    TcpTarget target = free_target();
    CHECK_FALSE(tcp_send_failure(TcpStep::connect, EADDRNOTAVAIL, target));
    target.source = own;
    CHECK_FALSE(tcp_send_failure(TcpStep::connect, EADDRNOTAVAIL, target));
    CHECK(tcp_send_failure(TcpStep::prepare, EADDRNOTAVAIL, target) == local_error);
}

TEST_CASE("tcp error: the same errno before connect() says nothing about routes") {
    const auto step = GENERATE(TcpStep::open, TcpStep::prepare);
    for (const int error : {ENETUNREACH, EACCES, EPERM, EINVAL, EADDRNOTAVAIL, EAFNOSUPPORT}) {
        CAPTURE(error);
        CHECK(failure(step, error) == local_error);
    }
}

TEST_CASE("tcp error: EINVAL is a blackhole route unless source or device may be to blame") {
    CHECK(failure(TcpStep::connect, EINVAL) == no_route);
    TcpTarget target = free_target();
    target.device = IfIndex{3};
    CHECK(tcp_send_failure(TcpStep::connect, EINVAL, target) == local_error);
    target = free_target();
    target.source = own;
    CHECK(tcp_send_failure(TcpStep::connect, EINVAL, target) == local_error);
}

TEST_CASE("tcp error: ICMP tells apart what errno does not") {
    CHECK(tcp_loss(icmp(3, 0), own) == net_unreachable);
    CHECK(tcp_loss(icmp(3, 1), own) == host_unreachable);
    CHECK(tcp_loss(icmp(3, 3), own) == port_unreachable);
    CHECK(tcp_loss(icmp(3, 4), own) == too_big);
    CHECK(tcp_loss(icmp(3, 9), own) == prohibited);
    CHECK(tcp_loss(icmp(3, 13), own) == prohibited);
    CHECK(tcp_loss(icmp(11, 0), own) == ttl_exceeded);
    CHECK_FALSE(tcp_loss(icmp(11, 1), own));  // reassembly time
    CHECK_FALSE(tcp_loss(icmp(12, 0), own));  // parameter problem
    CHECK(tcp_loss(icmp6(1, 0), own_v6) == net_unreachable);
    CHECK(tcp_loss(icmp6(1, 1), own_v6) == prohibited);
    CHECK(tcp_loss(icmp6(1, 3), own_v6) == host_unreachable);
    CHECK(tcp_loss(icmp6(1, 4), own_v6) == port_unreachable);
    CHECK(tcp_loss(icmp6(2, 0), own_v6) == too_big);
    CHECK(tcp_loss(icmp6(3, 0), own_v6) == ttl_exceeded);
}

TEST_CASE("tcp error: host unreachable from our own end is our neighbour discovery") {
    CHECK(tcp_loss(icmp(3, 1, own), own) == neighbour_failed);
    CHECK(tcp_loss(icmp6(1, 3, own_v6), own_v6) == neighbour_failed);
    // Only that: our own firewall's REJECT says other things.
    CHECK(tcp_loss(icmp(3, 3, own), own) == port_unreachable);
    CHECK(tcp_loss(icmp(3, 13, own), own) == prohibited);
}

TEST_CASE(
    "tcp error: an error of our own host is its firewall's REJECT, unless nobody answers ARP") {
    const auto loss = [](FailureReason reason, const IpAddress& reporter) {
        return TcpResult{Kind::lost, reason, std::nullopt, false, 0, reporter};
    };
    for (const auto reason : {prohibited, port_unreachable, net_unreachable, host_unreachable}) {
        CHECK(is_local_reject(loss(reason, own), own));
        CHECK_FALSE(is_local_reject(loss(reason, router), own));
    }
    CHECK(is_local_reject(loss(prohibited, own_v6), own_v6));
    CHECK_FALSE(is_local_reject(loss(neighbour_failed, own), own));
    CHECK_FALSE(is_local_reject(loss(timeout, IpAddress{}), own));
    CHECK_FALSE(is_local_reject({Kind::refused, refused, std::nullopt, true, 0, own}, own));
}

TEST_CASE("tcp error: a zone on one of two equal addresses makes them no different") {
    IpAddress local = *IpAddress::parse("fe80::1");
    IpAddress offender = local;
    offender.set_scope(IfIndex{7});
    CHECK(tcp_loss(icmp6(1, 3, offender), local) == neighbour_failed);
}

TEST_CASE("tcp error: equal first bytes of another family are another address") {
    // 10.0.0.1 and a00:1::, of which an IPv4 address would be a prefix.
    const IpAddress alike = *IpAddress::parse("a00:1::");
    CHECK(tcp_loss(icmp6(1, 3, alike), own) == host_unreachable);
}

TEST_CASE("tcp error: what is not of ICMP explains nothing, whatever its numbers") {
    for (const int origin : {SO_EE_ORIGIN_NONE,
                             SO_EE_ORIGIN_LOCAL,
                             SO_EE_ORIGIN_TXSTATUS,
                             SO_EE_ORIGIN_ZEROCOPY,
                             255}) {
        CAPTURE(origin);
        const QueuedTcpError queued{static_cast<std::uint8_t>(origin), 3, 1, router};
        CHECK_FALSE(tcp_loss(queued, own));
    }
}

TEST_CASE("tcp error: no ICMP error makes a reason that is no loss") {
    for (int type = 0; type <= 255; ++type) {
        for (int code = 0; code <= 255; ++code) {
            const auto t = static_cast<std::uint8_t>(type);
            const auto c = static_cast<std::uint8_t>(code);
            for (const auto& reason : {tcp_loss(icmp(t, c), own), tcp_loss(icmp6(t, c), own_v6)}) {
                if (reason && !is_loss(*reason)) {
                    FAIL("type " << type << " code " << code);
                }
            }
        }
    }
}

TEST_CASE("tcp error: a pending error without ICMP") {
    CHECK_FALSE(tcp_end(0));
    CHECK(tcp_end(ECONNREFUSED) == TcpEnd{Kind::refused});
    CHECK(tcp_end(ETIMEDOUT) == TcpEnd{Kind::lost, timeout});
    CHECK(tcp_end(EHOSTUNREACH) == TcpEnd{Kind::lost, host_unreachable});
    CHECK(tcp_end(ENETUNREACH) == TcpEnd{Kind::lost, net_unreachable});
    CHECK(tcp_end(EACCES) == TcpEnd{Kind::lost, prohibited});
    CHECK(tcp_end(EMSGSIZE) == TcpEnd{Kind::lost, too_big});
    CHECK(tcp_end(EPROTO) == TcpEnd{Kind::lost, timeout});
    // The peer accepted and closed at once: the handshake was over.
    CHECK(tcp_end(ECONNRESET) == TcpEnd{Kind::established});
    CHECK(tcp_end(EPIPE) == TcpEnd{Kind::established});
}

}  // namespace
}  // namespace reachd
