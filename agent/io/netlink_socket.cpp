#include "agent/io/netlink_socket.hpp"

#include <array>
#include <cerrno>
#include <string>
#include <utility>

#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "common/io/receive_buffer.hpp"

namespace reachd {
namespace {

/// libnl's own codes are coarser than errno; its text goes along.
[[noreturn]] void fail(const std::string& operation, int libnl_error) {
    const int error = errno != 0 ? errno : EIO;
    throw std::system_error(
        error,
        std::system_category(),
        "rtnetlink: cannot " + operation + " (" + nl_geterror(libnl_error) + ")");
}

std::error_code last_error() {
    return {errno, std::system_category()};
}

bool is_from_kernel(const msghdr& header, const sockaddr_nl& sender) {
    return header.msg_namelen == sizeof sender && sender.nl_family == AF_NETLINK &&
           sender.nl_pid == 0;
}

}  // namespace

/// The buffers of one recvmmsg. Pages that no datagram reaches are never touched: events cost 4 kB
/// a slot, not 64.
struct NetlinkSocket::Batch {
    std::unique_ptr<std::uint8_t[]> bytes{
        new std::uint8_t[datagrams_per_call * datagram_bytes_max]};
    std::array<mmsghdr, datagrams_per_call> headers{};
    std::array<iovec, datagrams_per_call> parts{};
    std::array<sockaddr_nl, datagrams_per_call> senders{};

    /// The kernel writes lengths and flags into the headers: set them anew before each call.
    void prepare() {
        for (std::size_t i = 0; i < headers.size(); ++i) {
            parts[i] = {bytes.get() + i * datagram_bytes_max, datagram_bytes_max};
            headers[i] = {};
            headers[i].msg_hdr.msg_name = &senders[i];
            headers[i].msg_hdr.msg_namelen = sizeof senders[i];
            headers[i].msg_hdr.msg_iov = &parts[i];
            headers[i].msg_hdr.msg_iovlen = 1;
        }
    }
};

void NetlinkSocket::Free::operator()(nl_sock* socket) const {
    nl_socket_free(socket);
}

NetlinkSocket::NetlinkSocket(boost::asio::io_context& context, std::function<void()> on_readable)
    : on_readable_(std::move(on_readable)),
      socket_(nl_socket_alloc()),
      descriptor_(context),
      batch_(std::make_unique<Batch>()) {
    open();
    descriptor_.assign(nl_socket_get_fd(socket_.get()));
    wait();
}

NetlinkSocket::~NetlinkSocket() {
    // libnl closes the descriptor; Asio must let go of it before.
    descriptor_.release();
}

void NetlinkSocket::open() {
    errno = 0;
    if (!socket_) {
        fail("allocate a socket", -NLE_NOMEM);
    }
    if (const int error = nl_connect(socket_.get(), NETLINK_ROUTE); error < 0) {
        fail("open a NETLINK_ROUTE socket", error);
    }
    if (const int error = nl_socket_set_nonblocking(socket_.get()); error < 0) {
        fail("make the socket non-blocking", error);
    }
    receive_buffer_bytes_ =
        enlarge_receive_buffer(nl_socket_get_fd(socket_.get()), receive_buffer_wanted_bytes);
    // Since Linux 4.20; without it the kernel takes the requests as well, but filters less.
    const int on = 1;
    const int fd = nl_socket_get_fd(socket_.get());
    static_cast<void>(::setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on));
    join(RTNLGRP_LINK, "links");
    join(RTNLGRP_IPV4_ROUTE, "IPv4 routes");
    join(RTNLGRP_IPV6_ROUTE, "IPv6 routes");
    // Since Linux 5.3; older kernels have no next hop objects to miss.
    static_cast<void>(nl_socket_add_membership(socket_.get(), RTNLGRP_NEXTHOP));
}

void NetlinkSocket::join(int group, const char* name) {
    errno = 0;
    if (const int error = nl_socket_add_membership(socket_.get(), group); error < 0) {
        fail(std::string("join the group of ") + name, error);
    }
}

void NetlinkSocket::wait() {
    if (waiting_) {
        return;
    }
    waiting_ = true;
    descriptor_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                           [this](const boost::system::error_code& error) {
                               if (!error) {  // else cancelled: this object may be gone
                                   waiting_ = false;
                                   on_readable_();
                               }
                           });
}

std::error_code NetlinkSocket::drain(NetlinkSink& sink) {
    const int fd = nl_socket_get_fd(socket_.get());
    std::size_t taken = 0;
    while (taken < datagrams_per_drain) {
        batch_->prepare();
        const int count =
            ::recvmmsg(fd, batch_->headers.data(), datagrams_per_call, MSG_DONTWAIT, nullptr);
        if (count > 0) {
            const auto received = static_cast<std::size_t>(count);
            deliver(*batch_, received, sink);
            taken += received;
            continue;
        }
        if (count == 0 || errno == EAGAIN) {
            break;
        }
        if (errno == ENOBUFS) {
            sink.on_overrun();
            ++taken;  // so that a storm of losses cannot keep us here
        } else if (errno != EINTR) {
            return last_error();
        }
    }
    wait();
    return {};
}

void NetlinkSocket::deliver(const Batch& batch, std::size_t count, NetlinkSink& sink) {
    for (std::size_t i = 0; i < count; ++i) {
        const auto& header = batch.headers[i];
        if (!is_from_kernel(header.msg_hdr, batch.senders[i])) {
            ++foreign_datagrams_;
        } else if ((header.msg_hdr.msg_flags & MSG_TRUNC) != 0) {
            sink.on_truncated();
        } else {
            const auto* bytes = batch.bytes.get() + i * datagram_bytes_max;
            sink.on_datagram(ByteView(bytes, header.msg_len));
        }
    }
}

std::error_code NetlinkSocket::request(const DumpRequest& request) {
    const auto bytes = encode(request);
    sockaddr_nl kernel{};
    kernel.nl_family = AF_NETLINK;
    const auto* address = reinterpret_cast<const sockaddr*>(&kernel);
    const int fd = nl_socket_get_fd(socket_.get());
    const auto sent =
        ::sendto(fd, bytes.data(), bytes.size(), MSG_DONTWAIT, address, sizeof kernel);
    return sent < 0 ? last_error() : std::error_code{};
}

}  // namespace reachd
