// The receive buffer of a socket, as large as we may have it.
#pragma once

#include <cstdint>

namespace reachd {

/// Asks for `bytes` by SO_RCVBUFFORCE (CAP_NET_ADMIN), else by SO_RCVBUF, which stops silently at
/// net.core.rmem_max. Returns what the kernel accounts, twice what it grants; 0 if it will not say.
std::uint64_t enlarge_receive_buffer(int fd, int bytes);

}  // namespace reachd
