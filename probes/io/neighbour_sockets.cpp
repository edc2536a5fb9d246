#include "probes/io/neighbour_sockets.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
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
#include "probes/io/socket_closer.hpp"
#include "probes/neighbour_filter.hpp"
#include "probes/sent_requests.hpp"

namespace reachd {
namespace {

constexpr std::size_t ports_per_drain = 64;
constexpr std::size_t stamps_per_read = 16;
/// A request with its looped link header; room for a tag.
constexpr std::size_t looped_bytes = neighbour_request_bytes_max + 4;
constexpr std::size_t control_bytes = 192;
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

// ---- Reading a batch

/// The control messages we look for in what we read.
struct Ancillary {
    std::optional<WallTime> stamp;
    std::uint16_t vlan = 0;  ///< of a tag that the kernel keeps beside the frame
    Checksum checksum = Checksum::complete;
};

std::optional<WallTime> read_stamp(const cmsghdr* header) {
    timespec time{};  // the first of three: software stamps (timestamping.rst)
    std::memcpy(&time, CMSG_DATA(header), sizeof(time));
    if (time.tv_sec == 0 && time.tv_nsec == 0) {
        return std::nullopt;
    }
    return WallTime(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
}

Ancillary read_control(msghdr& message) {
    constexpr std::uint16_t vlan_id_mask = 0x0fff;
    Ancillary found;
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_TIMESTAMPING) {
            found.stamp = read_stamp(header);
        } else if (header->cmsg_level == SOL_PACKET && header->cmsg_type == PACKET_AUXDATA) {
            tpacket_auxdata data{};
            std::memcpy(&data, CMSG_DATA(header), sizeof(data));
            if ((data.tp_status & TP_STATUS_VLAN_VALID) != 0) {
                found.vlan = data.tp_vlan_tci & vlan_id_mask;
            }
            if ((data.tp_status & TP_STATUS_CSUMNOTREADY) != 0) {
                found.checksum = Checksum::left_to_device;
            }
        }
    }
    return found;
}

/// Room for frames and their control messages, laid out once; recvmmsg fills it.
class Batch {
  public:
    Batch(std::size_t frames, std::size_t bytes_each)
        : bytes_each_(bytes_each),
          used_(frames),
          bytes_(frames * bytes_each),
          slots_(frames),
          messages_(frames) {
        for (std::size_t i = 0; i < frames; ++i) {
            slots_[i].vector = {bytes_.data() + i * bytes_each, bytes_each};
            messages_[i].msg_hdr.msg_iov = &slots_[i].vector;
            messages_[i].msg_hdr.msg_iovlen = 1;
        }
    }

    std::size_t size() const { return messages_.size(); }

    /// How many were there.
    std::size_t receive(int fd, int flags) {
        for (std::size_t i = 0; i < used_; ++i) {
            messages_[i].msg_hdr.msg_control = slots_[i].control.data();
            messages_[i].msg_hdr.msg_controllen = control_bytes;
            messages_[i].msg_hdr.msg_flags = 0;
        }
        int got = read(fd, flags);
        if (got < 0 && errno != EAGAIN) {
            // A pending error of the device (it went down) was reported, and so cleared, instead.
            got = read(fd, flags);
        }
        const auto count = static_cast<std::size_t>(std::max(got, 0));
        // The call touches one header more than it fills when it runs into the end of the queue.
        used_ = std::min(count + 1, size());
        return count;
    }

    ByteView frame(std::size_t place) const {
        const auto length = std::min<std::size_t>(messages_[place].msg_len, bytes_each_);
        return ByteView(bytes_).subspan(place * bytes_each_, length);
    }

    Ancillary ancillary(std::size_t place) { return read_control(messages_[place].msg_hdr); }

  private:
    struct Slot {
        iovec vector{};
        alignas(cmsghdr) std::array<std::uint8_t, control_bytes> control{};
    };

    int read(int fd, int flags) {
        return recvmmsg(fd,
                        messages_.data(),
                        static_cast<unsigned>(messages_.size()),
                        flags | MSG_DONTWAIT,
                        nullptr);
    }

    std::size_t bytes_each_;
    std::size_t used_;  ///< headers that the last receive() may have changed
    std::vector<std::uint8_t> bytes_;
    std::vector<Slot> slots_;
    std::vector<mmsghdr> messages_;
};

// ---- Opening

template <class Value>
bool set_option(int fd, int level, int name, const Value& value) {
    return setsockopt(fd, level, name, &value, sizeof(value)) == 0;
}

/// Complete before the socket is bound: until then it hears nothing, so nothing comes unfiltered.
bool set_options(int fd, GuestSide side) {
    std::vector<sock_filter> program = neighbour_filter(side);
    const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
    const int on = 1;
    const int ignore_outgoing = side == GuestSide::incoming ? 1 : 0;
    const int stamping =
        SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_TX_SOFTWARE;
    return set_option(fd, SOL_SOCKET, SO_ATTACH_FILTER, filter) &&
           set_option(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, ignore_outgoing) &&
           set_option(fd, SOL_PACKET, PACKET_AUXDATA, on) &&
           set_option(fd, SOL_SOCKET, SO_TIMESTAMPING, stamping) &&
           set_option(fd, SOL_SOCKET, SO_RCVBUF, NeighbourSockets::receive_buffer_bytes);
}

bool bind_to(int fd, IfIndex port) {
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
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
        SentRequests requests;
        bool is_paused = false;
    };

    explicit State(boost::asio::io_context& context);

    ~State() { close_all(); }

    State(const State&) = delete;
    State& operator=(const State&) = delete;

    [[nodiscard]] std::error_code open(IfIndex index, GuestSide side);
    void close(IfIndex index);
    void close_all();
    void send(const NeighbourRequest& request, NeighbourSink& sink);
    void take_stamps(Port& port, NeighbourSink& sink);
    void take_frame(IfIndex index, std::size_t place, NeighbourSink& sink);
    void drain(IfIndex index, Port& port, bool has_error, NeighbourSink& sink);
    void pause(IfIndex index, Port& port);
    void end_pauses();

    boost::asio::posix::stream_descriptor epoll;
    Descriptor pause_timer;
    std::unordered_map<IfIndex, Port> ports;
    std::vector<IfIndex> paused;  ///< some may be closed by now
    SocketCloser closer;
    Batch frames{frames_per_port_and_drain, neighbour_frame_bytes_max};
    Batch stamps{stamps_per_read, looped_bytes};
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

std::error_code NeighbourSockets::State::open(IfIndex index, GuestSide side) {
    if (index == IfIndex::any) {
        return std::make_error_code(std::errc::no_such_device);
    }
    if (ports.size() + closer.pending() >= ports_max) {
        return std::make_error_code(std::errc::no_space_on_device);
    }
    Descriptor socket(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (socket.get() < 0 || !set_options(socket.get(), side) || !bind_to(socket.get(), index)) {
        return last_error();
    }
    if (!is_ethernet(socket.get())) {
        closer.close(socket.release());
        return std::make_error_code(std::errc::protocol_not_supported);
    }
    const auto key = static_cast<std::uint64_t>(index);
    if (!control_epoll(epoll.native_handle(), EPOLL_CTL_ADD, socket.get(), EPOLLIN, key)) {
        return last_error();
    }
    ports[index].socket = socket.release();
    return {};
}

void NeighbourSockets::State::close(IfIndex index) {
    const auto found = ports.find(index);
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
    for (const auto& [index, port] : ports) {
        sockets.push_back(port.socket);
    }
    ports.clear();
    paused.clear();
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
    const auto found = ports.find(request.target.device);
    if (found == ports.end()) {
        sink.on_not_sent(request.order, FailureReason::local_error);
        return;
    }
    Port& port = found->second;
    std::array<std::uint8_t, neighbour_request_bytes_max> frame{};
    const std::size_t size = write_neighbour_request(request.target, frame);
    const Instant at = now();
    const int error = send_frame(port.socket, ByteView(frame).first(size));
    if (error == 0 || error == ENOBUFS) {
        // ENOBUFS: dropped by the queue of the device, so by one who does not take its frames.
        port.requests.add(request.target.address, request.order.token, at.wall);
        sink.on_sent(request.order, at);
        take_stamps(port, sink);  // mostly there by now, and then nobody need be woken for it
    } else if (error == EAGAIN || error == ENOMEM || error == EINTR) {
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

void NeighbourSockets::State::take_frame(IfIndex index, std::size_t place, NeighbourSink& sink) {
    const Ancillary ancillary = frames.ancillary(place);
    auto frame = read_neighbour_frame(frames.frame(place), ancillary.checksum);
    if (frame) {
        if (ancillary.vlan != 0) {
            frame->vlan = ancillary.vlan;
        }
        sink.on_neighbour_frame(index, *frame, ancillary.stamp);
    } else if (frame.error() == FrameFlaw::damaged) {
        sink.on_neighbour_flaw(index);
    }
}

/// A request's stamp is queued before its answer can exist: read after the answers, but delivered
/// before them, it is always in time.
void NeighbourSockets::State::drain(IfIndex index,
                                    Port& port,
                                    bool has_error,
                                    NeighbourSink& sink) {
    const std::size_t got = frames.receive(port.socket, 0);
    if (got > 0) {
        sink.on_batch(now());
    }
    if (has_error || !port.requests.empty()) {
        take_stamps(port, sink);
    }
    for (std::size_t i = 0; i < got; ++i) {
        take_frame(index, i, sink);
    }
    if (got >= frames_of_overflow_min) {
        tpacket_stats counts{};  // since they were read last
        socklen_t length = sizeof(counts);
        if (getsockopt(port.socket, SOL_PACKET, PACKET_STATISTICS, &counts, &length) == 0 &&
            counts.tp_drops > 0) {
            sink.on_neighbour_overflow(index);
        }
    }
    if (got == frames.size()) {
        pause(index, port);
    }
}

void NeighbourSockets::State::pause(IfIndex index, Port& port) {
    const auto key = static_cast<std::uint64_t>(index);
    if (port.is_paused ||
        !control_epoll(epoll.native_handle(), EPOLL_CTL_MOD, port.socket, 0, key)) {
        return;
    }
    port.is_paused = true;
    if (paused.empty()) {
        itimerspec wanted{};
        wanted.it_value.tv_nsec = std::chrono::nanoseconds(storm_pause).count();
        static_cast<void>(timerfd_settime(pause_timer.get(), 0, &wanted, nullptr));
    }
    paused.push_back(index);
}

void NeighbourSockets::State::end_pauses() {
    std::uint64_t expirations = 0;
    if (read(pause_timer.get(), &expirations, sizeof(expirations)) < 0) {
        return;
    }
    for (const IfIndex index : std::exchange(paused, {})) {
        const auto found = ports.find(index);
        if (found == ports.end() || !found->second.is_paused) {
            continue;
        }
        found->second.is_paused = false;
        static_cast<void>(control_epoll(epoll.native_handle(),
                                        EPOLL_CTL_MOD,
                                        found->second.socket,
                                        EPOLLIN,
                                        static_cast<std::uint64_t>(index)));
    }
}

// ---- The public face

NeighbourSockets::NeighbourSockets(boost::asio::io_context& context)
    : state_(std::make_unique<State>(context)) {}

NeighbourSockets::~NeighbourSockets() = default;

std::error_code NeighbourSockets::open_port(IfIndex port, GuestSide side) {
    close_port(port);
    return state_->open(port, side);
}

void NeighbourSockets::close_port(IfIndex port) {
    state_->close(port);
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
    // The kernel puts a port that stays ready at the end of its list: all have their turn.
    std::array<epoll_event, ports_per_drain> ready{};
    const int count =
        epoll_wait(state_->epoll.native_handle(), ready.data(), static_cast<int>(ready.size()), 0);
    for (int i = 0; i < count; ++i) {
        const epoll_event& event = ready[static_cast<std::size_t>(i)];
        if (event.data.u64 == pause_timer_key) {
            state_->end_pauses();
            continue;
        }
        const IfIndex index{static_cast<std::uint32_t>(event.data.u64)};
        const auto found = state_->ports.find(index);
        if (found != state_->ports.end()) {
            state_->drain(index, found->second, (event.events & EPOLLERR) != 0, sink);
        }
    }
    return count < static_cast<int>(ready.size());
}

void NeighbourSockets::close() {
    state_->close_all();
    boost::system::error_code ignored;
    state_->epoll.close(ignored);
}

}  // namespace reachd
