// The web loop: HTTP in a thread of its own, which shares nothing with the probe loop but immutable
// snapshots and messages by post. Whatever a client costs, it costs here.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "agent/config.hpp"
#include "common/io/journal_log.hpp"
#include "common/result.hpp"
#include "exporters/io/http_server.hpp"

namespace reachd {

class WebLoop final : private SnapshotSource {
  public:
    /// Makes a snapshot and calls `done` with it, now or later; called on the probe loop, both.
    using MakeSnapshot = std::function<void(Done done)>;

    WebLoop(boost::asio::io_context& probe_loop, MakeSnapshot make, LogLevel level);
    ~WebLoop() override;  ///< stops
    WebLoop(const WebLoop&) = delete;
    WebLoop& operator=(const WebLoop&) = delete;

    /// Listens where the configuration says, all or nothing. Before start(), or on the web loop.
    [[nodiscard]] Result<void, std::string> apply(const Config& config);

    /// The control socket; without it the daemon runs all the same. Before start().
    [[nodiscard]] Result<void, std::string> open_control(const std::string& path);

    void start();
    /// Closes all connections and joins the thread. From the probe loop's thread.
    void stop();

    /// Runs `work` on the web loop.
    template <class Work>
    void post(Work work) {
        boost::asio::post(context_, std::move(work));
    }

  private:
    void request(Done done) override;

    boost::asio::io_context& probe_loop_;
    MakeSnapshot make_snapshot_;
    boost::asio::io_context context_{1};
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
    JournalLog log_;  ///< this loop's own: a sink serves one thread
    HttpServer server_;
    std::thread thread_;
};

}  // namespace reachd
