#include "agent/change_collector.hpp"

#include <algorithm>
#include <iterator>
#include <string_view>
#include <unordered_set>
#include <utility>

namespace reachd {

/// The facts of one change, as far as they fit.
class ChangeCollector::FactWriter {
  public:
    explicit FactWriter(TopologyChange& change) : change_(change) {}

    void add(LinkAspect aspect, std::string before, std::string after) {
        if (change_.facts.size() >= TopologyChange::facts_max) {
            ++change_.facts_refused;
            return;
        }
        change_.facts.push_back({aspect, std::move(before), std::move(after)});
    }

    void add_if_differs(LinkAspect aspect, std::string before, std::string after) {
        if (before != after) {
            add(aspect, std::move(before), std::move(after));
        }
    }

    void refuse(std::uint32_t count) { change_.facts_refused += count; }

  private:
    TopologyChange& change_;
};

namespace {

std::string number_of(IfIndex index) {
    return "#" + std::to_string(static_cast<std::uint32_t>(index));
}

std::string name_or_number(IfIndex index, std::string_view name) {
    if (index == IfIndex::any) {
        return {};
    }
    return name.empty() ? number_of(index) : std::string(name);
}

std::string on_off(bool on) {
    return on ? "on" : "off";
}

std::string up_down(bool up) {
    return up ? "up" : "down";
}

std::string mac_text(const std::optional<MacAddress>& mac) {
    return mac ? mac->to_string() : std::string{};
}

std::string port_state_text(const Link& link) {
    return link.port ? std::string(to_text(link.port->state)) : std::string{};
}

bool is_isolated(const Link& link) {
    return link.port && link.port->isolated;
}

std::string lower_text(const Link& link, std::string_view name) {
    if (link.lower == IfIndex::any || link.lower_namespace == -1) {
        return name_or_number(link.lower, name);
    }
    return number_of(link.lower) + "@ns" + std::to_string(link.lower_namespace);
}

std::string with_length(const InterfaceAddress& address) {
    return address.address.to_string() + "/" + std::to_string(address.prefix_length);
}

std::string vlan_text(const std::vector<VlanRange>& ranges) {
    std::string text;
    for (const auto& range : ranges) {
        text += text.empty() ? "" : ", ";
        text += std::to_string(range.first);
        if (range.last != range.first) {
            text += "-" + std::to_string(range.last);
        }
        text += range.pvid ? " pvid" : "";
        text += range.untagged ? " untagged" : "";
    }
    return text;
}

/// Only those settings that differ from the other side.
std::string settings_text(const BridgeSettings& of, const BridgeSettings& other) {
    std::string text;
    const auto say = [&text](bool differs, const std::string& words) {
        if (differs) {
            text += (text.empty() ? "" : ", ") + words;
        }
    };
    say(of.vlan_filtering != other.vlan_filtering, "vlan_filtering " + on_off(of.vlan_filtering));
    say(of.stp != other.stp, "stp " + on_off(of.stp));
    say(of.forward_delay_centiseconds != other.forward_delay_centiseconds,
        "forward_delay " + std::to_string(of.forward_delay_centiseconds) + " cs");
    say(of.default_pvid != other.default_pvid, "default_pvid " + std::to_string(of.default_pvid));
    return text;
}

bool same_place(const Gateway& a, const Gateway& b) {
    return a.address == b.address && a.device == b.device;
}

bool contains(const std::vector<Gateway>& gateways, const Gateway& gateway) {
    return std::any_of(gateways.begin(), gateways.end(), [&gateway](const Gateway& other) {
        return same_place(gateway, other);
    });
}

/// Those of `some` that `others` lacks.
std::vector<Gateway> missing(const std::vector<Gateway>& some, const std::vector<Gateway>& others) {
    std::vector<Gateway> result;
    std::copy_if(
        some.begin(), some.end(), std::back_inserter(result), [&others](const Gateway& gateway) {
            return !contains(others, gateway);
        });
    return result;
}

/// Those that only one of them has.
std::vector<Gateway> differing(const std::vector<Gateway>& before,
                               const std::vector<Gateway>& after) {
    auto result = missing(before, after);
    const auto added = missing(after, before);
    result.insert(result.end(), added.begin(), added.end());
    return result;
}

}  // namespace

// --- What happens ----------------------------------------------------------------------------

void ChangeCollector::touch(const LinkPointer& link, const Instant& now) {
    pending_of(link, now);
}

void ChangeCollector::appeared(const Link& link, const Instant& now) {
    Pending created;
    created.first = now;
    created.device = link.index;
    created.generation = link.generation;
    add(std::move(created));
}

void ChangeCollector::removed(const LinkPointer& link, bool moved_away, const Instant& now) {
    if (auto* found = pending_of(link, now)) {
        found->last = link;
        found->moved_away = moved_away;
    }
}

void ChangeCollector::touch_vlans(const LinkPointer& link, const Instant& now) {
    auto* extras = extras_of(link->index, now);
    if (extras != nullptr && !extras->vlans) {
        extras->vlans = links_.vlans_of(link->index);
    }
}

void ChangeCollector::address_changed(const InterfaceAddress& address,
                                      bool added,
                                      const Instant& now) {
    auto* extras = extras_of(address.device, now);
    if (extras == nullptr) {
        return;
    }
    for (auto& touch : extras->addresses) {
        if (touch.address.address == address.address &&
            touch.address.prefix_length == address.prefix_length) {
            touch.exists = added;
            return;
        }
    }
    if (extras->addresses.size() >= TopologyChange::facts_max) {
        ++extras->refused;
        return;
    }
    extras->addresses.push_back({address, !added, added});
}

void ChangeCollector::neighbour_mac_changed(const NeighbourChanged& neighbour,
                                            const MacAddress& before,
                                            const Instant& now) {
    auto* extras = extras_of(neighbour.device, now);
    if (extras == nullptr || !neighbour.mac) {
        return;
    }
    for (auto& touch : extras->neighbours) {
        if (touch.address == neighbour.address) {
            touch.after = *neighbour.mac;
            return;
        }
    }
    if (extras->neighbours.size() >= TopologyChange::facts_max) {
        ++extras->refused;
        return;
    }
    extras->neighbours.push_back({neighbour.address, before, *neighbour.mac});
}

void ChangeCollector::mac_moved(const FdbChanged& entry, IfIndex port_before, const Instant& now) {
    auto* extras = extras_of(entry.bridge, now);
    if (extras == nullptr) {
        return;
    }
    for (auto& move : extras->moves) {
        if (move.mac == entry.mac && move.vlan == entry.vlan) {
            move.after = entry.port;
            return;
        }
    }
    if (extras->moves.size() >= TopologyChange::facts_max) {
        ++extras->refused;
        return;
    }
    extras->moves.push_back(
        {entry.mac, entry.vlan, port_before, entry.port, link_or_null(port_before)});
}

void ChangeCollector::touch_gateways(const Instant& now) {
    if (!gateways_touched_) {
        gateways_touched_ = now;
    }
}

void ChangeCollector::forget(Gateways gateways) {
    pending_.clear();
    release_memory();
    gateways_touched_.reset();
    gateways_told_ = std::move(gateways);
}

// --- Pending changes -------------------------------------------------------------------------

ChangeCollector::Pending* ChangeCollector::pending(std::uint64_t generation) {
    const auto known = by_generation_.find(generation);
    if (known == by_generation_.end()) {
        return nullptr;
    }
    return &pending_[static_cast<std::size_t>(known->second - first_number_)];
}

ChangeCollector::Pending* ChangeCollector::pending_of(const LinkPointer& link, const Instant& now) {
    if (auto* known = pending(link->generation)) {
        return known;
    }
    return add(make_pending(link, now));
}

ChangeCollector::Pending ChangeCollector::make_pending(const LinkPointer& link,
                                                       const Instant& now) const {
    Pending made;
    made.first = now;
    made.device = link->index;
    made.generation = link->generation;
    made.before = link;
    made.master_before = link_or_null(link->master);
    if (link->lower_namespace == -1) {
        made.lower_before = link_or_null(link->lower);
    }
    return made;
}

ChangeCollector::Pending* ChangeCollector::add(Pending added) {
    if (pending_.size() >= pending_max) {
        ++refused_;
        return nullptr;
    }
    by_generation_[added.generation] = first_number_ + static_cast<std::int64_t>(pending_.size());
    return &pending_.emplace_back(std::move(added));
}

/// Null: a device nobody announced, or too many changes.
ChangeCollector::Extras* ChangeCollector::extras_of(IfIndex device, const Instant& now) {
    const auto* link = links_.find(device);
    auto* found = link == nullptr ? nullptr : pending_of(*link, now);
    if (found == nullptr) {
        return nullptr;
    }
    if (!found->extras) {
        found->extras = std::make_unique<Extras>();
    }
    return found->extras.get();
}

LinkPointer ChangeCollector::link_or_null(IfIndex index) const {
    const auto* link = links_.find(index);
    return link == nullptr ? nullptr : *link;
}

/// After a storm.
void ChangeCollector::release_memory() {
    constexpr std::size_t kept_buckets = 1024;
    if (pending_.empty()) {
        pending_.shrink_to_fit();
        by_generation_.clear();
        if (by_generation_.bucket_count() > kept_buckets) {
            by_generation_ = {};
        }
    }
}

// --- Telling ---------------------------------------------------------------------------------

MonoTime ChangeCollector::due() const {
    auto earliest = mono_never;
    if (!pending_.empty()) {
        earliest = pending_.front().first.mono + settle_time;
    }
    if (gateways_touched_) {
        earliest = std::min(earliest, gateways_touched_->mono + settle_time);
    }
    return earliest;
}

std::vector<TopologyChange> ChangeCollector::take_due(MonoTime now, const Gateways& gateways) {
    const bool gateways_due = gateways_touched_ && gateways_touched_->mono + settle_time <= now;
    if (gateways_due) {
        add_devices_of_gateways(gateways);
    }
    std::vector<TopologyChange> changes;
    while (!pending_.empty() && pending_.front().first.mono + settle_time <= now) {
        auto change = tell(pending_.front(), gateways);
        if (!change.facts.empty() || change.facts_refused != 0) {
            changes.push_back(std::move(change));
        }
        by_generation_.erase(pending_.front().generation);
        pending_.pop_front();
        ++first_number_;
    }
    if (gateways_due) {
        settle_gateways(gateways);
        gateways_touched_.reset();
    }
    release_memory();
    std::stable_sort(
        changes.begin(), changes.end(), [](const TopologyChange& a, const TopologyChange& b) {
            return a.time.mono < b.time.mono;
        });
    return changes;
}

/// In front, being due: a device may lose its gateway without any other change. One that waits
/// with a younger change tells its gateways then.
void ChangeCollector::add_devices_of_gateways(const Gateways& gateways) {
    for (const auto& gateway : differing(gateways_told_, gateways)) {
        const auto link = link_or_null(gateway.device);
        if (!link || pending(link->generation) != nullptr) {
            continue;
        }
        if (pending_.size() >= pending_max) {
            ++refused_;
            continue;
        }
        pending_.push_front(make_pending(link, *gateways_touched_));
        by_generation_[link->generation] = --first_number_;
    }
}

/// What differs still is kept for the devices that wait (also to be told gone), and given up for
/// the others. Gateways of a device nobody announced were not told: they are once it appears.
void ChangeCollector::settle_gateways(const Gateways& gateways) {
    if (differing(gateways_told_, gateways).empty()) {
        return;
    }
    std::unordered_set<IfIndex> waiting;
    for (const auto& each : pending_) {
        waiting.insert(each.device);
    }
    std::erase_if(gateways_told_,
                  [&waiting](const Gateway& gateway) { return !waiting.contains(gateway.device); });
    std::copy_if(gateways.begin(),
                 gateways.end(),
                 std::back_inserter(gateways_told_),
                 [this, &waiting](const Gateway& gateway) {
                     return !waiting.contains(gateway.device) &&
                            links_.find(gateway.device) != nullptr;
                 });
}

TopologyChange ChangeCollector::tell(const Pending& told, const Gateways& gateways) {
    TopologyChange change;
    change.time = told.first;
    change.device = told.device;
    change.generation = told.generation;
    const auto after = told.last ? told.last : link_or_null(told.device);
    if (!after) {
        return change;
    }
    change.name = after->name;
    change.kind = after->kind;
    FactWriter facts(change);
    if (!told.before) {
        facts.add(LinkAspect::appeared, {}, std::string(to_text(after->kind)));
    }
    if (told.last) {
        const auto aspect = told.moved_away ? LinkAspect::moved_away : LinkAspect::removed;
        facts.add(aspect, std::string(to_text(after->kind)), {});
    } else {
        tell_master(told, *after, facts);
        if (told.before) {
            tell_link(facts, *told.before, *after);
            tell_lower(told, *after, facts);
        }
        if (told.extras) {
            tell_extras(told, facts);
        }
    }
    tell_gateways(told.device, gateways, facts);
    return change;
}

void ChangeCollector::tell_link(FactWriter& facts, const Link& before, const Link& after) {
    facts.add_if_differs(LinkAspect::name, before.name, after.name);
    facts.add_if_differs(LinkAspect::admin, up_down(before.admin_up), up_down(after.admin_up));
    facts.add_if_differs(LinkAspect::carrier, on_off(before.carrier), on_off(after.carrier));
    facts.add_if_differs(LinkAspect::oper_state,
                         std::string(to_text(before.oper_state)),
                         std::string(to_text(after.oper_state)));
    facts.add_if_differs(LinkAspect::port_state, port_state_text(before), port_state_text(after));
    facts.add_if_differs(
        LinkAspect::port_isolated, on_off(is_isolated(before)), on_off(is_isolated(after)));
    facts.add_if_differs(
        LinkAspect::mtu, std::to_string(before.mtu_bytes), std::to_string(after.mtu_bytes));
    facts.add_if_differs(LinkAspect::mac, mac_text(before.mac), mac_text(after.mac));
    facts.add_if_differs(
        LinkAspect::detail, std::to_string(before.detail), std::to_string(after.detail));
    facts.add_if_differs(LinkAspect::bridge_settings,
                         settings_text(before.bridge, after.bridge),
                         settings_text(after.bridge, before.bridge));
}

void ChangeCollector::tell_master(const Pending& told, const Link& after, FactWriter& facts) const {
    const auto before = told.before ? told.before->master : IfIndex::any;
    if (before != after.master) {
        facts.add(LinkAspect::master,
                  name_or_number(before, told.master_before ? told.master_before->name : ""),
                  name_or_number(after.master, links_.name_of(after.master)));
    }
}

void ChangeCollector::tell_lower(const Pending& told, const Link& after, FactWriter& facts) const {
    const auto& before = *told.before;
    if (before.lower != after.lower || before.lower_namespace != after.lower_namespace) {
        facts.add(LinkAspect::lower,
                  lower_text(before, told.lower_before ? told.lower_before->name : ""),
                  lower_text(after, links_.name_of(after.lower)));
    }
}

void ChangeCollector::tell_extras(const Pending& told, FactWriter& facts) const {
    const auto& extras = *told.extras;
    if (extras.vlans && told.before) {
        facts.add_if_differs(
            LinkAspect::vlans, vlan_text(*extras.vlans), vlan_text(links_.vlans_of(told.device)));
    }
    for (const auto& touch : extras.addresses) {
        if (touch.exists && !touch.existed) {
            facts.add(LinkAspect::address_added, {}, with_length(touch.address));
        } else if (touch.existed && !touch.exists) {
            facts.add(LinkAspect::address_removed, with_length(touch.address), {});
        }
    }
    for (const auto& touch : extras.neighbours) {
        const auto address = touch.address.to_string() + " ";
        facts.add_if_differs(LinkAspect::neighbour_mac,
                             address + touch.before.to_string(),
                             address + touch.after.to_string());
    }
    for (const auto& move : extras.moves) {
        const auto vlan = move.vlan == 0 ? "" : " vlan " + std::to_string(move.vlan);
        const auto where = move.mac.to_string() + vlan + " port ";
        if (move.before != move.after) {
            facts.add(
                LinkAspect::mac_moved,
                where + name_or_number(move.before, move.port_before ? move.port_before->name : ""),
                where + name_or_number(move.after, links_.name_of(move.after)));
        }
    }
    facts.refuse(extras.refused);
}

void ChangeCollector::tell_gateways(IfIndex device, const Gateways& gateways, FactWriter& facts) {
    const auto elsewhere = [device](const Gateway& gateway) { return gateway.device != device; };
    for (const auto& gateway : gateways_told_) {
        if (!elsewhere(gateway) && !contains(gateways, gateway)) {
            facts.add(LinkAspect::gateway_removed, gateway.address.to_string(), {});
        }
    }
    for (const auto& gateway : gateways) {
        if (!elsewhere(gateway) && !contains(gateways_told_, gateway)) {
            facts.add(LinkAspect::gateway_added, {}, gateway.address.to_string());
        }
    }
    std::erase_if(gateways_told_, [&](const Gateway& gateway) { return !elsewhere(gateway); });
    std::remove_copy_if(
        gateways.begin(), gateways.end(), std::back_inserter(gateways_told_), elsewhere);
}

}  // namespace reachd
