#include "probes/timer_wheel.hpp"

#include <algorithm>
#include <bit>

#include "common/check.hpp"

namespace reachd {

TimerWheel::TimerWheel(MonoTime start) : start_(start) {
    heads_.fill(none);
}

std::int64_t TimerWheel::tick_at_or_after(MonoTime time) const {
    if (time <= start_) {
        return 0;
    }
    const auto elapsed = (time - start_).count();
    return elapsed / tick.count() + (elapsed % tick.count() != 0 ? 1 : 0);
}

void TimerWheel::schedule(std::uint32_t id, MonoTime at) {
    ENSURE(id != none);
    if (id >= nodes_.size()) {
        nodes_.resize(static_cast<std::size_t>(id) + 1);
    }
    unlink(id);
    link(id, std::max(tick_at_or_after(at), current_ + 1));
}

void TimerWheel::cancel(std::uint32_t id) {
    if (id < nodes_.size()) {
        unlink(id);
    }
}

bool TimerWheel::is_scheduled(std::uint32_t id) const {
    return id < nodes_.size() && nodes_[id].tick != unscheduled;
}

void TimerWheel::link(std::uint32_t id, std::int64_t due_tick) {
    const auto slot = static_cast<std::uint32_t>(due_tick % slot_count);
    Node& node = nodes_[id];
    node.tick = due_tick;
    node.previous = none;
    node.next = heads_[slot];
    if (node.next != none) {
        nodes_[node.next].previous = id;
    }
    heads_[slot] = id;
    occupied_[slot / 64] |= std::uint64_t{1} << (slot % 64);
}

void TimerWheel::unlink(std::uint32_t id) {
    Node& node = nodes_[id];
    if (node.tick == unscheduled) {
        return;
    }
    const auto slot = static_cast<std::uint32_t>(node.tick % slot_count);
    if (node.previous != none) {
        nodes_[node.previous].next = node.next;
    } else {
        heads_[slot] = node.next;
        if (node.next == none) {
            occupied_[slot / 64] &= ~(std::uint64_t{1} << (slot % 64));
        }
    }
    if (node.next != none) {
        nodes_[node.next].previous = node.previous;
    }
    node.tick = unscheduled;
}

void TimerWheel::take_slot(std::uint32_t slot, std::int64_t now_tick) {
    for (std::uint32_t id = heads_[slot]; id != none;) {
        const std::uint32_t next = nodes_[id].next;
        if (nodes_[id].tick <= now_tick) {
            unlink(id);
            due_.push_back(id);
        }
        id = next;
    }
}

std::vector<std::uint32_t>& TimerWheel::take_due(MonoTime now) {
    due_.clear();
    if (now < start_) {
        return due_;
    }
    const std::int64_t now_tick = (now - start_).count() / tick.count();
    // After a long pause one turn visits every slot: more turns would find nothing new.
    const std::int64_t last = std::min(now_tick, current_ + slot_count);
    for (std::int64_t t = current_ + 1; t <= last; ++t) {
        take_slot(static_cast<std::uint32_t>(t % slot_count), now_tick);
    }
    current_ = std::max(current_, now_tick);
    return due_;
}

MonoTime TimerWheel::next_deadline() const {
    const auto first = static_cast<std::uint32_t>((current_ + 1) % slot_count);
    // The words of the bitmap from `first` on, around the wheel; the first word is visited twice,
    // once for its upper and once for its lower part.
    for (std::uint32_t i = 0; i <= occupied_.size(); ++i) {
        const auto word_index = (first / 64 + i) % occupied_.size();
        std::uint64_t word = occupied_[word_index];
        if (i == 0) {
            word &= ~std::uint64_t{0} << (first % 64);
        }
        if (word == 0) {
            continue;
        }
        const auto slot = static_cast<std::int64_t>(word_index * 64) + std::countr_zero(word);
        const std::int64_t distance = (slot + slot_count - first) % slot_count;
        return start_ + tick * (current_ + 1 + distance);
    }
    return mono_never;
}

}  // namespace reachd
