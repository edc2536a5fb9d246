#include "agent/io/service_manager.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

#include <fmt/format.h>
#include <systemd/sd-daemon.h>

#include "common/io/system_clock.hpp"
#include "common/log_text.hpp"

namespace reachd {

namespace {

/// Long enough for any sentence, short enough for `systemctl status`.
constexpr std::size_t status_bytes_max = 512;

/// Keeps $NOTIFY_SOCKET in place: reachd starts no children that could inherit it.
void notify(const std::string& state) {
    static_cast<void>(sd_notify(0, state.c_str()));
}

/// One line: a line break in a peer's name must not become a further assignment.
std::string status_line(std::string_view text) {
    return printable(text, status_bytes_max);
}

}  // namespace

ServiceManager::ServiceManager() {
    std::uint64_t microseconds = 0;
    if (sd_watchdog_enabled(0, &microseconds) > 0) {
        // Beyond a day it is no watchdog, and the conversion to nanoseconds must not overflow.
        constexpr std::uint64_t day = 86'400'000'000;
        watchdog_interval_ = std::chrono::microseconds(std::min(microseconds, day));
    }
}

void ServiceManager::ready(std::string_view status) {
    status_ = status_line(status);
    notify(fmt::format("READY=1\nSTATUS={}", status_));
}

void ServiceManager::reloading() {
    const auto time =
        std::chrono::duration_cast<std::chrono::microseconds>(mono_now().time_since_epoch());
    notify(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", time.count()));
}

void ServiceManager::status(std::string_view text) {
    std::string line = status_line(text);
    if (line == status_) {
        return;
    }
    status_ = std::move(line);
    notify(fmt::format("STATUS={}", status_));
}

void ServiceManager::stopping() {
    notify("STOPPING=1");
}

void ServiceManager::notify_watchdog() {
    if (watchdog_interval_) {
        notify("WATCHDOG=1");
    }
}

}  // namespace reachd
