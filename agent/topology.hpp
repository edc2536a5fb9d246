// The model of the host's network as told by rtnetlink: links by interface index and the default
// routes of the main table. A pure reducer: messages in, questions answered. It does not know where
// messages come from, when to ask for a dump (netlink_sync does), nor whether a gateway answers.
//
// Dumps and events describe the same tables and overlap. Between begin_sweep() and finish_sweep()
// what neither an event nor the dump mentions is swept away at the end, and an event is believed
// over the dump: a part of a dump is composed before it is queued, so it can be the older of the
// two.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "agent/netlink_message.hpp"
#include "common/address.hpp"

namespace reachd {

/// A set of tables, e.g. those that a dump should read again.
class DumpKinds {
  public:
    void insert(DumpKind kind) { kinds_[static_cast<std::size_t>(kind)] = true; }

    bool contains(DumpKind kind) const { return kinds_[static_cast<std::size_t>(kind)]; }

    friend bool operator==(const DumpKinds&, const DumpKinds&) = default;

  private:
    std::array<bool, dump_kind_count> kinds_{};
};

/// One network device of this namespace. Its identity is index and generation: the kernel gives an
/// index out again, and names change.
struct Link {
    IfIndex index = IfIndex::any;
    std::uint64_t generation = 0;  ///< unique in this run
    std::string name;              ///< safe text, see device_text()
    std::string kind;              ///< "veth", "bridge", …; empty for hardware
    std::uint32_t mtu_bytes = 0;
    IfIndex master = IfIndex::any;  ///< bridge, bond or VRF it belongs to
    std::uint16_t hardware_type = 0;
    OperState oper_state = OperState::unknown;
    bool admin_up = false;
    bool carrier = false;

    /// Admin up, and operationally up or unable to tell (reachd_interface_up).
    bool is_up() const {
        return admin_up && (oper_state == OperState::up || oper_state == OperState::unknown);
    }

    friend bool operator==(const Link&, const Link&) = default;
};

/// The next hop of a default route whose device is not switched off.
struct Gateway {
    IpAddress address;  ///< scope set where it is link-local IPv6
    IfIndex device = IfIndex::any;
    std::uint32_t metric = 0;  ///< the lowest of the routes that name it

    friend bool operator==(const Gateway&, const Gateway&) = default;
};

/// What did not fit: one count a message.
struct TopologyRefusals {
    std::uint64_t links = 0;
    std::uint64_t default_routes = 0;
    std::uint64_t next_hops = 0;
};

class Topology {
  public:
    struct Limits {
        std::size_t links = 100'000;  ///< ten times the largest hypervisor measured
        std::size_t default_routes = 1024;
    };

    Topology() = default;

    explicit Topology(const Limits& limits) : limits_(limits) {}

    /// Any message, in the order of arrival; repeats do no harm.
    void apply(const NetlinkMessage& message);

    /// A dump of this table starts.
    void begin_sweep(DumpKind kind);
    /// It ended and was complete: what was not mentioned since begin_sweep() is gone.
    void finish_sweep(DumpKind kind);
    /// It failed or was interrupted: nothing is removed.
    void abandon_sweep(DumpKind kind);

    /// Tables whose model may be wrong since the last call, because the kernel changes some facts
    /// without saying so (IPv4 routes of a device that goes down) or spoke of the unknown.
    [[nodiscard]] DumpKinds take_doubts();

    std::optional<IfIndex> index_of(std::string_view name) const;
    /// Empty if there is no such link; valid until the next non-const call.
    std::string_view name_of(IfIndex index) const;
    /// Null if there is no such link; valid until the next non-const call.
    const Link* link(IfIndex index) const;

    std::size_t link_count() const { return links_.size(); }

    /// All links, ordered by index.
    std::vector<Link> links() const;

    /// Ordered by metric, address, device; each address and device once.
    std::vector<Gateway> default_gateways() const;

    /// Rises when an answer of index_of(), name_of() or default_gateways() may have changed.
    std::uint64_t revision() const { return revision_; }

    const TopologyRefusals& refusals() const { return refusals_; }

  private:
    struct LinkEntry {
        Link link;
        std::uint32_t mentioned = 0;  ///< link epoch of the last mention
        std::uint32_t told = 0;       ///< link epoch of the last complete event
    };

    struct RouteEntry {
        Route route;
        std::uint32_t mentioned = 0;
    };

    struct NameHash {
        using is_transparent = void;

        std::size_t operator()(std::string_view text) const {
            return std::hash<std::string_view>{}(text);
        }
    };

    struct Sweep {
        bool active = false;
        std::uint32_t epoch = 1;
    };

    Sweep& sweep(DumpKind kind) { return sweeps_[static_cast<std::size_t>(kind)]; }

    void change_link(const LinkChanged& change, bool dump_part);
    LinkEntry* find_or_add_link(const LinkChanged& change, bool dump_part);
    void update_link(Link& link, const LinkChanged& change);
    void rename_link(Link& link, const std::string& name);
    void remove_link(IfIndex index);
    void forget_link(const Link& link);
    void leave_bridge(const LinkLeftBridge& left);
    void switch_link(Link& link, bool admin_up);
    void remember_removal(IfIndex index);
    void sweep_links();

    void change_route(const RouteChanged& change, bool dump_part);
    void add_route(const Route& route, std::uint32_t epoch);
    void replace_route(const Route& route, std::uint32_t epoch);
    void remove_route(const Route& route);
    void remove_next_hops(std::size_t place, const std::vector<NextHop>& hops);
    void remove_hops_on(IfIndex device);
    void doubt_routes_on(IfIndex device);
    void doubt_routes_from(const Route& local);
    void sweep_routes(DumpKind kind);

    Limits limits_;
    std::unordered_map<IfIndex, LinkEntry> links_;
    /// Follows links_; where two links claim a name, the last to do so has it.
    std::unordered_map<std::string, IfIndex, NameHash, std::equal_to<>> index_by_name_;
    /// Links removed by an event during a link dump: its later parts must not bring them back.
    std::unordered_set<IfIndex> removed_in_sweep_;
    std::vector<RouteEntry> default_routes_;
    std::array<Sweep, dump_kind_count> sweeps_{};
    DumpKinds doubts_;
    TopologyRefusals refusals_;
    std::uint64_t generations_ = 0;
    std::uint64_t revision_ = 0;
};

}  // namespace reachd
