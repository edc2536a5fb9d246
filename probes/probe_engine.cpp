#include "probes/probe_engine.hpp"

#include <algorithm>
#include <cmath>

#include "common/prefetch.hpp"

namespace reachd {
namespace {

/// A wall clock may run this much faster or slower than the monotonic one without having stepped:
/// NTP slews by up to 500 ppm, and reading two clocks takes a moment.
constexpr Duration clock_noise = std::chrono::microseconds(100);
constexpr int clock_slew_divisor = 1000;

/// A stamped RTT may exceed the time we waited by no more than this.
constexpr Duration stamp_tolerance = std::chrono::milliseconds(1);

/// How long a probe over the rate limit may wait for its turn before it is skipped.
constexpr Duration pacing_patience = std::chrono::milliseconds(100);
constexpr Duration pacing_burst = std::chrono::milliseconds(20);

/// Self-throttling: when the loop is late by more than `throttle_high` on average over a second,
/// fewer probes are sent, until it is below `throttle_low` again.
constexpr Duration throttle_high = std::chrono::milliseconds(50);
constexpr Duration throttle_low = std::chrono::milliseconds(20);
constexpr double throttle_floor = 0.1;
constexpr std::uint32_t throttle_polls_min = 5;

std::size_t index(ProbeKind kind) {
    return static_cast<std::size_t>(kind);
}

std::size_t index(PeerKind kind) {
    return static_cast<std::size_t>(kind);
}

/// Sequence numbers wrap: a is before b when the signed distance says so.
bool is_before(std::uint32_t a, std::uint32_t b) {
    return static_cast<std::int32_t>(a - b) < 0;
}

}  // namespace

ProbeEngine::ProbeEngine(const EngineOptions& options, Random& random, MonoTime start)
    : random_(random),
      edges_(options.rtt_edges),
      session_wheel_(start),
      flight_wheel_(start),
      delay_({0.001, 0.002, 0.005, 0.01, 0.012, 0.015, 0.02, 0.05, 0.1, 1.0}),
      probes_per_second_(std::min(options.probes_per_second, probes_per_second_max)),
      tokens_at_(start),
      throttle_window_(start) {
    const Histogram empty(options.host_rtt_edges);
    host_rtt_.resize(probe_kind_count, {empty, empty, empty});
}

void ProbeEngine::reserve(std::size_t sessions) {
    sessions_.reserve(sessions);
    buckets_.reserve(sessions * edges_.bucket_count());
    session_wheel_.reserve(sessions);
}

void ProbeEngine::set_probes_per_second(std::uint32_t limit) {
    probes_per_second_ = std::min(limit, probes_per_second_max);
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
    // Multiples of the golden ratio fill an interval evenly, however many come.
    constexpr double golden = 0.61803398874989484820;
    const double phase = std::fmod(static_cast<double>(opened_++) * golden, 1.0);
    const auto offset =
        static_cast<Duration::rep>(phase * static_cast<double>(options.interval.count()));
    session.next_due = session_wheel_.round_up(now + Duration(offset));
    peer_kind_seen_[index(options.kind)][index(options.peer_kind)] = true;
    schedule_session(id);
    return id;
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
        ++stall_epoch_;
    }
}

void ProbeEngine::on_receive_overflow(const Instant&) {
    repeat_epoch_ = ++stall_epoch_;
}

void ProbeEngine::on_receive_overflow_of(std::uint32_t id) {
    Session& session = sessions_[id];
    for (std::uint32_t i = session.first_in_flight; i != none; i = flights_[i].next) {
        flights_[i].stall_epoch = repeat_epoch_ - 1;
    }
    session.burst_epoch = repeat_epoch_ - 1;
}

MonoTime ProbeEngine::next_deadline() const {
    return std::min(session_wheel_.next_deadline(), flight_wheel_.next_deadline());
}

void ProbeEngine::poll(const Instant& now, std::vector<SendOrder>& orders) {
    const MonoTime deadline = next_deadline();
    if (now.mono < deadline) {
        return;
    }
    adapt_throttle(now.mono, now.mono - deadline);
    refill_tokens(now.mono);
    expire_flights(now, orders);
    auto& due = session_wheel_.take_due(now.mono);
    for (std::size_t i = 0; i < due.size(); ++i) {
        const std::size_t left = due.size() - i;
        if (tokens_ < static_cast<double>(left)) {
            // Not enough for all: by lot, or the same ones would come too late in every interval.
            std::swap(due[i], due[i + random_.below(static_cast<std::uint32_t>(left))]);
        }
        if (i + prefetch_distance < due.size()) {
            prefetch(sessions_[due[i + prefetch_distance]]);
        }
        run_session(due[i], now, orders);
    }
}

void ProbeEngine::refill_tokens(MonoTime now) {
    const double rate = probes_per_second_;
    // At least two, lest what a late tick brings in excess of one is thrown away.
    const double most = std::max(2.0, rate * to_seconds(pacing_burst));
    tokens_ = std::min(most, tokens_ + rate * to_seconds(now - tokens_at_));
    tokens_at_ = now;
}

bool ProbeEngine::take_token() {
    if (tokens_ < 1.0) {
        return false;
    }
    tokens_ -= 1.0;
    return true;
}

void ProbeEngine::adapt_throttle(MonoTime now, Duration lag) {
    poll_lag_ = lag;
    throttle_lag_ += std::min(lag, stall_threshold);
    ++throttle_polls_;
    if (now - throttle_window_ < std::chrono::seconds(1) || throttle_polls_ < throttle_polls_min) {
        return;
    }
    const Duration mean = throttle_lag_ / throttle_polls_;
    if (mean > throttle_high) {
        throttle_ratio_ = std::max(throttle_floor, throttle_ratio_ * 0.7);
    } else if (mean < throttle_low) {
        throttle_ratio_ = std::min(1.0, throttle_ratio_ + 0.05);
    }
    throttle_window_ = now;
    throttle_lag_ = {};
    throttle_polls_ = 0;
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
           flights_in_use_ + ordered < in_flight_max;
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
    session.burst_epoch = stall_epoch_;
    session.burst_due = now;
    session.verdict_due = now + verdict_wait(session);
}

/// If we stood still, or dropped answers ourselves, since the burst began, its silence proves
/// nothing: the peer is asked once more.
bool ProbeEngine::begin_burst_anew(Session& session, MonoTime now) {
    if (session.burst_epoch == stall_epoch_ || session.burst_chances == second_chances_max) {
        return false;
    }
    ++session.burst_chances;
    begin_burst(session, now);
    return true;
}

void ProbeEngine::order_burst(std::uint32_t id, MonoTime now, std::vector<SendOrder>& orders) {
    Session& session = sessions_[id];
    if (!has_room(session, orders.size()) || !take_token()) {
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
    skipped_[static_cast<std::size_t>(reason)] += static_cast<std::uint64_t>(missed);
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
        ++skipped_[static_cast<std::size_t>(reason)];
        session.next_due += session.interval;
        skip_missed(session, now, reason);
    };
    if (!has_room(session, orders.size())) {
        return skip(SkipReason::busy);
    }
    if (!take_token()) {
        return late < pacing_patience ? void() : skip(SkipReason::rate_limit);
    }
    // Only now: a probe that waits for its turn shall not draw this lot at every tick.
    constexpr std::uint32_t full_scale = 1'000'000;
    if (throttle_ratio_ < 1.0 && random_.below(full_scale) >= throttle_ratio_ * full_scale) {
        tokens_ += 1.0;
        return skip(SkipReason::throttle);
    }
    give_order(id, due, false, orders);
    session.next_due += session.interval;
    // What is later than the whole loop has waited for its turn under the rate limit.
    const bool paced = late > poll_lag_ + TimerWheel::tick;
    skip_missed(session, now, paced ? SkipReason::rate_limit : SkipReason::throttle);
}

void ProbeEngine::on_sent(const SendOrder& order, const Instant& at) {
    const auto [id, sequence] = order.token;
    Session& session = sessions_[id];
    std::uint32_t flight_id = order.repeated ? find_flight(session, sequence) : allocate_flight();
    if (flight_id == none) {
        return;  // answered after all, between the order to repeat it and now
    }
    Flight& flight = flights_[flight_id];
    flight.sent = at.mono;
    flight.sent_wall = at.wall;
    flight.transmitted = {};
    flight.clock_epoch = clock_epoch_;
    flight.stall_epoch = stall_epoch_;
    flight_wheel_.schedule(flight_id, at.mono + session.timeout);
    if (order.repeated) {
        return;
    }
    flight.session = id;
    flight.sequence = sequence;
    flight.in_burst = order.in_burst;
    flight.next = session.first_in_flight;
    session.first_in_flight = flight_id;
    ++session.in_flight;
    ++session.sent;
    session.asked = true;
    delay_.record(std::max(at.mono - order.due, Duration::zero()));
}

void ProbeEngine::on_not_sent(const SendOrder& order, FailureReason reason, const Instant& now) {
    if (order.repeated) {
        return;  // its time-out still runs
    }
    Session& session = sessions_[order.token.session];
    session.asked = true;
    count_failure(session, reason);
    // A name without an address says nothing about any peer.
    if (!order.in_burst && reason != FailureReason::unresolved) {
        judge(order.token.session, ReachabilityMachine::Event::no_answer, now.mono);
    }
}

void ProbeEngine::on_skipped(const SendOrder& order, SkipReason reason) {
    ++skipped_[static_cast<std::size_t>(reason)];
    Session& session = sessions_[order.token.session];
    if (order.repeated) {
        const std::uint32_t flight = find_flight(session, order.token.sequence);
        if (flight != none) {
            // Still to be asked again, at its next time-out: this chance was none.
            flights_[flight].stall_epoch = repeat_epoch_ - 1;
            --flights_[flight].chances;
        }
        return;
    }
    if (order.in_burst && session.verdict_due != mono_never) {
        ++session.burst_left;  // the verdict needs the whole burst
        session.burst_due = std::min(session.burst_due, order.due + burst_spacing);
        schedule_session(order.token.session);
    }
}

// ---- Answers

bool ProbeEngine::is_starved(const Flight& flight) const {
    return flight.chances > 0 || flight.stall_epoch != stall_epoch_;
}

bool ProbeEngine::answered_in_time(const Flight& flight,
                                   WallTime received,
                                   const Instant& read) const {
    if (is_starved(flight)) {
        return true;  // in the buffer since we do not know when: an answer is an answer
    }
    const Duration timeout = sessions_[flight.session].timeout;
    const Duration waited = read.mono - flight.sent;
    const WallTime left = flight.transmitted == WallTime{} ? flight.sent_wall : flight.transmitted;
    const Duration rtt = received - left;
    const bool stamps_hold = flight.clock_epoch == clock_epoch_ && rtt >= Duration::zero() &&
                             rtt <= waited + stamp_tolerance;
    return (stamps_hold ? rtt : waited) <= timeout;
}

void ProbeEngine::on_answer(ProbeToken token,
                            std::optional<WallTime> received,
                            const Instant& read) {
    Session& session = sessions_[token.session];
    const std::uint32_t flight_id = find_flight(session, token.sequence);
    if (flight_id == none) {
        return note_unexpected_answer(session, token.sequence);
    }
    Flight& flight = flights_[flight_id];
    if (flight.answered) {
        ++trouble(session).duplicates;
        return;
    }
    if (!answered_in_time(flight, received.value_or(read.wall), read)) {
        lose(flight_id, loss_reason(session, read.mono), read);
        return note_unexpected_answer(session, token.sequence);
    }
    receive(flight_id);
    judge(token.session, ReachabilityMachine::Event::answer, read.mono);

    if (is_starved(flight)) {
        return discard_sample(flight_id, DiscardReason::starved);
    }
    const Duration waited = read.mono - flight.sent;
    if (!received) {
        ++user_stamped_[index(session.kind)];
        record(token.session, flight, waited);
        return remove_flight(flight_id);
    }
    // Our own send time lies before the kernel's, so this bounds the sample from above.
    const Duration at_most = *received - flight.sent_wall;
    if (flight.clock_epoch != clock_epoch_ || at_most < Duration::zero() ||
        at_most > waited + stamp_tolerance) {
        return discard_sample(flight_id, DiscardReason::clock_step);
    }
    flight.received = *received;
    flight.answered = true;
    if (flight.transmitted != WallTime{}) {
        finish_sample(flight_id);
    }
}

void ProbeEngine::receive(std::uint32_t flight_id) {
    const std::uint32_t sequence = flights_[flight_id].sequence;
    Session& session = sessions_[flights_[flight_id].session];
    ++session.received;
    mark_answered(session, sequence);
    if (is_before(sequence + 1, session.highest_answered)) {
        ++trouble(session).reordered;
    } else {
        session.highest_answered = sequence + 1;
    }
}

void ProbeEngine::on_unnumbered_answer(std::uint32_t id,
                                       std::optional<WallTime> received,
                                       const Instant& read) {
    const Session& session = sessions_[id];
    std::uint32_t answered = none;
    std::uint32_t out = 0;
    for (std::uint32_t i = session.first_in_flight; i != none; i = flights_[i].next) {
        if (flights_[i].answered) {
            continue;
        }
        ++out;
        const bool sent_before = !received || flights_[i].clock_epoch != clock_epoch_ ||
                                 *received >= flights_[i].sent_wall;
        if (answered == none && sent_before) {
            answered = i;
        }
    }
    if (answered == none) {
        if (session.asked) {
            note_unexpected_answer(sessions_[id], session.sequence - 1);
        }
        return;
    }
    const std::uint32_t sequence = flights_[answered].sequence;
    if (out == 1) {
        return on_answer({id, sequence}, received, read);
    }
    if (!answered_in_time(flights_[answered], received.value_or(read.wall), read)) {
        lose(answered, loss_reason(session, read.mono), read);
        return note_unexpected_answer(sessions_[id], sequence);
    }
    receive(answered);
    judge(id, ReachabilityMachine::Event::answer, read.mono);
    discard_sample(answered, DiscardReason::ambiguous);
}

void ProbeEngine::on_syn_retransmits(ProbeToken token, std::uint32_t count) {
    if (count == 0 || !is_open(token.session)) {
        return;
    }
    Session& session = sessions_[token.session];
    // Another session may have its place by now.
    if (session.sequence - 1 - token.sequence < answers_remembered) {
        trouble(session).syn_retransmits += count;
    }
}

void ProbeEngine::on_tcp_result(ProbeToken token, const TcpResult& result, const Instant& read) {
    if (!is_open(token.session)) {
        return;
    }
    Session& session = sessions_[token.session];
    on_syn_retransmits(token, result.syn_retransmits);
    const std::uint32_t flight_id = find_flight(session, token.sequence);
    if (flight_id == none) {
        return;
    }
    const Flight& flight = flights_[flight_id];
    if (result.kind == TcpResult::Kind::lost) {
        return lose(flight_id, result.reason, read);
    }
    // How long we waited says nothing when we stood still; what the kernel measured always does.
    const Duration waited = read.mono - flight.sent;
    const bool in_time = result.rtt && !result.user_stamped
                             ? *result.rtt <= session.timeout
                             : is_starved(flight) || waited <= session.timeout;
    if (!in_time) {
        lose(flight_id, loss_reason(session, read.mono), read);
        return note_unexpected_answer(session, token.sequence);
    }
    receive(flight_id);
    if (result.kind == TcpResult::Kind::refused) {
        count_failure(session, FailureReason::refused);
        const bool in_burst = flight.in_burst;
        remove_flight(flight_id);
        const auto missing =
            in_burst ? std::nullopt : std::optional(ReachabilityMachine::Event::no_answer);
        return judge(token.session, missing, ReachabilityMachine::Event::answer, read.mono);
    }
    judge(token.session, ReachabilityMachine::Event::answer, read.mono);
    if (!result.rtt) {
        return discard_sample(flight_id, DiscardReason::ambiguous);
    }
    if (result.user_stamped) {
        ++user_stamped_[index(session.kind)];
    }
    record(token.session, flight, *result.rtt);
    remove_flight(flight_id);
}

/// The answer is in; the transmit stamp is there now, or will not come any more.
void ProbeEngine::finish_sample(std::uint32_t flight_id) {
    const Flight& flight = flights_[flight_id];
    const bool by_kernel = flight.transmitted != WallTime{};
    const Duration rtt = flight.received - (by_kernel ? flight.transmitted : flight.sent_wall);
    if (rtt < Duration::zero()) {
        return discard_sample(flight_id, DiscardReason::clock_step);
    }
    if (!by_kernel) {
        ++user_stamped_[index(sessions_[flight.session].kind)];
    }
    record(flight.session, flight, rtt);
    remove_flight(flight_id);
}

void ProbeEngine::discard_sample(std::uint32_t flight_id, DiscardReason reason) {
    const ProbeKind kind = sessions_[flights_[flight_id].session].kind;
    ++discarded_[index(kind)][static_cast<std::size_t>(reason)];
    remove_flight(flight_id);
}

void ProbeEngine::record(std::uint32_t id, const Flight& flight, Duration rtt) {
    Session& session = sessions_[id];
    ++buckets_[id * edges_.bucket_count() + edges_.bucket(rtt)];
    session.rtt_sum += rtt;
    host_rtt_[index(session.kind)][index(session.peer_kind)].record(rtt);
    // RFC 6298, section 2: the first sample as it is, then a gain of 1/8.
    session.smoothed_rtt = session.smoothed_rtt == Duration::zero()
                               ? rtt
                               : session.smoothed_rtt + (rtt - session.smoothed_rtt) / 8;
    if (flight.in_burst) {
        return;
    }
    // RFC 3550, section 6.4.1: the difference of two transit times, here of two round trips.
    if (session.last_paced_rtt != Duration::zero()) {
        const Duration difference = std::chrono::abs(rtt - session.last_paced_rtt);
        session.jitter += (difference - session.jitter) / 16;
    }
    session.last_paced_rtt = std::max(rtt, Duration(1));
}

void ProbeEngine::on_transmit_stamp(ProbeToken token, WallTime stamp) {
    const std::uint32_t flight_id = find_flight(sessions_[token.session], token.sequence);
    if (flight_id == none || flights_[flight_id].transmitted != WallTime{}) {
        return;
    }
    flights_[flight_id].transmitted = stamp;
    if (flights_[flight_id].answered) {
        finish_sample(flight_id);
    }
}

void ProbeEngine::note_unexpected_answer(Session& session, std::uint32_t sequence) {
    if (!is_before(sequence, session.sequence)) {
        return;  // never asked: only our own key could have made it, in another life
    }
    if (mark_answered(session, sequence)) {
        ++trouble(session).late;
    } else {
        ++trouble(session).duplicates;
    }
}

/// Whether this is the first answer to that probe, as far as the last probes are remembered.
bool ProbeEngine::mark_answered(Session& session, std::uint32_t sequence) {
    const std::uint32_t age = session.sequence - 1 - sequence;
    if (age >= answers_remembered) {
        return true;
    }
    const bool first = !session.answered_bits[age];
    session.answered_bits[age] = true;
    return first;
}

// ---- Losses

void ProbeEngine::expire_flights(const Instant& now, std::vector<SendOrder>& orders) {
    for (const std::uint32_t flight_id : flight_wheel_.take_due(now.mono)) {
        expire(flight_id, now, orders);
    }
}

void ProbeEngine::expire(std::uint32_t flight_id,
                         const Instant& now,
                         std::vector<SendOrder>& orders) {
    Flight& flight = flights_[flight_id];
    if (flight.answered) {
        return finish_sample(flight_id);
    }
    if (flight.stall_epoch == stall_epoch_ || flight.chances == second_chances_max) {
        return lose(flight_id, loss_reason(sessions_[flight.session], now.mono), now);
    }
    const bool ask_again = is_before(flight.stall_epoch, repeat_epoch_) &&
                           sessions_[flight.session].kind != ProbeKind::tcp;
    if (ask_again && !take_token()) {
        flight_wheel_.schedule(flight_id, now.mono + TimerWheel::tick);
        return;
    }
    ++flight.chances;
    flight.stall_epoch = stall_epoch_;
    flight_wheel_.schedule(flight_id, now.mono + sessions_[flight.session].timeout);
    if (ask_again) {
        orders.push_back({{flight.session, flight.sequence}, now.mono, flight.in_burst, true});
    }
}

void ProbeEngine::lose(std::uint32_t flight_id, FailureReason reason, const Instant& now) {
    const Flight& flight = flights_[flight_id];
    const std::uint32_t id = flight.session;
    const bool in_burst = flight.in_burst;
    Session& session = sessions_[id];
    ++session.lost;
    count_failure(session, reason);
    if (session.kind == ProbeKind::tcp) {
        abandoned_.push_back({id, flight.sequence});
    }
    remove_flight(flight_id);
    if (!in_burst) {
        judge(id, ReachabilityMachine::Event::no_answer, now.mono);
    }
}

FailureReason ProbeEngine::loss_reason(const Session& session, MonoTime now) const {
    const bool explained = session.trouble && session.trouble->has_evidence &&
                           now - session.trouble->evidence_at <= evidence_lifetime;
    return explained ? session.trouble->evidence : FailureReason::timeout;
}

void ProbeEngine::on_error(std::uint32_t session, FailureReason reason, const Instant& now) {
    ENSURE(is_loss(reason));
    Trouble& found = trouble(sessions_[session]);
    found.evidence = reason;
    found.evidence_at = now.mono;
    found.has_evidence = true;
}

ProbeEngine::Trouble& ProbeEngine::trouble(Session& session) {
    if (!session.trouble) {
        session.trouble = std::make_unique<Trouble>();
    }
    return *session.trouble;
}

void ProbeEngine::count_failure(Session& session, FailureReason reason) {
    Trouble& found = trouble(session);
    ++found.failures[static_cast<std::size_t>(reason)];
    found.last = reason;
}

FailureReason ProbeEngine::last_failure(std::uint32_t id) const {
    const Session& session = sessions_[id];
    return session.trouble ? session.trouble->last : FailureReason::timeout;
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

// ---- Probes in flight

std::uint32_t ProbeEngine::find_flight(const Session& session, std::uint32_t sequence) const {
    std::uint32_t id = session.first_in_flight;
    while (id != none && flights_[id].sequence != sequence) {
        id = flights_[id].next;
    }
    return id;
}

bool ProbeEngine::knows_sequence(std::uint32_t id, std::uint16_t low_bits) const {
    const Session& session = sessions_[id];
    const auto age = static_cast<std::uint16_t>(session.sequence - 1 - low_bits);
    return session.open && session.asked && age < in_flight_per_session_max;
}

std::uint32_t ProbeEngine::allocate_flight() {
    ++flights_in_use_;
    if (free_flights_ == none) {
        flights_.emplace_back();
        return static_cast<std::uint32_t>(flights_.size() - 1);
    }
    const std::uint32_t id = free_flights_;
    free_flights_ = flights_[id].next;
    flights_[id] = Flight{};
    return id;
}

void ProbeEngine::remove_flight(std::uint32_t flight_id) {
    Flight& flight = flights_[flight_id];
    Session& session = sessions_[flight.session];
    std::uint32_t* link = &session.first_in_flight;
    while (*link != flight_id) {
        link = &flights_[*link].next;
    }
    *link = flight.next;
    --session.in_flight;
    --flights_in_use_;
    flight_wheel_.cancel(flight_id);
    flight.session = none;
    flight.next = free_flights_;
    free_flights_ = flight_id;
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
    for (std::size_t kind = 0; kind < probe_kind_count; ++kind) {
        for (std::size_t peer_kind = 0; peer_kind < peer_kind_count; ++peer_kind) {
            if (peer_kind_seen_[kind][peer_kind]) {
                snapshot.host_rtt.push_back({static_cast<ProbeKind>(kind),
                                             static_cast<PeerKind>(peer_kind),
                                             host_rtt_[kind][peer_kind].snapshot()});
            }
        }
    }
    snapshot.probe_delay = delay_.snapshot();
    snapshot.skipped = skipped_;
    snapshot.discarded = discarded_;
    snapshot.user_stamped = user_stamped_;
    snapshot.throttle_ratio = throttle_ratio_;
}

}  // namespace reachd
