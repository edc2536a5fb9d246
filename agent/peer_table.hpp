// Who is probed: the peers with their identities, targets and verdicts, and the indexes that lead
// from a probe session or an address to its peer. Opens no sessions and judges nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/config.hpp"
#include "common/address.hpp"
#include "common/probe.hpp"
#include "common/snapshot.hpp"
#include "probes/echo_request.hpp"

namespace reachd {

/// What only some peers have: a host name to look up, a device to be found by its name.
struct PeerExtras {
    std::string host_name;  ///< empty: the address is numeric
    FamilyChoice family = FamilyChoice::any;
    std::string device;  ///< the device, or the zone of a link-local address; empty: neither
    bool device_missing = false;
};

struct Peer {
    static constexpr std::uint32_t no_session = 0xffffffffU;

    std::shared_ptr<const PeerIdentity> identity;  ///< null: this place is free
    EchoTarget target;
    std::unique_ptr<PeerExtras> extras;
    std::uint32_t session = no_session;
    Reachability state = Reachability::unknown;
    std::optional<bool> up;
    std::uint32_t state_changes = 0;
    WallTime last_change{};

    bool is_resolved() const { return !target.destination.is_unspecified(); }

    /// As before the first one.
    void forget_verdict() {
        state = Reachability::unknown;
        up.reset();
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

    /// Rises when a peer comes, goes or gets another session.
    std::uint64_t revision() const { return revision_; }

    /// Some peer has a host name or a device.
    bool any_extras() const { return extras_ > 0; }

    /// All places, used or not, for walking: check `identity`.
    std::uint32_t places() const { return static_cast<std::uint32_t>(peers_.size()); }

    void bind_session(std::uint32_t peer, std::uint32_t session);

    /// The peer of an open session.
    std::uint32_t peer_of(std::uint32_t session) const { return peer_by_session_[session]; }

    /// The address of a peer has changed: its index entry is made anew at the next question.
    void touch_addresses() { addresses_stale_ = true; }

    /// Peers probed at this address.
    std::vector<std::uint32_t> peers_at(const IpAddress& address);

  private:
    std::vector<Peer> peers_;
    std::vector<std::uint32_t> free_;
    std::vector<std::uint32_t> peer_by_session_;
    /// Sorted by hash; made only when an ICMP error asks for it.
    std::vector<std::pair<std::uint32_t, std::uint32_t>> by_address_;
    bool addresses_stale_ = true;
    std::uint64_t revision_ = 0;
    std::size_t extras_ = 0;  ///< peers that have some
};

}  // namespace reachd
