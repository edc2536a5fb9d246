#include "agent/topology.hpp"

#include <algorithm>
#include <tuple>
#include <utility>
#include <variant>

#include <linux/rtnetlink.h>

namespace reachd {
namespace {

template <class... Handlers>
struct Overloaded : Handlers... {
    using Handlers::operator()...;
};
template <class... Handlers>
Overloaded(Handlers...) -> Overloaded<Handlers...>;

DumpKind table_of(const Route& route) {
    return route.family == Family::ipv4 ? DumpKind::ipv4_routes : DumpKind::ipv6_routes;
}

bool is_main_default(const Route& route) {
    return route.prefix_length == 0 && route.table == RT_TABLE_MAIN && !route.cloned;
}

/// What the kernel looks a route up by when it replaces or deletes one. Several may share it.
bool same_key(const Route& a, const Route& b) {
    return a.family == b.family && a.tos == b.tos && a.metric == b.metric &&
           a.source_prefix_length == b.source_prefix_length && a.source == b.source;
}

bool hop_less(const NextHop& a, const NextHop& b) {
    return std::tie(a.gateway, a.device) < std::tie(b.gateway, b.device);
}

/// Both sorted, as in all stored routes.
bool covers(const std::vector<NextHop>& all, const std::vector<NextHop>& some) {
    return std::includes(all.begin(), all.end(), some.begin(), some.end(), hop_less);
}

bool uses(const Route& route, IfIndex device) {
    return std::any_of(route.next_hops.begin(),
                       route.next_hops.end(),
                       [device](const NextHop& hop) { return hop.device == device; });
}

Route with_sorted_hops(Route route) {
    std::sort(route.next_hops.begin(), route.next_hops.end(), hop_less);
    return route;
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

}  // namespace

void Topology::apply(const NetlinkMessage& message) {
    std::visit(
        Overloaded{
            [&](const LinkChanged& change) { change_link(change, message.dump_part); },
            [&](const LinkRemoved& removed) {
                remember_removal(removed.index);
                remove_link(removed.index);
            },
            [&](const LinkLeftBridge& left) { leave_bridge(left); },
            [&](const RouteChanged& change) { change_route(change, message.dump_part); },
            [&](const RouteRemoved& removed) { remove_route(removed.route); },
            [&](const NextHopRemoved& removed) {
                for (const auto& entry : default_routes_) {
                    if (entry.route.next_hop_id != 0 && entry.route.next_hop_id == removed.id) {
                        doubts_.insert(table_of(entry.route));
                    }
                }
            },
            [](const auto&) {},  // control messages are netlink_sync's
        },
        message.body);
}

DumpKinds Topology::take_doubts() {
    return std::exchange(doubts_, DumpKinds{});
}

void Topology::begin_sweep(DumpKind kind) {
    auto& started = sweep(kind);
    started.active = true;
    ++started.epoch;
    if (kind == DumpKind::links) {
        removed_in_sweep_.clear();
    }
}

void Topology::finish_sweep(DumpKind kind) {
    if (!sweep(kind).active) {
        return;
    }
    switch (kind) {
        case DumpKind::links: sweep_links(); break;
        case DumpKind::ipv4_routes:
        case DumpKind::ipv6_routes: sweep_routes(kind); break;
    }
    abandon_sweep(kind);
}

void Topology::abandon_sweep(DumpKind kind) {
    sweep(kind).active = false;
    if (kind == DumpKind::links) {
        removed_in_sweep_.clear();
    }
}

// --- Links -----------------------------------------------------------------------------------

void Topology::change_link(const LinkChanged& change, bool dump_part) {
    const auto& links_sweep = sweep(DumpKind::links);
    if (!dump_part && change.complete) {
        removed_in_sweep_.erase(change.index);  // the index was given out again
    }
    if (dump_part && removed_in_sweep_.contains(change.index)) {
        return;
    }
    auto* entry = find_or_add_link(change, dump_part);
    if (entry == nullptr) {
        return;
    }
    entry->mentioned = links_sweep.epoch;
    if (dump_part && links_sweep.active && entry->told == links_sweep.epoch) {
        return;
    }
    if (!dump_part && change.complete) {
        entry->told = links_sweep.epoch;
    }
    update_link(entry->link, change);
}

Topology::LinkEntry* Topology::find_or_add_link(const LinkChanged& change, bool dump_part) {
    const auto known = links_.find(change.index);
    if (known != links_.end()) {
        const bool told = dump_part && known->second.told == sweep(DumpKind::links).epoch;
        const bool same = known->second.link.kind == change.kind.value_or("");
        if (!change.complete || same || told) {
            return &known->second;
        }
        // The kind of a device never changes: this is another one, and we missed the removal.
        remove_link(change.index);
    }
    if (links_.size() >= limits_.links) {
        ++refusals_.links;
        return nullptr;
    }
    if (!change.complete) {
        // Half a description of a link that nobody announced: ask, unless the answer is on its way.
        if (!sweep(DumpKind::links).active) {
            doubts_.insert(DumpKind::links);
        }
        return nullptr;
    }
    auto& entry = links_[change.index];
    entry.link.index = change.index;
    entry.link.generation = ++generations_;
    entry.link.kind = change.kind.value_or("");
    ++revision_;
    return &entry;
}

void Topology::update_link(Link& link, const LinkChanged& change) {
    if (change.name) {
        rename_link(link, *change.name);
    }
    if (change.mtu_bytes) {
        link.mtu_bytes = *change.mtu_bytes;
    }
    if (change.oper_state || change.complete) {
        link.oper_state = change.oper_state.value_or(OperState::unknown);
    }
    link.hardware_type = change.hardware_type;
    link.carrier = change.carrier;
    switch_link(link, change.admin_up);
    const bool says_master = change.master || change.complete;
    const auto master = change.master.value_or(IfIndex::any);
    if (says_master && link.master != master) {
        link.master = master;
        doubt_routes_on(link.index);  // joining a VRF moves them to its table
    }
}

void Topology::rename_link(Link& link, const std::string& name) {
    if (link.name != name) {
        forget_link(link);
        link.name = name;
        ++revision_;
    }
    const auto [place, added] = index_by_name_.try_emplace(name, link.index);
    if (!added && place->second != link.index) {
        place->second = link.index;
        ++revision_;
    }
}

/// Takes the link's name out of the lookup, unless another link has claimed it since.
void Topology::forget_link(const Link& link) {
    const auto place = index_by_name_.find(link.name);
    if (place != index_by_name_.end() && place->second == link.index) {
        index_by_name_.erase(place);
    }
}

void Topology::remember_removal(IfIndex index) {
    if (!sweep(DumpKind::links).active) {
        return;
    }
    if (removed_in_sweep_.size() >= limits_.links) {
        doubts_.insert(DumpKind::links);
        return;
    }
    removed_in_sweep_.insert(index);
}

void Topology::remove_link(IfIndex index) {
    const auto place = links_.find(index);
    if (place == links_.end()) {
        return;
    }
    forget_link(place->second.link);
    links_.erase(place);
    remove_hops_on(index);
    ++revision_;
}

void Topology::leave_bridge(const LinkLeftBridge& left) {
    const auto place = links_.find(left.index);
    if (place == links_.end()) {
        return;
    }
    auto& link = place->second.link;
    if (left.bridge == IfIndex::any || left.bridge == link.master) {
        link.master = IfIndex::any;
    }
}

void Topology::switch_link(Link& link, bool admin_up) {
    if (link.admin_up == admin_up) {
        return;
    }
    link.admin_up = admin_up;
    const bool carries_default = std::any_of(
        default_routes_.begin(), default_routes_.end(), [&link](const RouteEntry& entry) {
            return uses(entry.route, link.index);
        });
    if (!carries_default) {
        return;
    }
    ++revision_;
    if (!admin_up) {
        // The kernel drops the IPv4 routes of a device that goes down, and says nothing.
        doubt_routes_on(link.index);
    }
}

void Topology::sweep_links() {
    const auto epoch = sweep(DumpKind::links).epoch;
    std::vector<IfIndex> gone;
    for (const auto& [index, entry] : links_) {
        if (entry.mentioned != epoch) {
            gone.push_back(index);
        }
    }
    for (const auto index : gone) {
        remove_link(index);
    }
    if (index_by_name_.size() == links_.size()) {
        return;
    }
    // Two links claimed one name for a while, and the one that kept it lost the lookup.
    index_by_name_.clear();
    for (const auto& [index, entry] : links_) {
        index_by_name_[entry.link.name] = index;
    }
    ++revision_;
}

std::optional<IfIndex> Topology::index_of(std::string_view name) const {
    const auto place = index_by_name_.find(name);
    return place == index_by_name_.end() ? std::nullopt : std::optional(place->second);
}

std::string_view Topology::name_of(IfIndex index) const {
    const auto* found = link(index);
    return found == nullptr ? std::string_view{} : std::string_view(found->name);
}

const Link* Topology::link(IfIndex index) const {
    const auto place = links_.find(index);
    return place == links_.end() ? nullptr : &place->second.link;
}

std::vector<Link> Topology::links() const {
    std::vector<Link> all;
    all.reserve(links_.size());
    for (const auto& [index, entry] : links_) {
        all.push_back(entry.link);
    }
    std::sort(
        all.begin(), all.end(), [](const Link& a, const Link& b) { return a.index < b.index; });
    return all;
}

// --- Default routes ----------------------------------------------------------------------------

void Topology::change_route(const RouteChanged& change, bool dump_part) {
    if (!is_main_default(change.route)) {
        return;
    }
    const auto kind = table_of(change.route);
    if (!dump_part && sweep(kind).active) {
        doubts_.insert(kind);  // which of the two is newer cannot be told: read once more
    }
    refusals_.next_hops += change.route.next_hops_refused;
    const auto route = with_sorted_hops(change.route);
    if (change.replaces) {
        replace_route(route, sweep(kind).epoch);
    } else if (route.type == RTN_UNICAST) {
        add_route(route, sweep(kind).epoch);
    }
}

void Topology::add_route(const Route& route, std::uint32_t epoch) {
    if (route.next_hops.empty()) {
        return;  // leads nowhere that we could name
    }
    for (auto& entry : default_routes_) {
        auto& known = entry.route;
        if (!same_key(known, route)) {
            continue;
        }
        if (known.next_hops == route.next_hops) {
            known = route;
            entry.mentioned = epoch;
            return;
        }
        if (route.family == Family::ipv4) {
            continue;  // `ip route append`: a second route of the same key
        }
        // IPv6 tells the whole multipath route again when a next hop joins it.
        if (covers(route.next_hops, known.next_hops)) {
            known = route;
            entry.mentioned = epoch;
            ++revision_;
            return;
        }
        if (covers(known.next_hops, route.next_hops) && entry.mentioned == epoch) {
            doubts_.insert(DumpKind::ipv6_routes);
        }
    }
    if (default_routes_.size() >= limits_.default_routes) {
        ++refusals_.default_routes;
        return;
    }
    default_routes_.push_back({route, epoch});
    ++revision_;
}

/// The kernel replaces the first route of the key; where we know several, we cannot tell which.
void Topology::replace_route(const Route& route, std::uint32_t epoch) {
    const auto has_key = [&route](const RouteEntry& entry) { return same_key(entry.route, route); };
    const auto first = std::find_if(default_routes_.begin(), default_routes_.end(), has_key);
    if (first != default_routes_.end()) {
        if (std::find_if(first + 1, default_routes_.end(), has_key) != default_routes_.end()) {
            doubts_.insert(table_of(route));
        }
        default_routes_.erase(first);
        ++revision_;
    }
    if (route.type == RTN_UNICAST) {
        add_route(route, epoch);
    }
}

void Topology::remove_route(const Route& removed) {
    doubt_routes_from(removed);
    if (!is_main_default(removed) || removed.type != RTN_UNICAST) {
        return;
    }
    const auto kind = table_of(removed);
    if (sweep(kind).active) {
        doubts_.insert(kind);
    }
    const auto route = with_sorted_hops(removed);
    const auto exact = std::find_if(
        default_routes_.begin(), default_routes_.end(), [&route](const RouteEntry& entry) {
            return same_key(entry.route, route) && entry.route.next_hops == route.next_hops;
        });
    if (exact != default_routes_.end()) {
        default_routes_.erase(exact);
        ++revision_;
        return;
    }
    for (std::size_t place = default_routes_.size(); place-- > 0;) {
        if (!same_key(default_routes_[place].route, route)) {
            continue;
        }
        if (route.family == Family::ipv4) {
            doubts_.insert(kind);  // IPv4 routes come and go whole: we know another one
        } else {
            remove_next_hops(place, route.next_hops);
        }
    }
}

/// IPv6 deletes the next hops of a multipath route one by one.
void Topology::remove_next_hops(std::size_t place, const std::vector<NextHop>& hops) {
    auto& known = default_routes_[place].route.next_hops;
    const auto erased = std::erase_if(known, [&hops](const NextHop& hop) {
        return std::find(hops.begin(), hops.end(), hop) != hops.end();
    });
    revision_ += erased != 0 ? 1U : 0U;
    if (known.empty()) {
        default_routes_.erase(default_routes_.begin() + static_cast<std::ptrdiff_t>(place));
    }
}

/// The device is gone and its index may be given out again.
void Topology::remove_hops_on(IfIndex device) {
    doubt_routes_on(device);
    for (auto& entry : default_routes_) {
        std::erase_if(entry.route.next_hops,
                      [device](const NextHop& hop) { return hop.device == device; });
    }
    std::erase_if(default_routes_,
                  [](const RouteEntry& entry) { return entry.route.next_hops.empty(); });
}

void Topology::doubt_routes_on(IfIndex device) {
    for (const auto& entry : default_routes_) {
        if (uses(entry.route, device)) {
            doubts_.insert(table_of(entry.route));
        }
    }
}

/// With its last address a device loses its IPv4 routes, with the preferred source of a route goes
/// that route, and the kernel says nothing. It does tell that the address' local route is gone.
void Topology::doubt_routes_from(const Route& local) {
    if (local.family != Family::ipv4 || local.type != RTN_LOCAL) {
        return;
    }
    for (const auto& entry : default_routes_) {
        const auto& route = entry.route;
        const bool from_it = route.preferred_source && route.preferred_source == local.destination;
        const bool beside_it = std::any_of(
            local.next_hops.begin(), local.next_hops.end(), [&route](const NextHop& hop) {
                return uses(route, hop.device);
            });
        if (route.family == Family::ipv4 && (from_it || beside_it)) {
            doubts_.insert(DumpKind::ipv4_routes);
        }
    }
}

void Topology::sweep_routes(DumpKind kind) {
    const auto epoch = sweep(kind).epoch;
    const auto erased = std::erase_if(default_routes_, [kind, epoch](const RouteEntry& entry) {
        return table_of(entry.route) == kind && entry.mentioned != epoch;
    });
    revision_ += erased != 0 ? 1U : 0U;
}

std::vector<Gateway> Topology::default_gateways() const {
    std::vector<Gateway> gateways;
    for (const auto& entry : default_routes_) {
        for (const auto& hop : entry.route.next_hops) {
            const auto* device = link(hop.device);
            const bool switched_off = device != nullptr && !device->admin_up;
            if (hop.gateway && !switched_off) {
                gateways.push_back({*hop.gateway, hop.device, entry.route.metric});
            }
        }
    }
    remove_repeats(gateways);
    std::sort(gateways.begin(), gateways.end(), [](const Gateway& a, const Gateway& b) {
        return gateway_rank(a) < gateway_rank(b);
    });
    return gateways;
}

}  // namespace reachd
