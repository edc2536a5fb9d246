#include "probes/reachability.hpp"

#include <array>
#include <cstddef>

namespace reachd {

struct ReachabilityMachine::Step {
    State next;
    Action action;
};

const ReachabilityMachine::Step& ReachabilityMachine::step(State state, Event event) {
    using enum Action;
    // Rows: state. Columns: answer, no_answer, verdict_due.
    static constexpr std::array<std::array<Step, 3>, 5> table{{
        // unknown: the first answer is the verdict; silence must be confirmed.
        {{{State::up, end_burst}, {State::suspect, begin_burst}, {State::unknown, none}}},
        // up: one loss is only a suspicion.
        {{{State::up, none}, {State::suspect, begin_burst}, {State::up, none}}},
        // suspect: any answer clears it, further losses add nothing, silence to the end is down.
        {{{State::up, end_burst}, {State::suspect, none}, {State::down, end_burst}}},
        // down: a first answer must be confirmed too.
        {{{State::returning, begin_burst}, {State::down, none}, {State::down, none}}},
        // returning: the second answer brings it up, silence to the end throws it back.
        {{{State::up, end_burst}, {State::returning, none}, {State::down, end_burst}}},
    }};
    return table[static_cast<std::size_t>(state)][static_cast<std::size_t>(event)];
}

ReachabilityMachine::Action ReachabilityMachine::handle(Event event) {
    const Step& next = step(state_, event);
    state_ = next.next;
    if (state_ == State::up || state_ == State::down) {
        verdict_ = state_ == State::up ? 1 : 0;
    }
    return next.action;
}

Reachability ReachabilityMachine::state() const {
    switch (state_) {
        case State::unknown: return Reachability::unknown;
        case State::up: return Reachability::up;
        case State::suspect: return Reachability::suspect;
        case State::down:
        case State::returning: return Reachability::down;
    }
    return Reachability::unknown;
}

std::optional<bool> ReachabilityMachine::up() const {
    return verdict_ < 0 ? std::nullopt : std::optional<bool>(verdict_ != 0);
}

}  // namespace reachd
