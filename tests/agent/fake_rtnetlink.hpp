// A small kernel for tests: links, bridges, addresses, neighbours, forwarding entries and routes
// that change at random, with the messages that Linux sends for each change (and the silence where
// it sends none), and dumps in parts that race with the changes. The same seed gives the same run.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/netlink_message.hpp"
#include "common/random.hpp"
#include "tests/agent/netlink_builder.hpp"

namespace reachd::test {

class FakeRtnetlink {
  public:
    explicit FakeRtnetlink(Random& random) : random_(random) { create_link("lo", ""); }

    const std::map<int, LinkFacts>& links() const { return links_; }

    const std::vector<RouteFacts>& routes() const { return routes_; }

    const std::vector<InterfaceAddress>& addresses() const { return addresses_; }

    const std::deque<NeighbourFacts>& neighbours() const { return neighbours_; }

    const std::deque<FdbFacts>& fdb() const { return fdb_; }

    /// Of ports and bridges.
    const std::map<int, std::vector<VlanRange>>& vlans() const { return vlans_; }

    /// As the drivers count: from zero again after a restart.
    const std::map<int, LinkCounters>& counters() const { return counters_; }

    /// Datagrams on their way to the listener.
    std::deque<Bytes> queue{};

    bool dumping() const { return dump_.has_value(); }

    void change() {
        switch (random_.below(8)) {
            case 0:
            case 1: change_links(); break;
            case 2: change_one_link(); break;
            case 3: change_bridges(); break;
            case 4: change_addresses(); break;
            case 5: change_neighbours(); break;
            case 6: change_fdb(); break;
            default: change_routes(); break;
        }
    }

    void begin_dump(const DumpRequest& request) {
        dump_ = Dump{};
        dump_->request = request;
        dump_->base = base_;
    }

    /// What the next part says is fixed here …
    void compose_part() {
        if (!dump_ || !dump_->composed.empty()) {
            return;
        }
        const auto kind = dump_->request.kind;
        if (kind == DumpKind::ipv4_routes || kind == DumpKind::ipv6_routes) {
            compose_routes(kind == DumpKind::ipv4_routes ? Family::ipv4 : Family::ipv6);
        } else if (kind == DumpKind::links || kind == DumpKind::statistics) {
            compose_links();
        } else {
            compose_by_position();
        }
    }

    /// … and reaches the listener's queue here, maybe behind events that are newer.
    void queue_part() {
        if (!dump_ || dump_->composed.empty()) {
            return;
        }
        queue.push_back(std::move(dump_->composed));
        dump_->composed = {};
        if (dump_->over) {
            dump_.reset();
        }
    }

  private:
    static constexpr int part_entries = 4;

    struct Dump {
        DumpRequest request{};
        int last_index = 0;        ///< dumps that go by index
        std::size_t position = 0;  ///< dumps that go by position
        unsigned base = 0;
        Bytes composed{};
        bool over = false;
    };

    // --- Dumps

    /// NLM_F_DUMP_INTR if links or addresses came or went since the part before. Only their dumps
    /// look.
    int part_flags() {
        const auto kind = dump_->request.kind;
        const bool looks = kind == DumpKind::links || kind == DumpKind::addresses;
        const bool interrupted = looks && dump_->base != base_;
        dump_->base = base_;
        return NLM_F_MULTI | (interrupted ? NLM_F_DUMP_INTR : 0);
    }

    void finish_part(int flags) {
        dump_->composed = dump_->composed + dump_done(dump_->request.sequence, 0, flags);
        dump_->over = true;
    }

    /// The end sometimes fits into the last part, else it comes alone.
    void finish_part_at_end(bool at_end, int flags) {
        if (at_end && (dump_->composed.empty() || random_.below(2) == 0)) {
            finish_part(flags);
        }
    }

    void compose_links() {
        const int flags = part_flags();
        const auto sequence = dump_->request.sequence;
        const bool statistics = dump_->request.kind == DumpKind::statistics;
        auto place = links_.upper_bound(dump_->last_index);
        for (int i = 0; i < part_entries && place != links_.end(); ++i, ++place) {
            const auto& [index, link] = *place;
            const auto message = statistics
                                     ? new_statistics(index, counters_[index], flags, sequence)
                                     : new_link(link, flags, sequence);
            dump_->composed = dump_->composed + message;
            dump_->last_index = index;
        }
        finish_part_at_end(place == links_.end(), flags);
    }

    void compose_by_position() {
        const int flags = part_flags();
        const auto all = entries(flags);
        for (int i = 0; i < part_entries && dump_->position < all.size(); ++i) {
            dump_->composed = dump_->composed + all[dump_->position++];
        }
        finish_part_at_end(dump_->position >= all.size(), flags);
    }

    /// Of the table that is dumped by position.
    std::vector<Bytes> entries(int flags) const {
        const auto sequence = dump_->request.sequence;
        std::vector<Bytes> all;
        if (dump_->request.kind == DumpKind::addresses) {
            for (const auto& address : addresses_) {
                all.push_back(new_address(address, flags, sequence));
            }
        } else if (dump_->request.kind == DumpKind::neighbours) {
            for (const auto& neighbour : neighbours_) {
                all.push_back(new_neighbour(neighbour, flags, sequence));
            }
        } else if (dump_->request.kind == DumpKind::fdb) {
            for (const auto& entry : fdb_) {
                all.push_back(new_fdb(entry, flags, sequence));
            }
        } else {
            // All devices count for the position, those that are in no bridge as well.
            for (const auto& [index, link] : links_) {
                const bool told = link.port || link.kind == "bridge";
                all.push_back(
                    told ? bridge_link(as_seen_by_bridge(link), vlans_.at(index), flags, sequence)
                         : Bytes{});
            }
        }
        return all;
    }

    void compose_routes(Family family) {
        for (const auto& route : routes_) {
            if (route.family == family) {
                dump_->composed =
                    dump_->composed + new_route(route, NLM_F_MULTI, dump_->request.sequence);
            }
        }
        finish_part(0);
    }

    // --- Telling

    void tell(Bytes message) { queue.push_back(std::move(message)); }

    /// Events come with statistics, dumps of links without.
    void tell_link(const LinkFacts& link) {
        auto told = link;
        told.counters = counters_[link.index];
        told.virtual_functions.clear();
        tell(new_link(told));
    }

    static LinkFacts as_seen_by_bridge(LinkFacts link) {
        link.master = link.kind == "bridge" ? link.index : link.master;
        return link;
    }

    void tell_bridge_link(const LinkFacts& link) {
        tell(bridge_link(as_seen_by_bridge(link), vlans_[link.index]));
    }

    // --- Links

    void change_links() {
        switch (random_.below(4)) {
            case 0: create_link("veth" + std::to_string(++names_), any_kind()); break;
            case 1: create_link("br" + std::to_string(++names_), "bridge"); break;
            case 2: delete_link(); break;
            default: rename_links(); break;
        }
    }

    void change_one_link() {
        auto* link = any_link();
        if (link == nullptr) {
            return;
        }
        switch (random_.below(7)) {
            case 0: link->mtu = 1400 + random_.below(9); break;
            case 1: set_up(*link, !link->up); return;
            case 2: change_carrier(*link); break;
            case 3:
                link->mac = any_mac();
                remove_neighbours_on(link->index);
                break;
            case 4: change_master(*link); return;
            case 5: count_errors(link->index); return;
            default: break;  // told once more
        }
        tell_link(*link);
    }

    std::string any_kind() {
        const auto kind = random_.below(4);
        return kind == 0 ? "" : kind == 1 ? "dummy" : "veth";
    }

    LinkFacts* any_link() {
        if (links_.empty()) {
            return nullptr;
        }
        const auto steps = random_.below(static_cast<std::uint32_t>(links_.size()));
        return &std::next(links_.begin(), static_cast<std::ptrdiff_t>(steps))->second;
    }

    template <class Predicate>
    LinkFacts* any_link(Predicate fits) {
        for (int tries = 0; tries < 8; ++tries) {
            if (auto* link = any_link(); link != nullptr && fits(*link)) {
                return link;
            }
        }
        return nullptr;
    }

    MacAddress any_mac() {
        return MacAddress({2, 0, 0, 0, 0, static_cast<std::uint8_t>(random_.below(6))});
    }

    void create_link(const std::string& name, const std::string& kind) {
        const int index = 1 + static_cast<int>(random_.below(25));  // small: indexes are re-used
        if (links_.contains(index)) {
            return;
        }
        LinkFacts link{.index = index, .name = name, .up = random_.below(4) != 0};
        link.kind = kind;
        link.mac = any_mac();
        link.carrier_changes = 0;
        if (kind == "bridge") {
            link.bridge = BridgeSettings{random_.below(2) == 0, false, 1500, 1};
            vlans_[index] = default_vlans();
        }
        if (kind.empty() && random_.below(3) == 0) {
            link.virtual_functions = {VirtualFunction{.number = 0, .mac = any_mac()}};
        }
        links_[index] = link;
        counters_[index] = {};
        ++base_;
        tell_link(link);
    }

    void delete_link() {
        auto* link = any_link();
        if (link == nullptr) {
            return;
        }
        const int index = link->index;
        set_up(*link, false);
        if (link->kind == "bridge") {
            for (auto& [port_index, port] : links_) {
                if (port.master == index && port.port) {
                    leave_bridge(port);
                }
            }
        }
        if (link->port) {
            leave_bridge(*link);
        }
        while (const auto* address = address_on(index)) {
            remove_address(*address);
        }
        remove_neighbours_on(index);
        remove_hops_on(index);
        links_.erase(index);
        vlans_.erase(index);
        counters_.erase(index);
        ++base_;
        tell(random_.below(4) == 0 ? moved_link(index, 7) : del_link(index));
    }

    void rename_links() {
        auto* a = any_link();
        auto* b = any_link();
        if (a == nullptr) {
            return;
        }
        ++base_;
        if (a == b) {
            a->name = "name" + std::to_string(++names_);
            tell_link(*a);
            return;
        }
        const auto name = std::exchange(a->name, "swap");
        tell_link(*a);
        const auto other = std::exchange(b->name, name);
        tell_link(*b);
        a->name = other;
        tell_link(*a);
    }

    void change_carrier(LinkFacts& link) {
        link.carrier = !link.carrier.value_or(link.up);
        link.oper_state = *link.carrier ? IF_OPER_UP : IF_OPER_DOWN;
        link.carrier_changes = link.carrier_changes.value_or(0) + 1;
    }

    /// As of a bond or VRF. The kernel asks a port to leave its bridge first.
    void change_master(LinkFacts& link) {
        if (link.port) {
            leave_bridge(link);
            return;
        }
        link.master = link.master != 0 ? 0 : 1 + static_cast<int>(random_.below(25));
        const auto master = links_.find(link.master);
        const bool bridge = master != links_.end() && master->second.kind == "bridge";
        if (bridge || link.master == link.index) {
            link.master = 0;
        }
        tell_link(link);
    }

    /// Drivers start again from zero; nobody tells of counters but the dump.
    void count_errors(int index) {
        auto& counters = counters_[index];
        if (random_.below(4) == 0) {
            counters.receive_errors = 0;
            counters.transmit_errors = 0;
        }
        counters.receive_errors += random_.below(5);
        counters.receive_drops += random_.below(5);
    }

    void set_up(LinkFacts& link, bool up) {
        if (link.up == up) {
            return;
        }
        link.up = up;
        link.carrier = up;
        link.oper_state = up ? IF_OPER_UP : IF_OPER_DOWN;
        tell_link(link);
        if (!up) {
            flush_dead_routes();
            remove_neighbours_on(link.index);
        }
    }

    // --- Bridges

    static std::vector<VlanRange> default_vlans() { return {VlanRange{1, 1, true, true}}; }

    void change_bridges() {
        auto* port = any_link([](const LinkFacts& link) { return link.port.has_value(); });
        switch (random_.below(5)) {
            case 0:
            case 1: join_bridge(); break;
            case 2:
                if (port != nullptr) {
                    leave_bridge(*port);
                }
                break;
            case 3:
                if (port != nullptr) {
                    change_port(*port);
                }
                break;
            default: change_bridge(); break;
        }
    }

    void join_bridge() {
        const auto* bridge = any_link([](const LinkFacts& link) { return link.kind == "bridge"; });
        auto* link = any_link(
            [](const LinkFacts& each) { return each.kind != "bridge" && each.master == 0; });
        if (bridge == nullptr || link == nullptr) {
            return;
        }
        link->master = bridge->index;
        link->port = BridgePort{PortState::disabled, false};
        vlans_[link->index] = default_vlans();
        tell_link(*link);
        tell_bridge_link(*link);
    }

    void leave_bridge(LinkFacts& link) {
        for (std::size_t i = fdb_.size(); i-- > 0;) {
            if (fdb_[i].port == link.index) {
                remove_fdb(i);
            }
        }
        const int bridge = std::exchange(link.master, 0);
        link.port.reset();
        vlans_.erase(link.index);
        tell(left_bridge(link.index, bridge));
        tell_link(link);
    }

    /// Only the bridge tells of it.
    void change_port(LinkFacts& port) {
        if (random_.below(2) == 0) {
            port.port->state = static_cast<PortState>(random_.below(port_state_count));
        } else {
            const auto first = static_cast<std::uint16_t>(2 + random_.below(3));
            vlans_[port.index] = {VlanRange{first, static_cast<std::uint16_t>(first + 1)}};
            if (random_.below(3) == 0) {
                vlans_[port.index].clear();
            }
        }
        tell_bridge_link(port);
    }

    void change_bridge() {
        auto* bridge = any_link([](const LinkFacts& link) { return link.kind == "bridge"; });
        if (bridge == nullptr) {
            return;
        }
        if (random_.below(2) == 0) {
            bridge->bridge->vlan_filtering = !bridge->bridge->vlan_filtering;
        } else {
            bridge->bridge->stp = !bridge->bridge->stp;
        }
        tell_link(*bridge);
    }

    // --- Addresses

    const InterfaceAddress* address_on(int device) const {
        const auto place =
            std::find_if(addresses_.begin(), addresses_.end(), [device](const auto& address) {
                return static_cast<int>(address.device) == device;
            });
        return place == addresses_.end() ? nullptr : &*place;
    }

    void change_addresses() {
        if (!addresses_.empty() && random_.below(2) == 0) {
            const auto place = random_.below(static_cast<std::uint32_t>(addresses_.size()));
            remove_address(addresses_[place]);
            return;
        }
        const auto* link = any_link();
        if (link == nullptr) {
            return;
        }
        const auto byte = static_cast<std::uint8_t>(1 + random_.below(4));
        InterfaceAddress address;
        address.device = static_cast<IfIndex>(link->index);
        address.address =
            random_.below(2) == 0
                ? IpAddress::v4({10, 0, 0, byte})
                : IpAddress::v6({0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte});
        address.prefix_length = address.address.family() == Family::ipv4 ? 24 : 64;
        address.flags = random_.below(2) == 0 ? IFA_F_PERMANENT : IFA_F_PERMANENT | IFA_F_TENTATIVE;
        const auto known =
            std::find_if(addresses_.begin(), addresses_.end(), [&](const auto& other) {
                return other.device == address.device && other.address == address.address;
            });
        if (known == addresses_.end()) {
            addresses_.push_back(address);
            ++base_;
        } else {
            known->flags = address.flags;
        }
        tell(new_address(address));
    }

    /// With it go, unannounced, the IPv4 routes that prefer it as source, and with the last one of
    /// a device those of the device.
    void remove_address(InterfaceAddress address) {
        std::erase(addresses_, address);
        ++base_;
        tell(del_address(address));
        if (address.address.family() != Family::ipv4) {
            return;
        }
        const int device = static_cast<int>(address.device);
        RouteFacts local{.hops = {{std::nullopt, device}}, .destination = address.address};
        local.prefix_length = 32;
        local.table = RT_TABLE_LOCAL;
        local.type = RTN_LOCAL;
        tell(del_route(local));
        const bool last =
            std::none_of(addresses_.begin(), addresses_.end(), [&](const auto& other) {
                return other.device == address.device && other.address.family() == Family::ipv4;
            });
        std::erase_if(routes_, [&](const RouteFacts& route) {
            const bool beside = !route.hops.empty() &&
                                std::all_of(route.hops.begin(), route.hops.end(), [&](auto& hop) {
                                    return hop.device == device;
                                });
            return route.family == Family::ipv4 &&
                   (route.preferred_source == address.address || (last && beside));
        });
    }

    // --- Neighbours

    void change_neighbours() {
        const auto* link = any_link([](const LinkFacts& each) { return each.up; });
        if (link == nullptr) {
            return;
        }
        NeighbourFacts told;
        told.device = link->index;
        const auto byte = static_cast<std::uint8_t>(1 + random_.below(4));
        told.address = IpAddress::v4({10, 0, 1, byte});
        const auto known =
            std::find_if(neighbours_.begin(), neighbours_.end(), [&](const auto& other) {
                return other.device == told.device && other.address == told.address;
            });
        if (known == neighbours_.end()) {
            told.state = NUD_INCOMPLETE;  // the first question is silent
            neighbours_.push_front(told);
            return;
        }
        switch (random_.below(4)) {
            case 0:
                tell(del_neighbour(*known));
                neighbours_.erase(known);
                return;
            case 1:
                known->state = NUD_FAILED;
                known->mac.reset();
                break;
            default:
                known->state = random_.below(2) == 0 ? NUD_REACHABLE : NUD_STALE;
                known->mac = any_mac();
                break;
        }
        tell(new_neighbour(*known));
        if (known->state == NUD_FAILED && random_.below(2) == 0) {
            known->state = NUD_INCOMPLETE;  // asked again, silently
        }
    }

    void remove_neighbours_on(int device) {
        for (std::size_t i = neighbours_.size(); i-- > 0;) {
            if (neighbours_[i].device == device) {
                tell(del_neighbour(neighbours_[i]));
                neighbours_.erase(neighbours_.begin() + static_cast<std::ptrdiff_t>(i));
            }
        }
    }

    // --- Forwarding entries

    void change_fdb() {
        if (!fdb_.empty() && random_.below(3) == 0) {
            remove_fdb(random_.below(static_cast<std::uint32_t>(fdb_.size())));
            return;
        }
        const auto* port = any_link([](const LinkFacts& link) { return link.port.has_value(); });
        if (port == nullptr) {
            return;
        }
        FdbFacts entry;
        entry.bridge = port->master;
        entry.port = port->index;
        entry.mac = any_mac();
        entry.vlan = static_cast<std::uint16_t>(random_.below(2));
        const auto known = std::find_if(fdb_.begin(), fdb_.end(), [&](const FdbFacts& other) {
            return other.bridge == entry.bridge && other.mac == entry.mac &&
                   other.vlan == entry.vlan;
        });
        if (known == fdb_.end()) {
            fdb_.push_front(entry);
        } else {
            known->port = entry.port;
        }
        tell(new_fdb(entry));
    }

    void remove_fdb(std::size_t place) {
        tell(del_fdb(fdb_[place]));
        fdb_.erase(fdb_.begin() + static_cast<std::ptrdiff_t>(place));
    }

    // --- Routes

    void change_routes() {
        switch (random_.below(4)) {
            case 0:
            case 1: add_route(Family::ipv4); break;
            case 2: add_route(Family::ipv6); break;
            default: delete_route(); break;
        }
    }

    bool is_dead(const HopFacts& hop) const {
        const auto link = links_.find(hop.device);
        return link == links_.end() || !link->second.up;
    }

    /// A route dies with its last living next hop: IPv6 tells, IPv4 does not.
    void flush_dead_routes() {
        std::erase_if(routes_, [this](const RouteFacts& route) {
            const bool dead = route.type == RTN_UNICAST &&
                              std::all_of(route.hops.begin(), route.hops.end(), [&](auto& hop) {
                                  return is_dead(hop);
                              });
            if (dead && route.family == Family::ipv6) {
                tell(del_route(route));
            }
            return dead;
        });
    }

    void remove_hops_on(int device) {
        for (auto& route : routes_) {
            for (std::size_t i = route.hops.size(); i-- > 0;) {
                if (route.hops[i].device != device) {
                    continue;
                }
                if (route.family == Family::ipv4) {
                    route.hops[i].device = 0;  // dead, without device; the rest lives on
                    continue;
                }
                auto hop = route;
                hop.hops = {route.hops[i]};
                tell(del_route(hop));
                route.hops.erase(route.hops.begin() + static_cast<std::ptrdiff_t>(i));
            }
        }
    }

    HopFacts any_hop(Family family) {
        const auto* link = any_link();
        const auto byte = static_cast<std::uint8_t>(1 + random_.below(3));
        std::array<std::uint8_t, 16> local{0xfe, 0x80};
        local[15] = byte;
        const auto gateway =
            family == Family::ipv4 ? IpAddress::v4({10, 0, 0, byte}) : IpAddress::v6(local);
        return {gateway, link == nullptr ? 0 : link->index};
    }

    RouteFacts any_route(Family family) {
        RouteFacts route;
        route.family = family;
        route.metric = 100 + random_.below(3);
        if (random_.below(2) == 0) {
            const auto byte = static_cast<std::uint8_t>(random_.below(3));
            route.destination =
                family == Family::ipv4
                    ? IpAddress::v4({172, 16, byte, 0})
                    : IpAddress::v6({0xfd, 1, byte, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
            route.prefix_length = 24;
        }
        return route;
    }

    void add_route(Family family) {
        auto route = any_route(family);
        const auto hop = any_hop(family);
        if (is_dead(hop)) {
            return;  // ENETDOWN
        }
        route.hops = {hop};
        if (family == Family::ipv4 && random_.below(6) == 0) {
            route.type = RTN_BLACKHOLE;
            route.hops.clear();
        } else if (family == Family::ipv4 && address_on(hop.device) != nullptr) {
            const auto& source = address_on(hop.device)->address;
            if (source.family() == Family::ipv4 && random_.below(2) == 0) {
                route.preferred_source = source;
            }
        }
        const auto known = std::find_if(routes_.begin(), routes_.end(), [&](const auto& other) {
            return other.family == family && other.metric == route.metric &&
                   other.destination == route.destination;
        });
        if (known == routes_.end()) {
            if (const auto second = any_hop(family); random_.below(2) == 0 && !is_dead(second) &&
                                                     second.device != hop.device &&
                                                     route.type == RTN_UNICAST) {
                route.hops.push_back(second);
            }
            routes_.push_back(route);
            tell(new_route(route, NLM_F_CREATE));
        } else if (family == Family::ipv4 || random_.below(3) == 0) {
            *known = route;
            tell(new_route(route, NLM_F_REPLACE));
        } else {
            append_hop(*known, hop);
        }
    }

    void append_hop(RouteFacts& route, const HopFacts& hop) {
        const bool there =
            std::any_of(route.hops.begin(), route.hops.end(), [&](const auto& other) {
                return other.device == hop.device && other.gateway == hop.gateway;
            });
        if (!there) {
            route.hops.push_back(hop);
            tell(new_route(route, NLM_F_APPEND));
        }
    }

    void delete_route() {
        if (routes_.empty()) {
            return;
        }
        const auto place = random_.below(static_cast<std::uint32_t>(routes_.size()));
        tell(del_route(routes_[place]));
        routes_.erase(routes_.begin() + static_cast<std::ptrdiff_t>(place));
    }

    Random& random_;
    std::map<int, LinkFacts> links_;
    std::map<int, std::vector<VlanRange>> vlans_;
    std::map<int, LinkCounters> counters_;
    std::vector<InterfaceAddress> addresses_;
    std::deque<NeighbourFacts> neighbours_;  ///< new ones in front, as dumps by position see it
    std::deque<FdbFacts> fdb_;               ///< the same
    std::vector<RouteFacts> routes_;
    std::optional<Dump> dump_;
    unsigned base_ = 0;
    int names_ = 0;
};

}  // namespace reachd::test
