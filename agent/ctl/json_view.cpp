#include "agent/ctl/json_view.hpp"

#include <cmath>
#include <utility>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "agent/ctl/quantity_text.hpp"
#include "common/log_text.hpp"

namespace reachd::ctl {

const nlohmann::json* JsonView::member(std::string_view key) const {
    const auto found = value_->find(key);
    return found == value_->end() || found->is_null() ? nullptr : &*found;
}

std::string JsonView::path_of(std::string_view key) const {
    return fmt::format("{}/{}", path_, key);
}

std::optional<std::string> JsonView::text(std::string_view key) const {
    const auto* const value = member(key);
    if (value == nullptr) {
        return std::nullopt;
    }
    if (!value->is_string()) {
        document_->note(path_of(key), "is no text");
        return std::nullopt;
    }
    return printable(value->get_ref<const std::string&>());
}

std::optional<bool> JsonView::boolean(std::string_view key) const {
    const auto* const value = member(key);
    if (value == nullptr) {
        return std::nullopt;
    }
    if (!value->is_boolean()) {
        document_->note(path_of(key), "is neither true nor false");
        return std::nullopt;
    }
    return value->get<bool>();
}

std::optional<std::uint64_t> JsonView::integer(std::string_view key) const {
    const auto* const value = member(key);
    if (value == nullptr) {
        return std::nullopt;
    }
    if (!value->is_number_unsigned()) {
        document_->note(path_of(key), "is no whole number from 0 on");
        return std::nullopt;
    }
    return value->get<std::uint64_t>();
}

std::optional<double> JsonView::number(std::string_view key) const {
    const auto* const value = member(key);
    if (value == nullptr) {
        return std::nullopt;
    }
    if (!value->is_number()) {
        document_->note(path_of(key), "is no number");
        return std::nullopt;
    }
    return value->get<double>();
}

std::optional<WallTime> JsonView::time(std::string_view key) const {
    const auto written = text(key);
    if (!written) {
        return std::nullopt;
    }
    const auto time = parse_rfc3339_utc(*written);
    if (!time) {
        document_->note(path_of(key), "is no time in RFC 3339 and UTC");
    }
    return time;
}

std::optional<JsonView> JsonView::object(std::string_view key) const {
    const auto* const value = member(key);
    if (value == nullptr) {
        return std::nullopt;
    }
    if (!value->is_object()) {
        document_->note(path_of(key), "is no object");
        return std::nullopt;
    }
    return JsonView(value, path_of(key), document_);
}

std::vector<JsonView> JsonView::objects(std::string_view key) const {
    std::vector<JsonView> views;
    const auto* const value = member(key);
    if (value == nullptr) {
        return views;
    }
    if (!value->is_array()) {
        document_->note(path_of(key), "is no array");
        return views;
    }
    views.reserve(value->size());
    for (const auto& element : *value) {
        auto path = fmt::format("{}/{}/{}", path_, key, views.size());
        if (!element.is_object()) {
            document_->note(path, "is no object");
            return views;
        }
        views.push_back(JsonView(&element, std::move(path), document_));
    }
    return views;
}

std::vector<std::string> JsonView::texts(std::string_view key) const {
    std::vector<std::string> texts;
    const auto* const value = member(key);
    if (value == nullptr) {
        return texts;
    }
    if (!value->is_array()) {
        document_->note(path_of(key), "is no array");
        return texts;
    }
    for (const auto& element : *value) {
        if (!element.is_string()) {
            document_->note(path_of(key), "has an element that is no text");
            return texts;
        }
        texts.push_back(printable(element.get_ref<const std::string&>()));
    }
    return texts;
}

void JsonView::require(std::string_view key) const {
    if (member(key) == nullptr) {
        document_->note(path_of(key), "is missing");
    }
}

JsonDocument::JsonDocument() = default;
JsonDocument::~JsonDocument() = default;

Result<std::unique_ptr<JsonDocument>, std::string> JsonDocument::parse(std::string_view text) {
    constexpr bool no_exceptions = false;
    auto value = nlohmann::json::parse(text, nullptr, no_exceptions);
    if (value.is_discarded()) {
        return std::string("it is no JSON");
    }
    if (!value.is_object()) {
        return std::string("it is no JSON object");
    }
    std::unique_ptr<JsonDocument> document(new JsonDocument);
    document->value_ = std::make_unique<nlohmann::json>(std::move(value));
    return document;
}

JsonView JsonDocument::root() const {
    return {value_.get(), {}, this};
}

void JsonDocument::note(const std::string& path, std::string_view complaint) const {
    if (problem_.empty()) {
        problem_ = fmt::format("{} {}", path, complaint);
    }
}

}  // namespace reachd::ctl
