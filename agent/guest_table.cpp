#include "agent/guest_table.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "common/check.hpp"

namespace reachd {
namespace {

/// systemd's MESSAGE_ID, never to be changed.
constexpr std::string_view ports_refused_message = "0c6f5b9e4a1d4e8f8b7a3d2c915e604f";

}  // namespace

std::uint64_t GuestTable::KeyHash::mixed(std::uint64_t value) {
    value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9U;
    return value ^ (value >> 27U);
}

std::size_t GuestTable::KeyHash::operator()(const MacKey& key) const {
    const auto place = (static_cast<std::uint64_t>(key.segment) << 16U) | key.vlan;
    return static_cast<std::size_t>(mixed(mixed(place) ^ key.mac.to_number()));
}

std::size_t GuestTable::KeyHash::operator()(const ClaimKey& key) const {
    const auto place = (static_cast<std::uint64_t>(key.segment) << 16U) | key.vlan;
    return static_cast<std::size_t>(mixed(mixed(place) ^ key.address.hash()));
}

GuestTable::GuestTable(GuestDiscoveryConfig config, std::optional<Duration> probe_interval)
    : config_(std::move(config)) {
    set_patience(probe_interval);
}

/// Who is asked seldom is heard of seldom.
void GuestTable::set_patience(std::optional<Duration> probe_interval) {
    const Duration thrice = 3 * probe_interval.value_or(Duration{});
    silence_ = std::max(silence, thrice);
    silence_within_port_ = std::max(silence_within_port, thrice);
    replaced_age_ = probe_interval ? std::max(replaced_age, thrice) : address_age;
}

void GuestTable::configure(GuestDiscoveryConfig config,
                           std::optional<Duration> probe_interval,
                           const Instant& now) {
    config_ = std::move(config);
    set_patience(probe_interval);
    for (auto& [index, port] : ports_) {
        const std::string* mapped = mapped_name(port);
        if (!port.name.empty() && (mapped == nullptr ? port.named_by_map : *mapped != port.name)) {
            delist_all(port);
            port.name.clear();
            port.named_by_map = false;
        }
    }
    touch_all(now.mono);
}

// ---------------------------------------------------------------------------------------------
// Ports

KnownPort* GuestTable::find_port(IfIndex index) {
    const auto found = ports_.find(index);
    return found == ports_.end() ? nullptr : &found->second;
}

KnownPort* GuestTable::find_port(IfIndex index, std::uint64_t generation) {
    KnownPort* port = find_port(index);
    return port != nullptr && port->vnic.generation == generation ? port : nullptr;
}

void GuestTable::set_ports(std::vector<Vnic> ports, const Instant& now) {
    std::sort(
        ports.begin(), ports.end(), [](const Vnic& a, const Vnic& b) { return a.index < b.index; });
    remove_missing_ports(ports);
    std::vector<IfIndex> changed;
    bool moved = false;
    std::vector<Vnic> added;
    for (Vnic& vnic : ports) {
        KnownPort* known = find_port(vnic.index);
        if (known == nullptr) {
            added.push_back(std::move(vnic));
            continue;
        }
        if (known->vnic == vnic) {
            continue;
        }
        const Vnic before = known->vnic;
        update_port(*known, std::move(vnic), now);
        if (known->vnic != before) {
            changed.push_back(before.index);
            moved =
                moved || known->vnic.segment != before.segment || known->vnic.vlan != before.vlan;
        }
    }
    if (moved) {
        rebuild_indexes();
    }
    std::size_t refused = 0;
    for (Vnic& vnic : added) {
        // One in no bridge is somebody's, but nothing says a guest's.
        if (!vnic.in_bridge() && vnic.kind != LinkKind::macvtap) {
            continue;
        }
        if (ports_.size() >= ports_max) {
            ++refused;
            continue;
        }
        changed.push_back(vnic.index);
        add_port(std::move(vnic), now);
    }
    refuse_ports(refused, now.mono);
    rebuild_host_segments();
    if (moved) {
        touch_all(now.mono);
        return;
    }
    for (const IfIndex index : changed) {
        touch(ports_.at(index), now.mono);
    }
}

void GuestTable::refuse_ports(std::size_t refused, MonoTime now) {
    if (refused > ports_refused_) {
        notices_.count(GuestRefusal::port_limit, refused - ports_refused_);
        if (notices_.is_news(static_cast<std::uint64_t>(GuestRefusal::port_limit), now)) {
            notices_.say(
                {LogLevel::warning,
                 fmt::format(
                     "{} ports of guests are not watched: {} is the most", refused, ports_max),
                 ports_refused_message,
                 {}});
        }
    }
    ports_refused_ = refused;
}

void GuestTable::remove_missing_ports(const std::vector<Vnic>& ports) {
    std::vector<IfIndex> gone;
    for (const auto& [index, port] : ports_) {
        const auto found = std::lower_bound(
            ports.begin(), ports.end(), index, [](const Vnic& vnic, IfIndex wanted) {
                return vnic.index < wanted;
            });
        if (found == ports.end() || found->index != index ||
            found->generation != port.vnic.generation) {
            gone.push_back(index);
        }
    }
    for (const IfIndex index : gone) {
        remove_port(index);
    }
}

void GuestTable::add_port(Vnic vnic, const Instant& now) {
    KnownPort& port = ports_[vnic.index];
    port.appeared = now.mono;
    port.link_up = now.mono;
    port.visited = now.mono;
    port_by_device_[vnic.device] = vnic.index;
    port.vnic = std::move(vnic);
}

/// A port that loses its bridge keeps its place on the network that it was on.
void GuestTable::update_port(KnownPort& port, Vnic vnic, const Instant& now) {
    if (!vnic.in_bridge() && vnic.kind != LinkKind::macvtap) {
        const Vnic& before = port.vnic;
        vnic.bridge_name = before.bridge_name;
        vnic.uplink_bridge = before.uplink_bridge;
        vnic.uplink_bridge_name = before.uplink_bridge_name;
        vnic.segment = before.segment;
        vnic.vlan = before.vlan;
        vnic.host_devices = before.host_devices;
        vnic.zone = before.zone;
        vnic.zone_name = before.zone_name;
    }
    const bool flapped = vnic.link_changes != port.vnic.link_changes;
    if (vnic.up && (flapped || !port.vnic.up)) {
        port.link_up = now.mono;
    }
    if (vnic.zone_name != port.vnic.zone_name) {
        delist_all(port);
    }
    if (vnic.device != port.vnic.device) {
        const auto old = port_by_device_.find(port.vnic.device);
        if (old != port_by_device_.end() && old->second == vnic.index) {
            port_by_device_.erase(old);
        }
        port_by_device_[vnic.device] = vnic.index;
    }
    port.vnic = std::move(vnic);
}

void GuestTable::remove_port(IfIndex index) {
    KnownPort& port = ports_.at(index);
    while (!port.macs.empty()) {
        erase_mac(port, port.macs.begin()->first);
    }
    const auto named = port_by_device_.find(port.vnic.device);
    if (named != port_by_device_.end() && named->second == index) {
        port_by_device_.erase(named);
    }
    due_.erase({port.due, index});
    ports_.erase(index);
    ++revision_;
}

/// Ports moved to other segments: who owns what is judged anew, in the order of the ports.
void GuestTable::rebuild_indexes() {
    owner_.clear();
    claims_.clear();
    for (const auto& [index, port] : ports_) {
        for (const auto& [mac, known] : port.macs) {
            const auto [owner, fresh] = owner_.try_emplace(key_of(port, mac), index);
            if (fresh) {
                continue;
            }
            const KnownMac& other = *ports_.at(owner->second).find(mac);
            // Who has no addresses may only have been refused there.
            const auto rank = [](const KnownMac& each) {
                return std::tuple(each.told, each.in_fdb(), !each.addresses.empty());
            };
            if (rank(known) > rank(other)) {
                owner->second = index;
            }
        }
    }
    for (auto& [index, port] : ports_) {
        for (auto& [mac, known] : port.macs) {
            rebuild_claims(port, mac, known);
        }
    }
}

void GuestTable::rebuild_claims(KnownPort& port, const MacAddress& mac, KnownMac& known) {
    for (KnownAddress& address : known.addresses) {
        address.vlan = address.tagged ? address.vlan : port.vnic.vlan;
    }
    const bool owned = is_owner(port, mac);
    std::erase_if(known.addresses, [&](const KnownAddress& address) {
        const Claim claim{port.vnic.index, mac};
        if (owned && claims_.try_emplace(key_of(port, address), claim).second) {
            return false;
        }
        notices_.count(GuestRefusal::guest_address);
        forget_series(port, address);
        --port.addresses;
        return true;
    });
}

void GuestTable::rebuild_host_segments() {
    host_segments_.clear();
    for (const auto& [index, port] : ports_) {
        const Segment segment{port.vnic.segment, port.vnic.vlan};
        for (const IfIndex device : port.vnic.host_devices) {
            auto& known = host_segments_[device];
            if (std::find(known.begin(), known.end(), segment) == known.end()) {
                known.push_back(segment);
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Time

/// Something about the port changed.
void GuestTable::touch(KnownPort& port, MonoTime now) {
    settle_name(port, now);
    port.excluded = is_excluded(port, now);
    if (port.excluded) {
        delist_all(port);
    } else {
        enlist(port);
    }
    port.visited = now;
    schedule(port, now);
    ++revision_;
}

void GuestTable::touch_all(MonoTime now) {
    for (auto& [index, port] : ports_) {
        touch(port, now);
    }
    ++revision_;
}

void GuestTable::schedule(KnownPort& port, MonoTime now) {
    const MonoTime due = due_of(port, now);
    if (due == port.due) {
        return;
    }
    due_.erase({port.due, port.vnic.index});
    if (due != mono_never) {
        due_.insert({due, port.vnic.index});
    }
    port.due = due;
}

/// A new address of the same kind, in ordinary use, since the silent one was heard last.
bool GuestTable::is_replaced(const KnownMac& mac, const KnownAddress& address) {
    return std::any_of(mac.addresses.begin(), mac.addresses.end(), [&](const KnownAddress& other) {
        return other.confirmed && other.since > address.heard && other.used > address.heard &&
               other.vlan == address.vlan && other.address.family() == address.address.family() &&
               is_link_local(other.address) == is_link_local(address.address);
    });
}

/// Measured against what tells that it is silent: the clock for an address that only the host's
/// table names, the guest's own voice for all others.
bool GuestTable::is_aged(const KnownMac& mac, const KnownAddress& address, MonoTime now) const {
    const Duration age = address.confirmed ? mac.age - address.heard_at_age : now - address.heard;
    return age >= age_of(mac, address);
}

Duration GuestTable::age_of(const KnownMac& mac, const KnownAddress& address) const {
    if (!address.confirmed) {
        return unconfirmed_age;
    }
    const bool asked = !address.series_name.empty();
    return asked && is_replaced(mac, address) ? replaced_age_ : address_age;
}

/// Entries that are heard of move on without a word; they are found still alive when it is time.
MonoTime GuestTable::due_of(const KnownPort& port, MonoTime now) const {
    MonoTime due = mono_never;
    // What stays for the time being, such as that of a silent guest, is looked at now and then.
    const auto consider = [&](MonoTime at) {
        due = std::min(due, at > now ? at : now + guest_revisit);
    };
    if (wait_end(port) > now) {
        consider(wait_end(port));
    }
    for (const auto& [mac, known] : port.macs) {
        if (known.left) {
            consider(*known.left + mac_hold);
        }
        if (!known.told && !known.in_fdb()) {
            consider(known.last_heard + (known.addresses.empty() ? mac_hold : address_age));
        }
        for (const KnownAddress& address : known.addresses) {
            consider((address.confirmed ? known.last_heard - known.age + address.heard_at_age
                                        : address.heard) +
                     age_of(known, address));
            if (const MonoTime from = address.probe_from(port.link_up); from > now) {
                consider(from);
            }
        }
    }
    return due;
}

bool GuestTable::expire_addresses(KnownPort& port, const Instant& now) {
    bool changed = false;
    for (auto& [mac, known] : port.macs) {
        std::vector<KnownAddress> aged;
        for (const KnownAddress& address : known.addresses) {
            if (is_aged(known, address, now.mono)) {
                aged.push_back(address);
            }
        }
        for (const KnownAddress& address : aged) {
            known.note(AddressNote::Kind::dismissed, address.address, now.mono);
            erase_address(port, known, address.address, address.vlan);
            changed = true;
        }
    }
    return changed;
}

/// A MAC goes that left the port, or was silent for long with nobody to vouch for it, unless it is
/// the last one there.
bool GuestTable::expire_macs(KnownPort& port, MonoTime now) {
    MonoTime heard = MonoTime::min();
    bool some_stay = false;
    for (const auto& [mac, known] : port.macs) {
        heard = std::max(heard, known.last_heard);
        some_stay = some_stay || known.told || (known.is_present() && !known.left);
    }
    std::vector<MacAddress> gone;
    for (auto& [mac, known] : port.macs) {
        const bool vouched = known.told || known.in_fdb();
        const bool left = known.left && now - *known.left >= mac_hold;
        const bool forgotten =
            !vouched && known.addresses.empty() && now - known.last_heard >= mac_hold;
        const bool silent = !vouched && heard - known.last_heard >= address_age;
        if (forgotten || silent || (left && some_stay)) {
            gone.push_back(mac);
        } else if (left) {
            known.left = now;
        }
    }
    for (const MacAddress& mac : gone) {
        erase_mac(port, mac);
    }
    return !gone.empty();
}

void GuestTable::visit(KnownPort& port, const Instant& now) {
    const auto passed = [&](MonoTime at) { return at > port.visited && at <= now.mono; };
    bool changed = expire_addresses(port, now);
    changed = expire_macs(port, now.mono) || changed || passed(wait_end(port));
    for (const auto& [mac, known] : port.macs) {
        changed = changed || std::any_of(known.addresses.begin(),
                                         known.addresses.end(),
                                         [&](const KnownAddress& address) {
                                             return passed(address.probe_from(port.link_up));
                                         });
    }
    if (changed) {
        touch(port, now.mono);
    } else {
        port.visited = now.mono;
        schedule(port, now.mono);
    }
}

void GuestTable::advance(const Instant& now) {
    while (!due_.empty() && due_.begin()->first <= now.mono) {
        KnownPort& port = ports_.at(due_.begin()->second);
        visit(port, now);
        ENSURE(port.due > now.mono);
    }
    if (restored_due_ <= now.mono) {
        expire_restored(now.mono);
    }
}

MonoTime GuestTable::next_deadline() const {
    const MonoTime due = due_.empty() ? mono_never : due_.begin()->first;
    return std::min({due, restored_due_, notices_.next_deadline()});
}

}  // namespace reachd
