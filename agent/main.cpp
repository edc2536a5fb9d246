// reachd: reads the command line, checks the configuration, runs the daemon.
#include <cstdio>
#include <exception>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <malloc.h>
#include <sys/resource.h>

#include "agent/config_json.hpp"
#include "agent/config_text.hpp"
#include "agent/io/config_file.hpp"
#include "agent/io/daemon.hpp"
#include "common/build_info.hpp"
#include "common/log_text.hpp"

namespace {

constexpr const char* default_config = "/etc/reachd/reachd.json";
constexpr int exit_failure = 1;  // cannot start: address in use, missing capability
constexpr int exit_usage = 2;    // wrong usage, bad configuration

struct CommandLine {
    reachd::DaemonOptions options;
    bool check = false;
};

std::string version_text() {
    const auto build = reachd::build_info();
    return fmt::format("reachd {} ({}, {})", build.version, build.revision, build.compiler);
}

/// Fills in the command line; an exit code when there is nothing left to do.
std::optional<int> parse_command_line(int count, char** values, CommandLine& line) {
    CLI::App app("reachd probes the peers of this host and exports what it finds to Prometheus.",
                 "reachd");
    std::string config = default_config;
    std::string web_config;
    std::string level = "info";
    std::vector<std::string> listen;
    const auto* named =
        app.add_option("--config,--config.file",
                       config,
                       fmt::format("configuration file (default {})", default_config));
    app.add_flag("--check,--config.check", line.check, "check the configuration and exit");
    app.add_option("--log-level,--log.level", level, "error, warning, notice, info or debug");
    app.add_option("--web.listen-address",
                   listen,
                   "serve metrics on this address in place of web.listen; repeatable");
    app.add_option("--web.config.file", web_config, "TLS and basic auth: not in this version");
    app.set_version_flag("--version", version_text());
    app.footer(
        "Exit codes: 0 well; 1 cannot start; 2 wrong usage or a bad configuration.\n"
        "SIGHUP reloads the configuration, SIGTERM stops.");
    try {
        app.parse(count, values);
    } catch (const CLI::Success& success) {
        return app.exit(success);
    } catch (const CLI::ParseError& error) {
        fmt::print(stderr, "reachd: {}; see reachd --help\n", error.what());
        return exit_usage;
    }
    if (!web_config.empty()) {
        fmt::print(stderr, "reachd: --web.config.file: not available in this version\n");
        return exit_usage;
    }
    const auto log_level = reachd::parse_log_level(level);
    if (!log_level) {
        fmt::print(
            stderr, "reachd: --log-level {}: want error, warning, notice, info or debug\n", level);
        return exit_usage;
    }
    for (const std::string& text : listen) {
        auto address = reachd::parse_listen_address(text);
        if (!address) {
            fmt::print(
                stderr, "reachd: --web.listen-address {}: {}\n", text, address.error().message);
            return exit_usage;
        }
        line.options.listen.push_back(*address);
    }
    line.options.log_level = *log_level;
    line.options.config_file = {config, named->count() == 0};
    return std::nullopt;
}

/// A connect under way is a descriptor, and so is the port of a guest: 1024, the usual soft limit,
/// is for programs that use select().
void raise_descriptor_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        static_cast<void>(setrlimit(RLIMIT_NOFILE, &limit));
    }
}

int run(int count, char** values) {
    CommandLine line;
    if (const auto done = parse_command_line(count, values, line)) {
        return *done;
    }
    auto loaded = reachd::load_config(line.options.config_file);
    if (!loaded.config) {
        for (const std::string& problem : loaded.problems) {
            fmt::print(stderr, "{}\n", problem);
        }
        return exit_usage;
    }
    if (line.check) {
        fmt::print("{}: {}\n",
                   line.options.config_file.path,
                   loaded.missing ? "not there, the defaults apply" : "good");
        return 0;
    }
    raise_descriptor_limit();
    // One heap for both loops: a second arena would double what a scrape leaves behind.
    // Large blocks (a snapshot of many peers) are mapped, so that they go back when they are freed:
    // glibc would otherwise keep them in the heap after the first one.
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    reachd::Daemon daemon(std::move(line.options), std::move(*loaded.config));
    loaded = {};
    malloc_trim(0);
    daemon.run();
    return 0;
}

}  // namespace

int main(int count, char** values) {
    try {
        return run(count, values);
    } catch (const std::exception& error) {
        fmt::print(stderr, "reachd: {}\n", error.what());
        return exit_failure;
    }
}
