#include "agent/peer_table.hpp"

#include <algorithm>

#include "common/check.hpp"

namespace reachd {

std::uint32_t PeerTable::add(Peer peer) {
    ENSURE(peer.identity != nullptr);
    addresses_stale_ = true;
    ++revision_;
    auto id = static_cast<std::uint32_t>(peers_.size());
    if (free_.empty()) {
        peers_.emplace_back();
    } else {
        id = free_.back();
        free_.pop_back();
    }
    if (peer.extras && !peer.extras->device.empty()) {
        with_device_.insert(id);
    }
    peers_[id] = std::move(peer);
    return id;
}

void PeerTable::remove(std::uint32_t id) {
    ENSURE(peers_[id].identity != nullptr);
    ++revision_;
    with_device_.erase(id);
    peers_[id] = Peer{};
    free_.push_back(id);
    addresses_stale_ = true;
}

void PeerTable::add_session(std::uint32_t peer,
                            std::uint32_t session,
                            ProbeKind kind,
                            std::uint16_t port) {
    ++revision_;
    if (session >= places_.size()) {
        places_.resize(static_cast<std::size_t>(session) + 1);
    }
    places_[session] = {peer, no_session, port, kind};
    std::uint32_t* link = &peers_[peer].first_session;
    while (*link != no_session) {
        link = &places_[*link].next;
    }
    *link = session;
}

void PeerTable::drop_session(std::uint32_t session) {
    ++revision_;
    std::uint32_t* link = &peers_[places_[session].peer].first_session;
    while (*link != session) {
        link = &places_[*link].next;
    }
    *link = places_[session].next;
    places_[session] = {};
}

std::uint32_t PeerTable::session_of(std::uint32_t peer, ProbeKind kind) const {
    std::uint32_t session = peers_[peer].first_session;
    while (session != no_session && places_[session].kind != kind) {
        session = places_[session].next;
    }
    return session;
}

std::vector<std::uint32_t> PeerTable::peers_at(const IpAddress& address) {
    if (addresses_stale_) {
        by_address_.clear();
        for (std::uint32_t id = 0; id < places(); ++id) {
            if (peers_[id].identity && peers_[id].is_resolved()) {
                by_address_.emplace_back(peers_[id].target.destination.hash(), id);
            }
        }
        std::sort(by_address_.begin(), by_address_.end());
        addresses_stale_ = false;
    }
    std::vector<std::uint32_t> found;
    const std::pair<std::uint32_t, std::uint32_t> first{address.hash(), 0};
    for (auto entry = std::lower_bound(by_address_.begin(), by_address_.end(), first);
         entry != by_address_.end() && entry->first == first.first;
         ++entry) {
        if (peers_[entry->second].target.destination == address) {
            found.push_back(entry->second);
        }
    }
    return found;
}

}  // namespace reachd
