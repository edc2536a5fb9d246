// A whole file into memory, bounded, with the reason where it cannot be had. For texts of a few
// kilobytes for which the reason does not matter there is agent/io/small_file.
#pragma once

#include <cstddef>
#include <string>
#include <system_error>

#include "common/result.hpp"

namespace reachd {

/// Closes what it owns; -1 owns nothing.
class FileDescriptor {
  public:
    FileDescriptor() = default;

    explicit FileDescriptor(int fd) : fd_(fd) {}

    ~FileDescriptor() { reset(); }

    FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.release()) {}

    FileDescriptor& operator=(FileDescriptor&& other) noexcept {
        if (this != &other) {
            reset();
            fd_ = other.release();
        }
        return *this;
    }

    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;

    int get() const { return fd_; }

    explicit operator bool() const { return fd_ >= 0; }

    /// The caller closes it.
    int release() {
        const int fd = fd_;
        fd_ = -1;
        return fd;
    }

    void reset();

  private:
    int fd_ = -1;
};

/// errno as a value.
std::error_code last_error();

/// The first `bytes_max` bytes of the regular file at `path`, relative to the open directory
/// `directory` (AT_FDCWD: the current one). A last component that is a symbolic link is refused
/// (ELOOP), so is all that is no regular file (EINVAL). Never waits for a writer.
Result<std::string, std::error_code> read_bounded_file(int directory,
                                                       const std::string& path,
                                                       std::size_t bytes_max);

}  // namespace reachd
