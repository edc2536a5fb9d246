// What the inventory gives to the run-time file and takes back from it: records wait until their
// MAC is behind their port again, and then have to be as admissible as anything that is heard.
#include <algorithm>
#include <iterator>

#include "agent/guest_table.hpp"

namespace reachd {

void GuestTable::restore(const GuestAddressRecord& record, const Instant& now) {
    const Duration age = std::max(now.wall - record.last_seen, Duration{});
    auto& of_device = restored_[record.device];
    const bool sound = !record.mac.is_group() && !record.mac.is_zero() &&
                       is_host_unicast(record.address) && age < address_age &&
                       record.last_seen - now.wall <= guest_cache_ahead_max;
    if (!sound || restored_count_ >= restored_max || of_device.size() >= addresses_per_port_max) {
        notices_.count(GuestRefusal::restored_record);
        if (of_device.empty()) {
            restored_.erase(record.device);
        }
        return;
    }
    const MonoTime expires = now.mono + (address_age - age);
    of_device.push_back({record, expires});
    of_device.back().record.address.set_scope(IfIndex::any);
    ++restored_count_;
    restored_due_ = std::min(restored_due_, expires);
    if (const auto port = port_by_device_.find(record.device); port != port_by_device_.end()) {
        apply_restored(ports_.at(port->second), now);
    }
}

/// Some MAC came behind the port: what is known of it counts now.
void GuestTable::apply_restored(KnownPort& port, const Instant& now) {
    if (restored_.empty()) {
        return;
    }
    const auto found = restored_.find(port.vnic.device);
    if (found == restored_.end()) {
        return;
    }
    const std::size_t applied = std::erase_if(found->second, [&](const PendingRecord& pending) {
        return apply_restored(port, pending, now);
    });
    restored_count_ -= applied;
    if (found->second.empty()) {
        restored_.erase(found);
    }
    if (applied > 0) {
        touch(port, now.mono);
    }
}

/// False: not its time yet.
bool GuestTable::apply_restored(KnownPort& port, const PendingRecord& pending, const Instant& now) {
    const GuestAddressRecord& record = pending.record;
    const bool same_port = !record.port_mac || !port.vnic.mac || record.port_mac == port.vnic.mac;
    if (!same_port || port.find(record.mac) == nullptr || !is_owner(port, record.mac)) {
        return false;
    }
    if (pending.expires <= now.mono ||
        port.find(record.mac)->find(record.address, port.vnic.vlan) != nullptr) {
        return true;
    }
    const ClaimKey key{port.vnic.segment, port.vnic.vlan, record.address};
    if (!is_admissible(port, record.address, now.mono) || !settle_claim(port, key, now) ||
        !make_room_for_address(port, record.mac, now.mono)) {
        notices_.count(GuestRefusal::restored_record);
        return true;
    }
    KnownAddress known;
    known.address = record.address;
    known.vlan = port.vnic.vlan;
    known.restored = true;
    known.confirmed = true;
    known.how = LearntBy::run_time_file;
    known.first_seen = record.first_seen;
    known.last_seen = record.last_seen;
    known.heard = pending.expires - address_age;
    known.heard_at_age = port.find(record.mac)->age - (now.mono - known.heard);
    insert(port, record.mac, std::move(known));
    return true;
}

void GuestTable::expire_restored(MonoTime now) {
    restored_due_ = mono_never;
    for (auto device = restored_.begin(); device != restored_.end();) {
        auto& waiting = device->second;
        restored_count_ -= std::erase_if(
            waiting, [now](const PendingRecord& pending) { return pending.expires <= now; });
        for (const PendingRecord& pending : waiting) {
            restored_due_ = std::min(restored_due_, pending.expires);
        }
        device = waiting.empty() ? restored_.erase(device) : std::next(device);
    }
}

std::vector<GuestAddressRecord> GuestTable::records() const {
    std::vector<GuestAddressRecord> all;
    all.reserve(claims_.size() + restored_count_);
    for (const auto& [index, port] : ports_) {
        for (const auto& [mac, known] : port.macs) {
            for (const KnownAddress& address : known.addresses) {
                if (address.confirmed && !address.tagged) {
                    all.push_back({port.vnic.device,
                                   port.vnic.mac,
                                   mac,
                                   address.address,
                                   address.first_seen,
                                   address.last_seen});
                }
            }
        }
    }
    for (const auto& [device, pending] : restored_) {
        for (const PendingRecord& waiting : pending) {
            all.push_back(waiting.record);
        }
    }
    return all;
}

}  // namespace reachd
