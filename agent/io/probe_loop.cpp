#include "agent/io/probe_loop.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

namespace reachd {
namespace {

/// Each of as many packets, frames or connects as the source takes in one drain().
constexpr int drain_rounds_max = 4;

std::chrono::steady_clock::time_point to_steady(MonoTime time) {
    // libstdc++'s steady_clock is CLOCK_MONOTONIC.
    return std::chrono::steady_clock::time_point(time.time_since_epoch());
}

}  // namespace

ProbeLoop::ProbeLoop(boost::asio::io_context& context, Agent& agent, ProbeLoopHooks hooks)
    : agent_(agent),
      hooks_(std::move(hooks)),
      context_(context),
      timer_(context),
      connector_(context),
      neighbours_(context) {}

ProbeLoop::~ProbeLoop() = default;

void ProbeLoop::open(EchoIdentifiers identifiers) {
    std::string why;
    for (const Family family : {Family::ipv4, Family::ipv6}) {
        auto opened = IcmpSocket::open(context_, family, identifiers);
        if (!opened) {
            why = opened.error().message();
            if (!opened.error().family_missing()) {
                hooks_.log(
                    {LogLevel::warning,
                     fmt::format("no {} probes: {}", family == Family::ipv4 ? "IPv4" : "IPv6", why),
                     {},
                     {}});
            }
            continue;
        }
        echo_sockets_.push_back(std::move(*opened));
        open_mtu_sockets(family, identifiers);
        const IcmpSocket& socket = *echo_sockets_.back();
        agent_.handle(EchoSocketOpened{family, socket.identifiers()}, now());
    }
    if (echo_sockets_.empty()) {
        throw std::runtime_error(fmt::format(
            "cannot send ICMP ({}); give reachd CAP_NET_RAW (AmbientCapabilities=CAP_NET_RAW, or "
            "setcap cap_net_raw+ep), or its group to net.ipv4.ping_group_range",
            why));
    }
    if (echo_sockets_.front()->mode() == IcmpSocket::Mode::ping) {
        hooks_.log({LogLevel::warning,
                    "no CAP_NET_RAW: probing by ping sockets, without the kernel-side filter and "
                    "without telling a dead neighbour from an unreachable host",
                    {},
                    {}});
    }
    netlink_ = std::make_unique<NetlinkSocket>(context_, [this] {
        drain_netlink();
        turn();
    });
    for (const auto& socket : echo_sockets_) {
        wait_for(*socket);
    }
    for (const auto& sockets : mtu_sockets_) {
        wait_for(*sockets);
    }
    wait_for(connector_);
    wait_for(neighbours_);
}

/// Their identifier is the first that no echo request of the others has.
void ProbeLoop::open_mtu_sockets(Family family, EchoIdentifiers identifiers) {
    const auto identifier = static_cast<std::uint16_t>(identifiers.first + identifiers.count);
    auto opened = PathMtuSockets::open(context_, family, identifier);
    if (opened) {
        mtu_sockets_.push_back(std::move(*opened));
        return;
    }
    hooks_.log({LogLevel::warning,
                fmt::format("no path MTU probes by {}: {}",
                            family == Family::ipv4 ? "IPv4" : "IPv6",
                            opened.error().message()),
                {},
                {}});
}

template <class Source>
void ProbeLoop::wait_for(Source& source) {
    source.async_wait([this, &source] {
        if (!closed_) {
            turn(&source);
            wait_for(source);
        }
    });
}

void ProbeLoop::close() {
    closed_ = true;
    timer_.cancel();
    for (const auto& socket : echo_sockets_) {
        socket->close();
    }
    for (const auto& sockets : mtu_sockets_) {
        sockets->close();
    }
    connector_.close();
    neighbours_.close();
    netlink_.reset();
}

std::vector<SocketSnapshot> ProbeLoop::sockets() const {
    std::vector<SocketSnapshot> all;
    for (const auto& socket : echo_sockets_) {
        all.push_back(
            {socket->family() == Family::ipv4 ? "icmp4" : "icmp6", socket->receive_buffer_bytes()});
    }
    all.push_back({"netlink", netlink_->receive_buffer_bytes()});
    return all;
}

// ---- A turn

/// Answers first, then the clock: a probe is out of time only when nothing that was read by then
/// answers it. `ready`: the source that has something to read.
void ProbeLoop::turn(const void* ready) {
    read_ = now();
    agent_.observe(read_);
    if (!netlink_->caught_up()) {
        agent_.handle(NetlinkPending{}, read_);  // lest our own delay looks like silence
    }
    drain_probes(ready);
    const Instant at = now();
    agent_.observe(at);
    agent_.poll(at, actions_);
    perform();
    arm_timer();
    if (hooks_.after_turn) {
        hooks_.after_turn();
    }
}

/// What is still in a socket may answer a probe that is out of time; in a flood of what is not ours
/// the clock must go on all the same. A source that owes no answer is not asked: a look into an
/// empty socket costs as much as a packet. Except for the guests' ports before anything is sent: a
/// guest that checks its address now must not be asked.
void ProbeLoop::drain_probes(const void* ready) {
    const bool may_ask = agent_.next_deadline() <= read_.mono;
    const auto drain = [&](auto& source, ProbeKind kind) {
        const bool is_owed = agent_.awaits(kind) || (kind == ProbeKind::arp && may_ask);
        if (&source != ready && !is_owed) {
            return;
        }
        for (int rounds = 0; rounds < drain_rounds_max && !source.drain(*this); ++rounds) {
        }
    };
    for (const auto& socket : echo_sockets_) {
        drain(*socket, ProbeKind::icmp);
    }
    for (const auto& sockets : mtu_sockets_) {
        if (sockets.get() == ready || agent_.awaits_mtu_answers()) {
            static_cast<void>(sockets->drain(*this));  // what is more waits for its own turn
        }
    }
    drain(connector_, ProbeKind::tcp);
    drain(neighbours_, ProbeKind::arp);
}

void ProbeLoop::perform_for_neighbours() {
    for (const NeighbourPort& port : actions_.guest_ports.closed) {
        neighbours_.close_port(port.device, port.use);
    }
    for (const NeighbourPort& port : actions_.guest_ports.opened) {
        if (const auto error = neighbours_.open_port(port.device, port.use)) {
            agent_.handle(GuestPortFailed{port.device, error.message()}, now());
        }
    }
    for (const NeighbourPort& port : actions_.gateway_ports.closed) {
        neighbours_.close_port(port.device, port.use);
    }
    for (const NeighbourPort& port : actions_.gateway_ports.opened) {
        if (const auto error = neighbours_.open_port(port.device, port.use)) {
            agent_.handle(GatewayPortFailed{port, error.message()}, now());
        }
    }
    neighbours_.send(actions_.neighbour_requests, *this);
}

void ProbeLoop::perform_for_guests() {
    if (actions_.guest_lookup) {
        hooks_.identify_guests(std::move(*actions_.guest_lookup));
    }
    if (actions_.guest_records) {
        hooks_.keep_guests(std::move(*actions_.guest_records));
    }
}

void ProbeLoop::perform_for_mtu() {
    for (const EgressLookup& lookup : actions_.egress_lookups) {
        if (const auto egress =
                egress_finder_.find(lookup.destination, lookup.source, lookup.device)) {
            agent_.handle(EgressFound{lookup.peer, *egress}, now());
        }
    }
    for (const Family family : {Family::ipv4, Family::ipv6}) {
        const auto& requests = actions_.mtu_requests[static_cast<std::size_t>(family)];
        const auto sockets =
            std::find_if(mtu_sockets_.begin(), mtu_sockets_.end(), [family](const auto& candidate) {
                return candidate->family() == family;
            });
        if (sockets != mtu_sockets_.end()) {
            (*sockets)->send(requests, *this);
            continue;
        }
        for (const MtuRequest& request : requests) {
            on_mtu_not_sent(request.order);
        }
    }
}

void ProbeLoop::perform() {
    for (const auto& socket : echo_sockets_) {
        const auto& requests = actions_.echo_requests[static_cast<std::size_t>(socket->family())];
        socket->expect_payload(agent_.payload_bytes_max());
        socket->send(requests, *this);
    }
    for (const ProbeToken& token : actions_.tcp_abandoned) {
        agent_.handle(TcpAbandoned{token, connector_.abandon(token)}, now());
    }
    connector_.connect(actions_.tcp_requests, *this);
    perform_for_neighbours();
    perform_for_mtu();
    perform_for_guests();
    for (const DumpRequest& request : actions_.dumps) {
        if (netlink_->request(request)) {
            agent_.handle(DumpRequestFailed{}, now());
        }
    }
    for (LookupRequest& request : actions_.lookups) {
        hooks_.lookup(std::move(request));
    }
    for (DeviceLookup& lookup : actions_.device_lookups) {
        hooks_.describe_device(std::move(lookup));
    }
    for (const LogRecord& record : actions_.logs) {
        hooks_.log(record);
    }
    actions_.clear();
}

void ProbeLoop::arm_timer() {
    const MonoTime deadline = agent_.next_deadline();
    if (deadline == armed_for_ || closed_) {
        return;
    }
    armed_for_ = deadline;
    if (deadline == mono_never) {
        timer_.cancel();
        return;
    }
    timer_.expires_at(to_steady(deadline));
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (!error && !closed_) {
            armed_for_ = mono_never;
            turn();
        }
    });
}

void ProbeLoop::drain_netlink() {
    read_ = now();
    agent_.observe(read_);
    if (const auto error = netlink_->drain(*this)) {
        agent_.handle(NetlinkFailed{}, read_);
        hooks_.log({LogLevel::error,
                    fmt::format("rtnetlink has failed, the topology is no longer followed: {}; "
                                "restart reachd",
                                error.message()),
                    {},
                    {}});
    }
}

// ---- From the sockets

void ProbeLoop::on_batch(const Instant& read) {
    read_ = read;
    agent_.observe(read);
}

void ProbeLoop::on_sent(const SendOrder& order, const Instant& at) {
    agent_.handle(ProbeSent{order}, at);
}

void ProbeLoop::on_not_sent(const SendOrder& order, FailureReason reason) {
    agent_.handle(ProbeNotSent{order, reason}, now());
}

void ProbeLoop::on_skipped(const SendOrder& order) {
    agent_.handle(ProbeSkipped{order}, now());
}

void ProbeLoop::on_transmit_stamp(const ProbeCookie& cookie, WallTime stamp) {
    agent_.handle(TransmitStamped{cookie, stamp}, read_);
}

void ProbeLoop::on_reply(const IpAddress& from,
                         const EchoReply& reply,
                         std::optional<WallTime> received) {
    agent_.handle(EchoReplied{from, reply, received}, read_);
}

void ProbeLoop::on_error(const IpAddress& reporter, const EchoError& error) {
    agent_.handle(EchoFailed{reporter, error}, read_);
}

void ProbeLoop::on_flaw(PacketFlaw flaw) {
    agent_.handle(PacketRejected{flaw}, read_);
}

void ProbeLoop::on_overflow() {
    agent_.handle(ReceiveOverflowed{}, read_);
}

void ProbeLoop::on_tcp_result(ProbeToken token, const TcpResult& result) {
    agent_.handle(TcpEnded{token, result}, read_);
}

void ProbeLoop::on_neighbour_stamp(ProbeToken token, WallTime stamp) {
    agent_.handle(NeighbourStamped{token, stamp}, read_);
}

void ProbeLoop::on_neighbour_frame(IfIndex port,
                                   PortUse use,
                                   const NeighbourFrame& frame,
                                   std::optional<WallTime> received) {
    agent_.handle(NeighbourHeard{port, frame, received, use}, read_);
}

void ProbeLoop::on_neighbour_flaw() {
    agent_.handle(PacketRejected{PacketFlaw::malformed}, read_);
}

void ProbeLoop::on_neighbour_overflow(IfIndex port, PortUse use) {
    agent_.handle(NeighbourOverflowed{port, use}, read_);
}

void ProbeLoop::on_mtu_sent(const MtuOrder& order, const Instant& at) {
    agent_.handle(MtuPacketSent{order}, at);
}

void ProbeLoop::on_mtu_not_sent(const MtuOrder& order) {
    agent_.handle(MtuPacketNotSent{order}, now());
}

void ProbeLoop::on_mtu_too_big_for_device(const MtuOrder& order, std::uint32_t mtu) {
    agent_.handle(MtuPacketTooBig{order, mtu}, now());
}

void ProbeLoop::on_mtu_reply(const IpAddress& from,
                             const EchoReply& reply,
                             std::uint32_t bytes,
                             std::uint32_t fragment) {
    agent_.handle(MtuReplied{from, reply, bytes, fragment}, read_);
}

void ProbeLoop::on_mtu_echo_error(const IpAddress& reporter, const EchoError& error) {
    agent_.handle(MtuEchoFailed{reporter, error}, read_);
}

void ProbeLoop::on_mtu_datagram_error(const IpAddress& reporter,
                                      const IpAddress& destination,
                                      std::uint16_t port,
                                      FailureReason reason,
                                      std::uint32_t mtu) {
    agent_.handle(MtuDatagramFailed{reporter, destination, port, reason, mtu}, read_);
}

void ProbeLoop::on_mtu_flaw(PacketFlaw flaw) {
    agent_.handle(PacketRejected{flaw}, read_);
}

void ProbeLoop::on_mtu_overflow() {
    agent_.handle(MtuOverflowed{}, read_);
}

void ProbeLoop::on_datagram(ByteView datagram) {
    agent_.handle(NetlinkReceived{datagram}, read_);
}

void ProbeLoop::on_overrun() {
    agent_.handle(NetlinkOverran{}, read_);
}

void ProbeLoop::on_request_failed() {
    agent_.handle(DumpRequestFailed{}, read_);
}

void ProbeLoop::on_truncated() {
    agent_.handle(NetlinkTruncated{}, read_);
}

}  // namespace reachd
