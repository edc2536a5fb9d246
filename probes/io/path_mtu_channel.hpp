// One socket of path MTU probing, and what is done with one packet of it: made, sent with what goes
// beside it, received. Knows neither requests nor answers; what is to be done with the sockets
// together is decided by path_mtu_sockets.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include <sys/socket.h>
#include <sys/uio.h>

#include "common/address.hpp"
#include "common/bytes.hpp"
#include "probes/echo_request.hpp"
#include "probes/io/control_messages.hpp"
#include "probes/io/socket_address.hpp"

namespace reachd {

/// Closes what it owns. -1: nothing.
class FileDescriptor {
  public:
    FileDescriptor() = default;

    explicit FileDescriptor(int fd) : fd_(fd) {}

    FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

    FileDescriptor& operator=(FileDescriptor&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }

    ~FileDescriptor() { close(); }

    void close();

    int get() const { return fd_; }

  private:
    int fd_ = -1;
};

struct PathMtuChannel {
    enum class Kind : std::uint8_t { icmp, fragments, datagrams };

    Kind kind = Kind::icmp;
    /// Raw sockets do not: they would be told of the errors of all programs.
    bool keeps_errors = false;
    FileDescriptor fd;
};

/// Asked of the kernel for packets on their way out, bytes: a search or two, at 9000 bytes.
inline constexpr int path_mtu_send_buffer = 1024 * 1024;

/// DF on all packets, and nothing heeded but the device's MTU (ip(7), ipv6(7)).
[[nodiscard]] bool forbid_fragmenting(int fd, Family family);

/// Whether errors are kept for MSG_ERRQUEUE. Off: those that were kept are gone.
[[nodiscard]] bool keep_errors(int fd, Family family, bool on);

/// These send only. No descriptor: errno says why.
PathMtuChannel open_fragment_channel(Family family);
PathMtuChannel open_datagram_channel(Family family);

/// The address that the kernel would send from; nothing: it knows no way.
std::optional<IpAddress> chosen_source(const EchoTarget& target);

/// A packet to be sent: a head, zeros, and what goes beside it. Stays where it is.
struct OutgoingPacket {
    /// `port`: 0 for ICMP.
    OutgoingPacket(const EchoTarget& target, std::uint16_t port);
    OutgoingPacket(const OutgoingPacket&) = delete;
    OutgoingPacket& operator=(const OutgoingPacket&) = delete;

    /// Both must live until it is sent.
    void set_bytes(ByteSpan head, ByteSpan padding);

    SocketAddress name;
    std::array<iovec, 2> parts{};
    alignas(cmsghdr) std::array<std::uint8_t, control_bytes_max> control{};
    msghdr message{};
};

struct IncomingPacket {
    SocketAddress address{};
    ReceivedControl control;
    std::size_t length = 0;  ///< of the packet, also where there was room for less
};

/// The next packet, or error with MSG_ERRQUEUE, into `room`. Nothing: there is none.
std::optional<IncomingPacket> receive_packet(int fd, int flags, ByteSpan room);

/// An ICMP error that found no room in the error queue would keep the descriptor readable for ever.
void clear_pending_error(int fd);

}  // namespace reachd
