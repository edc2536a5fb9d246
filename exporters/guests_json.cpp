#include "exporters/guests_json.hpp"

#include <algorithm>
#include <string_view>

#include "common/check.hpp"
#include "common/probe.hpp"
#include "exporters/json_text.hpp"
#include "exporters/peer_view.hpp"

namespace reachd {
namespace {

void write_reason(JsonText& out, const std::optional<FailureReason>& reason) {
    out.text_or_null("reason", reason ? to_text(*reason) : std::string_view());
}

void write_probe(JsonText& out, const PeerView& view, std::size_t place) {
    const auto& probe = view.probe(place);
    out.begin_object();
    out.text("probe", to_text(probe.kind));
    probe.port != 0 ? out.number("port", probe.port) : out.null("port");
    out.text("state", to_text(probe.state));
    out.seconds_or_null("rtt_seconds", view.rtt(place));
    write_reason(out, view.failure_reason(place));
    out.end_object();
}

/// State and probes of the peer that asks the address, if there is one.
void write_peer(JsonText& out, const PeerView& view, const std::optional<std::uint32_t>& place) {
    if (!place) {
        for (const auto* field : {"state", "since", "reason"}) {
            out.null(field);
        }
        out.begin_array("probes");
        out.end_array();
        return;
    }
    const auto& peer = view.peer(*place);
    out.text("state", to_text(peer.state));
    out.time_or_null("since", peer.last_change);
    write_reason(out, view.loss_reason(*place));
    out.begin_array("probes");
    for (const auto probe : view.probes_of(*place)) {
        write_probe(out, view, probe);
    }
    out.end_array();
}

void write_address(JsonText& out, const PeerView& view, const GuestAddressSnapshot& address) {
    out.begin_object();
    out.text("mac", address.mac.to_string());
    out.text("address", address.address);
    out.text("how", to_text(address.how));
    out.time_or_null("first_seen", address.first_seen);
    out.time_or_null("last_seen", address.last_seen);
    write_peer(out, view, address.peer);
    out.text_or_null("not_probed", address.not_probed);
    out.end_object();
}

void write_guest(JsonText& out,
                 const Snapshot& snapshot,
                 const PeerView& view,
                 const GuestSnapshot& guest) {
    const auto verdict = guest_verdict(snapshot, guest);
    out.begin_object();
    out.text_or_null("name", guest.name);
    out.text_or_null("vm", guest.vm);
    out.text_or_null("uuid", guest.uuid);
    out.number("port_index", static_cast<std::uint32_t>(guest.port));
    out.text("device", guest.device);
    // The former one is no bridge of the port any more.
    out.text_or_null("bridge", guest.bridge == IfIndex::any ? "" : guest.bridge_name);
    out.text("kind", to_text(guest.kind));
    out.text("state", to_text(verdict.state));
    out.time_or_null("since", verdict.since);
    out.begin_array("macs");
    for (const auto& mac : guest.macs) {
        const auto text = mac.text();
        out.element({text.data(), text.size()});
    }
    out.end_array();
    out.begin_array("addresses");
    for (const auto& address : guest.addresses) {
        write_address(out, view, address);
    }
    out.end_array();
    out.end_object();
}

}  // namespace

std::string guests_json(const Snapshot& snapshot, std::size_t bytes_max) {
    constexpr std::size_t guest_bytes_usual = 700;
    constexpr std::size_t other_bytes_usual = 4096;
    const PeerView view(snapshot);
    const auto guests = snapshot.guests.size();
    JsonText out;
    out.reserve(std::min(guests * guest_bytes_usual, bytes_max) + other_bytes_usual);
    out.begin_object();
    out.number("sequence", snapshot.sequence);
    out.time_or_null("time", snapshot.taken.wall);
    out.text("host", snapshot.host.name);
    out.begin_array("guests");
    std::size_t guest = 0;
    for (; guest < guests && out.size() < bytes_max; ++guest) {
        write_guest(out, snapshot, view, snapshot.guests[guest]);
    }
    out.end_array();
    out.number("guests_omitted", guests - guest);
    out.end_object();
    return out.take();
}

}  // namespace reachd
