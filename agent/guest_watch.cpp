#include "agent/guest_watch.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace reachd {
namespace {

/// systemd's MESSAGE_ID, never to be changed.
constexpr std::string_view name_gap_message = "5b1de5a7f5c94e3cb6f1c7ff0a4f6e92";
constexpr std::string_view port_failed_message = "7c1f0c52a3d84a3f8be5e7c3a1d90b26";
constexpr std::string_view ports_heard_message = "e09d4a6b1f7c4c58a2b36d9075f1ce43";

/// How often a guest is asked on its own port, and so heard of; nothing: never.
std::optional<Duration> probe_interval(const Config& config) {
    return config.arp.enabled ? std::optional(config.arp.interval) : std::nullopt;
}

GuestPort facts_of(const Vnic& port) {
    return {port.device, port.mac, port.owner_uid, port.peer_namespace, {}};
}

}  // namespace

GuestWatch::GuestWatch(const Config& config)
    : config_(config.guests),
      table_(config.guests, probe_interval(config)) {}

void GuestWatch::configure(const Config& config, const Instant& now) {
    if (config_ != config.guests) {
        config_ = config.guests;
        stale_ = true;
        next_look_ = now.mono;
    }
    table_.configure(config.guests, probe_interval(config), now);
    targets_stale_ = true;
}

// ---- What happens

void GuestWatch::advance(const Topology& topology, const FdbNewsBatch& fdb, const Instant& now) {
    follow_listened(now.mono);
    const auto rose = [](std::uint64_t& seen, std::uint64_t revision) {
        return std::exchange(seen, revision) != revision;
    };
    stale_ = rose(structure_seen_, topology.structure_revision()) || stale_;
    neighbours_stale_ = rose(neighbours_seen_, topology.neighbour_revision()) || neighbours_stale_;
    if (stale_ && now.mono >= next_look_) {
        stale_ = false;
        next_look_ = now.mono + look_interval;
        look_at_ports(topology, now);
        neighbours_stale_ = true;
    }
    if (neighbours_stale_ && now.mono >= next_neighbours_) {
        neighbours_stale_ = false;
        next_neighbours_ = now.mono + neighbours_interval;
        look_at_neighbours(topology, now);
    }
    follow_fdb(topology, fdb, now);
    table_.advance(now);
    if (rose(macs_seen_, table_.macs_revision())) {
        neighbours_stale_ = true;  // they may mean something now
        want_lookups(now.mono);
    }
}

void GuestWatch::look_at_ports(const Topology& topology, const Instant& now) {
    std::vector<Vnic> ports;
    if (config_.enabled) {
        ports = guest_ports(topology, config_);
    }
    std::vector<InterfaceAddress> addresses;
    std::vector<IpAddress> gateways;
    if (!ports.empty()) {
        addresses = topology.addresses();
        for (const Gateway& gateway : topology.default_gateways()) {
            gateways.push_back(gateway.address);
        }
    }
    table_.set_own_addresses(std::move(addresses), std::move(gateways), now);
    const std::vector<IfIndex> fresh = note_ports(ports, now.mono);
    table_.set_ports(std::move(ports), now);
    // What the bridges had learnt before the port was known here is no news any more.
    for (const IfIndex port : fresh) {
        table_.set_fdb(port, topology.learnt_behind(port), now);
    }
}

void GuestWatch::follow_fdb(const Topology& topology, const FdbNewsBatch& fdb, const Instant& now) {
    if (ports_.empty()) {
        return;
    }
    for (const FdbNews& news : fdb.news) {
        table_.on_fdb(news.port, {news.mac, news.vlan}, news.added, now);
    }
    if (fdb.dropped) {
        for (const auto& [index, known] : ports_) {
            table_.set_fdb(index, topology.learnt_behind(index), now);
        }
    }
}

void GuestWatch::look_at_neighbours(const Topology& topology, const Instant& now) {
    if (ports_.empty() || topology.neighbour_count() == 0) {
        return;
    }
    for (const NeighbourChanged& neighbour : topology.neighbours()) {
        if (neighbour.mac) {
            table_.on_host_neighbour(neighbour.device, neighbour.address, *neighbour.mac, now);
        }
    }
}

bool GuestWatch::knows(const Vnic& port) const {
    const auto known = ports_.find(port.index);
    return known != ports_.end() && known->second.generation == port.generation;
}

/// Only ports that are in a bridge, or were in one here, are worth an ear; and no more of them than
/// the table takes, which counts the others. Those that are new.
std::vector<IfIndex> GuestWatch::note_ports(const std::vector<Vnic>& ports, MonoTime now) {
    std::map<IfIndex, Known> found;
    ListenedPorts::Wanted wanted;
    std::vector<IfIndex> fresh;
    const auto kept = static_cast<std::size_t>(std::count_if(
        ports.begin(), ports.end(), [this](const Vnic& port) { return knows(port); }));
    for (const Vnic& port : ports) {
        const auto known = ports_.find(port.index);
        const bool same = knows(port);
        const bool fits = kept + fresh.size() < GuestTable::ports_max;
        if (!same && (!fits || (!port.in_bridge() && port.kind != LinkKind::macvtap))) {
            continue;
        }
        Known& noted =
            found.emplace(port.index, same ? std::move(known->second) : Known{}).first->second;
        if (same) {
            note_owner(noted, port.owner_uid, now);
        } else {
            noted.generation = port.generation;
            noted.use = port.may_send ? PortUse::guest : PortUse::macvtap_guest;
            fresh.push_back(port.index);
            lookup_due_ = std::min(lookup_due_, now + lookup_delay);
        }
        noted.facts = facts_of(port);
        wanted.emplace(NeighbourPort{port.index, noted.use}, port.generation);
    }
    ports_ = std::move(found);
    listened_.want(wanted);
    return fresh;
}

void GuestWatch::follow_listened(MonoTime now) {
    if (listened_.advance(now)) {
        targets_stale_ = true;
    }
    const bool failing = listened_.any_failed();
    if (untold_failures_.ports > 0 && now >= next_failure_line_) {
        next_failure_line_ = now + failure_line_interval;
        tell_failures(failing);
        failure_told_ = true;
    }
    if (failure_told_ && !failing && untold_failures_.ports == 0) {
        failure_told_ = false;
        logs_.push_back({LogLevel::notice,
                         "all ports of guests can be listened on again",
                         ports_heard_message,
                         {}});
    }
}

void GuestWatch::tell_failures(bool failing) {
    const UntoldFailures failures = std::exchange(untold_failures_, {});
    const std::string others =
        failures.ports > 1 ? fmt::format(" and {} more", failures.ports - 1) : std::string{};
    logs_.push_back({LogLevel::warning,
                     fmt::format("guests behind {}{} {} be asked by ARP, nor heard: {}{}",
                                 failures.device,
                                 others,
                                 failing ? "cannot" : "could not",
                                 failures.reason,
                                 failing ? "; this is tried again" : ""),
                     port_failed_message,
                     {{"REACHD_DEVICE", failures.device}}});
}

bool GuestWatch::on_port_failed(IfIndex port, std::string_view reason, MonoTime now) {
    const auto known = ports_.find(port);
    if (known == ports_.end() || !listened_.on_failed({port, known->second.use}, now)) {
        return false;
    }
    targets_stale_ = true;
    if (++untold_failures_.ports == 1) {
        untold_failures_.device = known->second.facts.device;
        untold_failures_.reason = reason;
    }
    return true;
}

/// A tap is made first and given to its owner then, whose processes may tell its name.
void GuestWatch::note_owner(Known& known, std::optional<std::uint32_t> owner_uid, MonoTime now) {
    if (known.facts.owner_uid != owner_uid && !known.named) {
        known.lookups = std::min(known.lookups, lookups_max - 1);
        lookup_due_ = std::min(lookup_due_, now + lookup_delay);
    }
}

void GuestWatch::on_frame(IfIndex port, const NeighbourFrame& frame, const Instant& now) {
    table_.on_frame(port, frame, now);
}

void GuestWatch::on_seen(const GuestTarget& target, const Instant& now) {
    table_.on_seen(target.port, target.generation, target.address, now);
}

void GuestWatch::on_restored(const std::vector<GuestAddressRecord>& records, const Instant& now) {
    for (const GuestAddressRecord& record : records) {
        table_.restore(record, now);
    }
}

// ---- Names

void GuestWatch::want_lookups(MonoTime now) {
    bool wanted = false;
    for (auto& [index, known] : ports_) {
        if (known.named || table_.macs_of(index).size() <= known.macs) {
            continue;
        }
        if (known.macs == 0) {
            known.lookups = std::min(known.lookups, lookups_max - 1);  // its first: once more
        }
        wanted = wanted || known.lookups < lookups_max;
    }
    if (wanted) {
        lookup_due_ = std::min(lookup_due_, now);
    }
}

std::optional<GuestLookup> GuestWatch::take_lookup(MonoTime now) {
    if (lookup_out_ || now < lookup_due_ || now < lookup_not_before_) {
        return std::nullopt;
    }
    lookup_due_ = mono_never;
    lookup_not_before_ = now + lookup_interval;
    if (ports_.empty()) {
        return std::nullopt;
    }
    GuestLookup lookup;
    for (auto& [index, known] : ports_) {
        GuestPort facts = known.facts;
        facts.macs = table_.macs_of(index);
        known.macs = facts.macs.size();
        known.lookups += known.named ? 0U : 1U;
        lookup.ports.push_back({index, known.generation, std::move(facts)});
    }
    lookup_out_ = true;
    return lookup;
}

void GuestWatch::on_identified(GuestsIdentified event, const Instant& now) {
    lookup_out_ = false;
    for (NameGap& gap : event.gaps) {
        const bool told = std::any_of(gaps_told_.begin(), gaps_told_.end(), [&](const auto& each) {
            return each.source == gap.source && each.reason == gap.reason;
        });
        if (told || gaps_told_.size() >= 16) {
            continue;
        }
        logs_.push_back({LogLevel::notice,
                         fmt::format("names of guests: {}: {}; guests that only this would name go "
                                     "by their MAC address",
                                     gap.source,
                                     gap.reason),
                         name_gap_message,
                         {}});
        gaps_told_.push_back(std::move(gap));
    }
    for (std::size_t i = 0; i < std::min(event.ports.size(), event.identities.size()); ++i) {
        const GuestLookup::Port& port = event.ports[i];
        GuestIdentity& identity = event.identities[i];
        const auto known = ports_.find(port.index);
        if (known == ports_.end() || known->second.generation != port.generation) {
            continue;
        }
        const bool last = known->second.lookups >= lookups_max;
        if (identity.name.empty() && !last) {
            // Its files may not be written yet: asked again, while the table waits for a name.
            lookup_due_ = std::min(lookup_due_, now.mono + lookup_interval);
            continue;
        }
        known->second.named = known->second.named || !identity.name.empty();
        table_.set_vm(port.index, port.generation, std::move(identity), now);
    }
}

// ---- What it takes

std::optional<std::vector<GuestTarget>> GuestWatch::take_targets(MonoTime now) {
    if (now >= tell_again_) {
        tell_again_ = mono_never;
        targets_stale_ = true;
    }
    if (!std::exchange(targets_stale_, false) && targets_seen_ == table_.revision()) {
        return std::nullopt;
    }
    targets_seen_ = table_.revision();
    std::vector<GuestTarget> targets = table_.targets();
    for (GuestTarget& target : targets) {
        target.listened = listened_.is_open({target.port, PortUse::guest});
    }
    return targets;
}

std::optional<std::vector<GuestAddressRecord>> GuestWatch::take_records(MonoTime now) {
    const bool quiet = saved_revision_ == table_.revision();
    if (now < (quiet ? quiet_save_ : next_save_) || (quiet && ports_.empty())) {
        return std::nullopt;
    }
    next_save_ = now + save_interval;
    quiet_save_ = now + quiet_save_interval;
    saved_revision_ = table_.revision();
    return table_.records();
}

void GuestWatch::take_logs(MonoTime now, std::vector<LogRecord>& logs) {
    std::move(logs_.begin(), logs_.end(), std::back_inserter(logs));
    logs_.clear();
    table_.take_logs(now, logs);
}

MonoTime GuestWatch::next_deadline() const {
    MonoTime next = std::min(table_.next_deadline(), listened_.next_deadline());
    if (stale_) {
        next = std::min(next, next_look_);
    }
    if (!lookup_out_ && lookup_due_ != mono_never) {
        next = std::min(next, std::max(lookup_due_, lookup_not_before_));
    }
    if (neighbours_stale_) {
        next = std::min(next, next_neighbours_);
    }
    if (untold_failures_.ports > 0) {
        next = std::min(next, next_failure_line_);
    }
    if (saved_revision_ != table_.revision()) {
        next = std::min(next, next_save_);
    } else if (!ports_.empty()) {
        next = std::min(next, quiet_save_);
    }
    return next;
}

}  // namespace reachd
