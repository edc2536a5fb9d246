#include "agent/path_mtu_watch.hpp"

#include <algorithm>

#include "common/even_spread.hpp"

namespace reachd {
PathMtuWatch::PathMtuWatch(std::uint32_t bytes_per_second, MonoTime start)
    : prober_(bytes_per_second, start),
      next_sweep_(mono_never) {}

PathMtuWatch::Entry& PathMtuWatch::entry(std::uint32_t peer) {
    if (peer >= entries_.size()) {
        entries_.resize(peer + 1);
    }
    return entries_[peer];
}

const PathMtuWatch::Entry* PathMtuWatch::find(std::uint32_t peer) const {
    return peer < entries_.size() && entries_[peer].session != none ? &entries_[peer] : nullptr;
}

/// Few differ, however many peers there are.
std::uint32_t PathMtuWatch::keep(const MtuOptions& options) {
    const auto known = std::find(options_.begin(), options_.end(), options);
    if (known == options_.end()) {
        options_.push_back(options);
        return static_cast<std::uint32_t>(options_.size() - 1);
    }
    return static_cast<std::uint32_t>(known - options_.begin());
}

PathMtuOptions PathMtuWatch::session_options(const Entry& entry) const {
    const MtuOptions& options = options_[entry.options];
    const Family family = entry.aim ? entry.aim->family : Family::ipv4;  // none is asked without
    return {family, options.interval, options.timeout};
}

// ---- Who and where

void PathMtuWatch::want(std::uint32_t peer, const MtuOptions& options, MonoTime now) {
    Entry& wanted = entry(peer);
    const std::uint32_t place = options.enabled ? keep(options) : none;
    if (wanted.options == place) {
        return;
    }
    wanted.options = place;
    if (place == none) {
        close(wanted);
        return;
    }
    if (wanted.session != none) {
        prober_.set_options(wanted.session, session_options(wanted), now);
    }
    apply(peer, now);
    if (!wanted.has_way && needs_lookup(wanted)) {
        doubt_ways(now);
    }
}

void PathMtuWatch::aim(std::uint32_t peer,
                       const std::optional<MtuAim>& aim,
                       bool anew,
                       const Topology& topology,
                       MonoTime now) {
    Entry& aimed = entry(peer);
    if (aimed.aim == aim && !anew) {
        return;
    }
    if (anew) {
        close(aimed);
    }
    drop_way(aimed);
    aimed.aim = aim;
    if (aim && aim->device != IfIndex::any) {
        return set_way(peer, {aim->device, aim->port}, topology, now);
    }
    apply(peer, now);
    if (needs_lookup(aimed)) {
        doubt_ways(now);
    }
}

void PathMtuWatch::forget(std::uint32_t peer) {
    if (peer < entries_.size()) {
        close(entries_[peer]);
        drop_way(entries_[peer]);
        entries_[peer] = {};
    }
}

void PathMtuWatch::close(Entry& entry) {
    if (entry.session != none) {
        prober_.close(entry.session);
        entry.session = none;
    }
}

// ---- The way out

bool PathMtuWatch::needs_lookup(const Entry& entry) const {
    return entry.options != none && entry.aim && entry.aim->device == IfIndex::any;
}

void PathMtuWatch::on_egress(std::uint32_t peer,
                             const MtuWay& way,
                             const Topology& topology,
                             MonoTime now) {
    const Entry& known = entry(peer);
    if (!needs_lookup(known)) {
        return;
    }
    if (known.has_way && known.way == way) {
        return apply(peer, now);  // a size that the kernel refused once may pass again
    }
    set_way(peer, way, topology, now);
}

void PathMtuWatch::set_way(std::uint32_t peer,
                           const MtuWay& way,
                           const Topology& topology,
                           MonoTime now) {
    Entry& known = entries_[peer];
    Way& use = ways_[way];
    if (use.users++ == 0) {
        use.mtu = mtu_of(way, topology);
    }
    drop_way(known);
    known.way = way;
    known.has_way = true;
    apply(peer, now);
}

void PathMtuWatch::drop_way(Entry& entry) {
    if (!entry.has_way) {
        return;
    }
    const auto way = ways_.find(entry.way);
    if (--way->second.users == 0) {
        ways_.erase(way);
    }
    entry.has_way = false;
}

/// Without a way out nothing is expected.
PathMtuFacts PathMtuWatch::facts_of(const Entry& entry) const {
    if (!entry.has_way || entry.way.egress == IfIndex::any) {
        return {};
    }
    const WayMtu& mtu = ways_.at(entry.way).mtu;
    const std::uint32_t wished = options_[entry.options].expected_bytes;
    return {wished != 0 ? wished : mtu.expected, mtu.smallest, mtu.device};
}

/// Where nothing is expected there is nothing to ask; counters wait for what may be expected later.
void PathMtuWatch::apply(std::uint32_t peer, MonoTime now) {
    Entry& known = entries_[peer];
    if (known.options == none) {
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
    for (auto& [way, use] : ways_) {
        const WayMtu mtu = mtu_of(way, topology);
        changed = changed || mtu != use.mtu;
        use.mtu = mtu;
    }
    for (std::uint32_t peer = 0; changed && peer < entries_.size(); ++peer) {
        if (entries_[peer].has_way) {
            apply(peer, now);
        }
    }
}

// ---- Turns

void PathMtuWatch::poll(MonoTime now,
                        std::vector<std::uint32_t>& lookups,
                        std::vector<MtuOrder>& orders) {
    if (knows_links_ && now >= next_sweep_ && next_lookup_ == none) {
        next_lookup_ = 0;
        next_turn_ = now;
        next_sweep_ = now + lookup_interval;
        sweep_not_before_ = now + sweep_pause;
    }
    if (next_lookup_ != none && now >= next_turn_) {
        std::size_t asked = 0;
        for (; next_lookup_ < entries_.size() && asked < lookups_per_turn; ++next_lookup_) {
            if (needs_lookup(entries_[next_lookup_])) {
                lookups.push_back(next_lookup_);
                ++asked;
            } else if (entries_[next_lookup_].has_way) {
                apply(next_lookup_, now);
            }
        }
        next_lookup_ = next_lookup_ < entries_.size() ? next_lookup_ : none;
        next_turn_ = now + lookup_pause;
    }
    prober_.poll(now, orders);
}

MonoTime PathMtuWatch::next_deadline() const {
    const MonoTime sweep = knows_links_ ? next_sweep_ : mono_never;
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
