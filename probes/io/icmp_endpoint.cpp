#include "probes/io/icmp_endpoint.hpp"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include <linux/errqueue.h>
#include <linux/filter.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "probes/io/icmp_filter.hpp"
#include "probes/io/socket_option.hpp"

namespace reachd {
namespace {

int open_socket(Family family, int type) {
    const bool v4 = family == Family::ipv4;
    return socket(v4 ? AF_INET : AF_INET6,
                  type | SOCK_NONBLOCK | SOCK_CLOEXEC,
                  v4 ? static_cast<int>(IPPROTO_ICMP) : static_cast<int>(IPPROTO_ICMPV6));
}

bool attach_filter(int fd, Family family, EchoIdentifiers identifiers) {
    auto program = icmp_filter(family, identifiers);
    const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
    return set_option(fd, SOL_SOCKET, SO_ATTACH_FILTER, filter);
}

/// By type alone, but before the kernel copies the packet for us; over loopback our own requests
/// would be half of them. What is left to the BPF program is to tell ours from the others'.
bool block_other_types(int fd, Family family) {
    if (family == Family::ipv4) {
        constexpr std::uint32_t wanted = 1U << 0U | 1U << 3U | 1U << 11U;
        constexpr int icmp_filter_option = 1;  // ICMP_FILTER of <linux/icmp.h>, which cannot be had
        return set_option(fd, SOL_RAW, icmp_filter_option, ~wanted);
    }
    icmp6_filter filter{};
    ICMP6_FILTER_SETBLOCKALL(&filter);
    for (const int type :
         {ICMP6_DST_UNREACH, ICMP6_PACKET_TOO_BIG, ICMP6_TIME_EXCEEDED, ICMP6_ECHO_REPLY}) {
        ICMP6_FILTER_SETPASS(type, &filter);
    }
    return set_option(fd, IPPROTO_ICMPV6, ICMP6_FILTER, filter);
}

/// A ping socket's identifier is its "port", chosen by the kernel at bind.
std::optional<std::uint16_t> bind_ping_socket(int fd, Family family) {
    SocketAddress address{};
    address.sin6_family = family == Family::ipv4 ? AF_INET : AF_INET6;
    socklen_t length = socket_address_bytes(family);
    if (bind(fd, reinterpret_cast<const sockaddr*>(&address), length) != 0) {
        return std::nullopt;
    }
    length = sizeof(address);
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
        return std::nullopt;
    }
    return ntohs(address.sin6_port);  // the same place in sockaddr_in
}

/// Null: all is well; else the operation that failed.
const char* prepare(IcmpEndpoint& endpoint, Family family, EchoIdentifiers identifiers) {
    const bool v4 = family == Family::ipv4;
    if (endpoint.mode == IcmpMode::raw) {
        endpoint.identifiers = identifiers;
        if (!attach_filter(endpoint.fd, family, identifiers)) {
            return "SO_ATTACH_FILTER";
        }
        return block_other_types(endpoint.fd, family) ? nullptr
                                                      : (v4 ? "ICMP_FILTER" : "ICMP6_FILTER");
    }
    const auto identifier = bind_ping_socket(endpoint.fd, family);
    const bool errors = v4 ? set_option(endpoint.fd, SOL_IP, IP_RECVERR, 1)
                           : set_option(endpoint.fd, SOL_IPV6, IPV6_RECVERR, 1);
    if (!identifier || !errors) {
        return "ping socket";
    }
    endpoint.identifiers = {*identifier, 1};
    return nullptr;
}

}  // namespace

std::string IcmpSocketError::message() const {
    return fmt::format("{}: {}", operation, std::strerror(error));
}

bool IcmpSocketError::family_missing() const {
    return error == EAFNOSUPPORT || error == EPROTONOSUPPORT;
}

Result<IcmpEndpoint, IcmpSocketError> open_icmp(Family family, EchoIdentifiers identifiers) {
    IcmpEndpoint endpoint;
    endpoint.fd = open_socket(family, SOCK_RAW);
    if (endpoint.fd < 0 && (errno == EPERM || errno == EACCES)) {
        endpoint.mode = IcmpMode::ping;
        endpoint.fd = open_socket(family, SOCK_DGRAM);
    }
    if (endpoint.fd < 0) {
        return IcmpSocketError{endpoint.mode == IcmpMode::raw ? "raw ICMP socket" : "ping socket",
                               errno};
    }
    if (const char* failed = prepare(endpoint, family, identifiers)) {
        const IcmpSocketError error{failed, errno};
        close(endpoint.fd);
        return error;
    }
    return endpoint;
}

std::optional<EchoError> read_ping_error(Family family,
                                         const QueuedError& error,
                                         const SocketAddress& destination,
                                         ByteView quoted) {
    if (error.origin != SO_EE_ORIGIN_ICMP && error.origin != SO_EE_ORIGIN_ICMP6) {
        return std::nullopt;
    }
    const auto reason = icmp_failure(family, error.type, error.code);
    if (!reason || quoted.size() < icmp_header_bytes) {
        return std::nullopt;
    }
    return EchoError{*reason,
                     from_socket_address(destination),
                     IpAddress{},
                     *read_u16(quoted, 4),
                     *read_u16(quoted, 6),
                     ProbeCookie::read(quoted.subspan(icmp_header_bytes)),
                     error.info};
}

}  // namespace reachd
