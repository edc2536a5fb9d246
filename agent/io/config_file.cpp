#include "agent/io/config_file.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include <fmt/format.h>

#include <fcntl.h>
#include <unistd.h>

#include "agent/config_json.hpp"

namespace reachd {
namespace {

struct Descriptor {
    int fd;

    explicit Descriptor(int descriptor) : fd(descriptor) {}

    ~Descriptor() {
        if (fd >= 0) {
            ::close(fd);
        }
    }

    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
};

/// The file's bytes, one more than allowed at most; errno where it cannot be read.
int read_file(const std::string& path, std::string& text) {
    // Non-blocking: a FIFO without a writer is an empty file, not a reason to wait for ever.
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file.fd < 0) {
        return errno;
    }
    std::array<char, 65536> block{};
    while (text.size() <= config_bytes_max) {
        const ssize_t got = ::read(file.fd, block.data(), block.size());
        if (got < 0 && errno != EINTR) {
            return errno;
        }
        if (got == 0) {
            break;
        }
        if (got > 0) {
            text.append(block.data(), static_cast<std::size_t>(got));
        }
    }
    return 0;
}

}  // namespace

LoadedConfig load_config(const ConfigFile& file) {
    std::string text;
    const int error = read_file(file.path, text);
    if (error == ENOENT && file.may_be_missing) {
        return {Config{}, {}, true};
    }
    if (error != 0) {
        return {std::nullopt,
                {fmt::format("{}: cannot be read: {}", file.path, std::strerror(error))},
                false};
    }
    auto outcome = parse_config(text, file.path);
    LoadedConfig loaded;
    if (outcome) {
        loaded.config = std::move(*outcome);
    } else {
        loaded.problems = to_lines(outcome.error());
    }
    return loaded;
}

}  // namespace reachd
