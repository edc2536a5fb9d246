// JSON written straight into its text, for answers with very many objects: building 10,000 of them
// as values first takes ten times as long as writing them. The order of calls is the order of the
// fields; names of fields are literals of ours and are not escaped. Parses nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "common/time.hpp"
#include "exporters/number_text.hpp"

namespace reachd {

/// One value, an object mostly, under construction. Begins and ends must match: nobody checks.
class JsonText {
  public:
    void reserve(std::size_t bytes) { text_.reserve(bytes); }

    std::size_t size() const { return text_.size(); }

    std::string take() { return std::move(text_); }

    /// As an element of an array, or the whole value.
    void begin_object() {
        separate();
        text_ += '{';
    }

    void begin_object(std::string_view name) {
        key(name);
        text_ += '{';
    }

    void end_object() { text_ += '}'; }

    void begin_array(std::string_view name) {
        key(name);
        text_ += '[';
    }

    void end_array() { text_ += ']'; }

    void null(std::string_view name) {
        key(name);
        text_ += "null";
    }

    void flag(std::string_view name, bool value) {
        key(name);
        text_ += value ? "true" : "false";
    }

    void number(std::string_view name, std::uint64_t value) {
        key(name);
        char digits[number_text_max];
        text_.append(digits, write_unsigned(digits, value));
    }

    /// In seconds, as plain decimals.
    void seconds(std::string_view name, Duration value) {
        key(name);
        char digits[number_text_max];
        text_.append(digits, write_seconds(digits, value));
    }

    void seconds_or_null(std::string_view name, const std::optional<Duration>& value) {
        value ? seconds(name, *value) : null(name);
    }

    /// Shortest form that reads back to the same double; null where it is not finite.
    void real(std::string_view name, double value);

    /// Bytes that are not UTF-8 become U+FFFD.
    void text(std::string_view name, std::string_view value) {
        key(name);
        quote(value);
    }

    /// null for an empty text.
    void text_or_null(std::string_view name, std::string_view value) {
        if (value.empty()) {
            null(name);
        } else {
            text(name, value);
        }
    }

    /// RFC 3339, UTC, with milliseconds; null for the epoch, which is no time that was measured.
    void time_or_null(std::string_view name, WallTime value);

    /// As text(), for a name that is not ours: escaped.
    void foreign_text(std::string_view name, std::string_view value) {
        separate();
        quote(name);
        text_ += ':';
        quote(value);
    }

    /// An element of an array.
    void element(std::string_view value) {
        separate();
        quote(value);
    }

  private:
    /// A comma, except for what comes first.
    void separate() {
        if (!text_.empty() && text_.back() != '{' && text_.back() != '[') {
            text_ += ',';
        }
    }

    void key(std::string_view name) {
        separate();
        text_ += '"';
        text_ += name;
        text_ += "\":";
    }

    void quote(std::string_view value);

    std::string text_;
};

}  // namespace reachd
