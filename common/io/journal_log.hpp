// The sink of log records: the journal where stderr goes there, else plain lines on stderr. Never
// waits: what nobody reads is dropped and counted. Keeps no files and no memory of past records.
#pragma once

#include <cstdint>
#include <string>

#include "common/log.hpp"
#include "common/log_text.hpp"
#include "common/time.hpp"

namespace reachd {

struct JournalLogOptions {
    LogLevel minimum = LogLevel::info;
    std::string identifier = "reachd";
    int fd = 2;  ///< where plain lines go; not owned
    std::string journal_socket = "/run/systemd/journal/socket";
};

/// Goes to the journal when $JOURNAL_STREAM names the file behind `fd` (sd-daemon(3)), else writes
/// "<level word>: <message>" lines to `fd`, with the UTC time in front where nobody else adds one
/// (terminal or file). The journal is spoken to by its native protocol and not by sd_journal_sendv,
/// which blocks while journald is stuck on a slow disk: a log line must not delay a probe.
///
/// For one thread: each loop has its own, with its own rate limit. Lines of two do not mix. Where
/// stderr is a pipe, SIGPIPE must be ignored by the process (Daemon does).
class JournalLog final : public LogSink {
  public:
    explicit JournalLog(JournalLogOptions options = {});
    /// Says how many records were left out, if that has not been said yet.
    ~JournalLog() override;
    JournalLog(const JournalLog&) = delete;
    JournalLog& operator=(const JournalLog&) = delete;

    void write(const LogRecord& record) override;

    /// Records less severe than this are ignored from now on.
    void set_minimum_level(LogLevel minimum) { options_.minimum = minimum; }

    LogLevel minimum_level() const { return options_.minimum; }

    bool to_journal() const { return journal_fd_ >= 0; }

    /// Records that could not be delivered (nobody reads stderr, journald is stuck, disk full).
    std::uint64_t dropped() const { return dropped_; }

    /// Records beyond log_records_per_second_max.
    std::uint64_t suppressed() const { return suppressed_; }

  private:
    enum class Delivery : std::uint8_t { done, busy, impossible };

    void report_left_out(WallTime time);
    void deliver(const LogRecord& record, WallTime time);
    Delivery send_to_journal(const LogRecord& record) const;
    Delivery write_line(const std::string& line) const;
    std::string line_of(const LogRecord& record, WallTime time) const;

    JournalLogOptions options_;
    LogRate rate_;
    int journal_fd_ = -1;
    bool with_time_ = false;
    bool is_socket_ = false;
    std::uint64_t dropped_ = 0;
    std::uint64_t dropped_untold_ = 0;
    std::uint64_t suppressed_ = 0;
};

}  // namespace reachd
