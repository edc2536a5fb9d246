// The run-time directory and the one file in it that outlives a run: guests.json, the addresses of
// guests (agent/guest_cache has its text). Loses nothing that matters: whatever goes wrong here,
// the daemon runs without the file and learns the addresses again.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "agent/guest_cache.hpp"
#include "common/time.hpp"

namespace reachd {

/// The first of $RUNTIME_DIRECTORY (systemd.exec(5)), else /run/reachd. Makes nothing. Reads the
/// environment: before the first thread starts.
std::string runtime_directory();

/// Not for two threads at a time; any one will do, for it may block as long as the disk does (which
/// is none: /run is memory). Not copyable.
class RuntimeFile {
  public:
    explicit RuntimeFile(std::string directory);

    RuntimeFile(const RuntimeFile&) = delete;
    RuntimeFile& operator=(const RuntimeFile&) = delete;

    const std::string& path() const { return path_; }

    /// No file is no problem: then there are no records. Links are not followed.
    GuestCacheReading load(WallTime now) const;

    /// Puts `text` in the place of the file at once, mode 0640: a reader sees the old or the new
    /// one, never a part. Gives back what went wrong, as one line with a remedy, and only if it is
    /// not what went wrong the last time.
    std::optional<std::string> save(std::string_view text);

  private:
    std::error_code replace(std::string_view text) const;

    std::string directory_;
    std::string path_;
    std::string new_path_;
    std::error_code told_;
};

}  // namespace reachd
