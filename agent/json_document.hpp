// A JSON text as a tree that remembers where everything stood: each value knows its line and its
// JSON pointer, so that whoever checks the values can say what is wrong and where. Comments (// and
// /* */) are allowed, duplicate keys are found. It refuses to judge what the values mean, and reads
// no files.
//
// The tree is flat (one vector of nodes, one string of text), because a hostile 16 MiB file may
// hold millions of values. All limits are below.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/log_text.hpp"

namespace reachd {

inline constexpr std::size_t json_bytes_max = 16U << 20U;
inline constexpr std::size_t json_depth_max = 32;          ///< arrays and objects within each other
inline constexpr std::size_t json_values_max = 2U << 20U;  ///< about 100 MB of nodes
inline constexpr std::size_t json_problems_max = 100;      ///< told; further ones are only counted

enum class JsonType : std::uint8_t { null, boolean, integer, real, text, array, object };

/// One value. Positions in the text buffer and in the node vector are indices, 0 is the root, which
/// is never a child: as `next` and `first_child` it means none.
struct JsonNode {
    JsonType type = JsonType::null;
    bool boolean = false;
    std::uint32_t line = 0;
    std::uint32_t key_line = 0;
    std::uint32_t parent = 0;
    std::uint32_t next = 0;
    std::uint32_t first_child = 0;
    std::uint32_t key_at = 0;
    std::uint32_t key_size = 0;
    std::uint32_t text_at = 0;
    std::uint32_t text_size = 0;
    std::int64_t integer = 0;
    double real = 0;
};

class JsonChildren;

/// A value of a JsonDocument, as a handle: cheap to copy, valid as long as the document lives and
/// is not moved. Asking for what the type does not have is a bug (ENSURE).
class JsonValue {
  public:
    JsonValue(const std::vector<JsonNode>& nodes, const std::string& text, std::uint32_t index)
        : nodes_(&nodes),
          text_(&text),
          index_(index) {}

    JsonType type() const { return node().type; }

    bool is(JsonType type) const { return node().type == type; }

    /// 1 for the first line. A string, number or literal stands on one line; an array or object is
    /// where its bracket opens.
    std::uint32_t line() const { return node().line; }

    /// The line of the value's key; of the value itself where it is no member of an object.
    std::uint32_t key_line() const { return node().key_line; }

    /// The key under which an object holds this value; empty in arrays.
    std::string_view key() const;

    bool boolean() const;
    /// Saturates at the ends of the type.
    std::int64_t integer() const;
    /// Of an integer or a real: always finite.
    double number() const;
    /// UTF-8, unescaped; may hold any character, NUL included.
    std::string_view text() const;
    /// A real was written without '.' or 'e': an integer too large for any integer type.
    bool is_huge_integer() const;

    /// Elements of an array, members of an object, in the order of the file; none for all else.
    JsonChildren children() const;

    /// RFC 6901; empty for the root. Costs a walk over the elements of each array above.
    std::string pointer() const;

  private:
    friend class JsonChildren;  // and so its Iterator

    const JsonNode& node() const { return (*nodes_)[index_]; }

    JsonValue at(std::uint32_t index) const { return {*nodes_, *text_, index}; }

    std::size_t place_in_parent() const;

    const std::vector<JsonNode>* nodes_;
    const std::string* text_;
    std::uint32_t index_;
};

class JsonChildren {
  public:
    class Iterator {
      public:
        using iterator_category = std::input_iterator_tag;
        using value_type = JsonValue;
        using difference_type = std::ptrdiff_t;
        using pointer = void;
        using reference = JsonValue;

        explicit Iterator(JsonValue value) : value_(value) {}

        JsonValue operator*() const { return value_; }

        Iterator& operator++() {
            value_ = value_.at(value_.node().next);
            return *this;
        }

        bool operator==(const Iterator& other) const {
            return value_.index_ == other.value_.index_;
        }

      private:
        JsonValue value_;
    };

    explicit JsonChildren(JsonValue parent) : parent_(parent) {}

    Iterator begin() const { return Iterator(parent_.at(parent_.node().first_child)); }

    Iterator end() const { return Iterator(parent_.at(0)); }

    /// Walks over all of them.
    std::size_t count() const;

  private:
    JsonValue parent_;
};

inline JsonChildren JsonValue::children() const {
    return JsonChildren(*this);
}

struct JsonProblem {
    std::uint32_t line = 1;
    std::string pointer;  ///< RFC 6901; empty for the whole file
    std::string message;  ///< one line, printable

    friend bool operator==(const JsonProblem&, const JsonProblem&) = default;
};

/// What is wrong with a file, at most json_problems_max times; further problems are counted.
class JsonProblems {
  public:
    void add(std::uint32_t line, std::string pointer, std::string message);
    /// About a value: at its line, with its pointer.
    void add(const JsonValue& value, std::string message);
    /// About a key: at the key's line, with the pointer of its value.
    void add_key(const JsonValue& member, std::string message);

    /// Further messages will not be told: no need to compose them with care.
    bool full() const { return problems_.size() >= json_problems_max; }

    bool empty() const { return problems_.empty(); }

    /// All so far, told or not. Grows with each problem, so that a difference tells of new ones.
    std::size_t count() const { return problems_.size() + omitted_; }

    std::size_t omitted() const { return omitted_; }

    /// In the order of the file.
    std::vector<JsonProblem> sorted() const;

  private:
    std::vector<JsonProblem> problems_;
    std::size_t omitted_ = 0;
};

class JsonDocument {
  public:
    JsonDocument(std::vector<JsonNode> nodes, std::string text)
        : nodes_(std::move(nodes)),
          text_(std::move(text)) {}

    JsonValue root() const { return {nodes_, text_, 0}; }

  private:
    std::vector<JsonNode> nodes_;
    std::string text_;
};

/// Reads `text`. Duplicate keys are problems, but leave a document, so that its values can be
/// checked too (both stay in it). Nothing at all comes back after an error of syntax or a limit
/// hit: then the last problem says which, and on which line.
[[nodiscard]] std::optional<JsonDocument> parse_json(std::string_view text, JsonProblems& problems);

/// What a problem quotes of a file: fit for its one line, and no longer than this.
inline constexpr std::size_t excerpt_bytes_max = 80;

inline std::string excerpt(std::string_view text) {
    return printable(text, excerpt_bytes_max);
}

}  // namespace reachd
