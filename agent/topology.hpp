// The model of the host's network as told by rtnetlink: links by interface index, their addresses,
// neighbours, bridge forwarding entries, VLANs and counters, and the routes of the main table. A
// pure reducer: messages in, questions answered, changes told. It does not know where messages come
// from, when to ask for a dump (netlink_sync does), nor whether a gateway answers.
//
// Dumps and events describe the same tables and overlap. Between begin_sweep() and finish_sweep()
// what neither an event nor the dump mentions is swept away at the end, and an event is believed
// over the dump: a part of a dump is composed before it is queued, so it can be the older of the
// two.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/fdb_table.hpp"
#include "agent/netlink_message.hpp"
#include "agent/route_table.hpp"
#include "agent/topology_change.hpp"
#include "common/address.hpp"
#include "common/link.hpp"
#include "common/snapshot.hpp"
#include "common/time.hpp"

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

/// What did not fit: one count a message.
struct TopologyRefusals {
    std::uint64_t links = 0;
    std::uint64_t addresses = 0;
    std::uint64_t neighbours = 0;
    std::uint64_t fdb_entries = 0;
    std::uint64_t routes = 0;
    std::uint64_t next_hops = 0;
    std::uint64_t vlans = 0;
    std::uint64_t virtual_functions = 0;
    std::uint64_t changes = 0;  ///< changes that were not told, see ChangeCollector::pending_max
};

class Topology {
  public:
    struct Limits {
        std::size_t links = 100'000;  ///< ten times the largest hypervisor measured
        std::size_t addresses = 131'072;
        std::size_t neighbours = 65'536;
        std::size_t fdb_entries = 131'072;
        std::size_t routes = 16'384;        ///< of the main table, default routes apart
        std::size_t default_routes = 1024;  ///< never crowded out by the others
        std::size_t vlan_ranges = 262'144;  ///< of all ports together
        std::size_t virtual_functions = 16'384;
    };

    Topology() : Topology(Limits{}) {}

    explicit Topology(const Limits& limits);
    ~Topology();
    Topology(const Topology&) = delete;
    Topology& operator=(const Topology&) = delete;

    /// Any message, in the order of arrival; repeats do no harm.
    void apply(const NetlinkMessage& message, const Instant& now = {});

    /// A dump of this table starts.
    void begin_sweep(DumpKind kind);
    /// It ended and was complete: what was not mentioned since begin_sweep() is gone. False: read
    /// the table once more. Entries were removed under a dump that goes by position and does not
    /// tell, so it may have skipped some; or some were refused for which there is room now.
    bool finish_sweep(DumpKind kind, const Instant& now = {});
    /// It failed or was interrupted: nothing is removed.
    void abandon_sweep(DumpKind kind);

    /// Tables whose model may be wrong since the last call, because the kernel changes some facts
    /// without saying so (IPv4 routes of a device that goes down) or spoke of the unknown.
    [[nodiscard]] DumpKinds take_doubts();

    // --- Links

    std::optional<IfIndex> index_of(std::string_view name) const;
    /// Empty if there is no such link; valid until the next non-const call.
    std::string_view name_of(IfIndex index) const;
    /// Null if there is no such link. Immutable: a change makes another object.
    std::shared_ptr<const Link> link(IfIndex index) const;

    std::size_t link_count() const;

    /// All links, ordered by index.
    std::vector<std::shared_ptr<const Link>> links() const;

    /// Never falling; nothing before the first reading.
    std::optional<LinkCounters> counters_of(IfIndex index) const;

    /// See LinkTable.
    std::uint64_t admin_changes_of(IfIndex index) const;

    /// Ordered by address.
    std::vector<InterfaceAddress> addresses_of(IfIndex index) const;

    /// Of all devices, ordered by device and address.
    std::vector<InterfaceAddress> addresses() const;

    std::size_t address_count() const;

    /// Of a port or a bridge; none are known while no bridge filters VLANs.
    std::vector<VlanRange> vlans_of(IfIndex index) const;

    /// Some bridge filters VLANs, so DumpKind::bridge_vlans is worth asking for.
    bool filters_vlans() const;

    /// Some device has any. Only a dump of the links tells of them, never an event.
    bool has_virtual_functions() const;

    // --- Neighbours and forwarding entries

    /// As told by the kernel; nothing: not known.
    std::optional<NeighbourChanged> neighbour(IfIndex device, const IpAddress& address) const;

    /// All that are kept, ordered by device and address.
    std::vector<NeighbourChanged> neighbours() const;

    std::size_t neighbour_count() const;
    std::size_t fdb_count() const;

    /// Entries of one bridge, ordered by VLAN and MAC.
    std::vector<FdbChanged> fdb_of(IfIndex bridge) const;

    /// The port by which a frame of the host itself to this neighbour leaves the bridge; any: it is
    /// no bridge, or not known.
    IfIndex port_towards(IfIndex bridge, const IpAddress& neighbour) const;

    /// See FdbTable.
    std::vector<LearntMac> learnt_behind(IfIndex port) const;

    /// What was learnt and forgotten since the last call, see FdbTable.
    [[nodiscard]] FdbNewsBatch take_fdb_news();

    // --- Routes of the main table

    std::size_t route_count(Family family) const;

    /// All that are kept, in no order.
    std::vector<Route> routes() const;

    /// Ordered by metric, address, device; each address and device once.
    std::vector<Gateway> default_gateways() const;

    // --- Changes

    /// Rises when an answer of index_of(), name_of() or default_gateways() may have changed, or of
    /// a device that a default route uses its own addresses, of IP or Ethernet.
    std::uint64_t revision() const;

    /// Rises when links, addresses, VLANs, virtual functions or default gateways may have changed.
    std::uint64_t structure_revision() const;

    /// Rises when a neighbour came or went, or has another MAC.
    std::uint64_t neighbour_revision() const;

    /// Rises when a route of the main table came, went or has other hops.
    std::uint64_t route_revision() const;

    /// Rises when anything that snapshot() shows may have changed, but for counters.
    std::uint64_t state_revision() const;

    /// When take_changes() has something to tell; mono_never while nothing changed.
    MonoTime changes_due() const;

    /// What changed, an event a device and action: messages of one action come within
    /// ChangeCollector::settle_time, and are told as one. Ordered by time.
    [[nodiscard]] std::vector<TopologyChange> take_changes(MonoTime now);

    /// What changed so far is no news: the first reading of the tables is not a change of them.
    void forget_changes();

    TopologyRefusals refusals() const;

    /// Shared with the one before while nothing but counters changed.
    std::shared_ptr<const TopologySnapshot> snapshot() const;

  private:
    struct Tables;
    std::unique_ptr<Tables> tables_;
};

}  // namespace reachd
