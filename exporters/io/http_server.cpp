#include "exporters/io/http_server.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <iterator>
#include <list>
#include <optional>
#include <utility>

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/core.h>

#include "common/io/system_clock.hpp"
#include "exporters/http_message.hpp"
#include "exporters/io/control_socket.hpp"
#include "exporters/io/process_metrics.hpp"
#include "exporters/own_families.hpp"

namespace reachd {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

// Snapshots are taken at most 4 times a second.
constexpr Duration snapshot_interval = std::chrono::milliseconds(250);

// One type for sockets of TCP and of the control socket: all that follows is compiled once.
using HttpAcceptor = asio::basic_socket_acceptor<asio::generic::stream_protocol>;

/// What a listener of TCP is.
struct TcpListening {
    HttpEndpoint endpoint;   ///< as it was asked for
    std::uint16_t port = 0;  ///< as it is
};

/// What a listener on the control socket is.
struct ControlListening {
    ControlSocketFile file;
    ControlAccess access;
};

struct Listener {
    template <class Acceptor>
    Listener(std::string name, Acceptor opened)
        : text(std::move(name)),
          acceptor(std::move(opened)),
          pause_timer(acceptor.get_executor()) {}

    std::string text;  ///< for messages
    std::optional<TcpListening> tcp;
    std::optional<ControlListening> control;
    HttpAcceptor acceptor;
    asio::steady_timer pause_timer;
    bool closed = false;
    bool failing = false;  ///< the last accept failed, and that was said
};

using Listeners = std::vector<std::shared_ptr<Listener>>;

void close_listener(Listener& listener) {
    listener.closed = true;
    error_code error;
    listener.acceptor.close(error);
    listener.pause_timer.cancel();
    listener.control.reset();
}

/// Whether the other end of a TCP connection is on this host.
bool is_loopback(const HttpSocket& socket) {
    error_code error;
    const auto generic = socket.remote_endpoint(error);
    tcp::endpoint endpoint;
    if (error || generic.size() > endpoint.capacity()) {
        return false;
    }
    std::memcpy(endpoint.data(), generic.data(), generic.size());
    auto address = endpoint.address();
    if (address.is_v6() && address.to_v6().is_v4_mapped()) {
        address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
    }
    return address.is_loopback();
}

HttpClient client_of(const Listener& listener, HttpSocket& socket) {
    if (!listener.control) {
        return is_loopback(socket) ? HttpClient::loopback : HttpClient::remote;
    }
    const auto credentials = peer_credentials(socket.native_handle());
    return may_control(credentials, listener.control->access) ? HttpClient::control
                                                              : HttpClient::stranger;
}

}  // namespace

class HttpServer::Impl final : public HttpSessionHost {
  public:
    Impl(asio::io_context& web_loop, SnapshotSource& source, LogSink& log, const BuildInfo& build)
        : web_loop_(web_loop),
          log_(log),
          build_(build),
          snapshots_(web_loop, source, snapshot_interval) {}

    void set_options(const HttpOptions& options) { options_ = options; }

    Result<void, std::string> listen(const std::vector<HttpEndpoint>& endpoints);
    Result<void, std::string> listen_control(const std::string& path);
    std::vector<std::uint16_t> ports() const;
    void stop();

    // HttpSessionHost
    const HttpOptions& options() const override { return options_; }

    SnapshotCache& snapshots() override { return snapshots_; }

    std::string_view version() const override { return build_.version; }

    void changed(HttpSession& session, HttpSessionState state) override;
    bool admit_scrape(HttpSession& session) override;

    void answered(unsigned status) override { ++counters_.requests[status]; }

    void ended(HttpSession& session) override;
    void failed(std::string_view what) override;
    ExpositionExtras exposition_extras() override;
    AgentFigures agent_figures() override;

    void add_series_dropped(std::uint64_t series) override { series_dropped_ += series; }

  private:
    using Sessions = std::list<std::shared_ptr<HttpSession>>;

    /// The sessions of TCP or of the control socket: by state, and within a state by the time it
    /// was entered: the longest first.
    struct Pool {
        std::array<Sessions, http_session_state_count> sessions;

        Sessions& in(HttpSessionState state) { return sessions[static_cast<std::size_t>(state)]; }

        std::size_t size() const;
    };

    Pool& pool(bool control) { return control ? control_sessions_ : tcp_sessions_; }

    Result<std::shared_ptr<Listener>, std::string> open(const HttpEndpoint& endpoint,
                                                        const Listeners& replaced);
    void accept(const std::shared_ptr<Listener>& listener);
    void on_accept(const std::shared_ptr<Listener>& listener,
                   const error_code& error,
                   HttpSocket socket);
    void pause(const std::shared_ptr<Listener>& listener);
    void admit(const Listener& listener, HttpSocket socket);
    bool make_room(Pool& pool, std::size_t connections_max);
    void drain(Listener& listener);
    bool evict(Pool& pool, HttpSessionState state, Duration evictable_after);

    asio::io_context& web_loop_;
    LogSink& log_;
    BuildInfo build_;
    HttpOptions options_;
    SnapshotCache snapshots_;
    ProcessReader process_;
    Listeners listeners_;
    std::shared_ptr<Listener> control_listener_;
    Pool tcp_sessions_;
    Pool control_sessions_;
    HttpCounters counters_;
    std::uint64_t series_dropped_ = 0;
};

Result<void, std::string> HttpServer::Impl::listen(const std::vector<HttpEndpoint>& endpoints) {
    const auto same_address = [](const HttpEndpoint& endpoint) {
        return [&endpoint](const auto& listener) { return listener->tcp->endpoint == endpoint; };
    };
    // Those whose address is no longer wanted, and so may lend their port to a successor.
    Listeners replaced;
    for (const auto& listener : listeners_) {
        if (std::find(endpoints.begin(), endpoints.end(), listener->tcp->endpoint) ==
            endpoints.end()) {
            replaced.push_back(listener);
        }
    }
    Listeners wanted;
    Listeners opened;
    for (const auto& endpoint : endpoints) {
        if (std::any_of(wanted.begin(), wanted.end(), same_address(endpoint))) {
            continue;
        }
        const auto kept =
            std::find_if(listeners_.begin(), listeners_.end(), same_address(endpoint));
        if (kept != listeners_.end()) {
            wanted.push_back(*kept);
            continue;
        }
        auto result = open(endpoint, replaced);
        if (!result) {
            return result.error();
        }
        wanted.push_back(*result);
        opened.push_back(*result);
    }
    for (const auto& listener : replaced) {
        drain(*listener);
        close_listener(*listener);
    }
    listeners_ = std::move(wanted);
    for (const auto& listener : opened) {
        share_port(listener->acceptor.native_handle(), false);
        accept(listener);
    }
    return {};
}

Result<std::shared_ptr<Listener>, std::string> HttpServer::Impl::open(const HttpEndpoint& endpoint,
                                                                      const Listeners& replaced) {
    auto result = open_listener(web_loop_, endpoint, PortSharing::refused);
    Listeners own;
    std::copy_if(replaced.begin(), replaced.end(), std::back_inserter(own), [&](const auto& old) {
        return old->tcp->endpoint.port == endpoint.port;
    });
    if (!result && result.error() == asio::error::address_in_use && !own.empty()) {
        // By ourselves, as when ":9900" becomes "127.0.0.1:9900": the port is shared until the old
        // socket is closed, a moment later. A stranger's socket does not take part in that.
        for (const auto& old : own) {
            share_port(old->acceptor.native_handle(), true);
        }
        result = open_listener(web_loop_, endpoint, PortSharing::accepted);
        for (const auto& old : own) {
            share_port(old->acceptor.native_handle(), false);
        }
    }
    if (!result) {
        return fmt::format("cannot listen on {}: {}", to_text(endpoint), result.error().message());
    }
    error_code ignored;
    const auto port = result->local_endpoint(ignored).port();
    auto listener = std::make_shared<Listener>(to_text(endpoint), std::move(*result));
    listener->tcp = {.endpoint = endpoint, .port = port};
    return listener;
}

Result<void, std::string> HttpServer::Impl::listen_control(const std::string& path) {
    if (control_listener_) {
        close_listener(*std::exchange(control_listener_, nullptr));
    }
    if (path.empty()) {
        return {};
    }
    auto opened = open_control_socket(web_loop_, path);
    if (!opened) {
        return opened.error();
    }
    control_listener_ = std::make_shared<Listener>(path, std::move(opened->acceptor));
    control_listener_->control = {.file = std::move(opened->file), .access = control_access()};
    accept(control_listener_);
    return {};
}

std::vector<std::uint16_t> HttpServer::Impl::ports() const {
    std::vector<std::uint16_t> ports;
    for (const auto& listener : listeners_) {
        ports.push_back(listener->tcp->port);
    }
    return ports;
}

void HttpServer::Impl::stop() {
    for (const auto& listener : listeners_) {
        close_listener(*listener);
    }
    listeners_.clear();
    if (control_listener_) {
        close_listener(*std::exchange(control_listener_, nullptr));
    }
    for (auto* const pool : {&tcp_sessions_, &control_sessions_}) {
        for (auto& list : pool->sessions) {
            while (!list.empty()) {
                list.front()->close();  // which takes it off the list
            }
        }
    }
    snapshots_.clear();
}

void HttpServer::Impl::accept(const std::shared_ptr<Listener>& listener) {
    listener->acceptor.async_accept([this, listener](const error_code& error, HttpSocket socket) {
        if (!listener->closed) {  // else this server may be gone
            on_accept(listener, error, std::move(socket));
        }
    });
}

void HttpServer::Impl::on_accept(const std::shared_ptr<Listener>& listener,
                                 const error_code& error,
                                 HttpSocket socket) {
    if (!error) {
        listener->failing = false;
        admit(*listener, std::move(socket));
        accept(listener);
        return;
    }
    if (error == asio::error::connection_aborted) {
        accept(listener);  // the client was gone before we came
        return;
    }
    ++counters_.accept_errors;
    if (!std::exchange(listener->failing, true)) {
        log_.write({.level = LogLevel::warning,
                    .message = fmt::format("cannot accept connections on {}: {}; trying on",
                                           listener->text,
                                           error.message())});
    }
    pause(listener);
}

void HttpServer::Impl::pause(const std::shared_ptr<Listener>& listener) {
    listener->pause_timer.expires_after(options_.limits.accept_pause);
    listener->pause_timer.async_wait([this, listener](const error_code&) {
        if (!listener->closed) {
            accept(listener);
        }
    });
}

/// Whether there is room for one more, if need be in place of one that waits, or dawdles.
bool HttpServer::Impl::make_room(Pool& pool, std::size_t connections_max) {
    const auto& limits = options_.limits;
    return pool.size() < connections_max ||
           evict(pool, HttpSessionState::waiting, limits.idle_evictable_after) ||
           evict(pool, HttpSessionState::working, limits.scrape_evictable_after) ||
           evict(pool, HttpSessionState::scraping, limits.scrape_evictable_after);
}

void HttpServer::Impl::admit(const Listener& listener, HttpSocket socket) {
    const auto& limits = options_.limits;
    const bool control = listener.control.has_value();
    if (!make_room(pool(control), control ? limits.control_connections : limits.connections)) {
        ++counters_.rejected;
        const std::string_view body = "too many connections\n";
        const auto head = http_head({.status = 503,
                                     .content_length = body.size(),
                                     .keep_alive = false,
                                     .fields = "Retry-After: 1\r\n"},
                                    now().wall) +
                          std::string(body);
        error_code error;
        socket.non_blocking(true, error);
        socket.write_some(asio::buffer(head), error);  // as far as it goes; then it is closed
        socket.shutdown(tcp::socket::shutdown_both, error);
        return;
    }
    error_code ignored;  // then the kernel's own size it is
    socket.set_option(tcp::socket::send_buffer_size(limits.send_buffer_bytes), ignored);
    if (!control) {
        // Answers are written whole; waiting for more to send would only delay them.
        socket.set_option(tcp::no_delay(true), ignored);
    }
    const auto client = client_of(listener, socket);
    auto session = make_http_session(std::move(socket), client, *this);
    auto& waiting = pool(control).in(HttpSessionState::waiting);
    session->place = {.control = control,
                      .state = HttpSessionState::waiting,
                      .since = mono_now(),
                      .position = waiting.insert(waiting.end(), session)};
    session->start();
}

/// Takes over the connections that a listener has not accepted yet, before it closes.
void HttpServer::Impl::drain(Listener& listener) {
    error_code error;
    listener.acceptor.non_blocking(true, error);
    while (!error) {
        HttpSocket socket(web_loop_);
        listener.acceptor.accept(socket, error);
        if (!error) {
            admit(listener, std::move(socket));
        }
    }
}

std::size_t HttpServer::Impl::Pool::size() const {
    std::size_t count = 0;
    for (const auto& list : sessions) {
        count += list.size();
    }
    return count;
}

/// Closes the session that has been in this state for the longest, if that is long enough.
bool HttpServer::Impl::evict(Pool& pool, HttpSessionState state, Duration evictable_after) {
    const auto& list = pool.in(state);
    if (list.empty() || mono_now() - list.front()->place.since < evictable_after) {
        return false;
    }
    ++counters_.evicted;
    const auto session = list.front();
    session->close();
    return true;
}

void HttpServer::Impl::changed(HttpSession& session, HttpSessionState state) {
    auto& own = pool(session.place.control);
    auto& from = own.in(session.place.state);
    auto& to = own.in(state);
    to.splice(to.end(), from, session.place.position);
    session.place.state = state;
    session.place.since = mono_now();
}

bool HttpServer::Impl::admit_scrape(HttpSession& session) {
    const auto& limits = options_.limits;
    auto& own = pool(session.place.control);
    if (own.in(HttpSessionState::scraping).size() >= limits.scrapes &&
        !evict(own, HttpSessionState::scraping, limits.scrape_evictable_after)) {
        return false;
    }
    changed(session, HttpSessionState::scraping);
    return true;
}

void HttpServer::Impl::ended(HttpSession& session) {
    pool(session.place.control).in(session.place.state).erase(session.place.position);
}

void HttpServer::Impl::failed(std::string_view what) {
    log_.write({.level = LogLevel::error,
                .message = fmt::format("an HTTP connection was closed: {}", what)});
}

ExpositionExtras HttpServer::Impl::exposition_extras() {
    counters_.connections = tcp_sessions_.size() + control_sessions_.size();
    return {.build = build_,
            .families = own_families(process_.read(), counters_),
            .series_dropped_before = series_dropped_};
}

AgentFigures HttpServer::Impl::agent_figures() {
    const auto sample = process_.read();
    return {.version = build_.version,
            .revision = build_.revision,
            .cpu_seconds = sample.cpu_seconds,
            .resident_memory_bytes = sample.resident_bytes};
}

HttpServer::HttpServer(asio::io_context& web_loop,
                       SnapshotSource& source,
                       LogSink& log,
                       const BuildInfo& build)
    : impl_(std::make_unique<Impl>(web_loop, source, log, build)) {}

HttpServer::~HttpServer() {
    impl_->stop();
}

void HttpServer::set_options(const HttpOptions& options) {
    impl_->set_options(options);
}

Result<void, std::string> HttpServer::listen(const std::vector<HttpEndpoint>& endpoints) {
    return impl_->listen(endpoints);
}

Result<void, std::string> HttpServer::listen_control(const std::string& path) {
    return impl_->listen_control(path);
}

std::vector<std::uint16_t> HttpServer::ports() const {
    return impl_->ports();
}

void HttpServer::stop() {
    impl_->stop();
}

}  // namespace reachd
