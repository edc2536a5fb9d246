#include "probes/tcp_error.hpp"

#include <algorithm>
#include <cerrno>

#include <linux/errqueue.h>

#include "probes/icmp_packet.hpp"

namespace reachd {
namespace {

FailureReason connect_failure(int error, const TcpTarget& target) {
    switch (error) {
        case ENETUNREACH:
        case EHOSTUNREACH:
        case EACCES:  // a "prohibit" route: once open, a socket needs no other permission
            return FailureReason::no_route;
        case EPERM:         // a control group's hook
        case ECONNREFUSED:  // a security module's hook: a peer's answer comes later than this
            return FailureReason::local_firewall;
        case EINVAL: {
            // A "blackhole" route, unless it is our source or device that makes no sense.
            const bool free_choice =
                target.source.is_unspecified() && target.device == IfIndex::any;
            return free_choice ? FailureReason::no_route : FailureReason::local_error;
        }
        default: return FailureReason::local_error;
    }
}

}  // namespace

std::optional<FailureReason> tcp_send_failure(TcpStep step, int error, const TcpTarget& target) {
    switch (error) {
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
        case ENOSPC:  // too many watches (fs.epoll.max_user_watches)
        case EAGAIN:
        case EINTR: return std::nullopt;
        default: break;
    }
    switch (step) {
        case TcpStep::open:
        case TcpStep::prepare: return FailureReason::local_error;
        case TcpStep::connect: break;
    }
    return error == EADDRNOTAVAIL ? std::nullopt : std::optional(connect_failure(error, target));
}

std::optional<FailureReason> tcp_loss(const QueuedTcpError& queued, const IpAddress& own) {
    if (queued.origin != SO_EE_ORIGIN_ICMP && queued.origin != SO_EE_ORIGIN_ICMP6) {
        return std::nullopt;
    }
    const Family family = queued.origin == SO_EE_ORIGIN_ICMP ? Family::ipv4 : Family::ipv6;
    const auto reason = icmp_failure(family, queued.type, queued.code);
    if (reason == FailureReason::host_unreachable && queued.offender.has_same_bytes(own)) {
        return FailureReason::neighbour_failed;
    }
    return reason;
}

bool is_local_reject(const TcpResult& loss, const IpAddress& own) {
    return loss.kind == TcpResult::Kind::lost && loss.reason != FailureReason::neighbour_failed &&
           loss.reporter.has_same_bytes(own);
}

std::optional<TcpEnd> tcp_end(int pending_error) {
    using Kind = TcpResult::Kind;
    switch (pending_error) {
        case 0: return std::nullopt;
        case ECONNREFUSED: return TcpEnd{Kind::refused};
        case ECONNRESET:  // RST after the handshake: before it, it is ECONNREFUSED
        case EPIPE:       // and after the peer's FIN
            return TcpEnd{Kind::established};
        case EHOSTUNREACH: return TcpEnd{Kind::lost, FailureReason::host_unreachable};
        case ENETUNREACH: return TcpEnd{Kind::lost, FailureReason::net_unreachable};
        case EACCES: return TcpEnd{Kind::lost, FailureReason::prohibited};
        case EMSGSIZE: return TcpEnd{Kind::lost, FailureReason::too_big};
        default:
            return TcpEnd{Kind::lost, FailureReason::timeout};  // ETIMEDOUT, and the unheard of
    }
}

}  // namespace reachd
