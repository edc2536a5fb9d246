// The life of a connection: read a request, answer it, again; always exactly one operation under
// way, so that answers keep the order of pipelined requests and a slow reader holds one block of
// memory. The handlers of operations share the ownership of the session (the one place where
// sessions need shared_ptr): it lives until the last of them has run, whoever closed it.
#include "exporters/io/http_session.hpp"

#include <array>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/buffers_suffix.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <fmt/core.h>

#include "common/io/system_clock.hpp"
#include "exporters/guests_json.hpp"
#include "exporters/http_message.hpp"
#include "exporters/io/gzip_stream.hpp"
#include "exporters/peers_json.hpp"
#include "exporters/status_json.hpp"
#include "exporters/topology_json.hpp"

namespace reachd {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using HttpStream = beast::basic_stream<asio::generic::stream_protocol>;

// Enough for a usual request; an idle connection holds no more.
constexpr std::size_t idle_buffer_bytes = 512;
// Compressed output is collected up to this size before it is sent.
constexpr std::size_t gzip_part_bytes = std::size_t{16} * 1024;
// What the compressor is given of a document at a time.
constexpr std::size_t document_part_bytes = std::size_t{64} * 1024;
constexpr std::size_t linger_part_bytes = std::size_t{4} * 1024;

bool is_malformed(const error_code& error) {
    return error.category() == http::make_error_code(http::error::bad_method).category() &&
           error != http::error::end_of_stream && error != http::error::partial_message;
}

// Asio never enters a handler from within the call that starts its operation, but its code, all of
// it templates, looks to the analyser as if it did.
// NOLINTBEGIN(misc-no-recursion)

class BeastSession final : public HttpSession, public std::enable_shared_from_this<BeastSession> {
  public:
    BeastSession(HttpSocket socket, HttpClient client, HttpSessionHost& host)
        : host_(host),
          client_(client),
          stream_(std::move(socket)),
          wait_timer_(stream_.get_executor()),
          // The parser must see one byte more than the limit to know that it is exceeded.
          buffer_(host.options().limits.header_bytes + idle_buffer_bytes) {}

    void start() override;
    void close() override;

  private:
    /// What follows once an answer, or a part of it, is written.
    enum class Next : std::uint8_t { part, request, end };

    const HttpLimits& limits() const { return host_.options().limits; }

    /// Runs a handler: an exception, such as for want of memory, costs this connection only.
    template <class Handler>
    void guarded(Handler handler);

    void await_request();
    void on_first_bytes(const error_code& error, std::size_t size);
    void read_header();
    void on_header(const error_code& error);
    void handle_request();
    void route_request(std::string_view method, HttpRoute route);
    bool may_see(HttpRoute route) const;
    void route_large(HttpRoute route);

    void await_snapshot(HttpRoute route, Duration timeout);
    void on_snapshot(HttpRoute route, std::shared_ptr<const Snapshot> snapshot);
    void on_snapshot_timeout(HttpRoute route, SnapshotCache::Ticket ticket, Duration timeout);

    void answer(HttpHead head, std::string body);
    void answer_text(unsigned status, std::string body, std::string_view fields = {});
    void answer_error(HttpRoute route,
                      unsigned status,
                      std::string_view message,
                      std::string_view remedy,
                      std::string_view fields = {});
    void refuse(unsigned status, std::string body);
    void start_exposition(std::shared_ptr<const Snapshot> snapshot);
    std::string document_of(HttpRoute route, const Snapshot& snapshot) const;
    void answer_document(HttpRoute route, const Snapshot& snapshot);
    void begin_parts(const HttpHead& head);
    std::string_view next_block();
    void send_part();
    void write(asio::const_buffer payload, asio::const_buffer tail, Next next);
    void write_some();
    void on_written(const error_code& error, std::size_t size);
    void end_answer();

    void linger();
    void read_rest();
    void on_rest(const error_code& error, std::size_t size);

    HttpSessionHost& host_;
    HttpClient client_;
    HttpStream stream_;
    asio::steady_timer wait_timer_;
    beast::flat_buffer buffer_;
    std::optional<http::request_parser<http::empty_body>> parser_;
    bool closed_ = false;

    // The request being answered.
    bool keep_alive_ = false;
    bool head_only_ = false;
    bool gzip_accepted_ = false;
    bool chunked_ = false;
    std::string if_none_match_;
    SnapshotCache::Ticket ticket_ = 0;
    MonoTime answer_begin_{};

    // The answer being written: head, chunk size, payload, tail.
    using Parts = std::array<asio::const_buffer, 4>;
    std::string head_;
    std::string body_;
    std::string chunk_size_;
    std::optional<PrometheusText> text_;  ///< what is sent in parts: this or the document
    std::string document_;
    std::size_t document_sent_ = 0;
    std::optional<GzipStream> gzip_;
    std::optional<beast::buffers_suffix<Parts>> unwritten_;
    Next next_ = Next::end;
    std::uint64_t lingered_bytes_ = 0;
};

template <class Handler>
void BeastSession::guarded(Handler handler) {
    if (closed_) {
        return;
    }
    try {
        handler();
    } catch (const std::exception& exception) {
        host_.failed(exception.what());
        close();
    }
}

void BeastSession::start() {
    guarded([this] {
        parser_.emplace();
        read_header();
    });
}

void BeastSession::close() {
    if (closed_) {
        return;
    }
    closed_ = true;
    stream_.close();
    wait_timer_.cancel();
    host_.snapshots().cancel(std::exchange(ticket_, 0));
    host_.ended(*this);
}

void BeastSession::await_request() {
    host_.changed(*this, HttpSessionState::waiting);
    parser_.emplace();
    if (buffer_.size() > 0) {
        read_header();
        return;
    }
    buffer_.shrink_to_fit();
    stream_.expires_after(limits().idle_timeout);
    stream_.async_read_some(buffer_.prepare(idle_buffer_bytes),
                            [self = shared_from_this()](const error_code& error, std::size_t size) {
                                self->guarded([&] { self->on_first_bytes(error, size); });
                            });
}

void BeastSession::on_first_bytes(const error_code& error, std::size_t size) {
    if (error) {
        close();
        return;
    }
    buffer_.commit(size);
    read_header();
}

void BeastSession::read_header() {
    parser_->header_limit(limits().header_bytes);
    parser_->body_limit(boost::none);  // bodies are judged, and refused, here
    stream_.expires_after(limits().header_timeout);
    http::async_read_header(stream_,
                            buffer_,
                            *parser_,
                            [self = shared_from_this()](const error_code& error, std::size_t) {
                                self->guarded([&] { self->on_header(error); });
                            });
}

void BeastSession::on_header(const error_code& error) {
    keep_alive_ = false;
    head_only_ = false;
    if (!error) {
        handle_request();
    } else if (error == http::error::header_limit || error == http::error::buffer_overflow) {
        refuse(431,
               fmt::format("the request line and header fields are larger than {} bytes\n",
                           limits().header_bytes));
    } else if (is_malformed(error)) {
        refuse(400, "the request is not valid HTTP: " + error.message() + "\n");
    } else {
        close();  // gone, or too slow
    }
}

void BeastSession::handle_request() {
    const auto& request = parser_->get();
    const auto method = request.method_string();
    const bool has_body = parser_->chunked() || parser_->content_length().value_or(0) > 0;
    const bool http_1_1 = request.version() == 11;
    head_only_ = method == "HEAD";
    chunked_ = http_1_1;
    // What follows a body that nobody reads is no request.
    keep_alive_ = http_1_1 && parser_->keep_alive() && !has_body;
    gzip_accepted_ = false;
    for (auto [field, end] = request.equal_range(http::field::accept_encoding); field != end;
         ++field) {
        gzip_accepted_ = gzip_accepted_ || accepts_gzip(field->value());
    }
    if_none_match_.clear();
    for (auto [field, end] = request.equal_range(http::field::if_none_match); field != end;
         ++field) {
        if_none_match_.append(",").append(field->value());
    }
    if (http_1_1 && request.count(http::field::host) != 1) {
        refuse(400, "an HTTP/1.1 request needs one Host field\n");
        return;
    }
    const auto route = http_route(request.target());
    if (has_body && (method == "GET" || method == "HEAD") && route != HttpRoute::unknown) {
        refuse(413, "no request here takes a body\n");
        return;
    }
    host_.changed(*this, HttpSessionState::working);
    route_request(method, route);
}

bool BeastSession::may_see(HttpRoute route) const {
    switch (client_) {
        case HttpClient::remote: return !is_for_this_host(route) || host_.options().open;
        case HttpClient::loopback:
        case HttpClient::control: return true;
        case HttpClient::stranger: return false;
    }
    return false;
}

void BeastSession::route_request(std::string_view method, HttpRoute route) {
    if (!may_see(route)) {
        if (client_ == HttpClient::stranger) {
            // Whatever was asked for, it is answered as the API does.
            answer_error(HttpRoute::api_unknown,
                         403,
                         "not allowed to use the control socket",
                         "be root, or join the group that the socket belongs to");
        } else {
            answer_error(
                route, 403, "this page is for clients on this host", "web.open lets others see it");
        }
        return;
    }
    if (route == HttpRoute::unknown || route == HttpRoute::api_unknown) {
        answer_error(route,
                     404,
                     "no such page",
                     "there are /metrics, /healthz, /readyz, and below /api/v1/: status, peers, "
                     "guests, topology");
        return;
    }
    if (method != "GET" && method != "HEAD") {
        answer_error(
            route, 405, "only GET and HEAD are served", "use one of them", "Allow: GET, HEAD\r\n");
        return;
    }
    switch (route) {
        case HttpRoute::metrics:
        case HttpRoute::api_status:
        case HttpRoute::api_peers:
        case HttpRoute::api_guests:
        case HttpRoute::api_topology: route_large(route); return;
        case HttpRoute::healthy:
        case HttpRoute::ready: await_snapshot(route, limits().health_timeout); return;
        case HttpRoute::front_page:
            answer({.content_type = "text/html; charset=utf-8", .fields = front_page_fields},
                   front_page(host_.version()));
            return;
        case HttpRoute::api_unknown:
        case HttpRoute::unknown: return;
    }
}

/// What can be megabytes: few of them at once.
void BeastSession::route_large(HttpRoute route) {
    const auto parameter = first_parameter(parser_->get().target());
    if (is_api(route) && parameter) {
        answer_error(route,
                     400,
                     fmt::format("unknown parameter '{}'", *parameter),
                     "this page takes no parameters");
        return;
    }
    if (!host_.admit_scrape(*this)) {
        answer_error(route,
                     503,
                     "too many large answers are under way",
                     "ask again in a second",
                     "Retry-After: 1\r\n");
        return;
    }
    await_snapshot(route, limits().snapshot_timeout);
}

void BeastSession::await_snapshot(HttpRoute route, Duration timeout) {
    ticket_ = host_.snapshots().get([self = shared_from_this(), route](auto snapshot) {
        self->guarded([&] { self->on_snapshot(route, std::move(snapshot)); });
    });
    wait_timer_.expires_after(timeout);
    wait_timer_.async_wait(
        [self = shared_from_this(), route, ticket = ticket_, timeout](const error_code&) {
            self->guarded([&] { self->on_snapshot_timeout(route, ticket, timeout); });
        });
}

void BeastSession::on_snapshot_timeout(HttpRoute route,
                                       SnapshotCache::Ticket ticket,
                                       Duration timeout) {
    // Also entered when the timer was cancelled: the ticket tells whether it still counts.
    if (ticket_ != ticket) {
        return;
    }
    host_.snapshots().cancel(std::exchange(ticket_, 0));
    answer_error(route,
                 503,
                 fmt::format("the probe loop has not answered for {} s",
                             std::chrono::duration_cast<std::chrono::seconds>(timeout).count()),
                 "see the journal of reachd");
}

void BeastSession::on_snapshot(HttpRoute route, std::shared_ptr<const Snapshot> snapshot) {
    ticket_ = 0;
    wait_timer_.cancel();
    if (!snapshot) {
        answer_error(route, 503, "the probe loop gives no snapshot", "see the journal of reachd");
        return;
    }
    switch (route) {
        case HttpRoute::metrics: start_exposition(std::move(snapshot)); return;
        case HttpRoute::api_status:
        case HttpRoute::api_peers:
        case HttpRoute::api_guests:
        case HttpRoute::api_topology: answer_document(route, *snapshot); return;
        case HttpRoute::healthy: answer_text(200, "ok\n"); return;
        case HttpRoute::ready: {
            const auto missing = missing_for_ready(*snapshot);
            if (missing) {
                answer_text(503, "not ready: " + *missing + "\n");
            } else {
                answer_text(200, "ok\n");
            }
            return;
        }
        case HttpRoute::front_page:
        case HttpRoute::api_unknown:
        case HttpRoute::unknown: return;
    }
}

void BeastSession::answer_text(unsigned status, std::string body, std::string_view fields) {
    answer({.status = status, .fields = fields}, std::move(body));
}

/// In the form of the page that was asked for.
void BeastSession::answer_error(HttpRoute route,
                                unsigned status,
                                std::string_view message,
                                std::string_view remedy,
                                std::string_view fields) {
    if (is_api(route)) {
        answer({.status = status, .content_type = "application/json", .fields = fields},
               http_error_json(message, remedy));
    } else {
        answer_text(status, fmt::format("{}; {}\n", message, remedy), fields);
    }
}

/// Answers a request that could not be understood, or that must not be followed by another.
void BeastSession::refuse(unsigned status, std::string body) {
    keep_alive_ = false;
    host_.changed(*this, HttpSessionState::working);
    answer_text(status, std::move(body));
}

void BeastSession::answer(HttpHead head, std::string body) {
    host_.answered(head.status);
    if (head.framing != HttpFraming::none) {
        head.framing = HttpFraming::length;
        head.content_length = body.size();
    }
    head.keep_alive = keep_alive_;
    head_ = http_head(head, now().wall);
    body_ = head_only_ ? std::string() : std::move(body);
    chunk_size_.clear();
    answer_begin_ = mono_now();
    write(asio::buffer(body_), {}, keep_alive_ ? Next::request : Next::end);
}

void BeastSession::start_exposition(std::shared_ptr<const Snapshot> snapshot) {
    if (!head_only_) {
        text_.emplace(std::move(snapshot), host_.exposition_extras());
        host_.add_series_dropped(text_->series_dropped());
    }
    begin_parts({.content_type = "text/plain; version=0.0.4; charset=utf-8",
                 .gzip = gzip_accepted_,
                 .fields = "Vary: Accept-Encoding\r\n"});
}

std::string BeastSession::document_of(HttpRoute route, const Snapshot& snapshot) const {
    switch (route) {
        case HttpRoute::api_status: return status_json(snapshot, host_.agent_figures());
        case HttpRoute::api_peers: return peers_json(snapshot);
        case HttpRoute::api_guests: return guests_json(snapshot);
        case HttpRoute::api_topology: return topology_json(snapshot);
        case HttpRoute::metrics:
        case HttpRoute::healthy:
        case HttpRoute::ready:
        case HttpRoute::front_page:
        case HttpRoute::api_unknown:
        case HttpRoute::unknown: break;
    }
    return {};
}

/// A page of the API: whole, with its length, or compressed in parts.
void BeastSession::answer_document(HttpRoute route, const Snapshot& snapshot) {
    const auto etag = fmt::format("\"{}\"", snapshot.sequence);
    const auto fields =
        fmt::format("ETag: {}\r\nCache-Control: no-cache\r\nVary: Accept-Encoding\r\n", etag);
    if (etag_matches(if_none_match_, etag)) {
        answer({.status = 304, .content_type = {}, .framing = HttpFraming::none, .fields = fields},
               {});
        return;
    }
    auto document = document_of(route, snapshot);
    const HttpHead head{
        .content_type = "application/json", .gzip = gzip_accepted_, .fields = fields};
    if (!gzip_accepted_) {
        answer(head, std::move(document));
        return;
    }
    document_ = std::move(document);
    document_sent_ = 0;
    begin_parts(head);
}

/// Begins an answer whose length is not known before its end.
void BeastSession::begin_parts(const HttpHead& head) {
    auto framed = head;
    framed.framing = chunked_ ? HttpFraming::chunked : HttpFraming::close;
    framed.keep_alive = keep_alive_;
    host_.answered(framed.status);
    head_ = http_head(framed, now().wall);
    chunk_size_.clear();
    answer_begin_ = mono_now();
    if (head_only_) {
        write({}, {}, keep_alive_ ? Next::request : Next::end);
        return;
    }
    if (framed.gzip) {
        gzip_.emplace();
    }
    send_part();
}

std::string_view BeastSession::next_block() {
    if (text_) {
        return text_->next_block();
    }
    const auto block = std::string_view(document_).substr(document_sent_, document_part_bytes);
    document_sent_ += block.size();
    return block;
}

/// Renders and writes the next part; the one before is out by now.
void BeastSession::send_part() {
    if (mono_now() - answer_begin_ > limits().response_timeout) {
        close();
        return;
    }
    std::string_view payload;
    bool last = false;
    if (gzip_) {
        body_.clear();
        while (!last && body_.size() < gzip_part_bytes) {
            const auto block = next_block();
            last = block.empty();
            last ? gzip_->finish(body_) : gzip_->add(block, body_);
        }
        payload = body_;
    } else {
        payload = next_block();
        last = payload.empty();
    }
    auto next = Next::part;
    if (last) {
        next = keep_alive_ ? Next::request : Next::end;
    }
    if (!chunked_) {
        write(asio::buffer(payload), {}, next);
        return;
    }
    constexpr std::string_view chunk_end = "\r\n";
    constexpr std::string_view last_chunk = "0\r\n\r\n";
    constexpr std::string_view chunk_end_and_last = "\r\n0\r\n\r\n";
    // A chunk of size 0 would end the body.
    chunk_size_ = payload.empty() ? "" : fmt::format("{:x}\r\n", payload.size());
    const auto tail = !last ? chunk_end : payload.empty() ? last_chunk : chunk_end_and_last;
    write(asio::buffer(payload), asio::buffer(tail), next);
}

/// Writes head_ and chunk_size_ where they are not empty, then the two; all must stay where they
/// are.
void BeastSession::write(asio::const_buffer payload, asio::const_buffer tail, Next next) {
    next_ = next;
    unwritten_.emplace(Parts{asio::buffer(head_), asio::buffer(chunk_size_), payload, tail});
    write_some();
}

void BeastSession::write_some() {
    if (beast::buffer_bytes(*unwritten_) == 0) {
        on_written({}, 0);
        return;
    }
    stream_.expires_after(limits().write_timeout);
    stream_.async_write_some(
        *unwritten_, [self = shared_from_this()](const error_code& error, std::size_t size) {
            self->guarded([&] { self->on_written(error, size); });
        });
}

void BeastSession::on_written(const error_code& error, std::size_t size) {
    if (error) {
        close();
        return;
    }
    unwritten_->consume(size);
    if (beast::buffer_bytes(*unwritten_) > 0) {
        // A document is one write; a reader of a byte a second would hold it for ever.
        if (mono_now() - answer_begin_ > limits().response_timeout) {
            close();
        } else {
            write_some();
        }
        return;
    }
    head_.clear();
    switch (next_) {
        case Next::part: send_part(); return;
        case Next::request:
            end_answer();
            await_request();
            return;
        case Next::end:
            end_answer();
            linger();
            return;
    }
}

/// Gives back what an answer needs and a waiting connection does not.
void BeastSession::end_answer() {
    text_.reset();
    gzip_.reset();
    unwritten_.reset();
    std::string().swap(body_);
    std::string().swap(document_);
}

/// Ends the connection in good order: says that nothing follows, waits for the client to see it.
void BeastSession::linger() {
    host_.changed(*this, HttpSessionState::waiting);
    parser_.reset();
    error_code error;
    stream_.socket().shutdown(asio::socket_base::shutdown_send, error);
    if (error) {
        close();
        return;
    }
    stream_.expires_after(limits().linger_timeout);
    read_rest();
}

void BeastSession::read_rest() {
    buffer_.clear();
    stream_.async_read_some(buffer_.prepare(linger_part_bytes),
                            [self = shared_from_this()](const error_code& error, std::size_t size) {
                                self->guarded([&] { self->on_rest(error, size); });
                            });
}

void BeastSession::on_rest(const error_code& error, std::size_t size) {
    lingered_bytes_ += size;
    if (error || lingered_bytes_ > limits().linger_bytes) {
        close();
        return;
    }
    read_rest();
}

// NOLINTEND(misc-no-recursion)

}  // namespace

std::shared_ptr<HttpSession> make_http_session(HttpSocket socket,
                                               HttpClient client,
                                               HttpSessionHost& host) {
    return std::make_shared<BeastSession>(std::move(socket), client, host);
}

}  // namespace reachd
