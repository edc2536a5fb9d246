#include "agent/link_table.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "common/check.hpp"

namespace reachd {
namespace {

bool filters_vlans(const Link& link) {
    return link.kind == LinkKind::bridge && link.bridge.vlan_filtering;
}

constexpr std::array<std::uint64_t LinkCounters::*, 4> all_counters{&LinkCounters::receive_errors,
                                                                    &LinkCounters::transmit_errors,
                                                                    &LinkCounters::receive_drops,
                                                                    &LinkCounters::transmit_drops};

}  // namespace

LinkTable::LinkTable(const Limits& limits)
    : limits_(limits),
      links_(limits.links),
      vlans_(limits.links) {}

// --- Links -----------------------------------------------------------------------------------

const LinkPointer* LinkTable::find(IfIndex index) const {
    const auto* node = links_.find(index);
    return node == nullptr || !node->second.link ? nullptr : &node->second.link;
}

std::optional<IfIndex> LinkTable::index_of(std::string_view name) const {
    const auto place = index_by_name_.find(name);
    return place == index_by_name_.end() ? std::nullopt : std::optional(place->second);
}

std::string_view LinkTable::name_of(IfIndex index) const {
    const auto* link = find(index);
    return link == nullptr ? std::string_view{} : std::string_view((*link)->name);
}

std::uint64_t LinkTable::admin_changes_of(IfIndex index) const {
    const auto* node = links_.find(index);
    return node == nullptr ? 0 : node->second.admin_changes;
}

std::vector<LinkPointer> LinkTable::all() const {
    std::vector<LinkPointer> all;
    all.reserve(links_.size());
    for (const auto& [index, entry] : links_.entries()) {
        all.push_back(entry.link);
    }
    std::sort(all.begin(), all.end(), [](const LinkPointer& a, const LinkPointer& b) {
        return a->index < b->index;
    });
    return all;
}

bool LinkTable::put(Link link) {
    auto* node = links_.find(link.index);
    ENSURE(node != nullptr);
    auto& entry = node->second;
    bool renamed = !entry.link;
    const bool filtered = entry.link && reachd::filters_vlans(*entry.link);
    if (entry.link && entry.link->name != link.name) {
        forget_name(*entry.link);
        renamed = true;
    }
    if (renamed) {
        index_by_name_[link.name] = link.index;
    } else if (const auto place = index_by_name_.find(link.name);
               place == index_by_name_.end() || place->second != link.index) {
        index_by_name_[link.name] = link.index;  // it lost its name to another, and claims it again
        renamed = true;
    }
    entry.admin_changes += entry.link && entry.link->admin_up != link.admin_up ? 1U : 0U;
    const bool filters = reachd::filters_vlans(link);
    entry.link = std::make_shared<const Link>(std::move(link));
    if (filters != filtered) {
        filtering_bridges_ += filters ? 1U : 0U;
        filtering_bridges_ -= filtered ? 1U : 0U;
        clear_vlans();
    }
    return renamed;
}

void LinkTable::erase(IfIndex index) {
    const auto* node = links_.find(index);
    if (node == nullptr) {
        return;
    }
    const LinkPointer link = node->second.link;
    links_.erase(index);
    counted_before_.erase(index);
    erase_vlans(index);
    put_virtual_functions(index, {});
    if (!link) {
        return;
    }
    forget_name(*link);
    if (reachd::filters_vlans(*link)) {
        --filtering_bridges_;
        clear_vlans();
    }
}

/// Takes the link's name out of the lookup, unless another link has claimed it since.
void LinkTable::forget_name(const Link& link) {
    const auto place = index_by_name_.find(link.name);
    if (place != index_by_name_.end() && place->second == link.index) {
        index_by_name_.erase(place);
    }
}

bool LinkTable::remember_removal(IfIndex index) {
    const bool link = links_.remember_removal(index);
    const bool vlans = vlans_.remember_removal(index);
    return link && vlans;
}

bool LinkTable::mend_names() {
    if (index_by_name_.size() == links_.size()) {
        return false;
    }
    // Two links claimed one name for a while, and the one that kept it lost the lookup.
    index_by_name_.clear();
    for (const auto& [index, entry] : links_.entries()) {
        index_by_name_[entry.link->name] = index;
    }
    return true;
}

// --- Counters --------------------------------------------------------------------------------

void LinkTable::count(IfIndex index, const LinkCounters& reading, CounterSource source) {
    auto* node = links_.find(index);
    if (node == nullptr) {
        return;
    }
    auto& known = node->second;
    if (source == CounterSource::event && known.source != CounterSource::none) {
        return;
    }
    for (const auto counter : all_counters) {
        const auto before = known.last_reading.*counter;
        if (reading.*counter < before) {
            // The driver started again. After an event's reading it is the dump that was older.
            const bool restarted = known.source == CounterSource::statistics;
            counted_before_[index].*counter += restarted ? before : before - reading.*counter;
        }
    }
    known.last_reading = reading;
    known.source = source;
}

std::optional<LinkCounters> LinkTable::counters_of(IfIndex index) const {
    const auto* node = links_.find(index);
    if (node == nullptr || node->second.source == CounterSource::none) {
        return std::nullopt;
    }
    LinkCounters total = node->second.last_reading;
    if (const auto before = counted_before_.find(index); before != counted_before_.end()) {
        for (const auto counter : all_counters) {
            total.*counter += before->second.*counter;
        }
    }
    return total;
}

// --- VLANs -----------------------------------------------------------------------------------

const std::vector<VlanRange>& LinkTable::vlans_of(IfIndex index) const {
    static const std::vector<VlanRange> none;
    const auto* node = vlans_.find(index);
    return node == nullptr ? none : node->second.ranges;
}

bool LinkTable::put_vlans(IfIndex index, const std::vector<VlanRange>& ranges, Teller teller) {
    if (!filters_vlans() || vlans_.is_stale(index, teller)) {
        return false;
    }
    const auto others = vlan_ranges_ - vlans_of(index).size();
    if (others + ranges.size() > limits_.vlan_ranges) {
        ++vlans_refused_;
        return erase_vlans(index);
    }
    // An entry without VLANs stays: it is what the event said, whatever the dump says later.
    const auto mentioned = vlans_.mention(index, teller);
    if (mentioned.node == nullptr || mentioned.node->second.ranges == ranges) {
        return false;
    }
    mentioned.node->second.ranges = ranges;
    vlan_ranges_ = others + ranges.size();
    return true;
}

bool LinkTable::erase_vlans(IfIndex index) {
    const bool had_some = !vlans_of(index).empty();
    vlan_ranges_ -= vlans_of(index).size();
    vlans_.erase(index);
    return had_some;
}

/// Once nobody filters, messages tell of some ports only, by accident.
void LinkTable::clear_vlans() {
    if (filters_vlans()) {
        return;
    }
    while (vlans_.size() != 0) {
        erase_vlans(vlans_.entries().begin()->first);
    }
}

std::vector<PortVlans> LinkTable::all_vlans() const {
    std::vector<PortVlans> all;
    for (const auto& [index, entry] : vlans_.entries()) {
        if (!entry.ranges.empty()) {
            all.push_back({index, entry.ranges});
        }
    }
    return all;
}

// --- Virtual functions -----------------------------------------------------------------------

bool LinkTable::put_virtual_functions(IfIndex index,
                                      const std::vector<VirtualFunction>& functions) {
    const auto known = functions_.find(index);
    const auto before = known == functions_.end() ? 0 : known->second.size();
    if (before == 0 && functions.empty()) {
        return false;
    }
    const auto others = function_count_ - before;
    const bool refused = others + functions.size() > limits_.virtual_functions;
    functions_refused_ += refused ? 1U : 0U;
    if (refused || functions.empty()) {
        function_count_ = others;
        return functions_.erase(index) != 0;
    }
    if (known != functions_.end() && known->second == functions) {
        return false;
    }
    functions_[index] = functions;
    function_count_ = others + functions.size();
    return true;
}

std::vector<FunctionsOf> LinkTable::all_virtual_functions() const {
    std::vector<FunctionsOf> all;
    all.reserve(functions_.size());
    for (const auto& [index, functions] : functions_) {
        all.push_back({index, functions});
    }
    return all;
}

}  // namespace reachd
