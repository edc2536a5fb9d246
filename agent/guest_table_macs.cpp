// The MACs of the inventory: which port a MAC is behind, by whose word, and until when another port
// may not have it.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "agent/guest_table.hpp"
#include "common/check.hpp"

namespace reachd {
namespace {

/// systemd's MESSAGE_ID, never to be changed.
constexpr std::string_view mac_refused_message = "7e2b8c4d90f14a6db5c3e1f8a6724d09";

}  // namespace

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

/// A bridge that filters by VLANs files untagged frames under the port's own.
bool GuestTable::is_untagged(const KnownPort& port, std::uint16_t vlan) {
    return vlan == 0 || port.vnic.vlan == 0 || vlan == port.vnic.vlan;
}

/// By the bridge, from untagged frames.
bool GuestTable::is_learnt(const KnownPort& port, const KnownMac& known) {
    const auto vlans = known.learnt.all();
    return std::any_of(
        vlans.begin(), vlans.end(), [&](std::uint16_t vlan) { return is_untagged(port, vlan); });
}

/// `here` is null where the MAC is not known at the port that wants it. That a bridge moved a MAC
/// is news of the moment; a frame may come from anybody, so it takes only what nobody else holds.
bool GuestTable::may_take(const KnownPort& port,
                          const KnownMac* here,
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
    if (evidence == Evidence::forwarding_table || (here != nullptr && is_learnt(port, *here))) {
        return there.addresses.empty() || now - there.last_heard >= silence_within_port_;
    }
    return !there.in_fdb() && is_silent(there.last_heard, now);
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
    if (may_take(port, port.find(mac), *there, evidence, now)) {
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
        address.heard_at_age += to.find(mac)->age - source.age;
    }
    owner_[key_of(to, mac)] = to.vnic.index;
    source.learnt.clear();
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
    const std::uint64_t matter = KeyHash::mixed(port.vnic.generation) ^ mac.to_number();
    if (!notices_.is_news(KeyHash::mixed(matter), now)) {
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
    known->hear(now.mono, silence_);
    if (fresh || came) {
        apply_restored(port, now);
        touch(port, now.mono);
    }
    return known;
}

void GuestTable::on_fdb(IfIndex index, const LearntMac& entry, bool added, const Instant& now) {
    KnownPort* port = find_port(index);
    if (port == nullptr || entry.mac.is_group() || entry.mac.is_zero()) {
        return;
    }
    if (added) {
        learn(*port, entry, now);
    } else {
        unlearn(*port, entry, now.mono);
    }
}

void GuestTable::set_fdb(IfIndex index, std::vector<LearntMac> entries, const Instant& now) {
    KnownPort* port = find_port(index);
    if (port == nullptr) {
        return;
    }
    std::sort(entries.begin(), entries.end());
    std::vector<LearntMac> gone;
    for (const auto& [mac, known] : port->macs) {
        for (const std::uint16_t vlan : known.learnt.all()) {
            if (!std::binary_search(entries.begin(), entries.end(), LearntMac{mac, vlan})) {
                gone.push_back({mac, vlan});
            }
        }
    }
    for (const LearntMac& entry : gone) {
        unlearn(*port, entry, now.mono);
    }
    for (const LearntMac& entry : entries) {
        on_fdb(index, entry, true, now);
    }
}

void GuestTable::unlearn(KnownPort& port, const LearntMac& entry, MonoTime now) {
    KnownMac* known = port.find(entry.mac);
    if (known == nullptr || !known->learnt.erase(entry.vlan) || known->in_fdb()) {
        return;
    }
    known->spoke = false;
    if (known->told) {
        return;
    }
    known->left = now;
    if (known->addresses.empty() && !known->is_checking(now)) {
        erase_mac(port, entry.mac);
    }
    touch(port, now);
}

/// An entry of another VLAN than that of the port's untagged frames is about VLANs of the guest's
/// own. Two guests may have one MAC in different ones, such as that of a virtual router.
void GuestTable::learn(KnownPort& port, const LearntMac& entry, const Instant& now) {
    KnownMac* known = port.find(entry.mac);
    if (known == nullptr) {
        known = add_mac(port, entry.mac, Evidence::forwarding_table, now.mono);
    }
    if (known == nullptr) {
        return;
    }
    const bool repeated = known->learnt.contains(entry.vlan) && is_owner(port, entry.mac);
    known->learnt.insert(entry.vlan);
    known->hear(now.mono, silence_);
    const bool may_ask = is_untagged(port, entry.vlan) || !owner_.contains(key_of(port, entry.mac));
    if (!repeated && may_ask && own_mac(port, entry.mac, Evidence::forwarding_table, now.mono)) {
        apply_restored(port, now);
        touch(port, now.mono);
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
            known.left = known.in_fdb() ? std::nullopt : std::optional(now.mono);
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

}  // namespace reachd
