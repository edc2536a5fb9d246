// The sockets of path MTU probing for one address family: an ICMP socket for echo requests that
// must not be fragmented (IP_PMTUDISC_PROBE: DF, and whatever the kernel has learnt about the path
// is not heeded), one that sends requests in fragments of its own, and a UDP socket for datagrams
// to closed ports. Large packets are few, so nothing is batched; what must not wait is done without
// waiting. Decides nothing: what it reads goes to a PathMtuSink, what it sends it is told.
//
// Whoever is told that a packet is too big (ICMP type 3 code 4; packet-too-big) tells the kernel
// too: it keeps the smaller size for that one destination as with any other program's packet, for
// net.ipv4.route.mtu_expires (600 s), also when a larger packet has got through meanwhile. Packets
// of these sockets do not heed it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include <boost/asio/io_context.hpp>

#include "common/address.hpp"
#include "common/result.hpp"
#include "common/time.hpp"
#include "probes/icmp_packet.hpp"
#include "probes/io/icmp_endpoint.hpp"
#include "probes/path_mtu_request.hpp"

namespace reachd {

/// Takes what became of requests and what arrived. Called from send() and drain() only.
class PathMtuSink {
  public:
    virtual ~PathMtuSink() = default;
    /// The clocks as read just after something was received; what follows was read at that moment.
    virtual void on_batch(const Instant& read) = 0;
    virtual void on_mtu_sent(const MtuOrder& order, const Instant& at) = 0;
    /// Refused for reasons that are none of its size, or there was no room, or no such socket. Of
    /// one in fragments the first may have left.
    virtual void on_mtu_not_sent(const MtuOrder& order) = 0;
    /// The device that it would leave by passes no more than `mtu` bytes.
    virtual void on_mtu_too_big_for_device(const MtuOrder& order, std::uint32_t mtu) = 0;
    /// An answer with our identifier. `bytes`: of the whole IP packet. `fragment`: the largest
    /// fragment it came in, as an IP packet; 0: it came whole.
    virtual void on_mtu_reply(const IpAddress& from,
                              const EchoReply& reply,
                              std::uint32_t bytes,
                              std::uint32_t fragment) = 0;
    /// An ICMP error about one of our echo requests, by its identifier. `error.cookie` is there
    /// only if it quotes enough.
    virtual void on_mtu_echo_error(const IpAddress& reporter, const EchoError& error) = 0;
    /// An ICMP error about one of our datagrams: the kernel has compared both its ends. `mtu`: next
    /// hop's, bytes, for too_big only; 0: not given.
    virtual void on_mtu_datagram_error(const IpAddress& reporter,
                                       const IpAddress& destination,
                                       std::uint16_t port,
                                       FailureReason reason,
                                       std::uint32_t mtu) = 0;
    virtual void on_mtu_flaw(PacketFlaw flaw) = 0;
    virtual void on_mtu_overflow() = 0;
};

class PathMtuSockets {
  public:
    /// Packets taken in one drain().
    static constexpr std::size_t packets_per_drain = 256;

    /// Raw sockets, or else a ping socket, which cannot send fragments of its own: such requests
    /// are not sent. `identifier` is for the raw one, and must be nobody else's.
    static Result<std::unique_ptr<PathMtuSockets>, IcmpSocketError> open(
        boost::asio::io_context& context, Family family, std::uint16_t identifier);

    ~PathMtuSockets();
    PathMtuSockets(const PathMtuSockets&) = delete;
    PathMtuSockets& operator=(const PathMtuSockets&) = delete;

    Family family() const;
    IcmpMode mode() const;

    /// Calls `ready` once when there is something to drain.
    void async_wait(std::function<void()> ready);

    /// Offers the requests to the kernel; each ends in exactly one on_mtu_sent, on_mtu_not_sent or
    /// on_mtu_too_big_for_device.
    void send(std::span<const MtuRequest> requests, PathMtuSink& sink);

    /// False: there is more.
    bool drain(PathMtuSink& sink);

    void close();

  private:
    struct State;
    explicit PathMtuSockets(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace reachd
