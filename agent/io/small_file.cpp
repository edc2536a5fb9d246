#include "agent/io/small_file.hpp"

#include <cerrno>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace reachd {

std::string read_small_file(int directory, const std::string& path) {
    // Non-blocking: a FIFO in the place of a file must not hold us.
    const int fd = ::openat(directory, path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return {};
    }

    struct stat status {};

    std::string text;
    if (::fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
        text.resize(small_file_bytes_max);
        std::size_t size = 0;
        while (size < text.size()) {
            const auto count = ::read(fd, text.data() + size, text.size() - size);
            if (count > 0) {
                size += static_cast<std::size_t>(count);
            } else if (count == 0 || errno != EINTR) {
                break;
            }
        }
        text.resize(size);
    }
    ::close(fd);
    return trimmed(std::move(text));
}

std::string trimmed(std::string text) {
    constexpr std::string_view blank(" \t\r\n\v\f\0", 7);
    const auto first = text.find_first_not_of(blank);
    if (first == std::string::npos) {
        return {};
    }
    return text.substr(first, text.find_last_not_of(blank) - first + 1);
}

}  // namespace reachd
