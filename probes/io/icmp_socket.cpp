#include "probes/io/icmp_socket.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <fmt/format.h>

#include <linux/errqueue.h>
#include <linux/filter.h>
#include <linux/net_tstamp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/io/receive_buffer.hpp"
#include "common/io/system_clock.hpp"
#include "common/prefetch.hpp"
#include "probes/io/icmp_filter.hpp"
#include "probes/io/socket_address.hpp"

namespace reachd {
namespace {

constexpr std::size_t batch_max = 64;
constexpr std::size_t control_bytes = 256;
/// The looped copy of a request: link, IP and ICMP headers and the cookie, with room for options.
constexpr std::size_t looped_bytes = 160;
constexpr std::size_t ip_header_max = 60;
constexpr std::size_t packet_bytes_min = 256;
/// What a small packet costs of the receive buffer: its sk_buff and its data, rounded up.
constexpr std::size_t packet_cost_max = 2304;
constexpr std::size_t error_quote_max = 600;

/// What an errno of a send means. The last group is not about this probe or its path at all.
std::optional<FailureReason> send_failure(int error) {
    switch (error) {
        case ENETUNREACH:
        case EHOSTUNREACH:
        case EACCES:  // a "prohibit" route: once open, a socket needs no other permission
            return FailureReason::no_route;
        case EPERM: return FailureReason::local_firewall;
        case EAGAIN:
        case ENOBUFS:
        case ENOMEM:
        case EINTR: return std::nullopt;
        default: return FailureReason::local_error;
    }
}

/// Whether the host has this address now; asked only after a send has failed.
bool is_local(const IpAddress& address) {
    const int fd =
        socket(address.family() == Family::ipv4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const SocketAddress name = to_socket_address(address, 0);
    const bool bound = fd >= 0 && bind(fd,
                                       reinterpret_cast<const sockaddr*>(&name),
                                       socket_address_bytes(address.family())) == 0;
    const bool missing = !bound && errno == EADDRNOTAVAIL;
    if (fd >= 0) {
        close(fd);
    }
    return !missing;
}

template <class Value>
void append_control(msghdr& message, int level, int type, const Value& value) {
    auto* control = static_cast<std::uint8_t*>(message.msg_control) + message.msg_controllen;
    auto* header = reinterpret_cast<cmsghdr*>(control);
    header->cmsg_level = level;
    header->cmsg_type = type;
    header->cmsg_len = CMSG_LEN(sizeof(value));
    std::memcpy(CMSG_DATA(header), &value, sizeof(value));
    message.msg_controllen += CMSG_SPACE(sizeof(value));
}

/// The control messages we look for in what we read.
struct Ancillary {
    std::optional<WallTime> stamp;
    std::optional<std::uint32_t> overflow;  ///< packets dropped since the socket was opened
    const sock_extended_err* error = nullptr;
};

WallTime to_wall_time(const timespec& time) {
    return WallTime(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
}

Ancillary read_control(msghdr& message) {
    Ancillary found;
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(&message, header)) {
        const int level = header->cmsg_level;
        const int type = header->cmsg_type;
        if (level == SOL_SOCKET && type == SCM_TIMESTAMPING) {
            timespec time{};  // the first of three: software stamps (timestamping.rst)
            std::memcpy(&time, CMSG_DATA(header), sizeof(time));
            if (time.tv_sec != 0 || time.tv_nsec != 0) {
                found.stamp = to_wall_time(time);
            }
        } else if (level == SOL_SOCKET && type == SO_RXQ_OVFL) {
            std::uint32_t dropped = 0;
            std::memcpy(&dropped, CMSG_DATA(header), sizeof(dropped));
            found.overflow = dropped;
        } else if ((level == SOL_IP && type == IP_RECVERR) ||
                   (level == SOL_IPV6 && type == IPV6_RECVERR)) {
            found.error = reinterpret_cast<const sock_extended_err*>(CMSG_DATA(header));
        }
    }
    return found;
}

}  // namespace

std::string IcmpSocketError::message() const {
    return fmt::format("{}: {}", operation, std::strerror(error));
}

bool IcmpSocketError::family_missing() const {
    return error == EAFNOSUPPORT || error == EPROTONOSUPPORT;
}

namespace {

/// A batch of datagrams: the headers, addresses, control messages and bytes of up to batch_max
/// datagrams, laid out once. Sending fills headers in; receiving resets those it used.
struct Batch {
    struct Slot {
        SocketAddress address{};
        iovec bytes{};
        alignas(cmsghdr) std::array<std::uint8_t, control_bytes> control{};
    };

    std::vector<Slot> slots = std::vector<Slot>(batch_max);
    std::vector<mmsghdr> messages = std::vector<mmsghdr>(batch_max);
    std::vector<std::uint8_t> buffer;
    std::size_t bytes_each = 0;
    std::size_t used = batch_max;  ///< headers that the last receive may have changed

    bool with_address;  ///< whether receive() asks for the other side's

    explicit Batch(std::size_t bytes, bool address = true) : with_address(address) {
        resize(bytes);
    }

    void resize(std::size_t bytes) {
        bytes_each = bytes;
        buffer.assign(batch_max * bytes, 0);
        for (std::size_t i = 0; i < batch_max; ++i) {
            slots[i].bytes = {buffer.data() + i * bytes, bytes};
            msghdr& message = messages[i].msg_hdr;
            message.msg_name = &slots[i].address;
            message.msg_iov = &slots[i].bytes;
            message.msg_iovlen = 1;
        }
        used = batch_max;
    }

    ByteView received(std::size_t place) const {
        const auto length = std::min<std::size_t>(messages[place].msg_len, bytes_each);
        return {static_cast<const std::uint8_t*>(slots[place].bytes.iov_base), length};
    }

    std::size_t receive(int fd, int flags) {
        for (std::size_t i = 0; i < used; ++i) {
            msghdr& message = messages[i].msg_hdr;
            message.msg_name = with_address ? &slots[i].address : nullptr;
            message.msg_namelen = with_address ? sizeof(slots[i].address) : 0;
            message.msg_control = slots[i].control.data();
            message.msg_controllen = control_bytes;
            message.msg_flags = 0;
        }
        int got = recvmmsg(fd, messages.data(), batch_max, flags | MSG_DONTWAIT, nullptr);
        if (got < 0 && errno != EAGAIN) {
            // A pending socket error was reported (and so cleared) instead; what is queued is next.
            got = recvmmsg(fd, messages.data(), batch_max, flags | MSG_DONTWAIT, nullptr);
        }
        // The call touches one header more than it fills when it runs into the end of the queue.
        used = std::min(static_cast<std::size_t>(std::max(got, 0)) + 1, batch_max);
        return static_cast<std::size_t>(std::max(got, 0));
    }
};

struct TransmitStamp {
    ProbeCookie cookie;
    WallTime time;
};

}  // namespace

struct IcmpSocket::State {
    State(boost::asio::io_context& context, int fd, Family socket_family, Mode socket_mode)
        : descriptor(context, fd),
          family(socket_family),
          mode(socket_mode),
          stamps(mode == Mode::raw ? looped_bytes : error_quote_max, mode == Mode::ping) {}

    int fd() { return descriptor.native_handle(); }

    boost::asio::posix::stream_descriptor descriptor;
    Family family;
    Mode mode;
    EchoIdentifiers identifiers;
    std::uint64_t receive_buffer = 0;
    std::uint32_t dropped = 0;
    std::size_t backlog = 0;       ///< packets read since the queue was last seen empty
    std::size_t last_backlog = 0;  ///< of the time before: a drop shows on the next packet only
    std::size_t payload_max = 0;
    std::vector<TransmitStamp> decoded_stamps;  ///< of the batch being read
    Batch requests{echo_head_bytes};            ///< zeros behind every head: the padding
    Batch packets{packet_bytes_min};
    Batch stamps;

    void fill(std::size_t place, const EchoRequest& request);
    std::size_t send_from(std::span<const EchoRequest> orders,
                          std::size_t first,
                          const Instant& at,
                          EchoSink& sink);
    void drain_error_queue(EchoSink& sink);
    void take_error_message(std::size_t place, EchoSink& sink);
    void deliver_stamps(EchoSink& sink);
    void take_packet(std::size_t place, EchoSink& sink);
    void take_ping_error(const sock_extended_err& error,
                         const SocketAddress& destination,
                         ByteView quoted,
                         EchoSink& sink);
};

// ---- Opening

namespace {

template <class Value>
bool set_option(int fd, int level, int name, const Value& value) {
    return setsockopt(fd, level, name, &value, sizeof(value)) == 0;
}

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

}  // namespace

Result<std::unique_ptr<IcmpSocket>, IcmpSocketError> IcmpSocket::open(
    boost::asio::io_context& context,
    Family family,
    EchoIdentifiers identifiers,
    int receive_buffer) {
    Mode mode = Mode::raw;
    int fd = open_socket(family, SOCK_RAW);
    if (fd < 0 && (errno == EPERM || errno == EACCES)) {
        mode = Mode::ping;
        fd = open_socket(family, SOCK_DGRAM);
    }
    if (fd < 0) {
        return IcmpSocketError{mode == Mode::raw ? "raw ICMP socket" : "ping socket", errno};
    }
    auto state = std::make_unique<State>(context, fd, family, mode);  // owns fd from here on
    const bool v4 = family == Family::ipv4;
    if (mode == Mode::raw) {
        if (!attach_filter(fd, family, identifiers)) {
            return IcmpSocketError{"SO_ATTACH_FILTER", errno};
        }
        if (!block_other_types(fd, family)) {
            return IcmpSocketError{v4 ? "ICMP_FILTER" : "ICMP6_FILTER", errno};
        }
        state->identifiers = identifiers;
    } else {
        const auto identifier = bind_ping_socket(fd, family);
        const bool errors =
            v4 ? set_option(fd, SOL_IP, IP_RECVERR, 1) : set_option(fd, SOL_IPV6, IPV6_RECVERR, 1);
        if (!identifier || !errors) {
            return IcmpSocketError{"ping socket", errno};
        }
        state->identifiers = {*identifier, 1};
    }
    state->receive_buffer = enlarge_receive_buffer(fd, receive_buffer);
    // No OPT_ID: its counter goes astray when a send fails. The looped packet names its own probe.
    const unsigned stamping =
        SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
    static_cast<void>(set_option(fd, SOL_SOCKET, SO_TIMESTAMPING, stamping));
    static_cast<void>(set_option(fd, SOL_SOCKET, SO_RXQ_OVFL, 1));
    std::unique_ptr<IcmpSocket> opened(new IcmpSocket(std::move(state)));
    opened->expect_payload(56);
    return opened;
}

IcmpSocket::IcmpSocket(std::unique_ptr<State> state) : state_(std::move(state)) {}

IcmpSocket::~IcmpSocket() = default;

Family IcmpSocket::family() const {
    return state_->family;
}

IcmpSocket::Mode IcmpSocket::mode() const {
    return state_->mode;
}

EchoIdentifiers IcmpSocket::identifiers() const {
    return state_->identifiers;
}

std::uint64_t IcmpSocket::receive_buffer_bytes() const {
    return state_->receive_buffer;
}

void IcmpSocket::expect_payload(std::size_t bytes) {
    if (bytes <= state_->payload_max) {
        return;
    }
    state_->payload_max = bytes;
    state_->requests.resize(icmp_header_bytes + bytes);
    state_->packets.resize(std::max(ip_header_max + icmp_header_bytes + bytes, packet_bytes_min));
}

void IcmpSocket::async_wait(std::function<void()> ready) {
    state_->descriptor.async_wait(
        boost::asio::posix::descriptor_base::wait_read,
        [ready = std::move(ready)](const boost::system::error_code& error) {
            if (!error) {
                ready();
            }
        });
}

void IcmpSocket::close() {
    boost::system::error_code ignored;
    state_->descriptor.close(ignored);
}

// ---- Sending

void IcmpSocket::State::fill(std::size_t place, const EchoRequest& request) {
    Batch::Slot& slot = requests.slots[place];
    const EchoTarget& target = request.target;
    slot.address = to_socket_address(target.destination, 0);
    const auto bytes = ByteSpan(requests.buffer).subspan(place * requests.bytes_each);
    encode_echo_request(bytes.first(echo_head_bytes), family, request.identifier, request.cookie);
    slot.bytes.iov_len = icmp_header_bytes + target.payload_bytes;
    msghdr& message = requests.messages[place].msg_hdr;
    message.msg_namelen = socket_address_bytes(family);
    message.msg_control = slot.control.data();
    message.msg_controllen = 0;
    const bool bound = target.device != IfIndex::any || !target.source.is_unspecified();
    if (bound && family == Family::ipv4) {
        in_pktinfo info{};
        info.ipi_ifindex = static_cast<int>(target.device);
        std::memcpy(&info.ipi_spec_dst, target.source.bytes().data(), 4);
        append_control(message, SOL_IP, IP_PKTINFO, info);
    } else if (bound) {
        in6_pktinfo info{};
        info.ipi6_ifindex = static_cast<unsigned>(target.device);
        if (target.source.family() == Family::ipv6) {
            std::memcpy(&info.ipi6_addr, target.source.bytes().data(), 16);
        }
        append_control(message, SOL_IPV6, IPV6_PKTINFO, info);
    }
    if (target.dscp != 0) {
        const int traffic_class = target.dscp << 2U;
        append_control(message,
                       family == Family::ipv4 ? SOL_IP : SOL_IPV6,
                       family == Family::ipv4 ? IP_TOS : IPV6_TCLASS,
                       traffic_class);
    }
    if (message.msg_controllen == 0) {
        message.msg_control = nullptr;
    }
}

/// Sends orders[first, …), filled in already; returns how many of them are settled (at least 1).
std::size_t IcmpSocket::State::send_from(std::span<const EchoRequest> orders,
                                         std::size_t first,
                                         const Instant& at,
                                         EchoSink& sink) {
    const auto count = static_cast<unsigned>(orders.size() - first);
    int sent = sendmmsg(fd(), &requests.messages[first], count, 0);
    if (sent < 0 && mode == Mode::ping && errno != EAGAIN) {
        // A ping socket reports an earlier ICMP error on the next call; only the second is ours.
        sent = sendmmsg(fd(), &requests.messages[first], count, 0);
    }
    if (sent > 0) {
        for (std::size_t i = 0; i < static_cast<std::size_t>(sent); ++i) {
            if (i + prefetch_distance < static_cast<std::size_t>(sent)) {
                sink.expect(orders[first + i + prefetch_distance].order.token.session);
            }
            sink.on_sent(orders[first + i].order, at);
        }
        return static_cast<std::size_t>(sent);
    }
    const int error = errno;
    if (auto reason = send_failure(error)) {
        const EchoTarget& target = orders[first].target;
        const bool free_choice = target.source.is_unspecified() && target.device == IfIndex::any;
        if (error == EINVAL && free_choice) {
            reason = FailureReason::no_route;  // a "blackhole" route
        } else if (*reason == FailureReason::no_route && !target.source.is_unspecified() &&
                   !is_local(target.source)) {
            reason = FailureReason::local_error;  // "no route" from an address we do not have
        }
        sink.on_not_sent(orders[first].order, *reason);
    } else {
        sink.on_skipped(orders[first].order);
    }
    return 1;
}

void IcmpSocket::send(std::span<const EchoRequest> requests, EchoSink& sink) {
    while (!requests.empty()) {
        const auto batch = requests.first(std::min(requests.size(), batch_max));
        requests = requests.subspan(batch.size());
        for (std::size_t i = 0; i < batch.size(); ++i) {
            ENSURE(batch[i].target.payload_bytes <= state_->payload_max);
            state_->fill(i, batch[i]);
        }
        const Instant at = now();
        for (std::size_t done = 0; done < batch.size();) {
            done += state_->send_from(batch, done, at, sink);
        }
        if (!requests.empty()) {
            // Stamps take room in the receive buffer, which answers will need.
            state_->drain_error_queue(sink);
        }
    }
}

// ---- Receiving

void IcmpSocket::State::take_ping_error(const sock_extended_err& error,
                                        const SocketAddress& destination,
                                        ByteView quoted,
                                        EchoSink& sink) {
    const auto reason = icmp_failure(family, error.ee_type, error.ee_code);
    if (!reason || quoted.size() < icmp_header_bytes) {
        return;
    }
    SocketAddress reporter{};
    std::memcpy(&reporter, SO_EE_OFFENDER(&error), socket_address_bytes(family));
    EchoError found{*reason,
                    from_socket_address(destination),
                    IpAddress{},
                    *read_u16(quoted, 4),
                    *read_u16(quoted, 6),
                    ProbeCookie::read(quoted.subspan(icmp_header_bytes)),
                    error.ee_info};
    sink.on_error(from_socket_address(reporter), found);
}

/// A stamp is kept for deliver_stamps(); an ICMP error (ping sockets only) is delivered at once.
void IcmpSocket::State::take_error_message(std::size_t place, EchoSink& sink) {
    const Ancillary ancillary = read_control(stamps.messages[place].msg_hdr);
    const ByteView bytes = stamps.received(place);
    if (ancillary.error == nullptr) {
        return;
    }
    if (ancillary.error->ee_origin == SO_EE_ORIGIN_TIMESTAMPING) {
        const auto cookie = decode_looped_request(bytes, family);
        if (cookie && ancillary.stamp) {
            sink.expect(cookie->token.session);
            decoded_stamps.push_back({*cookie, *ancillary.stamp});
        }
    } else if (ancillary.error->ee_origin == SO_EE_ORIGIN_ICMP ||
               ancillary.error->ee_origin == SO_EE_ORIGIN_ICMP6) {
        take_ping_error(*ancillary.error, stamps.slots[place].address, bytes, sink);
    }
}

void IcmpSocket::State::deliver_stamps(EchoSink& sink) {
    for (const TransmitStamp& stamp : decoded_stamps) {
        sink.on_transmit_stamp(stamp.cookie, stamp.time);
    }
    decoded_stamps.clear();
}

/// Must be emptied at every wake-up: a readable error queue keeps the descriptor readable for ever.
void IcmpSocket::State::drain_error_queue(EchoSink& sink) {
    for (std::size_t taken = 0; taken < packets_per_drain;) {
        const std::size_t got = stamps.receive(fd(), MSG_ERRQUEUE);
        for (std::size_t i = 0; i < got; ++i) {
            take_error_message(i, sink);
        }
        deliver_stamps(sink);
        taken += got;
        if (got < batch_max) {
            return;
        }
    }
}

void IcmpSocket::State::take_packet(std::size_t place, EchoSink& sink) {
    msghdr& message = packets.messages[place].msg_hdr;
    const Ancillary ancillary = read_control(message);
    if (ancillary.overflow && *ancillary.overflow != dropped) {
        dropped = *ancillary.overflow;
        // The counter also rises for ICMPv6 packets with a bad checksum, which anybody can send.
        // Only a queue that was long enough to fill the buffer can have overflowed.
        if (std::max(backlog, last_backlog) * packet_cost_max >= receive_buffer / 2) {
            sink.on_overflow();
        }
    }
    const bool raw_v4 = family == Family::ipv4 && mode == Mode::raw;
    const IcmpPacket packet = decode_icmp(packets.received(place),
                                          family,
                                          raw_v4 ? Framing::ipv4_header : Framing::icmp,
                                          (message.msg_flags & MSG_TRUNC) == 0);
    const IpAddress from = from_socket_address(packets.slots[place].address);
    if (const auto* reply = std::get_if<EchoReply>(&packet)) {
        sink.on_reply(from, *reply, ancillary.stamp);
    } else if (const auto* error = std::get_if<EchoError>(&packet)) {
        sink.on_error(from, *error);
    } else {
        sink.on_flaw(std::get<PacketFlaw>(packet));
    }
}

bool IcmpSocket::drain(EchoSink& sink) {
    State& state = *state_;
    for (std::size_t taken = 0; taken < packets_per_drain;) {
        const std::size_t got = state.packets.receive(state.fd(), 0);
        if (got > 0) {
            state.backlog += got;
            sink.on_batch(now());
        }
        // A request's stamp is queued before its answer can exist: read after the answers, but
        // delivered before them, it is always in time.
        state.drain_error_queue(sink);
        for (std::size_t i = 0; i < got; ++i) {
            state.take_packet(i, sink);
        }
        taken += got;
        if (got < batch_max) {
            state.last_backlog = std::exchange(state.backlog, 0);
            return true;
        }
    }
    return false;
}

}  // namespace reachd
