#include "agent/io/daemon.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/io/device_facts.hpp"
#include "agent/io/name_evidence.hpp"
#include "agent/io/virtualization_evidence.hpp"
#include "agent/virtualization.hpp"
#include "common/build_info.hpp"
#include "common/io/system_clock.hpp"

namespace reachd {
namespace {

constexpr std::string_view started_message = "8c3b6f1f7d2c4a6db5a2f0a95b0c7d11";
constexpr std::string_view reloaded_message = "c2f7a0c8d3504ed19e1f6f0b1c7a5e22";
constexpr std::string_view runtime_file_message = "0e6a8c55f4c94c1d8a35d1b8a7e2f940";
constexpr std::string_view reload_refused_message = "5b9d7e44a6d84cb8a8f3b1c0d2e6f733";

/// A probe loop later than this does not count as alive.
constexpr Duration loop_tolerance = std::chrono::seconds(2);
constexpr Duration status_interval = std::chrono::seconds(1);
/// About 40 µs of copying.
constexpr std::size_t peers_per_snapshot_part = 256;
/// Identifiers for raw sockets: 16 of them, at a place of their own for each run.
constexpr std::uint16_t identifier_count = 16;

template <class Value>
Value random_value() {
    Value value{};
    if (getrandom(&value, sizeof(value), 0) != static_cast<ssize_t>(sizeof(value))) {
        throw std::system_error(errno, std::generic_category(), "getrandom");
    }
    return value;
}

AgentSeed random_seed() {
    return {random_value<std::uint64_t>(), random_value<std::array<std::uint64_t, 2>>()};
}

EchoIdentifiers random_identifiers() {
    const auto place =
        static_cast<std::uint16_t>(random_value<std::uint16_t>() & ~(identifier_count - 1U));
    return {place, identifier_count};
}

std::string system_host_name() {
    std::array<char, 256> name{};
    return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

/// Made if it is ours, not there and may be; listening tells what is wrong.
std::string default_control_socket() {
    const std::string directory = runtime_directory();
    static_cast<void>(::mkdir(directory.c_str(), 0755));
    return directory + "/control.sock";
}

std::string url_of(const ListenAddress& address) {
    if (address.host.empty()) {
        return fmt::format("http://localhost:{}/metrics", address.port);
    }
    const bool v6 = address.host.find(':') != std::string::npos;
    return fmt::format(
        "http://{}{}{}:{}/metrics", v6 ? "[" : "", address.host, v6 ? "]" : "", address.port);
}

}  // namespace

Daemon::Daemon(DaemonOptions options, Config config)
    : options_(std::move(options)),
      log_({.minimum = options_.log_level}),
      signals_(context_, SIGTERM, SIGINT, SIGHUP),
      watchdog_timer_(context_),
      progress_(loop_tolerance),
      agent_(config, system_host_name(), random_seed(), now()),
      probe_loop_(
          context_,
          agent_,
          {[this](LookupRequest request) { resolver_.lookup(std::move(request)); },
           [this](DeviceLookup lookup) { describe_device(std::move(lookup)); },
           [this](GuestLookup lookup) { identify(std::move(lookup)); },
           [this](std::vector<GuestAddressRecord> records) { keep_guests(std::move(records)); },
           [this](const LogRecord& record) { log_.write(record); },
           [this] { after_turn(); }}),
      resolver_(context_.get_executor(),
                [this](std::uint64_t id, ResolveResult result) {
                    probe_loop_.deliver(NameLookedUp{id, std::move(result)});
                }),
      web_(
          context_,
          [this](SnapshotSource::Done done) { make_snapshot(std::move(done)); },
          options_.log_level),
      configured_host_name_(config.host.name),
      control_socket_(config.control.socket) {
    std::signal(SIGPIPE, SIG_IGN);
    if (!options_.listen.empty()) {
        config.web.listen = options_.listen;
    }
    if (const auto listening = web_.apply(config); !listening) {
        throw std::runtime_error(listening.error());
    }
    open_control(config);
    agent_.handle(HostDescribed{detect_virtualization(read_virtualization_evidence())}, now());
    restore_guests();
    probe_loop_.open(random_identifiers());
    say_what_is_done(config);
}

Daemon::~Daemon() = default;

/// Where it cannot be had the daemon does without: it is for people, the metrics are not.
void Daemon::open_control(const Config& config) {
    const std::string path =
        config.control.socket.empty() ? default_control_socket() : config.control.socket;
    if (const auto listening = web_.open_control(path); !listening) {
        log_.write({LogLevel::warning,
                    fmt::format("no control socket, so reachctl cannot ask this daemon: {}",
                                listening.error()),
                    {},
                    {}});
    }
}

void Daemon::say_what_is_done(const Config& config) {
    const auto& sockets = probe_loop_.echo_sockets();
    std::string families;
    for (const auto& socket : sockets) {
        families += families.empty() ? "" : " and ";
        families += socket->family() == Family::ipv4 ? "IPv4" : "IPv6";
    }
    std::string urls;
    for (const ListenAddress& address : config.web.listen) {
        urls += (urls.empty() ? "" : ", ") + url_of(address);
    }
    const bool raw = sockets.front()->mode() == IcmpSocket::Mode::raw;
    log_.write(
        {LogLevel::notice,
         fmt::format("reachd {}: metrics at {}; probing {} configured peers{}{}, {} by {} sockets",
                     build_info().version,
                     urls,
                     agent_.peer_count(),
                     config.discover_gateways ? ", default gateways" : "",
                     config.guests.enabled ? ", local guests" : "",
                     families,
                     raw ? "raw" : "ping"),
         started_message,
         {}});
}

void Daemon::run() {
    web_.start();
    wait_for_signal();
    if (const auto interval = service_.watchdog_interval()) {
        feed_watchdog(watchdog_period(*interval));
    }
    probe_loop_.start();
    context_.run();
    web_.stop();
    resolver_.stop();
    describer_.stop();
    describer_.join();
    static_cast<void>(runtime_file_.save(encode_guest_cache(agent_.guest_records(), now().wall)));
}

void Daemon::make_snapshot(SnapshotSource::Done done) {
    snapshot_waiters_.push_back(std::move(done));
    if (snapshot_waiters_.size() == 1) {
        extend_snapshot();
    }
}

/// Part by part, so that what comes in meanwhile need not wait for all of it.
void Daemon::extend_snapshot() {
    const auto snapshot = agent_.extend_snapshot(draft_, peers_per_snapshot_part, now());
    if (!snapshot) {
        boost::asio::post(context_, [this] { extend_snapshot(); });
        return;
    }
    snapshot->sockets = probe_loop_.sockets();
    for (const auto& done : std::exchange(snapshot_waiters_, {})) {
        done(snapshot);
    }
}

/// May wait for the kernel's lock on all devices, so neither loop does it.
void Daemon::describe_device(DeviceLookup lookup) {
    boost::asio::post(describer_, [this, lookup = std::move(lookup)] {
        DeviceDescribed event{read_device_facts(lookup.index, lookup.name), lookup.generation};
        boost::asio::post(context_, [this, event = std::move(event)]() mutable {
            probe_loop_.deliver(std::move(event));
        });
    });
}

/// Reads /proc and libvirt's files, which takes its time.
void Daemon::identify(GuestLookup lookup) {
    boost::asio::post(describer_, [this, lookup = std::move(lookup)]() mutable {
        const NameEvidence evidence = read_name_evidence(stopping_);
        std::vector<GuestPort> ports;
        for (const GuestLookup::Port& port : lookup.ports) {
            ports.push_back(port.facts);
        }
        GuestsIdentified event{
            std::move(lookup.ports), identify_guests(ports, evidence), evidence.gaps};
        boost::asio::post(context_, [this, event = std::move(event)]() mutable {
            probe_loop_.deliver(std::move(event));
        });
    });
}

void Daemon::keep_guests(std::vector<GuestAddressRecord> records) {
    boost::asio::post(describer_, [this, records = std::move(records)]() mutable {
        auto problem = runtime_file_.save(encode_guest_cache(std::move(records), now().wall));
        if (problem) {
            boost::asio::post(context_, [this, problem = std::move(*problem)] {
                log_.write({LogLevel::warning, problem, runtime_file_message, {}});
            });
        }
    });
}

void Daemon::restore_guests() {
    const GuestCacheReading reading = runtime_file_.load(now().wall);
    if (!reading.problem.empty()) {
        log_.write({LogLevel::warning, reading.problem, runtime_file_message, {}});
    }
    agent_.handle(GuestsRestored{reading.records}, now());
}

void Daemon::after_turn() {
    progress_.on_probe_progress(agent_.next_deadline());
    if (!ready_ || reloading_) {
        if (!reloading_ && agent_.topology_synced()) {
            ready_ = true;
            service_.ready(agent_.status_line());
        }
        return;
    }
    const StatusBasis basis{agent_.verdicts(), agent_.peer_count()};
    if (basis != status_basis_ && mono_now() - status_told_at_ >= status_interval) {
        status_basis_ = basis;
        status_told_at_ = mono_now();
        service_.status(agent_.status_line());
    }
}

void Daemon::feed_watchdog(Duration period) {
    if (progress_.both_alive(mono_now())) {
        service_.notify_watchdog();
    }
    if (const auto ask = progress_.take_ask()) {
        web_.post([this, ask = *ask] {
            boost::asio::post(context_, [this, ask] { progress_.on_web_answer(ask); });
        });
    }
    watchdog_timer_.expires_after(period);
    watchdog_timer_.async_wait([this, period](const boost::system::error_code& error) {
        if (!error) {
            feed_watchdog(period);
        }
    });
}

// ---- Signals

void Daemon::wait_for_signal() {
    signals_.async_wait([this](const boost::system::error_code& error, int signal) {
        if (error) {
            return;
        }
        if (signal == SIGHUP) {
            begin_reload();
            wait_for_signal();
        } else {
            begin_stop();
        }
    });
}

void Daemon::begin_stop() {
    stopping_ = true;
    service_.stopping();
    watchdog_timer_.cancel();
    probe_loop_.close();
    context_.stop();
}

/// Reading and checking a large file takes time, so the web loop does it; it also opens the new
/// listening sockets before the Agent hears of the new configuration. All of it, or nothing.
void Daemon::begin_reload() {
    if (std::exchange(reloading_, true)) {
        reload_again_ = true;
        return;
    }
    if (ready_) {
        service_.reloading();
    }
    web_.post([this] {
        LoadedConfig loaded = load_config(options_.config_file);
        if (loaded.config) {
            if (!options_.listen.empty()) {
                loaded.config->web.listen = options_.listen;
            }
            if (const auto listening = web_.apply(*loaded.config); !listening) {
                loaded.problems.push_back(
                    fmt::format("{}: {}", options_.config_file.path, listening.error()));
                loaded.config.reset();
            }
        }
        boost::asio::post(context_, [this, loaded = std::move(loaded)]() mutable {
            finish_reload(std::move(loaded));
        });
    });
}

void Daemon::refuse_reload(const std::vector<std::string>& problems) {
    for (const std::string& problem : problems) {
        log_.write({LogLevel::error, problem, reload_refused_message, {}});
    }
    log_.write({LogLevel::error,
                fmt::format("{}: {} error{}; the running configuration stays in force",
                            options_.config_file.path,
                            problems.size(),
                            problems.size() == 1 ? "" : "s"),
                reload_refused_message,
                {}});
    probe_loop_.deliver(ConfigRejected{});
}

void Daemon::finish_reload(LoadedConfig loaded) {
    if (!loaded.config) {
        refuse_reload(loaded.problems);
    } else {
        if (loaded.config->host.name != configured_host_name_) {
            log_.write({LogLevel::warning,
                        "host.name has changed: that needs a restart, the old one stays",
                        reloaded_message,
                        {}});
        }
        if (loaded.config->control.socket != control_socket_) {
            log_.write({LogLevel::warning,
                        "control.socket has changed: that needs a restart, the old one stays",
                        reloaded_message,
                        {}});
        }
        probe_loop_.deliver(ConfigLoaded{std::move(*loaded.config)});
        log_.write({LogLevel::notice,
                    fmt::format("configuration reloaded: {} peers", agent_.peer_count()),
                    reloaded_message,
                    {}});
    }
    reloading_ = false;
    if (ready_) {
        service_.ready(agent_.status_line());
    }
    if (std::exchange(reload_again_, false)) {
        begin_reload();
    }
}

}  // namespace reachd
