#include "agent/fdb_table.hpp"

namespace reachd {

FdbTable::Changed FdbTable::change(const FdbChanged& entry, Teller teller) {
    const Key key{entry.bridge, entry.vlan, entry.mac};
    if (entries_.is_stale(key, teller)) {
        return {};
    }
    const auto [node, added] = entries_.mention(key, teller);
    if (node == nullptr) {
        return {};
    }
    auto& known = node->second;
    const bool moved = !added && known.port != entry.port;
    if (!added && !moved && known.fixed == entry.fixed) {
        return {};
    }
    const Changed changed{added, moved ? std::optional(known.port) : std::nullopt};
    if (!added) {
        unchain(*node);
    }
    known.port = entry.port;
    known.fixed = entry.fixed;
    chain(*node);
    return changed;
}

bool FdbTable::remember_removal(const FdbRemoved& entry) {
    return entries_.remember_removal({entry.bridge, entry.vlan, entry.mac});
}

bool FdbTable::remove(const FdbRemoved& entry) {
    auto* node = entries_.find({entry.bridge, entry.vlan, entry.mac});
    if (node == nullptr) {
        return false;
    }
    erase(*node);
    return true;
}

bool FdbTable::remove_device(IfIndex device) {
    bool some = false;
    for (auto first = first_of_port_.find(device); first != first_of_port_.end();
         first = first_of_port_.find(device)) {
        erase(*first->second);
        some = true;
    }
    for (auto place = entries_.entries().lower_bound({device, 0, {}});
         place != entries_.entries().end() && place->first.bridge == device;
         place = entries_.entries().lower_bound({device, 0, {}})) {
        erase(*entries_.find(place->first));
        some = true;
    }
    return some;
}

FdbTable::SweepEnd FdbTable::finish_sweep() {
    const auto swept = entries_.finish_sweep(false);
    for (const auto& key : swept.gone) {
        erase(*entries_.find(key));
    }
    return {!swept.gone.empty(), swept.incomplete};
}

std::vector<FdbChanged> FdbTable::of(IfIndex bridge) const {
    std::vector<FdbChanged> all;
    for (auto place = entries_.entries().lower_bound({bridge, 0, {}});
         place != entries_.entries().end() && place->first.bridge == bridge;
         ++place) {
        const auto& [key, entry] = *place;
        all.push_back({key.bridge, entry.port, key.mac, key.vlan, entry.fixed});
    }
    return all;
}

IfIndex FdbTable::port_of(IfIndex bridge, std::uint16_t vlan, const MacAddress& mac) const {
    const auto place = entries_.entries().find({bridge, vlan, mac});
    return place == entries_.entries().end() ? IfIndex::any : place->second.port;
}

std::vector<LearntMac> FdbTable::learnt_behind(IfIndex port) const {
    std::vector<LearntMac> learnt;
    const auto first = first_of_port_.find(port);
    for (const Node* node = first == first_of_port_.end() ? nullptr : first->second;
         node != nullptr;
         node = node->second.next) {
        if (!node->second.fixed) {
            learnt.push_back({node->first.mac, node->first.vlan});
        }
    }
    return learnt;
}

void FdbTable::tell(const Node& node, bool added) {
    if (node.second.fixed) {
        return;
    }
    if (news_.news.size() >= news_max) {
        news_.dropped = true;
        return;
    }
    news_.news.push_back({node.second.port, node.first.mac, node.first.vlan, added});
}

void FdbTable::chain(Node& node) {
    tell(node, true);
    auto& first = first_of_port_[node.second.port];
    node.second.previous = nullptr;
    node.second.next = first;
    if (first != nullptr) {
        first->second.previous = &node;
    }
    first = &node;
}

void FdbTable::unchain(Node& node) {
    tell(node, false);
    auto& entry = node.second;
    if (entry.next != nullptr) {
        entry.next->second.previous = entry.previous;
    }
    if (entry.previous != nullptr) {
        entry.previous->second.next = entry.next;
    } else if (entry.next != nullptr) {
        first_of_port_[entry.port] = entry.next;
    } else {
        first_of_port_.erase(entry.port);
    }
}

void FdbTable::erase(Node& node) {
    unchain(node);
    const Key key = node.first;
    entries_.erase(key);
}

}  // namespace reachd
