#include "agent/io/runtime_file.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/io/bounded_file.hpp"

namespace reachd {
namespace {

/// Addresses of guests are for the operator's group, not for everybody.
constexpr mode_t file_mode = 0640;

std::error_code write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const auto count = ::write(fd, text.data(), text.size());
        if (count < 0 && errno != EINTR) {
            return last_error();
        }
        text.remove_prefix(count > 0 ? static_cast<std::size_t>(count) : 0);
    }
    return {};
}

}  // namespace

std::string runtime_directory() {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): read before the first thread starts.
    const char* listed = std::getenv("RUNTIME_DIRECTORY");
    const std::string_view directories = listed == nullptr ? "" : listed;
    const auto first = directories.substr(0, directories.find(':'));
    return first.empty() ? "/run/reachd" : std::string(first);
}

RuntimeFile::RuntimeFile(std::string directory)
    : directory_(std::move(directory)),
      path_(directory_ + "/guests.json"),
      new_path_(directory_ + "/.guests.json.new") {}

GuestCacheReading RuntimeFile::load(WallTime now) const {
    const auto text = read_bounded_file(AT_FDCWD, path_, guest_cache_bytes_max + 1);
    GuestCacheReading reading;
    if (text) {
        reading = decode_guest_cache(*text, now);
    } else if (text.error() != std::errc::no_such_file_or_directory) {
        reading.problem = text.error().message();
    }
    if (!reading.problem.empty()) {
        reading.problem = fmt::format("{} is not used: {}", path_, reading.problem);
    }
    return reading;
}

std::optional<std::string> RuntimeFile::save(std::string_view text) {
    const auto error = replace(text);
    const bool news = error && error != told_;
    told_ = error;
    if (!news) {
        return std::nullopt;
    }
    return fmt::format(
        "{} cannot be written: {}; after a restart the addresses of guests have to "
        "be learnt again. Make {} writable for reachd",
        path_,
        error.message(),
        directory_);
}

std::error_code RuntimeFile::replace(std::string_view text) const {
    // What a run that was killed left behind; O_EXCL then never opens what somebody else put there.
    static_cast<void>(::unlink(new_path_.c_str()));
    constexpr int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    FileDescriptor file(::open(new_path_.c_str(), flags, file_mode));
    if (!file) {
        return last_error();
    }
    // The umask may have taken the group's right.
    auto error = ::fchmod(file.get(), file_mode) != 0 ? last_error() : std::error_code{};
    if (!error) {
        error = write_all(file.get(), text);
    }
    file.reset();
    if (!error && std::rename(new_path_.c_str(), path_.c_str()) != 0) {
        error = last_error();
    }
    if (error) {
        static_cast<void>(::unlink(new_path_.c_str()));
    }
    return error;
}

}  // namespace reachd
