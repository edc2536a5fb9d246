#include "probes/path_mtu_prober.hpp"

#include <algorithm>

#include "common/check.hpp"

namespace reachd {
namespace {

/// A tenth of a second's bytes may leave at once; the rest flows at nine tenths of the rate. So no
/// second ever has more than it may.
constexpr double burst_share = 0.1;

/// Of the second fragment, with either family's.
constexpr double fragment_headers_bytes = 48;

/// What a packet costs of the budget, in bytes.
double price(const MtuPacket& packet) {
    return packet.bytes + (packet.form == MtuForm::fragmented_echo ? fragment_headers_bytes : 0);
}

constexpr Duration first_check_spread = std::chrono::seconds(1);

}  // namespace

PathMtuProber::PathMtuProber(std::uint32_t bytes_per_second, MonoTime start)
    : bytes_per_second_(bytes_per_second),
      refilled_(start),
      session_wheel_(start),
      flight_wheel_(start) {}

std::uint32_t PathMtuProber::open(const PathMtuOptions& options, double place, MonoTime now) {
    std::uint32_t id = 0;
    if (free_sessions_.empty()) {
        id = static_cast<std::uint32_t>(sessions_.size());
        sessions_.emplace_back();
    } else {
        id = free_sessions_.back();
        free_sessions_.pop_back();
    }
    Session& session = sessions_[id];
    const Duration spread = std::min(first_check_spread, options.interval);
    const auto share = [place](Duration of) {
        return std::chrono::duration_cast<Duration>(of * place);
    };
    session.machine.emplace(options, now + share(spread), share(options.interval));
    session.timeout = options.timeout;
    schedule(id);
    return id;
}

void PathMtuProber::close(std::uint32_t id) {
    Session& session = sessions_[id];
    ENSURE(session.machine.has_value());
    for (Flight& flight : flights_) {
        if (flight.session == id) {
            flight_wheel_.cancel(static_cast<std::uint32_t>(&flight - flights_.data()));
            free_flights_.push_back(static_cast<std::uint32_t>(&flight - flights_.data()));
            flight = {};
        }
    }
    session_wheel_.cancel(id);
    std::erase(doubtful_queue_, id);
    std::erase(queue_, id);
    std::erase(waiting_, id);
    std::erase(searching_, id);
    const std::uint32_t generation = session.generation + 1;
    session = {};
    session.generation = generation;
    free_sessions_.push_back(id);
}

void PathMtuProber::set_options(std::uint32_t id, const PathMtuOptions& options, MonoTime now) {
    sessions_[id].machine->set_options(options, now);
    sessions_[id].timeout = options.timeout;
    settle(id);
}

void PathMtuProber::set_facts(std::uint32_t id, const PathMtuFacts& facts, MonoTime now) {
    if (sessions_[id].machine->set_facts(facts, now)) {
        settle(id);
    }
}

void PathMtuProber::hurry(std::uint32_t id, MonoTime now) {
    sessions_[id].machine->hurry(now);
    settle(id);
}

void PathMtuProber::schedule(std::uint32_t id) {
    const Session& session = sessions_[id];
    if (session.machine->due() == mono_never || session.waiting) {
        session_wheel_.cancel(id);
    } else {
        session_wheel_.schedule(id, session.machine->due());
    }
}

// ---- Time

/// Who looked at the clock too late knows nothing about what was out meanwhile.
void PathMtuProber::observe(MonoTime now) {
    const MonoTime due = next_deadline();
    if (due != mono_never && now - due > stall_threshold) {
        on_receive_overflow(now);
    }
}

void PathMtuProber::on_receive_overflow(MonoTime now) {
    for (std::uint32_t id = 0; id < sessions_.size(); ++id) {
        if (sessions_[id].machine && sessions_[id].out > 0) {
            sessions_[id].machine->on_own_trouble(now);
            settle(id);
        }
    }
}

MonoTime PathMtuProber::next_deadline() const {
    MonoTime next = std::min(session_wheel_.next_deadline(), flight_wheel_.next_deadline());
    if (!is_queue_empty()) {
        next = std::min(next, refilled_ + TimerWheel::tick);
    }
    return next;
}

void PathMtuProber::poll(MonoTime now, std::vector<MtuOrder>& orders) {
    expire_flights(now);
    wake_waiting(now);
    for (const std::uint32_t id : session_wheel_.take_due(now)) {
        run(id, now);
    }
    refill(now);
    send_queued(orders);
}

void PathMtuProber::expire_flights(MonoTime now) {
    for (const std::uint32_t slot : flight_wheel_.take_due(now)) {
        end_flight(flights_[slot], MtuPacketResult::lost, now);
    }
}

// ---- Turns

void PathMtuProber::run(std::uint32_t id, MonoTime now) {
    Session& session = sessions_[id];
    if (!session.machine || session.machine->due() > now) {
        return;
    }
    if (session.machine->is_volley_out()) {
        session.machine->on_volley_over(now);
        settle(id);
    }
    if (session.machine->due() > now || !may_search(id)) {
        return;
    }
    const auto known = guesses_.find(session.machine->facts().device);
    ENSURE(session.ordered == session.volley.size());
    session.volley = session.machine->next_volley(
        known == guesses_.end() ? std::vector<std::uint32_t>{} : known->second, now);
    session.ordered = 0;
    session.reported = 0;
    if (!session.volley.empty()) {  // somebody's trouble comes before everybody's routine
        (session.machine->is_in_doubt() ? doubtful_queue_ : queue_).push_back(id);
    }
    settle(id);
}

/// A few at a time, each at full speed; else a fault behind a switch would make all searches slow.
bool PathMtuProber::may_search(std::uint32_t id) {
    Session& session = sessions_[id];
    if (!session.machine->is_searching() ||
        std::find(searching_.begin(), searching_.end(), id) != searching_.end()) {
        return true;
    }
    if (searching_.size() < searches_max) {
        searching_.push_back(id);
        return true;
    }
    session.waiting = true;
    waiting_.push_back(id);
    session_wheel_.cancel(id);
    return false;
}

/// However room came about: a search ended, or its peer is gone.
void PathMtuProber::wake_waiting(MonoTime now) {
    for (std::size_t room = searches_max - searching_.size(); room > 0 && !waiting_.empty();
         --room) {
        const std::uint32_t next = waiting_.front();
        waiting_.pop_front();
        sessions_[next].waiting = false;
        session_wheel_.schedule(next, now);
    }
}

/// After whatever happened to a session.
void PathMtuProber::settle(std::uint32_t id) {
    Session& session = sessions_[id];
    if (!session.machine->is_searching()) {
        if (session.waiting) {
            session.waiting = false;
            std::erase(waiting_, id);
        }
        std::erase(searching_, id);
    }
    if (session.machine->revision() != session.told) {
        session.told = session.machine->revision();
        remember_boundary(session);
        if (!session.changed) {
            session.changed = true;
            changed_.push_back(id);
        }
    }
    schedule(id);
}

void PathMtuProber::remember_boundary(const Session& session) {
    const std::uint32_t boundary = session.machine->boundary();
    const MtuVerdict verdict = session.machine->result().verdict;
    if (boundary == 0 || (verdict != MtuVerdict::black_hole && verdict != MtuVerdict::signalled)) {
        return;
    }
    if (guesses_.size() == guessed_devices_max) {
        guesses_.clear();  // devices come and go, and nothing is lost but some bytes
    }
    auto& guesses = guesses_[session.machine->facts().device];
    std::erase(guesses, boundary);
    guesses.insert(guesses.begin(), boundary);
    if (guesses.size() > guesses_max) {
        guesses.pop_back();
    }
}

std::vector<std::uint32_t> PathMtuProber::take_changed() {
    std::vector<std::uint32_t> changed = std::exchange(changed_, {});
    std::erase_if(changed, [this](std::uint32_t id) { return !sessions_[id].changed; });
    for (const std::uint32_t id : changed) {
        sessions_[id].changed = false;
    }
    return changed;
}

// ---- Packets out

void PathMtuProber::refill(MonoTime now) {
    const double rate = bytes_per_second_;
    const double seconds = std::chrono::duration<double>(now - refilled_).count();
    tokens_ = std::min(rate * burst_share, tokens_ + seconds * rate * (1 - burst_share));
    refilled_ = now;
}

void PathMtuProber::send_queued(std::vector<MtuOrder>& orders) {
    while (!is_queue_empty()) {
        auto& queue = doubtful_queue_.empty() ? queue_ : doubtful_queue_;
        const std::uint32_t id = queue.front();
        Session& session = sessions_[id];
        const double cost = price(session.volley[session.ordered]);
        const bool affordable = tokens_ >= std::min(cost, bytes_per_second_ * burst_share);
        const bool has_slot = !free_flights_.empty() || flights_.size() < flights_max;
        if (!affordable || !has_slot) {
            return;
        }
        tokens_ -= cost;
        give_order(id, orders);
        if (session.ordered == session.volley.size()) {
            queue.pop_front();
        }
    }
}

/// The low bits of a sequence number say where it is kept; the others tell it from those that were
/// kept there before.
void PathMtuProber::give_order(std::uint32_t id, std::vector<MtuOrder>& orders) {
    std::uint32_t slot = 0;
    if (free_flights_.empty()) {
        slot = static_cast<std::uint32_t>(flights_.size());
        flights_.emplace_back();
    } else {
        slot = free_flights_.back();
        free_flights_.pop_back();
    }
    Session& session = sessions_[id];
    Flight& flight = flights_[slot];
    flight.session = id;
    flight.sequence = next_turn_++ * static_cast<std::uint32_t>(flights_max) + slot;
    flight.packet = session.volley[session.ordered++];
    const auto port = static_cast<std::uint16_t>(first_port + slot);
    orders.push_back({{id, flight.sequence},
                      flight.packet,
                      flight.packet.form == MtuForm::datagram ? port : std::uint16_t{0}});
}

void PathMtuProber::on_sent(const MtuOrder& order, MonoTime at) {
    if (Flight* flight = find_flight(order.token)) {
        flight->out = true;
        flight->sent = at;
        Session& session = sessions_[flight->session];
        ++session.out;
        flight_wheel_.schedule(static_cast<std::uint32_t>(flight - flights_.data()),
                               at + session.timeout);
        on_reported(order.token.session, at);
    }
}

/// What was not asked cannot be answered: that proves nothing about the path.
void PathMtuProber::on_not_sent(const MtuOrder& order, MonoTime now) {
    if (find_flight(order.token) != nullptr) {
        sessions_[order.token.session].machine->on_not_sent(order.packet, now);
        refuse(order, now);
    }
}

void PathMtuProber::refuse(const MtuOrder& order, MonoTime now) {
    end_flight(*find_flight(order.token), MtuPacketResult::not_sent, now);
    on_reported(order.token.session, now);
}

void PathMtuProber::on_too_big_for_device(const MtuOrder& order, std::uint32_t mtu, MonoTime now) {
    if (find_flight(order.token) != nullptr) {
        sessions_[order.token.session].machine->on_too_big_for_device(mtu, now);
        refuse(order, now);
    }
}

void PathMtuProber::on_reported(std::uint32_t id, MonoTime now) {
    Session& session = sessions_[id];
    if (++session.reported == session.volley.size()) {
        session.machine->on_volley_sent(now);
    }
    settle(id);
}

// ---- Packets back

PathMtuProber::Flight* PathMtuProber::find_flight(ProbeToken token) {
    const std::size_t slot = token.sequence % flights_max;
    if (slot >= flights_.size() || flights_[slot].session != token.session ||
        flights_[slot].sequence != token.sequence) {
        return nullptr;
    }
    return &flights_[slot];
}

std::optional<ProbeToken> PathMtuProber::find(std::uint16_t low_bits) const {
    const std::size_t slot = low_bits % flights_max;
    if (slot >= flights_.size() || !flights_[slot].out ||
        static_cast<std::uint16_t>(flights_[slot].sequence) != low_bits) {
        return std::nullopt;
    }
    return ProbeToken{flights_[slot].session, flights_[slot].sequence};
}

std::optional<ProbeToken> PathMtuProber::find_datagram(std::uint16_t port) const {
    const std::size_t slot = static_cast<std::uint16_t>(port - first_port);
    if (slot >= flights_.size() || !flights_[slot].out ||
        flights_[slot].packet.form != MtuForm::datagram) {
        return std::nullopt;
    }
    return ProbeToken{flights_[slot].session, flights_[slot].sequence};
}

void PathMtuProber::on_answer(ProbeToken token,
                              std::uint32_t bytes,
                              std::uint32_t fragment,
                              MonoTime now) {
    Flight* flight = find_flight(token);
    if (flight == nullptr || !flight->out) {
        return;
    }
    const bool is_datagram = flight->packet.form == MtuForm::datagram;
    const std::uint32_t whole = is_datagram ? 0 : flight->packet.bytes;
    if (bytes > whole) {
        return;
    }
    const MtuPacket packet = flight->packet;
    const Duration rtt = std::max(now - flight->sent, Duration{1});
    PathMtuSession& machine = *sessions_[token.session].machine;
    if (bytes < whole) {
        machine.on_shortened_answer(packet, now);
    } else {
        machine.on_answer(packet, fragment, rtt, now);
    }
    end_flight(*flight, MtuPacketResult::answered, now);
}

bool PathMtuProber::on_too_big(ProbeToken token,
                               const IpAddress& reporter,
                               std::uint32_t mtu,
                               MonoTime now) {
    Flight* flight = find_flight(token);
    if (flight == nullptr || !flight->out) {
        return true;  // out of time: no news, and no lie
    }
    if (!sessions_[token.session].machine->on_too_big(flight->packet, reporter, mtu, now)) {
        return false;
    }
    end_flight(*flight, MtuPacketResult::too_big, now);
    return true;
}

void PathMtuProber::end_flight(Flight& flight, MtuPacketResult result, MonoTime now) {
    const std::uint32_t id = flight.session;
    const auto slot = static_cast<std::uint32_t>(&flight - flights_.data());
    Session& session = sessions_[id];
    ++session.counts[static_cast<std::size_t>(result)];
    session.out -= flight.out ? 1 : 0;
    flight_wheel_.cancel(slot);
    flight = {};
    free_flights_.push_back(slot);
    // Nothing more to wait for: the next volley can go.
    if (session.out == 0 && session.machine->is_volley_out() &&
        session.machine->due() != mono_never && !session.machine->is_between_attempts()) {
        session.machine->on_volley_over(now);
    }
    settle(id);
}

}  // namespace reachd
