#include "exporters/http_message.hpp"

#include <array>
#include <chrono>
#include <utility>

#include <fmt/core.h>

#include "common/log_text.hpp"

namespace reachd {
namespace {

constexpr std::array<std::pair<std::string_view, HttpRoute>, 10> routes{{
    {"/metrics", HttpRoute::metrics},
    {"/healthz", HttpRoute::healthy},
    {"/-/healthy", HttpRoute::healthy},
    {"/readyz", HttpRoute::ready},
    {"/-/ready", HttpRoute::ready},
    {"/", HttpRoute::front_page},
    {"/api/v1/status", HttpRoute::api_status},
    {"/api/v1/peers", HttpRoute::api_peers},
    {"/api/v1/guests", HttpRoute::api_guests},
    {"/api/v1/topology", HttpRoute::api_topology},
}};
constexpr std::string_view api_prefix = "/api/";

char lower(char letter) {
    return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
}

bool equals_ignoring_case(std::string_view text, std::string_view lower_case) {
    if (text.size() != lower_case.size()) {
        return false;
    }
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (lower(text[i]) != lower_case[i]) {
            return false;
        }
    }
    return true;
}

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view blanks = " \t";
    const auto first = text.find_first_not_of(blanks);
    if (first == std::string_view::npos) {
        return {};
    }
    return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

/// Takes the part before `separator` off the front of `rest`.
std::string_view take_until(std::string_view& rest, char separator) {
    const auto at = rest.find(separator);
    const auto part = rest.substr(0, at);
    rest = at == std::string_view::npos ? std::string_view{} : rest.substr(at + 1);
    return trimmed(part);
}

/// "0", "1", "0.123", "1.000" (RFC 9110, section 12.4.2); only whether it is above 0 matters here.
bool weight_is_positive(std::string_view weight) {
    if (weight.empty() || weight.size() > 5 || (weight[0] != '0' && weight[0] != '1')) {
        return false;
    }
    if (weight.size() > 1 && weight[1] != '.') {
        return false;
    }
    bool positive = weight[0] == '1';
    for (const char digit : weight.substr(weight.size() > 1 ? 2 : 1)) {
        if (digit < '0' || digit > '9' || (weight[0] == '1' && digit != '0')) {
            return false;
        }
        positive = positive || digit != '0';
    }
    return positive;
}

/// Whether the parameters of a coding leave it welcome.
bool is_welcome(std::string_view parameters) {
    while (!parameters.empty()) {
        auto parameter = take_until(parameters, ';');
        const auto name = take_until(parameter, '=');
        if (equals_ignoring_case(name, "q")) {
            return weight_is_positive(trimmed(parameter));
        }
    }
    return true;
}

}  // namespace

HttpRoute http_route(std::string_view target) {
    constexpr std::string_view scheme = "http://";
    if (equals_ignoring_case(target.substr(0, scheme.size()), scheme)) {
        const auto path = target.find('/', scheme.size());
        target = path == std::string_view::npos ? "/" : target.substr(path);
    }
    const auto path = target.substr(0, target.find('?'));
    for (const auto& [known, route] : routes) {
        if (path == known) {
            return route;
        }
    }
    return path.substr(0, api_prefix.size()) == api_prefix ? HttpRoute::api_unknown
                                                           : HttpRoute::unknown;
}

bool is_api(HttpRoute route) {
    switch (route) {
        case HttpRoute::api_status:
        case HttpRoute::api_peers:
        case HttpRoute::api_guests:
        case HttpRoute::api_topology:
        case HttpRoute::api_unknown: return true;
        case HttpRoute::metrics:
        case HttpRoute::healthy:
        case HttpRoute::ready:
        case HttpRoute::front_page:
        case HttpRoute::unknown: return false;
    }
    return false;
}

bool is_for_this_host(HttpRoute route) {
    return is_api(route) || route == HttpRoute::front_page;
}

std::optional<std::string_view> first_parameter(std::string_view target) {
    const auto question = target.find('?');
    if (question == std::string_view::npos) {
        return std::nullopt;
    }
    auto query = target.substr(question + 1);
    query = query.substr(0, query.find('#'));
    while (!query.empty()) {
        const auto end = query.find('&');
        const auto parameter = query.substr(0, end);
        if (!parameter.empty()) {
            return parameter.substr(0, parameter.find('='));
        }
        query = end == std::string_view::npos ? std::string_view{} : query.substr(end + 1);
    }
    return std::nullopt;
}

std::string http_error_json(std::string_view message, std::string_view remedy) {
    // printable() leaves no control characters and no invalid UTF-8: two characters are left.
    const auto quoted = [](std::string_view text) {
        std::string result = "\"";
        for (const char byte : printable(text)) {
            if (byte == '"' || byte == '\\') {
                result += '\\';
            }
            result += byte;
        }
        return result + "\"";
    };
    return fmt::format(
        "{{\"error\":{{\"message\":{},\"remedy\":{}}}}}\n", quoted(message), quoted(remedy));
}

bool etag_matches(std::string_view if_none_match, std::string_view etag) {
    while (!if_none_match.empty()) {
        auto candidate = take_until(if_none_match, ',');
        constexpr std::string_view weak = "W/";
        if (candidate.substr(0, weak.size()) == weak) {
            candidate.remove_prefix(weak.size());
        }
        if (candidate == etag || candidate == "*") {
            return true;
        }
    }
    return false;
}

bool accepts_gzip(std::string_view accept_encoding) {
    std::optional<bool> named;
    bool any = false;
    while (!accept_encoding.empty()) {
        auto parameters = take_until(accept_encoding, ',');
        const auto coding = take_until(parameters, ';');
        if (equals_ignoring_case(coding, "gzip") || equals_ignoring_case(coding, "x-gzip")) {
            named = named.value_or(false) || is_welcome(parameters);
        } else if (coding == "*") {
            any = is_welcome(parameters);
        }
    }
    return named.value_or(any);
}

std::string_view http_reason(unsigned status) {
    switch (status) {
        case 200: return "OK";
        case 304: return "Not Modified";
        case 400: return "Bad Request";
        case 403: return "Forbidden";
        case 404: return "Not Found";
        case 405: return "Method Not Allowed";
        case 413: return "Content Too Large";
        case 431: return "Request Header Fields Too Large";
        case 500: return "Internal Server Error";
        case 503: return "Service Unavailable";
        default: return "";
    }
}

std::string http_date(WallTime time) {
    using std::chrono::floor;
    constexpr std::array days{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    constexpr std::array months{
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    // WallClock counts from the Unix epoch, as sys_time does.
    const auto seconds =
        floor<std::chrono::seconds>(std::chrono::sys_time<Duration>(time.time_since_epoch()));
    const auto day = floor<std::chrono::days>(seconds);
    const std::chrono::year_month_day date(day);
    const std::chrono::hh_mm_ss clock(seconds - day);
    return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
                       days[std::chrono::weekday(day).c_encoding()],
                       static_cast<unsigned>(date.day()),
                       months[static_cast<unsigned>(date.month()) - 1],
                       static_cast<int>(date.year()),
                       clock.hours().count(),
                       clock.minutes().count(),
                       clock.seconds().count());
}

std::string http_head(const HttpHead& head, WallTime now) {
    std::string text = fmt::format(
        "HTTP/1.1 {} {}\r\nDate: {}\r\n", head.status, http_reason(head.status), http_date(now));
    if (!head.content_type.empty()) {
        text += fmt::format("Content-Type: {}\r\n", head.content_type);
    }
    switch (head.framing) {
        case HttpFraming::length:
            text += fmt::format("Content-Length: {}\r\n", head.content_length);
            break;
        case HttpFraming::chunked: text += "Transfer-Encoding: chunked\r\n"; break;
        case HttpFraming::close:
        case HttpFraming::none: break;
    }
    if (head.gzip) {
        text += "Content-Encoding: gzip\r\n";
    }
    if (!head.keep_alive) {
        text += "Connection: close\r\n";
    }
    text += "X-Content-Type-Options: nosniff\r\n";
    text += head.fields;
    text += "\r\n";
    return text;
}

std::optional<std::string> missing_for_ready(const Snapshot& snapshot) {
    std::string missing;
    if (!snapshot.topology_synced) {
        missing = "the first reading of the topology is not complete";
    }
    if (!snapshot.every_peer_asked) {
        missing += missing.empty() ? "" : "; ";
        missing += "not every peer has been sent a probe yet";
    }
    if (missing.empty()) {
        return std::nullopt;
    }
    return missing;
}

std::string front_page(std::string_view version) {
    return fmt::format(R"(<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>reachd</title></head>
<body>
<main>
<h1>reachd {}</h1>
<ul>
<li><a href="/metrics">/metrics</a>: what Prometheus reads</li>
<li><a href="/healthz">/healthz</a>: whether the probe loop turns</li>
<li><a href="/readyz">/readyz</a>: whether every peer has been asked once</li>
<li><a href="/api/v1/status">/api/v1/status</a>: the verdict on this host and its peers</li>
<li><a href="/api/v1/peers">/api/v1/peers</a>: every peer and its probes</li>
<li><a href="/api/v1/guests">/api/v1/guests</a>: the guests of this host and their addresses</li>
<li><a href="/api/v1/topology">/api/v1/topology</a>: the devices of this host</li>
</ul>
</main>
</body>
</html>
)",
                       version);
}

}  // namespace reachd
