#include "exporters/status_json.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/check.hpp"
#include "common/log_text.hpp"
#include "common/probe.hpp"
#include "exporters/peer_view.hpp"
#include "exporters/topology_view.hpp"

namespace reachd {
namespace {

using Json = nlohmann::ordered_json;

Json time_or_null(WallTime time) {
    return time == WallTime{} ? Json(nullptr) : Json(rfc3339_utc(time));
}

Json text_or_null(std::string_view text) {
    return text.empty() ? Json(nullptr) : Json(text);
}

template <class Number>
Json number_or_null(const std::optional<Number>& number) {
    return number ? Json(*number) : Json(nullptr);
}

Json host_json(const HostSnapshot& host) {
    Json labels = Json::object();
    for (const auto& label : host.labels) {
        labels[label.name] = label.value;
    }
    return {{"name", host.name},
            {"role", to_text(host.role)},
            {"virtualization", text_or_null(host.virtualization)},
            {"labels", std::move(labels)}};
}

// ---- Peers

bool is_in_state(const PeerSnapshot& peer, Reachability state) {
    return peer.state == state;
}

std::size_t count_in_state(const Snapshot& snapshot, Reachability state) {
    return static_cast<std::size_t>(
        std::count_if(snapshot.peers.begin(), snapshot.peers.end(), [state](const auto& peer) {
            return is_in_state(peer, state);
        }));
}

/// Probes of peers that are up and that were answered, as places in Snapshot::probes.
std::vector<std::size_t> answered_probes(const Snapshot& snapshot) {
    std::vector<std::size_t> answered;
    for (std::size_t i = 0; i < snapshot.probes.size(); ++i) {
        const auto& probe = snapshot.probes[i];
        ENSURE(probe.peer < snapshot.peers.size());
        if (probe.last_rtt > Duration::zero() &&
            is_in_state(snapshot.peers[probe.peer], Reachability::up)) {
            answered.push_back(i);
        }
    }
    return answered;
}

/// Of an even number the mean of the two in the middle.
std::optional<double> median_rtt_seconds(const Snapshot& snapshot,
                                         const std::vector<std::size_t>& probes) {
    if (probes.empty()) {
        return std::nullopt;
    }
    std::vector<Duration> rtts;
    rtts.reserve(probes.size());
    for (const auto probe : probes) {
        rtts.push_back(snapshot.probes[probe].last_rtt);
    }
    const auto middle = rtts.begin() + static_cast<std::ptrdiff_t>(rtts.size() / 2);
    std::nth_element(rtts.begin(), middle, rtts.end());
    if (rtts.size() % 2 == 1) {
        return to_seconds(*middle);
    }
    const Duration below = *std::max_element(rtts.begin(), middle);
    return to_seconds(below + (*middle - below) / 2);
}

Json worst_json(const Snapshot& snapshot, const std::vector<std::size_t>& probes) {
    const auto worst =
        std::max_element(probes.begin(), probes.end(), [&](std::size_t a, std::size_t b) {
            return snapshot.probes[a].last_rtt < snapshot.probes[b].last_rtt;
        });
    if (worst == probes.end()) {
        return nullptr;
    }
    const auto& probe = snapshot.probes[*worst];
    const auto& identity = *snapshot.peers[probe.peer].identity;
    return {{"peer", identity.name()},
            {"address", identity.address()},
            {"rtt_seconds", to_seconds(probe.last_rtt)}};
}

Json unreachable_json(const Snapshot& snapshot) {
    const PeerView view(snapshot);
    Json list = Json::array();
    for (std::size_t i = 0; i < snapshot.peers.size() && list.size() < status_unreachable_max;
         ++i) {
        const auto& peer = snapshot.peers[i];
        if (!is_in_state(peer, Reachability::down)) {
            continue;
        }
        const auto reason = view.loss_reason(i);
        list.push_back({{"peer", peer.identity->name()},
                        {"address", peer.identity->address()},
                        {"kind", to_text(peer.identity->kind())},
                        {"since", time_or_null(peer.last_change)},
                        {"reason", text_or_null(reason ? to_text(*reason) : "")}});
    }
    return list;
}

Json peers_status_json(const Snapshot& snapshot) {
    const auto answered = answered_probes(snapshot);
    return {{"total", snapshot.peers.size()},
            {"up", count_in_state(snapshot, Reachability::up)},
            {"suspect", count_in_state(snapshot, Reachability::suspect)},
            {"down", count_in_state(snapshot, Reachability::down)},
            {"unknown", count_in_state(snapshot, Reachability::unknown)},
            {"rtt_median_seconds", number_or_null(median_rtt_seconds(snapshot, answered))},
            {"worst", worst_json(snapshot, answered)},
            {"unreachable", unreachable_json(snapshot)}};
}

// ---- Guests

// unknown, up, suspect, down.
constexpr std::size_t reachability_state_count = 4;

struct GuestCounts {
    std::uint64_t total = 0;
    std::uint64_t up = 0;
};

std::string shown_name(const GuestSnapshot& guest) {
    if (!guest.name.empty()) {
        return guest.name;
    }
    return guest.macs.empty() ? guest.device : guest.macs.front().to_string();
}

Json ill_guest_json(const GuestSnapshot& guest, const GuestVerdict& verdict) {
    return {{"guest", shown_name(guest)},
            {"device", guest.device},
            {"bridge", text_or_null(guest.bridge_name)},
            {"state", to_text(verdict.state)},
            {"since", time_or_null(verdict.since)},
            {"addresses", guest.addresses.size()}};
}

Json ill_guests_json(const Snapshot& snapshot, const std::vector<GuestVerdict>& verdicts) {
    Json list = Json::array();
    const auto add = [&](auto is_meant) {
        for (std::size_t i = 0; i < verdicts.size() && list.size() < status_guests_max; ++i) {
            if (is_meant(snapshot.guests[i], verdicts[i])) {
                list.push_back(ill_guest_json(snapshot.guests[i], verdicts[i]));
            }
        }
    };
    add([](const auto& /*guest*/, const auto& verdict) {
        return verdict.state == Reachability::down;
    });
    add([](const auto& guest, const auto& /*verdict*/) { return guest.addresses.empty(); });
    return list;
}

Json bridges_json(const std::map<std::string_view, GuestCounts>& bridges) {
    Json list = Json::array();
    for (const auto& [bridge, counts] : bridges) {
        if (list.size() == status_bridges_max) {
            break;
        }
        list.push_back(
            {{"bridge", text_or_null(bridge)}, {"total", counts.total}, {"up", counts.up}});
    }
    return list;
}

Json guests_status_json(const Snapshot& snapshot) {
    std::array<std::uint64_t, reachability_state_count> by_state{};
    std::uint64_t without_address = 0;
    std::map<std::string_view, GuestCounts> bridges;
    std::vector<GuestVerdict> verdicts;
    verdicts.reserve(snapshot.guests.size());
    for (const auto& guest : snapshot.guests) {
        const auto& verdict = verdicts.emplace_back(guest_verdict(snapshot, guest));
        ++by_state[static_cast<std::size_t>(verdict.state)];
        without_address += guest.addresses.empty() ? 1U : 0U;
        auto& bridge = bridges[guest.bridge_name];
        ++bridge.total;
        bridge.up += verdict.state == Reachability::up ? 1U : 0U;
    }
    const auto count = [&by_state](Reachability state) {
        return by_state[static_cast<std::size_t>(state)];
    };
    return {{"total", snapshot.guests.size()},
            {"up", count(Reachability::up)},
            {"suspect", count(Reachability::suspect)},
            {"down", count(Reachability::down)},
            {"unknown", count(Reachability::unknown)},
            {"without_address", without_address},
            {"bridges", bridges_json(bridges)},
            {"ill", ill_guests_json(snapshot, verdicts)}};
}

// ---- MTUs

Json path_mtu_status_json(const Snapshot& snapshot) {
    std::array<std::uint64_t, mtu_verdict_count> by_verdict{};
    std::uint64_t mismatched = 0;
    for (const auto& row : snapshot.path_mtus) {
        ++by_verdict[static_cast<std::size_t>(row.mtu.verdict)];
        mismatched += is_mismatch(row.mtu.verdict) ? 1U : 0U;
    }
    const auto count = [&by_verdict](MtuVerdict verdict) {
        return by_verdict[static_cast<std::size_t>(verdict)];
    };
    return {{"peers", snapshot.path_mtus.size()},
            {"as_expected", count(MtuVerdict::ok)},
            {"mismatched", mismatched},
            {"undetermined", count(MtuVerdict::undetermined)}};
}

Json mtu_inconsistency_json(const MtuInconsistency& found, const TopologyView& topology) {
    return {{"conflict", to_text(found.conflict)},
            {"bridge", text_or_null(topology.name_of(found.bridge))},
            {"larger", text_or_null(topology.name_of(found.larger))},
            {"larger_bytes", found.larger_bytes},
            {"smaller", text_or_null(topology.name_of(found.smaller))},
            {"smaller_bytes", found.smaller_bytes},
            {"devices", found.devices}};
}

Json mtu_inconsistencies_json(const Snapshot& snapshot) {
    const TopologyView topology(snapshot);
    Json list = Json::array();
    for (const bool losing : {true, false}) {
        for (const auto& found : snapshot.mtu_inconsistencies) {
            if (loses_traffic(found.conflict) == losing &&
                list.size() < status_inconsistencies_max) {
                list.push_back(mtu_inconsistency_json(found, topology));
            }
        }
    }
    return list;
}

// ---- Topology and agent

Json last_change_json(const std::optional<TopologyChangeSnapshot>& change) {
    if (!change) {
        return nullptr;
    }
    return {
        {"time", rfc3339_utc(change->time)}, {"device", change->device}, {"text", change->text}};
}

Json topology_status_json(const Snapshot& snapshot) {
    const auto& topology = snapshot.topology;
    return {{"synced", snapshot.topology_in_step},
            {"interfaces", topology ? Json(topology->links.size()) : Json(nullptr)},
            {"last_sync", time_or_null(snapshot.netlink.last_sync)},
            {"overruns", snapshot.netlink.overruns},
            {"resyncs", snapshot.netlink.resyncs},
            {"last_change", last_change_json(snapshot.last_change)}};
}

/// Share of the samples in buckets that end at status_on_time or before.
std::optional<double> on_time_ratio(const HistogramSnapshot& delay) {
    static const std::vector<double> none;
    const auto& edges = delay.edges ? *delay.edges : none;
    std::uint64_t total = 0;
    std::uint64_t on_time = 0;
    for (std::size_t i = 0; i < delay.counts.size(); ++i) {
        total += delay.counts[i];
        if (i < edges.size() && edges[i] <= to_seconds(status_on_time)) {
            on_time += delay.counts[i];
        }
    }
    if (total == 0) {
        return std::nullopt;
    }
    return static_cast<double>(on_time) / static_cast<double>(total);
}

Json agent_json(const Snapshot& snapshot, const AgentFigures& agent) {
    const double uptime = to_seconds(snapshot.taken.mono - snapshot.started.mono);
    std::optional<double> cpu_ratio;
    if (agent.cpu_seconds && uptime > 0) {
        cpu_ratio = *agent.cpu_seconds / uptime;
    }
    std::uint64_t skipped = 0;
    for (const auto count : snapshot.skipped) {
        skipped += count;
    }
    return {{"version", text_or_null(agent.version)},
            {"revision", text_or_null(agent.revision)},
            {"started", time_or_null(snapshot.started.wall)},
            {"uptime_seconds", uptime},
            {"cpu_ratio", number_or_null(cpu_ratio)},
            {"resident_memory_bytes", number_or_null(agent.resident_memory_bytes)},
            {"probes_on_time_ratio", number_or_null(on_time_ratio(snapshot.probe_delay))},
            {"skipped_probes", skipped},
            {"throttle_ratio", snapshot.throttle_ratio}};
}

}  // namespace

std::string status_json(const Snapshot& snapshot, const AgentFigures& agent) {
    const bool healthy =
        count_in_state(snapshot, Reachability::down) == 0 && snapshot.topology_in_step;
    const Json status{{"sequence", snapshot.sequence},
                      {"time", time_or_null(snapshot.taken.wall)},
                      {"host", host_json(snapshot.host)},
                      {"healthy", healthy},
                      {"peers", peers_status_json(snapshot)},
                      {"guests", guests_status_json(snapshot)},
                      {"topology", topology_status_json(snapshot)},
                      {"path_mtu", path_mtu_status_json(snapshot)},
                      {"mtu_inconsistencies", mtu_inconsistencies_json(snapshot)},
                      {"agent", agent_json(snapshot, agent)}};
    return status.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace reachd
