// The part of the engine that follows probes which are out: sent, answered, measured, lost.
#include <algorithm>

#include "probes/probe_engine.hpp"

namespace reachd {
namespace {

/// A stamped RTT may exceed the time we waited by no more than this.
constexpr Duration stamp_tolerance = std::chrono::milliseconds(1);

/// A guest that stood still answers all that it was asked meanwhile in one go. What comes later
/// than this after its first answer is no answer to those.
constexpr Duration owed_answers_time = std::chrono::milliseconds(100);

/// Sequence numbers wrap: a is before b when the signed distance says so.
bool is_before(std::uint32_t a, std::uint32_t b) {
    return static_cast<std::int32_t>(a - b) < 0;
}

}  // namespace

// ---- Sending

void ProbeEngine::on_sent(const SendOrder& order, const Instant& at) {
    const auto [id, sequence] = order.token;
    Session& session = sessions_[id];
    std::uint32_t flight_id =
        order.repeated ? find_flight(session, sequence) : allocate_flight(session.kind);
    if (flight_id == none) {
        return;  // answered after all, between the order to repeat it and now
    }
    Flight& flight = flights_[flight_id];
    flight.sent = at.mono;
    flight.sent_wall = at.wall;
    flight.transmitted = {};
    flight.clock_epoch = clock_epoch_;
    flight.stall_epoch = epochs_of(session).stall;
    flight_wheel_.schedule(flight_id, at.mono + session.timeout);
    if (order.repeated) {
        return;
    }
    flight.session = id;
    flight.sequence = sequence;
    flight.in_burst = order.in_burst;
    mark_overlap(session, flight);
    flight.next = session.first_in_flight;
    session.first_in_flight = flight_id;
    ++session.in_flight;
    ++session.sent;
    session.asked = true;
    totals_.on_delay(std::max(at.mono - order.due, Duration::zero()));
}

/// Answers without a number do not tell which of the probes out at once they answer.
void ProbeEngine::mark_overlap(const Session& session, Flight& flight) {
    if (session.kind != ProbeKind::arp) {
        return;
    }
    for (std::uint32_t i = session.first_in_flight; i != none; i = flights_[i].next) {
        flights_[i].overlaps = true;
        flight.overlaps = flight.overlaps || !flights_[i].answered;
    }
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
    totals_.on_skipped(reason);
    Session& session = sessions_[order.token.session];
    if (order.repeated) {
        const std::uint32_t flight = find_flight(session, order.token.sequence);
        if (flight != none) {
            // Still to be asked again, at its next time-out: this chance was none.
            flights_[flight].stall_epoch = epochs_of(session).repeat - 1;
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

const ProbeEngine::Epochs& ProbeEngine::epochs_of(const Session& session) const {
    return epochs_[static_cast<std::size_t>(session.kind)];
}

bool ProbeEngine::is_starved(const Flight& flight) const {
    return flight.chances > 0 || flight.stall_epoch != epochs_of(sessions_[flight.session]).stall;
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
    if (flights_[flight_id].answered) {
        ++trouble(session).duplicates;
        return;
    }
    if (!answered_in_time(flights_[flight_id], received.value_or(read.wall), read)) {
        lose(flight_id, loss_reason(session, read.mono), read);
        return note_unexpected_answer(session, token.sequence);
    }
    receive(flight_id);
    judge(token.session, ReachabilityMachine::Event::answer, read.mono);
    take_sample(flight_id, received, read);
}

void ProbeEngine::take_sample(std::uint32_t flight_id,
                              std::optional<WallTime> received,
                              const Instant& read) {
    Flight& flight = flights_[flight_id];
    if (is_starved(flight)) {
        return discard_sample(flight_id, DiscardReason::starved);
    }
    const Duration waited = read.mono - flight.sent;
    if (!received) {
        totals_.on_user_stamped(sessions_[flight.session].kind);
        record(flight.session, flight, waited);
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
    if (session.kind != ProbeKind::arp && is_before(sequence + 1, session.highest_answered)) {
        ++trouble(session).reordered;  // without a number there is no order
    } else {
        session.highest_answered = sequence + 1;
    }
}

/// The probe without an answer that was sent last before `received`; none: there is none.
std::uint32_t ProbeEngine::last_unanswered(const Session& session,
                                           std::optional<WallTime> received) const {
    std::uint32_t id = session.first_in_flight;
    const auto fits = [&](const Flight& flight) {
        const bool sent_before =
            !received || flight.clock_epoch != clock_epoch_ || *received >= flight.sent_wall;
        return !flight.answered && sent_before;
    };
    while (id != none && !fits(flights_[id])) {
        id = flights_[id].next;
    }
    return id;
}

void ProbeEngine::on_unnumbered_answer(std::uint32_t id,
                                       std::optional<WallTime> received,
                                       const Instant& read) {
    Session& session = sessions_[id];
    const std::uint32_t flight_id = last_unanswered(session, received);
    if (flight_id == none) {
        return note_unnumbered_answer(session, read.mono);
    }
    const Flight& flight = flights_[flight_id];
    if (!answered_in_time(flight, received.value_or(read.wall), read)) {
        lose(flight_id, loss_reason(session, read.mono), read);
        return note_unnumbered_answer(session, read.mono);
    }
    // It may as well be the answer to a probe that is lost by now, or to another that is out.
    const bool ambiguous = flight.overlaps || answers_owed(session, read.mono) > 0;
    if (session.trouble && session.trouble->owed_until == mono_never) {
        session.trouble->owed_until = read.mono + owed_answers_time;
    }
    receive(flight_id);
    judge(id, ReachabilityMachine::Event::answer, read.mono);
    if (ambiguous) {
        return discard_sample(flight_id, DiscardReason::ambiguous);
    }
    take_sample(flight_id, received, read);
}

std::uint64_t ProbeEngine::answers_owed(const Session& session, MonoTime now) const {
    const bool any = session.trouble && now < session.trouble->owed_until;
    return any ? session.trouble->owed_answers : 0;
}

/// With nothing out that it could answer. The first of each lost probe is late, the rest are
/// duplicates; where no probe has ended, it answers none of ours.
void ProbeEngine::note_unnumbered_answer(Session& session, MonoTime now) {
    if (answers_owed(session, now) > 0) {
        --session.trouble->owed_answers;
        ++session.trouble->late;
    } else if (session.received + session.lost > 0) {
        ++trouble(session).duplicates;
    }
}

bool ProbeEngine::awaits_answer(std::uint32_t id, MonoTime now) const {
    std::uint32_t flight = sessions_[id].first_in_flight;
    while (flight != none && flights_[flight].answered) {
        flight = flights_[flight].next;
    }
    return flight != none || answers_owed(sessions_[id], now) > 0;
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
        totals_.on_user_stamped(session.kind);
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
        totals_.on_user_stamped(sessions_[flight.session].kind);
    }
    record(flight.session, flight, rtt);
    remove_flight(flight_id);
}

void ProbeEngine::discard_sample(std::uint32_t flight_id, DiscardReason reason) {
    const ProbeKind kind = sessions_[flights_[flight_id].session].kind;
    totals_.on_discarded(kind, reason);
    remove_flight(flight_id);
}

void ProbeEngine::record(std::uint32_t id, const Flight& flight, Duration rtt) {
    Session& session = sessions_[id];
    ++buckets_[id * edges_.bucket_count() + edges_.bucket(rtt)];
    session.rtt_sum += rtt;
    totals_.on_sample(session.kind, session.peer_kind, rtt);
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
    const Session& session = sessions_[flight.session];
    const Epochs& epochs = epochs_of(session);
    if (flight.stall_epoch == epochs.stall || flight.chances == second_chances_max) {
        return lose(flight_id, loss_reason(session, now.mono), now);
    }
    const bool ask_again =
        is_before(flight.stall_epoch, epochs.repeat) && session.kind != ProbeKind::tcp;
    if (ask_again && !pace_.take()) {
        flight_wheel_.schedule(flight_id, now.mono + TimerWheel::tick);
        return;
    }
    ++flight.chances;
    flight.stall_epoch = epochs.stall;
    flight_wheel_.schedule(flight_id, now.mono + session.timeout);
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
    switch (session.kind) {
        case ProbeKind::icmp: break;
        case ProbeKind::tcp: abandoned_.push_back({id, flight.sequence}); break;
        case ProbeKind::arp: note_owed_answer(session, now.mono); break;
    }
    remove_flight(flight_id);
    if (!in_burst) {
        judge(id, ReachabilityMachine::Event::no_answer, now.mono);
    }
}

/// The answer to a lost probe may still come.
void ProbeEngine::note_owed_answer(Session& session, MonoTime now) {
    Trouble& found = trouble(session);
    found.owed_answers = answers_owed(session, now) + 1;
    found.owed_until = mono_never;
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

std::uint32_t ProbeEngine::allocate_flight(ProbeKind kind) {
    ++in_flight_[static_cast<std::size_t>(kind)];
    if (free_flights_ == none) {
        flights_.emplace_back();
        return static_cast<std::uint32_t>(flights_.size() - 1);
    }
    const std::uint32_t id = free_flights_;
    --flights_free_;
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
    --in_flight_[static_cast<std::size_t>(session.kind)];
    ++flights_free_;
    flight_wheel_.cancel(flight_id);
    flight.session = none;
    flight.next = free_flights_;
    free_flights_ = flight_id;
}

}  // namespace reachd
