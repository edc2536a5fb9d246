#include "exporters/topology_json.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "common/log_text.hpp"
#include "exporters/json_text.hpp"
#include "exporters/peer_view.hpp"
#include "exporters/topology_view.hpp"

namespace reachd {
namespace {

/// The snapshot, and its parts as they are asked for here.
struct Tables {
    const Snapshot& snapshot;
    TopologyView links;
    PeerView peers;
};

/// The elements of a table, sorted by the index that `key` names, that belong to `index`.
template <class Element>
std::pair<const Element*, const Element*> elements_of(const std::vector<Element>& table,
                                                      IfIndex Element::*key,
                                                      IfIndex index) {
    const auto begin = std::lower_bound(
        table.begin(), table.end(), index, [key](const Element& element, IfIndex wanted) {
            return element.*key < wanted;
        });
    auto end = begin;
    while (end != table.end() && (*end).*key == index) {
        ++end;
    }
    return {table.data() + (begin - table.begin()), table.data() + (end - table.begin())};
}

void write_mac(JsonText& out, const std::optional<MacAddress>& mac) {
    out.text_or_null("mac", mac ? mac->to_string() : std::string());
}

// ---- Parts of a link

void write_hardware(JsonText& out, const Link& link, const DeviceFacts* facts) {
    constexpr std::uint64_t bits_per_megabit = 1'000'000;
    out.text("kind", to_text(interface_kind(link, facts)));
    out.text("link_kind", to_text(link.kind));
    out.text_or_null("driver", facts != nullptr ? std::string_view(facts->driver) : "");
    if (facts != nullptr && facts->speed_mbit != 0) {
        out.number("speed_bits_per_second", facts->speed_mbit * bits_per_megabit);
    } else {
        out.null("speed_bits_per_second");
    }
    write_mac(out, link.mac);
}

void write_state(JsonText& out, const Link& link) {
    out.number("mtu_bytes", link.mtu_bytes);
    out.flag("admin_up", link.admin_up);
    out.flag("up", link.is_up());
    out.flag("carrier", link.carrier);
    out.text("oper_state", to_text(link.oper_state));
}

/// The name of the link with this index, or null.
void write_link_name(JsonText& out,
                     std::string_view field,
                     const TopologyView& view,
                     IfIndex index) {
    if (const auto row = view.row_of(index)) {
        out.text(field, view.link(*row).name);
    } else {
        out.null(field);
    }
}

void write_port(JsonText& out, const std::optional<BridgePort>& port) {
    if (!port) {
        out.null("port");
        return;
    }
    out.begin_object("port");
    out.text("state", to_text(port->state));
    out.flag("isolated", port->isolated);
    out.end_object();
}

void write_relations(JsonText& out, const TopologyView& view, const Link& link) {
    write_link_name(out, "master", view, link.master);
    write_port(out, link.port);
    const bool is_here = link.lower_namespace < 0;
    write_link_name(out, "lower", view, is_here ? link.lower : IfIndex::any);
    if (link.lower != IfIndex::any) {
        out.number("lower_index", static_cast<std::uint32_t>(link.lower));
    } else {
        out.null("lower_index");
    }
    if (is_here) {
        out.null("lower_namespace");
    } else {
        out.number("lower_namespace", static_cast<std::uint32_t>(link.lower_namespace));
    }
}

/// The kernel's word for BOND_MODE_*; empty where it is none.
std::string_view bond_mode_text(std::uint32_t mode) {
    constexpr std::array<std::string_view, 7> names{"balance-rr",
                                                    "active-backup",
                                                    "balance-xor",
                                                    "broadcast",
                                                    "802.3ad",
                                                    "balance-tlb",
                                                    "balance-alb"};
    return mode < names.size() ? names[mode] : std::string_view();
}

/// What Link::detail means for this kind.
void write_detail(JsonText& out, const Link& link) {
    if (link.kind == LinkKind::vlan) {
        out.number("vlan_id", link.detail);
    } else if (link.kind == LinkKind::vxlan || link.kind == LinkKind::geneve) {
        out.number("vni", link.detail);
    } else if (link.kind == LinkKind::bond) {
        out.text_or_null("bond_mode", bond_mode_text(link.detail));
    }
}

void write_bridge(JsonText& out, const Link& link) {
    if (link.kind != LinkKind::bridge) {
        out.null("bridge");
        return;
    }
    constexpr double centiseconds_per_second = 100;
    out.begin_object("bridge");
    out.flag("stp", link.bridge.stp);
    out.flag("vlan_filtering", link.bridge.vlan_filtering);
    out.real("forward_delay_seconds",
             link.bridge.forward_delay_centiseconds / centiseconds_per_second);
    out.number("default_pvid", link.bridge.default_pvid);
    out.end_object();
}

void write_vlans(JsonText& out, const TopologySnapshot& topology, IfIndex index) {
    out.begin_array("vlans");
    const auto [begin, end] = elements_of(topology.vlans, &PortVlans::port, index);
    for (const auto* port = begin; port != end; ++port) {
        for (const auto& range : port->ranges) {
            out.begin_object();
            out.number("first", range.first);
            out.number("last", range.last);
            out.flag("pvid", range.pvid);
            out.flag("untagged", range.untagged);
            out.end_object();
        }
    }
    out.end_array();
}

void write_addresses(JsonText& out, const TopologySnapshot& topology, IfIndex index) {
    out.begin_array("addresses");
    const auto [begin, end] = elements_of(topology.addresses, &InterfaceAddress::device, index);
    for (const auto* item = begin; item != end; ++item) {
        out.element(item->address.to_string() + "/" + std::to_string(item->prefix_length));
    }
    out.end_array();
}

std::string_view policy_text(VirtualFunction::LinkPolicy policy) {
    switch (policy) {
        case VirtualFunction::LinkPolicy::automatic: return "auto";
        case VirtualFunction::LinkPolicy::enable: return "enable";
        case VirtualFunction::LinkPolicy::disable: return "disable";
    }
    return "";
}

void write_function(JsonText& out, const VirtualFunction& function) {
    out.begin_object();
    out.number("number", function.number);
    write_mac(out, function.mac);
    if (function.vlan != 0) {
        out.number("vlan", function.vlan);
    } else {
        out.null("vlan");
    }
    out.text("link_policy", policy_text(function.policy));
    out.flag("spoof_check", function.spoof_check);
    out.flag("trusted", function.trusted);
    out.end_object();
}

void write_functions(JsonText& out, const TopologySnapshot& topology, IfIndex index) {
    out.begin_array("virtual_functions");
    const auto [begin, end] =
        elements_of(topology.virtual_functions, &FunctionsOf::physical_function, index);
    for (const auto* owner = begin; owner != end; ++owner) {
        for (const auto& function : owner->functions) {
            write_function(out, function);
        }
    }
    out.end_array();
}

void write_counters(JsonText& out, const LinkCounters* counters) {
    constexpr std::pair<std::string_view, std::uint64_t LinkCounters::*> fields[]{
        {"receive_errors", &LinkCounters::receive_errors},
        {"transmit_errors", &LinkCounters::transmit_errors},
        {"receive_drops", &LinkCounters::receive_drops},
        {"transmit_drops", &LinkCounters::transmit_drops}};
    for (const auto& [name, counter] : fields) {
        if (counters != nullptr) {
            out.number(name, counters->*counter);
        } else {
            out.null(name);
        }
    }
}

/// What a reader of the tree wants to know; the rest is on /api/v1/guests.
void write_guest_address(JsonText& out,
                         const PeerView& peers,
                         const GuestAddressSnapshot& address) {
    out.begin_object();
    out.text("address", address.address);
    if (address.peer) {
        const auto probe = peers.main_probe(*address.peer);
        out.text("state", to_text(peers.peer(*address.peer).state));
        out.seconds_or_null("rtt_seconds", probe ? peers.rtt(*probe) : std::nullopt);
    } else {
        out.null("state");
        out.null("rtt_seconds");
    }
    out.end_object();
}

void write_guest(JsonText& out, const Tables& tables, const Link& link) {
    const GuestSnapshot* const guest = tables.links.guest(link);
    if (guest == nullptr) {
        out.null("guest");
        return;
    }
    out.begin_object("guest");
    out.text_or_null("name", guest->name);
    out.text_or_null("vm", guest->vm);
    out.text("state", to_text(guest_verdict(tables.snapshot, *guest).state));
    out.begin_array("addresses");
    for (const auto& address : guest->addresses) {
        write_guest_address(out, tables.peers, address);
    }
    out.end_array();
    out.end_object();
}

void write_link(JsonText& out, const Tables& tables, std::size_t row) {
    const TopologyView& view = tables.links;
    const Link& link = view.link(row);
    out.begin_object();
    out.number("index", static_cast<std::uint32_t>(link.index));
    out.number("generation", link.generation);
    out.text("name", link.name);
    write_hardware(out, link, view.facts(link));
    write_state(out, link);
    write_relations(out, view, link);
    write_detail(out, link);
    write_bridge(out, link);
    write_vlans(out, view.topology(), link.index);
    write_addresses(out, view.topology(), link.index);
    write_functions(out, view.topology(), link.index);
    write_guest(out, tables, link);
    out.number("carrier_changes", link.carrier_changes);
    write_counters(out, view.counters(row));
    out.end_object();
}

// ---- The whole

/// Writes links until the text is `bytes_max` long.
void write_links(JsonText& out, const Tables& tables, std::size_t bytes_max) {
    const TopologyView& view = tables.links;
    out.begin_array("links");
    std::size_t row = 0;
    for (; row < view.size() && out.size() < bytes_max; ++row) {
        write_link(out, tables, row);
    }
    out.end_array();
    out.number("links_omitted", view.size() - row);
}

void write_gateways(JsonText& out, const TopologySnapshot& topology) {
    out.begin_array("default_gateways");
    for (const auto& gateway : topology.default_gateways) {
        out.begin_object();
        out.text("address", gateway.address);
        out.text("device", gateway.device);
        out.number("metric", gateway.metric);
        out.end_object();
    }
    out.end_array();
}

void write_counts(JsonText& out, const Snapshot& snapshot) {
    const auto write = [&](std::string_view name, std::uint64_t TopologySnapshot::*count) {
        if (snapshot.topology) {
            out.number(name, (*snapshot.topology).*count);
        } else {
            out.null(name);
        }
    };
    out.begin_object("routes");
    write("ipv4", &TopologySnapshot::ipv4_routes);
    write("ipv6", &TopologySnapshot::ipv6_routes);
    out.end_object();
    write("neighbours", &TopologySnapshot::neighbours);
    write("fdb_entries", &TopologySnapshot::fdb_entries);
}

}  // namespace

std::string topology_json(const Snapshot& snapshot, std::size_t bytes_max) {
    constexpr std::size_t link_bytes_usual = 750;
    constexpr std::size_t other_bytes_usual = 4096;
    const Tables tables{snapshot, TopologyView(snapshot), PeerView(snapshot)};
    const TopologyView& view = tables.links;
    JsonText out;
    out.reserve(std::min(view.size() * link_bytes_usual, bytes_max) + other_bytes_usual);
    out.begin_object();
    out.number("sequence", snapshot.sequence);
    out.text("time", rfc3339_utc(snapshot.taken.wall));
    out.text("host", snapshot.host.name);
    out.flag("synced", snapshot.topology_in_step);
    write_links(out, tables, bytes_max);
    write_gateways(out, view.topology());
    write_counts(out, snapshot);
    out.end_object();
    return out.take();
}

}  // namespace reachd
