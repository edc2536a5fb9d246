#include "agent/json_document.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <tuple>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "common/check.hpp"

namespace reachd {
namespace {

constexpr std::uint32_t root_index = 0;

std::uint32_t narrow(std::size_t value) {
    ENSURE(value <= std::numeric_limits<std::uint32_t>::max());
    return static_cast<std::uint32_t>(value);
}

/// Counts lines up to a byte. Asked with rising positions, so that a file is walked once.
class LineCounter {
  public:
    explicit LineCounter(std::string_view text) : text_(text) {}

    /// Line of the byte at `position`; past the end, the line after the last byte.
    std::uint32_t line_of(std::size_t position) {
        position = std::min(position, text_.size());
        if (position > counted_) {
            const auto from = text_.begin() + static_cast<std::ptrdiff_t>(counted_);
            const auto to = text_.begin() + static_cast<std::ptrdiff_t>(position);
            line_ += narrow(static_cast<std::size_t>(std::count(from, to, '\n')));
            counted_ = position;
        }
        return line_;
    }

  private:
    std::string_view text_;
    std::size_t counted_ = 0;
    std::uint32_t line_ = 1;
};

/// What the library reads from: it tells no positions to its handler, so we count what it takes.
class CountingIterator {
  public:
    using iterator_category = std::input_iterator_tag;
    using value_type = char;
    using difference_type = std::ptrdiff_t;
    using pointer = const char*;
    using reference = const char&;

    CountingIterator(const char* at, std::size_t* consumed) : at_(at), consumed_(consumed) {}

    reference operator*() const { return *at_; }

    CountingIterator& operator++() {
        ++at_;
        ++*consumed_;
        return *this;
    }

    CountingIterator operator++(int) {
        const auto before = *this;
        ++*this;
        return before;
    }

    friend bool operator==(const CountingIterator& left, const CountingIterator& right) {
        return left.at_ == right.at_;
    }

  private:
    const char* at_;
    std::size_t* consumed_;
};

/// "syntax error while parsing CONTEXT - COMPLAINT; last read: '…'", taken apart.
struct LibraryMessage {
    std::string_view context;
    std::string_view complaint;
};

LibraryMessage take_apart(std::string_view what) {
    constexpr std::string_view opening = "while parsing ";
    constexpr std::string_view dash = " - ";
    const auto context_at = what.find(opening);
    if (context_at == std::string_view::npos) {
        return {};
    }
    what.remove_prefix(context_at + opening.size());
    const auto dash_at = what.find(dash);
    if (dash_at == std::string_view::npos) {
        return {};
    }
    const auto complaint = what.substr(dash_at + dash.size());
    return {what.substr(0, dash_at), complaint.substr(0, complaint.find("; last read"))};
}

bool starts_with(std::string_view text, std::string_view beginning) {
    return text.substr(0, beginning.size()) == beginning;
}

/// The lexer's complaint about bytes that are no token, in the words of who wrote them.
std::string lexical_message(std::string_view complaint, char offender) {
    if (starts_with(complaint, "invalid string: ill-formed UTF-8")) {
        return "not UTF-8";
    }
    if (starts_with(complaint, "invalid string: control character") && offender == '\n') {
        return "a string is not closed on its line";
    }
    if (!starts_with(complaint, "invalid literal")) {
        return std::string(complaint);
    }
    switch (offender) {
        case 'N':
        case 'I': return "NaN and Infinity are no JSON numbers";
        case '\'': return "strings need double quotes, not single ones";
        case '#': return "comments begin with //, not with #";
        case '+': return "numbers have no leading '+'";
        default: return "no JSON value; text needs double quotes";
    }
}

std::string escape_pointer_token(std::string_view key) {
    std::string token;
    for (const char byte : excerpt(key)) {
        if (byte == '~') {
            token += "~0";
        } else if (byte == '/') {
            token += "~1";
        } else {
            token += byte;
        }
    }
    return token;
}

/// The handler of the library's events: builds the tree, finds duplicate keys, keeps the limits.
class DocumentBuilder {
  public:
    using Json = nlohmann::json;

    DocumentBuilder(std::string_view source, const std::size_t& consumed, JsonProblems& problems)
        : source_(source),
          consumed_(consumed),
          lines_(source),
          problems_(problems) {
        // Unescaping never lengthens a text, so the buffer never grows beyond this.
        text_.reserve(source.size());
    }

    bool null() { return append(JsonType::null) != nullptr; }

    bool boolean(bool value) {
        auto* const node = append(JsonType::boolean);
        return node != nullptr && (node->boolean = value, true);
    }

    bool number_integer(std::int64_t value) {
        auto* const node = append(JsonType::integer);
        return node != nullptr && (node->integer = value, true);
    }

    bool number_unsigned(std::uint64_t value) {
        constexpr std::uint64_t ceiling = std::numeric_limits<std::int64_t>::max();
        return number_integer(static_cast<std::int64_t>(std::min(value, ceiling)));
    }

    bool number_float(double value, const std::string& written) {
        auto* const node = append(JsonType::real);
        if (node == nullptr) {
            return false;
        }
        node->real = value;
        std::tie(node->text_at, node->text_size) = keep(written);
        return true;
    }

    bool string(std::string& value) {
        auto* const node = append(JsonType::text);
        if (node == nullptr) {
            return false;
        }
        std::tie(node->text_at, node->text_size) = keep(value);
        return true;
    }

    bool binary(Json::binary_t& /*value*/) { return false; }  // never in JSON text

    bool start_object(std::size_t /*unknown_size*/) { return open(JsonType::object); }

    bool start_array(std::size_t /*unknown_size*/) { return open(JsonType::array); }

    bool key(const std::string& name) {
        std::tie(key_at_, key_size_) = keep(name);
        key_line_ = current_line();
        key_waits_ = true;
        return true;
    }

    bool end_object() {
        find_duplicates(open_.back().node);
        open_.pop_back();
        return true;
    }

    bool end_array() {
        open_.pop_back();
        return true;
    }

    bool parse_error(std::size_t position,
                     const std::string& /*last_token*/,
                     const Json::exception& error) {
        // `position` counts the offending byte in, and one more where the text ended.
        const std::size_t at = position == 0 ? 0 : position - 1;
        problems_.add(
            lines_.line_of(std::min(at, last_byte())), pointer_here(), syntax_message(at, error));
        return false;
    }

    JsonDocument take() { return {std::move(nodes_), std::move(text_)}; }

  private:
    struct Open {
        std::uint32_t node = 0;
        std::uint32_t last_child = 0;
    };

    /// A value's last byte is the one before the last consumed at most (numbers look one ahead).
    std::uint32_t current_line() { return lines_.line_of(consumed_ == 0 ? 0 : consumed_ - 1); }

    /// The end of a text is told at its last visible byte: behind it stand only blanks.
    std::size_t last_byte() const {
        const auto at = source_.find_last_not_of(" \t\r\n");
        return at == std::string_view::npos ? 0 : at;
    }

    std::pair<std::uint32_t, std::uint32_t> keep(const std::string& text) {
        const auto at = narrow(text_.size());
        text_ += text;
        return {at, narrow(text.size())};
    }

    bool refuse(std::string message) {
        problems_.add(current_line(), pointer_here(), std::move(message));
        return false;
    }

    JsonNode* append(JsonType type) {
        if (nodes_.size() >= json_values_max) {
            refuse(fmt::format("more than {} values", json_values_max));
            return nullptr;
        }
        const auto index = narrow(nodes_.size());
        JsonNode node{.type = type, .line = current_line()};
        node.key_line = node.line;
        if (!open_.empty()) {
            link(node, index);
        }
        nodes_.push_back(node);
        return &nodes_.back();
    }

    void link(JsonNode& node, std::uint32_t index) {
        auto& parent = open_.back();
        node.parent = parent.node;
        if (key_waits_) {
            node.key_at = key_at_;
            node.key_size = key_size_;
            node.key_line = key_line_;
            key_waits_ = false;
        }
        auto& link_to_here = parent.last_child == 0 ? nodes_[parent.node].first_child
                                                    : nodes_[parent.last_child].next;
        link_to_here = index;
        parent.last_child = index;
    }

    bool open(JsonType type) {
        if (open_.size() >= json_depth_max) {
            return refuse(fmt::format("nested deeper than {} levels", json_depth_max));
        }
        if (append(type) == nullptr) {
            return false;
        }
        open_.push_back({narrow(nodes_.size() - 1), 0});
        return true;
    }

    JsonValue value(std::uint32_t index) const { return {nodes_, text_, index}; }

    std::string_view key_of(std::uint32_t index) const {
        return std::string_view(text_).substr(nodes_[index].key_at, nodes_[index].key_size);
    }

    void find_duplicates(std::uint32_t object) {
        members_.clear();
        for (auto at = nodes_[object].first_child; at != 0; at = nodes_[at].next) {
            members_.push_back(at);
        }
        std::sort(members_.begin(), members_.end(), [this](auto left, auto right) {
            const int order = key_of(left).compare(key_of(right));
            return order != 0 ? order < 0 : left < right;
        });
        std::size_t first = 0;
        for (std::size_t i = 1; i < members_.size(); ++i) {
            if (key_of(members_[i]) != key_of(members_[first])) {
                first = i;
                continue;
            }
            const auto first_line = nodes_[members_[first]].key_line;
            problems_.add_key(value(members_[i]),
                              fmt::format("duplicate key; first on line {}", first_line));
        }
    }

    /// Pointer of the value that was being read when the reading ended.
    std::string pointer_here() const {
        if (open_.empty()) {
            return {};
        }
        const auto pointer = value(open_.back().node).pointer();
        return key_waits_ ? pointer + '/' + escape_pointer_token(waiting_key()) : pointer;
    }

    bool inside(JsonType type) const {
        return !open_.empty() && nodes_[open_.back().node].type == type;
    }

    std::string syntax_message(std::size_t at, const Json::exception& error) const {
        constexpr int number_overflow = 406;
        if (error.id == number_overflow) {
            return "the number is too large";
        }
        if (open_.empty() && !nodes_.empty()) {
            return "text after the end of the configuration";
        }
        const auto [context, complaint] = take_apart(error.what());
        const char offender = at < source_.size() ? source_[at] : '\0';
        if (!starts_with(complaint, "unexpected ")) {
            return complaint.empty() ? "no JSON" : lexical_message(complaint, offender);
        }
        if (at >= source_.size()) {
            return end_message();
        }
        return unexpected_message(context, offender);
    }

    std::string end_message() const {
        if (open_.empty()) {
            return "the file is empty; {} is the shortest configuration";
        }
        const auto& node = nodes_[open_.back().node];
        return fmt::format("the file ends, but the {} is not closed that begins on line {}",
                           node.type == JsonType::array ? "[" : "{",
                           node.line);
    }

    /// A token that is fine in itself stands where it must not.
    std::string unexpected_message(std::string_view context, char offender) const {
        if (context == "object separator") {
            return "a ':' is missing after a key";
        }
        if (key_waits_) {
            return fmt::format("the value of \"{}\" is missing", excerpt(waiting_key()));
        }
        if (context == "object key") {
            return offender == '}' ? "a trailing ',' before '}'; take it out"
                                   : "a key in double quotes is missing here";
        }
        if (context == "object" || context == "array") {
            return fmt::format("a ',' or '{}' is missing before this",
                               context == "array" ? ']' : '}');
        }
        if (offender == ']' && inside(JsonType::array)) {
            return "a trailing ',' before ']'; take it out";
        }
        return "a value is missing here";
    }

    std::string_view waiting_key() const {
        return std::string_view(text_).substr(key_at_, key_size_);
    }

    std::string_view source_;
    const std::size_t& consumed_;
    LineCounter lines_;
    JsonProblems& problems_;
    std::vector<JsonNode> nodes_;
    std::string text_;
    std::vector<Open> open_;
    std::vector<std::uint32_t> members_;  // scratch of find_duplicates
    std::uint32_t key_at_ = 0;
    std::uint32_t key_size_ = 0;
    std::uint32_t key_line_ = 0;
    bool key_waits_ = false;
};

/// Why the bytes are no JSON text at all; empty when they may be. The library takes a NUL for the
/// end of the text and would be silent about all that follows.
JsonProblem unreadable(std::string_view text) {
    if (text.size() > json_bytes_max) {
        return {1, {}, fmt::format("larger than {} MiB", json_bytes_max >> 20U)};
    }
    if (starts_with(text, "\xff\xfe") || starts_with(text, "\xfe\xff")) {
        return {1, {}, "the file is UTF-16; it must be UTF-8"};
    }
    const auto nul_at = text.find('\0');
    if (nul_at != std::string_view::npos) {
        return {LineCounter(text).line_of(nul_at), {}, "a NUL byte; the file must be text"};
    }
    return {};
}

}  // namespace

std::string_view JsonValue::key() const {
    return std::string_view(*text_).substr(node().key_at, node().key_size);
}

bool JsonValue::boolean() const {
    ENSURE(is(JsonType::boolean));
    return node().boolean;
}

std::int64_t JsonValue::integer() const {
    ENSURE(is(JsonType::integer));
    return node().integer;
}

double JsonValue::number() const {
    ENSURE(is(JsonType::integer) || is(JsonType::real));
    return is(JsonType::real) ? node().real : static_cast<double>(node().integer);
}

std::string_view JsonValue::text() const {
    ENSURE(is(JsonType::text));
    return std::string_view(*text_).substr(node().text_at, node().text_size);
}

bool JsonValue::is_huge_integer() const {
    ENSURE(is(JsonType::real));
    const auto written = std::string_view(*text_).substr(node().text_at, node().text_size);
    return written.find_first_of(".eE") == std::string_view::npos;
}

std::size_t JsonValue::place_in_parent() const {
    std::size_t place = 0;
    for (auto at = (*nodes_)[node().parent].first_child; at != index_; at = (*nodes_)[at].next) {
        ++place;
    }
    return place;
}

std::string JsonValue::pointer() const {
    std::vector<std::string> tokens;
    for (auto value = *this; value.index_ != root_index; value = at(value.node().parent)) {
        const auto parent = at(value.node().parent);
        tokens.push_back(parent.is(JsonType::array) ? std::to_string(value.place_in_parent())
                                                    : escape_pointer_token(value.key()));
    }
    std::string pointer;
    for (auto token = tokens.rbegin(); token != tokens.rend(); ++token) {
        pointer += '/';
        pointer += *token;
    }
    return pointer;
}

std::size_t JsonChildren::count() const {
    return static_cast<std::size_t>(std::distance(begin(), end()));
}

void JsonProblems::add(std::uint32_t line, std::string pointer, std::string message) {
    if (full()) {
        ++omitted_;
        return;
    }
    problems_.push_back({line, std::move(pointer), std::move(message)});
}

void JsonProblems::add(const JsonValue& value, std::string message) {
    // The pointer costs a walk: not for problems that are only counted.
    add(value.line(), full() ? std::string() : value.pointer(), std::move(message));
}

void JsonProblems::add_key(const JsonValue& member, std::string message) {
    add(member.key_line(), full() ? std::string() : member.pointer(), std::move(message));
}

std::vector<JsonProblem> JsonProblems::sorted() const {
    auto sorted = problems_;
    std::stable_sort(sorted.begin(), sorted.end(), [](const auto& left, const auto& right) {
        return left.line < right.line;
    });
    return sorted;
}

std::optional<JsonDocument> parse_json(std::string_view text, JsonProblems& problems) {
    auto hopeless = unreadable(text);
    if (!hopeless.message.empty()) {
        problems.add(hopeless.line, {}, std::move(hopeless.message));
        return std::nullopt;
    }
    std::size_t consumed = 0;
    DocumentBuilder builder(text, consumed, problems);
    constexpr bool must_read_all = true;
    constexpr bool ignore_comments = true;
    const bool is_read =
        nlohmann::json::sax_parse(CountingIterator(text.data(), &consumed),
                                  CountingIterator(text.data() + text.size(), &consumed),
                                  &builder,
                                  nlohmann::json::input_format_t::json,
                                  must_read_all,
                                  ignore_comments);
    if (!is_read) {
        return std::nullopt;
    }
    return builder.take();
}

}  // namespace reachd
