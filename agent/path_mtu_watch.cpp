#include "agent/path_mtu_watch.hpp"

#include <algorithm>

#include "common/check.hpp"
#include "common/even_spread.hpp"

namespace reachd {

PathMtuWatch::PathMtuWatch(std::uint32_t bytes_per_second, MonoTime start)
    : prober_(bytes_per_second, start) {}

PathMtuWatch::Entry& PathMtuWatch::entry(std::uint32_t peer) {
    if (peer >= entries_.size()) {
        entries_.resize(peer + 1);
    }
    return entries_[peer];
}

const PathMtuWatch::Entry* PathMtuWatch::find(std::uint32_t peer) const {
    return peer < entries_.size() && entries_[peer].session != none ? &entries_[peer] : nullptr;
}

/// The place of these options. Few differ, however many peers there are.
std::uint32_t PathMtuWatch::keep(const MtuOptions& options) {
    auto place = std::find_if(options_.begin(), options_.end(), [&options](const OptionsUse& use) {
        return use.users > 0 && use.options == options;
    });
    if (place == options_.end()) {
        place = std::find_if(
            options_.begin(), options_.end(), [](const OptionsUse& use) { return use.users == 0; });
    }
    if (place == options_.end()) {
        place = options_.emplace(place);
    }
    place->options = options;
    const auto found = static_cast<std::uint32_t>(place - options_.begin());
    ENSURE(found < no_options);  // no more than there are peers
    return found;
}

void PathMtuWatch::set_options(Entry& entry, std::uint32_t place) {
    if (place != no_options) {
        ++options_[place].users;
    }
    if (entry.options != no_options) {
        --options_[entry.options].users;
    }
    entry.options = place & no_options;
}

PathMtuOptions PathMtuWatch::session_options(const Entry& entry) const {
    const MtuOptions& options = options_[entry.options].options;
    return {entry.family, options.interval, options.timeout};
}

// ---- Who and where

void PathMtuWatch::want(std::uint32_t peer, const MtuOptions& options, MonoTime now) {
    Entry& wanted = entry(peer);
    const std::uint32_t place = options.enabled ? keep(options) : no_options;
    if (wanted.options == place) {
        return;
    }
    set_options(wanted, place);
    if (place == no_options) {
        close(wanted);
        return;
    }
    if (wanted.session != none) {
        prober_.set_options(wanted.session, session_options(wanted), now);
    }
    apply(peer, now);
    if (needs_lookup(wanted)) {
        doubt_ways(now);
    }
}

PathMtuWatch::Aiming PathMtuWatch::aiming_of(const std::optional<MtuAim>& aim) {
    return !aim                          ? Aiming::nowhere
           : aim->port != IfIndex::any   ? Aiming::at_port
           : aim->device != IfIndex::any ? Aiming::by_device
                                         : Aiming::by_routes;
}

/// As far as that is fixed.
bool PathMtuWatch::leads_to(const Entry& entry, const MtuAim& aim) {
    const bool same_egress = entry.way != nullptr && entry.way->first.egress == aim.device;
    switch (entry.aiming) {
        case Aiming::nowhere:
        case Aiming::by_routes: return true;
        case Aiming::by_device: return same_egress;
        case Aiming::at_port: return same_egress && entry.way->first.port == aim.port;
    }
    return true;
}

void PathMtuWatch::aim(std::uint32_t peer,
                       const std::optional<MtuAim>& aim,
                       bool anew,
                       const Topology& topology,
                       MonoTime now) {
    Entry& aimed = entry(peer);
    const Aiming aiming = aiming_of(aim);
    const Family family = aim ? aim->family : Family::ipv4;  // none is asked without
    const bool same = aimed.aiming == aiming && aimed.family == family;
    if (same && !anew && (!aim || leads_to(aimed, *aim))) {
        return;
    }
    if (anew) {
        close(aimed);
    }
    drop_way(aimed);
    aimed.aiming = aiming;
    aimed.family = family;
    if (aiming == Aiming::by_device || aiming == Aiming::at_port) {
        set_way(peer, {aim->device, aim->port}, topology, now);
    } else {
        apply(peer, now);
    }
    if (needs_lookup(aimed)) {
        doubt_ways(now);
    }
}

void PathMtuWatch::forget(std::uint32_t peer) {
    if (peer < entries_.size()) {
        close(entries_[peer]);
        drop_way(entries_[peer]);
        set_options(entries_[peer], no_options);
        entries_[peer] = Entry{};
    }
}

void PathMtuWatch::close(Entry& entry) {
    if (entry.session != none) {
        prober_.close(entry.session);
        entry.session = none;
    }
}

// ---- The way out

bool PathMtuWatch::needs_lookup(const Entry& entry) {
    const bool by_bridge = entry.aiming == Aiming::by_device && entry.way->second.is_bridge;
    return entry.options != no_options && (entry.aiming == Aiming::by_routes || by_bridge);
}

bool PathMtuWatch::lacks_port(const Entry& entry) {
    return needs_lookup(entry) && entry.way != nullptr && entry.way->second.is_bridge &&
           entry.way->first.port == IfIndex::any;
}

void PathMtuWatch::on_egress(std::uint32_t peer,
                             const MtuWay& found,
                             const Topology& topology,
                             MonoTime now) {
    const Entry& known = entry(peer);
    if (!needs_lookup(known)) {
        return;
    }
    MtuWay way = found;
    if (known.aiming == Aiming::by_device && way.egress != known.way->first.egress) {
        way = {known.way->first.egress, IfIndex::any};  // routes know nothing of it
    }
    if (known.way == nullptr || known.way->first != way) {
        set_way(peer, way, topology, now);
    }
}

void PathMtuWatch::set_way(std::uint32_t peer,
                           const MtuWay& way,
                           const Topology& topology,
                           MonoTime now) {
    const auto at = ways_.try_emplace(way).first;
    WayUse& use = at->second;
    if (use.users++ == 0) {
        look_at(*at, topology);
    }
    drop_way(entries_[peer]);
    entries_[peer].way = &*at;
    apply(peer, now);
}

void PathMtuWatch::look_at(Ways::value_type& way, const Topology& topology) {
    const auto egress = topology.link(way.first.egress);
    way.second.mtu = mtu_of(way.first, topology);
    way.second.is_bridge = egress && egress->kind == LinkKind::bridge;
}

void PathMtuWatch::drop_way(Entry& entry) {
    if (entry.way == nullptr) {
        return;
    }
    if (--entry.way->second.users == 0) {
        ways_.erase(entry.way->first);
    }
    entry.way = nullptr;
}

/// Without a way out nothing is expected.
PathMtuFacts PathMtuWatch::facts_of(const Entry& entry) const {
    if (entry.way == nullptr || entry.way->first.egress == IfIndex::any) {
        return {};
    }
    const WayMtu& mtu = entry.way->second.mtu;
    const std::uint32_t wished = options_[entry.options].options.expected_bytes;
    return {wished != 0 ? wished : mtu.expected, mtu.smallest, mtu.device};
}

/// Where nothing is expected there is nothing to ask; counters wait for what may be expected later.
void PathMtuWatch::apply(std::uint32_t peer, MonoTime now) {
    Entry& known = entries_[peer];
    if (known.options == no_options) {
        return;
    }
    const PathMtuFacts facts = facts_of(known);
    if (known.session == none && facts.expected == 0) {
        return;
    }
    if (known.session == none) {
        known.session = prober_.open(session_options(known), even_spread(opened_++), now);
        peer_of_.resize(std::max<std::size_t>(peer_of_.size(), known.session + 1));
        peer_of_[known.session] = peer;
    }
    prober_.set_facts(known.session, facts, now);
}

void PathMtuWatch::follow_links(const Topology& topology, MonoTime now) {
    knows_links_ = true;
    bool changed = false;
    for (auto& way : ways_) {
        const WayMtu before = way.second.mtu;
        look_at(way, topology);
        changed = changed || way.second.mtu != before;
    }
    for (std::uint32_t peer = 0; changed && peer < entries_.size(); ++peer) {
        if (entries_[peer].way != nullptr) {
            apply(peer, now);
        }
    }
}

// ---- Turns

/// All of them, or those whose port is not known.
void PathMtuWatch::begin_sweep(MonoTime now) {
    only_ports_ = now < next_sweep_;
    if (!only_ports_) {
        next_sweep_ = now + lookup_interval;
        sweep_not_before_ = now + sweep_pause;
    }
    next_port_sweep_ = mono_never;
    port_sweep_not_before_ = now + port_sweep_pause;
    next_lookup_ = 0;
    next_turn_ = now;
}

void PathMtuWatch::poll(MonoTime now,
                        std::vector<std::uint32_t>& lookups,
                        std::vector<MtuOrder>& orders) {
    if (knows_links_ && next_lookup_ == none && now >= std::min(next_sweep_, next_port_sweep_)) {
        begin_sweep(now);
    }
    if (next_lookup_ != none && now >= next_turn_) {
        std::size_t asked = 0;
        for (; next_lookup_ < entries_.size() && asked < lookups_per_turn; ++next_lookup_) {
            const Entry& entry = entries_[next_lookup_];
            if (only_ports_ ? lacks_port(entry) : needs_lookup(entry)) {
                lookups.push_back(next_lookup_);
                ++asked;
            }
        }
        next_lookup_ = next_lookup_ < entries_.size() ? next_lookup_ : none;
        next_turn_ = now + lookup_pause;
    }
    prober_.poll(now, orders);
}

MonoTime PathMtuWatch::next_deadline() const {
    const MonoTime sweep = knows_links_ ? std::min(next_sweep_, next_port_sweep_) : mono_never;
    const MonoTime lookup = next_lookup_ != none ? next_turn_ : sweep;
    return std::min(lookup, prober_.next_deadline());
}

// ---- Answers

std::optional<PathMtu> PathMtuWatch::result(std::uint32_t peer) const {
    const Entry* known = find(peer);
    if (known == nullptr) {
        return std::nullopt;
    }
    const PathMtu result = prober_.result(known->session);
    return result.expected == 0 ? std::nullopt : std::optional(result);
}

const PathMtuProber::Counts* PathMtuWatch::counts(std::uint32_t peer) const {
    const Entry* known = find(peer);
    return known == nullptr ? nullptr : &prober_.counts(known->session);
}

std::vector<std::uint32_t> PathMtuWatch::take_changed() {
    std::vector<std::uint32_t> peers = prober_.take_changed();
    std::erase_if(peers, [this](std::uint32_t id) { return !prober_.is_open(id); });
    for (std::uint32_t& id : peers) {
        id = peer_of_[id];
    }
    return peers;
}

}  // namespace reachd
