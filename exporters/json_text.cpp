#include "exporters/json_text.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "common/log_text.hpp"

namespace reachd {
namespace {

bool is_plain(char letter) {
    return letter >= ' ' && letter <= '~' && letter != '"' && letter != '\\';
}

}  // namespace

void JsonText::real(std::string_view name, double value) {
    key(name);
    text_ += nlohmann::json(value).dump();
}

void JsonText::time_or_null(std::string_view name, WallTime value) {
    if (value == WallTime{}) {
        null(name);
    } else {
        text(name, rfc3339_utc(value));
    }
}

void JsonText::quote(std::string_view value) {
    if (std::all_of(value.begin(), value.end(), is_plain)) [[likely]] {
        text_ += '"';
        text_ += value;
        text_ += '"';
    } else {
        text_ +=
            nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    }
}

}  // namespace reachd
