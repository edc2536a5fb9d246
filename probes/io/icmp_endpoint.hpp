// Opens the socket that echo requests of a family leave by: a raw one that is handed nothing but
// our answers and errors about our requests, or, where CAP_NET_RAW is missing, a ping socket, which
// has one identifier and tells of errors by its error queue. Neither sends nor receives.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/address.hpp"
#include "common/bytes.hpp"
#include "common/result.hpp"
#include "probes/echo_request.hpp"
#include "probes/icmp_packet.hpp"
#include "probes/io/control_messages.hpp"
#include "probes/io/socket_address.hpp"

namespace reachd {

/// Why no socket could be had: the operation and its errno.
struct IcmpSocketError {
    const char* operation = "";
    int error = 0;
    std::string message() const;
    /// The host has no such address family at all.
    bool family_missing() const;
};

enum class IcmpMode : std::uint8_t { raw, ping };

struct IcmpEndpoint {
    int fd = -1;  ///< non-blocking; the caller's to close
    IcmpMode mode = IcmpMode::raw;
    EchoIdentifiers identifiers;
};

/// `identifiers` are for a raw socket; the kernel gives a ping socket its own.
Result<IcmpEndpoint, IcmpSocketError> open_icmp(Family family, EchoIdentifiers identifiers);

/// What a ping socket's error queue tells about a request to `destination`; `quoted` is its ICMP
/// message, as far as it was quoted. Nothing: it explains no loss.
std::optional<EchoError> read_ping_error(Family family,
                                         const QueuedError& error,
                                         const SocketAddress& destination,
                                         ByteView quoted);

}  // namespace reachd
