#include "probes/io/tcp_connector.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <optional>
#include <system_error>
#include <utility>

#include <boost/asio/posix/stream_descriptor.hpp>

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/check.hpp"
#include "common/io/system_clock.hpp"
#include "probes/connect_table.hpp"
#include "probes/io/descriptor_share.hpp"
#include "probes/io/socket_address.hpp"
#include "probes/io/socket_option.hpp"
#include "probes/tcp_error.hpp"

namespace reachd {
namespace {

/// Connects begun before their answers are looked for. Near peers have answered by then, and what
/// the kernel keeps of a connection is still in the caches when it is closed.
constexpr std::size_t connects_per_look = 32;
constexpr std::size_t events_per_look = 64;
/// When the kernel sends a SYN for the second time (RFC 6298, section 2): an answer that comes
/// later may be to either.
constexpr Duration first_retransmission = std::chrono::seconds(1);
/// net.ipv4.ip_local_port_range of an unchanged kernel begins here.
constexpr std::uint16_t local_port_usual_min = 32768;
constexpr int errors_per_socket_max = 4;

/// Zeros when the kernel does not say.
tcp_info read_info(int fd) {
    tcp_info info{};
    socklen_t length = sizeof(info);
    static_cast<void>(getsockopt(fd, SOL_TCP, TCP_INFO, &info, &length));
    return info;
}

/// The handshake is over; perhaps the peer has closed its side already.
bool is_established(const tcp_info& info) {
    return info.tcpi_state == TCP_ESTABLISHED || info.tcpi_state == TCP_CLOSE_WAIT;
}

/// A RST ends what is left of the connection on both sides, at once.
void close_by_reset(int fd) {
    constexpr linger at_once{1, 0};
    static_cast<void>(set_option(fd, SOL_SOCKET, SO_LINGER, at_once));
    close(fd);
}

int pending_error(int fd) {
    int error = 0;
    socklen_t length = sizeof(error);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

SocketAddress local_end(int fd) {
    SocketAddress name{};
    socklen_t length = sizeof(name);
    static_cast<void>(getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length));
    return name;
}

/// With nobody listening, a connect to an own address whose port the kernel chose for our end, too,
/// meets itself (simultaneous open, RFC 9293, section 3.5).
bool met_itself(int fd) {
    const SocketAddress own = local_end(fd);
    SocketAddress other{};
    socklen_t length = sizeof(other);
    return getpeername(fd, reinterpret_cast<sockaddr*>(&other), &length) == 0 &&
           own.sin6_port == other.sin6_port &&
           from_socket_address(own) == from_socket_address(other);
}

std::optional<QueuedTcpError> to_queued_error(const cmsghdr& header) {
    const bool is_error = (header.cmsg_level == SOL_IP && header.cmsg_type == IP_RECVERR) ||
                          (header.cmsg_level == SOL_IPV6 && header.cmsg_type == IPV6_RECVERR);
    sock_extended_err error{};
    if (!is_error || header.cmsg_len < CMSG_LEN(sizeof(error))) {
        return std::nullopt;
    }
    const std::uint8_t* data = CMSG_DATA(&header);
    std::memcpy(&error, data, sizeof(error));
    // The offender's address follows (SO_EE_OFFENDER).
    SocketAddress offender{};
    const std::size_t room = header.cmsg_len - CMSG_LEN(sizeof(error));
    std::memcpy(&offender, data + sizeof(error), std::min(room, sizeof(offender)));
    return QueuedTcpError{
        error.ee_origin, error.ee_type, error.ee_code, from_socket_address(offender)};
}

/// The next message of the error queue; nothing: there is none, or none that we know.
std::optional<QueuedTcpError> next_queued_error(int fd, bool& empty) {
    alignas(cmsghdr) std::array<std::uint8_t, 256> control{};
    msghdr message{};
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    empty = recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0;
    if (empty) {
        return std::nullopt;
    }
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(&message, header)) {
        if (const auto error = to_queued_error(*header)) {
            return error;
        }
    }
    return std::nullopt;
}

std::uint16_t local_port_min() {
    unsigned port = 0;
    std::ifstream file("/proc/sys/net/ipv4/ip_local_port_range");
    return file >> port && port <= 0xffffU ? static_cast<std::uint16_t>(port)
                                           : local_port_usual_min;
}

std::size_t connects_allowed() {
    return std::min(descriptor_share(), TcpConnector::connects_max);
}

int open_epoll() {
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) {
        throw std::system_error(errno, std::system_category(), "TCP probes: epoll_create1");
    }
    return epoll;
}

}  // namespace

struct TcpConnector::State {
    explicit State(boost::asio::io_context& context)
        : watch(context, open_epoll()),
          epoll(watch.native_handle()),
          port_of_ours_min(local_port_min()),
          table(connects_allowed()) {}

    /// Holds all sockets: their readiness is its own.
    boost::asio::posix::stream_descriptor watch;
    int epoll;  ///< watch's; -1 once closed
    std::uint16_t port_of_ours_min;
    ConnectTable table;

    /// A connect that the kernel took, and that the sink is not told of yet.
    struct Begun {
        const TcpRequest* request = nullptr;
        ConnectTable::Handle handle{};
        int fd = -1;
        Instant at;
    };

    std::optional<Begun> begin(const TcpRequest& request, const Instant& call_began, TcpSink& sink);
    std::optional<ConnectTable::Handle> watch_socket(const TcpRequest& request,
                                                     int fd,
                                                     MonoTime begun);
    void tell_begun(std::span<const Begun> begun, TcpSink& sink);
    void tell_failed(const Begun& begun, TcpSink& sink);
    std::size_t look(TcpSink& sink);
    void take_event(const epoll_event& event, const Instant& read, TcpSink& sink);
};

TcpConnector::TcpConnector(boost::asio::io_context& context)
    : state_(std::make_unique<State>(context)) {}

TcpConnector::~TcpConnector() {
    close();
}

void TcpConnector::async_wait(std::function<void()> ready) {
    state_->watch.async_wait(boost::asio::posix::descriptor_base::wait_read,
                             [ready = std::move(ready)](const boost::system::error_code& error) {
                                 if (!error) {
                                     ready();
                                 }
                             });
}

std::size_t TcpConnector::connects() const {
    return state_->table.size();
}

std::size_t TcpConnector::connects_limit() const {
    return state_->table.capacity();
}

void TcpConnector::close() {
    for (const PendingConnect& connect : state_->table.take_all()) {
        close_by_reset(connect.descriptor);
    }
    state_->epoll = -1;
    boost::system::error_code ignored;
    state_->watch.close(ignored);
}

// ---- Beginning

namespace {

/// Options that a probe needs; false: errno has it. Each costs a system call a probe, so only what
/// differs from the kernel's own choice is set.
bool prepare(int fd, const TcpTarget& target) {
    const bool v4 = target.destination.family() == Family::ipv4;
    // Type and code of ICMP errors: the errno alone does not tell them apart.
    if (!(v4 ? set_option(fd, SOL_IP, IP_RECVERR, 1) : set_option(fd, SOL_IPV6, IPV6_RECVERR, 1))) {
        return false;
    }
    if (target.dscp != 0) {
        const int traffic_class = target.dscp << 2U;
        if (!(v4 ? set_option(fd, SOL_IP, IP_TOS, traffic_class)
                 : set_option(fd, SOL_IPV6, IPV6_TCLASS, traffic_class))) {
            return false;
        }
    }
    // By index (since Linux 5.0): names may change, and no capability is needed.
    if (target.device != IfIndex::any &&
        !set_option(fd, SOL_SOCKET, SO_BINDTOIFINDEX, static_cast<int>(target.device))) {
        return false;
    }
    if (target.source.is_unspecified()) {
        return true;
    }
    // The port is chosen at connect(), where only (source, destination) pairs must differ.
    if (!set_option(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)) {
        return false;
    }
    const SocketAddress source = to_socket_address(target.source, 0);
    return bind(fd,
                reinterpret_cast<const sockaddr*>(&source),
                socket_address_bytes(target.source.family())) == 0;
}

bool start_connect(int fd, const TcpTarget& target) {
    const SocketAddress destination = to_socket_address(target.destination, target.port);
    return connect(fd,
                   reinterpret_cast<const sockaddr*>(&destination),
                   socket_address_bytes(target.destination.family())) == 0 ||
           errno == EINPROGRESS;
}

/// Whether the host has no address to ask this destination from. A datagram socket, whose
/// ports are others, tells that from a lack of ports; asked only after a connect has failed.
bool lacks_source(const TcpTarget& target) {
    if (!target.source.is_unspecified()) {
        return false;
    }
    const bool v4 = target.destination.family() == Family::ipv4;
    const int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const bool lacks =
        fd >= 0 && prepare(fd, target) && !start_connect(fd, target) && errno == EADDRNOTAVAIL;
    if (fd >= 0) {
        ::close(fd);
    }
    return lacks;
}

void report_failure(const TcpRequest& request, TcpStep step, int error, TcpSink& sink) {
    if (step == TcpStep::connect && error == EADDRNOTAVAIL && lacks_source(request.target)) {
        return sink.on_not_sent(request.order, FailureReason::no_route);
    }
    if (const auto reason = tcp_send_failure(step, error, request.target)) {
        sink.on_not_sent(request.order, *reason);
    } else {
        sink.on_skipped(request.order);
    }
}

}  // namespace

std::optional<ConnectTable::Handle> TcpConnector::State::watch_socket(const TcpRequest& request,
                                                                      int fd,
                                                                      MonoTime begun) {
    const bool may_meet_itself = request.target.port >= port_of_ours_min;
    const auto handle = table.add({fd, may_meet_itself, request.order.token, begun});
    epoll_event wanted{};
    // Edges: each socket is closed at its first event that says anything, so none is told twice.
    wanted.events = EPOLLOUT | EPOLLET;
    wanted.data.u64 = static_cast<std::uint64_t>(handle);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &wanted) == 0) {
        return handle;
    }
    table.remove(handle);
    return std::nullopt;
}

std::optional<TcpConnector::State::Begun> TcpConnector::State::begin(const TcpRequest& request,
                                                                     const Instant& call_began,
                                                                     TcpSink& sink) {
    const TcpTarget& target = request.target;
    ENSURE(target.port != 0);
    if (table.full() || epoll < 0) {
        sink.on_skipped(request.order);
        return std::nullopt;
    }
    const int domain = target.destination.family() == Family::ipv4 ? AF_INET : AF_INET6;
    const int fd = socket(domain, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0) {
        report_failure(request, TcpStep::open, errno, sink);
        return std::nullopt;
    }
    if (!prepare(fd, target)) {
        const int error = errno;
        ::close(fd);
        report_failure(request, TcpStep::prepare, error, sink);
        return std::nullopt;
    }
    const MonoTime begun = mono_now();
    if (!start_connect(fd, target)) {
        const int error = errno;
        ::close(fd);
        report_failure(request, TcpStep::connect, error, sink);
        return std::nullopt;
    }
    const auto handle = watch_socket(request, fd, begun);
    if (!handle) {
        close_by_reset(fd);
        sink.on_skipped(request.order);
        return std::nullopt;
    }
    return Begun{&request, *handle, fd, {begun, call_began.wall + (begun - call_began.mono)}};
}

void TcpConnector::connect(std::span<const TcpRequest> requests, TcpSink& sink) {
    if (requests.empty()) {
        return;
    }
    const Instant began = now();
    while (!requests.empty()) {
        const auto some = requests.first(std::min(requests.size(), connects_per_look));
        requests = requests.subspan(some.size());
        std::array<State::Begun, connects_per_look> begun;
        std::size_t count = 0;
        for (const TcpRequest& request : some) {
            if (const auto one = state_->begin(request, began, sink)) {
                begun[count++] = *one;
            }
        }
        state_->tell_begun(std::span(begun).first(count), sink);
        state_->look(sink);
    }
}

std::uint32_t TcpConnector::abandon(ProbeToken token) {
    const auto handle = state_->table.find(token);
    if (!handle) {
        return 0;
    }
    const int fd = state_->table.find(*handle)->descriptor;
    const std::uint32_t retransmits = read_info(fd).tcpi_total_retrans;
    close_by_reset(fd);  // and so leaves the epoll
    state_->table.remove(*handle);
    return retransmits;
}

// ---- Results

namespace {

TcpResult established(int fd, const tcp_info& info, bool may_meet_itself) {
    TcpResult result;
    result.kind = TcpResult::Kind::established;
    result.syn_retransmits = info.tcpi_total_retrans;
    if (may_meet_itself && met_itself(fd)) {
        result.kind = TcpResult::Kind::refused;  // nobody listens, or we had met them
        return result;
    }
    if (result.syn_retransmits == 0) {
        // A round trip below the resolution of a microsecond is no lack of one.
        result.rtt = std::chrono::microseconds(std::max(info.tcpi_rtt, 1U));
    }
    return result;
}

/// TCP_INFO has no round trip of a refused connect.
TcpResult refused(const tcp_info& info, Duration taken) {
    TcpResult result;
    result.kind = TcpResult::Kind::refused;
    result.syn_retransmits = info.tcpi_total_retrans;
    result.user_stamped = true;
    if (result.syn_retransmits == 0 && taken < first_retransmission) {
        result.rtt = taken;
    }
    return result;
}

std::optional<TcpResult> explained_loss(int fd, const tcp_info& info) {
    bool empty = false;
    for (int i = 0; i < errors_per_socket_max && !empty; ++i) {
        const auto queued = next_queued_error(fd, empty);
        if (!queued) {
            continue;
        }
        if (const auto reason = tcp_loss(*queued, from_socket_address(local_end(fd)))) {
            TcpResult result;
            result.reason = *reason;
            result.reporter = queued->offender;
            result.syn_retransmits = info.tcpi_total_retrans;
            return result;
        }
    }
    return std::nullopt;
}

/// Nothing: the connect goes on.
std::optional<TcpResult> result_of_error(int fd, bool may_meet_itself, Duration taken) {
    const tcp_info info = read_info(fd);
    if (is_established(info)) {
        return established(fd, info, may_meet_itself);  // an earlier SYN met an ICMP error
    }
    // Before the queue: reading that overwrites the pending error. While connect() still holds the
    // socket an ICMP error does not end it, and shows in the queue only.
    const int error = pending_error(fd);
    if (const auto loss = explained_loss(fd, info)) {
        return loss;
    }
    const auto end = tcp_end(error);
    if (!end) {
        return std::nullopt;
    }
    switch (end->kind) {
        case TcpResult::Kind::established: return established(fd, info, false);
        case TcpResult::Kind::refused: return refused(info, taken);
        case TcpResult::Kind::lost: break;
    }
    TcpResult result;
    result.reason = end->reason;
    result.syn_retransmits = info.tcpi_total_retrans;
    return result;
}

}  // namespace

/// An ICMP error of our own firewall is there before connect() returns, and does not end it. One
/// poll for many tells which of them to look at; a hang-up is an end of another kind (a RST).
void TcpConnector::State::tell_begun(std::span<const Begun> begun, TcpSink& sink) {
    std::array<pollfd, connects_per_look> polled{};
    for (std::size_t i = 0; i < begun.size(); ++i) {
        polled[i].fd = begun[i].fd;
    }
    const bool any = ::poll(polled.data(), static_cast<nfds_t>(begun.size()), 0) > 0;
    for (std::size_t i = 0; i < begun.size(); ++i) {
        if (any && polled[i].revents == POLLERR) {
            tell_failed(begun[i], sink);
        } else {
            sink.on_sent(begun[i].request->order, begun[i].at);
        }
    }
}

/// What is read from the error queue is gone from it: so this is also the end of those connects
/// that somebody else's error ended.
void TcpConnector::State::tell_failed(const Begun& begun, TcpSink& sink) {
    const auto loss = explained_loss(begun.fd, read_info(begun.fd));
    const bool rejected = loss && is_local_reject(*loss, from_socket_address(local_end(begun.fd)));
    if (loss) {
        close_by_reset(begun.fd);
        table.remove(begun.handle);
    }
    if (rejected) {
        return sink.on_not_sent(begun.request->order, FailureReason::local_firewall);
    }
    sink.on_sent(begun.request->order, begun.at);
    if (loss) {
        sink.on_batch(now());
        sink.on_tcp_result(begun.request->order.token, *loss);
    }
}

void TcpConnector::State::take_event(const epoll_event& event, const Instant& read, TcpSink& sink) {
    const auto handle = ConnectTable::Handle{event.data.u64};
    const PendingConnect* found = table.find(handle);
    if (found == nullptr) {
        return;  // abandoned by the sink since this event was taken
    }
    const PendingConnect connect = *found;
    const int fd = connect.descriptor;
    std::optional<TcpResult> result;
    if ((event.events & (EPOLLERR | EPOLLHUP)) != 0) {
        result = result_of_error(fd, connect.may_meet_itself, read.mono - connect.begun);
    } else {
        result = established(fd, read_info(fd), connect.may_meet_itself);
    }
    if (result) {
        // EPOLLHUP: both sides are at an end, there is nothing to reset.
        (event.events & EPOLLHUP) != 0 ? static_cast<void>(::close(fd)) : close_by_reset(fd);
        table.remove(handle);
        sink.on_tcp_result(connect.token, *result);
    }
}

/// Takes the events that are there, at most events_per_look; how many there were.
std::size_t TcpConnector::State::look(TcpSink& sink) {
    std::array<epoll_event, events_per_look> events;
    const int got = epoll_wait(epoll, events.data(), static_cast<int>(events.size()), 0);
    if (got <= 0) {
        return 0;
    }
    const Instant read = now();
    sink.on_batch(read);
    for (std::size_t i = 0; i < static_cast<std::size_t>(got); ++i) {
        take_event(events[i], read, sink);
    }
    return static_cast<std::size_t>(got);
}

bool TcpConnector::drain(TcpSink& sink) {
    for (std::size_t taken = 0; taken < events_per_drain; taken += events_per_look) {
        if (state_->look(sink) < events_per_look) {
            return true;
        }
    }
    return false;
}

}  // namespace reachd
