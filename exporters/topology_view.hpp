// What belongs together in the topology of one snapshot: a link, its counters, its bridge, the
// guest behind it, what is known of its hardware, which kind of interface people would call it, and
// the names that indexes stand for. Copies nothing, so it must not outlive the snapshot; changes
// nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/address.hpp"
#include "common/link.hpp"
#include "common/snapshot.hpp"

namespace reachd {

/// The label `kind` of reachd_interface_info: coarser than LinkKind where operators do not care,
/// and finer where the kernel's word does not tell (a virtual function is a NIC to rtnetlink).
enum class InterfaceKind : std::uint8_t {
    physical,
    bridge,
    veth,
    tap,
    macvtap,
    vf,
    vxlan,
    bond,
    vlan,
    ovs,
    other,
};
inline constexpr std::size_t interface_kind_count = 11;

constexpr std::string_view to_text(InterfaceKind kind) {
    constexpr std::array<std::string_view, interface_kind_count> names{"physical",
                                                                       "bridge",
                                                                       "veth",
                                                                       "tap",
                                                                       "macvtap",
                                                                       "vf",
                                                                       "vxlan",
                                                                       "bond",
                                                                       "vlan",
                                                                       "ovs",
                                                                       "other"};
    return names[static_cast<std::size_t>(kind)];
}

/// `facts`: of this very link; null where nothing is known.
InterfaceKind interface_kind(const Link& link, const DeviceFacts* facts);

/// Lookups in Snapshot::topology, which may be null: then there are no links. A link is named by
/// its row, its place in TopologySnapshot::links. Tables that do not belong together are a bug.
class TopologyView {
  public:
    explicit TopologyView(const Snapshot& snapshot);

    std::size_t size() const { return topology_->links.size(); }

    const TopologySnapshot& topology() const { return *topology_; }

    const Link& link(std::size_t row) const { return *topology_->links[row]; }

    /// Null: not read yet.
    const LinkCounters* counters(std::size_t row) const {
        const auto& all = snapshot_->link_counters;
        return !all.empty() && all[row] ? &*all[row] : nullptr;
    }

    /// Null: nothing is known.
    const DeviceFacts* facts(const Link& link) const;

    /// The guest behind the link; null: none.
    const GuestSnapshot* guest(const Link& link) const;

    InterfaceKind kind(const Link& link) const { return interface_kind(link, facts(link)); }

    /// Nothing: no such link in this namespace.
    std::optional<std::size_t> row_of(IfIndex index) const;

    /// Empty: no such link.
    std::string_view name_of(IfIndex index) const;

    /// Numeric, with the zone of a link-local one; empty for the unspecified one.
    std::string address_text(const IpAddress& address) const;

    /// The row of the bridge that the link is a port of.
    std::optional<std::size_t> bridge_of(const Link& link) const;

  private:
    const Snapshot* snapshot_;
    const TopologySnapshot* topology_;
};

}  // namespace reachd
