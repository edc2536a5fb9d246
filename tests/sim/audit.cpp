#include "tests/sim/audit.hpp"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include <fmt/format.h>

namespace reachd::sim {
namespace {

/// The public interface: down 1 s after the first unanswered probe timed out, up 1 s after the
/// first answer.
constexpr Duration verdict_time = 1s;
/// What a slow round trip may add: the verdict waits for 4 smoothed ones.
constexpr int round_trips_waited = 4;
constexpr Duration verdict_margin = 100ms;

/// A loop that is later than this is in trouble; the rest is every day's noise.
constexpr Duration lag_noise = 30ms;

/// The last probe of a burst has this long to be answered before the verdict.
constexpr Duration burst_patience =
    ProbeEngine::verdict_delay - ProbeEngine::burst_size * ProbeEngine::burst_spacing;

/// A probe may get its time-out again this often; see ProbeEngine.
constexpr int lives_max = 3;

constexpr int turns_at_once_max = 10;

bool any_fell(const LinkCounters& was, const LinkCounters& is) {
    return is.receive_errors < was.receive_errors || is.transmit_errors < was.transmit_errors ||
           is.receive_drops < was.receive_drops || is.transmit_drops < was.transmit_drops;
}

}  // namespace

void Audit::fail(const std::string& what, MonoTime now) {
    if (broken_.size() < broken_max) {
        broken_.push_back(fmt::format("{:.6f} s: {}", to_seconds(now - start_), what));
    }
}

Audit::Truth& Audit::truth(std::size_t host) {
    if (host >= truths_.size()) {
        Truth unknown;
        unknown.options = default_options_;
        truths_.resize(host + 1, unknown);
    }
    return truths_[host];
}

// --- What the world knows ------------------------------------------------------------------------

void Audit::set_options(std::size_t host, const IcmpOptions& options, bool exact) {
    truth(host).options = options;
    truth(host).configured = true;
    truth(host).exact = exact && truth(host).restarted == MonoTime{};
}

void Audit::set_default_options(const IcmpOptions& options) {
    default_options_ = options;
    for (Truth& each : truths_) {
        if (!each.configured) {
            each.options = options;
        }
    }
}

void Audit::note_restart(std::size_t host, MonoTime now) {
    truth(host).restarted = now;
    truth(host).exact = false;
    sessions_restarted_ = true;
}

void Audit::note_restarts(MonoTime now) {
    for (std::size_t host = 0; host < truths_.size(); ++host) {
        note_restart(host, now);
    }
    known_.clear();
    sessions_restarted_ = true;
}

Duration Audit::verdict_slack(const Truth& what) const {
    return std::max(verdict_time, round_trips_waited * what.rtt_max + verdict_margin) +
           lives_max * lag_max_;
}

void Audit::note_sent(std::size_t host,
                      const SendOrder& order,
                      std::optional<Duration> answer_after,
                      MonoTime now) {
    Truth& what = truth(host);
    if (!order.repeated) {
        what.sends[what.sent % sends_remembered] = now;
        ++what.sent;
    }
    if (answer_after && *answer_after <= what.options.timeout) {
        what.rtt_max = std::max(what.rtt_max, *answer_after);
        // In time, and yet too slow to change a verdict.
        what.failures_since_answer += order.in_burst && *answer_after > burst_patience ? 1U : 0U;
        return;
    }
    ++what.failed;
    ++what.failures_since_answer;
    what.last_failure = now;
    const bool surely_late = !answer_after || *answer_after > what.options.timeout + lag_noise;
    if (!order.in_burst && !order.repeated && surely_late) {
        expect_down(host, now, now + what.options.timeout);
    }
}

void Audit::note_not_sent(std::size_t host,
                          const SendOrder& order,
                          FailureReason why,
                          MonoTime now) {
    Truth& what = truth(host);
    what.reasons[static_cast<std::size_t>(why)] = true;
    if (order.repeated) {
        return;
    }
    ++what.failures_since_answer;
    what.last_failure = now;
    if (!order.in_burst) {
        expect_down(host, now, now);
    }
}

void Audit::note_skipped(MonoTime now) {
    note_trouble(now);
}

void Audit::note_dropped(std::size_t host, MonoTime now) {
    Truth& what = truth(host);
    ++what.failed;
    ++what.failures_since_answer;
    what.last_failure = now;
    note_trouble(now);
}

void Audit::note_answer(std::size_t host,
                        std::uint16_t sequence,
                        MonoTime sent,
                        MonoTime arrived,
                        bool sure,
                        MonoTime now) {
    Truth& what = truth(host);
    const bool surely_late =
        arrived - sent > what.options.timeout + lag_noise && last_trouble_ < sent;
    if (!surely_late) {
        ++what.answers;
        what.last_answer_read = now;
        what.rtt_max = std::max(what.rtt_max, now - sent);
    }
    if (!sure) {
        ++what.failed;
        ++what.failures_since_answer;
        what.last_failure = now;
        return;
    }
    const bool is_copy =
        std::exchange(what.answered[sequence % sends_remembered], sequence + 1U) == sequence + 1U;
    if (is_copy) {
        return;  // it was on its way when the peer may have been gone already
    }
    what.last_sure_answer = arrived;
    what.failures_since_answer = 0;
    if (what.up == false) {
        expect_up(host, now);
    }
}

void Audit::note_error(std::size_t host, FailureReason reason) {
    Truth& what = truth(host);
    what.reasons[static_cast<std::size_t>(reason)] = true;
    if (reason == FailureReason::host_unreachable) {
        what.reasons[static_cast<std::size_t>(FailureReason::neighbour_failed)] = true;
    }
}

void Audit::note_lag(Duration lag, MonoTime now) {
    if (lag > lag_noise) {
        note_trouble(now);
    } else {
        lag_max_ = std::max(lag_max_, lag);
    }
}

// --- Verdicts in time ----------------------------------------------------------------------------

void Audit::expect_down(std::size_t host, MonoTime since, MonoTime timed_out) {
    checks_.push_back({timed_out, since, timed_out - lag_noise, host, false});
}

void Audit::expect_up(std::size_t host, MonoTime since) {
    checks_.push_back({since, since, since, host, true});
}

/// Whether something has happened since that makes another verdict right.
bool Audit::is_excused(const Check& check) {
    const Truth& what = truth(check.host);
    if (last_trouble_ >= check.since || what.restarted >= check.since ||
        what.excused_until >= check.since) {
        return true;
    }
    return check.up ? what.last_failure >= check.since : what.last_answer_read >= check.timed_out;
}

/// Those due before this turn are judged by the state before it.
void Audit::run_checks(const Agent& agent, const Instant& now) {
    for (std::size_t i = 0; i < checks_.size();) {
        const MonoTime at = checks_[i].from + verdict_slack(truth(checks_[i].host));
        if (at >= now.mono) {
            ++i;
            continue;
        }
        const Check check = checks_[i];
        checks_[i] = checks_.back();
        checks_.pop_back();
        if (truth(check.host).up == check.up || is_excused(check)) {
            continue;
        }
        // Still the same peer as then? Gateways come and go, names change their address.
        const Snapshot snapshot = agent.snapshot(now);
        for (const PeerSnapshot& peer : snapshot.peers) {
            const Known* known = find_known(peer.identity.get(), 0);
            if (known != nullptr && known->host == check.host && known->probed &&
                known->born <= check.since) {
                fail(fmt::format("{} not {} by {:.6f} s, though so since {:.6f} s",
                                 name(*known),
                                 check.up ? "up" : "down",
                                 to_seconds(at - start_),
                                 to_seconds(check.since - start_)),
                     now.mono);
            }
        }
    }
}

void Audit::check_deadline(const Agent& agent, MonoTime now) {
    turns_at_once_ = now == last_turn_ ? turns_at_once_ + 1 : 0;
    last_turn_ = now;
    if (turns_at_once_ == turns_at_once_max) {
        fail(fmt::format("the loop spins: {:.6f} s is due",
                         to_seconds(agent.next_deadline() - start_)),
             now);
    }
    Duration interval_min = Duration::max();
    for (const Known& known : known_) {
        if (known.probed && known.host && truth(*known.host).exact) {
            interval_min = std::min(interval_min, truth(*known.host).options.interval);
        }
    }
    const MonoTime deadline = agent.next_deadline();
    if (interval_min != Duration::max() && last_trouble_ + interval_min < now &&
        (deadline == mono_never || deadline - now > interval_min + TimerWheel::tick)) {
        fail("asleep for longer than the shortest interval", now);
    }
}

void Audit::turn_done(const Agent& agent, const Instant& now) {
    run_checks(agent, now);
    if (agent.verdicts() != verdicts_seen_) {
        verdicts_seen_ = agent.verdicts();
        look(agent, agent.snapshot(now), now);
    }
    check_deadline(agent, now.mono);
}

// --- Looks ---------------------------------------------------------------------------------------

std::string Audit::name(const Known& known) const {
    return fmt::format("{} ({})", known.identity->name(), known.identity->address());
}

/// Peers keep their order, mostly.
Audit::Known* Audit::find_known(const PeerIdentity* identity, std::size_t hint) {
    if (hint < known_.size() && known_[hint].identity.get() == identity) {
        return &known_[hint];
    }
    for (Known& known : known_) {
        if (known.identity.get() == identity) {
            return &known;
        }
    }
    return nullptr;
}

/// A peer whose labels alone have changed: another identity, the same probes.
const Audit::Known* Audit::find_relabelled(const Known& fresh) const {
    for (const Known& known : known_) {
        if (known.identity->label_text() == fresh.identity->label_text() &&
            known.counters.sent <= fresh.counters.sent) {
            return &known;
        }
    }
    return nullptr;
}

std::optional<std::size_t> Audit::host_of(const Agent& agent, const PeerIdentity& identity) {
    const std::string text = identity.address();
    const auto zone = text.find('%');
    auto address = IpAddress::parse(text.substr(0, zone));
    if (!address) {
        return std::nullopt;
    }
    if (address->is_link_local_v6() && (zone == std::string::npos || !zones_hold_)) {
        return std::nullopt;
    }
    if (zone != std::string::npos) {
        address->set_scope(agent.topology().index_of(text.substr(zone + 1)).value_or(IfIndex::any));
    }
    return network_.index_of(*address);
}

void Audit::collect(const Agent& agent, const Snapshot& snapshot, MonoTime now) {
    fresh_.clear();
    for (std::size_t i = 0; i < snapshot.peers.size(); ++i) {
        const PeerSnapshot& peer = snapshot.peers[i];
        const Known* before = find_known(peer.identity.get(), i);
        Known& fresh = fresh_.emplace_back();
        fresh.identity = peer.identity;
        fresh.up = peer.up;
        fresh.state_changes = peer.state_changes;
        const bool is_guest = peer.identity->kind() == PeerKind::guest;  // see GuestAudit
        fresh.host = before != nullptr ? before->host
                     : is_guest        ? std::nullopt
                                       : host_of(agent, *peer.identity);
        fresh.born = before != nullptr ? before->born : now;
    }
    const std::size_t columns = snapshot.rtt_edges->size() + 1;
    for (std::size_t i = 0; i < snapshot.probes.size(); ++i) {
        const ProbeSnapshot& probe = snapshot.probes[i];
        Known& fresh = fresh_[probe.peer];
        if (fresh.identity->kind() == PeerKind::guest) {
            continue;
        }
        fresh.probed = true;
        fresh.counters = probe.counters;
        const auto row = snapshot.rtt_buckets.begin() + static_cast<std::ptrdiff_t>(i * columns);
        fresh.samples =
            std::accumulate(row, row + static_cast<std::ptrdiff_t>(columns), std::uint64_t{0});
    }
    for (const FailureCount& failure : snapshot.failures) {
        Known& fresh = fresh_[snapshot.probes[failure.probe].peer];
        fresh.failures[static_cast<std::size_t>(failure.reason)] = failure.count;
    }
}

void Audit::look(const Agent& agent, const Snapshot& snapshot, const Instant& now) {
    ++looks_;
    collect(agent, snapshot, now.mono);
    std::size_t still_here = 0;
    for (std::size_t i = 0; i < fresh_.size(); ++i) {
        const Known* before = find_known(fresh_[i].identity.get(), i);
        if (before != nullptr) {
            ++still_here;
        } else {
            look_at_name(fresh_[i], now.mono);
        }
        look_at_verdict(fresh_[i], before, now.mono);
        if (fresh_[i].probed) {
            look_at_probe(fresh_[i], before, now.mono);
            look_at_accounting(fresh_[i], now.mono);
            look_at_in_flight(fresh_[i], now.mono);
        }
    }
    sessions_restarted_ = sessions_restarted_ || still_here < known_.size();
    std::swap(known_, fresh_);
    look_at_totals(snapshot, now.mono);
    look_at_host_rtt(snapshot, now.mono);
    look_at_link_counters(snapshot, now.mono);
    look_at_samples(snapshot, now.mono);
    look_at_path_mtus(snapshot, now.mono);
}

/// A verdict and its sizes never contradict each other.
void Audit::look_at_path_mtus(const Snapshot& snapshot, MonoTime now) {
    for (const PathMtuSnapshot& path : snapshot.path_mtus) {
        const PathMtu& mtu = path.mtu;
        const bool fits = mtu.verdict == MtuVerdict::undetermined ? mtu.bytes == 0
                          : mtu.verdict == MtuVerdict::ok         ? mtu.bytes == mtu.expected
                                                                  : mtu.bytes < mtu.expected;
        if (!fits || mtu.expected == 0) {
            fail(fmt::format("path MTU to {}: {}, {} of {} bytes",
                             snapshot.peers[path.peer].identity->name(),
                             to_text(mtu.verdict),
                             mtu.bytes,
                             mtu.expected),
                 now);
        }
    }
}

/// No two peers have the same labels.
void Audit::look_at_name(const Known& fresh, MonoTime now) {
    const auto alike = std::count_if(fresh_.begin(), fresh_.end(), [&fresh](const Known& other) {
        return other.identity->label_text() == fresh.identity->label_text();
    });
    if (alike > 1) {
        fail(fmt::format("{} series of {}", alike, name(fresh)), now);
    }
}

void Audit::look_at_verdict(Known& fresh, const Known* before, MonoTime now) {
    const bool fresh_identity = before == nullptr;
    if (fresh_identity) {
        before = find_relabelled(fresh);
    }
    const bool same = before != nullptr ? fresh.up == before->up : !fresh.up.has_value();
    if (fresh.host) {
        truth(*fresh.host).up = fresh.up;
    }
    if (same) {
        return;
    }
    if (!fresh.up) {
        if (fresh.host && !fresh_identity && truth(*fresh.host).restarted < before->born) {
            fail(name(fresh) + " has forgotten its verdict", now);
        }
        return;
    }
    verdicts_.push_back(
        {fresh.identity->name(), fresh.identity->address(), *fresh.up, now - start_});
    if (!fresh.host) {
        if (fresh.identity->address().empty()) {
            fail(name(fresh) + " has a verdict and no address", now);
        }
        return;
    }
    const Truth& what = truth(*fresh.host);
    if (*fresh.up && what.last_answer_read != now) {
        fail(name(fresh) + " is up without an answer", now);
    }
    if (*fresh.up) {
        return;
    }
    if (what.last_sure_answer > now - ProbeEngine::verdict_delay) {
        fail(fmt::format("{} is down, though it answered at {:.6f} s",
                         name(fresh),
                         to_seconds(what.last_sure_answer - start_)),
             now);
    }
    if (what.failures_since_answer < ProbeEngine::burst_size && what.excused_until < now) {
        fail(fmt::format("{} is down after {} failures", name(fresh), what.failures_since_answer),
             now);
    }
}

void Audit::look_at_probe(const Known& fresh, const Known* before, MonoTime now) {
    std::uint64_t losses = 0;
    for (std::size_t i = 0; i < failure_reason_count; ++i) {
        losses += is_loss(static_cast<FailureReason>(i)) ? fresh.failures[i] : 0;
    }
    if (losses != fresh.counters.lost) {
        fail(fmt::format("{}: {} lost, {} by reason", name(fresh), fresh.counters.lost, losses),
             now);
    }
    if (before == nullptr) {
        return;
    }
    const ProbeCounters& is = fresh.counters;
    const ProbeCounters& was = before->counters;
    bool fell = is.sent < was.sent || is.received < was.received || is.lost < was.lost ||
                is.late < was.late || is.duplicates < was.duplicates ||
                is.reordered < was.reordered || fresh.samples < before->samples ||
                fresh.state_changes < before->state_changes;
    for (std::size_t i = 0; i < failure_reason_count; ++i) {
        fell = fell || fresh.failures[i] < before->failures[i];
    }
    if (fell) {
        fail(name(fresh) + ": a counter fell", now);
    }
}

void Audit::look_at_accounting(const Known& fresh, MonoTime now) {
    const ProbeCounters& is = fresh.counters;
    if (is.received + is.lost > is.sent || fresh.samples > is.received) {
        fail(fmt::format("{}: {} sent, {} received, {} lost, {} samples",
                         name(fresh),
                         is.sent,
                         is.received,
                         is.lost,
                         fresh.samples),
             now);
        return;
    }
    if (!fresh.host) {
        return;
    }
    const Truth& what = truth(*fresh.host);
    if (what.exact ? is.sent != what.sent : is.sent > what.sent) {
        fail(fmt::format("{}: {} sent, the kernel took {}", name(fresh), is.sent, what.sent), now);
    }
    if (is.lost > what.failed) {
        fail(fmt::format("{}: {} lost, {} failed", name(fresh), is.lost, what.failed), now);
    }
    if (is.received > what.answers) {
        fail(fmt::format("{}: {} received, {} answered", name(fresh), is.received, what.answers),
             now);
    }
    for (std::size_t i = 0; i < failure_reason_count; ++i) {
        const auto reason = static_cast<FailureReason>(i);
        const bool ours = reason == FailureReason::timeout || reason == FailureReason::unresolved ||
                          reason == FailureReason::local_error;
        if (fresh.failures[i] > 0 && !what.reasons[i] && !ours) {
            fail(fmt::format("{}: nobody said {}", name(fresh), to_text(reason)), now);
        }
    }
}

/// No more than what was asked within the life of a probe.
void Audit::look_at_in_flight(const Known& fresh, MonoTime now) {
    if (!fresh.host || !truth(*fresh.host).exact) {
        return;
    }
    const ProbeCounters& is = fresh.counters;
    const Truth& what = truth(*fresh.host);
    const Duration life = what.options.timeout + 2 * TimerWheel::tick + lives_max * lag_max_;
    if (last_trouble_ + lives_max * life > now) {
        return;
    }
    const auto lately = static_cast<std::uint64_t>(std::count_if(
        what.sends.begin(), what.sends.end(), [&](MonoTime sent) { return sent + life > now; }));
    if (lately < sends_remembered && is.sent - is.received - is.lost > lately) {
        fail(fmt::format("{}: {} in flight, {} sent lately",
                         name(fresh),
                         is.sent - is.received - is.lost,
                         lately),
             now);
    }
}

void Audit::look_at_totals(const Snapshot& snapshot, MonoTime now) {
    auto& totals = fresh_totals_;
    totals.clear();
    const auto add_all = [&totals](const auto& counts) {
        totals.insert(totals.end(), counts.begin(), counts.end());
    };
    add_all(snapshot.skipped);
    add_all(snapshot.discarded[0]);
    add_all(snapshot.user_stamped);
    add_all(snapshot.probe_delay.counts);
    std::uint64_t ignored = 0;
    for (const NamedCount& count : snapshot.packets_ignored) {
        totals.push_back(count.count);
        ignored += count.count;
    }
    totals.push_back(snapshot.netlink.overruns);
    totals.push_back(snapshot.netlink.resyncs);
    for (const NamedCount& count : snapshot.netlink.messages) {
        totals.push_back(count.count);
    }
    for (const NamedCount& count : snapshot.netlink.ignored) {
        totals.push_back(count.count);
    }
    for (const NamedCount& count : snapshot.discovery_errors) {
        totals.push_back(count.count);
    }
    if (!totals_.empty() && totals.size() != totals_.size()) {
        fail(fmt::format("{} totals became {}", totals_.size(), totals.size()), now);
    }
    for (std::size_t i = 0; i < std::min(totals.size(), totals_.size()); ++i) {
        if (totals[i] < totals_[i]) {
            fail(fmt::format("total {} fell from {} to {}", i, totals_[i], totals[i]), now);
        }
    }
    std::swap(totals_, fresh_totals_);
    if (snapshot.netlink.overruns != overruns_told_) {
        fail(fmt::format("{} overruns, {} counted", overruns_told_, snapshot.netlink.overruns),
             now);
    }
    if (sessions_restarted_ ? ignored < forged_ : ignored != forged_) {
        fail(fmt::format("{} packets forged, {} ignored", forged_, ignored), now);
    }
}

/// Kinds appear with their first peer, and stay.
void Audit::look_at_host_rtt(const Snapshot& snapshot, MonoTime now) {
    for (const HostRttSnapshot& fresh : snapshot.host_rtt) {
        const std::vector<std::uint64_t>& counts = fresh.rtt.counts;
        auto& known = host_rtt_.try_emplace({fresh.probe, fresh.kind}, counts).first->second;
        const bool rose = std::equal(
            counts.begin(), counts.end(), known.begin(), known.end(), std::greater_equal<>{});
        if (!rose) {
            fail(fmt::format("round trips of {} to {} peers fell",
                             to_text(fresh.probe),
                             to_text(fresh.kind)),
                 now);
        }
        known = counts;
    }
    if (snapshot.host_rtt.size() != host_rtt_.size()) {
        fail(fmt::format(
                 "round trips of {} kinds, {} before", snapshot.host_rtt.size(), host_rtt_.size()),
             now);
    }
}

/// The kernel gives indexes out again, but no link gets the generation of another.
void Audit::look_at_link_counters(const Snapshot& snapshot, MonoTime now) {
    const auto& links = snapshot.topology->links;
    if (snapshot.link_counters.size() != links.size()) {
        fail(fmt::format("{} links, counters of {}", links.size(), snapshot.link_counters.size()),
             now);
        return;
    }
    for (std::size_t i = 0; i < links.size(); ++i) {
        const Link& link = *links[i];
        const std::optional<LinkCounters>& is = snapshot.link_counters[i];
        std::optional<LinkCounters>& was = link_counters_[{link.index, link.generation}];
        if (was && (!is || any_fell(*was, *is))) {
            fail(fmt::format("a counter of link {} ({}) {}",
                             static_cast<unsigned>(link.index),
                             link.name,
                             is ? "fell" : "is forgotten"),
                 now);
        }
        was = is;
    }
}

/// Every answer is a sample, discarded, or still waits for its transmit stamp.
void Audit::look_at_samples(const Snapshot& snapshot, MonoTime now) {
    if (sessions_restarted_) {
        return;
    }
    std::uint64_t received = 0;
    std::uint64_t sampled = std::accumulate(
        snapshot.discarded[0].begin(), snapshot.discarded[0].end(), std::uint64_t{0});
    Duration timeout_max{};
    for (const Known& known : known_) {
        received += known.counters.received;
        sampled += known.samples;
        timeout_max =
            known.host ? std::max(timeout_max, truth(*known.host).options.timeout) : timeout_max;
    }
    const bool may_wait = last_missing_stamp_ + lives_max * (timeout_max + lag_noise) > now ||
                          last_trouble_ + lives_max * timeout_max > now;
    if (received < sampled || (received > sampled && !may_wait)) {
        fail(fmt::format("{} received, {} sampled or discarded", received, sampled), now);
    }
}

void Audit::expect_all_up(const Snapshot& snapshot) {
    for (const PeerSnapshot& peer : snapshot.peers) {
        const bool probed =
            peer.identity->kind() != PeerKind::guest &&
            std::any_of(snapshot.probes.begin(), snapshot.probes.end(), [&](const auto& probe) {
                return &snapshot.peers[probe.peer] == &peer;
            });
        if (probed && peer.up != true) {
            fail(fmt::format("{} ({}) is not up in a healthy world",
                             peer.identity->name(),
                             peer.identity->address()),
                 snapshot.taken.mono);
        }
    }
}

}  // namespace reachd::sim
