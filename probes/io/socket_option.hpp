// setsockopt(2) with the size of the value's own type.
#pragma once

#include <sys/socket.h>

namespace reachd {

/// False: errno says why.
template <class Value>
bool set_option(int fd, int level, int name, const Value& value) {
    return setsockopt(fd, level, name, &value, sizeof(value)) == 0;
}

}  // namespace reachd
