#include "agent/guest_watch.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace reachd {
namespace {

/// systemd's MESSAGE_ID, never to be changed.
constexpr std::string_view name_gap_message = "5b1de5a7f5c94e3cb6f1c7ff0a4f6e92";

/// How often a guest is asked at least, and so heard of.
Duration probe_interval(const Config& config) {
    return config.arp.enabled ? config.arp.interval : std::chrono::seconds(1);
}

GuestPort facts_of(const Vnic& port) {
    return {port.device, port.mac, std::nullopt, port.peer_namespace, {}};
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

void GuestWatch::advance(const Topology& topology,
                         std::vector<FdbNews> fdb_news,
                         const Instant& now) {
    if (topology.state_revision() != std::exchange(topology_seen_, topology.state_revision())) {
        stale_ = true;
    }
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
    if (!ports_.empty()) {
        for (const FdbNews& news : fdb_news) {
            table_.on_fdb(news.port, news.mac, news.added, now);
        }
    }
    table_.advance(now);
    if (table_.macs_revision() != std::exchange(macs_seen_, table_.macs_revision())) {
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
        addresses = topology.snapshot()->addresses;
        for (const Gateway& gateway : topology.default_gateways()) {
            gateways.push_back(gateway.address);
        }
    }
    table_.set_own_addresses(std::move(addresses), std::move(gateways), now);
    note_ports(ports, now.mono);
    std::vector<std::pair<IfIndex, IfIndex>> fresh;  // bridge and port
    for (const Vnic& port : ports) {
        const bool opened = std::any_of(
            port_changes_.opened.begin(), port_changes_.opened.end(), [&](const OpenedPort& each) {
                return each.port == port.index;
            });
        if (opened) {
            fresh.emplace_back(port.bridge, port.index);
        }
    }
    table_.set_ports(std::move(ports), now);
    // What the bridges had learnt before the port was known here is no news any more.
    std::sort(fresh.begin(), fresh.end());
    for (auto begin = fresh.begin(); begin != fresh.end();) {
        const auto end = std::find_if(
            begin, fresh.end(), [&](const auto& each) { return each.first != begin->first; });
        for (const FdbChanged& entry : topology.fdb_of(begin->first)) {
            if (!entry.fixed &&
                std::binary_search(begin, end, std::pair(entry.bridge, entry.port))) {
                table_.on_fdb(entry.port, entry.mac, true, now);
            }
        }
        begin = end;
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

/// Only ports that are in a bridge, or were in one here, are worth an ear.
void GuestWatch::note_ports(const std::vector<Vnic>& ports, MonoTime now) {
    std::map<IfIndex, Known> found;
    for (const Vnic& port : ports) {
        const auto known = ports_.find(port.index);
        const bool same = known != ports_.end() && known->second.generation == port.generation;
        if (same) {
            found.emplace(port.index, std::move(known->second)).first->second.facts =
                facts_of(port);
            continue;
        }
        if (!port.in_bridge() && port.kind != LinkKind::macvtap) {
            continue;
        }
        found.emplace(port.index, Known{port.generation, 0, 0, false, facts_of(port)});
        port_changes_.opened.push_back(
            {port.index, port.may_send ? GuestSide::incoming : GuestSide::outgoing});
        lookup_due_ = std::min(lookup_due_, now + lookup_delay);
    }
    for (const auto& [index, known] : ports_) {
        const auto still = found.find(index);
        if (still != found.end() && still->second.generation == known.generation) {
            continue;
        }
        port_changes_.closed.push_back(index);
        if (still == found.end()) {
            const IfIndex gone = index;
            std::erase_if(port_changes_.opened,
                          [gone](const OpenedPort& each) { return each.port == gone; });
        }
    }
    ports_ = std::move(found);
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
    return table_.targets();
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
    MonoTime next = table_.next_deadline();
    if (stale_) {
        next = std::min(next, next_look_);
    }
    if (!lookup_out_ && lookup_due_ != mono_never) {
        next = std::min(next, std::max(lookup_due_, lookup_not_before_));
    }
    if (neighbours_stale_) {
        next = std::min(next, next_neighbours_);
    }
    if (saved_revision_ != table_.revision()) {
        next = std::min(next, next_save_);
    } else if (!ports_.empty()) {
        next = std::min(next, quiet_save_);
    }
    return next;
}

}  // namespace reachd
