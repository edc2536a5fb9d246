#include "agent/ctl/mtu_trace.hpp"

#include <algorithm>

namespace reachd::ctl {
namespace {

std::uint32_t slot_of(ProbeToken token) {
    return token.sequence % static_cast<std::uint32_t>(PathMtuProber::flights_max);
}

}  // namespace

std::uint32_t largest_answered(const std::vector<MtuTrial>& trials) {
    std::uint32_t largest = 0;
    for (const MtuTrial& trial : trials) {
        largest = std::max(largest, trial.answered > 0 ? trial.bytes : 0);
    }
    return largest;
}

void MtuTrace::on_sent(const MtuOrder& order) {
    out_.erase(slot_of(order.token));
    if (order.packet.form != MtuForm::echo) {
        return;
    }
    auto known = std::find_if(trials_.begin(), trials_.end(), [&](const MtuTrial& trial) {
        return trial.bytes == order.packet.bytes;
    });
    if (known == trials_.end()) {
        if (trials_.size() == trials_max) {
            return;
        }
        known = trials_.insert(trials_.end(), MtuTrial{.bytes = order.packet.bytes});
    }
    ++known->sent;
    out_[slot_of(order.token)] = static_cast<std::size_t>(known - trials_.begin());
}

void MtuTrace::on_answered(ProbeToken token, std::uint32_t fragment) {
    if (MtuTrial* trial = trial_of(token)) {
        ++trial->answered;
        trial->fragment = std::max(trial->fragment, fragment);
    }
}

void MtuTrace::on_too_big(ProbeToken token, const IpAddress& reporter, std::uint32_t mtu) {
    MtuTrial* const trial = trial_of(token);
    if (trial == nullptr) {
        return;
    }
    trial->too_big = true;
    trial->reporter = reporter;
    trial->reported = mtu;
}

/// Each packet has one end.
MtuTrial* MtuTrace::trial_of(ProbeToken token) {
    const auto found = out_.find(slot_of(token));
    if (found == out_.end()) {
        return nullptr;
    }
    MtuTrial* const trial = &trials_[found->second];
    out_.erase(found);
    return trial;
}

}  // namespace reachd::ctl
