#include "probes/io/neighbour_sockets.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <unordered_map>
#include <utility>
#include <vector>

#include <boost/asio/posix/stream_descriptor.hpp>

#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <linux/filter.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/net_tstamp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/io/system_clock.hpp"
#include "probes/io/descriptor_share.hpp"
#include "probes/io/packet_batch.hpp"
#include "probes/io/socket_closer.hpp"
#include "probes/io/socket_option.hpp"
#include "probes/neighbour_filter.hpp"
#include "probes/sent_requests.hpp"

namespace reachd {
namespace {

constexpr std::size_t ports_per_wait = 64;
constexpr std::size_t stamps_per_read = 16;
/// A request with its looped link header; room for a tag.
constexpr std::size_t looped_bytes = neighbour_request_bytes_max + 4;
/// Fewer frames than that never filled the buffer: small as they are (the filter's limit), no
/// driver spends more than 16 KiB on one.
constexpr std::size_t frames_of_overflow_min = 4;
/// In the epoll, beside interface indexes: the timer that ends pauses.
constexpr std::uint64_t pause_timer_key = 0;

std::error_code last_error() {
    return {errno, std::system_category()};
}

/// Open in its own right; see SocketCloser for those that are bound.
class Descriptor {
  public:
    explicit Descriptor(int fd) : fd_(fd) {}

    ~Descriptor() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }

    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;

    int get() const { return fd_; }

    int release() { return std::exchange(fd_, -1); }

  private:
    int fd_;
};

// ---- Opening

/// What sets the sockets of each use apart, by PortUse.
struct PortKind {
    std::uint16_t protocol = 0;  ///< ETH_P_*: what the kernel offers to the filter at all
    bool ignore_outgoing = true;
    Speaker speaker = Speaker::itself;
};

constexpr std::array<PortKind, 4> port_kinds{{
    {ETH_P_ALL, true, Speaker::itself},
    {ETH_P_ALL, false, Speaker::itself},
    {ETH_P_ARP, true, Speaker::anybody},
    {ETH_P_IPV6, true, Speaker::anybody},
}};

constexpr const PortKind& kind_of(PortUse use) {
    return port_kinds[static_cast<std::size_t>(use)];
}

/// Of a socket: a device has one for its guests, and one for gateways of each family. Never
/// pause_timer_key.
std::uint64_t key_of(IfIndex index, PortUse use) {
    const bool for_guests = !is_for_gateways(use);
    const auto slot = static_cast<std::uint64_t>(for_guests ? PortUse::guest : use);
    return slot << 32U | static_cast<std::uint64_t>(index);
}

/// Complete before the socket is bound: until then it hears nothing, so nothing comes unfiltered.
bool set_options(int fd, PortUse use) {
    std::vector<sock_filter> program = neighbour_filter(use);
    const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
    const int on = 1;
    const int ignore_outgoing = kind_of(use).ignore_outgoing ? 1 : 0;
    const int stamping =
        SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_TX_SOFTWARE;
    return set_option(fd, SOL_SOCKET, SO_ATTACH_FILTER, filter) &&
           set_option(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, ignore_outgoing) &&
           set_option(fd, SOL_PACKET, PACKET_AUXDATA, on) &&
           set_option(fd, SOL_SOCKET, SO_TIMESTAMPING, stamping) &&
           set_option(fd, SOL_SOCKET, SO_RCVBUF, NeighbourSockets::receive_buffer_bytes);
}

bool bind_to(int fd, IfIndex port, std::uint16_t protocol) {
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(protocol);
    address.sll_ifindex = static_cast<int>(port);
    return bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

bool is_ethernet(int fd) {
    sockaddr_ll address{};
    socklen_t length = sizeof(address);
    return getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0 &&
           address.sll_hatype == ARPHRD_ETHER;
}

bool control_epoll(int epoll, int operation, int fd, std::uint32_t events, std::uint64_t key) {
    epoll_event wanted{};
    wanted.events = events;
    wanted.data.u64 = key;
    return epoll_ctl(epoll, operation, fd, &wanted) == 0;
}

}  // namespace

struct NeighbourSockets::State {
    struct Port {
        int socket = -1;  ///< bound; for the closer, in the end
        IfIndex index = IfIndex::any;
        PortUse use = PortUse::guest;
        SentRequests requests;
        MonoTime counted_from{};  ///< where `frames` begins
        std::size_t frames = 0;   ///< read since then
        bool is_paused = false;
    };

    struct Pause {
        MonoTime end{};
        std::uint64_t key = 0;  ///< may be closed by now
    };

    explicit State(boost::asio::io_context& context);

    ~State() { close_all(); }

    State(const State&) = delete;
    State& operator=(const State&) = delete;

    [[nodiscard]] std::error_code open(IfIndex index, PortUse use);
    void close(std::uint64_t key);
    void close_all();
    void send(const NeighbourRequest& request, NeighbourSink& sink);
    bool drain(NeighbourSink& sink);
    std::size_t drain(Port& port, bool has_error, NeighbourSink& sink);
    void clear_error(Port& port, NeighbourSink& sink);
    void take_stamps(Port& port, NeighbourSink& sink);
    void take_frame(const Port& port, std::size_t place, NeighbourSink& sink);
    void tell_overflow(const Port& port, NeighbourSink& sink) const;
    void rest_in_storm(Port& port, std::size_t got, MonoTime at);
    void arm_pause_timer();
    void end_pauses();

    boost::asio::posix::stream_descriptor epoll;
    Descriptor pause_timer;
    std::unordered_map<std::uint64_t, Port> ports;
    std::deque<Pause> pauses;  ///< by their ends
    MonoTime last_pause_end{};
    SocketCloser closer;
    const std::size_t descriptors_allowed = descriptor_share();
    std::array<epoll_event, ports_per_wait> ready{};
    std::size_t ready_count = 0;
    std::size_t ready_next = 0;  ///< those before had their turn
    PacketBatch frames{frames_per_storm_pause, neighbour_frame_bytes_max};
    PacketBatch stamps{stamps_per_read, looped_bytes};
};

NeighbourSockets::State::State(boost::asio::io_context& context)
    : epoll(context),
      pause_timer(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) {
    const int fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0) {
        throw std::system_error(last_error(), "neighbour sockets: epoll_create1");
    }
    epoll.assign(fd);
    if (!control_epoll(fd, EPOLL_CTL_ADD, pause_timer.get(), EPOLLIN, pause_timer_key)) {
        throw std::system_error(last_error(), "neighbour sockets: timerfd");
    }
}

std::error_code NeighbourSockets::State::open(IfIndex index, PortUse use) {
    if (index == IfIndex::any) {
        return std::make_error_code(std::errc::no_such_device);
    }
    if (ports.size() + closer.pending() >= ports_max) {
        return std::make_error_code(std::errc::no_space_on_device);
    }
    if (ports.size() + closer.pending() >= descriptors_allowed) {
        return std::make_error_code(std::errc::too_many_files_open);
    }
    Descriptor socket(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (socket.get() < 0 || !set_options(socket.get(), use) ||
        !bind_to(socket.get(), index, kind_of(use).protocol)) {
        return last_error();
    }
    if (!is_ethernet(socket.get())) {
        closer.close(socket.release());
        return std::make_error_code(std::errc::protocol_not_supported);
    }
    const std::uint64_t key = key_of(index, use);
    if (!control_epoll(epoll.native_handle(), EPOLL_CTL_ADD, socket.get(), EPOLLIN, key)) {
        return last_error();
    }
    Port& port = ports[key];
    port.socket = socket.release();
    port.index = index;
    port.use = use;
    return {};
}

void NeighbourSockets::State::close(std::uint64_t key) {
    const auto found = ports.find(key);
    if (found == ports.end()) {
        return;
    }
    // It may live on for a moment: nobody is to be woken for it.
    static_cast<void>(
        control_epoll(epoll.native_handle(), EPOLL_CTL_DEL, found->second.socket, 0, 0));
    closer.close(found->second.socket);
    ports.erase(found);
}

void NeighbourSockets::State::close_all() {
    std::vector<int> sockets;
    sockets.reserve(ports.size());
    for (const auto& [key, port] : ports) {
        sockets.push_back(port.socket);
    }
    ports.clear();
    pauses.clear();
    closer.close_all(sockets);
}

// ---- Sending

namespace {

/// 0, or the errno. A pending error of the device (it was down for a moment) is reported in place
/// of this send's own; only the second is about this frame.
int send_frame(int fd, ByteView frame) {
    for (int tries = 0; tries < 2; ++tries) {
        // No address: the bound device and no other, also when its index has a new owner.
        if (::send(fd, frame.data(), frame.size(), MSG_DONTWAIT) >= 0) {
            return 0;
        }
        if (errno != ENETDOWN && errno != EINTR) {
            break;
        }
    }
    return errno;
}

}  // namespace

void NeighbourSockets::State::send(const NeighbourRequest& request, NeighbourSink& sink) {
    const PortUse use = request.target.use;
    const auto found = ports.find(key_of(request.target.device, use));
    if (found == ports.end()) {
        sink.on_not_sent(request.order, FailureReason::local_error);
        return;
    }
    Port& port = found->second;
    std::array<std::uint8_t, neighbour_request_bytes_max> frame{};
    const std::size_t size = write_neighbour_request(request.target, frame);
    const Instant at = now();
    const int error = send_frame(port.socket, ByteView(frame).first(size));
    // ENOBUFS: the queue of the device is full. A guest's, of frames that it does not take; that
    // of an uplink, of our own traffic.
    const bool full = error == ENOBUFS;
    if (error == 0 || (full && !is_for_gateways(use))) {
        port.requests.add(request.target.address, request.order.token, at.wall);
        sink.on_sent(request.order, at);
        take_stamps(port, sink);  // mostly there by now, and then nobody need be woken for it
    } else if (full || error == EAGAIN || error == ENOMEM || error == EINTR) {
        sink.on_skipped(request.order);
    } else {
        sink.on_not_sent(
            request.order,
            error == EPERM ? FailureReason::local_firewall : FailureReason::local_error);
    }
}

// ---- Receiving

/// Must empty the error queue: it keeps the socket ready for ever.
void NeighbourSockets::State::take_stamps(Port& port, NeighbourSink& sink) {
    std::size_t got = 0;
    do {
        got = stamps.receive(port.socket, MSG_ERRQUEUE);
        for (std::size_t i = 0; i < got; ++i) {
            const auto stamp = stamps.ancillary(i).stamp;
            const auto target = read_request_target(stamps.frame(i));
            if (!stamp || !target) {
                continue;
            }
            if (const auto token = port.requests.take(*target, *stamp)) {
                sink.on_neighbour_stamp(*token, *stamp);
            }
        }
    } while (got == stamps.size());
}

void NeighbourSockets::State::take_frame(const Port& port, std::size_t place, NeighbourSink& sink) {
    const Ancillary ancillary = frames.ancillary(place);
    auto frame =
        read_neighbour_frame(frames.frame(place), ancillary.checksum, kind_of(port.use).speaker);
    if (frame) {
        if (ancillary.vlan != 0) {
            frame->vlan = ancillary.vlan;
        }
        sink.on_neighbour_frame(port.index, port.use, *frame, ancillary.stamp);
    } else if (frame.error() == FrameFlaw::damaged) {
        sink.on_neighbour_flaw();
    }
}

/// A request's stamp is queued before its answer can exist: read after the answers, but delivered
/// before them, it is always in time. Returns how many frames there were.
std::size_t NeighbourSockets::State::drain(Port& port, bool has_error, NeighbourSink& sink) {
    const std::size_t got = frames.receive(port.socket, 0);
    const Instant at = got > 0 ? now() : Instant{};
    if (got > 0) {
        sink.on_batch(at);
    }
    if (has_error || !port.requests.empty()) {
        take_stamps(port, sink);
    }
    for (std::size_t i = 0; i < got; ++i) {
        take_frame(port, i, sink);
    }
    if (got >= frames_of_overflow_min) {
        tell_overflow(port, sink);
    }
    if (got > 0) {
        rest_in_storm(port, got, at.mono);
    }
    return got;
}

/// An epoll reports errors asked for or not, over and over: a stamp that comes while the port is
/// paused, or that its device is down.
void NeighbourSockets::State::clear_error(Port& port, NeighbourSink& sink) {
    take_stamps(port, sink);
    int error = 0;  // reading it is what counts
    socklen_t length = sizeof(error);
    static_cast<void>(getsockopt(port.socket, SOL_SOCKET, SO_ERROR, &error, &length));
}

void NeighbourSockets::State::tell_overflow(const Port& port, NeighbourSink& sink) const {
    tpacket_stats counts{};  // since they were read last
    socklen_t length = sizeof(counts);
    if (getsockopt(port.socket, SOL_PACKET, PACKET_STATISTICS, &counts, &length) == 0 &&
        counts.tp_drops > 0) {
        sink.on_neighbour_overflow(port.index, port.use);
    }
}

/// Counted over a time and not by what one read gives: a loop that keeps up with a storm finds a
/// frame or two each time.
void NeighbourSockets::State::rest_in_storm(Port& port, std::size_t got, MonoTime at) {
    if (at - port.counted_from >= storm_pause) {
        port.counted_from = at;
        port.frames = 0;
    }
    port.frames += got;
    const std::uint64_t key = key_of(port.index, port.use);
    if (port.frames < frames_per_storm_pause ||
        !control_epoll(epoll.native_handle(), EPOLL_CTL_MOD, port.socket, 0, key)) {
        return;
    }
    port.is_paused = true;
    const MonoTime in_turn = std::min(last_pause_end + pause_spacing, at + storm_pause_max);
    last_pause_end = std::max(at + storm_pause, in_turn);
    pauses.push_back({last_pause_end, key});
    if (pauses.size() == 1) {
        arm_pause_timer();
    }
}

/// Of the pause that ends first.
void NeighbourSockets::State::arm_pause_timer() {
    using std::chrono::seconds;
    const Duration end = pauses.front().end.time_since_epoch();
    const auto whole = std::chrono::floor<seconds>(end);
    itimerspec wanted{};
    wanted.it_value.tv_sec = whole.count();
    wanted.it_value.tv_nsec = std::chrono::nanoseconds(end - whole).count();
    static_cast<void>(timerfd_settime(pause_timer.get(), TFD_TIMER_ABSTIME, &wanted, nullptr));
}

void NeighbourSockets::State::end_pauses() {
    std::uint64_t expirations = 0;
    if (read(pause_timer.get(), &expirations, sizeof(expirations)) < 0) {
        return;
    }
    const MonoTime at = mono_now();
    for (; !pauses.empty() && pauses.front().end <= at; pauses.pop_front()) {
        const std::uint64_t key = pauses.front().key;
        const auto found = ports.find(key);
        if (found == ports.end() || !found->second.is_paused) {
            continue;
        }
        Port& port = found->second;
        port.is_paused = false;
        port.counted_from = at;
        port.frames = 0;
        static_cast<void>(
            control_epoll(epoll.native_handle(), EPOLL_CTL_MOD, port.socket, EPOLLIN, key));
    }
    if (!pauses.empty()) {
        arm_pause_timer();
    }
}

/// Those that were ready and not served the last time come first: all have their turn.
bool NeighbourSockets::State::drain(NeighbourSink& sink) {
    if (ready_next == ready_count) {
        const int count =
            epoll_wait(epoll.native_handle(), ready.data(), static_cast<int>(ready.size()), 0);
        ready_count = static_cast<std::size_t>(std::max(count, 0));
        ready_next = 0;
    }
    std::size_t read = 0;
    while (ready_next < ready_count && read < frames_per_drain_max) {
        const epoll_event& event = ready[ready_next++];
        if (event.data.u64 == pause_timer_key) {
            end_pauses();
            continue;
        }
        const auto found = ports.find(event.data.u64);
        const bool has_error = (event.events & EPOLLERR) != 0;
        if (found != ports.end() && !found->second.is_paused) {
            read += drain(found->second, has_error, sink);
        } else if (found != ports.end() && has_error) {
            clear_error(found->second, sink);
        }
    }
    return ready_next == ready_count && ready_count < ready.size();
}

// ---- The public face

NeighbourSockets::NeighbourSockets(boost::asio::io_context& context)
    : state_(std::make_unique<State>(context)) {}

NeighbourSockets::~NeighbourSockets() = default;

std::error_code NeighbourSockets::open_port(IfIndex port, PortUse use) {
    close_port(port, use);
    return state_->open(port, use);
}

void NeighbourSockets::close_port(IfIndex port, PortUse use) {
    state_->close(key_of(port, use));
}

std::size_t NeighbourSockets::ports() const {
    return state_->ports.size();
}

void NeighbourSockets::async_wait(std::function<void()> ready) {
    state_->epoll.async_wait(boost::asio::posix::descriptor_base::wait_read,
                             [ready = std::move(ready)](const boost::system::error_code& error) {
                                 if (!error) {
                                     ready();
                                 }
                             });
}

void NeighbourSockets::send(std::span<const NeighbourRequest> requests, NeighbourSink& sink) {
    for (const NeighbourRequest& request : requests) {
        state_->send(request, sink);
    }
}

bool NeighbourSockets::drain(NeighbourSink& sink) {
    return state_->drain(sink);
}

void NeighbourSockets::close() {
    state_->close_all();
    boost::system::error_code ignored;
    state_->epoll.close(ignored);
}

}  // namespace reachd
