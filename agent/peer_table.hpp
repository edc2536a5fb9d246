// Who is probed: the peers with their identities, targets, probe sessions and verdicts, and the
// indexes that lead from a session or an address to its peer. Opens no sessions and judges nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/config.hpp"
#include "common/address.hpp"
#include "common/probe.hpp"
#include "common/snapshot.hpp"
#include "probes/echo_request.hpp"
#include "probes/neighbour_request.hpp"

namespace reachd {

/// What only some peers have: a host name to look up, a device to be found by its name, a link to
/// be asked on.
struct PeerExtras {
    std::string host_name;  ///< empty: the address is numeric
    FamilyChoice family = FamilyChoice::any;
    std::string device;  ///< the device, or the zone of a link-local address; empty: neither
    bool device_missing = false;
    /// Of a guest or a gateway that is asked on its link.
    std::optional<NeighbourTarget> neighbour{};
    bool neighbour_cut_off = false;  ///< not asked now; what it was asked may still be answered
    MonoTime neighbour_from{};       ///< it is not asked before
    /// Of a gateway that cannot be asked on its link for now: so long the last answer counts.
    MonoTime neighbour_until = mono_never;
};

inline constexpr std::uint32_t no_session = 0xffffffffU;

struct Peer {
    std::shared_ptr<const PeerIdentity> identity;  ///< null: this place is free
    EchoTarget target;
    std::unique_ptr<PeerExtras> extras;
    std::uint32_t first_session = no_session;  ///< see PeerTable::next_session
    Reachability state = Reachability::unknown;
    std::optional<bool> up;
    std::optional<bool> told;  ///< the last verdict, also while there is none
    std::uint32_t state_changes = 0;
    WallTime last_change{};

    bool is_resolved() const { return !target.destination.is_unspecified(); }

    /// As before the first one.
    void forget_verdict() {
        state = Reachability::unknown;
        up.reset();
        told.reset();
        state_changes = 0;
        last_change = {};
    }
};

class PeerTable {
  public:
    std::uint32_t add(Peer peer);
    void remove(std::uint32_t id);

    void reserve(std::size_t peers) { peers_.reserve(peers); }

    Peer& operator[](std::uint32_t id) { return peers_[id]; }

    const Peer& operator[](std::uint32_t id) const { return peers_[id]; }

    std::size_t size() const { return peers_.size() - free_.size(); }

    /// Rises when a peer or a session comes or goes.
    std::uint64_t revision() const { return revision_; }

    /// Those whose device is told by its name.
    const std::set<std::uint32_t>& with_device() const { return with_device_; }

    /// All places, used or not, for walking: check `identity`.
    std::uint32_t places() const { return static_cast<std::uint32_t>(peers_.size()); }

    /// What an open session asks, and whom.
    struct Place {
        std::uint32_t peer = 0;
        std::uint32_t next = no_session;  ///< of the same peer
        std::uint16_t port = 0;           ///< TCP only
        ProbeKind kind = ProbeKind::icmp;
    };

    /// After the peer's others.
    void add_session(std::uint32_t peer, std::uint32_t session, ProbeKind kind, std::uint16_t port);
    void drop_session(std::uint32_t session);

    const Place& place_of(std::uint32_t session) const { return places_[session]; }

    /// The peer of an open session.
    std::uint32_t peer_of(std::uint32_t session) const { return places_[session].peer; }

    /// no_session after the last one.
    std::uint32_t next_session(std::uint32_t session) const { return places_[session].next; }

    /// no_session: it is not asked so.
    std::uint32_t session_of(std::uint32_t peer, ProbeKind kind) const;

    /// The address of a peer has changed: its index entry is made anew at the next question.
    void touch_addresses() { addresses_stale_ = true; }

    /// Peers probed at this address.
    std::vector<std::uint32_t> peers_at(const IpAddress& address);

  private:
    std::vector<Peer> peers_;
    std::vector<std::uint32_t> free_;
    std::vector<Place> places_;  ///< by session
    /// Sorted by hash; made only when an ICMP error asks for it.
    std::vector<std::pair<std::uint32_t, std::uint32_t>> by_address_;
    bool addresses_stale_ = true;
    std::uint64_t revision_ = 0;
    std::set<std::uint32_t> with_device_;
};

}  // namespace reachd
