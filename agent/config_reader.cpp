#include "agent/config_reader.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "common/nearest.hpp"

namespace reachd::config_reader {
namespace {

std::string_view article_and_name(JsonType type) {
    switch (type) {
        case JsonType::null: return "null";
        case JsonType::boolean: return "true or false";
        case JsonType::integer: return "an integer";
        case JsonType::real: return "a number";
        case JsonType::text: return "a string";
        case JsonType::array: return "a list";
        case JsonType::object: return "an object";
    }
    return "";
}

}  // namespace

bool expect(JsonProblems& problems, const JsonValue& value, JsonType type, std::string_view what) {
    if (value.is(type)) {
        return true;
    }
    problems.add(value, fmt::format("must be {}, not {}", what, article_and_name(value.type())));
    return false;
}

bool expect(JsonProblems& problems, const JsonValue& value, JsonType type) {
    return expect(problems, value, type, article_and_name(type));
}

std::optional<std::string_view> text_of(JsonProblems& problems,
                                        const JsonValue& value,
                                        std::string_view what) {
    if (!expect(problems, value, JsonType::text, what)) {
        return std::nullopt;
    }
    return value.text();
}

std::optional<std::int64_t> integer_of(JsonProblems& problems,
                                       const JsonValue& value,
                                       std::int64_t least,
                                       std::int64_t most) {
    const bool is_huge = value.is(JsonType::real) && value.is_huge_integer();
    if (!is_huge && !value.is(JsonType::integer)) {
        const bool is_real = value.is(JsonType::real);
        problems.add(
            value,
            is_real ? "must be an integer, without decimals or exponent"
                    : fmt::format("must be an integer, not {}", article_and_name(value.type())));
        return std::nullopt;
    }
    if (is_huge || value.integer() < least || value.integer() > most) {
        problems.add(value, fmt::format("must be {} to {}", least, most));
        return std::nullopt;
    }
    return value.integer();
}

std::optional<Duration> duration_of(JsonProblems& problems,
                                    const JsonValue& value,
                                    Duration least,
                                    Duration most) {
    const auto text = text_of(problems, value, R"(a duration in quotes, like "250ms" or "1s")");
    if (!text) {
        return std::nullopt;
    }
    const auto duration = parse_duration(*text);
    if (!duration) {
        problems.add(value, duration.error().message);
        return std::nullopt;
    }
    if (*duration < least || *duration > most) {
        problems.add(value,
                     fmt::format("must be {} to {}", duration_text(least), duration_text(most)));
        return std::nullopt;
    }
    return *duration;
}

void read_checked(JsonProblems& problems,
                  const JsonValue& value,
                  TextCheck (*check)(std::string_view),
                  std::string& target) {
    const auto text = text_of(problems, value);
    if (!text) {
        return;
    }
    if (auto problem = check(*text)) {
        problems.add(value, std::move(problem->message));
        return;
    }
    target = *text;
}

std::string hint(std::string_view word, KeyNames known) {
    const auto near = nearest(word, known);
    return near.empty() ? fmt::format("valid here: {}", fmt::join(known, ", "))
                        : fmt::format("did you mean \"{}\"?", near);
}

void refuse_unknown(JsonProblems& problems, const JsonValue& object, KeyNames known) {
    for (const auto member : object.children()) {
        if (std::find(known.begin(), known.end(), member.key()) != known.end()) {
            continue;
        }
        // Comparing with every known key costs too much for errors that are only counted.
        problems.add_key(member,
                         problems.full()
                             ? std::string()
                             : fmt::format("unknown key; {}", hint(member.key(), known)));
    }
}

namespace {

bool is_off(const JsonValue& value) {
    switch (value.type()) {
        case JsonType::boolean: return !value.boolean();
        case JsonType::text: return value.text().empty();
        case JsonType::array: return value.children().count() == 0;
        case JsonType::null:
        case JsonType::integer:
        case JsonType::real:
        case JsonType::object: return false;
    }
    return false;
}

}  // namespace

bool asks_for_nothing(const JsonValue& object) {
    bool is_quiet = true;
    for (const auto member : object.children()) {
        if (member.key() == "enabled" && is_off(member)) {
            return true;
        }
        is_quiet = is_quiet && is_off(member);
    }
    return is_quiet;
}

}  // namespace reachd::config_reader
