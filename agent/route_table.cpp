#include "agent/route_table.hpp"

#include <algorithm>
#include <tuple>

#include <linux/rtnetlink.h>

#include "common/check.hpp"

namespace reachd {
namespace {

bool hop_less(const NextHop& a, const NextHop& b) {
    return std::tie(a.device, a.gateway) < std::tie(b.device, b.gateway);
}

/// Both sorted, as in all stored routes.
bool covers(std::span<const NextHop> all, std::span<const NextHop> some) {
    return std::includes(all.begin(), all.end(), some.begin(), some.end(), hop_less);
}

bool contains(std::span<const NextHop> hops, const NextHop& hop) {
    return std::find(hops.begin(), hops.end(), hop) != hops.end();
}

Route with_sorted_hops(const Route& route) {
    Route sorted(route);
    auto& hops = sorted.next_hops;
    std::sort(hops.begin(), hops.end(), hop_less);
    hops.erase(std::unique(hops.begin(), hops.end()), hops.end());
    return sorted;
}

auto gateway_rank(const Gateway& gateway) {
    return std::tie(gateway.metric, gateway.address, gateway.device);
}

/// Keeps the first, which has the lowest metric, of those that share address and device.
void remove_repeats(std::vector<Gateway>& gateways) {
    const auto same_place = [](const Gateway& a, const Gateway& b) {
        return a.address == b.address && a.device == b.device;
    };
    std::sort(gateways.begin(), gateways.end(), [](const Gateway& a, const Gateway& b) {
        return std::tie(a.address, a.device, a.metric) < std::tie(b.address, b.device, b.metric);
    });
    gateways.erase(std::unique(gateways.begin(), gateways.end(), same_place), gateways.end());
}

template <class Counts, class Key>
void count_one(Counts& counts, const Key& key, bool added) {
    auto& count = counts[key];
    count = added ? count + 1 : count - 1;
    if (count == 0) {
        counts.erase(key);
    }
}

}  // namespace

bool RouteTable::IdLess::operator()(const Id& a, const Id& b) const {
    const auto key = [](const Key& each) {
        return std::tie(each.family,
                        each.prefix_length,
                        each.destination,
                        each.metric,
                        each.tos,
                        each.source_prefix_length,
                        each.source);
    };
    const auto rank = key(a.key) <=> key(b.key);
    if (rank != 0) {
        return rank < 0;
    }
    return std::tie(a.single, a.type, a.first.device, a.first.gateway) <
           std::tie(b.single, b.type, b.first.device, b.first.gateway);
}

// --- Messages --------------------------------------------------------------------------------

void RouteTable::change(const Route& route, bool replaces, bool dump_part) {
    if (route.table != RT_TABLE_MAIN || route.cloned) {
        return;
    }
    if (!dump_part && of(route.family).sweeping) {
        doubt(route.family);  // which of the two is newer cannot be told: read once more
    }
    next_hops_refused_ += route.next_hops_refused;
    const auto sorted = with_sorted_hops(route);
    if (replaces) {
        replace(sorted);
    } else {
        add(sorted);
    }
}

void RouteTable::add(const Route& route) {
    const bool leads_nowhere = route.type == RTN_UNICAST && route.next_hops.empty();
    if (!is_kept(route) || leads_nowhere) {
        return;
    }
    const auto id = id_of(route);
    if (refresh(id, route)) {
        return;
    }
    if (route.family == Family::ipv6 && route.type == RTN_UNICAST) {
        merge_ipv6(id, route);
    }
    const auto others = routes_.size() - default_count_;
    bool full =
        is_default(id) ? default_count_ >= limits_.default_routes : others >= limits_.routes;
    if (!id.single) {
        std::size_t alike = 0;
        for (auto place = first_of(id.key);
             holds(place, id.key) && !place->first.single && alike < multipath_routes_max;
             ++place) {
            ++alike;
        }
        full = full || alike >= multipath_routes_max;
    }
    if (full) {
        ++routes_refused_;
        of(route.family).some_refused = true;
        return;
    }
    insert(id, route);
}

/// The same route once more, maybe with another protocol or preferred source.
bool RouteTable::refresh(const Id& id, const Route& route) {
    const auto place = find_exact(id, route);
    if (place == routes_.end()) {
        return false;
    }
    auto& known = place->second;
    count_dependencies(*place, false);
    known.preferred_source = route.preferred_source;
    known.next_hop_id = route.next_hop_id;
    known.protocol = route.protocol;
    known.mentioned = of(route.family).epoch;
    count_dependencies(*place, true);
    return true;
}

/// IPv6 tells the whole multipath route again when a next hop joins it: what the new one covers is
/// the old one. Returns how many it took the place of.
std::size_t RouteTable::merge_ipv6(const Id& id, const Route& route) {
    std::size_t merged = 0;
    for (auto place = first_of(id.key); holds(place, id.key) && !place->first.single;) {
        const auto known = hops_of(*place);
        if (place->first.type == route.type && covers(route.next_hops, known)) {
            place = erase(place);
            ++merged;
            continue;
        }
        if (covers(known, route.next_hops) && place->second.mentioned == of(Family::ipv6).epoch) {
            doubt(Family::ipv6);
        }
        ++place;
    }
    for (const auto& hop : route.next_hops) {
        const auto place = routes_.find(Id{id.key, true, route.type, hop});
        if (!id.single && place != routes_.end()) {
            erase(place);
            ++merged;
        }
    }
    return merged;
}

/// The kernel replaces the first route of the key; where we know several, we cannot tell which.
void RouteTable::replace(const Route& route) {
    const auto key = id_of(route).key;
    const auto first = first_of(key);
    if (holds(first, key)) {
        if (holds(std::next(first), key)) {
            doubt(route.family);
        }
        erase(first);
    }
    add(route);
}

void RouteTable::remove(const Route& removed) {
    doubt_routes_from(removed);
    if (removed.table != RT_TABLE_MAIN || removed.cloned || !is_kept(removed)) {
        return;
    }
    if (of(removed.family).sweeping) {
        doubt(removed.family);
    }
    const auto route = with_sorted_hops(removed);
    const auto id = id_of(route);
    if (const auto exact = find_exact(id, route); exact != routes_.end()) {
        erase(exact);
    } else if (route.family == Family::ipv6) {
        remove_hops(route);
    } else if (holds(first_of(id.key), id.key)) {
        doubt(Family::ipv4);  // IPv4 routes come and go whole: we know another one
    }
}

/// IPv6 deletes the next hops of a multipath route one by one.
void RouteTable::remove_hops(const Route& removed) {
    const auto key = id_of(removed).key;
    for (const auto& hop : removed.next_hops) {
        const auto place = routes_.find(Id{key, true, removed.type, hop});
        if (place != routes_.end()) {
            erase(place);
        }
    }
    std::vector<Map::iterator> touched;
    for (auto place = first_of(key); holds(place, key) && !place->first.single; ++place) {
        const auto hops = hops_of(*place);
        if (std::any_of(hops.begin(), hops.end(), [&removed](const NextHop& hop) {
                return contains(removed.next_hops, hop);
            })) {
            touched.push_back(place);
        }
    }
    for (const auto place : touched) {
        take_hops(place,
                  [&removed](const NextHop& hop) { return contains(removed.next_hops, hop); });
    }
}

// --- What happens to devices and addresses -----------------------------------------------------

void RouteTable::remove_device(IfIndex device) {
    doubt_device(device);
    std::vector<Map::value_type*> nodes;
    for (auto place = by_device_.lower_bound({device, nullptr});
         place != by_device_.end() && place->first == device;
         ++place) {
        nodes.push_back(place->second);
    }
    for (auto* node : nodes) {
        take_hops(place_of(node), [device](const NextHop& hop) { return hop.device == device; });
    }
}

void RouteTable::switch_off(IfIndex device) {
    const auto use = uses_.find(device);
    if (use == uses_.end()) {
        return;
    }
    effects_.gateways_changed = effects_.gateways_changed || use->second.defaults != 0;
    if (use->second.ipv4 != 0) {
        doubt(Family::ipv4);
    }
    if (use->second.ipv6_multipath != 0) {
        doubt(Family::ipv6);  // only the loss of the last next hop is told
    }
}

void RouteTable::doubt_device(IfIndex device) {
    const auto use = uses_.find(device);
    if (use == uses_.end()) {
        return;
    }
    if (use->second.ipv4 != 0) {
        doubt(Family::ipv4);
    }
    if (use->second.ipv6 != 0) {
        doubt(Family::ipv6);
    }
}

void RouteTable::remove_next_hop_object(std::uint32_t id) {
    for (const auto family : {Family::ipv4, Family::ipv6}) {
        if (id != 0 && of(family).by_next_hop_object.contains(id)) {
            doubt(family);
        }
    }
}

/// With its last address a device loses its IPv4 routes, with the preferred source of a route goes
/// that route, and the kernel says nothing. It does tell that the address' local route is gone.
void RouteTable::doubt_routes_from(const Route& local) {
    if (local.family != Family::ipv4 || local.type != RTN_LOCAL) {
        return;
    }
    const bool source = local.destination && ipv4_preferred_sources_.contains(*local.destination);
    const bool beside =
        std::any_of(local.next_hops.begin(), local.next_hops.end(), [this](const NextHop& hop) {
            const auto use = uses_.find(hop.device);
            return use != uses_.end() && use->second.ipv4 != 0;
        });
    if (source || beside) {
        doubt(Family::ipv4);
    }
}

void RouteTable::doubt(Family family) {
    (family == Family::ipv4 ? effects_.ipv4_doubt : effects_.ipv6_doubt) = true;
}

// --- Sweeps ----------------------------------------------------------------------------------

void RouteTable::begin_sweep(Family family) {
    of(family).sweeping = true;
    of(family).some_refused = false;
    ++of(family).epoch;
}

bool RouteTable::finish_sweep(Family family) {
    if (!of(family).sweeping) {
        return true;  // of a dump that was given up
    }
    const auto epoch = of(family).epoch;
    const auto before = of(family).count;
    Id first;
    first.key.family = family;
    auto place = routes_.lower_bound(first);
    while (place != routes_.end() && place->first.key.family == family) {
        place = place->second.mentioned == epoch ? std::next(place) : erase(place);
    }
    abandon_sweep(family);
    return !of(family).some_refused || of(family).count == before;
}

void RouteTable::abandon_sweep(Family family) {
    of(family).sweeping = false;
}

// --- Questions -------------------------------------------------------------------------------

bool RouteTable::carries_default(IfIndex device) const {
    const auto use = uses_.find(device);
    return use != uses_.end() && use->second.defaults != 0;
}

std::vector<Route> RouteTable::routes() const {
    std::vector<Route> all;
    all.reserve(routes_.size());
    for (const auto& node : routes_) {
        all.push_back(to_route(node));
    }
    return all;
}

std::vector<Gateway> RouteTable::default_gateways(
    const std::function<bool(IfIndex)>& is_off) const {
    std::vector<Gateway> gateways;
    for (const auto family : {Family::ipv4, Family::ipv6}) {
        Id first;
        first.key.family = family;
        for (auto place = routes_.lower_bound(first);
             place != routes_.end() && place->first.key.family == family &&
             is_default(place->first);
             ++place) {
            if (place->first.type != RTN_UNICAST) {
                continue;
            }
            for (const auto& hop : hops_of(*place)) {
                if (hop.gateway && !is_off(hop.device)) {
                    gateways.push_back({*hop.gateway, hop.device, place->first.key.metric});
                }
            }
        }
    }
    remove_repeats(gateways);
    std::sort(gateways.begin(), gateways.end(), [](const Gateway& a, const Gateway& b) {
        return gateway_rank(a) < gateway_rank(b);
    });
    return gateways;
}

// --- The table and its indexes -----------------------------------------------------------------

bool RouteTable::is_kept(const Route& route) {
    return route.type == RTN_UNICAST || route.type == RTN_BLACKHOLE ||
           route.type == RTN_UNREACHABLE || route.type == RTN_PROHIBIT;
}

RouteTable::Id RouteTable::id_of(const Route& route) {
    Id id;
    id.key.family = route.family;
    id.key.prefix_length = route.prefix_length;
    if (route.prefix_length != 0) {
        id.key.destination = route.destination.value_or(IpAddress{});
    }
    id.key.metric = route.metric;
    id.key.tos = route.tos;
    id.key.source_prefix_length = route.source_prefix_length;
    id.key.source = route.source;
    id.single = route.next_hops.size() < 2;
    id.type = route.type;
    if (!route.next_hops.empty()) {
        id.first = route.next_hops.front();
    }
    return id;
}

std::span<const NextHop> RouteTable::hops_of(const Map::value_type& node) {
    const auto& [id, known] = node;
    if (!id.single) {
        return known.hops;
    }
    const bool some = id.first.device != IfIndex::any || id.first.gateway;
    return {&id.first, some ? 1U : 0U};
}

Route RouteTable::to_route(const Map::value_type& node) {
    const auto& [id, known] = node;
    Route route;
    route.family = id.key.family;
    route.prefix_length = id.key.prefix_length;
    route.source_prefix_length = id.key.source_prefix_length;
    route.tos = id.key.tos;
    route.type = id.type;
    route.protocol = known.protocol;
    route.table = RT_TABLE_MAIN;
    route.metric = id.key.metric;
    route.next_hop_id = known.next_hop_id;
    if (id.key.prefix_length != 0) {
        route.destination = id.key.destination;
    }
    route.source = id.key.source;
    route.preferred_source = known.preferred_source;
    const auto hops = hops_of(node);
    route.next_hops.assign(hops.begin(), hops.end());
    return route;
}

RouteTable::Map::iterator RouteTable::first_of(const Key& key) {
    return routes_.lower_bound(Id{key, false, 0, {}});
}

bool RouteTable::holds(Map::const_iterator place, const Key& key) const {
    return place != routes_.end() && place->first.key == key;
}

RouteTable::Map::iterator RouteTable::find_exact(const Id& id, const Route& route) {
    const auto [begin, end] = routes_.equal_range(id);
    const auto place = std::find_if(begin, end, [&route](const Map::value_type& node) {
        const auto hops = hops_of(node);
        const auto& others = route.next_hops;
        return std::equal(hops.begin(), hops.end(), others.begin(), others.end());
    });
    return place == end ? routes_.end() : place;
}

RouteTable::Map::iterator RouteTable::place_of(Map::value_type* node) {
    auto [place, end] = routes_.equal_range(node->first);
    while (place != end && &*place != node) {
        ++place;
    }
    ENSURE(place != end);
    return place;
}

void RouteTable::insert(const Id& id, const Route& route) {
    Known known;
    if (!id.single) {
        known.hops = route.next_hops;
    }
    known.preferred_source = route.preferred_source;
    known.next_hop_id = route.next_hop_id;
    known.mentioned = of(route.family).epoch;
    known.protocol = route.protocol;
    const auto place = routes_.emplace(id, std::move(known));
    ++of(route.family).count;
    default_count_ += is_default(id) ? 1U : 0U;
    count_uses(*place, true);
    count_dependencies(*place, true);
}

RouteTable::Map::iterator RouteTable::erase(Map::iterator place) {
    count_uses(*place, false);
    count_dependencies(*place, false);
    --of(place->first.key.family).count;
    default_count_ -= is_default(place->first) ? 1U : 0U;
    return routes_.erase(place);
}

/// A route without its last next hop is none.
void RouteTable::take_hops(Map::iterator place, const std::function<bool(const NextHop&)>& goes) {
    auto rest = to_route(*place);
    const auto mentioned = place->second.mentioned;
    std::erase_if(rest.next_hops, goes);
    erase(place);
    const auto id = id_of(rest);
    if (rest.next_hops.empty() || find_exact(id, rest) != routes_.end()) {
        return;
    }
    insert(id, rest);
    find_exact(id, rest)->second.mentioned = mentioned;
}

void RouteTable::count_uses(Map::value_type& node, bool added) {
    const auto& id = node.first;
    const bool leads = is_default(id) && id.type == RTN_UNICAST;
    effects_.changed = true;
    effects_.gateways_changed = effects_.gateways_changed || leads;
    const auto step = [added](std::uint32_t& count) { count = added ? count + 1 : count - 1; };
    for (const auto& hop : hops_of(node)) {
        const bool is_new = added ? by_device_.insert({hop.device, &node}).second
                                  : by_device_.erase({hop.device, &node}) != 0;
        if (!is_new) {
            continue;  // two of its gateways are behind one device
        }
        auto& use = uses_[hop.device];
        step(id.key.family == Family::ipv4 ? use.ipv4 : use.ipv6);
        if (id.key.family == Family::ipv6 && !id.single) {
            step(use.ipv6_multipath);
        }
        if (leads) {
            step(use.defaults);
        }
        if (use.ipv4 == 0 && use.ipv6 == 0) {
            uses_.erase(hop.device);
        }
    }
}

void RouteTable::count_dependencies(const Map::value_type& node, bool added) {
    const auto& [id, known] = node;
    if (known.next_hop_id != 0) {
        count_one(of(id.key.family).by_next_hop_object, known.next_hop_id, added);
    }
    if (id.key.family == Family::ipv4 && known.preferred_source) {
        count_one(ipv4_preferred_sources_, *known.preferred_source, added);
    }
}

}  // namespace reachd
