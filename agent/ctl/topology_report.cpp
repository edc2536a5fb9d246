#include "agent/ctl/topology_report.hpp"

#include <utility>

#include "agent/ctl/json_view.hpp"

namespace reachd::ctl {
namespace {

using Parsed = Result<TopologyReport, std::string>;

/// Said in so many words: g++ would also make a report of a text, its first member.
Parsed failed(std::string why) {
    return {boost::system::in_place_error, std::move(why)};
}

PortGuest read_guest(const JsonView& view) {
    PortGuest guest;
    guest.name = view.text("name").value_or("");
    guest.state = view.text("state").value_or("unknown");
    for (const JsonView& address : view.objects("addresses")) {
        guest.addresses.push_back({address.text("address").value_or(""),
                                   address.text("state").value_or(""),
                                   address.number("rtt_seconds")});
    }
    return guest;
}

Device read_device(const JsonView& link) {
    link.require("name");
    link.require("index");
    Device device;
    device.index = link.integer("index").value_or(0);
    device.name = link.text("name").value_or("");
    device.kind = link.text("kind").value_or("other");
    device.link_kind = link.text("link_kind").value_or(device.kind);
    device.driver = link.text("driver").value_or("");
    device.speed_bits_per_second = link.integer("speed_bits_per_second");
    device.mac = link.text("mac").value_or("");
    device.mtu_bytes = link.integer("mtu_bytes");
    device.admin_up = link.boolean("admin_up").value_or(false);
    device.up = link.boolean("up").value_or(false);
    device.carrier = link.boolean("carrier").value_or(false);
    device.oper_state = link.text("oper_state").value_or("unknown");
    device.master = link.text("master").value_or("");
    if (const auto port = link.object("port")) {
        device.port_state = port->text("state").value_or("");
        device.port_isolated = port->boolean("isolated").value_or(false);
    }
    device.lower = link.text("lower").value_or("");
    device.lower_index = link.integer("lower_index");
    device.lower_namespace = link.integer("lower_namespace");
    device.vlan_id = link.integer("vlan_id");
    device.vni = link.integer("vni");
    device.bond_mode = link.text("bond_mode").value_or("");
    device.addresses = link.texts("addresses");
    device.virtual_functions = link.objects("virtual_functions").size();
    if (const auto guest = link.object("guest")) {
        device.guest = read_guest(*guest);
    }
    return device;
}

}  // namespace

Parsed parse_topology(std::string_view body) {
    const auto document = JsonDocument::parse(body);
    if (!document) {
        return failed(document.error());
    }
    const auto root = (*document)->root();
    TopologyReport report;
    root.require("links");
    report.host = root.text("host").value_or("");
    report.synced = root.boolean("synced").value_or(false);
    report.devices_omitted = root.integer("links_omitted").value_or(0);
    for (const JsonView& link : root.objects("links")) {
        report.devices.push_back(read_device(link));
    }
    for (const JsonView& gateway : root.objects("default_gateways")) {
        report.gateways.push_back(
            {gateway.text("address").value_or(""), gateway.text("device").value_or("")});
    }
    if (!(*document)->problem().empty()) {
        return failed((*document)->problem());
    }
    return {boost::system::in_place_value, std::move(report)};
}

}  // namespace reachd::ctl
