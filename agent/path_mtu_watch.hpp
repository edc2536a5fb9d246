// Whose path MTU is measured, what is expected there, and by which device: joins the prober with
// the host's own links, and has the routing asked which way out each peer has. Composed into the
// Agent, which knows the peers' names and addresses and sends what this wants sent.
//
// A peer costs some bytes here; only one that expects a size has a session of the prober.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "agent/config.hpp"
#include "agent/mtu_way.hpp"
#include "agent/topology.hpp"
#include "common/address.hpp"
#include "common/path_mtu.hpp"
#include "common/time.hpp"
#include "probes/path_mtu_prober.hpp"

namespace reachd {

/// Where a peer's packets go, as far as that is fixed.
struct MtuAim {
    Family family = Family::ipv4;
    IfIndex device = IfIndex::any;  ///< any: the routes decide
    IfIndex port = IfIndex::any;    ///< of the bridge, of a guest

    friend bool operator==(const MtuAim&, const MtuAim&) = default;
};

class PathMtuWatch {
  public:
    /// Everybody's way out is looked up again after this, and soon when routes have changed.
    static constexpr Duration lookup_interval = std::chrono::minutes(5);
    /// So many each 10 ms: some microseconds each.
    static constexpr std::size_t lookups_per_turn = 32;
    static constexpr Duration lookup_pause = std::chrono::milliseconds(10);
    /// Links and routes of a host with many containers change all the time, and so do neighbours.
    static constexpr Duration sweep_pause = std::chrono::seconds(5);
    static constexpr Duration port_sweep_pause = std::chrono::seconds(1);
    /// A bridge learns an address when its neighbour is learnt, or soon after.
    static constexpr Duration port_settle_time = std::chrono::milliseconds(100);

    PathMtuWatch(std::uint32_t bytes_per_second, MonoTime start);

    // --- Peers, by the agent's small numbers

    /// From now on, or with other options; counters stay where only times differ.
    void want(std::uint32_t peer, const MtuOptions& options, MonoTime now);
    /// Nothing: it cannot be asked now. `anew`: the destination is another, and counters begin
    /// anew.
    void aim(std::uint32_t peer,
             const std::optional<MtuAim>& aim,
             bool anew,
             const Topology& topology,
             MonoTime now);
    void forget(std::uint32_t peer);

    /// The routes lead to this peer so; its egress any: nowhere.
    void on_egress(std::uint32_t peer, const MtuWay& way, const Topology& topology, MonoTime now);

    /// When links are known, or have changed: sizes may have too, and are probed at once where they
    /// have. Before the first call no way out is looked up.
    void follow_links(const Topology& topology, MonoTime now);

    /// When routes have changed: everybody's way out is looked up again.
    void doubt_ways(MonoTime now) {
        next_sweep_ = std::min(next_sweep_, std::max(now, sweep_not_before_));
    }

    /// When neighbours have changed: a port of a bridge that was not known may be now.
    void doubt_ports(MonoTime now) {
        next_port_sweep_ =
            std::min(next_port_sweep_, std::max(now + port_settle_time, port_sweep_not_before_));
    }

    void set_bytes_per_second(std::uint32_t limit) { prober_.set_bytes_per_second(limit); }

    /// `lookups`: peers whose way out is to be asked of the routing.
    void poll(MonoTime now, std::vector<std::uint32_t>& lookups, std::vector<MtuOrder>& orders);
    MonoTime next_deadline() const;

    std::uint32_t peer_of(std::uint32_t session) const { return peer_of_[session]; }

    /// Nothing: nothing is expected of it, or it is not known what.
    std::optional<PathMtu> result(std::uint32_t peer) const;
    /// Null likewise.
    const PathMtuProber::Counts* counts(std::uint32_t peer) const;

    /// Peers whose result may have changed since the last call.
    std::vector<std::uint32_t> take_changed();

    PathMtuProber& prober() { return prober_; }

    const PathMtuProber& prober() const { return prober_; }

  private:
    static constexpr std::uint32_t none = 0xffffffffU;
    static constexpr std::uint32_t no_options = 0xffffff;

    struct WayUse {
        WayMtu mtu;
        std::uint32_t users = 0;
        bool is_bridge = false;  ///< the egress is one
    };

    using Ways = std::map<MtuWay, WayUse>;

    struct OptionsUse {
        MtuOptions options;
        std::uint32_t users = 0;
    };

    /// What decides where a peer's packets go.
    enum class Aiming : std::uint8_t {
        nowhere,
        by_routes,
        by_device,  ///< fixed; if it is a bridge, the next hop decides by which port
        at_port,    ///< both are fixed
    };

    struct Entry {
        Ways::value_type* way = nullptr;  ///< null: not known
        std::uint32_t session = none;
        std::uint32_t options : 24 = no_options;  ///< place in options_; none: not wanted
        Family family : 4 = Family::ipv4;
        Aiming aiming : 4 = Aiming::nowhere;
    };

    Entry& entry(std::uint32_t peer);
    const Entry* find(std::uint32_t peer) const;
    std::uint32_t keep(const MtuOptions& options);
    void set_options(Entry& entry, std::uint32_t place);
    PathMtuOptions session_options(const Entry& entry) const;
    static Aiming aiming_of(const std::optional<MtuAim>& aim);
    static bool leads_to(const Entry& entry, const MtuAim& aim);
    static bool needs_lookup(const Entry& entry);
    static bool lacks_port(const Entry& entry);
    static void look_at(Ways::value_type& way, const Topology& topology);
    void begin_sweep(MonoTime now);
    void set_way(std::uint32_t peer, const MtuWay& way, const Topology& topology, MonoTime now);
    void drop_way(Entry& entry);
    PathMtuFacts facts_of(const Entry& entry) const;
    void apply(std::uint32_t peer, MonoTime now);
    void close(Entry& entry);

    PathMtuProber prober_;
    std::vector<Entry> entries_;          ///< by peer
    std::vector<std::uint32_t> peer_of_;  ///< by session
    std::vector<OptionsUse> options_;     ///< that peers share; those without users are free
    /// What each way that is in use allows, so that a change of a link concerns only those on it.
    Ways ways_;
    std::uint32_t next_lookup_ = none;  ///< the next peer of a sweep that is under way
    bool only_ports_ = false;           ///< it is for those that lack a port
    MonoTime next_turn_{};              ///< of the sweep
    MonoTime next_sweep_ = mono_never;
    MonoTime next_port_sweep_ = mono_never;
    MonoTime sweep_not_before_{};
    MonoTime port_sweep_not_before_{};
    bool knows_links_ = false;
    std::uint64_t opened_ = 0;
};

}  // namespace reachd
