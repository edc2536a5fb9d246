// The decisions of the HTTP server as values: what a request asks for, whether gzip is welcome, how
// a response begins, how ready the daemon is. No sockets, no clock; requests arrive parsed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/snapshot.hpp"
#include "common/time.hpp"

namespace reachd {

enum class HttpRoute : std::uint8_t {
    metrics,
    healthy,
    ready,
    front_page,
    api_status,
    api_peers,
    api_guests,
    api_topology,
    api_unknown,  ///< below /api/, but nothing that is there
    unknown,
};

/// The route of a request target in origin form ("/metrics?x=1") or absolute form
/// ("http://host/metrics"). Queries are ignored.
HttpRoute http_route(std::string_view target);

/// Whether errors are told as JSON there: see http_error_json.
bool is_api(HttpRoute route);

/// Whether the page tells about the host more than monitoring needs: such pages follow web.open.
bool is_for_this_host(HttpRoute route);

/// The name of the first parameter in the query of a target, as it was sent; nothing when there is
/// no parameter.
std::optional<std::string_view> first_parameter(std::string_view target);

/// `{"error":{"message":…,"remedy":…}}` and a line feed. Bytes that are not printable text, such as
/// those of a client, are made harmless.
std::string http_error_json(std::string_view message, std::string_view remedy);

/// Whether an If-None-Match field (RFC 9110, section 13.1.2) names `etag`, which comes with its
/// quotes; weak validators count as equal.
bool etag_matches(std::string_view if_none_match, std::string_view etag);

/// Whether an Accept-Encoding field (RFC 9110, section 12.5.3) welcomes gzip: by name, as x-gzip or
/// by "*", with a weight above 0. An unreadable weight counts as 0.
bool accepts_gzip(std::string_view accept_encoding);

/// How the end of a response body is known (RFC 9112, section 6).
enum class HttpFraming : std::uint8_t {
    length,
    chunked,
    close,
    none,  ///< there is no body: 304
};

struct HttpHead {
    unsigned status = 200;
    std::string_view content_type = "text/plain; charset=utf-8";  ///< empty: no such field
    HttpFraming framing = HttpFraming::length;
    std::uint64_t content_length = 0;  ///< for HttpFraming::length
    bool keep_alive = true;
    bool gzip = false;
    /// Further fields, each "Name: value\r\n". Never from a client.
    std::string_view fields{};
};

/// Status line and fields with the empty line that ends them. nosniff is always among them.
std::string http_head(const HttpHead& head, WallTime now);

/// Reason phrase of the status codes this server uses.
std::string_view http_reason(unsigned status);

/// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, section 5.6.7).
std::string http_date(WallTime time);

/// What is missing before the daemon is ready; nothing when it is.
std::optional<std::string> missing_for_ready(const Snapshot& snapshot);

/// The page of GET /: links, no script, no style, nothing from the network.
std::string front_page(std::string_view version);

/// Fields that go with front_page().
inline constexpr std::string_view front_page_fields =
    "Content-Security-Policy: default-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "X-Frame-Options: DENY\r\n";

}  // namespace reachd
