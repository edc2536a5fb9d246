#include "common/log_text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "common/check.hpp"
#include "common/utf8.hpp"

namespace reachd {
namespace {

bool is_harmless(char32_t code) {
    const bool line_break = code == 0x2028 || code == 0x2029;
    return !is_control(code) && !line_break && !steers_direction(code);
}

std::string escaped(char32_t code) {
    switch (code) {
        case '\n': return "\\n";
        case '\r': return "\\r";
        case '\t': return "\\t";
        default: break;
    }
    const auto number = static_cast<std::uint32_t>(code);
    return number < 0x80 ? fmt::format("\\x{:02x}", number) : fmt::format("\\u{:04x}", number);
}

constexpr std::string_view ellipsis = "\xe2\x80\xa6";

void append_field(std::string& datagram, std::string_view name, std::string_view value) {
    datagram += name;
    datagram += '=';
    datagram += printable(value);
    datagram += '\n';
}

}  // namespace

std::string_view to_text(LogLevel level) {
    switch (level) {
        case LogLevel::error: return "error";
        case LogLevel::warning: return "warning";
        case LogLevel::notice: return "notice";
        case LogLevel::info: return "info";
        case LogLevel::debug: return "debug";
    }
    return "";
}

std::optional<LogLevel> parse_log_level(std::string_view text) {
    for (const LogLevel level :
         {LogLevel::error, LogLevel::warning, LogLevel::notice, LogLevel::info, LogLevel::debug}) {
        if (text == to_text(level)) {
            return level;
        }
    }
    return text == "warn" ? std::optional(LogLevel::warning) : std::nullopt;
}

std::string printable(std::string_view text, std::size_t bytes_max) {
    ENSURE(bytes_max >= ellipsis.size());
    std::string line;
    line.reserve(std::min(text.size(), bytes_max));
    std::size_t cut = 0;  // the last character boundary that leaves room for the ellipsis
    while (!text.empty()) {
        const Utf8Character character = decode_utf8(text);
        if (character.bytes == 0) {
            line += fmt::format("\\x{:02x}", static_cast<unsigned char>(text.front()));
        } else if (is_harmless(character.code)) {
            line += text.substr(0, character.bytes);
        } else {
            line += escaped(character.code);
        }
        text.remove_prefix(std::max<std::size_t>(character.bytes, 1));
        if (line.size() > bytes_max) {
            line.resize(cut);
            line += ellipsis;
            return line;
        }
        if (line.size() + ellipsis.size() <= bytes_max) {
            cut = line.size();
        }
    }
    return line;
}

std::string rfc3339_utc(WallTime time) {
    const auto since_epoch = std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch());
    const auto day = std::chrono::floor<std::chrono::days>(since_epoch);
    const std::chrono::year_month_day date{std::chrono::sys_days(day)};
    const std::chrono::hh_mm_ss clock(since_epoch - day);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
                       static_cast<int>(date.year()),
                       static_cast<unsigned>(date.month()),
                       static_cast<unsigned>(date.day()),
                       clock.hours().count(),
                       clock.minutes().count(),
                       clock.seconds().count(),
                       clock.subseconds().count());
}

bool is_journal_field_name(std::string_view name) {
    constexpr std::size_t name_bytes_max = 64;
    const auto is_letter = [](char c) { return c >= 'A' && c <= 'Z'; };
    const auto is_allowed = [&](char c) {
        return is_letter(c) || (c >= '0' && c <= '9') || c == '_';
    };
    return !name.empty() && name.size() <= name_bytes_max && is_letter(name.front()) &&
           std::all_of(name.begin(), name.end(), is_allowed);
}

std::string journal_datagram(const LogRecord& record, std::string_view identifier) {
    std::string datagram;
    append_field(datagram, "MESSAGE", record.message);
    append_field(datagram, "PRIORITY", std::to_string(static_cast<int>(record.level)));
    append_field(datagram, "SYSLOG_IDENTIFIER", identifier);
    if (!record.message_id.empty()) {
        append_field(datagram, "MESSAGE_ID", record.message_id);
    }
    const std::size_t fields = std::min(record.fields.size(), log_fields_max);
    for (std::size_t i = 0; i < fields; ++i) {
        const auto& [name, value] = record.fields[i];
        if (is_journal_field_name(name)) {
            append_field(datagram, name, value);
        }
    }
    return datagram;
}

bool journal_stream_is(std::string_view journal_stream, std::uint64_t device, std::uint64_t inode) {
    std::uint64_t stream_device = 0;
    std::uint64_t stream_inode = 0;
    const char* const end = journal_stream.data() + journal_stream.size();
    const auto first = std::from_chars(journal_stream.data(), end, stream_device);
    if (first.ec != std::errc() || first.ptr == end || *first.ptr != ':') {
        return false;
    }
    const auto second = std::from_chars(first.ptr + 1, end, stream_inode);
    return second.ec == std::errc() && second.ptr == end && stream_device == device &&
           stream_inode == inode;
}

LogVerdict LogRate::admit(MonoTime now) {
    constexpr Duration second = std::chrono::seconds(1);
    if (!second_began_ || now - *second_began_ >= second) {
        second_began_ = now;
        admitted_ = 0;
        told_ = false;
    }
    if (admitted_ < log_records_per_second_max) {
        ++admitted_;
        return LogVerdict::pass;
    }
    ++suppressed_;
    return std::exchange(told_, true) ? LogVerdict::suppress : LogVerdict::suppress_first;
}

std::uint64_t LogRate::take_suppressed() {
    return std::exchange(suppressed_, 0);
}

}  // namespace reachd
