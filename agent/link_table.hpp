// The links of the host by interface index and by name, with their counters, VLANs and virtual
// functions. A link is an immutable object behind a shared pointer: a change makes another one, so
// that a snapshot and the memory of what was before cost nothing. Decides nothing about messages;
// topology does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "agent/swept_table.hpp"
#include "common/address.hpp"
#include "common/link.hpp"
#include "common/snapshot.hpp"

namespace reachd {

using LinkPointer = std::shared_ptr<const Link>;

/// Where the last reading of a link's counters comes from.
enum class CounterSource : std::uint8_t { none, event, statistics };

class LinkTable {
  public:
    struct Limits {
        std::size_t links = 0;
        std::size_t vlan_ranges = 0;        ///< of all links together
        std::size_t virtual_functions = 0;  ///< of all links together
    };

    explicit LinkTable(const Limits& limits);

    // --- Links

    /// Null if there is none; valid until the link changes.
    const LinkPointer* find(IfIndex index) const;
    std::optional<IfIndex> index_of(std::string_view name) const;
    /// Empty if there is no such link; valid until the link changes.
    std::string_view name_of(IfIndex index) const;
    /// How often it was seen switched on or off since it appeared; of its carrier the kernel
    /// counts.
    std::uint64_t admin_changes_of(IfIndex index) const;

    std::size_t size() const { return links_.size(); }

    bool is_full() const { return links_.size() >= links_.limit(); }

    /// Ordered by index.
    std::vector<LinkPointer> all() const;

    bool is_stale(IfIndex index, Teller teller) const { return links_.is_stale(index, teller); }

    bool told_by(IfIndex index, Teller teller) const { return links_.told_by(index, teller); }

    /// False: refused, the table is full.
    bool mention(IfIndex index, Teller teller) { return links_.mention(index, teller).node; }

    void refuse() { links_.count_refusal(); }

    /// Of a link that was mentioned. True: the answer of index_of() or name_of() changes.
    bool put(Link link);

    /// With its VLANs, virtual functions and counters.
    void erase(IfIndex index);

    /// See SweptTable; of the link and of its VLANs.
    [[nodiscard]] bool remember_removal(IfIndex index);

    void begin_sweep() { links_.begin_sweep(); }

    auto finish_sweep() { return links_.finish_sweep(true); }

    void abandon_sweep() { links_.abandon_sweep(); }

    bool sweeping() const { return links_.sweeping(); }

    /// Mends the lookup by name after two links claimed one. True: an answer changes.
    bool mend_names();

    // --- Counters

    /// What the statistics say is believed. An event may be newer than a part of their dump that
    /// comes later, and a fall would look like a restart: it only counts while nothing else is
    /// known.
    void count(IfIndex index, const LinkCounters& reading, CounterSource source);
    std::optional<LinkCounters> counters_of(IfIndex index) const;

    // --- VLANs of ports and bridges; none are kept unless a bridge filters by them

    bool filters_vlans() const { return filtering_bridges_ != 0; }

    const std::vector<VlanRange>& vlans_of(IfIndex index) const;

    /// True: they differ from those before. An empty list is none.
    bool put_vlans(IfIndex index, const std::vector<VlanRange>& ranges, Teller teller);
    bool erase_vlans(IfIndex index);
    std::vector<PortVlans> all_vlans() const;

    void begin_vlan_sweep() { vlans_.begin_sweep(); }

    auto finish_vlan_sweep() { return vlans_.finish_sweep(false); }

    void abandon_vlan_sweep() { vlans_.abandon_sweep(); }

    /// An event said that the link is in no bridge. See SweptTable.
    [[nodiscard]] bool remember_no_vlans(IfIndex index) { return vlans_.remember_absence(index); }

    // --- Virtual functions, as the last dump of the links told them

    /// True: they differ from those before.
    bool put_virtual_functions(IfIndex index, const std::vector<VirtualFunction>& functions);

    bool has_virtual_functions() const { return !functions_.empty(); }

    std::vector<FunctionsOf> all_virtual_functions() const;

    std::uint64_t links_refused() const { return links_.refused(); }

    std::uint64_t vlans_refused() const { return vlans_refused_; }

    std::uint64_t virtual_functions_refused() const { return functions_refused_; }

  private:
    struct LinkEntry {
        LinkPointer link;
        std::uint64_t admin_changes = 0;
        LinkCounters last_reading;
        CounterSource source = CounterSource::none;  ///< of last_reading
    };

    struct VlanEntry {
        std::vector<VlanRange> ranges;
    };

    struct NameHash {
        using is_transparent = void;

        std::size_t operator()(std::string_view text) const {
            return std::hash<std::string_view>{}(text);
        }
    };

    void forget_name(const Link& link);
    void clear_vlans();

    Limits limits_;
    SweptTable<IfIndex, LinkEntry, std::unordered_map<IfIndex, Swept<LinkEntry>>> links_;
    /// Follows links_; where two links claim a name, the last to do so has it.
    std::unordered_map<std::string, IfIndex, NameHash, std::equal_to<>> index_by_name_;
    /// What drivers that started again had counted before. Rare.
    std::unordered_map<IfIndex, LinkCounters> counted_before_;
    SweptTable<IfIndex, VlanEntry> vlans_;
    std::map<IfIndex, std::vector<VirtualFunction>> functions_;
    std::size_t filtering_bridges_ = 0;
    std::size_t vlan_ranges_ = 0;
    std::size_t function_count_ = 0;
    std::uint64_t vlans_refused_ = 0;
    std::uint64_t functions_refused_ = 0;
};

}  // namespace reachd
