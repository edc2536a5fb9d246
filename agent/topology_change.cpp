#include "agent/topology_change.hpp"

#include <algorithm>

namespace reachd {
namespace {

const LinkFact* find(const TopologyChange& change, LinkAspect aspect) {
    const auto place =
        std::find_if(change.facts.begin(), change.facts.end(), [aspect](const LinkFact& fact) {
            return fact.aspect == aspect;
        });
    return place == change.facts.end() ? nullptr : &*place;
}

std::string from_to(std::string_view what, const LinkFact& fact) {
    const auto word = [](const std::string& text) { return text.empty() ? "none" : text; };
    return std::string(what) + " " + word(fact.before) + " -> " + word(fact.after);
}

/// Only ports of bridges have a port state: so a master that comes or goes with one is a bridge.
std::string master_in_words(const TopologyChange& change, const LinkFact& fact) {
    const auto* port = find(change, LinkAspect::port_state);
    if (fact.before.empty()) {
        return (port != nullptr && !port->after.empty() ? "joined bridge " : "joined ") +
               fact.after;
    }
    if (fact.after.empty()) {
        return (port != nullptr && !port->before.empty() ? "left bridge " : "left ") + fact.before;
    }
    return "moved from " + fact.before + " to " + fact.after;
}

/// "10.0.0.5 52:54:…" before and after: the address once.
std::string neighbour_in_words(const LinkFact& fact) {
    const auto space = fact.after.find(' ');
    return "neighbour " + fact.before + " -> " +
           (space == std::string::npos ? fact.after : fact.after.substr(space + 1));
}

/// "52:54:… vlan 5 port vnet1" before and after: the address once.
std::string mac_move_in_words(const LinkFact& fact) {
    constexpr std::string_view mark = " port ";
    const auto before = fact.before.rfind(mark);
    const auto after = fact.after.rfind(mark);
    if (before == std::string::npos || after == std::string::npos) {
        return "MAC moved: " + fact.before + " -> " + fact.after;
    }
    return fact.before.substr(0, before) + " moved from " +
           fact.before.substr(before + mark.size()) + " to " +
           fact.after.substr(after + mark.size());
}

/// What another fact of the same change says already.
bool is_implied(const TopologyChange& change, const LinkFact& fact) {
    if (fact.aspect == LinkAspect::oper_state) {
        return find(change, LinkAspect::admin) != nullptr ||
               find(change, LinkAspect::carrier) != nullptr;
    }
    if (fact.aspect == LinkAspect::port_state) {
        return (fact.before.empty() || fact.after.empty()) &&
               find(change, LinkAspect::master) != nullptr;
    }
    if (fact.aspect == LinkAspect::vlans) {
        return find(change, LinkAspect::master) != nullptr;
    }
    return false;
}

std::string in_words(const TopologyChange& change, const LinkFact& fact) {
    switch (fact.aspect) {
        case LinkAspect::appeared: return "appeared (" + fact.after + ")";
        case LinkAspect::removed: return "removed";
        case LinkAspect::moved_away: return "moved into another namespace";
        case LinkAspect::name: return "renamed from " + fact.before;
        case LinkAspect::master: return master_in_words(change, fact);
        case LinkAspect::admin: return fact.after == "up" ? "switched on" : "switched off";
        case LinkAspect::carrier: return fact.after == "on" ? "gained carrier" : "lost carrier";
        case LinkAspect::oper_state: return from_to("operational state", fact);
        case LinkAspect::port_state: return from_to("port state", fact);
        case LinkAspect::port_isolated:
            return fact.after == "on" ? "port isolated" : "port no longer isolated";
        case LinkAspect::mtu: return from_to("mtu", fact);
        case LinkAspect::mac: return from_to("mac", fact);
        case LinkAspect::lower: return from_to("lower device", fact);
        case LinkAspect::detail: return from_to("detail", fact);
        case LinkAspect::bridge_settings: return from_to("settings", fact);
        case LinkAspect::vlans: return from_to("vlans", fact);
        case LinkAspect::address_added: return "address " + fact.after + " added";
        case LinkAspect::address_removed: return "address " + fact.before + " removed";
        case LinkAspect::gateway_added: return "default gateway " + fact.after + " added";
        case LinkAspect::gateway_removed: return "default gateway " + fact.before + " removed";
        case LinkAspect::neighbour_mac: return neighbour_in_words(fact);
        case LinkAspect::mac_moved: return mac_move_in_words(fact);
    }
    return {};
}

}  // namespace

std::string describe(const TopologyChange& change) {
    std::string text;
    for (const auto& fact : change.facts) {
        if (!is_implied(change, fact)) {
            text += text.empty() ? "" : ", ";
            text += in_words(change, fact);
        }
    }
    if (change.facts_refused != 0) {
        text += text.empty() ? "" : ", ";
        text += std::to_string(change.facts_refused) + " more";
    }
    return text;
}

}  // namespace reachd
