// What reachd says to people: a log record is a value, a sink takes it away. Cores put records into
// their actions; only io code holds a sink.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace reachd {

/// Values are syslog severities (RFC 5424, section 6.2.1), as the journal wants them.
enum class LogLevel : std::uint8_t { error = 3, warning = 4, notice = 5, info = 6, debug = 7 };

/// One line for people plus fields for the journal. `message_id` is a 128-bit id in hex that stays
/// the same for a kind of event (systemd's MESSAGE_ID), or empty.
struct LogRecord {
    LogLevel level = LogLevel::info;
    std::string message;
    std::string_view message_id{};
    /// Journal fields beside MESSAGE, e.g. {"REACHD_PEER", "web01"}. Names: A-Z, 0-9 and '_'.
    std::vector<std::pair<std::string_view, std::string>> fields{};
};

class LogSink {
  public:
    virtual ~LogSink() = default;
    /// Never blocks for long and never fails: a record that cannot be delivered is dropped.
    virtual void write(const LogRecord& record) = 0;
};

}  // namespace reachd
