// What the service manager's watchdog is told: whether both loops really get on with their work.
// Pure bookkeeping of the probe loop; it owns no timer, posts nothing and never feeds by itself.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "common/time.hpp"

namespace reachd {

/// How often to look after the loops when the service manager's limit is `watchdog_interval`: four
/// times in it, so that one missed look (SIGSTOP, a starved machine) does not kill a healthy
/// daemon.
constexpr Duration watchdog_period(Duration watchdog_interval) {
    constexpr Duration shortest = std::chrono::milliseconds(1);
    return std::max(watchdog_interval / 4, shortest);
}

/// The progress of the probe loop (its promises kept) and of the web loop (its last question
/// answered). Lives in the probe loop, which at each watchdog_period does:
///     if (progress.both_alive(now)) -> feed the watchdog
///     if (ask = progress.take_ask()) -> post to the web loop, which posts on_web_answer(ask) back
/// A timer that merely fires proves nothing: it would go on firing after the wheel's timer was
/// lost.
class LoopProgress {
  public:
    /// `tolerance` is how late the probe loop may be before it no longer counts as alive.
    explicit LoopProgress(Duration tolerance) : tolerance_(tolerance) {}

    /// The probe loop has done what was due and will be back by `next_due` at the latest;
    /// mono_never when nothing is due. To be called by the work itself, at the end of each of its
    /// turns.
    void on_probe_progress(MonoTime next_due) { probe_due_ = next_due; }

    /// The number to ask the web loop with; nothing while the last one is unanswered, so that
    /// questions never pile up before a loop that is stuck.
    [[nodiscard]] std::optional<std::uint64_t> take_ask() {
        if (asked_ != answered_) {
            return std::nullopt;
        }
        return ++asked_;
    }

    /// The web loop's answer. Any number but the last one asked is ignored.
    void on_web_answer(std::uint64_t ask) {
        if (ask == asked_) {
            answered_ = ask;
        }
    }

    /// False until both loops have shown life once.
    [[nodiscard]] bool both_alive(MonoTime now) const { return probe_alive(now) && web_alive(); }

    [[nodiscard]] bool probe_alive(MonoTime now) const {
        // Subtract from `now`: probe_due_ may be mono_never.
        return probe_due_.has_value() && now - tolerance_ <= *probe_due_;
    }

    [[nodiscard]] bool web_alive() const { return asked_ > 0 && asked_ == answered_; }

  private:
    Duration tolerance_;
    std::optional<MonoTime> probe_due_;
    std::uint64_t asked_ = 0;
    std::uint64_t answered_ = 0;
};

}  // namespace reachd
