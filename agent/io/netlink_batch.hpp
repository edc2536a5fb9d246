// Buffers for datagrams of a netlink socket: filled by recvmmsg, emptied into a NetlinkSink. Owned
// by one thread at a time; waits for nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <system_error>

#include <linux/netlink.h>
#include <sys/socket.h>

#include "common/bytes.hpp"

namespace reachd {

/// Where what was read goes, in the order of the kernel.
class NetlinkSink {
  public:
    virtual ~NetlinkSink() = default;
    /// One datagram of the kernel; the bytes are valid during the call.
    virtual void on_datagram(ByteView datagram) = 0;
    /// The kernel dropped messages, since the receive buffer was full (ENOBUFS).
    virtual void on_overrun() = 0;
    /// A datagram was longer than the buffer and is lost.
    virtual void on_truncated() = 0;

    /// The last request could not be sent: there will be no answer.
    virtual void on_request_failed() {}
};

class NetlinkBatch {
  public:
    /// Dump parts have 32 KiB; single messages of a link with many virtual functions more.
    static constexpr std::size_t datagram_bytes_max = 64 * 1024;
    static constexpr std::size_t datagrams_max = 32;

    /// How a read ended.
    enum class Outcome : std::uint8_t {
        full,   ///< all that was asked for, or no room is left: there may be more
        empty,  ///< the socket holds nothing more
        failed
    };

    NetlinkBatch();

    /// Reads at most `count` further datagrams. Losses are noted, not failures. `error` is set
    /// where the outcome is `failed`.
    Outcome read(int fd, std::size_t count, std::error_code& error);

    std::size_t room() const { return datagrams_max - used_; }

    std::size_t bytes() const { return bytes_; }

    /// Hands everything on and forgets it.
    void deliver(NetlinkSink& sink);

  private:
    void prepare(std::size_t count);

    /// Pages that no datagram reaches are never touched: events cost 4 kB a slot, not 64.
    std::unique_ptr<std::uint8_t[]> buffer_;
    std::array<mmsghdr, datagrams_max> headers_{};
    std::array<iovec, datagrams_max> parts_{};
    std::array<sockaddr_nl, datagrams_max> senders_{};
    std::size_t used_ = 0;
    std::size_t bytes_ = 0;
    std::size_t overruns_ = 0;
};

}  // namespace reachd
