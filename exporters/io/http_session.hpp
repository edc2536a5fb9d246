// One HTTP connection and what it needs from the server that owns it. Only the interface is here:
// the connection itself is the one file that compiles Beast.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string_view>

#include <boost/asio/generic/stream_protocol.hpp>

#include "common/time.hpp"
#include "exporters/io/snapshot_cache.hpp"
#include "exporters/prometheus_text.hpp"
#include "exporters/status_json.hpp"

namespace reachd {

/// Every bound of the HTTP server, with its reason.
struct HttpLimits {
    std::uint32_t connections = 256;
    /// On the control socket, and apart: the operator gets in when the network is not to be had.
    std::uint32_t control_connections = 16;
    /// Large answers (/metrics and those of the API) under way at once, on each of the two; each
    /// holds a snapshot or a document, and a compressor.
    std::uint32_t scrapes = 16;
    /// Request line and fields together.
    std::uint32_t header_bytes = std::uint32_t{16} * 1024;
    /// Of the kernel, for each connection. Its own choice can be 4 MB, too much for slow readers in
    /// numbers, and progress is only seen when a third of it has drained.
    int send_buffer_bytes = 256 * 1024;
    /// From the first byte, or from the connection, to the end of the fields.
    Duration header_timeout = std::chrono::seconds(10);
    /// Between two requests.
    Duration idle_timeout = std::chrono::seconds(30);
    /// Without any progress of a reader, and for a whole answer however steady the reader is.
    Duration write_timeout = std::chrono::seconds(30);
    Duration response_timeout = std::chrono::minutes(5);
    /// How long the probe loop has for a snapshot: shorter than Prometheus' scrape time-out of 10
    /// s, so that the reason is seen there.
    Duration snapshot_timeout = std::chrono::seconds(8);
    /// The same for /healthz and /readyz.
    Duration health_timeout = std::chrono::seconds(2);
    /// After a last answer the client's rest is read and dropped, else its reset of the connection
    /// could overtake the answer.
    Duration linger_timeout = std::chrono::seconds(2);
    std::uint64_t linger_bytes = std::uint64_t{4} * 1024 * 1024;
    /// When all connections are taken, one without a request for this long makes room, else one
    /// that has been at its answer for the second; when all scrapes are, only that.
    Duration idle_evictable_after = std::chrono::seconds(1);
    Duration scrape_evictable_after = std::chrono::seconds(5);
    /// After a failure to accept that is likely to last, such as too many open files.
    Duration accept_pause = std::chrono::milliseconds(100);
};

struct HttpOptions {
    bool open = false;  ///< web.open: front page and API are for everyone, not only for this host
    HttpLimits limits;
};

/// Who is at the other end of a connection.
enum class HttpClient : std::uint8_t {
    remote,
    loopback,  ///< over TCP, from this host
    control,   ///< over the control socket
    stranger,  ///< over the control socket, and not one of those whom it is for
};

/// What the server may close first when it needs room, and what it must not.
enum class HttpSessionState : std::uint8_t {
    waiting,   ///< for a request, or for the client to go
    working,   ///< on a short answer
    scraping,  ///< on a large answer: /metrics, the API
};
inline constexpr std::size_t http_session_state_count = 3;

class HttpSession {
  public:
    virtual ~HttpSession() = default;

    virtual void start() = 0;
    /// At once, without an answer. Calls HttpSessionHost::ended.
    virtual void close() = 0;

    /// The server's own note about where it keeps this session.
    struct Place {
        bool control = false;  ///< among those of the control socket
        HttpSessionState state = HttpSessionState::waiting;
        MonoTime since{};
        std::list<std::shared_ptr<HttpSession>>::iterator position{};
    };

    Place place;
};

/// What a session needs from its server. Outlives every session that has not ended.
class HttpSessionHost {
  public:
    virtual ~HttpSessionHost() = default;

    virtual const HttpOptions& options() const = 0;
    virtual SnapshotCache& snapshots() = 0;
    virtual std::string_view version() const = 0;

    virtual void changed(HttpSession& session, HttpSessionState state) = 0;
    /// As changed() to scraping, unless too many are under way; may close another session.
    [[nodiscard]] virtual bool admit_scrape(HttpSession& session) = 0;
    virtual void answered(unsigned status) = 0;
    virtual void ended(HttpSession& session) = 0;
    virtual void failed(std::string_view what) = 0;

    virtual ExpositionExtras exposition_extras() = 0;
    virtual AgentFigures agent_figures() = 0;
    virtual void add_series_dropped(std::uint64_t series) = 0;
};

/// A socket of any family of streams: what is compiled for one serves all.
using HttpSocket = boost::asio::generic::stream_protocol::socket;

std::shared_ptr<HttpSession> make_http_session(HttpSocket socket,
                                               HttpClient client,
                                               HttpSessionHost& host);

}  // namespace reachd
