// What the inventory answers: names, the series of targets, who may be probed, the snapshot.
#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "agent/guest_table.hpp"
#include "common/glob.hpp"

namespace reachd {
namespace {

std::int64_t whole_seconds(Duration duration) {
    return std::chrono::duration_cast<std::chrono::seconds>(duration).count();
}

}  // namespace

// ---------------------------------------------------------------------------------------------
// Names

/// Those of this port, the ones that nobody else decides about first: told by the machine's
/// configuration, then in the order in which they came.
std::vector<const MacAddress*> GuestTable::macs_by_right(const KnownPort& port) const {
    std::vector<const std::pair<const MacAddress, KnownMac>*> own;
    for (const auto& entry : port.macs) {
        if (is_owner(port, entry.first)) {
            own.push_back(&entry);
        }
    }
    std::sort(own.begin(), own.end(), [](const auto* a, const auto* b) {
        return std::pair(!a->second.told, a->second.serial) <
               std::pair(!b->second.told, b->second.serial);
    });
    std::vector<const MacAddress*> macs;
    macs.reserve(own.size());
    for (const auto* entry : own) {
        macs.push_back(&entry->first);
    }
    return macs;
}

/// By the operator's own map; null: not in it.
const std::string* GuestTable::mapped_name(const KnownPort& port) const {
    if (config_.names.empty()) {
        return nullptr;
    }
    for (const MacAddress* mac : macs_by_right(port)) {
        const auto found = std::lower_bound(
            config_.names.begin(),
            config_.names.end(),
            *mac,
            [](const auto& entry, const auto& wanted) { return entry.first < wanted; });
        if (found != config_.names.end() && found->first == *mac) {
            return &found->second;
        }
    }
    return nullptr;
}

MonoTime GuestTable::wait_end(const KnownPort& port) {
    return std::max(port.appeared, port.first_mac.value_or(port.appeared)) + name_wait;
}

/// That nobody knew the owner before there was a MAC to find it by says nothing.
bool GuestTable::has_waited(const KnownPort& port, MonoTime now) const {
    const bool asked = port.identity && port.first_mac && port.identified >= *port.first_mac;
    return asked || now >= wait_end(port);
}

/// Fixed or not; empty: nobody knows yet.
std::string GuestTable::name_now(const KnownPort& port, MonoTime now) const {
    if (!port.name.empty()) {
        return port.name;
    }
    if (const std::string* mapped = mapped_name(port)) {
        return *mapped;
    }
    if (port.identity && !port.identity->name.empty()) {
        return port.identity->name;
    }
    const auto macs =
        has_waited(port, now) ? macs_by_right(port) : std::vector<const MacAddress*>();
    return macs.empty() ? std::string() : macs.front()->to_string();
}

bool GuestTable::is_excluded(const KnownPort& port, MonoTime now) const {
    if (config_.exclude.empty()) {
        return false;
    }
    const std::string name = name_now(port, now);
    const std::string_view vm = port.identity ? std::string_view(port.identity->vm) : "";
    return std::any_of(config_.exclude.begin(), config_.exclude.end(), [&](const auto& glob) {
        return (!name.empty() && glob_matches(glob, name)) ||
               (!vm.empty() && glob_matches(glob, vm));
    });
}

/// A name is fixed when the first target needs it.
void GuestTable::settle_name(KnownPort& port, MonoTime now) {
    if (!port.name.empty()) {
        return;
    }
    const bool needed = std::any_of(port.macs.begin(), port.macs.end(), [&](const auto& entry) {
        const KnownMac& known = entry.second;
        return std::any_of(
            known.addresses.begin(), known.addresses.end(), [&](const KnownAddress& address) {
                return bar_of(port, entry.first, known, address) == Bar::none;
            });
    });
    if (needed) {
        port.named_by_map = mapped_name(port) != nullptr;
        port.name = name_now(port, now);
    }
}

// ---------------------------------------------------------------------------------------------
// Series

std::string GuestTable::address_text(const KnownPort& port, const KnownAddress& address) {
    return address.address.to_string(port.vnic.zone_name);
}

std::string GuestTable::series_key(const KnownPort& port, const KnownAddress& address) {
    return address.series_name + '\0' + address_text(port, address);
}

/// Gives each address that can be probed its name. One name and address is one series.
void GuestTable::enlist(KnownPort& port) {
    if (port.name.empty()) {
        return;
    }
    for (auto& [mac, known] : port.macs) {
        for (KnownAddress& address : known.addresses) {
            if (!address.series_name.empty() || bar_of(port, mac, known, address) != Bar::none) {
                continue;
            }
            address.series_name = port.name;
            if (series_.insert(series_key(port, address)).second) {
                continue;
            }
            address.series_name = fmt::format("{} ({})", port.name, mac.to_string());
            if (!series_.insert(series_key(port, address)).second) {
                address.series_name.clear();
            }
        }
    }
}

void GuestTable::forget_series(const KnownPort& port, const KnownAddress& address) {
    if (!address.series_name.empty()) {
        series_.erase(series_key(port, address));
    }
}

void GuestTable::delist_all(KnownPort& port) {
    for (auto& [mac, known] : port.macs) {
        for (KnownAddress& address : known.addresses) {
            forget_series(port, address);
            address.series_name.clear();
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Answers

GuestTable::Bar GuestTable::bar_of(const KnownPort& port,
                                   const MacAddress& mac,
                                   const KnownMac& known,
                                   const KnownAddress& address) const {
    if (!port.vnic.may_send) {
        return Bar::macvtap;
    }
    if (address.tagged) {
        return Bar::tagged;
    }
    if (!host_.is_on_link(address.address, port.vnic.host_devices)) {
        return Bar::off_link;
    }
    if (address.address.family() == Family::ipv4) {
        return Bar::none;
    }
    std::array<IpAddress, addresses_per_mac_max> all;
    const std::size_t count = std::min(known.addresses.size(), all.size());
    for (std::size_t i = 0; i < count; ++i) {
        all[i] = known.addresses[i].address;
    }
    const bool temporary = is_temporary(address.address, mac, std::span(all).first(count));
    return temporary ? Bar::temporary : Bar::none;
}

GuestTarget GuestTable::target_of(const KnownPort& port,
                                  const MacAddress& mac,
                                  const KnownAddress& address) const {
    const Vnic& vnic = port.vnic;
    GuestTarget target;
    target.port = vnic.index;
    target.generation = vnic.generation;
    target.device = vnic.device;
    target.port_mac = vnic.mac;
    target.up = vnic.up;
    target.attached = vnic.in_bridge();
    target.bridge = vnic.bridge;
    target.bridge_name = vnic.bridge_name;
    target.host_device = host_.device_towards(address.address, vnic.host_devices);
    target.mac = mac;
    target.address = address.address;
    if (address.address.is_link_local_v6()) {
        target.address.set_scope(vnic.zone);
    }
    target.address_text = address_text(port, address);
    target.name = address.series_name;
    target.vm = port.identity ? port.identity->vm : "";
    target.probe_from = address.probe_from(port.link_up);
    return target;
}

std::vector<GuestTarget> GuestTable::targets() const {
    std::vector<GuestTarget> all;
    for (const auto& [index, port] : ports_) {
        const auto first = static_cast<std::ptrdiff_t>(all.size());
        for (const auto& [mac, known] : port.macs) {
            for (const KnownAddress& address : known.addresses) {
                if (!address.series_name.empty() &&
                    bar_of(port, mac, known, address) == Bar::none) {
                    all.push_back(target_of(port, mac, address));
                }
            }
        }
        std::sort(all.begin() + first, all.end(), [](const GuestTarget& a, const GuestTarget& b) {
            return a.address < b.address;
        });
    }
    return all;
}

/// For people; empty: it is, or may be.
std::string GuestTable::not_probed(const KnownPort& port,
                                   Bar bar,
                                   const KnownAddress& address,
                                   MonoTime now) const {
    switch (bar) {
        case Bar::none: break;
        case Bar::macvtap: return "a frame sent on a macvtap does not reach its guest";
        case Bar::tagged:
            return fmt::format("in VLAN {}, which the guest tags itself", address.vlan);
        case Bar::off_link: return fmt::format("outside the networks of {}", port.vnic.zone_name);
        case Bar::temporary: return "temporary address";
    }
    if (port.name.empty()) {
        return "waiting for the name of its guest";
    }
    if (address.series_name.empty()) {
        return "another guest has the same name, address and MAC";
    }
    const MonoTime from = address.probe_from(port.link_up);
    if (from <= now) {
        return "";
    }
    return from == address.held_until
               ? fmt::format("claimed {} s ago", whole_seconds(now - (from - guest_claim_time)))
               : fmt::format("link came up {} s ago", whole_seconds(now - port.link_up));
}

GuestSnapshot GuestTable::snapshot_of(const KnownPort& port, MonoTime now) const {
    GuestSnapshot guest;
    guest.name = name_now(port, now);
    if (port.identity) {
        guest.vm = port.identity->vm;
        guest.uuid = port.identity->uuid;
    }
    guest.port = port.vnic.index;
    guest.device = port.vnic.device;
    guest.bridge = port.vnic.bridge;
    guest.bridge_name = port.vnic.bridge_name;
    guest.kind = port.vnic.kind;
    for (const auto& [mac, known] : port.macs) {
        if (!is_owner(port, mac)) {
            continue;
        }
        guest.macs.push_back(mac);
        for (const KnownAddress& address : known.addresses) {
            GuestAddressSnapshot shown;
            shown.mac = mac;
            shown.address = address_text(port, address);
            shown.vlan = address.tagged ? address.vlan : std::uint16_t{0};
            shown.how = address.how;
            shown.first_seen = address.first_seen;
            shown.last_seen = address.last_seen;
            shown.not_probed = not_probed(port, bar_of(port, mac, known, address), address, now);
            guest.addresses.push_back(std::move(shown));
        }
    }
    return guest;
}

void GuestTable::snapshot(std::vector<GuestSnapshot>& guests, const Instant& now) const {
    guests.reserve(guests.size() + ports_.size());
    for (const auto& [index, port] : ports_) {
        if (!port.excluded) {
            guests.push_back(snapshot_of(port, now.mono));
        }
    }
}

std::string GuestTable::who(const KnownPort& port, MonoTime now) const {
    const std::string name = name_now(port, now);
    return fmt::format("guest {} on port {}", name.empty() ? "?" : name, port.vnic.device);
}

}  // namespace reachd
