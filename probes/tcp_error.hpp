// What the kernel's words about a TCP connect mean: the errno of a call that failed, the pending
// error of a socket, the ICMP error on its error queue. Pure: reads no socket.
//
// An errno alone says little. The kernel makes EHOSTUNREACH of a host unreachable, of a firewall's
// "prohibited" and of an expired TTL, and ECONNREFUSED of a RST (an answer of the peer) as well as
// of a port unreachable (for TCP always a firewall's REJECT). So type and code of the ICMP error
// have the word, and the errno only where there is none.
#pragma once

#include <cstdint>
#include <optional>

#include "common/address.hpp"
#include "common/probe.hpp"
#include "probes/tcp_request.hpp"
#include "probes/tcp_result.hpp"

namespace reachd {

/// The step at which the kernel refused a connect.
enum class TcpStep : std::uint8_t {
    open,     ///< socket()
    prepare,  ///< options and bind()
    connect,  ///< connect()
};

/// Why the kernel did not take this connect, from the errno of that step. Nothing: trouble of our
/// own (descriptors, memory, buffers, local ports), which says nothing about any path. A source
/// address that is not the host's is a local_error of bind(); the same errno of connect() means
/// that all local ports towards this destination are taken. (IPv6 has it also where the host has no
/// address to ask from, which is no_route: the connector tells the two apart.)
///
/// Of the local firewall's output hook connect() says nothing. What it rejects is found by
/// is_local_reject(); what it drops is retransmitted as if the network had lost it.
std::optional<FailureReason> tcp_send_failure(TcpStep step, int error, const TcpTarget& target);

/// One message of a socket's error queue: the parts of struct sock_extended_err that matter.
struct QueuedTcpError {
    std::uint8_t origin = 0;  ///< SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6; others explain nothing
    std::uint8_t type = 0;    ///< ICMP type and code
    std::uint8_t code = 0;
    IpAddress offender;  ///< who sent it
};

/// The loss that this message explains; nothing: none. `own` is the local end of the connection:
/// "host unreachable" from there means that our own neighbour discovery had no answer.
std::optional<FailureReason> tcp_loss(const QueuedTcpError& queued, const IpAddress& own);

/// Whether this loss is the local firewall's REJECT: an ICMP error of our own host. Found on the
/// error queue right after connect() it means that the SYN has not left: never sent,
/// local_firewall. What a firewall rejects of later SYNs only, when the first one is counted as
/// sent, is lost.
bool is_local_reject(const TcpResult& loss, const IpAddress& own);

struct TcpEnd {
    TcpResult::Kind kind = TcpResult::Kind::lost;
    FailureReason reason = FailureReason::timeout;  ///< if lost

    friend bool operator==(const TcpEnd&, const TcpEnd&) = default;
};

/// What a socket's pending error (SO_ERROR) says about its connect where no ICMP error does;
/// nothing for 0: it goes on.
std::optional<TcpEnd> tcp_end(int pending_error);

}  // namespace reachd
