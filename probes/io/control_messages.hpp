// What goes beside a packet of an IP socket, both ways: whence, by which device and with which DSCP
// one is sent; the stamp, the losses, the fragments and the error that come with one. Understands
// no packet and owns no socket.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include <sys/socket.h>

#include "common/address.hpp"
#include "common/time.hpp"
#include "probes/echo_request.hpp"

namespace reachd {

/// Room for everything of either way, for a buffer aligned as a cmsghdr.
inline constexpr std::size_t control_bytes_max = 256;

/// Puts what `target` asks for into `control`, which has room for control_bytes_max, and both into
/// `message`. What the kernel may choose is left out.
void write_control(msghdr& message, void* control, const EchoTarget& target);

/// What MSG_ERRQUEUE gives: errors by ICMP, of our own host, and transmit stamps.
struct QueuedError {
    std::uint8_t origin = 0;  ///< SO_EE_ORIGIN_… of <linux/errqueue.h>
    std::uint8_t type = 0;
    std::uint8_t code = 0;
    std::uint32_t info = 0;  ///< bytes: an MTU, where the error is about size
    IpAddress offender;      ///< who sent the ICMP error; unspecified: nobody did
};

/// The control messages we look for in what we read.
struct ReceivedControl {
    std::optional<WallTime> stamp;
    std::optional<std::uint32_t> dropped;  ///< packets, since the socket was opened
    std::uint32_t fragment = 0;            ///< largest, as an IP packet; 0: it came whole
    std::optional<QueuedError> error;
};

ReceivedControl read_control(const msghdr& message);

/// Of a SCM_TIMESTAMPING message, the first of its three: software stamps (timestamping.rst).
/// Nothing: the kernel took none.
std::optional<WallTime> read_stamp(const cmsghdr& header);

}  // namespace reachd
