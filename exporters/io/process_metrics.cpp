#include "exporters/io/process_metrics.hpp"

#include <array>
#include <cstdio>
#include <memory>
#include <string>

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

namespace reachd {
namespace {

// /proc/stat has a line for each processor and one with a number for each interrupt.
constexpr std::size_t file_bytes_max = std::size_t{1024} * 1024;

std::string read_file(const char* path) {
    std::string text;
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path, "re"), std::fclose);
    if (!file) {
        return text;
    }
    std::array<char, 4096> part{};
    while (text.size() < file_bytes_max) {
        const auto size = std::fread(part.data(), 1, part.size(), file.get());
        if (size == 0) {
            break;
        }
        text.append(part.data(), size);
    }
    return text;
}

std::optional<std::uint64_t> count_open_fds() {
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir("/proc/self/fd"), closedir);
    if (!directory) {
        return std::nullopt;
    }
    std::uint64_t entries = 0;
    // NOLINTNEXTLINE(concurrency-mt-unsafe): the directory stream is ours alone.
    while (readdir(directory.get()) != nullptr) {
        ++entries;
    }
    constexpr std::uint64_t not_counted = 3;  // ".", ".." and the directory that is being read
    return entries > not_counted ? entries - not_counted : 0;
}

std::optional<std::uint64_t> fd_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return std::nullopt;
    }
    return limit.rlim_cur;
}

}  // namespace

ProcessReader::ProcessReader()
    : boot_time_(parse_boot_time(read_file("/proc/stat"))),
      ticks_per_second_(static_cast<double>(sysconf(_SC_CLK_TCK))),
      page_bytes_(static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE))) {}

ProcessSample ProcessReader::read() const {
    ProcessSample sample;
    sample.open_fds = count_open_fds();
    sample.max_fds = fd_limit();
    const auto stat = parse_process_stat(read_file("/proc/self/stat"));
    if (!stat) {
        return sample;
    }
    sample.cpu_seconds = static_cast<double>(stat->cpu_ticks) / ticks_per_second_;
    sample.resident_bytes = stat->resident_pages * page_bytes_;
    sample.virtual_bytes = stat->virtual_bytes;
    sample.threads = stat->threads;
    if (boot_time_) {
        sample.start_time = static_cast<double>(*boot_time_) +
                            static_cast<double>(stat->start_ticks) / ticks_per_second_;
    }
    return sample;
}

}  // namespace reachd
