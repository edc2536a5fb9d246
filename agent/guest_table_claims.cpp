// The addresses of the inventory: what is heard becomes a claim, a claim becomes an address or is
// refused.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "agent/guest_table.hpp"

namespace reachd {
namespace {

/// systemd's MESSAGE_ID, never to be changed.
constexpr std::string_view claim_refused_message = "b95f3c7a26e84d0e9a1c4b8d7f60e253";
constexpr std::string_view address_taken_message = "2f8d6e1b4c9a4703a5e7d0c3b1f49a86";

/// A guest that checks its address again and again moves the time of its probing in steps.
constexpr Duration hold_step = std::chrono::seconds(1);

LearntBy learnt_by(NeighbourFrame::Kind kind) {
    switch (kind) {
        case NeighbourFrame::Kind::arp_request:
        case NeighbourFrame::Kind::arp_reply: return LearntBy::arp;
        case NeighbourFrame::Kind::solicitation:
        case NeighbourFrame::Kind::advertisement: return LearntBy::neighbour;
        case NeighbourFrame::Kind::dhcp_request:
        case NeighbourFrame::Kind::dhcp_ack: return LearntBy::dhcp;
    }
    return LearntBy::arp;
}

/// An announcement (RFC 5227, section 3) may come from a host that is about to find out that the
/// address is not free; who asks for others, or answers, has it.
bool shows_use(const NeighbourFrame& frame) {
    switch (frame.kind) {
        case NeighbourFrame::Kind::arp_request:
        case NeighbourFrame::Kind::arp_reply: return frame.address != frame.target;
        case NeighbourFrame::Kind::solicitation: return true;
        case NeighbourFrame::Kind::advertisement: return frame.solicited;
        case NeighbourFrame::Kind::dhcp_request:
        case NeighbourFrame::Kind::dhcp_ack: return false;
    }
    return false;
}

}  // namespace

GuestTable::ClaimKey GuestTable::key_of(const KnownPort& port, const KnownAddress& address) {
    return {port.vnic.segment, address.vlan, address.address};
}

void GuestTable::on_frame(IfIndex index, const NeighbourFrame& frame, const Instant& now) {
    KnownPort* port = find_port(index);
    if (port == nullptr) {
        return;
    }
    KnownMac* source = hear_mac(*port, frame.frame_source, now);
    if (source == nullptr) {
        if (frame.wants_address()) {
            on_refused_probe(*port, frame, now);
        }
        return;
    }
    if (frame.kind == NeighbourFrame::Kind::dhcp_ack) {
        on_dhcp_ack(*port, frame, now);
        return;
    }
    if (frame.mac != frame.frame_source) {
        source = is_owner(*port, frame.mac) ? port->find(frame.mac) : nullptr;
        if (source == nullptr) {
            notices_.count(GuestRefusal::foreign_mac);
            return;
        }
    }
    if (frame.wants_address()) {
        on_probe(*port, *source, frame, now);
    }
    // A DHCP client that asks for more time has its address already (RFC 2131, section 4.3.2).
    if (!frame.address.is_unspecified()) {
        const bool tagged = frame.vlan != 0 && frame.vlan != port->vnic.vlan;
        claim(*port,
              frame.mac,
              {frame.address.without_scope(),
               tagged ? frame.vlan : port->vnic.vlan,
               tagged,
               learnt_by(frame.kind),
               shows_use(frame)},
              now);
    }
}

/// The guest wants the address, and must not see anybody else who seems to.
void GuestTable::on_probe(KnownPort& port,
                          KnownMac& mac,
                          const NeighbourFrame& frame,
                          const Instant& now) {
    const bool dhcp = frame.kind == NeighbourFrame::Kind::dhcp_request;
    const IpAddress wanted = frame.target.without_scope();
    if (wanted.is_unspecified()) {
        return;
    }
    mac.note(dhcp ? AddressNote::Kind::dhcp_request : AddressNote::Kind::probe, wanted, now.mono);
    for (KnownAddress& known : mac.addresses) {
        if (known.address == wanted) {
            hold(port, known, now);
        }
    }
}

/// It may be the guest that moved here, of which the table is not sure yet.
void GuestTable::on_refused_probe(KnownPort& port,
                                  const NeighbourFrame& frame,
                                  const Instant& now) {
    const MacAddress& mac = frame.frame_source;
    if (mac.is_group() || mac.is_zero()) {
        return;
    }
    KnownMac* known = port.find(mac);
    if (known == nullptr) {
        known = add_mac(port, mac, Evidence::frame, now.mono);
    }
    if (known != nullptr) {
        known->hear(now.mono, silence_);
        on_probe(port, *known, frame, now);
        schedule(port, now.mono);
    }
}

void GuestTable::hold(KnownPort& port, KnownAddress& address, const Instant& now) {
    const MonoTime until = now.mono + guest_claim_time;
    if (address.held_until < until - hold_step) {
        address.held_until = until;
        touch(port, now.mono);
    }
}

/// A server behind a guest's port can be anybody, so it only confirms what the client, on its own
/// port, has asked for.
void GuestTable::on_dhcp_ack(const KnownPort& port,
                             const NeighbourFrame& frame,
                             const Instant& now) {
    const auto owner = owner_.find(key_of(port, frame.mac));
    const IpAddress granted = frame.address.without_scope();
    if (owner == owner_.end() || granted.is_unspecified()) {
        return;
    }
    KnownPort& client = ports_.at(owner->second);
    const auto asked = client.find(frame.mac)->noted(
        AddressNote::Kind::dhcp_request, granted, dhcp_wait, now.mono);
    if (asked) {
        claim(client, frame.mac, {granted, client.vnic.vlan, false, LearntBy::dhcp, false}, now);
    }
}

void GuestTable::on_host_neighbour(IfIndex device,
                                   const IpAddress& address,
                                   const MacAddress& mac,
                                   const Instant& now) {
    const auto segments = host_segments_.find(device);
    if (segments == host_segments_.end()) {
        return;
    }
    for (const Segment& segment : segments->second) {
        const auto owner = owner_.find({segment.device, segment.vlan, mac});
        if (owner != owner_.end()) {
            claim(ports_.at(owner->second),
                  mac,
                  {address.without_scope(), segment.vlan, false, LearntBy::host_table, true},
                  now);
        }
    }
}

void GuestTable::on_seen(IfIndex index,
                         std::uint64_t generation,
                         const IpAddress& address,
                         const Instant& now) {
    KnownPort* port = find_port(index, generation);
    if (port == nullptr) {
        return;
    }
    const auto claimed =
        claims_.find({port->vnic.segment, port->vnic.vlan, address.without_scope()});
    if (claimed == claims_.end() || claimed->second.port != index) {
        return;
    }
    KnownMac& mac = *port->find(claimed->second.mac);
    mac.hear(now.mono, silence_);
    KnownAddress& known = *mac.find(address.without_scope(), port->vnic.vlan);
    hear_address(*port, mac, known, true, now);
}

/// The port owns the MAC.
void GuestTable::claim(KnownPort& port,
                       const MacAddress& mac,
                       const Sighting& sighting,
                       const Instant& now) {
    KnownMac& claimant = *port.find(mac);
    if (KnownAddress* known = claimant.find(sighting.address, sighting.vlan)) {
        refresh(port, claimant, *known, sighting, now);
        return;
    }
    const bool from_host = sighting.how == LearntBy::host_table;
    if (from_host &&
        claimant.noted(AddressNote::Kind::dismissed, sighting.address, address_age, now.mono)) {
        return;
    }
    const ClaimKey key{port.vnic.segment, sighting.vlan, sighting.address};
    if (!is_admissible(port, sighting.address, now.mono) || !settle_claim(port, key, now)) {
        return;
    }
    if (!make_room_for_address(port, mac, now.mono)) {
        notices_.count(GuestRefusal::address_limit);
        return;
    }
    KnownAddress fresh;
    fresh.address = sighting.address;
    fresh.vlan = sighting.vlan;
    fresh.tagged = sighting.tagged;
    fresh.confirmed = !from_host;
    fresh.how = sighting.how;
    fresh.first_seen = fresh.last_seen = now.wall;
    fresh.since = fresh.heard = now.mono;
    fresh.heard_at_age = claimant.age;
    if (sighting.in_use) {
        fresh.used = now.mono;
    } else {
        fresh.held_until = now.mono + guest_claim_time;
    }
    insert(port, mac, std::move(fresh));
    touch(port, now.mono);
}

/// The host's table never prolongs: the kernel keeps entries of neighbours that are long gone.
void GuestTable::refresh(KnownPort& port,
                         const KnownMac& mac,
                         KnownAddress& known,
                         const Sighting& sighting,
                         const Instant& now) {
    if (sighting.how == LearntBy::host_table) {
        return;
    }
    const bool news = !known.confirmed || known.how == LearntBy::run_time_file;
    if (news) {
        known.how = sighting.how;
    }
    hear_address(port, mac, known, sighting.in_use, now);
    if (news) {
        touch(port, now.mono);
    }
}

void GuestTable::hear_address(
    KnownPort& port, const KnownMac& mac, KnownAddress& known, bool in_use, const Instant& now) {
    known.heard = now.mono;
    known.heard_at_age = mac.age;
    known.last_seen = now.wall;
    known.confirmed = true;
    if (in_use && std::exchange(known.used, now.mono) < port.link_up) {
        touch(port, now.mono);
    }
}

/// Whether it may be any guest's.
bool GuestTable::is_admissible(const KnownPort& port, const IpAddress& address, MonoTime now) {
    const auto& devices = port.vnic.host_devices;
    if (!is_host_unicast(address)) {
        notices_.count(GuestRefusal::unusable_address);
        return false;
    }
    if (host_.is_own(address, devices)) {
        refuse_claim(port, address, GuestRefusal::host_address, "this host", now);
        return false;
    }
    if (host_.is_gateway(address, devices)) {
        refuse_claim(port, address, GuestRefusal::gateway_address, "a gateway", now);
        return false;
    }
    if (host_.is_broadcast(address, devices)) {
        notices_.count(GuestRefusal::unusable_address);
        return false;
    }
    return true;
}

/// Whether the address is free, or its owner silent for so long that it is taken from it.
bool GuestTable::settle_claim(KnownPort& port, const ClaimKey& key, const Instant& now) {
    const auto claimed = claims_.find(key);
    if (claimed == claims_.end()) {
        return true;
    }
    KnownPort& other = ports_.at(claimed->second.port);
    KnownMac& owner = *other.find(claimed->second.mac);
    const Duration silent = now.mono - owner.find(key.address, key.vlan)->heard;
    if (&other == &port) {
        if (silent < silence_within_port_) {
            notices_.count(GuestRefusal::contested_address);
            return false;
        }
        erase_address(port, owner, key.address, key.vlan);
        return true;
    }
    if (silent < silence_) {
        refuse_claim(
            port, key.address, GuestRefusal::guest_address, who(other, now.mono), now.mono);
        return false;
    }
    const std::uint64_t matter = ~((port.vnic.generation << 32U) ^ key.address.hash());
    if (notices_.is_news(matter, now.mono)) {
        notices_.say({LogLevel::notice,
                      fmt::format("{} has {} now, which {} did not use for {} s",
                                  who(port, now.mono),
                                  key.address.to_string(),
                                  who(other, now.mono),
                                  std::chrono::duration_cast<std::chrono::seconds>(silent).count()),
                      address_taken_message,
                      {{"REACHD_DEVICE", port.vnic.device}}});
    }
    erase_address(other, owner, key.address, key.vlan);
    touch(other, now.mono);
    return true;
}

/// A full MAC gives up an address that is not probed anyway, or a silent one; a full port a silent
/// one of any of its MACs.
bool GuestTable::make_room_for_address(KnownPort& port, const MacAddress& mac, MonoTime now) {
    KnownMac& claimant = *port.find(mac);
    const auto may_go = [&](const MacAddress& whose, KnownMac& known, const KnownAddress& address) {
        const Bar bar = bar_of(port, whose, known, address);
        const bool barred = bar != Bar::none && bar != Bar::macvtap;
        return now - address.heard >= (barred ? silence_within_port_ : silence_);
    };
    if (claimant.addresses.size() >= addresses_per_mac_max) {
        const auto oldest =
            std::min_element(claimant.addresses.begin(),
                             claimant.addresses.end(),
                             [&](const KnownAddress& a, const KnownAddress& b) {
                                 return std::pair(!may_go(mac, claimant, a), a.heard) <
                                        std::pair(!may_go(mac, claimant, b), b.heard);
                             });
        if (!may_go(mac, claimant, *oldest)) {
            return false;
        }
        erase_address(port, claimant, IpAddress(oldest->address), oldest->vlan);
    }
    if (port.addresses < addresses_per_port_max && claims_.size() < addresses_max) {
        return true;
    }
    if (now < port.crowded_until) {
        return false;
    }
    port.crowded_until = now + guest_room_pause;
    for (auto& [whose, known] : port.macs) {
        for (const KnownAddress& address : known.addresses) {
            if (may_go(whose, known, address)) {
                erase_address(port, known, IpAddress(address.address), address.vlan);
                return true;
            }
        }
    }
    return false;
}

/// Nobody has it, and there is room.
void GuestTable::insert(KnownPort& port, const MacAddress& mac, KnownAddress address) {
    KnownMac& owner = *port.find(mac);
    // It may have asked for the address before this was known to be its own.
    address.held_until = std::max(address.held_until, owner.held_until(address.address));
    claims_[key_of(port, address)] = {port.vnic.index, mac};
    ++port.addresses;
    owner.addresses.push_back(std::move(address));
}

void GuestTable::erase_address(KnownPort& port,
                               KnownMac& mac,
                               const IpAddress& address,
                               std::uint16_t vlan) {
    std::erase_if(mac.addresses, [&](const KnownAddress& known) {
        const bool gone = known.address == address && known.vlan == vlan;
        if (gone) {
            release(port, known);
        }
        return gone;
    });
}

/// It is about to go: nobody has it any more, nor its series.
void GuestTable::release(KnownPort& port, const KnownAddress& address) {
    forget_series(port, address);
    claims_.erase(key_of(port, address));
    --port.addresses;
}

void GuestTable::refuse_claim(const KnownPort& port,
                              const IpAddress& address,
                              GuestRefusal why,
                              std::string_view whose,
                              MonoTime now) {
    notices_.count(why);
    const std::uint64_t matter =
        (port.vnic.generation << 36U) ^ (static_cast<std::uint64_t>(why) << 32U) ^ address.hash();
    if (!notices_.is_news(matter, now)) {
        return;
    }
    notices_.say(
        {LogLevel::warning,
         fmt::format(
             "{} claims {}, an address of {}: refused", who(port, now), address.to_string(), whose),
         claim_refused_message,
         {{"REACHD_DEVICE", port.vnic.device}}});
}

void GuestTable::set_own_addresses(std::vector<InterfaceAddress> addresses,
                                   std::vector<IpAddress> gateways,
                                   const Instant& now) {
    if (!host_.set(std::move(addresses), std::move(gateways))) {
        return;
    }
    for (auto& [index, port] : ports_) {
        drop_inadmissible(port, now.mono);
    }
    touch_all(now.mono);
}

void GuestTable::drop_inadmissible(KnownPort& port, MonoTime now) {
    for (auto& [mac, known] : port.macs) {
        std::erase_if(known.addresses, [&](const KnownAddress& address) {
            const bool gone = !is_admissible(port, address.address, now);
            if (gone) {
                release(port, address);
            }
            return gone;
        });
    }
}

}  // namespace reachd
