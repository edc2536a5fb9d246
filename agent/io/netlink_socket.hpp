// The rtnetlink socket: opens it, joins the groups, reads datagrams in bulk, sends dump requests.
// Hands bytes and losses on; what they mean is netlink_message's and netlink_sync's business. Needs
// no capability (CAP_NET_ADMIN only lets the receive buffer pass net.core.rmem_max).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <system_error>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "agent/netlink_message.hpp"
#include "common/bytes.hpp"

struct nl_sock;

namespace reachd {

/// Where drain() puts what it reads. Called from inside drain() only.
class NetlinkSink {
  public:
    virtual ~NetlinkSink() = default;
    /// One datagram of the kernel; the bytes are valid during the call.
    virtual void on_datagram(ByteView datagram) = 0;
    /// The kernel dropped messages, since the receive buffer was full (ENOBUFS).
    virtual void on_overrun() = 0;
    /// A datagram was longer than the buffer and is lost.
    virtual void on_truncated() = 0;
};

/// Not copyable, not movable. Must not be destroyed while its io_context may still run: the handler
/// of a wait that has just ended names it.
class NetlinkSocket {
  public:
    /// A dump part has at most 32 KiB; single messages of a link with many virtual functions more.
    static constexpr std::size_t datagram_bytes_max = 64 * 1024;
    static constexpr std::size_t datagrams_per_call = 16;
    /// About 1 ms of work: what one wake-up may take from the probes.
    static constexpr std::size_t datagrams_per_drain = 256;
    /// 0.6 s of the fastest storm of link events that a kernel can make.
    static constexpr int receive_buffer_wanted_bytes = 8 * 1024 * 1024;

    /// Joins the groups for links, routes and next hop objects before it returns, so that a dump
    /// asked for later misses nothing. Throws std::system_error that names the failed operation.
    /// `on_readable` is called as soon as there is something to read, and then not again before a
    /// drain(): the loop may let events pile up for some milliseconds, which saves most of their
    /// cost.
    NetlinkSocket(boost::asio::io_context& context, std::function<void()> on_readable);
    ~NetlinkSocket();

    NetlinkSocket(const NetlinkSocket&) = delete;
    NetlinkSocket& operator=(const NetlinkSocket&) = delete;

    /// Reads what is there, at most datagrams_per_drain datagrams, and waits for more; may be
    /// called at any time. An error other than ENOBUFS is returned and ends the waiting: the socket
    /// is of no use any more.
    [[nodiscard]] std::error_code drain(NetlinkSink& sink);

    /// Asks for a dump. An error is worth a retry later (NetlinkSync::on_request_failed).
    [[nodiscard]] std::error_code request(const DumpRequest& request);

    /// What the kernel grants, as it counts: about 2.3 kB of it for each waiting event.
    std::uint64_t receive_buffer_bytes() const { return receive_buffer_bytes_; }

    /// Datagrams from anybody but the kernel: ignored.
    std::uint64_t foreign_datagrams() const { return foreign_datagrams_; }

  private:
    struct Free {
        void operator()(nl_sock* socket) const;
    };
    struct Batch;

    void open();
    void join(int group, const char* name);
    void wait();
    void deliver(const Batch& batch, std::size_t count, NetlinkSink& sink);

    std::function<void()> on_readable_;
    std::unique_ptr<nl_sock, Free> socket_;             // owns the descriptor
    boost::asio::posix::stream_descriptor descriptor_;  // only watches it
    std::unique_ptr<Batch> batch_;
    std::uint64_t receive_buffer_bytes_ = 0;
    std::uint64_t foreign_datagrams_ = 0;
    bool waiting_ = false;
};

}  // namespace reachd
