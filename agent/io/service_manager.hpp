// What reachd tells the service manager that started it (sd_notify(3)): readiness, reloads, a
// status line, the watchdog. Without one ($NOTIFY_SOCKET unset) every call does nothing. Decides
// nothing: when the daemon is ready or alive is not its business.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/time.hpp"

namespace reachd {

/// For one thread. A message that cannot be sent is forgotten: there is nobody else to tell.
class ServiceManager {
  public:
    /// Reads $WATCHDOG_USEC and $WATCHDOG_PID; a watchdog meant for another process is none.
    ServiceManager();

    /// READY=1: probing and serving, at first or again after a reload. `status` is for people.
    void ready(std::string_view status);
    /// RELOADING=1 with MONOTONIC_USEC; ready() must follow, also when the reload was refused.
    void reloading();
    /// STATUS=, one line; sent only when it differs from the last one.
    void status(std::string_view text);
    /// STOPPING=1: shutting down from here on.
    void stopping();

    /// The watchdog's limit, or nothing when none is configured: then no timer is needed at all.
    std::optional<Duration> watchdog_interval() const { return watchdog_interval_; }

    /// WATCHDOG=1, sent only when a watchdog is configured.
    void notify_watchdog();

  private:
    std::optional<Duration> watchdog_interval_;
    std::string status_;
};

}  // namespace reachd
