// One HTTP connection and what it needs from the server that owns it. Only the interface is here:
// the connection itself is the one file that compiles Beast.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string_view>

#include <boost/asio/ip/tcp.hpp>

#include "common/time.hpp"
#include "exporters/io/snapshot_cache.hpp"
#include "exporters/prometheus_text.hpp"

namespace reachd {

/// Every bound of the HTTP server, with its reason.
struct HttpLimits {
    std::uint32_t connections = 256;
    /// Answers to /metrics under way at once; each holds a snapshot and a compressor.
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
    bool open = false;  ///< web.open: the front page is for everyone, not only for this host
    HttpLimits limits;
};

/// What the server may close first when it needs room, and what it must not.
enum class HttpSessionState : std::uint8_t {
    waiting,   ///< for a request, or for the client to go
    working,   ///< on a short answer
    scraping,  ///< on an answer to /metrics
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
    virtual void add_series_dropped(std::uint64_t series) = 0;
};

std::shared_ptr<HttpSession> make_http_session(boost::asio::ip::tcp::socket socket,
                                               HttpSessionHost& host);

}  // namespace reachd
