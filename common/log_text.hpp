// How a log record becomes bytes: level words, time stamps, harmless text, the journal's datagram,
// and the bound on how many records a second are let through. Writes nowhere and reads no clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/log.hpp"
#include "common/time.hpp"

namespace reachd {

/// Bytes of one message or field value after escaping. A whole line stays below PIPE_BUF (4096), so
/// that lines of several writers to one pipe do not mix.
inline constexpr std::size_t log_text_bytes_max = 4000;
/// Journal fields of one record; further ones are left out.
inline constexpr std::size_t log_fields_max = 32;
/// Records a second that one sink lets through: enough to tell any story, too few to be the storm.
inline constexpr std::uint32_t log_records_per_second_max = 200;

/// "error", "warning", "notice", "info", "debug".
std::string_view to_text(LogLevel level);

/// The same words, and "warn" as in the exporters of Prometheus. Lower case only.
std::optional<LogLevel> parse_log_level(std::string_view text);

/// One line of valid UTF-8 that cannot steer a terminal: control characters (C0, DEL, C1), line and
/// paragraph separators, characters that reverse the writing direction, and bytes that are not
/// UTF-8 become \n, \t, \r, \xNN or \uNNNN. Meant for people: a literal backslash stays as it is.
/// Text longer than `bytes_max` (at least 3) ends in an ellipsis, never inside a character.
std::string printable(std::string_view text, std::size_t bytes_max = log_text_bytes_max);

/// "2026-01-31T23:59:59.042Z" (RFC 3339, UTC, milliseconds rounded down), for years 0 to 9999.
std::string rfc3339_utc(WallTime time);

/// What journald takes from clients: A-Z, 0-9 and '_', not beginning with a digit or '_' (that
/// would be a trusted field), at most 64 characters.
bool is_journal_field_name(std::string_view name);

/// A datagram of the journal's native protocol: MESSAGE, PRIORITY, SYSLOG_IDENTIFIER, MESSAGE_ID
/// where there is one, and the record's fields. Values are printable(), so that no value can
/// smuggle in a further field; fields with invalid names are left out, as journald would do.
std::string journal_datagram(const LogRecord& record, std::string_view identifier);

/// Whether $JOURNAL_STREAM ("device:inode", decimal) names the file with these numbers, which is
/// how sd-daemon(3) tells a process that its stderr goes to the journal.
bool journal_stream_is(std::string_view journal_stream, std::uint64_t device, std::uint64_t inode);

enum class LogVerdict : std::uint8_t {
    pass,
    suppress_first,  ///< the first one over the limit: say so, for nothing else may follow for
                     ///< hours
    suppress,
};

/// Lets the first log_records_per_second_max records of each second pass. A second begins with the
/// first record after the last one ended, so that an idle sink needs no timer.
class LogRate {
  public:
    LogVerdict admit(MonoTime now);

    /// Suppressed since the last call.
    std::uint64_t take_suppressed();

  private:
    std::optional<MonoTime> second_began_;
    std::uint32_t admitted_ = 0;
    std::uint64_t suppressed_ = 0;
    bool told_ = false;
};

}  // namespace reachd
