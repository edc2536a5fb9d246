#include "probes/io/path_mtu_channel.hpp"

#include <cerrno>

#include <linux/filter.h>
#include <netinet/in.h>
#include <unistd.h>

#include "probes/io/socket_option.hpp"

namespace reachd {
namespace {

int open_socket(Family family, int type, int protocol) {
    return socket(
        family == Family::ipv4 ? AF_INET : AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
}

/// The error queue is not filtered.
bool refuse_packets(int fd) {
    sock_filter none{BPF_RET | BPF_K, 0, 0, 0};
    const sock_fprog program{1, &none};
    return set_option(fd, SOL_SOCKET, SO_ATTACH_FILTER, program);
}

/// The kernel holds no less than it wants to, whatever is asked.
void enlarge_send_buffer(int fd) {
    static_cast<void>(set_option(fd, SOL_SOCKET, SO_SNDBUF, path_mtu_send_buffer));
}

}  // namespace

void FileDescriptor::close() {
    if (fd_ >= 0) {
        ::close(std::exchange(fd_, -1));
    }
}

bool forbid_fragmenting(int fd, Family family) {
    return family == Family::ipv4
               ? set_option(fd, SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
               : set_option(fd, SOL_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
}

bool keep_errors(int fd, Family family, bool on) {
    const int value = on ? 1 : 0;
    return family == Family::ipv4 ? set_option(fd, SOL_IP, IP_RECVERR, value)
                                  : set_option(fd, SOL_IPV6, IPV6_RECVERR, value);
}

/// IPPROTO_RAW: the IP header is ours. Not IP_NODEFRAG: a host that tracks connections must see
/// the whole request to know its answer; its reassembly is undone with fragments of our size.
PathMtuChannel open_fragment_channel(Family family) {
    using Kind = PathMtuChannel::Kind;
    FileDescriptor fd(open_socket(family, SOCK_RAW, IPPROTO_RAW));
    if (fd.get() < 0 || !refuse_packets(fd.get()) || !forbid_fragmenting(fd.get(), family)) {
        return {Kind::fragments, false, FileDescriptor()};
    }
    enlarge_send_buffer(fd.get());
    return {Kind::fragments, false, std::move(fd)};
}

PathMtuChannel open_datagram_channel(Family family) {
    using Kind = PathMtuChannel::Kind;
    FileDescriptor fd(open_socket(family, SOCK_DGRAM, 0));
    if (fd.get() < 0 || !refuse_packets(fd.get()) || !forbid_fragmenting(fd.get(), family) ||
        !keep_errors(fd.get(), family, true)) {
        return {Kind::datagrams, true, FileDescriptor()};
    }
    enlarge_send_buffer(fd.get());
    return {Kind::datagrams, true, std::move(fd)};
}

std::optional<IpAddress> chosen_source(const EchoTarget& target) {
    const Family family = target.destination.family();
    constexpr std::uint16_t any_port = 9;
    const FileDescriptor asked(open_socket(family, SOCK_DGRAM, 0));
    if (target.device != IfIndex::any &&
        !set_option(asked.get(), SOL_SOCKET, SO_BINDTOIFINDEX, static_cast<int>(target.device))) {
        return std::nullopt;
    }
    SocketAddress name = to_socket_address(target.destination, any_port);
    socklen_t length = socket_address_bytes(family);
    if (connect(asked.get(), reinterpret_cast<const sockaddr*>(&name), length) != 0 ||
        getsockname(asked.get(), reinterpret_cast<sockaddr*>(&name), &length) != 0) {
        return std::nullopt;
    }
    return from_socket_address(name);
}

OutgoingPacket::OutgoingPacket(const EchoTarget& target, std::uint16_t port)
    : name(to_socket_address(target.destination, port)) {
    message.msg_name = &name;
    message.msg_namelen = socket_address_bytes(target.destination.family());
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    write_control(message, control.data(), target);
}

void OutgoingPacket::set_bytes(ByteSpan head, ByteSpan padding) {
    parts[0] = {head.data(), head.size()};
    parts[1] = {padding.data(), padding.size()};
}

std::optional<IncomingPacket> receive_packet(int fd, int flags, ByteSpan room) {
    IncomingPacket incoming;
    iovec bytes{room.data(), room.size()};
    alignas(cmsghdr) std::array<std::uint8_t, control_bytes_max> control{};
    msghdr message{};
    // A pending error is reported, and so cleared, before what is queued: hence twice.
    for (int attempt = 0; attempt < 2; ++attempt) {
        message.msg_name = &incoming.address;
        message.msg_namelen = sizeof(incoming.address);
        message.msg_iov = &bytes;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        const auto got = recvmsg(fd, &message, flags | MSG_DONTWAIT | MSG_TRUNC);
        if (got >= 0) {
            incoming.length = static_cast<std::size_t>(got);
            incoming.control = read_control(message);
            return incoming;
        }
        if (errno == EAGAIN) {
            break;
        }
    }
    return std::nullopt;
}

void clear_pending_error(int fd) {
    int error = 0;
    socklen_t length = sizeof(error);
    static_cast<void>(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length));
}

}  // namespace reachd
