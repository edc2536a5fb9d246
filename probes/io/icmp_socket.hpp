// One socket for all echo requests of an address family: sends in batches, receives in batches,
// stamps by the kernel both ways. One filtered raw socket, not one a peer: each raw socket gets a
// copy of every ICMP packet of the host, which makes N sockets cost N squared. Where CAP_NET_RAW is
// missing, a ping socket (one identifier, no filter) takes its place.
//
// Decides nothing: what it reads goes to an EchoSink, what it sends it is told.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include <boost/asio/io_context.hpp>

#include "common/address.hpp"
#include "common/result.hpp"
#include "common/time.hpp"
#include "probes/echo_request.hpp"
#include "probes/icmp_packet.hpp"
#include "probes/io/icmp_endpoint.hpp"

namespace reachd {

/// Takes what became of requests and what arrived. Called from send() and drain() only.
class EchoSink {
  public:
    virtual ~EchoSink() = default;
    /// The clocks as read just after a batch was received; what follows was read at that moment.
    virtual void on_batch(const Instant& read) = 0;
    /// Something about this session follows soon. A hint, and perhaps a forged one: the session may
    /// not exist. With many peers its data left the caches long ago.
    virtual void expect(std::uint32_t session) = 0;
    virtual void on_sent(const SendOrder& order, const Instant& at) = 0;
    virtual void on_not_sent(const SendOrder& order, FailureReason reason) = 0;
    virtual void on_skipped(const SendOrder& order) = 0;
    virtual void on_transmit_stamp(const ProbeCookie& cookie, WallTime stamp) = 0;
    virtual void on_reply(const IpAddress& from,
                          const EchoReply& reply,
                          std::optional<WallTime> received) = 0;
    virtual void on_error(const IpAddress& reporter, const EchoError& error) = 0;
    virtual void on_flaw(PacketFlaw flaw) = 0;
    virtual void on_overflow() = 0;
};

class IcmpSocket {
  public:
    using Mode = IcmpMode;

    /// Bytes asked of the kernel for answers and stamps: some 7,000 packets.
    static constexpr int receive_buffer_wanted = 8 * 1024 * 1024;
    /// Packets taken in one drain(): timers must get their turn in a flood.
    static constexpr std::size_t packets_per_drain = 4096;

    /// A raw socket, or else a ping socket. `identifiers` are for the raw one.
    static Result<std::unique_ptr<IcmpSocket>, IcmpSocketError> open(
        boost::asio::io_context& context,
        Family family,
        EchoIdentifiers identifiers,
        int receive_buffer = receive_buffer_wanted);

    ~IcmpSocket();
    IcmpSocket(const IcmpSocket&) = delete;
    IcmpSocket& operator=(const IcmpSocket&) = delete;

    Family family() const;
    Mode mode() const;
    EchoIdentifiers identifiers() const;
    /// As the kernel accounts it, which is twice what was asked for.
    std::uint64_t receive_buffer_bytes() const;

    /// Answers up to this payload are read whole. Default 56.
    void expect_payload(std::size_t bytes);

    /// Calls `ready` once when there is something to drain.
    void async_wait(std::function<void()> ready);

    /// Offers the requests to the kernel; each ends in exactly one on_sent, on_not_sent or
    /// on_skipped.
    void send(std::span<const EchoRequest> requests, EchoSink& sink);

    /// Reads stamps and packets until there are none, or packets_per_drain were read. Stamps of a
    /// batch are delivered before its answers.
    /// False: there is more.
    bool drain(EchoSink& sink);

    void close();

  private:
    struct State;
    explicit IcmpSocket(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace reachd
