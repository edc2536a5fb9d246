#include "probes/io/icmp_socket.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include <boost/asio/posix/stream_descriptor.hpp>

#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/io/receive_buffer.hpp"
#include "common/io/system_clock.hpp"
#include "common/prefetch.hpp"
#include "probes/io/control_messages.hpp"
#include "probes/io/socket_address.hpp"
#include "probes/io/socket_option.hpp"
#include "probes/overflow_watch.hpp"

namespace reachd {
namespace {

constexpr std::size_t batch_max = 64;
/// The looped copy of a request: link, IP and ICMP headers and the cookie, with room for options.
constexpr std::size_t looped_bytes = 160;
constexpr std::size_t ip_header_max = 60;
constexpr std::size_t packet_bytes_min = 256;
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

/// A batch of datagrams: the headers, addresses, control messages and bytes of up to batch_max
/// datagrams, laid out once. Sending fills headers in; receiving resets those it used.
struct Batch {
    struct Slot {
        SocketAddress address{};
        iovec bytes{};
        alignas(cmsghdr) std::array<std::uint8_t, control_bytes_max> control{};
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
            message.msg_controllen = control_bytes_max;
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
    OverflowWatch overflow;
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
};

// ---- Opening

Result<std::unique_ptr<IcmpSocket>, IcmpSocketError> IcmpSocket::open(
    boost::asio::io_context& context,
    Family family,
    EchoIdentifiers identifiers,
    int receive_buffer) {
    const auto endpoint = open_icmp(family, identifiers);
    if (!endpoint) {
        return endpoint.error();
    }
    const int fd = endpoint->fd;
    auto state = std::make_unique<State>(context, fd, family, endpoint->mode);  // owns fd from here
    state->identifiers = endpoint->identifiers;
    state->overflow.set_buffer(enlarge_receive_buffer(fd, receive_buffer));
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
    return state_->overflow.buffer();
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
    write_control(message, slot.control.data(), target);
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

/// A stamp is kept for deliver_stamps(); an ICMP error (ping sockets only) is delivered at once.
void IcmpSocket::State::take_error_message(std::size_t place, EchoSink& sink) {
    const ReceivedControl control = read_control(stamps.messages[place].msg_hdr);
    const ByteView bytes = stamps.received(place);
    if (!control.error) {
        return;
    }
    if (control.error->origin == SO_EE_ORIGIN_TIMESTAMPING) {
        const auto cookie = decode_looped_request(bytes, family);
        if (cookie && control.stamp) {
            sink.expect(cookie->token.session);
            decoded_stamps.push_back({*cookie, *control.stamp});
        }
    } else if (const auto error =
                   read_ping_error(family, *control.error, stamps.slots[place].address, bytes)) {
        sink.on_error(control.error->offender, *error);
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
    const ReceivedControl control = read_control(message);
    if (control.dropped && overflow.on_count(*control.dropped)) {
        sink.on_overflow();
    }
    const bool raw_v4 = family == Family::ipv4 && mode == Mode::raw;
    const IcmpPacket packet = decode_icmp(packets.received(place),
                                          family,
                                          raw_v4 ? Framing::ipv4_header : Framing::icmp,
                                          (message.msg_flags & MSG_TRUNC) == 0);
    const IpAddress from = from_socket_address(packets.slots[place].address);
    if (const auto* reply = std::get_if<EchoReply>(&packet)) {
        sink.on_reply(from, *reply, control.stamp);
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
            state.overflow.on_read(got * OverflowWatch::packet_cost_max);
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
            state.overflow.on_empty();
            return true;
        }
    }
    return false;
}

}  // namespace reachd
