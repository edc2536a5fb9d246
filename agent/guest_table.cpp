#include "agent/guest_table.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "common/check.hpp"

namespace reachd {
namespace {

/// systemd's MESSAGE_ID, never to be changed.
constexpr std::string_view ports_refused_message = "0c6f5b9e4a1d4e8f8b7a3d2c915e604f";
constexpr std::string_view mac_refused_message = "7e2b8c4d90f14a6db5c3e1f8a6724d09";

std::uint64_t mixed(std::uint64_t value) {
    value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9U;
    return value ^ (value >> 27U);
}

}  // namespace

std::size_t GuestTable::KeyHash::operator()(const MacKey& key) const {
    const auto place = (static_cast<std::uint64_t>(key.segment) << 16U) | key.vlan;
    return static_cast<std::size_t>(mixed(mixed(place) ^ key.mac.to_number()));
}

std::size_t GuestTable::KeyHash::operator()(const ClaimKey& key) const {
    const auto place = (static_cast<std::uint64_t>(key.segment) << 16U) | key.vlan;
    return static_cast<std::size_t>(mixed(mixed(place) ^ key.address.hash()));
}

GuestTable::GuestTable(GuestDiscoveryConfig config, Duration probe_interval)
    : config_(std::move(config)),
      silence_(std::max(silence, 3 * probe_interval)),
      silence_within_port_(std::max(silence_within_port, 3 * probe_interval)) {}

void GuestTable::configure(GuestDiscoveryConfig config,
                           Duration probe_interval,
                           const Instant& now) {
    config_ = std::move(config);
    silence_ = std::max(silence, 3 * probe_interval);
    silence_within_port_ = std::max(silence_within_port, 3 * probe_interval);
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
    if (vnic.up && !port.vnic.up) {
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
            if (std::pair(known.told, known.in_fdb) > std::pair(other.told, other.in_fdb)) {
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
// MACs

GuestTable::MacKey GuestTable::key_of(const KnownPort& port, const MacAddress& mac) {
    return {port.vnic.segment, port.vnic.vlan, mac};
}

bool GuestTable::is_owner(const KnownPort& port, const MacAddress& mac) const {
    const auto owner = owner_.find(key_of(port, mac));
    return owner != owner_.end() && owner->second == port.vnic.index;
}

bool GuestTable::is_silent(MonoTime heard, MonoTime now) const {
    return now - heard >= silence_;
}

/// Null: no room. Whose it is, is decided apart.
KnownMac* GuestTable::add_mac(KnownPort& port,
                              const MacAddress& mac,
                              Evidence evidence,
                              MonoTime now) {
    if (!make_room_for_mac(port, evidence, now)) {
        notices_.count(GuestRefusal::mac_limit);
        return nullptr;
    }
    KnownMac& known = port.macs[mac];
    known.serial = next_serial_++;
    known.last_heard = now;
    if (!port.first_mac) {
        port.first_mac = now;
    }
    ++macs_;
    return &known;
}

/// What the bridge learns never displaces: a flood of MACs would push out those that matter. Who
/// speaks displaces a MAC without addresses or a silent one; what is configured, any that is not.
bool GuestTable::make_room_for_mac(KnownPort& port, Evidence evidence, MonoTime now) {
    if (port.macs.size() < macs_per_port_max && macs_ < macs_max) {
        return true;
    }
    const bool configured = evidence == Evidence::configuration;
    if (evidence == Evidence::forwarding_table || (!configured && now < port.crowded_until)) {
        return false;
    }
    if (!configured) {
        port.crowded_until = now + guest_room_pause;
    }
    const auto rank = [](const KnownMac& mac) {
        return std::pair(!mac.addresses.empty(), mac.last_heard);
    };
    auto victim = port.macs.end();
    for (auto mac = port.macs.begin(); mac != port.macs.end(); ++mac) {
        const KnownMac& known = mac->second;
        const bool can_go = !known.told && (configured || known.addresses.empty() ||
                                            is_silent(known.last_heard, now));
        if (can_go && (victim == port.macs.end() || rank(known) < rank(victim->second))) {
            victim = mac;
        }
    }
    if (victim == port.macs.end()) {
        return false;
    }
    erase_mac(port, MacAddress(victim->first));
    return true;
}

void GuestTable::erase_mac(KnownPort& port, const MacAddress& mac) {
    const auto found = port.macs.find(mac);
    for (const KnownAddress& address : found->second.addresses) {
        release(port, address);
    }
    const auto owner = owner_.find(key_of(port, mac));
    if (owner != owner_.end() && owner->second == port.vnic.index) {
        owner_.erase(owner);
    }
    port.macs.erase(found);
    --macs_;
}

/// `here` is null where the MAC is not known at the port that wants it. That a bridge moved a MAC
/// is news of the moment; a frame may come from anybody, so it takes only what nobody else holds.
bool GuestTable::may_take(const KnownMac* here,
                          const KnownMac& there,
                          Evidence evidence,
                          MonoTime now) const {
    const bool told_here = here != nullptr && here->told;
    if (there.told) {
        return told_here && (evidence == Evidence::forwarding_table ||
                             (evidence == Evidence::frame && !there.is_present()));
    }
    if (told_here || evidence == Evidence::configuration) {
        return true;
    }
    // Any guest can make the bridge believe that another's MAC is its own. Whoever really moved
    // answers no more where it was, and it is asked there directly.
    if (evidence == Evidence::forwarding_table || (here != nullptr && here->in_fdb)) {
        return there.addresses.empty() || now - there.last_heard >= silence_within_port_;
    }
    return !there.in_fdb && is_silent(there.last_heard, now);
}

bool GuestTable::may_own(const KnownPort& port,
                         const MacAddress& mac,
                         Evidence evidence,
                         MonoTime now) {
    const auto owner = owner_.find(key_of(port, mac));
    if (owner == owner_.end() || owner->second == port.vnic.index) {
        return true;
    }
    const KnownPort& other = ports_.at(owner->second);
    const KnownMac* there = other.find(mac);
    ENSURE(there != nullptr);
    if (may_take(port.find(mac), *there, evidence, now)) {
        return true;
    }
    refuse_mac(port, other, mac, now);
    return false;
}

/// False: it is another port's. The MAC is known here.
bool GuestTable::own_mac(KnownPort& port, const MacAddress& mac, Evidence evidence, MonoTime now) {
    if (!may_own(port, mac, evidence, now)) {
        return false;
    }
    const auto [owner, fresh] = owner_.try_emplace(key_of(port, mac), port.vnic.index);
    if (fresh) {
        ++macs_revision_;
    } else if (owner->second != port.vnic.index) {
        move_mac(ports_.at(owner->second), port, mac, now);
        ++macs_revision_;
    }
    return true;
}

/// Both ports are of one segment and VLAN, so the claims keep their keys.
void GuestTable::move_mac(KnownPort& from, KnownPort& to, const MacAddress& mac, MonoTime now) {
    KnownMac& source = *from.find(mac);
    std::vector<KnownAddress> moved = std::exchange(source.addresses, {});
    for (KnownAddress& address : moved) {
        release(from, address);
        address.series_name.clear();
    }
    owner_[key_of(to, mac)] = to.vnic.index;
    source.in_fdb = false;
    source.spoke = false;
    if (!source.told) {
        erase_mac(from, mac);
    }
    for (KnownAddress& address : moved) {
        const bool fits = to.find(mac)->addresses.size() < addresses_per_mac_max &&
                          to.addresses < addresses_per_port_max;
        if (fits) {
            insert(to, mac, std::move(address));
        } else {
            notices_.count(GuestRefusal::address_limit);
        }
    }
    touch(from, now);
}

void GuestTable::refuse_mac(const KnownPort& port,
                            const KnownPort& owner,
                            const MacAddress& mac,
                            MonoTime now) {
    notices_.count(GuestRefusal::mac_elsewhere);
    if (!notices_.is_news(mixed(mixed(port.vnic.generation) ^ mac.to_number()), now)) {
        return;
    }
    notices_.say({LogLevel::warning,
                  fmt::format("{} sends from {}, the MAC address of {}: refused",
                              who(port, now),
                              mac.to_string(),
                              who(owner, now)),
                  mac_refused_message,
                  {{"REACHD_DEVICE", port.vnic.device}}});
}

/// Null: it is none of this port's.
KnownMac* GuestTable::hear_mac(KnownPort& port, const MacAddress& mac, const Instant& now) {
    if (mac.is_group() || mac.is_zero()) {
        notices_.count(GuestRefusal::foreign_mac);
        return nullptr;
    }
    KnownMac* known = port.find(mac);
    const bool fresh = known == nullptr;
    if (fresh && (!may_own(port, mac, Evidence::frame, now.mono) ||
                  add_mac(port, mac, Evidence::frame, now.mono) == nullptr)) {
        return nullptr;
    }
    if (!own_mac(port, mac, Evidence::frame, now.mono)) {
        return nullptr;
    }
    known = port.find(mac);
    const bool came = !std::exchange(known->spoke, true);
    known->last_heard = now.mono;
    known->left.reset();
    if (fresh || came) {
        apply_restored(port, now);
        touch(port, now.mono);
    }
    return known;
}

void GuestTable::on_fdb(IfIndex index, const MacAddress& mac, bool added, const Instant& now) {
    KnownPort* port = find_port(index);
    if (port == nullptr || mac.is_group() || mac.is_zero()) {
        return;
    }
    KnownMac* known = port->find(mac);
    if (!added) {
        if (known == nullptr || !known->in_fdb) {
            return;
        }
        known->in_fdb = false;
        known->spoke = false;
        if (known->told) {
            return;
        }
        known->left = now.mono;
        if (known->addresses.empty()) {
            erase_mac(*port, mac);
        }
        touch(*port, now.mono);
        return;
    }
    if (known == nullptr) {
        known = add_mac(*port, mac, Evidence::forwarding_table, now.mono);
    }
    if (known == nullptr) {
        return;
    }
    const bool repeated = known->in_fdb && is_owner(*port, mac);
    known->in_fdb = true;
    known->left.reset();
    known->last_heard = now.mono;
    if (!repeated && own_mac(*port, mac, Evidence::forwarding_table, now.mono)) {
        apply_restored(*port, now);
        touch(*port, now.mono);
    }
}

void GuestTable::set_vm(IfIndex index,
                        std::uint64_t generation,
                        GuestIdentity identity,
                        const Instant& now) {
    KnownPort* port = find_port(index, generation);
    if (port == nullptr || (port->identity == identity && has_waited(*port, now.mono))) {
        return;
    }
    for (auto& [mac, known] : port->macs) {
        const auto& told = identity.macs;
        if (known.told && std::find(told.begin(), told.end(), mac) == told.end()) {
            known.told = false;
            known.left = known.in_fdb ? std::nullopt : std::optional(now.mono);
        }
    }
    for (const MacAddress& mac : identity.macs) {
        if (mac.is_group() || mac.is_zero()) {
            continue;
        }
        KnownMac* known = port->find(mac);
        if (known == nullptr) {
            known = add_mac(*port, mac, Evidence::configuration, now.mono);
        }
        if (known != nullptr) {
            known->told = true;
            known->left.reset();
            static_cast<void>(own_mac(*port, mac, Evidence::configuration, now.mono));
        }
    }
    port->identity = std::move(identity);
    port->identified = now.mono;
    apply_restored(*port, now);
    touch(*port, now.mono);
}

std::vector<MacAddress> GuestTable::macs_of(IfIndex index) const {
    std::vector<MacAddress> macs;
    const auto port = ports_.find(index);
    if (port == ports_.end()) {
        return macs;
    }
    for (const auto& [mac, known] : port->second.macs) {
        if (is_owner(port->second, mac)) {
            macs.push_back(mac);
        }
    }
    return macs;
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

Duration GuestTable::age_of(const KnownAddress& address) {
    return address.confirmed ? address_age : unconfirmed_age;
}

/// Entries that are heard of move on without a word; they are found still alive when it is time.
MonoTime GuestTable::due_of(const KnownPort& port, MonoTime now) const {
    MonoTime due = mono_never;
    const auto consider = [&](MonoTime at) { due = std::min(due, at); };
    if (wait_end(port) > now) {
        consider(wait_end(port));
    }
    for (const auto& [mac, known] : port.macs) {
        if (known.left) {
            consider(*known.left + mac_hold);
        }
        if (!known.told && !known.in_fdb && known.addresses.empty()) {
            consider(known.last_heard + mac_hold);
        }
        for (const KnownAddress& address : known.addresses) {
            consider(address.heard + age_of(address));
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
        std::vector<KnownAddress> kept;
        for (KnownAddress& address : known.addresses) {
            if (now.mono - address.heard < age_of(address)) {
                kept.push_back(std::move(address));
                continue;
            }
            if (!address.confirmed) {
                known.note(AddressNote::Kind::dismissed, address.address, now.mono);
            }
            release(port, address);
            changed = true;
        }
        known.addresses = std::move(kept);
    }
    return changed;
}

bool GuestTable::expire_macs(KnownPort& port, MonoTime now) {
    const auto stays = [](const auto& entry) {
        return entry.second.told || (entry.second.is_present() && !entry.second.left);
    };
    const bool some_stay = std::any_of(port.macs.begin(), port.macs.end(), stays);
    std::vector<MacAddress> gone;
    for (auto& [mac, known] : port.macs) {
        const bool left = known.left && now - *known.left >= mac_hold;
        const bool forgotten = !known.told && !known.in_fdb && known.addresses.empty() &&
                               now - known.last_heard >= mac_hold;
        if (forgotten || (left && some_stay)) {
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
