#include <algorithm>
#include <string_view>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "agent/agent.hpp"
#include "agent/guest_address_rules.hpp"
#include "agent/guest_entries.hpp"

namespace reachd {
namespace {

/// systemd's MESSAGE_ID, never to be changed.
constexpr std::string_view guests_refused_message = "d3c2f4c8b6f24e0f9e0ce35d2a9b7714";

/// Guests can change as often as they like; their peers follow at this pace.
constexpr Duration guests_interval = std::chrono::milliseconds(100);

/// By how much the one is more than the other, if at all.
std::size_t excess(std::size_t more, std::size_t less) {
    return more > less ? more - less : std::size_t{0};
}

std::shared_ptr<const PeerIdentity> identity_of(const GuestTarget& target) {
    return std::make_shared<const PeerIdentity>(
        target.name,
        target.address_text,
        PeerKind::guest,
        PeerDetails{{}, target.device, {}, target.bridge_name, target.vm});
}

}  // namespace

Agent::GuestsOnPort Agent::guests_on(IfIndex port) {
    const auto after = static_cast<IfIndex>(static_cast<std::uint32_t>(port) + 1);
    return {guest_peers_.lower_bound({port, {}, {}}), guest_peers_.lower_bound({after, {}, {}})};
}

void Agent::handle(const NeighbourHeard& event, const Instant& now) {
    if (is_for_gateways(event.use)) {
        return on_gateway_heard(event, now);
    }
    const NeighbourFrame& frame = event.frame;
    guests_.on_frame(event.port, frame, now);
    if (frame.wants_address()) {
        leave_alone(event.port, frame.mac, now.mono);
    }
    for (const auto& [key, guest] : guests_on(event.port)) {
        const auto& asked = peers_[guest.peer].extras->neighbour;
        // What answers a question of the host itself comes to the same MAC, if the bridge has it.
        if (key.mac != frame.mac || !asked || !is_answer_to(*asked, frame)) {
            continue;
        }
        const std::uint32_t session = peers_.session_of(guest.peer, ProbeKind::arp);
        if (session != no_session) {
            engine_.on_unnumbered_answer(session, event.received, now);
            guests_.on_seen(guest.target, now);
        }
        return;
    }
}

/// It may be about to check whether its address is in use: at once, since the table's own word
/// reaches the peers only with their next update.
void Agent::leave_alone(IfIndex port, const MacAddress& mac, MonoTime now) {
    for (const auto& [key, guest] : guests_on(port)) {
        if (key.mac != mac) {
            continue;
        }
        MonoTime& from = peers_[guest.peer].extras->neighbour_from;
        if (from <= now) {  // of one that rests already nothing has been asked since
            confirm_anew(guest.peer, now);
        }
        from = std::max(from, now + guest_claim_time);
    }
}

void Agent::confirm_anew(std::uint32_t peer, MonoTime now) {
    const auto session = peers_.session_of(peer, ProbeKind::arp);
    if (session != no_session) {
        engine_.confirm_anew(session, now);
    }
}

void Agent::handle(const NeighbourOverflowed& event, const Instant&) {
    if (is_for_gateways(event.use)) {
        return on_gateway_overflow(event);
    }
    for (const auto& [key, guest] : guests_on(event.port)) {
        const auto session = peers_.session_of(guest.peer, ProbeKind::arp);
        if (session != no_session) {
            engine_.on_receive_overflow_of(session);
        }
    }
}

void Agent::handle(const GuestPortFailed& event, const Instant& now) {
    guest_ports_failed_ += guests_.on_port_failed(event.port, event.reason, now.mono) ? 1U : 0U;
}

void Agent::handle(GuestsIdentified event, const Instant& now) {
    guests_.on_identified(std::move(event), now);
}

void Agent::handle(const GuestsRestored& event, const Instant& now) {
    guests_.on_restored(event.records, now);
}

void Agent::follow_guests(const Instant& now) {
    if (!netlink_.synced()) {
        return;
    }
    guests_.advance(netlink_.topology(), netlink_.take_fdb_news(), now);
    guests_.take_logs(now.mono, logs_);
    if (!refused_guests_.empty() && room_for_guests() > 0) {
        guests_followed_ = false;
    }
    if (now.mono < next_guests_ && !guests_.lost_ports()) {
        return;
    }
    if (!guests_followed_) {
        guests_.tell_again_at(now.mono);
    }
    const bool anew = !std::exchange(guests_followed_, true);
    if (const auto targets = guests_.take_targets(now.mono)) {
        next_guests_ = now.mono + guests_interval;
        apply_guests(*targets, anew, now);
    }
}

/// At once: another peer may have the series of a guest now.
void Agent::follow_guests_anew() {
    guests_followed_ = false;
    next_guests_ = {};
}

MonoTime Agent::guests_deadline() const {
    if (!netlink_.synced()) {
        return mono_never;
    }
    const MonoTime due = guests_followed_ ? guests_.targets_due() : MonoTime{};
    return std::min(guests_.next_deadline(), std::max(due, next_guests_));
}

/// Series that peers of other kinds have: no guest may take one.
std::set<std::string> Agent::series_of_others() const {
    std::set<std::string> series;
    for (std::uint32_t id = 0; id < peers_.places(); ++id) {
        if (peers_[id].identity && peers_[id].identity->kind() != PeerKind::guest) {
            series.insert(peers_[id].identity->label_text());
        }
    }
    return series;
}

void Agent::apply_guests(const std::vector<GuestTarget>& targets, bool anew, const Instant& now) {
    std::map<GuestKey, const GuestTarget*> wanted;
    std::optional<std::set<std::string>> taken;  // only asked for where somebody is new
    for (const GuestTarget& target : targets) {
        const GuestKey key{target.port, target.address, target.mac};
        if (anew || !guest_peers_.contains(key)) {
            if (!taken) {
                taken = series_of_others();
            }
            if (taken->contains(PeerIdentity(target.name, target.address_text).label_text())) {
                continue;
            }
        }
        wanted.emplace(key, &target);
    }
    remove_guests_not_in(wanted);
    std::vector<const GuestTarget*> fresh;
    for (const auto& [key, target] : wanted) {
        const auto known = guest_peers_.find(key);
        if (known == guest_peers_.end()) {
            fresh.push_back(target);
        } else if (anew || known->second.target != *target) {
            update_guest(known->second, *target, now);
        }
    }
    admit_guests(std::move(fresh), now);
}

void Agent::admit_guests(std::vector<const GuestTarget*> fresh, const Instant& now) {
    if (fresh.size() > room_for_guests()) {
        put_in_turn(fresh);
    }
    const auto refused_before = std::exchange(refused_guests_, {});
    for (const GuestTarget* target : fresh) {
        if (room_for_guests() > 0) {
            add_guest(*target, now);
            continue;
        }
        const GuestKey key{target->port, target->address, target->mac};
        refused_guests_.insert(key);
        if (!refused_before.contains(key)) {
            count_refused(*target);
        }
    }
}

/// A guest makes up addresses, and MACs, as it likes: the first address of each MAC comes before
/// the second one of any, and of those one of each port before another one of any. What each has
/// already counts.
void Agent::put_in_turn(std::vector<const GuestTarget*>& fresh) const {
    using Turn = std::pair<std::size_t, std::size_t>;
    std::map<std::pair<IfIndex, MacAddress>, std::size_t> addresses;
    std::map<std::pair<IfIndex, std::size_t>, std::size_t> macs;  // that have so many addresses
    const auto take_turn = [&addresses, &macs](IfIndex port, const MacAddress& mac) {
        const std::size_t before = addresses[{port, mac}]++;
        return Turn(before, macs[{port, before}]++);
    };
    for (const auto& [key, guest] : guest_peers_) {
        static_cast<void>(take_turn(key.port, key.mac));
    }
    std::vector<std::pair<Turn, const GuestTarget*>> turns;
    turns.reserve(fresh.size());
    for (const GuestTarget* target : fresh) {
        turns.emplace_back(take_turn(target->port, target->mac), target);
    }
    std::stable_sort(
        turns.begin(), turns.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::transform(
        turns.begin(), turns.end(), fresh.begin(), [](const auto& turn) { return turn.second; });
}

void Agent::remove_guests_not_in(const std::map<GuestKey, const GuestTarget*>& wanted) {
    std::erase_if(guest_peers_, [&](const auto& entry) {
        const auto& [key, guest] = entry;
        const auto found = wanted.find(key);
        const bool keep = found != wanted.end() &&
                          found->second->generation == guest.target.generation &&
                          found->second->name == guest.target.name &&
                          found->second->address_text == guest.target.address_text;
        if (!keep) {
            remove_peer(guest.peer);
        }
        return !keep;
    });
}

std::size_t Agent::room_for_guests() const {
    return std::min(excess(config_.limits.guests, guest_peers_.size()),
                    excess(config_.limits.peers, peers_.size()));
}

/// The operator's own peers come first, then gateways, of which `others` are to find room; of the
/// guests those that were found last go first.
void Agent::evict_guests(std::size_t others) {
    const std::size_t count =
        std::min(guest_peers_.size(),
                 std::max(excess(guest_peers_.size(), config_.limits.guests),
                          excess(peers_.size() + others, config_.limits.peers)));
    if (count == 0) {
        return;
    }
    std::vector<GuestPeers::iterator> latest;
    for (auto guest = guest_peers_.begin(); guest != guest_peers_.end(); ++guest) {
        latest.push_back(guest);
    }
    std::sort(latest.begin(), latest.end(), [](const auto& a, const auto& b) {
        return a->second.serial > b->second.serial;
    });
    latest.resize(count);
    for (const auto& guest : latest) {
        remove_peer(guest->second.peer);
        guest_peers_.erase(guest);
    }
    follow_guests_anew();  // who has to go is refused from now on
}

/// Each time that it comes to be refused, however often the guests are looked at meanwhile.
void Agent::count_refused(const GuestTarget& target) {
    ++guests_refused_;
    if (std::exchange(guests_refused_logged_, true)) {
        return;
    }
    logs_.push_back({LogLevel::warning,
                     fmt::format("guest {} ({}) is not probed: limits.guests ({}) or "
                                 "limits.peers ({}) is reached",
                                 target.name,
                                 target.address_text,
                                 config_.limits.guests,
                                 config_.limits.peers),
                     guests_refused_message,
                     {}});
}

/// A port that left its bridge would still carry a question to its guest, and an answer back; the
/// guest is cut off all the same, and not asked. Nor is one while its link is down: it may be up by
/// then, and its guest check its address.
void Agent::aim_at_guest(Peer& peer, const GuestTarget& target) const {
    peer.target.destination = target.address;
    peer.target.device = target.host_device;
    if (target.address.is_link_local_v6() && target.host_device != IfIndex::any) {
        // The zone in its name is of the port; a socket bound to one device refuses another's zone.
        peer.target.destination.set_scope(target.host_device);
    }
    if (!peer.extras) {
        peer.extras = std::make_unique<PeerExtras>();
    }
    peer.extras->neighbour_from = target.probe_from;
    peer.extras->neighbour_cut_off = !target.attached || !target.up || !target.port_mac ||
                                     target.port_mac->is_zero() || target.port_mac->is_group();
    if (peer.extras->neighbour_cut_off) {
        return;
    }
    IpAddress sender = link_local_address(*target.port_mac);
    if (target.address.family() == Family::ipv4) {
        sender = config_.arp.sender.value_or(IpAddress{});
    }
    peer.extras->neighbour =
        NeighbourTarget{target.port, target.address, target.mac, *target.port_mac, sender};
}

std::vector<Agent::ProbeSpec> Agent::guest_probes(const GuestTarget& target) const {
    std::vector<ProbeSpec> probes;
    if (target.host_device != IfIndex::any) {
        probes = ip_probes(PeerKind::guest, config_.icmp, config_.tcp);
    }
    if (config_.arp.enabled && target.listened) {
        probes.push_back(
            {{ProbeKind::arp, PeerKind::guest, config_.arp.interval, config_.arp.timeout}});
    }
    return probes;
}

void Agent::add_guest(const GuestTarget& target, const Instant& now) {
    if (now.mono < target.probe_from) {
        guests_.tell_again_at(target.probe_from);
        return;
    }
    Peer peer;
    peer.identity = identity_of(target);
    aim_at_guest(peer, target);
    const auto id = add_peer(std::move(peer), config_.icmp, config_.mtu, guest_probes(target), now);
    guest_peers_.emplace(GuestKey{target.port, target.address, target.mac},
                         GuestPeer{target, id, next_guest_serial_++});
}

void Agent::update_guest(GuestPeer& guest, const GuestTarget& target, const Instant& now) {
    Peer& peer = peers_[guest.peer];
    const PeerDetails& details = peer.identity->details();
    if (details.device != target.device || details.bridge != target.bridge_name ||
        details.vm != target.vm) {
        peer.identity = identity_of(target);
    }
    const bool was_cut_off = peer.extras->neighbour_cut_off;
    const bool rested = peer.extras->neighbour_from > now.mono;
    aim_at_guest(peer, target);
    if ((was_cut_off && !peer.extras->neighbour_cut_off) ||
        (!rested && target.probe_from > now.mono)) {
        confirm_anew(guest.peer, now.mono);
    }
    set_echo_options(peer, config_.icmp);
    set_probes(guest.peer, guest_probes(target), now);
    want_mtu(guest.peer, config_.mtu, now);
    aim_mtu(guest.peer, false, now);
    guest.target = target;
}

void Agent::snapshot_guests(Snapshot& snapshot, const Instant& now) const {
    guests_.snapshot(snapshot.guests, now);
    if (snapshot.guests.empty()) {
        return;
    }
    std::vector<std::tuple<std::string_view, std::string, std::uint32_t>> places;
    for (std::uint32_t place = 0; place < snapshot.peers.size(); ++place) {
        const PeerIdentity& identity = *snapshot.peers[place].identity;
        if (identity.kind() == PeerKind::guest) {
            places.emplace_back(identity.details().device, identity.address(), place);
        }
    }
    std::sort(places.begin(), places.end());
    for (GuestSnapshot& guest : snapshot.guests) {
        for (GuestAddressSnapshot& address : guest.addresses) {
            if (address.vlan != 0) {
                continue;  // its namesake outside the guest's own VLANs is the one that is asked
            }
            const std::pair<std::string_view, const std::string&> key(guest.device,
                                                                      address.address);
            const auto found = std::lower_bound(
                places.begin(), places.end(), key, [](const auto& each, const auto& wanted) {
                    return std::tie(std::get<0>(each), std::get<1>(each)) <
                           std::tie(wanted.first, wanted.second);
                });
            if (found != places.end() && std::get<0>(*found) == key.first &&
                std::get<1>(*found) == key.second) {
                address.peer = std::get<2>(*found);
            }
        }
    }
}

}  // namespace reachd
