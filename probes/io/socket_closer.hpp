// Closes packet sockets without keeping anybody waiting. The kernel returns from such a close only
// once no processor can still be at work on a packet for it (an RCU grace period: 13 ms measured),
// one socket after the other, also when the process ends: 500 of them take 7 s. Grace periods are
// shared, so threads that close at the same time wait but once.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

#include <boost/asio/thread_pool.hpp>

namespace reachd {

/// For one thread. Its destructor waits for what is still to be closed.
class SocketCloser {
  public:
    /// Threads for a few sockets now and then; made when the first one comes.
    static constexpr std::size_t threads = 4;
    /// Threads for all at once: 4,000 in a second.
    static constexpr std::size_t threads_at_end = 64;

    SocketCloser();
    ~SocketCloser();
    SocketCloser(const SocketCloser&) = delete;
    SocketCloser& operator=(const SocketCloser&) = delete;

    /// Takes the descriptor, and returns at once. Until it is closed the socket may go on
    /// receiving.
    void close(int fd);

    /// Takes all of them, and returns when they and those before are closed.
    void close_all(const std::vector<int>& fds);

    /// Taken, and not closed yet.
    std::size_t pending() const { return pending_; }

  private:
    void give_to(std::unique_ptr<boost::asio::thread_pool>& pool, std::size_t size, int fd);

    std::atomic<std::size_t> pending_ = 0;
    std::unique_ptr<boost::asio::thread_pool> pool_;
};

}  // namespace reachd
