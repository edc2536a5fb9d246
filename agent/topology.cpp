#include "agent/topology.hpp"

#include <tuple>
#include <utility>
#include <variant>

#include "agent/change_collector.hpp"
#include "agent/fdb_table.hpp"
#include "agent/link_table.hpp"
#include "agent/route_table.hpp"
#include "agent/swept_table.hpp"

namespace reachd {
namespace {

template <class... Handlers>
struct Overloaded : Handlers... {
    using Handlers::operator()...;
};
template <class... Handlers>
Overloaded(Handlers...) -> Overloaded<Handlers...>;

struct AddressKey {
    IfIndex device = IfIndex::any;
    IpAddress address{};
    std::uint8_t prefix_length = 0;

    friend auto operator<=>(const AddressKey&, const AddressKey&) = default;
};

struct AddressEntry {
    std::uint32_t flags = 0;
};

struct NeighbourKey {
    IfIndex device = IfIndex::any;
    IpAddress address{};

    friend auto operator<=>(const NeighbourKey&, const NeighbourKey&) = default;
};

struct NeighbourEntry {
    std::optional<MacAddress> mac{};
    std::optional<MacAddress> last_mac{};  ///< kept while it is not resolved
    NeighbourState state = NeighbourState::unresolved;
    bool router = false;
};

using AddressTable = SweptTable<AddressKey, AddressEntry>;
using NeighbourTable = SweptTable<NeighbourKey, NeighbourEntry>;

AddressKey key_of(const InterfaceAddress& address) {
    return {address.device, address.address, address.prefix_length};
}

/// What a device leaves behind in a table whose keys begin with it.
template <class Table, class Key>
std::vector<Key> keys_of(const Table& table, const Key& first) {
    std::vector<Key> keys;
    for (auto place = table.entries().lower_bound(first);
         place != table.entries().end() && place->first.device == first.device;
         ++place) {
        keys.push_back(place->first);
    }
    return keys;
}

Teller teller_of(const NetlinkMessage& message) {
    return message.dump_part ? Teller::dump : Teller::event;
}

/// What a complete message does not say is not there; a part of one changes what it says.
template <class Fact, class Said>
void update(Fact& fact, const std::optional<Said>& said, bool complete, const Fact& none) {
    if (said) {
        fact = *said;
    } else if (complete) {
        fact = none;
    }
}

void update(Link& link, const LinkChanged& change) {
    const bool complete = change.complete;
    link.name = change.name.value_or(link.name);
    link.mtu_bytes = change.mtu_bytes.value_or(link.mtu_bytes);
    link.carrier_changes = change.carrier_changes.value_or(link.carrier_changes);
    link.hardware_type = change.hardware_type;
    link.admin_up = change.admin_up;
    link.carrier = change.carrier;
    link.resolves = change.resolves;
    update(link.oper_state, change.oper_state, complete, OperState::unknown);
    update(link.master, change.master, complete, IfIndex::any);
    update(link.lower, change.lower, complete, IfIndex::any);
    update(link.lower_namespace, change.lower_namespace, complete, -1);
    update(link.detail, change.detail, complete, 0U);
    update(link.over_ipv6, change.over_ipv6, complete, false);
    update(link.owner_uid, change.owner_uid, complete, std::optional<std::uint32_t>{});
    update(link.bridge, change.bridge, complete, BridgeSettings{});
    update(link.mac, change.mac, complete, std::optional<MacAddress>{});
    update(link.port, change.port, complete, std::optional<BridgePort>{});
}

/// Only the number of carrier changes differs, if anything: no news.
bool same_but_for_counts(const Link& before, Link& after) {
    const auto count = std::exchange(after.carrier_changes, before.carrier_changes);
    const bool same = before == after;
    after.carrier_changes = count;
    return same;
}

}  // namespace

struct Topology::Tables {
    explicit Tables(const Limits& limits)
        : links({limits.links, limits.vlan_ranges, limits.virtual_functions}),
          addresses(limits.addresses),
          neighbours(limits.neighbours),
          fdb(limits.fdb_entries),
          routes({limits.routes, limits.default_routes}),
          changes(links) {}

    void change_link(const LinkChanged& change, bool dump_part, const Instant& now);
    void change_known_link(const LinkChanged& change, Teller teller, const Instant& now);
    void add_link(const LinkChanged& change, Teller teller, const Instant& now);
    void change_facts_beside(const LinkChanged& change, Teller teller, const Instant& now);
    void put(const LinkPointer& before, Link after, const Instant& now);
    void change_vlans(IfIndex index,
                      const std::vector<VlanRange>& ranges,
                      Teller teller,
                      const Instant& now);
    void forget_vlans(const LinkPointer& link, const Instant& now);
    void follow_pair(IfIndex index);
    void point_other_end(IfIndex other, IfIndex partner, std::int32_t partner_in);
    void follow_moved_end(const LinkRemoved& removed);
    void remove_link_by_event(const LinkRemoved& removed, const Instant& now);
    /// How a link went.
    enum class Departure : std::uint8_t {
        told,
        moved,   ///< told, and into another namespace
        missed,  ///< something else has its index: what is known of that may be the new one's
    };

    void remove_link(IfIndex index, Departure departure, const Instant& now);
    void leave_bridge(const LinkLeftBridge& left, const Instant& now);
    void remove_entries_of(IfIndex device, Departure departure);
    void remove_fdb_of(IfIndex device, Departure departure);
    void change_address(const InterfaceAddress& address, Teller teller, const Instant& now);
    void remove_address(const AddressKey& key, std::uint32_t flags, const Instant& now);
    void change_neighbour(const NeighbourChanged& change, Teller teller, const Instant& now);
    void change_fdb(const FdbChanged& change, Teller teller, const Instant& now);
    void take_route_effects(const Instant& now);
    bool finish_sweep(DumpKind kind, const Instant& now);
    bool finish_link_sweep(const Instant& now);
    bool finish_vlan_sweep(const Instant& now);
    bool finish_address_sweep(const Instant& now);
    bool finish_neighbour_sweep();
    void abandon_sweep(DumpKind kind);
    std::vector<Gateway> gateways() const;
    std::vector<InterfaceAddress> all_addresses() const;
    std::shared_ptr<const TopologySnapshot> make_snapshot() const;

    std::uint64_t state_revision() const {
        return structure_revision + neighbour_revision + fdb_revision + route_revision;
    }

    void doubt(DumpKind kind) { doubts.insert(kind); }

    void doubt_unless(bool remembered, DumpKind kind) {
        if (!remembered) {
            doubt(kind);
        }
    }

    LinkTable links;
    AddressTable addresses;
    NeighbourTable neighbours;
    FdbTable fdb;
    RouteTable routes;
    ChangeCollector changes;
    DumpKinds doubts;
    TopologyRefusals refusals;
    std::uint64_t generations = 0;
    std::uint64_t revision = 0;
    std::uint64_t structure_revision = 0;  ///< of all but the next three
    std::uint64_t neighbour_revision = 0;
    std::uint64_t fdb_revision = 0;
    std::uint64_t route_revision = 0;
    std::shared_ptr<const TopologySnapshot> snapshot;
    std::uint64_t snapshot_revision = 0;
};

Topology::Topology(const Limits& limits) : tables_(std::make_unique<Tables>(limits)) {}

Topology::~Topology() = default;

void Topology::apply(const NetlinkMessage& message, const Instant& now) {
    auto& tables = *tables_;
    const auto teller = teller_of(message);
    std::visit(
        Overloaded{
            [&](const LinkChanged& change) { tables.change_link(change, message.dump_part, now); },
            [&](const LinkRemoved& removed) { tables.remove_link_by_event(removed, now); },
            [&](const LinkLeftBridge& left) { tables.leave_bridge(left, now); },
            [&](const RouteChanged& change) {
                tables.routes.change(change.route, change.replaces, message.dump_part);
                tables.take_route_effects(now);
            },
            [&](const RouteRemoved& removed) {
                tables.routes.remove(removed.route);
                tables.take_route_effects(now);
            },
            [&](const NextHopRemoved& removed) {
                tables.routes.remove_next_hop_object(removed.id);
                tables.take_route_effects(now);
            },
            [&](const AddressChanged& change) {
                tables.change_address(change.address, teller, now);
            },
            [&](const AddressRemoved& removed) {
                const auto key = key_of(removed.address);
                tables.doubt_unless(tables.addresses.remember_removal(key), DumpKind::addresses);
                tables.remove_address(key, removed.address.flags, now);
            },
            [&](const NeighbourChanged& change) { tables.change_neighbour(change, teller, now); },
            [&](const NeighbourRemoved& removed) {
                const NeighbourKey key{removed.device, removed.address};
                tables.doubt_unless(tables.neighbours.remember_removal(key), DumpKind::neighbours);
                tables.neighbour_revision += tables.neighbours.erase(key) ? 1U : 0U;
            },
            [&](const FdbChanged& change) { tables.change_fdb(change, teller, now); },
            [&](const FdbRemoved& removed) {
                tables.doubt_unless(tables.fdb.remember_removal(removed), DumpKind::fdb);
                tables.fdb_revision += tables.fdb.remove(removed) ? 1U : 0U;
            },
            [&](const LinkStatistics& told) {
                tables.links.count(told.index, told.counters, CounterSource::statistics);
            },
            [](const auto&) {},  // control messages are netlink_sync's
        },
        message.body);
}

// --- Links -----------------------------------------------------------------------------------

void Topology::Tables::change_link(const LinkChanged& change, bool dump_part, const Instant& now) {
    if (dump_part && !change.complete) {
        // From the dump of the VLANs: older than what events tell of the link, and less.
        if (links.find(change.index) == nullptr) {
            doubt_unless(links.is_full() || links.sweeping(), DumpKind::links);
        } else if (change.vlans) {
            change_vlans(change.index, *change.vlans, Teller::dump, now);
        }
        return;
    }
    const auto teller = dump_part         ? Teller::dump
                        : change.complete ? Teller::event
                                          : Teller::half_event;
    if (!links.is_stale(change.index, teller)) {
        const auto* known = links.find(change.index);
        const bool another = known != nullptr && change.complete &&
                             (*known)->kind != change.kind.value_or(LinkKind::other);
        if (another) {
            // The kind of a device never changes: it is another one, and we missed the removal.
            remove_link(change.index, Departure::missed, now);
        }
        if (known == nullptr || another) {
            add_link(change, teller, now);
        } else {
            change_known_link(change, teller, now);
        }
    }
    if (teller == Teller::event) {
        follow_pair(change.index);
    }
    change_facts_beside(change, teller, now);
}

void Topology::Tables::add_link(const LinkChanged& change, Teller teller, const Instant& now) {
    if (!change.complete) {
        // Half a description of a link that nobody announced: ask, unless the answer is on its way
        // or there would be no room for it.
        if (links.is_full()) {
            links.refuse();
        } else if (!links.sweeping()) {
            doubt(DumpKind::links);
        }
        return;
    }
    if (!links.mention(change.index, teller)) {
        return;
    }
    Link link;
    link.index = change.index;
    link.generation = ++generations;
    link.kind = change.kind.value_or(LinkKind::other);
    update(link, change);
    changes.appeared(link, now);
    const bool bridge = link.kind == LinkKind::bridge;
    links.put(std::move(link));
    if (links.filters_vlans() && (bridge || teller == Teller::dump)) {
        // A bridge is born with VLANs of its own and does not say so; those of another link were
        // told while it was not known.
        doubt(DumpKind::bridge_vlans);
    }
    ++revision;
    ++structure_revision;
}

void Topology::Tables::change_known_link(const LinkChanged& change,
                                         Teller teller,
                                         const Instant& now) {
    if (teller == Teller::dump && links.sweeping() &&
        links.told_by(change.index, Teller::half_event)) {
        doubt(DumpKind::links);  // which of the two is newer cannot be told: read once more
    }
    links.mention(change.index, teller);
    const LinkPointer before = *links.find(change.index);
    Link after(*before);
    update(after, change);
    if (teller == Teller::dump && links.filters_vlans() && before->master != after.master) {
        doubt(DumpKind::bridge_vlans);  // they were told while it seemed to belong elsewhere
    }
    put(before, std::move(after), now);
}

/// Tells whom it concerns. A link that did not change costs nothing but the comparison.
void Topology::Tables::put(const LinkPointer& before, Link after, const Instant& now) {
    const bool no_news = same_but_for_counts(*before, after);
    if (no_news && before->carrier_changes == after.carrier_changes) {
        if (links.index_of(after.name) != after.index) {
            links.put(std::move(after));  // claims its name back from another link
            ++revision;
            ++structure_revision;
        }
        return;
    }
    const auto index = after.index;
    const bool switched = before->admin_up != after.admin_up;
    const bool asked_otherwise = before->mac != after.mac || before->resolves != after.resolves;
    const bool moved = before->master != after.master;
    const bool filters = !before->bridge.vlan_filtering && after.bridge.vlan_filtering &&
                         after.kind == LinkKind::bridge;
    if (!no_news) {
        changes.touch(before, now);
    }
    if (moved) {
        if (before->master != IfIndex::any && after.kind != LinkKind::bridge) {
            forget_vlans(before, now);
            if (after.master != IfIndex::any) {
                doubt(DumpKind::bridge_vlans);  // released in between: they may be the new ones
            }
        }
        routes.doubt_device(index);  // joining a VRF moves them to its table
    }
    const bool switched_off = switched && !after.admin_up;
    revision += links.put(std::move(after)) ? 1U : 0U;
    ++structure_revision;
    if (asked_otherwise && routes.carries_default(index)) {
        ++revision;
    }
    if (switched && routes.carries_default(index)) {
        ++revision;
        changes.touch_gateways(now);
    }
    if (switched_off) {
        routes.switch_off(index);
    }
    if (filters) {
        doubt(DumpKind::bridge_vlans);
    }
    take_route_effects(now);
}

/// Counters, VLANs and virtual functions: those of a link that is known by now.
void Topology::Tables::change_facts_beside(const LinkChanged& change,
                                           Teller teller,
                                           const Instant& now) {
    const auto* known = links.find(change.index);
    if (known == nullptr) {
        return;
    }
    if (change.complete && !(*known)->port && (*known)->kind != LinkKind::bridge) {
        forget_vlans(LinkPointer(*known), now);
        doubt_unless(teller == Teller::dump || links.remember_no_vlans(change.index),
                     DumpKind::bridge_vlans);
    }
    if (change.counters) {
        links.count(change.index, *change.counters, CounterSource::event);
    }
    if (change.vlans) {
        change_vlans(change.index, *change.vlans, teller, now);
    }
    // Events never tell of virtual functions; a dump that does not, says that there are none.
    if (teller == Teller::dump || change.virtual_functions) {
        static const std::vector<VirtualFunction> none;
        const auto& functions = change.virtual_functions ? *change.virtual_functions : none;
        structure_revision += links.put_virtual_functions(change.index, functions) ? 1U : 0U;
    }
}

void Topology::Tables::change_vlans(IfIndex index,
                                    const std::vector<VlanRange>& ranges,
                                    Teller teller,
                                    const Instant& now) {
    if (links.filters_vlans() && links.vlans_of(index) != ranges) {
        changes.touch_vlans(*links.find(index), now);
    }
    const auto believed = teller == Teller::dump ? Teller::dump : Teller::event;
    structure_revision += links.put_vlans(index, ranges, believed) ? 1U : 0U;
}

void Topology::Tables::forget_vlans(const LinkPointer& link, const Instant& now) {
    if (!links.vlans_of(link->index).empty()) {
        changes.touch_vlans(link, now);
        links.erase_vlans(link->index);
        ++structure_revision;
    }
}

/// The kernel tells of one end of a veth pair when it is made or moved, and keeps silent about the
/// other. What is mended is no news: it follows from what is told.
void Topology::Tables::follow_pair(IfIndex index) {
    const auto* end = links.find(index);
    if (end == nullptr || (*end)->kind != LinkKind::veth || (*end)->lower_namespace >= 0) {
        return;
    }
    point_other_end((*end)->lower, index, -1);
}

/// `other` is the end that is left here; its partner is now `partner`, in namespace `partner_in`.
void Topology::Tables::point_other_end(IfIndex other, IfIndex partner, std::int32_t partner_in) {
    const auto* known = links.find(other);
    if (known == nullptr || (*known)->kind != LinkKind::veth) {
        return;
    }
    if ((*known)->lower == partner && (*known)->lower_namespace == partner_in) {
        return;
    }
    Link mended(**known);
    mended.lower = partner;
    mended.lower_namespace = partner_in;
    links.put(std::move(mended));
    ++structure_revision;
}

void Topology::Tables::follow_moved_end(const LinkRemoved& removed) {
    const auto* gone = links.find(removed.index);
    const bool pair_end = gone != nullptr && (*gone)->kind == LinkKind::veth &&
                          (*gone)->lower != IfIndex::any && (*gone)->lower_namespace < 0;
    if (!pair_end) {
        return;
    }
    if (removed.new_namespace.value_or(-1) < 0) {
        doubt(DumpKind::links);  // the kernel does not say where to
        return;
    }
    point_other_end(
        (*gone)->lower, removed.new_index.value_or(removed.index), *removed.new_namespace);
}

void Topology::Tables::remove_link_by_event(const LinkRemoved& removed, const Instant& now) {
    if (removed.moved) {
        follow_moved_end(removed);
    }
    doubt_unless(links.remember_removal(removed.index), DumpKind::links);
    remove_link(removed.index, removed.moved ? Departure::moved : Departure::told, now);
}

/// Also of one that was never announced: its routes and addresses may have been.
void Topology::Tables::remove_link(IfIndex index, Departure departure, const Instant& now) {
    if (const auto* known = links.find(index)) {
        changes.removed(*known, departure == Departure::moved, now);
        if (routes.carries_default(index)) {
            changes.touch_gateways(now);
        }
        links.erase(index);
        ++revision;
        ++structure_revision;
    }
    remove_entries_of(index, departure);
    take_route_effects(now);
}

/// The kernel tells of each, before it tells of the link. Where it did not, that was lost; and a
/// part of a dump under way may bring them back.
void Topology::Tables::remove_entries_of(IfIndex device, Departure departure) {
    const bool missed = departure == Departure::missed;
    const auto old_addresses = keys_of(addresses, AddressKey{device, {}, 0});
    for (const auto& key : old_addresses) {
        addresses.erase(key);
    }
    if (!old_addresses.empty() && (addresses.sweeping() || missed)) {
        doubt(DumpKind::addresses);
    }
    const auto old_neighbours = keys_of(neighbours, NeighbourKey{device, {}});
    for (const auto& key : old_neighbours) {
        neighbours.erase(key);
    }
    if (!old_neighbours.empty() && (neighbours.sweeping() || missed)) {
        doubt(DumpKind::neighbours);
    }
    structure_revision += old_addresses.empty() ? 0U : 1U;
    neighbour_revision += old_neighbours.empty() ? 0U : 1U;
    remove_fdb_of(device, departure);
    routes.remove_device(device);
}

void Topology::Tables::remove_fdb_of(IfIndex device, Departure departure) {
    if (!fdb.remove_device(device)) {
        return;
    }
    ++fdb_revision;
    if (fdb.sweeping() || departure == Departure::missed) {
        doubt(DumpKind::fdb);
    }
}

void Topology::Tables::leave_bridge(const LinkLeftBridge& left, const Instant& now) {
    const auto* known = links.find(left.index);
    if (known == nullptr) {
        return;
    }
    const LinkPointer before = *known;
    if (left.bridge != IfIndex::any && left.bridge != before->master) {
        return;  // of an older bridge
    }
    links.mention(left.index, Teller::half_event);
    doubt_unless(links.remember_no_vlans(left.index), DumpKind::bridge_vlans);
    Link after(*before);
    after.master = IfIndex::any;
    after.port.reset();
    put(before, std::move(after), now);
    remove_fdb_of(left.index, Departure::told);
}

// --- Addresses, neighbours, forwarding entries -------------------------------------------------

void Topology::Tables::change_address(const InterfaceAddress& address,
                                      Teller teller,
                                      const Instant& now) {
    const auto key = key_of(address);
    if (addresses.is_stale(key, teller)) {
        return;
    }
    const auto [node, added] = addresses.mention(key, teller);
    if (node == nullptr) {
        return;
    }
    if (added) {
        changes.address_changed(address, true, now);
    }
    if (added || node->second.flags != address.flags) {
        node->second.flags = address.flags;
        revision += routes.carries_default(key.device) ? 1U : 0U;
        ++structure_revision;
    }
}

void Topology::Tables::remove_address(const AddressKey& key,
                                      std::uint32_t flags,
                                      const Instant& now) {
    if (addresses.erase(key)) {
        changes.address_changed({key.device, key.address, key.prefix_length, flags}, false, now);
        revision += routes.carries_default(key.device) ? 1U : 0U;
        ++structure_revision;
    }
}

void Topology::Tables::change_neighbour(const NeighbourChanged& change,
                                        Teller teller,
                                        const Instant& now) {
    const NeighbourKey key{change.device, change.address};
    if (neighbours.is_stale(key, teller)) {
        return;
    }
    const auto [node, added] = neighbours.mention(key, teller);
    if (node == nullptr) {
        return;
    }
    auto& known = node->second;
    if (change.mac && known.last_mac && *known.last_mac != *change.mac) {
        changes.neighbour_mac_changed(change, *known.last_mac, now);
    }
    neighbour_revision += added || known.mac != change.mac ? 1U : 0U;
    known.mac = change.mac;
    known.last_mac = change.mac ? change.mac : known.last_mac;
    known.state = change.state;
    known.router = change.router;
}

void Topology::Tables::change_fdb(const FdbChanged& change, Teller teller, const Instant& now) {
    const auto changed = fdb.change(change, teller);
    fdb_revision += changed.added ? 1U : 0U;
    if (changed.port_before) {
        changes.mac_moved(change, *changed.port_before, now);
    }
}

// --- Routes ----------------------------------------------------------------------------------

void Topology::Tables::take_route_effects(const Instant& now) {
    const auto effects = routes.take_effects();
    if (effects.ipv4_doubt) {
        doubt(DumpKind::ipv4_routes);
    }
    if (effects.ipv6_doubt) {
        doubt(DumpKind::ipv6_routes);
    }
    route_revision += effects.changed ? 1U : 0U;
    structure_revision += effects.gateways_changed ? 1U : 0U;
    if (effects.gateways_changed) {
        ++revision;
        changes.touch_gateways(now);
    }
}

std::vector<Gateway> Topology::Tables::gateways() const {
    return routes.default_gateways([this](IfIndex device) {
        const auto* link = links.find(device);
        return link != nullptr && !(*link)->admin_up;
    });
}

// --- Sweeps ----------------------------------------------------------------------------------

void Topology::begin_sweep(DumpKind kind) {
    switch (kind) {
        case DumpKind::links: tables_->links.begin_sweep(); break;
        case DumpKind::bridge_vlans: tables_->links.begin_vlan_sweep(); break;
        case DumpKind::addresses: tables_->addresses.begin_sweep(); break;
        case DumpKind::neighbours: tables_->neighbours.begin_sweep(); break;
        case DumpKind::fdb: tables_->fdb.begin_sweep(); break;
        case DumpKind::ipv4_routes: tables_->routes.begin_sweep(Family::ipv4); break;
        case DumpKind::ipv6_routes: tables_->routes.begin_sweep(Family::ipv6); break;
        case DumpKind::statistics: break;  // counters are no table of their own
    }
}

bool Topology::finish_sweep(DumpKind kind, const Instant& now) {
    const bool whole = tables_->finish_sweep(kind, now);
    tables_->take_route_effects(now);
    return whole;
}

bool Topology::Tables::finish_sweep(DumpKind kind, const Instant& now) {
    switch (kind) {
        case DumpKind::links: return finish_link_sweep(now);
        case DumpKind::bridge_vlans: return finish_vlan_sweep(now);
        case DumpKind::addresses: return finish_address_sweep(now);
        case DumpKind::neighbours: return finish_neighbour_sweep();
        case DumpKind::fdb: {
            const auto swept = fdb.finish_sweep();
            fdb_revision += swept.changed ? 1U : 0U;
            return !swept.incomplete;
        }
        case DumpKind::ipv4_routes: return routes.finish_sweep(Family::ipv4);
        case DumpKind::ipv6_routes: return routes.finish_sweep(Family::ipv6);
        case DumpKind::statistics: return true;
    }
    return true;
}

bool Topology::Tables::finish_link_sweep(const Instant& now) {
    const auto swept = links.finish_sweep();
    for (const auto index : swept.gone) {
        remove_link(index, Departure::told, now);
    }
    revision += links.mend_names() ? 1U : 0U;
    return !swept.incomplete;
}

bool Topology::Tables::finish_address_sweep(const Instant& now) {
    const auto swept = addresses.finish_sweep(true);
    for (const auto& key : swept.gone) {
        remove_address(key, 0, now);
    }
    return !swept.incomplete;
}

bool Topology::Tables::finish_vlan_sweep(const Instant& now) {
    const auto swept = links.finish_vlan_sweep();
    for (const auto index : swept.gone) {
        if (const auto* link = links.find(index)) {
            changes.touch_vlans(*link, now);
        }
        structure_revision += links.erase_vlans(index) ? 1U : 0U;
    }
    return !swept.incomplete;
}

bool Topology::Tables::finish_neighbour_sweep() {
    const auto swept = neighbours.finish_sweep(false);
    for (const auto& key : swept.gone) {
        neighbours.erase(key);
    }
    neighbour_revision += swept.gone.empty() ? 0U : 1U;
    return !swept.incomplete;
}

void Topology::abandon_sweep(DumpKind kind) {
    tables_->abandon_sweep(kind);
}

void Topology::Tables::abandon_sweep(DumpKind kind) {
    switch (kind) {
        case DumpKind::links: links.abandon_sweep(); break;
        case DumpKind::bridge_vlans: links.abandon_vlan_sweep(); break;
        case DumpKind::addresses: addresses.abandon_sweep(); break;
        case DumpKind::neighbours: neighbours.abandon_sweep(); break;
        case DumpKind::fdb: fdb.abandon_sweep(); break;
        case DumpKind::ipv4_routes: routes.abandon_sweep(Family::ipv4); break;
        case DumpKind::ipv6_routes: routes.abandon_sweep(Family::ipv6); break;
        case DumpKind::statistics: break;
    }
}

// --- Questions -------------------------------------------------------------------------------

DumpKinds Topology::take_doubts() {
    return std::exchange(tables_->doubts, DumpKinds{});
}

std::optional<IfIndex> Topology::index_of(std::string_view name) const {
    return tables_->links.index_of(name);
}

std::string_view Topology::name_of(IfIndex index) const {
    return tables_->links.name_of(index);
}

std::shared_ptr<const Link> Topology::link(IfIndex index) const {
    const auto* found = tables_->links.find(index);
    return found == nullptr ? nullptr : *found;
}

std::size_t Topology::link_count() const {
    return tables_->links.size();
}

std::vector<std::shared_ptr<const Link>> Topology::links() const {
    return tables_->links.all();
}

std::uint64_t Topology::admin_changes_of(IfIndex index) const {
    return tables_->links.admin_changes_of(index);
}

std::optional<LinkCounters> Topology::counters_of(IfIndex index) const {
    return tables_->links.counters_of(index);
}

std::vector<InterfaceAddress> Topology::addresses_of(IfIndex index) const {
    const auto& entries = tables_->addresses.entries();
    std::vector<InterfaceAddress> found;
    for (auto place = entries.lower_bound({index, {}, 0});
         place != entries.end() && place->first.device == index;
         ++place) {
        const auto& [key, entry] = *place;
        found.push_back({key.device, key.address, key.prefix_length, entry.flags});
    }
    return found;
}

std::vector<InterfaceAddress> Topology::addresses() const {
    return tables_->all_addresses();
}

std::size_t Topology::address_count() const {
    return tables_->addresses.size();
}

std::vector<VlanRange> Topology::vlans_of(IfIndex index) const {
    return tables_->links.vlans_of(index);
}

bool Topology::filters_vlans() const {
    return tables_->links.filters_vlans();
}

bool Topology::has_virtual_functions() const {
    return tables_->links.has_virtual_functions();
}

std::optional<NeighbourChanged> Topology::neighbour(IfIndex device,
                                                    const IpAddress& address) const {
    const auto* node = tables_->neighbours.find({device, address});
    if (node == nullptr) {
        return std::nullopt;
    }
    const auto& entry = node->second;
    return NeighbourChanged{device, address, entry.mac, entry.state, entry.router};
}

std::vector<NeighbourChanged> Topology::neighbours() const {
    std::vector<NeighbourChanged> all;
    all.reserve(tables_->neighbours.size());
    for (const auto& [key, entry] : tables_->neighbours.entries()) {
        all.push_back({key.device, key.address, entry.mac, entry.state, entry.router});
    }
    return all;
}

std::size_t Topology::neighbour_count() const {
    return tables_->neighbours.size();
}

std::size_t Topology::fdb_count() const {
    return tables_->fdb.size();
}

std::vector<LearntMac> Topology::learnt_behind(IfIndex port) const {
    return tables_->fdb.learnt_behind(port);
}

FdbNewsBatch Topology::take_fdb_news() {
    return tables_->fdb.take_news();
}

std::vector<FdbChanged> Topology::fdb_of(IfIndex bridge) const {
    return tables_->fdb.of(bridge);
}

IfIndex Topology::port_towards(IfIndex bridge, const IpAddress& address) const {
    const auto found = neighbour(bridge, address);
    if (!found || !found->mac) {
        return IfIndex::any;
    }
    const auto device = link(bridge);
    std::uint16_t vlan = 0;
    if (device && device->bridge.vlan_filtering) {  // else it learns without VLANs
        for (const VlanRange& range : vlans_of(bridge)) {
            vlan = range.pvid ? range.first : vlan;
        }
    }
    return tables_->fdb.port_of(bridge, vlan, *found->mac);
}

std::size_t Topology::route_count(Family family) const {
    return tables_->routes.count(family);
}

std::vector<Route> Topology::routes() const {
    return tables_->routes.routes();
}

std::vector<Gateway> Topology::default_gateways() const {
    return tables_->gateways();
}

std::uint64_t Topology::revision() const {
    return tables_->revision;
}

std::uint64_t Topology::structure_revision() const {
    return tables_->structure_revision;
}

std::uint64_t Topology::neighbour_revision() const {
    return tables_->neighbour_revision;
}

std::uint64_t Topology::route_revision() const {
    return tables_->route_revision;
}

std::uint64_t Topology::state_revision() const {
    return tables_->state_revision();
}

MonoTime Topology::changes_due() const {
    return tables_->changes.due();
}

std::vector<TopologyChange> Topology::take_changes(MonoTime now) {
    return tables_->changes.take(now, [this] { return tables_->gateways(); });
}

void Topology::forget_changes() {
    tables_->changes.forget(tables_->gateways());
}

TopologyRefusals Topology::refusals() const {
    const auto& tables = *tables_;
    return {.links = tables.links.links_refused(),
            .addresses = tables.addresses.refused(),
            .neighbours = tables.neighbours.refused(),
            .fdb_entries = tables.fdb.refused(),
            .routes = tables.routes.routes_refused(),
            .next_hops = tables.routes.next_hops_refused(),
            .vlans = tables.links.vlans_refused(),
            .virtual_functions = tables.links.virtual_functions_refused(),
            .changes = tables.changes.refused()};
}

std::shared_ptr<const TopologySnapshot> Topology::snapshot() const {
    auto& tables = *tables_;
    if (!tables.snapshot || tables.snapshot_revision != tables.state_revision()) {
        tables.snapshot = tables.make_snapshot();
        tables.snapshot_revision = tables.state_revision();
    }
    return tables.snapshot;
}

std::vector<InterfaceAddress> Topology::Tables::all_addresses() const {
    std::vector<InterfaceAddress> all;
    all.reserve(addresses.size());
    for (const auto& [key, entry] : addresses.entries()) {
        all.push_back({key.device, key.address, key.prefix_length, entry.flags});
    }
    return all;
}

std::shared_ptr<const TopologySnapshot> Topology::Tables::make_snapshot() const {
    auto made = std::make_shared<TopologySnapshot>();
    made->links = links.all();
    made->addresses = all_addresses();
    made->vlans = links.all_vlans();
    made->virtual_functions = links.all_virtual_functions();
    for (const auto& gateway : gateways()) {
        const auto name = links.name_of(gateway.device);
        made->default_gateways.push_back(
            {gateway.address.to_string(name), std::string(name), gateway.metric});
    }
    made->ipv4_routes = routes.count(Family::ipv4);
    made->ipv6_routes = routes.count(Family::ipv6);
    made->neighbours = neighbours.size();
    made->fdb_entries = fdb.size();
    return made;
}

}  // namespace reachd
