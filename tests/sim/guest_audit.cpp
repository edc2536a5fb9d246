#include "tests/sim/guest_audit.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "agent/guest_entries.hpp"
#include "agent/guest_table.hpp"
#include "tests/sim/guests.hpp"

namespace reachd::sim {
namespace {

/// The public interface: down 1 s after the first unanswered probe timed out, up 1 s after the
/// first answer.
constexpr Duration verdict_time = 1s;
constexpr Duration lag_noise = 30ms;
/// A probe may get its time-out again this often; see ProbeEngine.
constexpr int lives_max = 3;
/// The last probe of a burst has this long to be answered before the verdict.
constexpr Duration burst_patience =
    ProbeEngine::verdict_delay - ProbeEngine::burst_size * ProbeEngine::burst_spacing;
/// Slewing clocks make stamps this wrong at most, over one probe.
constexpr Duration stamp_margin = 2ms;
/// The whole of a guest's own checking (RFC 5227, section 1.1): no question may fall into it.
constexpr Duration check_time = 9s;
/// The topology is looked at at a pace: a shorter flap of a link may never be seen.
constexpr Duration flap_noticed = 250ms;
/// From a change of the kernel's tables to the peers, at the paces of the agent.
constexpr Duration follow_time = 1s;
/// A guest that was itself for so long cannot be down.
constexpr Duration healthy_time = 8s;
/// From the last change to all being up: silence of a MAC's old port, a claim, the first probe.
constexpr Duration settle_time = 22s;
/// The self-throttle takes its time to believe that all is well.
constexpr Duration unthrottle_time = 20s;

std::string who(const PeerIdentity& identity) {
    return fmt::format("guest {} ({})", identity.name(), identity.address());
}

bool is_guest(const PeerSnapshot& peer) {
    return peer.identity->kind() == PeerKind::guest;
}

/// As GuestTable tells ordinary use from announcements.
bool shows_use(const NeighbourFrame& frame) {
    switch (frame.kind) {
        case NeighbourFrame::Kind::arp_request:
        case NeighbourFrame::Kind::arp_reply: return frame.address != frame.target;
        case NeighbourFrame::Kind::solicitation: return true;
        case NeighbourFrame::Kind::advertisement: return frame.solicited;
        case NeighbourFrame::Kind::dhcp_request:
        case NeighbourFrame::Kind::dhcp_ack: break;
    }
    return false;
}

}  // namespace

void GuestAudit::set_options(const Config& config) {
    arp_ = config.arp;
    echo_interval_ = config.icmp.interval;
    echo_timeout_ = config.icmp.timeout;
    guests_max_ = config.limits.guests;
}

void GuestAudit::suspect(const std::string& what, Duration patience, MonoTime now) {
    const auto known = suspicions_.find(what);
    const MonoTime since = known == suspicions_.end() ? now : known->second;
    fresh_suspicions_.emplace(what, since);
    if (now - since > patience && last_trouble_ + patience < now) {
        fail(what, now);
    }
}

// --- What the agent was told ---------------------------------------------------------------------

void GuestAudit::note_behind(std::uint32_t port_serial, const MacAddress& mac) {
    behind_.emplace(port_serial, mac);
}

void GuestAudit::note_read(std::uint32_t port_serial, const NeighbourFrame& frame, MonoTime now) {
    // A check may be the first that is heard of the address, and is no claim.
    const IpAddress& address = frame.is_probe() ? frame.target : frame.address;
    Claim& claim = claims_.try_emplace({frame.mac, address}, Claim{now, {}, {}}).first->second;
    if (frame.is_probe()) {
        claim.checked[port_serial] = now;
    } else if (shows_use(frame)) {
        claim.used = now;
    }
}

void GuestAudit::note_restored(const GuestAddressRecord& record) {
    Claim claim;
    claim.restored = true;
    claims_[{record.mac, record.address}] = claim;
}

// --- Questions -----------------------------------------------------------------------------------

void GuestAudit::judge_request(const NeighbourTarget& target, std::uint32_t serial, MonoTime now) {
    const std::string what = fmt::format("question for {} to {} on port {}",
                                         target.address.to_string(),
                                         mac_of(target).to_string(),
                                         static_cast<unsigned>(target.device));
    if (target.address.family() == Family::ipv6 && target.sender.is_unspecified()) {
        fail(what + " from ::", now);
    }
    if (mac_of(target).is_group() || mac_of(target).is_zero()) {
        fail(what + " is not for one guest", now);
    }
    if (!behind_.contains({serial, mac_of(target)})) {
        fail(what + ", where that was never seen", now);
    }
    if (own_.contains(target.address.without_scope())) {
        fail(what + ", an address of the host", now);
    }
    const auto claim = claims_.find({mac_of(target), target.address.without_scope()});
    if (claim == claims_.end()) {
        fail(what + ", which that never used", now);
    } else {
        judge_time(target, serial, claim->second, now);
    }
}

/// A question out of another port than the guest's reaches somebody else: that is no harm.
void GuestAudit::judge_time(const NeighbourTarget& target,
                            std::uint32_t serial,
                            const Claim& claim,
                            MonoTime now) {
    const std::string what = fmt::format(
        "question for {} to {}", target.address.to_string(), mac_of(target).to_string());
    const auto checked = claim.checked.find(serial);
    if (checked != claim.checked.end() && now - checked->second < check_time) {
        fail(fmt::format("{} {:.3f} s after its own", what, to_seconds(now - checked->second)),
             now);
    }
    if (!claim.used && !claim.restored && now - claim.first < guest_claim_time) {
        fail(fmt::format("{} {:.3f} s after its claim", what, to_seconds(now - claim.first)), now);
    }
    const Guests::Port& port = guests_.ports().at(static_cast<int>(target.device));
    // A link that flaps while we stand still has never been down for us.
    if (guests_.is_doubtful() || port.up_since - port.down_since < flap_noticed ||
        last_trouble_ >= port.down_since) {
        return;
    }
    const bool used = claim.restored || (claim.used && *claim.used >= port.up_since);
    const Duration up = now - port.up_since;
    if (up < (used ? guest_settle_time : guest_claim_time)) {
        fail(fmt::format("{} {:.3f} s after its link came up", what, to_seconds(up)), now);
    }
}

GuestAudit::Truth& GuestAudit::session_of(const NeighbourRequest& request) {
    const NeighbourTarget& target = request.target;
    Truth& known = truths_[{static_cast<int>(target.device), target.address.without_scope()}];
    const ProbeToken& token = request.order.token;
    const auto port = guests_.ports().find(static_cast<int>(target.device));
    const std::uint32_t serial = port == guests_.ports().end() ? 0 : port->second.serial;
    const bool same = known.mac == mac_of(target) && known.port_serial == serial &&
                      known.last.session == token.session &&
                      (token.sequence > known.last.sequence || request.order.repeated);
    if (!same) {
        known = {};
        known.mac = mac_of(target);
        known.port_serial = serial;
        known.life = ++lives_;
    }
    if (!request.order.repeated) {
        known.last = token;
    }
    return known;
}

void GuestAudit::note_sent(const NeighbourRequest& request,
                           std::optional<Duration> answer_after,
                           MonoTime now) {
    const Guests::Port& port = guests_.ports().at(static_cast<int>(request.target.device));
    judge_request(request.target, port.serial, now);
    Truth& what = session_of(request);
    what.sent += request.order.repeated ? 0U : 1U;
    what.sends[what.sent % sends_remembered] = now;  // asked once more: out for so much longer
    if (answer_after && *answer_after <= arp_.timeout) {
        // In time, and perhaps too slow to change a verdict.
        const bool slow = request.order.in_burst && *answer_after > burst_patience;
        what.failures_since_answer += slow ? 1U : 0U;
        return;
    }
    ++what.failed;
    ++what.failures_since_answer;
}

void GuestAudit::note_not_sent(const NeighbourRequest& request, MonoTime now) {
    Truth& what = session_of(request);
    ++what.failures_since_answer;
    what.last_not_sent = now;
}

void GuestAudit::note_answer_read(const NeighbourAnswer& answer,
                                  MonoTime arrived,
                                  const Instant& now) {
    Truth& what = truths_[{answer.port, answer.address}];
    ++what.answers;
    what.last_answer_read = now.mono;
    if (what.last.session != answer.token.session) {
        // It has no number: by all that can be seen, it answers what this session has asked.
        what.failures_since_answer = 0;
        return;
    }
    if (const auto claim = claims_.find({what.mac, answer.address}); claim != claims_.end()) {
        claim->second.used = now.mono;
    }
    const Duration wall_ahead = now.wall.time_since_epoch() - now.mono.time_since_epoch();
    const Duration most = arp_.timeout - stamp_margin;
    const bool stamps_hold = wall_ahead - answer.wall_ahead <= stamp_margin &&
                             answer.wall_ahead - wall_ahead <= stamp_margin;
    if (arrived - answer.sent > most || (now.mono - answer.sent > most && !stamps_hold)) {
        return note_answer_dropped(answer, now.mono);
    }
    what.last_sure_answer = arrived;
    what.failures_since_answer = 0;
}

/// Or too late, perhaps.
void GuestAudit::note_answer_dropped(const NeighbourAnswer& answer, MonoTime) {
    Truth& what = truths_[{answer.port, answer.address}];
    ++what.failed;
    ++what.failures_since_answer;
}

void GuestAudit::note_lag(Duration lag, MonoTime now) {
    if (lag > lag_noise) {
        note_trouble(now);
    } else {
        lag_max_ = std::max(lag_max_, lag);
    }
}

// --- Verdicts in time ----------------------------------------------------------------------------

void GuestAudit::expect(std::size_t guest, bool up, MonoTime now) {
    if (up && guests_[guest].loss > 0) {
        return;  // it may take several questions
    }
    Duration time = std::max(arp_.interval, echo_interval_) + verdict_time + lives_max * lag_noise;
    time += up ? Duration::zero() : std::max(arp_.timeout, echo_timeout_);
    for (const IpAddress& address : guests_[guest].addresses) {
        const Place place{guests_[guest].port, address};
        const auto known = places_.find(place);
        if (known != places_.end() && (up || known->second->up == true)) {
            checks_.push_back({now + time, now, guest, place, known->second->identity.get(), up});
        }
    }
}

/// Any of the MAC's addresses: all are left alone then.
bool GuestAudit::was_asked_to_wait(const Place& place, MonoTime since) const {
    const auto truth = truths_.find(place);
    if (truth == truths_.end()) {
        return true;
    }
    return std::any_of(claims_.begin(), claims_.end(), [&](const auto& entry) {
        const auto& [key, claim] = entry;
        return key.first == truth->second.mac &&
               std::any_of(claim.checked.begin(), claim.checked.end(), [&](const auto& each) {
                   return each.second + guest_claim_time + verdict_time > since;
               });
    });
}

bool GuestAudit::is_excused(const Check& check) const {
    const auto port = guests_.ports().find(check.place.first);
    return port == guests_.ports().end() || !guests_.is_heard(check.place.first) ||
           (check.up && !port->second.up) || port->second.disturbed + follow_time >= check.since ||
           port->second.up_since + guest_claim_time + follow_time >= check.since ||
           guests_.is_doubtful() || guests_[check.guest].disturbed > check.since ||
           last_trouble_ + unthrottle_time >= check.since ||
           was_asked_to_wait(check.place, check.since);
}

void GuestAudit::run_checks(const Agent& agent, const Instant& now) {
    std::vector<Check> due;
    std::erase_if(checks_, [&](const Check& check) {
        const bool is_due = check.at < now.mono;
        if (is_due && !is_excused(check)) {
            due.push_back(check);
        }
        return is_due;
    });
    if (due.empty()) {
        return;
    }
    const Snapshot snapshot = agent.snapshot(now);
    for (const Check& check : due) {
        for (const PeerSnapshot& peer : snapshot.peers) {
            if (peer.identity.get() == check.identity && peer.up != check.up) {
                fail(fmt::format("{} is not {}, though so since {:.6f} s ago",
                                 who(*peer.identity),
                                 check.up ? "up" : "down",
                                 to_seconds(now.mono - check.since)),
                     now.mono);
            }
        }
    }
}

void GuestAudit::turn_done(const Agent& agent, const Instant& now) {
    if (!checks_.empty()) {
        run_checks(agent, now);
    }
    if (agent.verdicts() != std::exchange(verdicts_seen_, agent.verdicts())) {
        look(agent, agent.snapshot(now), now);
    }
}

// --- Looks ---------------------------------------------------------------------------------------

std::optional<GuestAudit::Place> GuestAudit::place_of(const PeerIdentity& identity) const {
    const std::string text = identity.address();
    const auto address = IpAddress::parse(text.substr(0, text.find('%')));
    for (const auto& [index, port] : guests_.ports()) {
        if (address && port.name == identity.details().device) {
            return Place{index, *address};
        }
    }
    return std::nullopt;
}

/// Devices may have had other names a moment ago.
bool GuestAudit::is_known_place(const Place& place, MonoTime now) const {
    return !guests_.is_doubtful() && guests_.ports().at(place.first).disturbed + follow_time < now;
}

void GuestAudit::look(const Agent& agent, const Snapshot& snapshot, const Instant& now) {
    look_at_limits(snapshot, now.mono);
    look_at_owners(agent, snapshot, now.mono);
    look_at_reasons(snapshot, now.mono);
    std::map<std::string, Known> fresh;
    for (const PeerSnapshot& peer : snapshot.peers) {
        if (is_guest(peer)) {
            fresh[peer.identity->label_text()] = {peer.identity, peer.up, {}, {}};
        }
    }
    for (const ProbeSnapshot& probe : snapshot.probes) {
        if (!is_guest(snapshot.peers[probe.peer])) {
            continue;
        }
        const auto known = fresh.find(snapshot.peers[probe.peer].identity->label_text());
        known->second.counters.push_back(probe.counters);
        if (probe.kind == ProbeKind::arp) {
            known->second.asked = probe.counters;
        }
    }
    places_.clear();
    std::swap(known_, fresh);
    for (auto& [labels, known] : known_) {
        const auto before = fresh.find(labels);
        if (before != fresh.end()) {
            known.life = before->second.life;
            known.sent_before = before->second.sent_before;
            look_at_counters(known, before->second, now.mono);
        }
        const auto place = place_of(*known.identity);
        if (!place || !is_known_place(*place, now.mono)) {
            continue;
        }
        places_[*place] = &known;
        look_at_session(known, *place, now.mono);
        const auto was = before != fresh.end() ? before->second.up : std::nullopt;
        if (known.up != was) {
            look_at_verdict(known, *place, now.mono);
        }
    }
    suspicions_ = std::exchange(fresh_suspicions_, {});
}

void GuestAudit::look_at_limits(const Snapshot& snapshot, MonoTime now) {
    const auto peers = static_cast<std::size_t>(
        std::count_if(snapshot.peers.begin(), snapshot.peers.end(), is_guest));
    if (peers > guests_max_) {
        fail(fmt::format("{} guests are probed, {} is the limit", peers, guests_max_), now);
    }
    for (const GuestSnapshot& guest : snapshot.guests) {
        if (guest.addresses.size() > GuestTable::addresses_per_port_max ||
            guest.macs.size() > GuestTable::macs_per_port_max) {
            fail(fmt::format("{} MACs and {} addresses on {}",
                             guest.macs.size(),
                             guest.addresses.size(),
                             guest.device),
                 now);
        }
        std::map<MacAddress, std::size_t> counts;
        for (const GuestAddressSnapshot& address : guest.addresses) {
            if (++counts[address.mac] > GuestTable::addresses_per_mac_max) {
                fail("too many addresses of " + address.mac.to_string(), now);
            }
        }
    }
}

void GuestAudit::look_at_owners(const Agent& agent, const Snapshot& snapshot, MonoTime now) {
    std::set<IpAddress> gateways;
    for (const Gateway& gateway : agent.topology().default_gateways()) {
        gateways.insert(gateway.address.without_scope());
    }
    for (const PeerSnapshot& peer : snapshot.peers) {
        if (!is_guest(peer)) {
            continue;
        }
        const std::string text = peer.identity->address();
        const auto address = IpAddress::parse(text.substr(0, text.find('%')));
        if (!address || own_.contains(*address)) {
            fail(who(*peer.identity) + " has an address of the host", now);
        } else if (gateways.contains(*address)) {
            suspect(who(*peer.identity) + " has the address of a gateway", follow_time, now);
        }
        if (!place_of(*peer.identity) && !guests_.is_doubtful()) {
            suspect(who(*peer.identity) + " has lost its port, and stays", follow_time, now);
        }
    }
}

void GuestAudit::look_at_reasons(const Snapshot& snapshot, MonoTime now) {
    std::map<std::uint32_t, std::uint64_t> losses;
    for (const FailureCount& failure : snapshot.failures) {
        losses[failure.probe] += is_loss(failure.reason) ? failure.count : 0;
    }
    for (std::uint32_t i = 0; i < snapshot.probes.size(); ++i) {
        const ProbeSnapshot& probe = snapshot.probes[i];
        const PeerSnapshot& peer = snapshot.peers[probe.peer];
        const ProbeCounters& is = probe.counters;
        if (is_guest(peer) && (losses[i] != is.lost || is.received + is.lost > is.sent)) {
            fail(fmt::format("{}: {} sent, {} received, {} lost, {} by reason",
                             who(*peer.identity),
                             is.sent,
                             is.received,
                             is.lost,
                             losses[i]),
                 now);
        }
    }
}

void GuestAudit::look_at_counters(const Known& fresh, const Known& before, MonoTime now) {
    if (fresh.identity != before.identity || fresh.counters.size() != before.counters.size()) {
        return;  // another peer by these labels, or asked in other ways
    }
    for (std::size_t i = 0; i < fresh.counters.size(); ++i) {
        const ProbeCounters& is = fresh.counters[i];
        const ProbeCounters& was = before.counters[i];
        if (is.sent < was.sent || is.received < was.received || is.lost < was.lost) {
            fail(who(*fresh.identity) + ": a counter fell", now);
        }
    }
}

void GuestAudit::look_at_session(Known& fresh, const Place& place, MonoTime now) {
    if (!fresh.asked || fresh.asked->sent == 0) {
        return;
    }
    const ProbeCounters& is = *fresh.asked;
    const Truth& what = truths_[place];
    // A session can begin before the world sees its first question: others may have been skipped.
    if (what.life != fresh.life) {
        fresh.life = what.life;
        fresh.sent_before = what.sent - std::min(is.sent, what.sent);
    }
    if (is.sent + fresh.sent_before != what.sent || is.received > what.answers ||
        is.lost > what.failed) {
        fail(fmt::format("{}: {} sent, {} received, {} lost; in truth {}, {}, {}",
                         who(*fresh.identity),
                         is.sent,
                         is.received,
                         is.lost,
                         what.sent,
                         what.answers,
                         what.failed),
             now);
    }
    look_at_in_flight(fresh, place, now);
}

/// No more than what was asked within the life of a probe. One that our own trouble has us ask once
/// more waits for as long as its guest is to be left alone.
void GuestAudit::look_at_in_flight(const Known& fresh, const Place& place, MonoTime now) {
    const ProbeCounters& is = *fresh.asked;
    const Truth& what = truths_[place];
    const Duration life = arp_.timeout + 2 * TimerWheel::tick + lives_max * lag_max_;
    const MonoTime asked_again =
        guests_.ports().at(place.first).up_since + guest_claim_time + follow_time + life;
    if (last_trouble_ + lives_max * life > now || asked_again > now ||
        was_asked_to_wait(place, now)) {
        return;
    }
    const auto lately = static_cast<std::uint64_t>(std::count_if(
        what.sends.begin(), what.sends.end(), [&](MonoTime sent) { return sent + life > now; }));
    if (lately < sends_remembered && is.sent - is.received - is.lost > lately) {
        fail(fmt::format("{}: {} in flight, {} sent lately",
                         who(*fresh.identity),
                         is.sent - is.received - is.lost,
                         lately),
             now);
    }
}

void GuestAudit::look_at_verdict(const Known& fresh, const Place& place, MonoTime now) {
    if (!fresh.up) {
        return;  // asked in another way from now on
    }
    const Truth& what = truths_[place];
    const bool only_asked = fresh.asked && fresh.counters.size() == 1;
    const Guests::Port& port = guests_.ports().at(place.first);
    if (*fresh.up) {
        if (only_asked && what.last_answer_read != now) {
            fail(who(*fresh.identity) + " is up without an answer", now);
        }
        return;
    }
    if (only_asked && what.last_sure_answer > now - ProbeEngine::verdict_delay) {
        fail(who(*fresh.identity) + " is down, though it answered just now", now);
    }
    if (only_asked && port.up && what.failures_since_answer < ProbeEngine::burst_size) {
        fail(fmt::format(
                 "{} is down after {} failures", who(*fresh.identity), what.failures_since_answer),
             now);
    }
    const Guest* guest = guests_.owner_of(place.first, place.second);
    if (guest != nullptr && guest->mac == what.mac && !guest->hung && port.up && guest->loss == 0 &&
        guests_.is_heard(place.first) && guest->disturbed + healthy_time < now &&
        port.disturbed + healthy_time < now) {
        fail(who(*fresh.identity) + " is down, though it is healthy", now);
    }
}

// --- The end -------------------------------------------------------------------------------------

bool GuestAudit::must_be_up(const Guest& guest, const IpAddress& address, MonoTime now) const {
    const auto port = guests_.ports().find(guest.port);
    if (port == guests_.ports().end() || !guests_.is_heard(guest.port) || guest.hung ||
        guest.is_liar || guest.disturbed + settle_time > now ||
        port->second.disturbed + settle_time > now || forged_.contains(address)) {
        return false;
    }
    std::size_t claimed = 0;
    std::size_t claimants = 0;
    for (const auto& [key, claim] : claims_) {
        claimed += key.first == guest.mac ? 1U : 0U;
        claimants += key.second == address ? 1U : 0U;
    }
    return claimed <= GuestTable::addresses_per_mac_max && claimants == 1 && !port->second.lied_to;
}

void GuestAudit::expect_settled(const Snapshot& snapshot) {
    const MonoTime now = snapshot.taken.mono;
    std::set<Place> up;
    std::size_t peers = 0;
    for (const PeerSnapshot& peer : snapshot.peers) {
        if (!is_guest(peer)) {
            continue;
        }
        ++peers;
        if (const auto place = place_of(*peer.identity); !place) {
            fail(who(*peer.identity) + " has no port", now);
        } else if (peer.up == true) {
            up.insert(*place);
        }
    }
    for (std::size_t i = 0; i < guests_.size() && peers < guests_max_; ++i) {
        for (const IpAddress& address : guests_[i].addresses) {
            if (must_be_up(guests_[i], address, now) && !up.contains({guests_[i].port, address})) {
                fail(fmt::format("{} on port {} is not up in a healthy world",
                                 address.to_string(),
                                 guests_[i].port),
                     now);
            }
        }
    }
}

}  // namespace reachd::sim
