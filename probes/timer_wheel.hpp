// A hashed timing wheel of 10 ms slots for tens of thousands of timers, each known by a small dense
// number of the caller's. Owns order and deadlines only: it reads no clock and calls nobody
// unasked.
//
// A timer fires at the first take_due() at or after its time, never before it. Timers beyond one
// turn of the wheel (10.24 s) stay in their slot and are looked at once a turn.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "common/time.hpp"

namespace reachd {

class TimerWheel {
  public:
    static constexpr Duration tick = std::chrono::milliseconds(10);

    explicit TimerWheel(MonoTime start);

    /// Sets timer `id` to `at`, replacing what it was set to. A time in the past fires at the next
    /// take_due() that crosses a tick.
    void schedule(std::uint32_t id, MonoTime at);

    void cancel(std::uint32_t id);

    bool is_scheduled(std::uint32_t id) const;

    /// The timers that are due, taken out of the wheel, in slot order. Valid until the next call.
    /// Re-scheduling any of them while walking the list is fine; a timer cancelled meanwhile must
    /// be recognised by the caller.
    std::vector<std::uint32_t>& take_due(MonoTime now);

    /// When take_due() should be called next; mono_never while no timer is set. May be early for
    /// timers more than one turn away, never late.
    MonoTime next_deadline() const;

    /// The time of the tick at which a timer set to `time` fires, unless that is past.
    MonoTime round_up(MonoTime time) const { return start_ + tick * tick_at_or_after(time); }

    void reserve(std::size_t timers) { nodes_.reserve(timers); }

  private:
    static constexpr std::uint32_t slot_count = 1024;
    static constexpr std::uint32_t none = 0xffffffffU;
    static constexpr std::int64_t unscheduled = -1;

    struct Node {
        std::int64_t tick = unscheduled;
        std::uint32_t next = none;
        std::uint32_t previous = none;
    };

    std::int64_t tick_at_or_after(MonoTime time) const;
    void link(std::uint32_t id, std::int64_t due_tick);
    void unlink(std::uint32_t id);
    void take_slot(std::uint32_t slot, std::int64_t now_tick);

    MonoTime start_;
    std::int64_t current_ = 0;  ///< the last tick that was advanced over
    std::vector<Node> nodes_;
    std::array<std::uint32_t, slot_count> heads_;
    std::array<std::uint64_t, slot_count / 64> occupied_{};
    std::vector<std::uint32_t> due_;
};

}  // namespace reachd
