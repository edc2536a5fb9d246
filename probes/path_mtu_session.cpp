#include "probes/path_mtu_session.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace reachd {
namespace {

/// With room for header, cookie and some bytes; far below every MTU.
constexpr std::uint32_t small_bytes_ipv4 = 84;
constexpr std::uint32_t smallest_bytes_ipv4 = 60;  ///< below every MTU; a cookie has room in it
constexpr std::uint32_t small_bytes_ipv6 = 104;

/// Of the small size with each further attempt: that a peer answers at all must not be missed.
constexpr unsigned small_copies = 3;

/// Where Ethernet's 1500 is too small, silently: with and without room for a VLAN tag.
constexpr std::uint32_t ethernet_mtu = 1500;
constexpr std::uint32_t tag_slack = 4;

/// Copies of the tests of directions in one volley after the other. A request of two fragments and
/// an answer are lost more easily; and Linux sends six ICMP errors at once, then one a second
/// (icmp_ratelimit), so that there are no more than six datagrams in all.
constexpr std::array<unsigned, 3> answer_copies{1, 2, 3};
constexpr std::array<unsigned, 3> answer_control_copies{0, 1, 2};
constexpr std::array<unsigned, 3> datagram_copies{1, 1, 2};
constexpr std::array<unsigned, 3> datagram_control_copies{0, 1, 1};

/// The control of the test for large answers: in two fragments like the test itself.
constexpr std::uint32_t control_bytes = 200;

/// Fragments carry multiples of 8 bytes (RFC 791, section 3.1).
constexpr std::uint32_t fragment_step = 8;

using Test = PathMtuDirection::Test;

}  // namespace

std::uint32_t customary_mtu(std::uint32_t boundary) {
    constexpr std::uint32_t round = 50;
    return boundary > tag_slack && (boundary - tag_slack) % round == 0 ? boundary - tag_slack
                                                                       : boundary;
}

PathMtuSession::PathMtuSession(const PathMtuOptions& options, MonoTime first_due, Duration phase)
    : interval_(std::chrono::duration_cast<Milliseconds>(options.interval)),
      timeout_(std::chrono::duration_cast<Milliseconds>(options.timeout)),
      due_(first_due),
      next_check_(first_due),
      turn_(first_due + phase),
      family_(options.family) {}

void PathMtuSession::set_options(const PathMtuOptions& options, MonoTime now) {
    interval_ = std::chrono::duration_cast<Milliseconds>(options.interval);
    timeout_ = std::chrono::duration_cast<Milliseconds>(options.timeout);
    if (!cycle_ && next_check_ != mono_never) {
        next_check_ = std::min(next_check_, turn_after(now));
    }
    if (!cycle_ && !volley_out_) {
        due_ = std::min(due_, next_check_);
    }
}

/// Half an interval to one and a half after `start`.
MonoTime PathMtuSession::turn_after(MonoTime start) const {
    const Duration interval = interval_;
    const Duration ahead = start + interval / 2 - turn_;
    const auto turns = ahead / interval + (ahead > Duration::zero() ? 1 : 0);
    return turn_ + turns * interval;
}

std::uint32_t PathMtuSession::small_bytes() const {
    if (family_ == Family::ipv6) {
        return small_bytes_ipv6;
    }
    return target() > small_bytes_ipv4 ? small_bytes_ipv4 : smallest_bytes_ipv4;
}

/// The largest size that is expected and that the host's devices take.
std::uint32_t PathMtuSession::fits_devices() const {
    return facts_.local != 0 ? std::min(facts_.expected, facts_.local) : facts_.expected;
}

/// And that the kernel takes, as far as it has said.
std::uint32_t PathMtuSession::sendable() const {
    return kernel_limit_ != 0 ? std::min(fits_devices(), kernel_limit_) : fits_devices();
}

/// What a check asks for.
std::uint32_t PathMtuSession::target() const {
    return cycle_ && cycle_->beyond_kernel ? fits_devices() : sendable();
}

Duration PathMtuSession::timeout() const {
    if (smoothed_rtt_ == Microseconds{}) {
        return timeout_;
    }
    return std::min<Duration>(timeout_, std::max<Duration>(timeout_min, 4 * smoothed_rtt_));
}

bool PathMtuSession::set_facts(const PathMtuFacts& facts, MonoTime now) {
    if (facts == facts_) {
        return false;
    }
    facts_ = facts;
    kernel_limit_ = 0;
    finding_.reset();
    passes_ = false;
    if (++revision_ > 1 || next_check_ == mono_never) {
        hurry(now);
    }
    return true;
}

void PathMtuSession::hurry(MonoTime now) {
    if (finding_) {
        finding_->raise_due = now;
    }
    kernel_limit_until_ = now;
    begin_anew(now);
}

/// A volley that is out comes to its end first; what it finds counts no more.
void PathMtuSession::begin_anew(MonoTime now) {
    cycle_.reset();
    next_check_ = now;
    if (!volley_out_) {
        due_ = now;
    }
}

// ---- Results

PathMtu PathMtuSession::result() const {
    return finding_ ? finding_->result : as_known();
}

/// Without anything found: by the host's own devices, and by whether all is answered.
PathMtu PathMtuSession::as_known() const {
    PathMtu known;
    known.expected = facts_.expected;
    known.answers = passes_;
    const std::uint32_t size = sendable();
    if (size < facts_.expected) {
        known.verdict = MtuVerdict::local;
        known.device = facts_.device;
        known.bytes = size;
    } else if (passes_) {
        known.verdict = MtuVerdict::ok;
        known.bytes = size;
        known.forward = Passage::passes;
        known.reverse = Passage::passes;
    }
    return known;
}

PathMtu PathMtuSession::answered(std::uint32_t bytes) const {
    PathMtu result;
    result.expected = facts_.expected;
    result.answers = true;
    result.bytes = bytes;
    result.fragment = cycle_->fragment;
    return result;
}

/// The check has found this.
void PathMtuSession::conclude(const PathMtu& result, std::uint32_t boundary, MonoTime now) {
    if (this->result() != result) {
        ++revision_;
    }
    passes_ = false;
    const bool same = finding_ && finding_->boundary == boundary && now < finding_->raise_due;
    const MonoTime raise_due = same ? finding_->raise_due : now + raise_interval;
    finding_ = std::make_unique<Finding>(Finding{result, boundary, raise_due});
    end_cycle(now);
}

void PathMtuSession::conclude_as_known(bool passes, MonoTime now) {
    if (finding_ || passes_ != passes) {
        ++revision_;
    }
    finding_.reset();
    passes_ = passes;
    end_cycle(now);
}

/// What the kernel took at last is no limit any more, whatever became of it.
void PathMtuSession::end_cycle(MonoTime now) {
    if (cycle_->beyond_kernel) {
        kernel_limit_ = 0;
        ++revision_;
    }
    spoilt_checks_ = 0;
    next_check_ = std::max(turn_after(cycle_->start), now);
    cycle_.reset();
    chances_ = 0;
    if (!volley_out_) {
        due_ = next_check_;
    }
}

// ---- Volleys

std::vector<MtuPacket> PathMtuSession::next_volley(const std::vector<std::uint32_t>& guesses,
                                                   MonoTime now) {
    if (!cycle_) {
        begin_cycle(now);
    }
    std::vector<MtuPacket> volley;
    while (cycle_ && volley.empty()) {
        switch (cycle_->stage) {
            case Stage::checking: volley = attempt(); break;
            case Stage::searching: volley = search_volley(guesses); break;
            case Stage::finding_direction: volley = direction_volley(); break;
            case Stage::measuring_answers: volley = ladder_volley(); break;
        }
        if (volley.empty()) {
            end_stage(now);
        }
    }
    volley_out_ = !volley.empty();
    due_ = volley_out_ ? mono_never : next_check_;
    return volley;
}

void PathMtuSession::on_volley_sent(MonoTime now) {
    const bool more_attempts =
        cycle_ && cycle_->stage == Stage::checking && cycle_->attempts < attempts_max;
    due_ = now + (more_attempts ? std::max(timeout(), attempt_spacing) : timeout());
}

void PathMtuSession::on_volley_over(MonoTime now) {
    volley_out_ = false;
    due_ = now;  // for the next volley, if there is one
    if (cycle_ && cycle_->ladder) {
        cycle_->ladder->on_volley_over();
    }
    if (cycle_ && is_stage_over()) {
        end_stage(now);
    }
    if (!cycle_) {
        due_ = next_check_;
    }
}

bool PathMtuSession::is_stage_over() const {
    switch (cycle_->stage) {
        case Stage::checking: return true;  // it decides itself
        case Stage::finding_direction:
            return cycle_->volleys == answer_copies.size() ||
                   (cycle_->direction.answered(Test::large_answer, false) &&
                    cycle_->direction.answered(Test::large_datagram, false));
        case Stage::searching:
        case Stage::measuring_answers: return cycle_->ladder && cycle_->ladder->is_done();
    }
    return true;
}

void PathMtuSession::end_stage(MonoTime now) {
    switch (cycle_->stage) {
        case Stage::checking: return end_attempt(now);
        case Stage::searching: return end_search(now);
        case Stage::finding_direction: return end_finding_direction(now);
        case Stage::measuring_answers: return end_measuring(now);
    }
}

std::vector<MtuPacket> PathMtuSession::ladder_volley() {
    std::vector<MtuPacket> volley;
    for (const std::uint32_t bytes : cycle_->ladder->next_volley()) {
        volley.push_back({MtuForm::echo, bytes});
    }
    return volley;
}

// ---- The check

void PathMtuSession::begin_cycle(MonoTime now) {
    // Where nothing is expected there is nothing to wait for but other facts.
    next_check_ = facts_.expected == 0 ? mono_never : turn_after(now);
    if (target() <= small_bytes()) {
        return;
    }
    cycle_ = std::make_unique<Cycle>();
    cycle_->start = now;
    cycle_->beyond_kernel = kernel_limit_ != 0 && now >= kernel_limit_until_;
    cycle_->base = boundary() != 0 && boundary() < target() ? boundary() : small_bytes();
}

std::vector<MtuPacket> PathMtuSession::attempt() {
    std::vector<MtuPacket> volley{{MtuForm::echo, target()}, {MtuForm::echo, cycle_->base}};
    if (cycle_->attempts > 0) {
        volley.insert(volley.end(), small_copies, {MtuForm::echo, small_bytes()});
    }
    ++cycle_->attempts;
    return volley;
}

void PathMtuSession::end_attempt(MonoTime now) {
    const bool as_before =
        finding_ && finding_->result.verdict != MtuVerdict::peer_egress && cycle_->base_answered;
    if (as_before && !may_raise(now)) {
        return end_cycle(now);
    }
    if (cycle_->attempts < attempts_max) {
        return;
    }
    if (cycle_->small_answered || cycle_->base_answered) {
        return begin_search();
    }
    conclude_as_known(false, now);  // nothing is answered: that is not for us to explain
}

void PathMtuSession::on_answer(const MtuPacket& packet,
                               std::uint32_t fragment,
                               Duration rtt,
                               MonoTime now) {
    const auto sample = std::chrono::ceil<Microseconds>(rtt);
    smoothed_rtt_ = smoothed_rtt_ == Microseconds{} ? sample : (7 * smoothed_rtt_ + sample) / 8;
    if (!cycle_) {
        return;
    }
    cycle_->answered_since = cycle_->answered_since || cycle_->stage == Stage::finding_direction;
    if (packet.form != MtuForm::echo) {
        return on_direction_answer(packet, fragment);
    }
    cycle_->small_answered = cycle_->small_answered || packet.bytes <= small_bytes();
    cycle_->base_answered = cycle_->base_answered || packet.bytes == cycle_->base;
    if (cycle_->stage == Stage::measuring_answers) {
        return fragment == 0 ? cycle_->ladder->on_passed(packet.bytes)
                             : cycle_->ladder->on_refused(packet.bytes);
    }
    if (packet.bytes == target()) {
        return on_large_answer(fragment, now);
    }
    if (cycle_->ladder) {
        cycle_->ladder->on_passed(packet.bytes);
    }
}

/// The expected size arrives, and the answer does: only the peer's own MTU may be smaller.
void PathMtuSession::on_large_answer(std::uint32_t fragment, MonoTime now) {
    if (fragment == 0 || fragment >= target()) {
        return conclude_as_known(true, now);
    }
    const bool as_before = finding_ && finding_->result.verdict == MtuVerdict::peer_egress &&
                           finding_->result.fragment == fragment;
    if (as_before && !may_raise(now)) {
        return end_cycle(now);
    }
    cycle_->stage = Stage::measuring_answers;
    cycle_->fragment = fragment;
    cycle_->ladder.emplace(fragment, std::min(fragment + fragment_step, target()));
}

/// Some peers, and some firewalls in their name, answer with no more than so many bytes.
void PathMtuSession::on_shortened_answer(const MtuPacket& packet, MonoTime now) {
    if (!cycle_) {
        return;
    }
    cycle_->direction.spoil(Test::large_answer);
    cycle_->answered_since = cycle_->answered_since || cycle_->stage == Stage::finding_direction;
    if (packet.form != MtuForm::echo) {
        return;
    }
    cycle_->small_answered = true;
    if (packet.bytes == target()) {
        PathMtu result = answered(0);
        result.forward = Passage::passes;
        return conclude(result, 0, now);
    }
    if (cycle_->ladder && cycle_->stage == Stage::searching) {
        cycle_->ladder->on_passed(packet.bytes);
    }
}

void PathMtuSession::end_measuring(MonoTime now) {
    PathMtu result = answered(cycle_->ladder->result());
    result.verdict = MtuVerdict::peer_egress;
    conclude(result, result.bytes, now);
}

// ---- The search

void PathMtuSession::begin_search() {
    cycle_->stage = Stage::searching;
    cycle_->ladder.reset();  // made with the guesses of the moment
}

std::vector<std::uint32_t> PathMtuSession::all_guesses(
    const std::vector<std::uint32_t>& shared) const {
    std::vector<std::uint32_t> guesses;
    if (cycle_->signal && cycle_->signal->mtu != 0) {
        guesses.push_back(cycle_->signal->mtu);
    }
    if (boundary() != 0) {
        guesses.push_back(boundary());
    }
    guesses.push_back(target());  // three copies can be lost by chance
    guesses.insert(guesses.end(), shared.begin(), shared.end());
    guesses.insert(guesses.end(), {ethernet_mtu + tag_slack, ethernet_mtu});
    return guesses;
}

std::vector<MtuPacket> PathMtuSession::search_volley(const std::vector<std::uint32_t>& guesses) {
    if (cycle_->ladder) {
        return ladder_volley();
    }
    const bool limited = cycle_->signal && cycle_->signal->mtu != 0;
    cycle_->ladder.emplace(cycle_->base_answered ? cycle_->base : small_bytes(),
                           (limited ? cycle_->signal->mtu : target()) + 1,
                           all_guesses(guesses));
    std::vector<MtuPacket> volley = ladder_volley();
    if (limited) {
        volley.push_back({MtuForm::echo, target()});  // its answer would prove the signal a lie
    }
    return volley;
}

bool PathMtuSession::on_too_big(const MtuPacket& packet,
                                const IpAddress& reporter,
                                std::uint32_t mtu,
                                MonoTime now) {
    const bool is_given = mtu != 0 || family_ == Family::ipv6;  // RFC 1191, section 3: old routers
    if (mtu >= packet.bytes || (is_given && mtu < minimum_mtu(family_))) {
        return false;
    }
    if (!cycle_) {
        return true;
    }
    const std::optional<Signal>& known = cycle_->signal;
    const bool news = !known || (mtu != 0 && (known->mtu == 0 || mtu < known->mtu));
    const bool as_before = finding_ && finding_->result.verdict == MtuVerdict::signalled &&
                           finding_->result.reported == mtu &&
                           finding_->result.reporter == reporter &&
                           cycle_->stage == Stage::checking && !may_raise(now);
    if (!news || as_before) {
        return true;  // where all is as before, the base size is asked anyway
    }
    cycle_->signal = Signal{reporter, mtu};
    begin_search();
    if (due_ != mono_never) {
        due_ = now;  // it says what is to be known
    }
    return true;
}

void PathMtuSession::end_search(MonoTime now) {
    if (!cycle_->signal) {
        cycle_->stage = Stage::finding_direction;
        cycle_->volleys = 0;
        return;
    }
    const Signal& signal = *cycle_->signal;
    const std::uint32_t found = cycle_->ladder->result();
    const bool as_said = signal.mtu == 0 || found >= signal.mtu;
    PathMtu result = answered(found);
    result.verdict = as_said ? MtuVerdict::signalled : MtuVerdict::black_hole;
    result.direction = as_said ? MtuDirection::forward : MtuDirection::unknown;
    result.reporter = signal.reporter;
    result.reported = signal.mtu;
    conclude(result, found, now);
}

// ---- The direction

/// Beyond what one way may let through for a VLAN tag and the other does not.
std::uint32_t PathMtuSession::too_large() const {
    return std::min(cycle_->ladder->result() + 1 + tag_slack, target());
}

std::vector<MtuPacket> PathMtuSession::direction_volley() {
    std::vector<MtuPacket> volley;
    const std::size_t step = cycle_->volleys;
    if (step == answer_copies.size()) {
        return volley;
    }
    ++cycle_->volleys;
    const auto add = [&](Test test, bool control, unsigned copies, const MtuPacket& packet) {
        const PathMtuDirection& known = cycle_->direction;
        if (!known.answered(test, false) && !known.answered(test, control)) {
            volley.insert(volley.end(), copies, packet);
        }
    };
    if (!cycle_->answered_since) {
        volley.insert(volley.end(), small_copies, {MtuForm::echo, small_bytes()});
    }
    const auto form = MtuForm::fragmented_echo;
    add(Test::large_answer, false, answer_copies[step], {form, too_large()});
    add(Test::large_answer, true, answer_control_copies[step], {form, control_bytes});
    const auto datagram = MtuForm::datagram;
    add(Test::large_datagram, false, datagram_copies[step], {datagram, too_large()});
    add(Test::large_datagram, true, datagram_control_copies[step], {datagram, small_bytes()});
    return volley;
}

void PathMtuSession::on_direction_answer(const MtuPacket& packet, std::uint32_t fragment) {
    if (cycle_->stage != Stage::finding_direction) {
        return;
    }
    if (packet.form == MtuForm::datagram) {
        return cycle_->direction.on_answer(Test::large_datagram, packet.bytes == small_bytes());
    }
    cycle_->direction.on_answer(Test::large_answer, packet.bytes == control_bytes);
    cycle_->fragment = std::max(cycle_->fragment, fragment);
}

void PathMtuSession::end_finding_direction(MonoTime now) {
    if (!cycle_->answered_since) {
        return conclude_as_known(false, now);  // it fell silent meanwhile
    }
    const std::uint32_t found = cycle_->ladder->result();
    PathMtu result = answered(customary_mtu(found));
    result.forward = cycle_->direction.forward();
    result.reverse = cycle_->direction.reverse();
    if (result.forward == Passage::passes && result.reverse == Passage::passes) {
        result.bytes = 0;  // each way passes by itself: a filter on large echoes, no MTU
        return conclude(result, 0, now);
    }
    result.verdict = MtuVerdict::black_hole;
    result.direction = cycle_->direction.direction();
    conclude(result, found, now);
}

// ---- The host's own limits

void PathMtuSession::on_too_big_for_device(std::uint32_t mtu, MonoTime now) {
    if (mtu >= target() || mtu < minimum_mtu(family_)) {
        return;
    }
    if (mtu != kernel_limit_) {
        finding_.reset();
        passes_ = false;
        ++revision_;
    }
    kernel_limit_ = mtu;
    kernel_limit_until_ = now + raise_interval;
    begin_anew(now);
}

/// A test of a direction that could not be made in full says nothing; the rest goes on.
void PathMtuSession::on_not_sent(const MtuPacket& packet, MonoTime now) {
    if (packet.form == MtuForm::echo) {
        return on_own_trouble(now);
    }
    if (cycle_) {
        cycle_->direction.spoil(packet.form == MtuForm::datagram ? Test::large_datagram
                                                                 : Test::large_answer);
    }
}

void PathMtuSession::on_own_trouble(MonoTime now) {
    if (!cycle_) {
        return;
    }
    if (chances_ < second_chances_max) {
        ++chances_;
        return begin_anew(now);
    }
    cycle_->beyond_kernel = false;
    const unsigned spoilt = spoilt_checks_ + 1U;
    if (spoilt < spoilt_checks_max) {
        end_cycle(now);
    } else {
        conclude_as_known(false, now);
    }
    spoilt_checks_ = static_cast<std::uint8_t>(std::min(spoilt, spoilt_checks_max));
}

}  // namespace reachd
