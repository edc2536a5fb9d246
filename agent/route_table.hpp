// The routes of the main table: unicast, blackhole, unreachable and prohibit ones of both families.
// Found by prefix, by device and by what they depend on, so that no message costs a walk over all
// of them. Knows which routes the kernel changes without a word, and says so as a doubt; it knows
// no links and asks for no dump.
//
// The kernel finds a route by prefix, source prefix, TOS and metric (the key here). Several may
// share a key: IPv4 by `ip route append`, IPv6 by being on different devices, as fe80::/64 is. An
// IPv6 route of several next hops comes and goes hop by hop, an IPv4 one as a whole.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "agent/netlink_message.hpp"
#include "common/address.hpp"

namespace reachd {

/// The next hop of a default route whose device is not switched off.
struct Gateway {
    IpAddress address;  ///< scope set where it is link-local IPv6
    IfIndex device = IfIndex::any;
    std::uint32_t metric = 0;  ///< the lowest of the routes that name it

    friend bool operator==(const Gateway&, const Gateway&) = default;
};

class RouteTable {
  public:
    struct Limits {
        std::size_t routes = 0;
        std::size_t default_routes = 0;
    };

    /// Routes of several next hops that share a key; more are refused.
    static constexpr std::size_t multipath_routes_max = 64;

    /// What became of the table since the last take_effects().
    struct Effects {
        bool ipv4_doubt = false;
        bool ipv6_doubt = false;
        bool changed = false;
        bool gateways_changed = false;
    };

    explicit RouteTable(const Limits& limits) : limits_(limits) {}

    /// Routes of other tables and of other types are not kept.
    void change(const Route& route, bool replaces, bool dump_part);
    /// Any route: those of the local table tell that an address went away.
    void remove(const Route& route);

    /// Its next hops are gone; its index may be given out again.
    void remove_device(IfIndex device);
    /// It went down: the kernel drops its IPv4 routes, and says nothing.
    void switch_off(IfIndex device);
    /// It joined or left a VRF, which moves its routes between tables.
    void doubt_device(IfIndex device);
    void remove_next_hop_object(std::uint32_t id);

    void begin_sweep(Family family);
    /// False: some were refused for which there is room now.
    bool finish_sweep(Family family);
    void abandon_sweep(Family family);

    [[nodiscard]] Effects take_effects() { return std::exchange(effects_, Effects{}); }

    /// Some default route leads over it.
    bool carries_default(IfIndex device) const;

    std::size_t count(Family family) const { return of(family).count; }

    std::vector<Route> routes() const;

    /// Ordered by metric, address, device; each address and device once.
    std::vector<Gateway> default_gateways(const std::function<bool(IfIndex)>& is_off) const;

    std::uint64_t routes_refused() const { return routes_refused_; }

    std::uint64_t next_hops_refused() const { return next_hops_refused_; }

  private:
    struct Key {
        Family family = Family::ipv4;
        std::uint8_t prefix_length = 0;  ///< first, so that default routes stand together
        IpAddress destination{};
        std::uint32_t metric = 0;
        std::uint8_t tos = 0;
        std::uint8_t source_prefix_length = 0;
        std::optional<IpAddress> source{};

        friend bool operator==(const Key&, const Key&) = default;
    };

    /// Routes of several next hops stand before the others of their key, being few.
    struct Id {
        Key key{};
        bool single = false;
        std::uint8_t type = 0;
        NextHop first{};  ///< none: it has no next hop
    };

    struct IdLess {
        bool operator()(const Id& a, const Id& b) const;
    };

    struct Known {
        std::vector<NextHop> hops{};  ///< sorted; empty where Id::single
        std::optional<IpAddress> preferred_source{};
        std::uint32_t next_hop_id = 0;
        std::uint32_t mentioned = 0;
        std::uint8_t protocol = 0;
    };

    using Map = std::multimap<Id, Known, IdLess>;

    struct DeviceUse {
        std::uint32_t ipv4 = 0;
        std::uint32_t ipv6 = 0;
        std::uint32_t ipv6_multipath = 0;
        std::uint32_t defaults = 0;
    };

    struct FamilyState {
        std::size_t count = 0;
        std::uint32_t epoch = 1;
        bool sweeping = false;
        bool some_refused = false;                                    ///< since the sweep began
        std::map<std::uint32_t, std::uint32_t> by_next_hop_object{};  ///< id, routes
    };

    FamilyState& of(Family family) { return families_[static_cast<std::size_t>(family)]; }

    const FamilyState& of(Family family) const {
        return families_[static_cast<std::size_t>(family)];
    }

    static Id id_of(const Route& route);
    static bool is_kept(const Route& route);

    static bool is_default(const Id& id) { return id.key.prefix_length == 0; }

    static std::span<const NextHop> hops_of(const Map::value_type& node);
    static Route to_route(const Map::value_type& node);

    void add(const Route& route);
    bool refresh(const Id& id, const Route& route);
    std::size_t merge_ipv6(const Id& id, const Route& route);
    void replace(const Route& route);
    void insert(const Id& id, const Route& route);
    void remove_hops(const Route& removed);
    void take_hops(Map::iterator place, const std::function<bool(const NextHop&)>& goes);
    Map::iterator erase(Map::iterator place);
    Map::iterator find_exact(const Id& id, const Route& route);
    Map::iterator first_of(const Key& key);
    Map::iterator place_of(Map::value_type* node);
    bool holds(Map::const_iterator place, const Key& key) const;
    void count_uses(Map::value_type& node, bool added);
    void count_dependencies(const Map::value_type& node, bool added);
    void doubt(Family family);
    void doubt_routes_from(const Route& local);

    Limits limits_;
    Map routes_;
    std::set<std::pair<IfIndex, Map::value_type*>> by_device_;
    std::unordered_map<IfIndex, DeviceUse> uses_;
    std::map<IpAddress, std::uint32_t> ipv4_preferred_sources_;
    std::array<FamilyState, 2> families_{};
    std::size_t default_count_ = 0;
    Effects effects_;
    std::uint64_t routes_refused_ = 0;
    std::uint64_t next_hops_refused_ = 0;
};

}  // namespace reachd
