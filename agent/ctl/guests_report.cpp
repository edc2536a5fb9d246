#include "agent/ctl/guests_report.hpp"

#include <utility>

#include "agent/ctl/json_view.hpp"

namespace reachd::ctl {
namespace {

using Parsed = Result<GuestsReport, std::string>;

GuestAddress read_address(const JsonView& view) {
    view.require("address");
    GuestAddress address;
    address.address = view.text("address").value_or("");
    address.state = view.text("state").value_or("");
    address.since = view.time("since");
    address.reason = view.text("reason").value_or("");
    address.not_probed = view.text("not_probed").value_or("");
    address.probes = read_probes(view);
    return address;
}

Guest read_guest(const JsonView& view) {
    view.require("device");
    Guest guest;
    guest.name = view.text("name").value_or("");
    guest.vm = view.text("vm").value_or("");
    guest.uuid = view.text("uuid").value_or("");
    guest.device = view.text("device").value_or("");
    guest.bridge = view.text("bridge").value_or("");
    guest.state = view.text("state").value_or("unknown");
    guest.since = view.time("since");
    guest.macs = view.texts("macs");
    for (const JsonView& address : view.objects("addresses")) {
        guest.addresses.push_back(read_address(address));
    }
    return guest;
}

}  // namespace

Parsed parse_guests(std::string_view body) {
    const auto document = JsonDocument::parse(body);
    if (!document) {
        return {boost::system::in_place_error, document.error()};
    }
    const auto root = (*document)->root();
    GuestsReport report;
    root.require("guests");
    report.time = root.time("time");
    report.guests_omitted = root.integer("guests_omitted").value_or(0);
    for (const JsonView& guest : root.objects("guests")) {
        report.guests.push_back(read_guest(guest));
    }
    if (!(*document)->problem().empty()) {
        return {boost::system::in_place_error, (*document)->problem()};
    }
    return {boost::system::in_place_value, std::move(report)};
}

const std::string& shown_name(const Guest& guest) {
    if (!guest.name.empty()) {
        return guest.name;
    }
    return guest.macs.empty() ? guest.device : guest.macs.front();
}

}  // namespace reachd::ctl
