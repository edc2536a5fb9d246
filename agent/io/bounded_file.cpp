#include "agent/io/bounded_file.hpp"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace reachd {
namespace {

constexpr std::size_t first_block_bytes = 16U << 10U;

}  // namespace

void FileDescriptor::reset() {
    if (fd_ >= 0) {
        ::close(release());
    }
}

std::error_code last_error() {
    return {errno, std::generic_category()};
}

Result<std::string, std::error_code> read_bounded_file(int directory,
                                                       const std::string& path,
                                                       std::size_t bytes_max) {
    // Non-blocking: a FIFO in the place of a file must not hold us.
    constexpr int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW;
    const FileDescriptor file(::openat(directory, path.c_str(), flags));
    if (!file) {
        return last_error();
    }

    struct stat status {};

    if (::fstat(file.get(), &status) != 0) {
        return last_error();
    }
    if (!S_ISREG(status.st_mode)) {
        return std::error_code(EINVAL, std::generic_category());
    }
    std::string text;
    std::size_t size = 0;
    while (size < bytes_max) {
        if (size == text.size()) {  // the size that procfs tells is 0, so it is found by reading
            text.resize(std::min(bytes_max, std::max(first_block_bytes, 4 * size)));
        }
        const auto count = ::read(file.get(), text.data() + size, text.size() - size);
        if (count < 0 && errno != EINTR) {
            return last_error();
        }
        if (count == 0) {
            break;
        }
        size += count > 0 ? static_cast<std::size_t>(count) : 0;
    }
    text.resize(size);
    return text;
}

}  // namespace reachd
