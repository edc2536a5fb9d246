#include "probes/probe_engine.hpp"

#include <algorithm>

#include "common/even_spread.hpp"
#include "common/prefetch.hpp"

namespace reachd {
namespace {

/// A wall clock may run this much faster or slower than the monotonic one without having stepped:
/// NTP slews by up to 500 ppm, and reading two clocks takes a moment.
constexpr Duration clock_noise = std::chrono::microseconds(100);
constexpr int clock_slew_divisor = 1000;

/// How long a probe over the rate limit may wait for its turn before it is skipped.
constexpr Duration pacing_patience = std::chrono::milliseconds(100);

/// First probes that go at once: one in this time each, and no longer a queue than that. The others
/// of a crowd are spread over their interval.
constexpr Duration prompt_spacing = std::chrono::milliseconds(5);
constexpr Duration prompt_patience = std::chrono::milliseconds(100);

}  // namespace

ProbeEngine::ProbeEngine(const EngineOptions& options, Random& random, MonoTime start)
    : random_(random),
      edges_(options.rtt_edges),
      session_wheel_(start),
      flight_wheel_(start),
      totals_(options.host_rtt_edges),
      pace_(options.probes_per_second, start) {}

void ProbeEngine::reserve(std::size_t sessions) {
    sessions_.reserve(sessions);
    buckets_.reserve(sessions * edges_.bucket_count());
    session_wheel_.reserve(sessions);
}

void ProbeEngine::set_probes_per_second(std::uint32_t limit) {
    pace_.set_probes_per_second(limit);
}

void ProbeEngine::set_rtt_edges(std::vector<double> edges_in_seconds) {
    ENSURE(free_sessions_.size() == sessions_.size());
    edges_ = HistogramEdges(std::move(edges_in_seconds));
    buckets_.assign(sessions_.size() * edges_.bucket_count(), 0);
}

std::uint32_t ProbeEngine::open(const SessionOptions& options, MonoTime now) {
    ENSURE(options.interval >= TimerWheel::tick && options.timeout > Duration::zero());
    std::uint32_t id = 0;
    if (free_sessions_.empty()) {
        id = static_cast<std::uint32_t>(sessions_.size());
        sessions_.emplace_back();
        buckets_.resize(buckets_.size() + edges_.bucket_count());
    } else {
        id = free_sessions_.back();
        free_sessions_.pop_back();
    }
    Session& session = sessions_[id];
    session.open = true;
    session.kind = options.kind;
    session.peer_kind = options.peer_kind;
    session.interval = std::chrono::duration_cast<Microseconds>(options.interval);
    session.timeout = std::chrono::duration_cast<Microseconds>(options.timeout);
    // Not to be guessed by whoever forges ICMP errors that quote nothing but a header.
    session.sequence = static_cast<std::uint32_t>(random_.next());
    session.highest_answered = session.sequence;
    session.next_due = session_wheel_.round_up(first_due(options, now));
    totals_.on_opened(options.kind, options.peer_kind);
    schedule_session(id);
    return id;
}

MonoTime ProbeEngine::first_due(const SessionOptions& options, MonoTime now) {
    const double phase = even_spread(opened_++);
    const auto spread =
        Duration(static_cast<Duration::rep>(phase * static_cast<double>(options.interval.count())));
    if (options.peer_kind == PeerKind::host) {
        return now + spread;
    }
    const MonoTime prompt = std::max(now, prompt_free_);
    if (prompt - now > std::min(spread, prompt_patience)) {
        return now + spread;
    }
    prompt_free_ = prompt + prompt_spacing;
    return prompt;
}

void ProbeEngine::close(std::uint32_t id) {
    Session& session = sessions_[id];
    ENSURE(session.open);
    while (session.first_in_flight != none) {
        if (session.kind == ProbeKind::tcp) {
            abandoned_.push_back({id, flights_[session.first_in_flight].sequence});
        }
        remove_flight(session.first_in_flight);
    }
    session_wheel_.cancel(id);
    const std::uint32_t generation = session.generation + 1;
    session = Session{};
    session.generation = generation;
    const auto row = static_cast<std::ptrdiff_t>(id * edges_.bucket_count());
    std::fill_n(buckets_.begin() + row, edges_.bucket_count(), 0U);
    std::erase(changed_, id);
    free_sessions_.push_back(id);
}

void ProbeEngine::set_times(std::uint32_t id, Duration interval, Duration timeout, MonoTime now) {
    ENSURE(interval >= TimerWheel::tick && timeout > Duration::zero());
    Session& session = sessions_[id];
    session.interval = std::chrono::duration_cast<Microseconds>(interval);
    session.timeout = std::chrono::duration_cast<Microseconds>(timeout);
    session.next_due = std::min(session.next_due, session_wheel_.round_up(now + interval));
    schedule_session(id);
}

bool ProbeEngine::prefetch_session(std::uint32_t id) const {
    if (id >= sessions_.size()) {
        return false;
    }
    prefetch(sessions_[id]);
    prefetch(buckets_[id * edges_.bucket_count()]);
    return true;
}

SessionOptions ProbeEngine::options(std::uint32_t id) const {
    const Session& session = sessions_[id];
    return {session.kind, session.peer_kind, session.interval, session.timeout};
}

// ---- Time

void ProbeEngine::observe(const Instant& now) {
    if (last_observed_) {
        const Duration elapsed = now.mono - last_observed_->mono;
        const Duration drift = (now.wall - last_observed_->wall) - elapsed;
        if (std::chrono::abs(drift) > clock_noise + elapsed / clock_slew_divisor) {
            ++clock_epoch_;
        }
    }
    last_observed_ = now;
    const MonoTime deadline = next_deadline();
    if (deadline != mono_never && now.mono > deadline + stall_threshold) {
        for (Epochs& epochs : epochs_) {
            ++epochs.stall;
        }
    }
}

void ProbeEngine::on_receive_overflow(ProbeKind kind) {
    Epochs& epochs = epochs_[static_cast<std::size_t>(kind)];
    epochs.repeat = ++epochs.stall;
}

void ProbeEngine::on_receive_overflow_of(std::uint32_t id) {
    Session& session = sessions_[id];
    for (std::uint32_t i = session.first_in_flight; i != none; i = flights_[i].next) {
        flights_[i].stall_epoch = epochs_of(session).repeat - 1;
    }
    session.burst_epoch = epochs_of(session).repeat - 1;
}

MonoTime ProbeEngine::next_deadline() const {
    return std::min(session_wheel_.next_deadline(), flight_wheel_.next_deadline());
}

void ProbeEngine::poll(const Instant& now, std::vector<SendOrder>& orders) {
    const MonoTime deadline = next_deadline();
    if (now.mono < deadline) {
        return;
    }
    pace_.on_wake_up(now.mono, now.mono - deadline);
    expire_flights(now, orders);
    auto& due = session_wheel_.take_due(now.mono);
    for (std::size_t i = 0; i < due.size(); ++i) {
        const std::size_t left = due.size() - i;
        if (!pace_.has_for(left)) {
            // Not enough for all: by lot, or the same ones would come too late in every interval.
            std::swap(due[i], due[i + random_.below(static_cast<std::uint32_t>(left))]);
        }
        if (i + prefetch_distance < due.size()) {
            prefetch(sessions_[due[i + prefetch_distance]]);
        }
        run_session(due[i], now, orders);
    }
}

// ---- Sending

void ProbeEngine::schedule_session(std::uint32_t id) {
    const Session& session = sessions_[id];
    session_wheel_.schedule(id,
                            std::min({session.next_due, session.burst_due, session.verdict_due}));
}

void ProbeEngine::run_session(std::uint32_t id,
                              const Instant& now,
                              std::vector<SendOrder>& orders) {
    Session& session = sessions_[id];
    if (session.verdict_due <= now.mono) {
        // No verdict before the peer was really asked and had its time.
        if (session.burst_left > 0) {
            session.verdict_due = now.mono + verdict_wait(session);  // the rate limit holds it back
        } else if (!begin_burst_anew(session, now.mono)) {
            judge(id, ReachabilityMachine::Event::verdict_due, now.mono);
        }
    }
    if (session.burst_due <= now.mono) {
        order_burst(id, now.mono, orders);
    }
    if (session.next_due <= now.mono) {
        order_scheduled(id, now.mono, orders);
    }
    schedule_session(id);
}

bool ProbeEngine::has_room(const Session& session, std::size_t ordered) const {
    return session.in_flight < in_flight_per_session_max &&
           flights_.size() - flights_free_ + ordered < in_flight_max;
}

void ProbeEngine::give_order(std::uint32_t id,
                             MonoTime due,
                             bool in_burst,
                             std::vector<SendOrder>& orders) {
    Session& session = sessions_[id];
    orders.push_back({{id, session.sequence}, due, in_burst, false});
    ++session.sequence;
    session.answered_bits <<= 1U;
}

Duration ProbeEngine::verdict_wait(const Session& session) {
    return std::max(verdict_delay, 4 * session.smoothed_rtt);
}

void ProbeEngine::begin_burst(Session& session, MonoTime now) {
    session.burst_left = burst_size;
    session.burst_epoch = epochs_of(session).stall;
    session.burst_due = now;
    session.verdict_due = now + verdict_wait(session);
}

/// If we stood still, or dropped answers ourselves, since the burst began, its silence proves
/// nothing: the peer is asked once more.
bool ProbeEngine::begin_burst_anew(Session& session, MonoTime now) {
    if (session.burst_epoch == epochs_of(session).stall ||
        session.burst_chances == second_chances_max) {
        return false;
    }
    ++session.burst_chances;
    begin_burst(session, now);
    return true;
}

void ProbeEngine::confirm_anew(std::uint32_t id, MonoTime now) {
    if (sessions_[id].verdict_due != mono_never) {
        begin_burst(sessions_[id], now);
        schedule_session(id);
    }
}

void ProbeEngine::order_burst(std::uint32_t id, MonoTime now, std::vector<SendOrder>& orders) {
    Session& session = sessions_[id];
    if (!has_room(session, orders.size()) || !pace_.take()) {
        session.burst_due = now + TimerWheel::tick;
        return;
    }
    give_order(id, session.burst_due, true, orders);
    --session.burst_left;
    if (session.burst_left > 0) {
        // A late probe does not draw the next one nearer.
        session.burst_due = std::max(session.burst_due, now - TimerWheel::tick) + burst_spacing;
        return;
    }
    session.burst_due = mono_never;
    // However late the last one went out, it has as long as ever to be answered.
    const Duration left = verdict_wait(session) - (burst_size - 1) * burst_spacing;
    session.verdict_due = std::max(session.verdict_due, now + left);
}

/// Probes that should have gone out in the past are not caught up with; within a tick is as
/// punctual as the wheel can be.
void ProbeEngine::skip_missed(Session& session, MonoTime now, SkipReason reason) {
    const Duration late = now - session.next_due - TimerWheel::tick;
    if (late < Duration::zero()) {
        return;
    }
    const auto missed = late / session.interval + 1;
    session.next_due += session.interval * missed;
    totals_.on_skipped(reason, static_cast<std::uint64_t>(missed));
}

void ProbeEngine::order_scheduled(std::uint32_t id, MonoTime now, std::vector<SendOrder>& orders) {
    Session& session = sessions_[id];
    const MonoTime due = session.next_due;
    const Duration late = now - due;
    if (late >= stall_threshold) {
        skip_missed(session, now, SkipReason::throttle);
        return;
    }
    const auto skip = [&](SkipReason reason) {
        totals_.on_skipped(reason);
        session.next_due += session.interval;
        skip_missed(session, now, reason);
    };
    if (!has_room(session, orders.size())) {
        return skip(SkipReason::busy);
    }
    if (!pace_.take()) {
        return late < pacing_patience ? void() : skip(SkipReason::rate_limit);
    }
    // Only now: a probe that waits for its turn shall not draw this lot at every tick.
    constexpr std::uint32_t full_scale = 1'000'000;
    const double ratio = pace_.throttle_ratio();
    if (ratio < 1.0 && random_.below(full_scale) >= ratio * full_scale) {
        pace_.give_back();
        return skip(SkipReason::throttle);
    }
    give_order(id, due, false, orders);
    session.next_due += session.interval;
    // What is later than the whole loop has waited for its turn under the rate limit.
    const bool paced = late > pace_.lag() + TimerWheel::tick;
    skip_missed(session, now, paced ? SkipReason::rate_limit : SkipReason::throttle);
}

// ---- Verdicts

/// Both machines hear of each answer and each silence; one burst serves both, and ends when neither
/// has anything left to confirm.
void ProbeEngine::judge(std::uint32_t id,
                        std::optional<ReachabilityMachine::Event> event,
                        ReachabilityMachine::Event reach_event,
                        MonoTime now) {
    using Action = ReachabilityMachine::Action;
    Session& session = sessions_[id];
    const auto before = std::pair(session.machine, session.reach);
    const Action action = event ? session.machine.handle(*event) : Action::none;
    const Action reach_action = session.reach.handle(reach_event);
    if (before != std::pair(session.machine, session.reach) && !session.changed) {
        session.changed = true;
        changed_.push_back(id);
    }
    if (action == Action::begin_burst || reach_action == Action::begin_burst) {
        session.burst_chances = 0;
        begin_burst(session, now);
    } else if (session.verdict_due == mono_never) {
        return;
    } else if (!session.machine.is_confirming() && !session.reach.is_confirming()) {
        session.burst_left = 0;
        session.burst_due = mono_never;
        session.verdict_due = mono_never;
    } else if (event != ReachabilityMachine::Event::no_answer || !begin_burst_anew(session, now)) {
        // A probe asked since our own trouble is lost too: its burst need not be waited for.
        return;
    }
    schedule_session(id);
}

void ProbeEngine::suspect(std::uint32_t id, MonoTime now) {
    const bool told = sessions_[id].changed;
    judge(id, ReachabilityMachine::Event::no_answer, now);
    if (!told && std::exchange(sessions_[id].changed, false)) {
        changed_.pop_back();
    }
}

std::vector<std::uint32_t> ProbeEngine::take_changed() {
    for (const std::uint32_t id : changed_) {
        sessions_[id].changed = false;
    }
    return std::exchange(changed_, {});
}

Reachability ProbeEngine::state(std::uint32_t id) const {
    return sessions_[id].machine.state();
}

std::optional<bool> ProbeEngine::up(std::uint32_t id) const {
    return sessions_[id].machine.up();
}

Reachability ProbeEngine::reach_state(std::uint32_t id) const {
    return sessions_[id].reach.state();
}

std::optional<bool> ProbeEngine::reachable(std::uint32_t id) const {
    return sessions_[id].reach.up();
}

// ---- Snapshot

void ProbeEngine::snapshot_session(std::uint32_t id,
                                   ProbeSnapshot& probe,
                                   Snapshot& snapshot) const {
    const Session& session = sessions_[id];
    probe.kind = session.kind;
    probe.state = session.machine.state();
    probe.up = session.machine.up();
    probe.counters = {session.sent, session.received, session.lost, 0, 0, 0};
    probe.rtt_sum = session.rtt_sum;
    probe.jitter = session.jitter;
    probe.last_rtt = session.last_paced_rtt;
    const auto row = buckets_.begin() + static_cast<std::ptrdiff_t>(id * edges_.bucket_count());
    snapshot.rtt_buckets.insert(
        snapshot.rtt_buckets.end(), row, row + static_cast<std::ptrdiff_t>(edges_.bucket_count()));
    if (!session.trouble) {
        return;
    }
    probe.counters.late = session.trouble->late;
    probe.counters.duplicates = session.trouble->duplicates;
    probe.counters.reordered = session.trouble->reordered;
    probe.syn_retransmits = session.trouble->syn_retransmits;
    const auto place = static_cast<std::uint32_t>(snapshot.probes.size());
    for (std::size_t reason = 0; reason < failure_reason_count; ++reason) {
        if (session.trouble->failures[reason] > 0) {
            snapshot.failures.push_back(
                {place, static_cast<FailureReason>(reason), session.trouble->failures[reason]});
        }
    }
}

void ProbeEngine::snapshot_totals(Snapshot& snapshot) const {
    snapshot.rtt_edges = edges_.seconds();
    totals_.fill(snapshot);
    snapshot.throttle_ratio = pace_.throttle_ratio();
}

}  // namespace reachd
