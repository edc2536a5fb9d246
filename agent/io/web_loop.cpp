#include "agent/io/web_loop.hpp"

#include <csignal>

#include <sys/resource.h>

#include "common/build_info.hpp"

namespace reachd {
namespace {

/// Added to the process's own: a third of the probe loop's share where both want one processor.
constexpr int web_thread_nice = 5;

}  // namespace

WebLoop::WebLoop(boost::asio::io_context& probe_loop, MakeSnapshot make, LogLevel level)
    : probe_loop_(probe_loop),
      make_snapshot_(std::move(make)),
      work_(context_.get_executor()),
      log_({.minimum = level}),
      server_(context_, *this, log_, build_info()) {}

WebLoop::~WebLoop() {
    stop();
}

Result<void, std::string> WebLoop::apply(const Config& config) {
    std::vector<HttpEndpoint> endpoints;
    for (const ListenAddress& address : config.web.listen) {
        endpoints.push_back({address.host, address.port});
    }
    auto listening = server_.listen(endpoints);
    if (listening) {
        HttpOptions options;
        options.open = config.web.open;
        options.limits.connections = config.limits.connections;
        server_.set_options(options);
    }
    return listening;
}

Result<void, std::string> WebLoop::open_control(const std::string& path) {
    return server_.listen_control(path);
}

void WebLoop::start() {
    thread_ = std::thread([this] {
        // Signals are the probe loop's business.
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, nullptr);
        pthread_setname_np(pthread_self(), "reachd-web");
        // Of this thread alone, on Linux: compressing a scrape must not keep a probe waiting.
        static_cast<void>(
            setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + web_thread_nice));
        context_.run();
    });
}

void WebLoop::stop() {
    if (!thread_.joinable()) {
        return;
    }
    post([this] {
        server_.stop();
        work_.reset();
        context_.stop();
    });
    thread_.join();
}

/// Over to the probe loop, and back with the snapshot.
void WebLoop::request(Done done) {
    boost::asio::post(probe_loop_, [this, done = std::move(done)]() mutable {
        make_snapshot_([this, done = std::move(done)](auto snapshot) {
            post([done, snapshot = std::move(snapshot)]() mutable { done(std::move(snapshot)); });
        });
    });
}

}  // namespace reachd
