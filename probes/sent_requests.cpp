#include "probes/sent_requests.hpp"

namespace reachd {

template <class Condition>
void SentRequests::forget_if(Condition condition) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < count_; ++i) {
        if (!condition(i)) {
            entries_[kept++] = entries_[i];
        }
    }
    count_ = kept;
}

void SentRequests::add(const IpAddress& target, ProbeToken token, WallTime before) {
    forget_if([&](std::size_t i) { return before - entries_[i].before > queue_time_max; });
    if (count_ == requests_max) {
        return;
    }
    entries_[count_] = {target, token, before};
    entries_[count_].target.set_scope(IfIndex::any);
    ++count_;
}

std::optional<ProbeToken> SentRequests::take(const IpAddress& target, WallTime stamp) {
    for (std::size_t i = 0; i < count_; ++i) {
        const Duration waited = stamp - entries_[i].before;
        const bool in_time = waited >= Duration::zero() && waited <= queue_time_max;
        if (in_time && entries_[i].target == target) {
            const ProbeToken token = entries_[i].token;
            forget_if([i](std::size_t other) { return other == i; });
            return token;
        }
    }
    return std::nullopt;
}

}  // namespace reachd
