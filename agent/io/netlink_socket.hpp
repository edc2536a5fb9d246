// The rtnetlink socket: opens it, joins the groups, lets events pile up, reads them in bulk, asks
// for dumps. Hands bytes and losses on; what they mean is netlink_message's and netlink_sync's
// business. Needs no capability (CAP_NET_ADMIN only lets the receive buffer pass
// net.core.rmem_max).
//
//   watching --first message--> piling up --10 ms--> reported --drain() took all--> watching
//        |                                           ^      |
//        +-- small buffer ---------------------------+      +-- took its share: due -- next round
//        |                                           |
//        +-- request(): lent to DumpReader -- batch -+
//
// Two sockets in truth: statistics are asked for every few seconds and need no order with events,
// so they come by a socket of their own, and never keep the helper thread from reading events while
// it waits for the kernel.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <system_error>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>

#include "agent/io/dump_reader.hpp"
#include "agent/io/netlink_batch.hpp"
#include "agent/netlink_message.hpp"

struct nl_sock;

namespace reachd {

/// Not copyable, not movable. Must not be destroyed while its io_context may still run: the handler
/// of a wait that has just ended names it.
class NetlinkSocket {
  public:
    /// About 0.5 ms of work: what one drain() may take from the probes.
    static constexpr std::size_t event_bytes_per_drain = 256 * 1024;
    /// 0.6 s of the fastest storm of link events that a kernel can make.
    static constexpr int receive_buffer_wanted_bytes = 8 * 1024 * 1024;
    /// How long events gather before they are reported: to be woken for each costs five times as
    /// much.
    static constexpr std::chrono::milliseconds pile_up_time{10};
    /// As the kernel counts. A smaller buffer does not hold a storm for long: it is read at once.
    static constexpr std::uint64_t pile_up_buffer_bytes_min = 4 * 1024 * 1024;

    /// Joins the groups for links, addresses, neighbours (and with them forwarding entries), routes
    /// and next hop objects before it returns, so that a dump asked for later misses nothing.
    /// `receive_buffer` in bytes is asked for, see receive_buffer_bytes(). `on_readable` is called
    /// when there is something to read, pile_up_time after its first message, and then not again
    /// before a drain(). Answers to a request are reported without that delay.
    /// Throws std::system_error that names the failed operation.
    NetlinkSocket(boost::asio::io_context& context,
                  std::function<void()> on_readable,
                  int receive_buffer = receive_buffer_wanted_bytes);
    ~NetlinkSocket();

    NetlinkSocket(const NetlinkSocket&) = delete;
    NetlinkSocket& operator=(const NetlinkSocket&) = delete;

    /// Reads what is there, as much as about 1 ms allows; may be called at any time. What is left
    /// is reported again in the loop's next round. An error other than ENOBUFS is returned and ends
    /// the reports: the socket is of no use any more.
    [[nodiscard]] std::error_code drain(NetlinkSink& sink);

    /// Asks for a dump, without waiting for anything: a request that cannot be sent is told to the
    /// sink. EBUSY while the one before is not over; an error is worth a retry later
    /// (NetlinkSync::on_request_failed).
    [[nodiscard]] std::error_code request(const DumpRequest& request);

    /// Nothing is known to wait in the socket: the last drain() took all, and no message came
    /// since. Only then is the kernel's silence its own.
    bool caught_up() const { return state_ == State::watching; }

    /// What the kernel grants, as it counts: about 2.3 kB of it for each waiting event.
    std::uint64_t receive_buffer_bytes() const { return receive_buffer_bytes_; }

  private:
    struct Free {
        void operator()(nl_sock* socket) const;
    };

    using Socket = std::unique_ptr<nl_sock, Free>;
    enum class State : std::uint8_t { watching, piling_up, due, reported, lent, failed };

    static Socket open();
    int fd() const;
    void join_groups();
    void join(int group, const char* name);
    void open_watch();
    [[nodiscard]] std::error_code rearm();
    void watch();
    void on_watch();
    void report_soon();
    void report();
    void give_up();
    std::error_code drain_statistics(NetlinkSink& sink);
    std::error_code drain_dump(NetlinkSink& sink);
    std::error_code drain_events(NetlinkSink& sink);

    boost::asio::io_context& context_;
    std::function<void()> on_readable_;
    Socket socket_;             // owns its descriptor
    Socket statistics_socket_;  // member of no group
    /// An epoll instance that holds only the socket, one-shot. Asio registers for edges and never
    /// unregisters, so with the socket itself each message would wake the loop, also while they
    /// pile up.
    boost::asio::posix::stream_descriptor watch_;
    boost::asio::steady_timer timer_;
    NetlinkBatch batch_;
    std::uint64_t receive_buffer_bytes_ = 0;
    State state_ = State::reported;
    bool waiting_ = false;  ///< for watch_, which takes one wait at a time
    bool report_posted_ = false;
    boost::asio::thread_pool helper_{1};  // joined before the readers die
    DumpReader dump_reader_;
    DumpReader statistics_reader_;
};

}  // namespace reachd
