// Whose path MTU is measured, what is expected there, and by which device: joins the prober with
// the host's own links, and asks the routing which way out each peer has. Composed into the Agent,
// which knows the peers' names and sends what this wants sent.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "agent/mtu_way.hpp"
#include "agent/topology.hpp"
#include "common/address.hpp"
#include "common/path_mtu.hpp"
#include "common/time.hpp"
#include "probes/path_mtu_prober.hpp"
#include "probes/timer_wheel.hpp"

namespace reachd {

/// Asks the kernel's routing which device a packet would leave by (RTM_GETROUTE).
struct EgressLookup {
    std::uint32_t session = 0;
    std::uint32_t generation = 0;
    IpAddress destination;
    IpAddress source;  ///< unspecified: the kernel's choice
};

/// Its answer.
struct EgressFound {
    std::uint32_t session = 0;
    std::uint32_t generation = 0;
    IfIndex device = IfIndex::any;  ///< any: no route
};

/// What is wanted of one peer.
struct PathMtuWish {
    IpAddress destination;
    IpAddress source;               ///< unspecified: the kernel's choice
    IfIndex device = IfIndex::any;  ///< any: the routes decide
    IfIndex port = IfIndex::any;    ///< of the bridge, of a guest
    std::uint32_t expected = 0;     ///< bytes; 0: what the way out allows
    Duration interval = std::chrono::seconds(60);
    Duration timeout = std::chrono::milliseconds(500);

    friend bool operator==(const PathMtuWish&, const PathMtuWish&) = default;
};

class PathMtuWatch {
  public:
    /// A peer's way out is looked up again after this, and soon when routes have changed.
    static constexpr Duration lookup_interval = std::chrono::minutes(5);
    /// So many a turn: some microseconds each.
    static constexpr std::size_t lookups_per_turn = 64;

    PathMtuWatch(std::uint32_t bytes_per_second, MonoTime start);

    /// From now on, or with other wishes; nothing changes where they are the same.
    void want(std::uint32_t peer, const PathMtuWish& wish, const Topology& topology, MonoTime now);
    void forget(std::uint32_t peer);

    bool is_wanted(std::uint32_t peer) const { return by_peer_.contains(peer); }

    void on_egress(const EgressFound& found, const Topology& topology, MonoTime now);

    /// When links have changed: sizes may have too, and are probed at once where they have.
    void follow_links(const Topology& topology, MonoTime now);
    /// When routes have changed: everybody's way out is looked up again.
    void doubt_ways(MonoTime now);

    void poll(MonoTime now, std::vector<EgressLookup>& lookups, std::vector<MtuOrder>& orders);
    MonoTime next_deadline() const;

    std::uint32_t peer_of(std::uint32_t session) const { return sessions_[session].peer; }

    /// Nothing: it is not wanted. Undetermined with `expected` 0: nothing to expect, or not known.
    std::optional<PathMtu> result(std::uint32_t peer) const;
    /// Null: it is not wanted.
    const PathMtuProber::Counts* counts(std::uint32_t peer) const;

    /// Peers whose result may have changed since the last call.
    std::vector<std::uint32_t> take_changed();

    PathMtuProber& prober() { return prober_; }

    const PathMtuProber& prober() const { return prober_; }

  private:
    struct Session {
        std::uint32_t peer = 0;
        PathMtuWish wish;
        MtuWay way;
    };

    void set_way(std::uint32_t session, const MtuWay& way, const Topology& topology, MonoTime now);
    void apply(std::uint32_t session, const WayMtu& mtu, MonoTime now);

    PathMtuProber prober_;
    std::vector<Session> sessions_;  ///< by session of the prober
    std::map<std::uint32_t, std::uint32_t> by_peer_;
    /// What each way that is in use allows, so that a change of a link concerns only those on it.
    std::map<MtuWay, std::pair<WayMtu, std::uint32_t>> ways_;  ///< with how many use it
    TimerWheel lookups_;                                       ///< by session
    std::uint64_t opened_ = 0;
};

}  // namespace reachd
