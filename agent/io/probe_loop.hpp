// The probe loop: waits for a socket, the netlink or the next deadline, turns what it finds into
// events for the Agent, and performs what the Agent wants. Holds no product decision. Everything
// here runs on the one thread of its io_context, and nothing else may run there that takes time.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "agent/agent.hpp"
#include "agent/io/netlink_socket.hpp"
#include "common/io/system_clock.hpp"
#include "probes/io/egress_finder.hpp"
#include "probes/io/icmp_socket.hpp"
#include "probes/io/neighbour_sockets.hpp"
#include "probes/io/path_mtu_sockets.hpp"
#include "probes/io/tcp_connector.hpp"

namespace reachd {

/// What the loop cannot do by itself.
struct ProbeLoopHooks {
    std::function<void(LookupRequest)> lookup;          ///< answered later by NameLookedUp
    std::function<void(DeviceLookup)> describe_device;  ///< answered later by DeviceDescribed
    std::function<void(GuestLookup)> identify_guests;   ///< answered later by GuestsIdentified
    std::function<void(std::vector<GuestAddressRecord>)> keep_guests;
    std::function<void(const LogRecord&)> log;
    std::function<void()> after_turn;  ///< the turn's work is done, the next one is scheduled
};

class ProbeLoop final : private EchoSink,
                        private TcpSink,
                        private NeighbourSink,
                        private PathMtuSink,
                        private NetlinkSink {
  public:
    ProbeLoop(boost::asio::io_context& context, Agent& agent, ProbeLoopHooks hooks);
    ~ProbeLoop() override;
    ProbeLoop(const ProbeLoop&) = delete;
    ProbeLoop& operator=(const ProbeLoop&) = delete;

    /// Opens the sockets. Throws std::runtime_error, with the remedy, when no probe could ever be
    /// sent, and std::system_error when netlink cannot be had.
    void open(EchoIdentifiers identifiers);

    /// The first turn. open() comes before.
    void start() { turn(); }

    /// Any other event: handled, then a whole turn.
    template <class Event>
    void deliver(Event event) {
        const Instant at = now();
        agent_.observe(at);
        agent_.handle(std::move(event), at);
        turn();
    }

    std::vector<SocketSnapshot> sockets() const;

    const std::vector<std::unique_ptr<IcmpSocket>>& echo_sockets() const { return echo_sockets_; }

    void close();

  private:
    void on_batch(const Instant& read) override;

    void expect(std::uint32_t session) override { agent_.prefetch(session); }

    void on_sent(const SendOrder& order, const Instant& at) override;
    void on_not_sent(const SendOrder& order, FailureReason reason) override;
    void on_skipped(const SendOrder& order) override;
    void on_transmit_stamp(const ProbeCookie& cookie, WallTime stamp) override;
    void on_reply(const IpAddress& from,
                  const EchoReply& reply,
                  std::optional<WallTime> received) override;
    void on_error(const IpAddress& reporter, const EchoError& error) override;
    void on_flaw(PacketFlaw flaw) override;
    void on_overflow() override;

    void on_tcp_result(ProbeToken token, const TcpResult& result) override;

    void on_neighbour_stamp(ProbeToken token, WallTime stamp) override;
    void on_neighbour_frame(IfIndex port,
                            PortUse use,
                            const NeighbourFrame& frame,
                            std::optional<WallTime> received) override;
    void on_neighbour_flaw() override;
    void on_neighbour_overflow(IfIndex port, PortUse use) override;

    void on_mtu_sent(const MtuOrder& order, const Instant& at) override;
    void on_mtu_not_sent(const MtuOrder& order) override;
    void on_mtu_too_big_for_device(const MtuOrder& order, std::uint32_t mtu) override;
    void on_mtu_reply(const IpAddress& from,
                      const EchoReply& reply,
                      std::uint32_t bytes,
                      std::uint32_t fragment) override;
    void on_mtu_echo_error(const IpAddress& reporter, const EchoError& error) override;
    void on_mtu_datagram_error(const IpAddress& reporter,
                               const IpAddress& destination,
                               std::uint16_t port,
                               FailureReason reason,
                               std::uint32_t mtu) override;
    void on_mtu_flaw(PacketFlaw flaw) override;
    void on_mtu_overflow() override;

    void on_datagram(ByteView datagram) override;
    void on_overrun() override;
    void on_truncated() override;
    void on_request_failed() override;

    void turn(const void* ready = nullptr);
    void drain_netlink();
    void drain_probes(const void* ready);
    void perform();
    void perform_for_neighbours();
    void perform_for_mtu();
    void perform_for_guests();
    void arm_timer();
    void open_mtu_sockets(Family family, EchoIdentifiers identifiers);
    template <class Source>
    void wait_for(Source& source);

    Agent& agent_;
    ProbeLoopHooks hooks_;
    boost::asio::io_context& context_;
    boost::asio::steady_timer timer_;
    MonoTime armed_for_ = mono_never;
    std::vector<std::unique_ptr<IcmpSocket>> echo_sockets_;
    std::vector<std::unique_ptr<PathMtuSockets>> mtu_sockets_;
    EgressFinder egress_finder_;
    TcpConnector connector_;
    NeighbourSockets neighbours_;
    std::unique_ptr<NetlinkSocket> netlink_;
    Actions actions_;
    Instant read_{};  ///< of the batch being delivered
    bool closed_ = false;
};

}  // namespace reachd
