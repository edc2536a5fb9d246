#include "common/io/receive_buffer.hpp"

#include <sys/socket.h>

namespace reachd {

std::uint64_t enlarge_receive_buffer(int fd, int bytes) {
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0) {
        static_cast<void>(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)));
    }
    int granted = 0;
    socklen_t size = sizeof(granted);
    if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &granted, &size) != 0 || granted < 0) {
        return 0;
    }
    return static_cast<std::uint64_t>(granted);
}

}  // namespace reachd
