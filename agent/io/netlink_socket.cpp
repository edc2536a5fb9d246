#include "agent/io/netlink_socket.hpp"

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include <boost/asio/post.hpp>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/epoll.h>
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

/// What a read counts for at least, so that a storm of losses comes to an end.
constexpr std::size_t bytes_per_read_min = 4096;

epoll_event one_shot() {
    epoll_event wanted{};
    wanted.events = EPOLLIN | EPOLLONESHOT;
    return wanted;
}

}  // namespace

void NetlinkSocket::Free::operator()(nl_sock* socket) const {
    nl_socket_free(socket);
}

NetlinkSocket::NetlinkSocket(boost::asio::io_context& context,
                             std::function<void()> on_readable,
                             int receive_buffer)
    : context_(context),
      on_readable_(std::move(on_readable)),
      socket_(open()),
      statistics_socket_(open()),
      watch_(context),
      timer_(context),
      receive_buffer_bytes_(enlarge_receive_buffer(fd(), receive_buffer)),
      dump_reader_(context, helper_, fd(), [this] { report(); }),
      statistics_reader_(context, helper_, nl_socket_get_fd(statistics_socket_.get()), [this] {
          on_readable_();
      }) {
    join_groups();
    open_watch();
    watch();
}

NetlinkSocket::~NetlinkSocket() {
    // At worst as long as somebody else holds the rtnl lock.
    helper_.stop();
    helper_.join();
}

NetlinkSocket::Socket NetlinkSocket::open() {
    errno = 0;
    Socket socket(nl_socket_alloc());
    if (!socket) {
        fail("allocate a socket", -NLE_NOMEM);
    }
    if (const int error = nl_connect(socket.get(), NETLINK_ROUTE); error < 0) {
        fail("open a NETLINK_ROUTE socket", error);
    }
    if (const int error = nl_socket_set_nonblocking(socket.get()); error < 0) {
        fail("make the socket non-blocking", error);
    }
    // Since Linux 4.20; without it the kernel takes the requests as well, but filters less.
    const int on = 1;
    const int fd = nl_socket_get_fd(socket.get());
    static_cast<void>(::setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on));
    return socket;
}

int NetlinkSocket::fd() const {
    return nl_socket_get_fd(socket_.get());
}

void NetlinkSocket::join_groups() {
    join(RTNLGRP_LINK, "links");
    join(RTNLGRP_IPV4_IFADDR, "IPv4 addresses");
    join(RTNLGRP_IPV6_IFADDR, "IPv6 addresses");
    join(RTNLGRP_NEIGH, "neighbours");
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

// ---- Waiting

void NetlinkSocket::open_watch() {
    const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) {
        throw std::system_error(last_error(), "rtnetlink: epoll_create1");
    }
    watch_.assign(epoll);  // owns it from here on
    epoll_event wanted = one_shot();
    if (::epoll_ctl(epoll, EPOLL_CTL_ADD, fd(), &wanted) != 0) {
        throw std::system_error(last_error(), "rtnetlink: epoll_ctl");
    }
}

/// The one-shot watch is armed by now.
void NetlinkSocket::watch() {
    state_ = State::watching;
    if (std::exchange(waiting_, true)) {
        return;
    }
    watch_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                      [this](const boost::system::error_code& error) {
                          if (!error) {  // else cancelled: this object may be gone
                              waiting_ = false;
                              on_watch();
                          }
                      });
}

void NetlinkSocket::on_watch() {
    // Taking the event is what disarms the watch.
    epoll_event taken{};
    static_cast<void>(::epoll_wait(watch_.native_handle(), &taken, 1, 0));
    if (state_ != State::watching) {
        return;  // lent, or a drain() in between has found more than it may take, or an error
    }
    if (receive_buffer_bytes_ < pile_up_buffer_bytes_min) {
        report();
        return;
    }
    state_ = State::piling_up;
    timer_.expires_after(pile_up_time);
    timer_.async_wait([this](const boost::system::error_code& error) {
        // A timer that is cancelled too late still succeeds.
        if (!error && state_ == State::piling_up) {
            report();
        }
    });
}

void NetlinkSocket::report() {
    if (state_ != State::failed) {
        state_ = State::reported;
        on_readable_();
    }
}

/// After whatever else is ready by now.
void NetlinkSocket::report_soon() {
    state_ = State::due;
    if (std::exchange(report_posted_, true)) {
        return;
    }
    boost::asio::post(context_, [this] {
        report_posted_ = false;
        if (state_ == State::due) {  // else drained meanwhile
            report();
        }
    });
}

// ---- Reading

/// Notices by itself what came since the last read.
std::error_code NetlinkSocket::rearm() {
    timer_.cancel();
    epoll_event wanted = one_shot();
    if (::epoll_ctl(watch_.native_handle(), EPOLL_CTL_MOD, fd(), &wanted) != 0) {
        return last_error();
    }
    watch();
    return {};
}

void NetlinkSocket::give_up() {
    state_ = State::failed;
    timer_.cancel();
    watch_.cancel();
}

// ---- Reading

std::error_code NetlinkSocket::drain(NetlinkSink& sink) {
    if (state_ == State::failed) {
        return {};
    }
    if (const auto error = drain_statistics(sink)) {
        give_up();
        return error;
    }
    const auto error = dump_reader_.busy() ? drain_dump(sink) : drain_events(sink);
    if (error) {
        give_up();
    }
    return error;
}

std::error_code NetlinkSocket::drain_statistics(NetlinkSink& sink) {
    std::error_code error;
    static_cast<void>(statistics_reader_.deliver(sink, error));
    return error;
}

/// The socket is lent; what comes back is handed on.
std::error_code NetlinkSocket::drain_dump(NetlinkSink& sink) {
    std::error_code error;
    switch (dump_reader_.deliver(sink, error)) {
        case DumpReader::Outcome::more: state_ = State::lent; break;
        case DumpReader::Outcome::finished: error = rearm(); break;
        case DumpReader::Outcome::failed: break;
    }
    return error;
}

std::error_code NetlinkSocket::drain_events(NetlinkSink& sink) {
    std::size_t taken = 0;
    while (taken < event_bytes_per_drain) {
        std::error_code error;
        const auto outcome = batch_.read(fd(), NetlinkBatch::datagrams_max, error);
        taken += std::max(batch_.bytes(), bytes_per_read_min);
        batch_.deliver(sink);
        switch (outcome) {
            case NetlinkBatch::Outcome::full: break;
            case NetlinkBatch::Outcome::empty:
                return state_ == State::watching ? std::error_code{} : rearm();
            case NetlinkBatch::Outcome::failed: return error;
        }
    }
    report_soon();
    return {};
}

std::error_code NetlinkSocket::request(const DumpRequest& request) {
    DumpReader& reader = request.kind == DumpKind::statistics ? statistics_reader_ : dump_reader_;
    if (reader.busy() || state_ == State::failed) {
        return std::make_error_code(std::errc::device_or_resource_busy);
    }
    if (&reader == &dump_reader_) {
        timer_.cancel();
        state_ = State::lent;
    }
    reader.start(encode(request));
    return {};
}

}  // namespace reachd
