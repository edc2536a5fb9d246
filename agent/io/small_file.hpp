// Short texts of /proc and /sys, bounded: what is longer is cut, what cannot be read is empty.
#pragma once

#include <cstddef>
#include <string>

namespace reachd {

inline constexpr std::size_t small_file_bytes_max = 4096;

/// The text at `path`, relative to the open directory `directory` (AT_FDCWD: the current one),
/// without surrounding NULs and white space. Only of regular files, and never for longer than the
/// file system itself takes: sysfs may make its reader wait for the kernel.
std::string read_small_file(int directory, const std::string& path);

/// Without surrounding NULs and white space.
std::string trimmed(std::string text);

}  // namespace reachd
