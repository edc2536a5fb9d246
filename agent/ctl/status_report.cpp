#include "agent/ctl/status_report.hpp"

#include <utility>

#include "agent/ctl/json_view.hpp"
#include "common/path_mtu.hpp"

namespace reachd::ctl {
namespace {

using Parsed = Result<StatusReport, std::string>;

/// Said in so many words: g++ would also make a report of a text, its first member.
Parsed failed(std::string why) {
    return {boost::system::in_place_error, std::move(why)};
}

void read_peers(const JsonView& peers, StatusReport& report) {
    report.peers = peers.integer("total").value_or(0);
    report.peers_up = peers.integer("up").value_or(0);
    report.peers_suspect = peers.integer("suspect").value_or(0);
    report.peers_down = peers.integer("down").value_or(0);
    report.peers_unknown = peers.integer("unknown").value_or(0);
    report.rtt_median_seconds = peers.number("rtt_median_seconds");
    if (const auto worst = peers.object("worst")) {
        report.worst =
            WorstPeer{worst->text("peer").value_or(""), worst->number("rtt_seconds").value_or(0)};
    }
    for (const JsonView& peer : peers.objects("unreachable")) {
        report.unreachable.push_back({.peer = peer.text("peer").value_or(""),
                                      .address = peer.text("address").value_or(""),
                                      .kind = peer.text("kind").value_or(""),
                                      .since = peer.time("since"),
                                      .reason = peer.text("reason").value_or("")});
    }
}

void read_guests(const JsonView& guests, StatusReport& report) {
    report.guests = guests.integer("total").value_or(0);
    report.guests_up = guests.integer("up").value_or(0);
    report.guests_suspect = guests.integer("suspect").value_or(0);
    for (const JsonView& bridge : guests.objects("bridges")) {
        report.bridges.push_back(
            {bridge.text("bridge").value_or(""), bridge.integer("total").value_or(0)});
    }
    for (const JsonView& guest : guests.objects("ill")) {
        report.guests_ill.push_back({.guest = guest.text("guest").value_or(""),
                                     .state = guest.text("state").value_or("unknown"),
                                     .addresses = guest.integer("addresses").value_or(0)});
    }
}

void read_topology(const JsonView& topology, StatusReport& report) {
    report.synced = topology.boolean("synced").value_or(false);
    report.interfaces = topology.integer("interfaces").value_or(0);
    report.overruns = topology.integer("overruns").value_or(0);
    report.resyncs = topology.integer("resyncs").value_or(0);
    const auto change = topology.object("last_change");
    if (!change) {
        return;
    }
    if (const auto time = change->time("time")) {
        report.last_change = LastChange{
            *time, change->text("device").value_or(""), change->text("text").value_or("")};
    }
}

void read_path_mtu(const JsonView& mtus, StatusReport& report) {
    report.mtus_measured = mtus.integer("peers").value_or(0);
    report.mtus_as_expected = mtus.integer("as_expected").value_or(0);
    report.mtus_mismatched = mtus.integer("mismatched").value_or(0);
    report.mtus_undetermined = mtus.integer("undetermined").value_or(0);
}

void read_mtu_misfits(const JsonView& root, StatusReport& report) {
    for (const JsonView& found : root.objects("mtu_inconsistencies")) {
        const auto conflict = found.text("conflict").value_or("");
        if (conflict == to_text(MtuConflict::port_below_uplink)) {
            continue;
        }
        report.mtu_misfits.push_back({.conflict = conflict,
                                      .bridge = found.text("bridge").value_or(""),
                                      .larger = found.text("larger").value_or("?"),
                                      .larger_bytes = found.integer("larger_bytes").value_or(0),
                                      .smaller = found.text("smaller").value_or("?"),
                                      .smaller_bytes = found.integer("smaller_bytes").value_or(0),
                                      .devices = found.integer("devices").value_or(1)});
    }
}

void read_agent(const JsonView& agent, StatusReport& report) {
    report.version = agent.text("version").value_or("");
    report.uptime_seconds = agent.number("uptime_seconds");
    report.cpu_ratio = agent.number("cpu_ratio");
    report.resident_memory_bytes = agent.integer("resident_memory_bytes");
    report.probes_on_time_ratio = agent.number("probes_on_time_ratio");
    report.skipped_probes = agent.integer("skipped_probes").value_or(0);
    report.throttle_ratio = agent.number("throttle_ratio").value_or(1);
}

}  // namespace

Result<StatusReport, std::string> parse_status(std::string_view body) {
    const auto document = JsonDocument::parse(body);
    if (!document) {
        return failed(document.error());
    }
    const auto root = (*document)->root();
    StatusReport report;
    root.require("healthy");
    root.require("peers");
    report.healthy = root.boolean("healthy").value_or(false);
    report.time = root.time("time");
    if (const auto host = root.object("host")) {
        report.host = host->text("name").value_or("");
    }
    if (const auto peers = root.object("peers")) {
        read_peers(*peers, report);
    }
    if (const auto guests = root.object("guests")) {
        read_guests(*guests, report);
    }
    if (const auto topology = root.object("topology")) {
        read_topology(*topology, report);
    }
    if (const auto mtus = root.object("path_mtu")) {
        read_path_mtu(*mtus, report);
    }
    read_mtu_misfits(root, report);
    if (const auto agent = root.object("agent")) {
        read_agent(*agent, report);
    }
    if (!(*document)->problem().empty()) {
        return failed((*document)->problem());
    }
    return {boost::system::in_place_value, std::move(report)};
}

}  // namespace reachd::ctl
