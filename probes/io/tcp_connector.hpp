// Connects, and tells how it went: one non-blocking socket a probe, a bounded number at once, all
// watched by one epoll of its own. The round trip is the kernel's (TCP_INFO), so our own scheduling
// is no part of it. Ends each connection by RST (SO_LINGER 0): nothing lingers here or there.
//
// Decides no time-outs and judges nothing: results go to a TcpSink.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include <boost/asio/io_context.hpp>

#include "common/time.hpp"
#include "probes/tcp_request.hpp"
#include "probes/tcp_result.hpp"

namespace reachd {

/// Takes what became of requests. Called from connect() and drain() only; may call abandon(), but
/// not connect(), drain() or close().
class TcpSink {
  public:
    virtual ~TcpSink() = default;
    /// The clocks as read just after a batch of results was found; also within connect().
    virtual void on_batch(const Instant& read) = 0;
    virtual void on_sent(const SendOrder& order, const Instant& at) = 0;
    virtual void on_not_sent(const SendOrder& order, FailureReason reason) = 0;
    virtual void on_skipped(const SendOrder& order) = 0;
    virtual void on_tcp_result(ProbeToken token, const TcpResult& result) = 0;
};

/// Not copyable, not movable. Must not be destroyed while its io_context may still run.
class TcpConnector {
  public:
    /// Connects under way at once; 0.7 MB of ours, and some 3 kB each of the kernel's.
    static constexpr std::size_t connects_max = 16'384;
    /// Events taken in one drain(): timers must get their turn.
    static constexpr std::size_t events_per_drain = 4096;

    /// Reads RLIMIT_NOFILE (descriptor_share()): raise it before. Throws std::system_error that
    /// names the failed operation.
    explicit TcpConnector(boost::asio::io_context& context);
    ~TcpConnector();
    TcpConnector(const TcpConnector&) = delete;
    TcpConnector& operator=(const TcpConnector&) = delete;

    /// Calls `ready` once when there is something to drain.
    void async_wait(std::function<void()> ready);

    /// Begins the connects; each ends in exactly one on_sent, on_not_sent or on_skipped, and a sent
    /// one later in at most one on_tcp_result. What our own firewall rejects at once is not sent:
    /// it has not left the host. Takes results in between, also those of earlier
    /// calls: with many connects to begin, an answer must not wait for all of them.
    void connect(std::span<const TcpRequest> requests, TcpSink& sink);

    /// Results that have come in meanwhile. False: there is more.
    bool drain(TcpSink& sink);

    /// Nobody waits for this one any more. How often its SYN was retransmitted; 0 as well when
    /// there is no such connect. Every connect needs either a result or this: the kernel gives up
    /// after some two minutes only (net.ipv4.tcp_syn_retries).
    std::uint32_t abandon(ProbeToken token);

    /// Connects under way.
    std::size_t connects() const;

    /// What connects_max and RLIMIT_NOFILE allow; what is more is skipped.
    std::size_t connects_limit() const;

    /// Ends all connects without a word. Later requests are skipped.
    void close();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace reachd
