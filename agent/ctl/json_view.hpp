// A reader of the API's JSON that believes nothing: what is missing or null is unknown, what has
// another type than expected is noted, once for all, with its place. Texts come out harmless to a
// terminal. It knows no page of the API.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "common/result.hpp"
#include "common/time.hpp"

namespace reachd::ctl {

class JsonDocument;

/// A value in a document, which must outlive it.
class JsonView {
  public:
    /// Members of an object. Missing and null: nothing.
    std::optional<std::string> text(std::string_view key) const;
    std::optional<bool> boolean(std::string_view key) const;
    /// Not negative.
    std::optional<std::uint64_t> integer(std::string_view key) const;
    std::optional<double> number(std::string_view key) const;
    std::optional<WallTime> time(std::string_view key) const;
    std::optional<JsonView> object(std::string_view key) const;
    /// The objects of an array; empty where there is none.
    std::vector<JsonView> objects(std::string_view key) const;
    std::vector<std::string> texts(std::string_view key) const;

    /// Notes that a member is missing that must be there.
    void require(std::string_view key) const;

  private:
    friend class JsonDocument;

    JsonView(const nlohmann::json* value, std::string path, const JsonDocument* document)
        : value_(value),
          path_(std::move(path)),
          document_(document) {}

    const nlohmann::json* member(std::string_view key) const;
    std::string path_of(std::string_view key) const;

    const nlohmann::json* value_;
    std::string path_;  ///< JSON pointer
    const JsonDocument* document_;
};

class JsonDocument {
  public:
    /// Nothing but a JSON object will do; an error says what is wrong, in a few words.
    static Result<std::unique_ptr<JsonDocument>, std::string> parse(std::string_view text);
    ~JsonDocument();

    JsonDocument(const JsonDocument&) = delete;
    JsonDocument& operator=(const JsonDocument&) = delete;

    JsonView root() const;

    /// The first thing that was not as expected by what was read so far: "/peers/total is no
    /// number". Empty: nothing.
    const std::string& problem() const { return problem_; }

  private:
    friend class JsonView;

    JsonDocument();
    void note(const std::string& path, std::string_view complaint) const;

    std::unique_ptr<nlohmann::json> value_;
    mutable std::string problem_;  ///< reading is const; what it finds is not part of the value
};

}  // namespace reachd::ctl
