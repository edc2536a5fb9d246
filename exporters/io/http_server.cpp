#include "exporters/io/http_server.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <iterator>
#include <list>
#include <optional>
#include <utility>

#include <boost/asio/steady_timer.hpp>
#include <fmt/core.h>

#include "common/io/system_clock.hpp"
#include "exporters/http_message.hpp"
#include "exporters/io/process_metrics.hpp"
#include "exporters/own_families.hpp"

namespace reachd {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

// Snapshots are taken at most 4 times a second.
constexpr Duration snapshot_interval = std::chrono::milliseconds(250);

struct Listener {
    Listener(HttpEndpoint wanted, tcp::acceptor opened)
        : endpoint(std::move(wanted)),
          acceptor(std::move(opened)),
          pause_timer(acceptor.get_executor()) {}

    HttpEndpoint endpoint;
    tcp::acceptor acceptor;
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

    void add_series_dropped(std::uint64_t series) override { series_dropped_ += series; }

  private:
    using Sessions = std::list<std::shared_ptr<HttpSession>>;

    Sessions& sessions(HttpSessionState state) {
        return sessions_[static_cast<std::size_t>(state)];
    }

    std::size_t session_count() const;

    Result<std::shared_ptr<Listener>, std::string> open(const HttpEndpoint& endpoint,
                                                        const Listeners& replaced);
    void accept(const std::shared_ptr<Listener>& listener);
    void on_accept(const std::shared_ptr<Listener>& listener,
                   const error_code& error,
                   tcp::socket socket);
    void pause(const std::shared_ptr<Listener>& listener);
    void admit(tcp::socket socket);
    void drain(Listener& listener);
    bool evict(HttpSessionState state, Duration evictable_after);

    asio::io_context& web_loop_;
    LogSink& log_;
    BuildInfo build_;
    HttpOptions options_;
    SnapshotCache snapshots_;
    ProcessReader process_;
    Listeners listeners_;
    /// By state, and within a state by the time it was entered: the longest first.
    std::array<Sessions, http_session_state_count> sessions_;
    HttpCounters counters_;
    std::uint64_t series_dropped_ = 0;
};

Result<void, std::string> HttpServer::Impl::listen(const std::vector<HttpEndpoint>& endpoints) {
    const auto same_address = [](const HttpEndpoint& endpoint) {
        return [&endpoint](const auto& listener) { return listener->endpoint == endpoint; };
    };
    // Those whose address is no longer wanted, and so may lend their port to a successor.
    Listeners replaced;
    for (const auto& listener : listeners_) {
        if (std::find(endpoints.begin(), endpoints.end(), listener->endpoint) == endpoints.end()) {
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
        share_port(listener->acceptor, false);
        accept(listener);
    }
    return {};
}

Result<std::shared_ptr<Listener>, std::string> HttpServer::Impl::open(const HttpEndpoint& endpoint,
                                                                      const Listeners& replaced) {
    auto result = open_listener(web_loop_, endpoint, PortSharing::refused);
    Listeners own;
    std::copy_if(replaced.begin(), replaced.end(), std::back_inserter(own), [&](const auto& old) {
        return old->endpoint.port == endpoint.port;
    });
    if (!result && result.error() == asio::error::address_in_use && !own.empty()) {
        // By ourselves, as when ":9900" becomes "127.0.0.1:9900": the port is shared until the old
        // socket is closed, a moment later. A stranger's socket does not take part in that.
        for (const auto& old : own) {
            share_port(old->acceptor, true);
        }
        result = open_listener(web_loop_, endpoint, PortSharing::accepted);
        for (const auto& old : own) {
            share_port(old->acceptor, false);
        }
    }
    if (!result) {
        return fmt::format("cannot listen on {}: {}", to_text(endpoint), result.error().message());
    }
    return std::make_shared<Listener>(endpoint, std::move(*result));
}

std::vector<std::uint16_t> HttpServer::Impl::ports() const {
    std::vector<std::uint16_t> ports;
    for (const auto& listener : listeners_) {
        error_code error;
        ports.push_back(listener->acceptor.local_endpoint(error).port());
    }
    return ports;
}

void HttpServer::Impl::stop() {
    for (const auto& listener : listeners_) {
        close_listener(*listener);
    }
    listeners_.clear();
    for (auto& list : sessions_) {
        while (!list.empty()) {
            list.front()->close();  // which takes it off the list
        }
    }
    snapshots_.clear();
}

void HttpServer::Impl::accept(const std::shared_ptr<Listener>& listener) {
    listener->acceptor.async_accept([this, listener](const error_code& error, tcp::socket socket) {
        if (!listener->closed) {  // else this server may be gone
            on_accept(listener, error, std::move(socket));
        }
    });
}

void HttpServer::Impl::on_accept(const std::shared_ptr<Listener>& listener,
                                 const error_code& error,
                                 tcp::socket socket) {
    if (!error) {
        listener->failing = false;
        admit(std::move(socket));
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
                                           to_text(listener->endpoint),
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

void HttpServer::Impl::admit(tcp::socket socket) {
    const auto& limits = options_.limits;
    if (session_count() >= limits.connections &&
        !evict(HttpSessionState::waiting, limits.idle_evictable_after) &&
        !evict(HttpSessionState::working, limits.scrape_evictable_after) &&
        !evict(HttpSessionState::scraping, limits.scrape_evictable_after)) {
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
    auto session = make_http_session(std::move(socket), *this);
    auto& waiting = sessions(HttpSessionState::waiting);
    session->place = {.state = HttpSessionState::waiting,
                      .since = mono_now(),
                      .position = waiting.insert(waiting.end(), session)};
    session->start();
}

/// Takes over the connections that a listener has not accepted yet, before it closes.
void HttpServer::Impl::drain(Listener& listener) {
    error_code error;
    listener.acceptor.non_blocking(true, error);
    while (!error) {
        tcp::socket socket(web_loop_);
        listener.acceptor.accept(socket, error);
        if (!error) {
            admit(std::move(socket));
        }
    }
}

std::size_t HttpServer::Impl::session_count() const {
    std::size_t count = 0;
    for (const auto& list : sessions_) {
        count += list.size();
    }
    return count;
}

/// Closes the session that has been in this state for the longest, if that is long enough.
bool HttpServer::Impl::evict(HttpSessionState state, Duration evictable_after) {
    const auto& list = sessions(state);
    if (list.empty() || mono_now() - list.front()->place.since < evictable_after) {
        return false;
    }
    ++counters_.evicted;
    const auto session = list.front();
    session->close();
    return true;
}

void HttpServer::Impl::changed(HttpSession& session, HttpSessionState state) {
    auto& from = sessions(session.place.state);
    auto& to = sessions(state);
    to.splice(to.end(), from, session.place.position);
    session.place.state = state;
    session.place.since = mono_now();
}

bool HttpServer::Impl::admit_scrape(HttpSession& session) {
    const auto& limits = options_.limits;
    if (sessions(HttpSessionState::scraping).size() >= limits.scrapes &&
        !evict(HttpSessionState::scraping, limits.scrape_evictable_after)) {
        return false;
    }
    changed(session, HttpSessionState::scraping);
    return true;
}

void HttpServer::Impl::ended(HttpSession& session) {
    sessions(session.place.state).erase(session.place.position);
}

void HttpServer::Impl::failed(std::string_view what) {
    log_.write({.level = LogLevel::error,
                .message = fmt::format("an HTTP connection was closed: {}", what)});
}

ExpositionExtras HttpServer::Impl::exposition_extras() {
    counters_.connections = session_count();
    return {.build = build_,
            .families = own_families(process_.read(), counters_),
            .series_dropped_before = series_dropped_};
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

std::vector<std::uint16_t> HttpServer::ports() const {
    return impl_->ports();
}

void HttpServer::stop() {
    impl_->stop();
}

}  // namespace reachd
