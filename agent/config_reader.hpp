// The machinery under the configuration's tables: single values out of a JsonDocument, sections as
// tables of keys, and keys that are known but not served yet. It knows no key by name; what the
// keys of reachd are stands in config_json.cpp and config_peers.cpp, its only users.
//
// Every reader complains into JsonProblems and leaves its target alone when a value is wrong, so
// that later checks see defaults that are right by themselves and make no second complaint.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "agent/config_text.hpp"
#include "agent/json_document.hpp"

namespace reachd::config_reader {

using KeyNames = std::span<const std::string_view>;

/// Complains "must be WHAT, not …" unless the value has the type.
bool expect(JsonProblems& problems, const JsonValue& value, JsonType type, std::string_view what);
bool expect(JsonProblems& problems, const JsonValue& value, JsonType type);

/// The text of a string; nothing (after a complaint) for all else. So are the next two.
std::optional<std::string_view> text_of(JsonProblems& problems,
                                        const JsonValue& value,
                                        std::string_view what = "a string");

/// Written without decimals or exponent, both bounds included.
std::optional<std::int64_t> integer_of(JsonProblems& problems,
                                       const JsonValue& value,
                                       std::int64_t least,
                                       std::int64_t most);

/// Both bounds included; they are whole milliseconds.
std::optional<Duration> duration_of(JsonProblems& problems,
                                    const JsonValue& value,
                                    Duration least,
                                    Duration most);

/// A string that `check` accepts.
void read_checked(JsonProblems& problems,
                  const JsonValue& value,
                  TextCheck (*check)(std::string_view),
                  std::string& target);

/// `did you mean "…"?`, or all that is known where nothing is near.
std::string hint(std::string_view word, KeyNames known);

void refuse_unknown(JsonProblems& problems, const JsonValue& object, KeyNames known);

// Tables of keys. A section is a table; a row is a key's name and how its value gets into the
// section. Rows are read in the order of the table, whatever the order of the file.

template <class Section>
struct Key {
    std::string_view name;
    void (*read)(JsonProblems&, const JsonValue&, Section&);
};

template <class Section, std::size_t count>
void read_section(JsonProblems& problems,
                  const JsonValue& value,
                  const std::array<Key<Section>, count>& keys,
                  Section& section) {
    if (!expect(problems, value, JsonType::object)) {
        return;
    }
    std::array<std::string_view, count> names;
    for (std::size_t i = 0; i < count; ++i) {
        names[i] = keys[i].name;
        for (const auto member : value.children()) {
            if (member.key() == keys[i].name) {
                keys[i].read(problems, member, section);
            }
        }
    }
    refuse_unknown(problems, value, names);
}

template <class Member>
struct MemberPointer;

template <class S, class T>
struct MemberPointer<T S::*> {
    using Section = S;
    using Type = T;
};

template <auto member>
using SectionOf = typename MemberPointer<decltype(member)>::Section;

template <auto member>
void boolean(JsonProblems& problems, const JsonValue& value, SectionOf<member>& section) {
    if (expect(problems, value, JsonType::boolean)) {
        section.*member = value.boolean();
    }
}

template <auto member, std::int64_t least, std::int64_t most>
void integer(JsonProblems& problems, const JsonValue& value, SectionOf<member>& section) {
    if (const auto number = integer_of(problems, value, least, most)) {
        section.*member = static_cast<typename MemberPointer<decltype(member)>::Type>(*number);
    }
}

/// Bounds in milliseconds.
template <auto member, std::int64_t least, std::int64_t most>
void duration(JsonProblems& problems, const JsonValue& value, SectionOf<member>& section) {
    const std::chrono::milliseconds from(least);
    const std::chrono::milliseconds to(most);
    if (const auto length = duration_of(problems, value, from, to)) {
        section.*member = *length;
    }
}

template <auto member, auto check>
void text(JsonProblems& problems, const JsonValue& value, SectionOf<member>& section) {
    read_checked(problems, value, check, section.*member);
}

// Keys that are known but not served yet: refused by name, unless the value asks for nothing.

inline constexpr std::string_view not_available = "not available in this version";

/// Of an object: {}, {"enabled": false, …}, or all of its members are false, "" or [].
bool asks_for_nothing(const JsonValue& object);

template <class Section>
void later_text(JsonProblems& problems, const JsonValue& value, Section& /*section*/) {
    if (!value.is(JsonType::text) || !value.text().empty()) {
        problems.add_key(value, std::string(not_available));
    }
}

template <class Section>
void later_list(JsonProblems& problems, const JsonValue& value, Section& /*section*/) {
    if (!value.is(JsonType::array) || value.children().count() != 0) {
        problems.add_key(value, std::string(not_available));
    }
}

/// `inner` are the keys that the section will have.
template <class Section, const auto& inner>
void later_section(JsonProblems& problems, const JsonValue& value, Section& /*section*/) {
    if (!value.is(JsonType::object) || !asks_for_nothing(value)) {
        problems.add_key(value, std::string(not_available));
        return;
    }
    refuse_unknown(problems, value, inner);
}

/// A section for which true or false may stand.
template <class Section, const auto& inner>
void later_switch(JsonProblems& problems, const JsonValue& value, Section& section) {
    if (!value.is(JsonType::boolean) || value.boolean()) {
        later_section<Section, inner>(problems, value, section);
    }
}

}  // namespace reachd::config_reader
