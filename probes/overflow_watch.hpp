// Tells whether a socket's receive buffer has overflowed, from the kernel's count of packets that
// the socket dropped (SO_RXQ_OVFL). Pure: reads no socket.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace reachd {

/// The count also rises for ICMPv6 packets with a bad checksum, which anybody can send. Only a
/// queue that was long enough to fill the buffer can have overflowed.
class OverflowWatch {
  public:
    /// What a small packet costs of the receive buffer: its sk_buff and its data, rounded up.
    static constexpr std::size_t packet_cost_max = 2304;

    /// As the kernel accounts it.
    void set_buffer(std::uint64_t bytes) { buffer_ = bytes; }

    std::uint64_t buffer() const { return buffer_; }

    /// Something was read: at most what it took of the buffer.
    void on_read(std::size_t cost) { backlog_ += cost; }

    /// There was nothing more to read. A drop before shows on the next packet only.
    void on_empty() { last_backlog_ = std::exchange(backlog_, 0); }

    /// The count that came with a packet. True: packets were lost for want of room.
    [[nodiscard]] bool on_count(std::uint32_t dropped) {
        return std::exchange(dropped_, dropped) != dropped &&
               std::max(backlog_, last_backlog_) >= buffer_ / 2;
    }

  private:
    std::uint64_t buffer_ = 0;
    std::uint64_t backlog_ = 0;  ///< read since the queue was last seen empty
    std::uint64_t last_backlog_ = 0;
    std::uint32_t dropped_ = 0;  ///< since the socket was opened
};

}  // namespace reachd
