// The running daemon: both loops, signals, reload, service manager, watchdog. It decides when they
// start and stop; what is probed, judged and said is the Agent's affair.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>

#include "agent/agent.hpp"
#include "agent/io/config_file.hpp"
#include "agent/io/probe_loop.hpp"
#include "agent/io/resolver.hpp"
#include "agent/io/runtime_file.hpp"
#include "agent/io/service_manager.hpp"
#include "agent/io/web_loop.hpp"
#include "agent/watchdog.hpp"
#include "common/io/journal_log.hpp"

namespace reachd {

struct DaemonOptions {
    ConfigFile config_file;
    LogLevel log_level = LogLevel::info;
    /// --web.listen-address: in place of web.listen, at each reload too; empty: as configured.
    std::vector<ListenAddress> listen;
};

class Daemon {
  public:
    /// Opens every socket. Throws std::exception with a line for people if it cannot work at all.
    Daemon(DaemonOptions options, Config config);
    ~Daemon();
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;

    /// Until SIGTERM or SIGINT.
    void run();

  private:
    /// Verdicts so far and peers: when they change, so does the status line.
    using StatusBasis = std::pair<std::uint64_t, std::size_t>;

    void open_control(const Config& config);
    void say_what_is_done(const Config& config);
    void wait_for_signal();
    void begin_reload();
    void finish_reload(LoadedConfig loaded);
    void refuse_reload(const std::vector<std::string>& problems);
    void after_turn();
    void begin_stop();
    void feed_watchdog(Duration period);
    void make_snapshot(SnapshotSource::Done done);
    void extend_snapshot();
    void describe_device(DeviceLookup lookup);
    void identify(GuestLookup lookup);
    void keep_guests(std::vector<GuestAddressRecord> records);
    void restore_guests();

    DaemonOptions options_;
    JournalLog log_;
    ServiceManager service_;
    boost::asio::io_context context_{1};
    boost::asio::signal_set signals_;
    boost::asio::steady_timer watchdog_timer_;
    LoopProgress progress_;
    Agent agent_;
    ProbeLoop probe_loop_;
    Resolver resolver_;
    WebLoop web_;
    RuntimeFile runtime_file_{runtime_directory()};  ///< describer_'s, but at start and end
    std::atomic<bool> stopping_{false};              ///< the describer's scans end early
    /// Reads facts of devices and names of guests, writes the run-time file; joined first.
    boost::asio::thread_pool describer_{1};
    std::string configured_host_name_;
    std::string control_socket_;  ///< as configured
    Agent::SnapshotDraft draft_;
    std::vector<SnapshotSource::Done> snapshot_waiters_;
    StatusBasis status_basis_{};
    MonoTime status_told_at_{};
    bool ready_ = false;
    bool reloading_ = false;
    bool reload_again_ = false;
};

}  // namespace reachd
