#include "agent/path_mtu_watch.hpp"

#include <cmath>

namespace reachd {
namespace {

/// Steps of the golden ratio: however many sessions there are, they lie evenly in the interval.
double place_of(std::uint64_t number) {
    constexpr double golden = 0.618033988749895;
    double whole = 0;
    return std::modf(static_cast<double>(number) * golden, &whole);
}

}  // namespace

PathMtuWatch::PathMtuWatch(std::uint32_t bytes_per_second, MonoTime start)
    : prober_(bytes_per_second, start),
      lookups_(start) {}

void PathMtuWatch::want(std::uint32_t peer,
                        const PathMtuWish& wish,
                        const Topology& topology,
                        MonoTime now) {
    if (const auto known = by_peer_.find(peer); known != by_peer_.end()) {
        if (sessions_[known->second].wish == wish) {
            return;
        }
        forget(peer);
    }
    const PathMtuOptions options{wish.destination.family(), wish.interval, wish.timeout};
    const std::uint32_t id = prober_.open(options, place_of(opened_++), now);
    if (id >= sessions_.size()) {
        sessions_.resize(id + 1);
    }
    sessions_[id] = {peer, wish, {}};
    by_peer_[peer] = id;
    ++ways_[{}].second;
    if (wish.device != IfIndex::any) {
        set_way(id, {wish.device, wish.port}, topology, now);
    } else {
        lookups_.schedule(id, now);
    }
}

void PathMtuWatch::forget(std::uint32_t peer) {
    const auto known = by_peer_.find(peer);
    if (known == by_peer_.end()) {
        return;
    }
    const std::uint32_t id = known->second;
    lookups_.cancel(id);
    prober_.close(id);
    if (const auto way = ways_.find(sessions_[id].way); --way->second.second == 0) {
        ways_.erase(way);
    }
    sessions_[id] = {};
    by_peer_.erase(known);
}

// ---- The way out

void PathMtuWatch::on_egress(const EgressFound& found, const Topology& topology, MonoTime now) {
    if (prober_.is_open(found.session) && prober_.generation(found.session) == found.generation) {
        set_way(found.session, {found.device, IfIndex::any}, topology, now);
    }
}

void PathMtuWatch::set_way(std::uint32_t id,
                           const MtuWay& way,
                           const Topology& topology,
                           MonoTime now) {
    Session& session = sessions_[id];
    auto& use = ways_[way];
    if (use.second++ == 0) {
        use.first = mtu_of(way, topology);
    }
    if (const auto before = ways_.find(session.way); --before->second.second == 0) {
        ways_.erase(before);
    }
    session.way = way;
    apply(id, ways_.at(way).first, now);
}

void PathMtuWatch::apply(std::uint32_t id, const WayMtu& mtu, MonoTime now) {
    const std::uint32_t wished = sessions_[id].wish.expected;
    const std::uint32_t expected = wished != 0 ? wished : mtu.expected;
    prober_.set_facts(id, {expected, mtu.smallest, mtu.device}, now);
}

void PathMtuWatch::follow_links(const Topology& topology, MonoTime now) {
    bool changed = false;
    for (auto& [way, use] : ways_) {
        const WayMtu mtu = mtu_of(way, topology);
        changed = changed || mtu != use.first;
        use.first = mtu;
    }
    if (!changed) {
        return;
    }
    for (const auto& [peer, id] : by_peer_) {
        apply(id, ways_.at(sessions_[id].way).first, now);
    }
}

void PathMtuWatch::doubt_ways(MonoTime now) {
    for (const auto& [peer, id] : by_peer_) {
        if (sessions_[id].wish.device == IfIndex::any) {
            lookups_.schedule(id, now);
        }
    }
}

// ---- Turns

void PathMtuWatch::poll(MonoTime now,
                        std::vector<EgressLookup>& lookups,
                        std::vector<MtuOrder>& orders) {
    std::size_t asked = 0;
    for (const std::uint32_t id : lookups_.take_due(now)) {
        if (asked++ >= lookups_per_turn) {
            lookups_.schedule(id, now);  // in the next turn
            continue;
        }
        const PathMtuWish& wish = sessions_[id].wish;
        lookups.push_back({id, prober_.generation(id), wish.destination, wish.source});
        lookups_.schedule(id, now + lookup_interval);
    }
    prober_.poll(now, orders);
}

MonoTime PathMtuWatch::next_deadline() const {
    return std::min(lookups_.next_deadline(), prober_.next_deadline());
}

// ---- Answers

std::optional<PathMtu> PathMtuWatch::result(std::uint32_t peer) const {
    const auto known = by_peer_.find(peer);
    return known == by_peer_.end() ? std::nullopt : std::optional(prober_.result(known->second));
}

const PathMtuProber::Counts* PathMtuWatch::counts(std::uint32_t peer) const {
    const auto known = by_peer_.find(peer);
    return known == by_peer_.end() ? nullptr : &prober_.counts(known->second);
}

std::vector<std::uint32_t> PathMtuWatch::take_changed() {
    std::vector<std::uint32_t> peers = prober_.take_changed();
    std::erase_if(peers, [this](std::uint32_t id) { return !prober_.is_open(id); });
    for (std::uint32_t& id : peers) {
        id = sessions_[id].peer;
    }
    return peers;
}

}  // namespace reachd
