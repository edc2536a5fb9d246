#include "agent/listened_ports.hpp"

#include <algorithm>
#include <utility>

namespace reachd {

void ListenedPorts::want(const Wanted& wanted) {
    std::erase_if(ports_, [&](const auto& entry) {
        const auto& [port, known] = entry;
        const auto still = wanted.find(port);
        if (still != wanted.end() && still->second == known.generation) {
            return false;
        }
        if (known.state == State::opening || known.state == State::open) {
            closed_.push_back(port);
        }
        unsettled_.erase(port);
        return true;
    });
    for (const auto& [port, generation] : wanted) {
        if (ports_.try_emplace(port, Port{generation}).second) {
            unsettled_.insert(port);
        }
    }
}

bool ListenedPorts::on_failed(const NeighbourPort& port, MonoTime now) {
    const auto found = ports_.find(port);
    if (found == ports_.end()) {
        return false;
    }
    Port& failed = found->second;
    const bool fresh = failed.pause == Duration{};
    failed.pause = std::clamp(2 * failed.pause, Duration(first_pause), Duration(longest_pause));
    failed.state = State::failed;
    failed.retry_at = now + failed.pause;
    unsettled_.insert(port);
    return fresh;
}

bool ListenedPorts::advance(MonoTime now) {
    const auto settled = std::erase_if(unsettled_, [&](const NeighbourPort& port) {
        Port& known = ports_.at(port);
        if (known.state == State::opening) {
            known.state = State::open;
            known.pause = {};
        } else if (known.state == State::failed && known.retry_at <= now) {
            known.state = State::wanted;
        }
        return known.state == State::open;
    });
    return settled > 0;
}

bool ListenedPorts::is_open(const NeighbourPort& port) const {
    const auto found = ports_.find(port);
    return found != ports_.end() && found->second.state == State::open;
}

bool ListenedPorts::any_failed() const {
    return std::any_of(unsettled_.begin(), unsettled_.end(), [&](const NeighbourPort& port) {
        return ports_.at(port).pause != Duration{};
    });
}

ListenedPorts::Changes ListenedPorts::take_changes() {
    Changes changes{std::exchange(closed_, {}), {}};
    for (const NeighbourPort& port : unsettled_) {
        Port& known = ports_.at(port);
        if (known.state == State::wanted) {
            known.state = State::opening;
            changes.opened.push_back(port);
        }
    }
    return changes;
}

MonoTime ListenedPorts::next_deadline() const {
    MonoTime next = closed_.empty() ? mono_never : MonoTime{};
    for (const NeighbourPort& port : unsettled_) {
        const Port& known = ports_.at(port);
        next = std::min(next, known.state == State::failed ? known.retry_at : MonoTime{});
    }
    return next;
}

}  // namespace reachd
