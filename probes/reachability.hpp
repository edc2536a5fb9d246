// The verdict on one probe kind of one peer: a table of states and events. Never one lost packet:
// a first loss only begins a confirmation burst, and silence after the burst is the verdict.
// Owns no time and sends nothing: it says what to do, the engine does it.
#pragma once

#include <cstdint>
#include <optional>

#include "common/probe.hpp"

namespace reachd {

class ReachabilityMachine {
  public:
    enum class Event : std::uint8_t {
        answer,       ///< an answer in time (a late or duplicate one is none)
        no_answer,    ///< a scheduled probe was lost, or could not be sent at all
        verdict_due,  ///< the burst's waiting time is over
    };

    enum class Action : std::uint8_t {
        none,
        begin_burst,  ///< send the confirmation burst, and set the time of the verdict
        end_burst,    ///< the verdict is reached: nothing more to confirm
    };

    Action handle(Event event);

    friend bool operator==(const ReachabilityMachine&, const ReachabilityMachine&) = default;

    /// A burst is under way, or wanted.
    bool is_confirming() const { return state_ == State::suspect || state_ == State::returning; }

    /// What people are shown. A peer on its way back up counts as down until it is up.
    Reachability state() const;

    /// The last verdict; nothing before the first. Suspicion does not change it.
    std::optional<bool> up() const;

  private:
    enum class State : std::uint8_t { unknown, up, suspect, down, returning };
    struct Step;
    static const Step& step(State state, Event event);

    State state_ = State::unknown;
    std::int8_t verdict_ = -1;  ///< -1: none yet
};

}  // namespace reachd
