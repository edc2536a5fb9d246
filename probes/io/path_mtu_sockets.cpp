#include "probes/io/path_mtu_sockets.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include <boost/asio/posix/stream_descriptor.hpp>

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "common/check.hpp"
#include "common/io/receive_buffer.hpp"
#include "common/io/system_clock.hpp"
#include "probes/io/path_mtu_channel.hpp"
#include "probes/io/socket_address.hpp"
#include "probes/io/socket_option.hpp"
#include "probes/overflow_watch.hpp"
#include "probes/path_mtu_packet.hpp"

namespace reachd {
namespace {

using Channel = PathMtuChannel;

constexpr std::size_t packet_bytes_max = 65'536;
/// A search of three peers at 9000 bytes, twice over.
constexpr int receive_buffer_wanted = 4 * 1024 * 1024;
/// Errors of earlier packets, reported instead of sending, that are seen through.
constexpr int send_attempts = 4;

/// What the kernel said to a packet.
struct Offer {
    bool taken = false;
    std::uint32_t device_mtu = 0;  ///< 0: its size is not why it was not taken
};

}  // namespace

struct PathMtuSockets::State {
    State(boost::asio::io_context& context, Family socket_family)
        : watch(context),
          family(socket_family),
          packet(packet_bytes_max),
          fragment(fragment_bytes_max),
          zeros(packet_bytes_max) {}

    /// Watches the two sockets that receive: their readiness is its own.
    boost::asio::posix::stream_descriptor watch;
    Family family;
    IcmpMode mode = IcmpMode::raw;
    EchoIdentifiers identifiers;
    Channel icmp;
    Channel fragments;
    Channel datagrams;
    OverflowWatch overflow;
    std::vector<std::uint8_t> packet;  ///< the one read last
    std::vector<std::uint8_t> fragment;
    std::vector<std::uint8_t> zeros;  ///< padding

    const char* open_channels(const IcmpEndpoint& endpoint);
    const char* open_icmp_channel(const IcmpEndpoint& endpoint);
    const char* watch_channels();

    void send_one(const MtuRequest& request, PathMtuSink& sink);
    Offer offer_echo(const MtuRequest& request, PathMtuSink& sink);
    Offer offer_fragments(const MtuRequest& request, PathMtuSink& sink);
    Offer offer_datagram(const MtuRequest& request, PathMtuSink& sink);
    Offer offer(const Channel& channel, const msghdr& message, PathMtuSink& sink);
    void set_keeping_errors(const Channel& channel, bool on) const;

    void take_packet(const IncomingPacket& incoming, PathMtuSink& sink);
    void take_error(const Channel& channel, const IncomingPacket& incoming, PathMtuSink& sink);
    std::uint32_t drain_errors(const Channel& channel, PathMtuSink& sink);
};

// ---- Opening

/// These return the operation that failed; null: all is well.
const char* PathMtuSockets::State::open_icmp_channel(const IcmpEndpoint& endpoint) {
    const int fd = endpoint.fd;
    icmp = {Channel::Kind::icmp, endpoint.mode == IcmpMode::ping, FileDescriptor(fd)};
    mode = endpoint.mode;
    identifiers = endpoint.identifiers;
    if (!forbid_fragmenting(fd, family)) {
        return "IP_MTU_DISCOVER";
    }
    const bool fragment_sizes = family == Family::ipv4
                                    ? set_option(fd, SOL_IP, IP_RECVFRAGSIZE, 1)
                                    : set_option(fd, SOL_IPV6, IPV6_RECVFRAGSIZE, 1);
    if (!fragment_sizes) {
        return "IP_RECVFRAGSIZE";
    }
    overflow.set_buffer(enlarge_receive_buffer(fd, receive_buffer_wanted));
    static_cast<void>(set_option(fd, SOL_SOCKET, SO_SNDBUF, path_mtu_send_buffer));
    static_cast<void>(set_option(fd, SOL_SOCKET, SO_RXQ_OVFL, 1));
    return nullptr;
}

const char* PathMtuSockets::State::open_channels(const IcmpEndpoint& endpoint) {
    if (const char* failed = open_icmp_channel(endpoint)) {
        return failed;
    }
    if (mode == IcmpMode::raw) {
        fragments = open_fragment_channel(family);
        if (fragments.fd.get() < 0) {
            return "raw socket for fragments";
        }
    }
    datagrams = open_datagram_channel(family);
    return datagrams.fd.get() < 0 ? "UDP socket" : watch_channels();
}

const char* PathMtuSockets::State::watch_channels() {
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) {
        return "epoll_create1";
    }
    watch.assign(epoll);
    for (const Channel* channel : {&icmp, &datagrams}) {
        epoll_event wanted{};
        wanted.events = EPOLLIN;
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, channel->fd.get(), &wanted) != 0) {
            return "epoll_ctl";
        }
    }
    return nullptr;
}

Result<std::unique_ptr<PathMtuSockets>, IcmpSocketError> PathMtuSockets::open(
    boost::asio::io_context& context, Family family, std::uint16_t identifier) {
    const auto endpoint = open_icmp(family, {identifier, 1});
    if (!endpoint) {
        return endpoint.error();
    }
    auto state = std::make_unique<State>(context, family);
    const char* failed = state->open_channels(*endpoint);
    if (failed != nullptr) {
        return IcmpSocketError{failed, errno};
    }
    return std::unique_ptr<PathMtuSockets>(new PathMtuSockets(std::move(state)));
}

PathMtuSockets::PathMtuSockets(std::unique_ptr<State> state) : state_(std::move(state)) {}

PathMtuSockets::~PathMtuSockets() = default;

Family PathMtuSockets::family() const {
    return state_->family;
}

IcmpMode PathMtuSockets::mode() const {
    return state_->mode;
}

void PathMtuSockets::async_wait(std::function<void()> ready) {
    state_->watch.async_wait(boost::asio::posix::descriptor_base::wait_read,
                             [ready = std::move(ready)](const boost::system::error_code& error) {
                                 if (!error) {
                                     ready();
                                 }
                             });
}

void PathMtuSockets::close() {
    boost::system::error_code ignored;
    state_->watch.close(ignored);
    for (Channel* channel : {&state_->icmp, &state_->fragments, &state_->datagrams}) {
        channel->fd.close();
    }
}

// ---- Sending

namespace {

/// Nothing that another attempt could change.
bool is_final(int error) {
    return error == EAGAIN || error == ENOBUFS || error == ENOMEM || error == EBADF;
}

}  // namespace

void PathMtuSockets::State::set_keeping_errors(const Channel& channel, bool on) const {
    if (!channel.keeps_errors) {
        static_cast<void>(keep_errors(channel.fd.get(), family, on));
    }
}

/// An ICMP error about an earlier packet is reported instead of sending, once, and may be EMSGSIZE
/// too: only a size that the error queue gives as our own host's is about this packet. A raw socket
/// is made to keep it for another attempt.
Offer PathMtuSockets::State::offer(const Channel& channel,
                                   const msghdr& message,
                                   PathMtuSink& sink) {
    Offer made;
    bool asked = false;
    for (int i = 0; i < send_attempts && !made.taken && made.device_mtu == 0; ++i) {
        made.taken = sendmsg(channel.fd.get(), &message, MSG_DONTWAIT) >= 0;
        const int error = errno;
        if (!made.taken && error == EMSGSIZE) {
            made.device_mtu = drain_errors(channel, sink);
            if (made.device_mtu == 0 && !asked) {
                set_keeping_errors(channel, true);
                asked = true;
            }
        } else if (!made.taken && is_final(error)) {
            break;
        }
    }
    if (asked) {
        set_keeping_errors(channel, false);  // and what it kept is gone
    }
    return made;
}

Offer PathMtuSockets::State::offer_echo(const MtuRequest& request, PathMtuSink& sink) {
    std::array<std::uint8_t, echo_head_bytes> head{};
    encode_echo_request(head, family, identifiers.first, request.cookie);
    OutgoingPacket outgoing(request.target, 0);
    const std::size_t padding =
        mtu_payload_bytes(family, request.order.packet.bytes) - ProbeCookie::bytes;
    outgoing.set_bytes(head, ByteSpan(zeros).first(padding));
    return offer(icmp, outgoing.message, sink);
}

Offer PathMtuSockets::State::offer_datagram(const MtuRequest& request, PathMtuSink& sink) {
    std::array<std::uint8_t, ProbeCookie::bytes> head{};
    request.cookie.write(head);
    OutgoingPacket outgoing(request.target, request.order.port);
    const std::size_t padding = mtu_payload_bytes(family, request.order.packet.bytes) - head.size();
    outgoing.set_bytes(head, ByteSpan(zeros).first(padding));
    return offer(datagrams, outgoing.message, sink);
}

Offer PathMtuSockets::State::offer_fragments(const MtuRequest& request, PathMtuSink& sink) {
    const EchoTarget& target = request.target;
    std::optional<IpAddress> source = target.source;
    if (family == Family::ipv6 && target.source.is_unspecified()) {
        source = chosen_source(target);
    }
    if (mode == IcmpMode::ping || !source) {
        return {};
    }
    const FragmentedEcho echo{*source,
                              target.destination,
                              target.dscp,
                              identifiers.first,
                              request.cookie,
                              request.order.packet.bytes};
    OutgoingPacket outgoing(target, 0);
    Offer made;
    for (std::size_t i = 0; i < fragment_count; ++i) {
        const std::size_t length = encode_fragment(fragment, echo, i);
        outgoing.set_bytes(ByteSpan(fragment).first(length), {});
        made = offer(fragments, outgoing.message, sink);
        if (!made.taken) {
            break;
        }
    }
    return made;
}

void PathMtuSockets::State::send_one(const MtuRequest& request, PathMtuSink& sink) {
    const MtuOrder& order = request.order;
    const IpAddress& destination = request.target.destination;
    ENSURE(order.packet.bytes <= ip_packet_bytes_max);
    Offer made;
    const Instant at = now();
    if (destination.family() == family && !destination.is_unspecified()) {
        switch (order.packet.form) {
            case MtuForm::echo: made = offer_echo(request, sink); break;
            case MtuForm::fragmented_echo: made = offer_fragments(request, sink); break;
            case MtuForm::datagram: made = offer_datagram(request, sink); break;
        }
    }
    if (made.taken) {
        sink.on_mtu_sent(order, at);
    } else if (made.device_mtu != 0) {
        sink.on_mtu_too_big_for_device(order, made.device_mtu);
    } else {
        sink.on_mtu_not_sent(order);
    }
}

void PathMtuSockets::send(std::span<const MtuRequest> requests, PathMtuSink& sink) {
    for (const MtuRequest& request : requests) {
        state_->send_one(request, sink);
    }
}

// ---- Receiving

void PathMtuSockets::State::take_packet(const IncomingPacket& incoming, PathMtuSink& sink) {
    // Of the buffer it took up to three times its size: drivers fill pages by half and less.
    overflow.on_read(OverflowWatch::packet_cost_max + 3 * incoming.length);
    if (incoming.control.dropped && overflow.on_count(*incoming.control.dropped)) {
        sink.on_mtu_overflow();
    }
    const bool with_header = family == Family::ipv4 && mode == IcmpMode::raw;
    const IpAddress from = from_socket_address(incoming.address);
    const IcmpPacket decoded =
        decode_icmp(ByteView(packet).first(std::min(incoming.length, packet.size())),
                    family,
                    with_header ? Framing::ipv4_header : Framing::icmp,
                    incoming.length <= packet.size());
    const auto* reply = std::get_if<EchoReply>(&decoded);
    const auto* error = std::get_if<EchoError>(&decoded);
    if (reply != nullptr && identifiers.contains(reply->identifier)) {
        const std::size_t header = with_header ? 0 : ip_header_bytes(family);
        sink.on_mtu_reply(from,
                          *reply,
                          static_cast<std::uint32_t>(incoming.length + header),
                          incoming.control.fragment);
    } else if (error != nullptr && identifiers.contains(error->identifier)) {
        sink.on_mtu_echo_error(from, *error);
    } else if (const auto* flaw = std::get_if<PacketFlaw>(&decoded)) {
        sink.on_mtu_flaw(*flaw);
    } else {
        sink.on_mtu_flaw(PacketFlaw::foreign);  // came before the filter was there
    }
}

void PathMtuSockets::State::take_error(const Channel& channel,
                                       const IncomingPacket& incoming,
                                       PathMtuSink& sink) {
    const QueuedError& error = *incoming.control.error;
    const ByteView quoted = ByteView(packet).first(std::min(incoming.length, packet.size()));
    switch (channel.kind) {
        case Channel::Kind::fragments: return;
        case Channel::Kind::icmp:
            if (mode == IcmpMode::raw) {
                return;  // any program's; ours come as packets
            }
            if (const auto found = read_ping_error(family, error, incoming.address, quoted)) {
                sink.on_mtu_echo_error(error.offender, *found);
            }
            return;
        case Channel::Kind::datagrams: break;
    }
    const auto reason = icmp_failure(family, error.type, error.code);
    if (reason) {
        sink.on_mtu_datagram_error(error.offender,
                                   from_socket_address(incoming.address),
                                   ntohs(incoming.address.sin6_port),  // the same in sockaddr_in
                                   *reason,
                                   *reason == FailureReason::too_big ? error.info : 0);
    }
}

/// Must be emptied at every wake-up: a readable error queue keeps the descriptor readable for ever.
/// Returns the MTU that our own host gave as the reason to refuse a packet; 0: it did not.
std::uint32_t PathMtuSockets::State::drain_errors(const Channel& channel, PathMtuSink& sink) {
    std::uint32_t device_mtu = 0;
    for (std::size_t i = 0; i < packets_per_drain; ++i) {
        const auto incoming = receive_packet(channel.fd.get(), MSG_ERRQUEUE, packet);
        if (!incoming) {
            break;
        }
        if (!incoming->control.error) {
            continue;
        }
        if (incoming->control.error->origin == SO_EE_ORIGIN_LOCAL) {
            device_mtu = incoming->control.error->info;
        } else if (incoming->control.error->origin == SO_EE_ORIGIN_ICMP ||
                   incoming->control.error->origin == SO_EE_ORIGIN_ICMP6) {
            sink.on_batch(now());
            take_error(channel, *incoming, sink);
        }
    }
    clear_pending_error(channel.fd.get());
    return device_mtu;
}

bool PathMtuSockets::drain(PathMtuSink& sink) {
    State& state = *state_;
    std::size_t taken = 0;
    for (; taken < packets_per_drain; ++taken) {
        const auto incoming = receive_packet(state.icmp.fd.get(), 0, state.packet);
        if (!incoming) {
            break;
        }
        sink.on_batch(now());
        state.take_packet(*incoming, sink);
    }
    for (const Channel* channel : {&state.icmp, &state.datagrams}) {
        if (channel->keeps_errors) {
            static_cast<void>(state.drain_errors(*channel, sink));
        }
    }
    if (taken == packets_per_drain) {
        return false;
    }
    state.overflow.on_empty();
    return true;
}

}  // namespace reachd
