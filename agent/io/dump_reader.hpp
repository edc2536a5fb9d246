// Asks the kernel for dumps and reads their parts, on a helper thread: both wait for the rtnl lock,
// which somebody else may hold for a second (1000 links deleted in one go, a NIC's firmware), and a
// probe must not. The parts come back to the loop, in batches, in the kernel's order. Knows nothing
// of what they mean.
//
// While a dump runs the socket belongs to the helper thread: whoever else reads from it has the
// kernel write the next part, and waits for the lock too. Events that arrive meanwhile come with
// the parts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <system_error>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>

#include "agent/io/netlink_batch.hpp"

namespace reachd {

/// Lives in the loop's thread. The helper must be joined before this object dies.
class DumpReader {
  public:
    /// Of one batch: some 200 links, half a millisecond of the loop.
    static constexpr std::size_t batch_bytes = 256 * 1024;
    static constexpr std::size_t dump_part_bytes = 32 * 1024;

    enum class Outcome : std::uint8_t { more, finished, failed };

    /// `on_batch` is called in the loop when there is a batch for deliver().
    DumpReader(boost::asio::io_context& loop,
               boost::asio::thread_pool& helper,
               int fd,
               std::function<void()> on_batch);

    DumpReader(const DumpReader&) = delete;
    DumpReader& operator=(const DumpReader&) = delete;

    /// From start() until deliver() says `finished` or `failed`.
    bool busy() const { return busy_; }

    bool has_batch() const { return has_batch_; }

    /// Not while busy.
    void start(std::vector<std::uint8_t> request);

    /// Hands on what was read, if something was, and reads on. A request that could not be sent is
    /// told to the sink and `finished`. `error` is set where the outcome is `failed`.
    Outcome deliver(NetlinkSink& sink, std::error_code& error);

  private:
    void run(std::vector<std::uint8_t> request);
    void send(const std::vector<std::uint8_t>& request);
    void read();

    boost::asio::io_context& loop_;
    boost::asio::thread_pool& helper_;
    const int fd_;
    std::function<void()> on_batch_;
    bool busy_ = false;
    bool has_batch_ = false;

    // The helper's while a job of it runs, the loop's at any other time.
    NetlinkBatch batch_;
    NetlinkBatch::Outcome outcome_ = NetlinkBatch::Outcome::empty;
    std::error_code error_;
    bool request_failed_ = false;
};

}  // namespace reachd
