#include "agent/topology_watch.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace reachd {
namespace {

/// systemd's MESSAGE_ID: one for each kind of event, never to be changed.
constexpr std::string_view change_message = "4f0a1c5d8e2b47c9a6d3f1e07b92c845";
constexpr std::string_view suppressed_message = "b7c1e6f2394d4a0f8d5a2c913e6f7048";

/// A link that leads to a virtual machine. A tap in no bridge or switch is a VPN's, most likely.
bool leads_to_guest(const Link& link) {
    return link.kind == LinkKind::macvtap ||
           (link.kind == LinkKind::tap && link.master != IfIndex::any);
}

/// What the host itself stands on: its changes are worth more than those of a guest's link.
bool carries_host(LinkKind kind) {
    return kind == LinkKind::physical || kind == LinkKind::bridge || kind == LinkKind::bond ||
           kind == LinkKind::team || kind == LinkKind::vlan;
}

bool asks_anew(const TopologyChange& change) {
    return std::any_of(change.facts.begin(), change.facts.end(), [](const LinkFact& fact) {
        return fact.aspect == LinkAspect::appeared || fact.aspect == LinkAspect::carrier ||
               fact.aspect == LinkAspect::name;
    });
}

}  // namespace

void TopologyWatch::set_host(HostFacts facts) {
    host_ = std::move(facts);
}

void TopologyWatch::take_stock(const Topology& topology) {
    for (const auto& link : topology.links()) {
        look_at(*link, true);
    }
}

void TopologyWatch::look_at(const Link& link, bool ask) {
    has_guests_ = has_guests_ || leads_to_guest(link);
    if (ask && link.kind == LinkKind::physical && lookups_.size() < devices_max) {
        lookups_.push_back({link.index, link.generation, link.name});
    }
}

void TopologyWatch::on_changes(const std::vector<TopologyChange>& changes,
                               const Topology& topology,
                               const Instant& now) {
    for (const TopologyChange& change : changes) {
        const auto link = topology.link(change.device);
        const auto known = devices_.find(change.device);
        if (known != devices_.end() && (!link || link->generation != known->second.generation)) {
            devices_.erase(known);
        }
        if (link) {
            look_at(*link, asks_anew(change));
        }
        report(change, now.mono);
    }
    if (!changes.empty()) {
        const TopologyChange& last = changes.back();
        last_change_ = TopologyChangeSnapshot{last.time.wall, last.name, describe(last)};
    }
}

void TopologyWatch::report(const TopologyChange& change, MonoTime now) {
    if (now >= window_end_ && suppressed_ == 0) {
        window_end_ = now + window;
        lines_ = 0;
    }
    const bool important = carries_host(change.kind);
    // The last of them are kept for what the host stands on.
    const std::size_t room = important ? lines_per_window : lines_per_window / 2;
    if (lines_ >= room) {
        ++suppressed_;
        return;
    }
    ++lines_;
    logs_.push_back({important ? LogLevel::notice : LogLevel::info,
                     fmt::format("link {}: {}", change.name, describe(change)),
                     change_message,
                     {{"REACHD_DEVICE", change.name}}});
}

void TopologyWatch::on_described(const DeviceFacts& facts,
                                 std::uint64_t generation,
                                 const Topology& topology) {
    const auto link = topology.link(facts.index);
    const bool known = devices_.contains(facts.index);
    if (link && link->generation == generation && (known || devices_.size() < devices_max)) {
        devices_[facts.index] = {generation, facts};
    }
}

void TopologyWatch::take_lookups(std::vector<DeviceLookup>& lookups) {
    std::move(lookups_.begin(), lookups_.end(), std::back_inserter(lookups));
    lookups_.clear();
}

void TopologyWatch::take_logs(MonoTime now, std::vector<LogRecord>& logs) {
    if (suppressed_ > 0 && now >= window_end_) {
        logs_.push_back(
            {LogLevel::notice,
             fmt::format("and {} more changes of links within {} s",
                         std::exchange(suppressed_, 0),
                         std::chrono::duration_cast<std::chrono::seconds>(window).count()),
             suppressed_message,
             {}});
    }
    std::move(logs_.begin(), logs_.end(), std::back_inserter(logs));
    logs_.clear();
}

MonoTime TopologyWatch::next_deadline() const {
    return suppressed_ > 0 ? window_end_ : mono_never;
}

HostRole TopologyWatch::role() const {
    if (has_guests_ || host_.xen_dom0) {
        return HostRole::hypervisor;
    }
    const bool virtualized = !host_.virtualization.empty() && host_.virtualization != "none";
    return virtualized ? HostRole::guest : HostRole::physical;
}

std::vector<DeviceFacts> TopologyWatch::devices() const {
    std::vector<DeviceFacts> all;
    all.reserve(devices_.size());
    for (const auto& [index, described] : devices_) {
        all.push_back(described.facts);
    }
    return all;
}

}  // namespace reachd
