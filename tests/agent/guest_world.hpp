// A hypervisor in a nutshell for tests of the guest inventory: ports, frames and time by a few
// words each.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/guest_table.hpp"

namespace reachd::test {

using namespace std::chrono_literals;

inline IpAddress ip(std::string_view text) {
    return IpAddress::parse(text).value();
}

using Texts = std::vector<std::string>;

inline MacAddress mac(std::string_view text) {
    return MacAddress::parse(text).value();
}

/// 52:54:00 and the number.
inline MacAddress guest_mac(unsigned number) {
    return MacAddress({0x52,
                       0x54,
                       0x00,
                       static_cast<std::uint8_t>(number >> 16U),
                       static_cast<std::uint8_t>(number >> 8U),
                       static_cast<std::uint8_t>(number)});
}

inline const MacAddress web = guest_mac(1);
inline const MacAddress db = guest_mac(2);

inline IfIndex device(unsigned index) {
    return static_cast<IfIndex>(index);
}

inline constexpr IfIndex br0 = static_cast<IfIndex>(2);

/// A tap in br0.
inline Vnic tap(unsigned index, std::uint64_t generation = 1) {
    Vnic vnic;
    vnic.index = device(index);
    vnic.generation = generation * 1000 + index;
    vnic.device = "vnet" + std::to_string(index);
    vnic.bridge = vnic.uplink_bridge = vnic.segment = vnic.zone = br0;
    vnic.bridge_name = vnic.uplink_bridge_name = vnic.zone_name = "br0";
    vnic.host_devices = {br0};
    vnic.mac = mac("fe:54:00:00:00:01");
    vnic.up = true;
    return vnic;
}

/// As guest_ports() shows a port that left its bridge.
inline Vnic without_bridge(Vnic vnic) {
    vnic.bridge = vnic.uplink_bridge = IfIndex::any;
    vnic.bridge_name.clear();
    vnic.uplink_bridge_name.clear();
    vnic.segment = vnic.zone = vnic.index;
    vnic.zone_name = vnic.device;
    vnic.host_devices.clear();
    return vnic;
}

inline NeighbourFrame frame(NeighbourFrame::Kind kind,
                            const MacAddress& from,
                            const IpAddress& address,
                            const IpAddress& target) {
    NeighbourFrame made;
    made.kind = kind;
    made.frame_source = made.mac = from;
    made.address = address;
    made.target = target;
    return made;
}

/// Asks for another address: ordinary use.
inline NeighbourFrame request(const MacAddress& from,
                              std::string_view address,
                              std::string_view target = "10.77.0.99") {
    return frame(NeighbourFrame::Kind::arp_request, from, ip(address), ip(target));
}

/// Gratuitous ARP.
inline NeighbourFrame announcement(const MacAddress& from, std::string_view address) {
    return request(from, address, address);
}

inline NeighbourFrame arp_probe(const MacAddress& from, std::string_view target) {
    return request(from, "0.0.0.0", target);
}

/// Asks for another address: ordinary use.
inline NeighbourFrame solicitation(const MacAddress& from,
                                   std::string_view address,
                                   std::string_view target = "2001:db8::99") {
    return frame(NeighbourFrame::Kind::solicitation, from, ip(address), ip(target));
}

inline NeighbourFrame advertisement(const MacAddress& from,
                                    std::string_view address,
                                    bool solicited) {
    auto made = frame(NeighbourFrame::Kind::advertisement, from, ip(address), {});
    made.solicited = solicited;
    return made;
}

inline NeighbourFrame dhcp(NeighbourFrame::Kind kind,
                           const MacAddress& client,
                           std::string_view address,
                           std::optional<MacAddress> server = {}) {
    const bool asks = kind == NeighbourFrame::Kind::dhcp_request;
    auto made = asks ? frame(kind, client, {}, ip(address)) : frame(kind, client, ip(address), {});
    made.frame_source = server.value_or(client);
    return made;
}

inline InterfaceAddress own(IfIndex on, std::string_view address, std::uint8_t length) {
    InterfaceAddress made;
    made.device = on;
    made.address = ip(address);
    if (made.address.is_link_local_v6()) {
        made.address.set_scope(on);
    }
    made.prefix_length = length;
    return made;
}

inline GuestIdentity machine(std::string_view name, std::vector<MacAddress> macs = {}) {
    GuestIdentity identity;
    identity.name = identity.vm = name;
    identity.macs = std::move(macs);
    return identity;
}

/// The table and the clock beside it.
class GuestWorld {
  public:
    explicit GuestWorld(GuestDiscoveryConfig config = {}) : table(std::move(config)) {}

    Instant now{MonoTime(1000s), WallTime(1'700'000'000s)};
    GuestTable table;

    /// Time passes, and the table is told whenever it wants to be.
    void pass(Duration duration) {
        const Instant end{now.mono + duration, now.wall + duration};
        while (table.next_deadline() <= end.mono) {
            const Duration step = std::max(table.next_deadline() - now.mono, Duration{});
            now = {now.mono + step, now.wall + step};
            table.advance(now);
            std::vector<LogRecord> records;
            table.take_logs(now.mono, records);
            logs.insert(logs.end(), records.begin(), records.end());
        }
        now = end;
    }

    void ports(std::vector<Vnic> all) { table.set_ports(std::move(all), now); }

    void hear(unsigned port, const NeighbourFrame& heard) {
        table.on_frame(device(port), heard, now);
    }

    void learn(unsigned port,
               const MacAddress& address,
               bool added = true,
               std::uint16_t vlan = 0) {
        table.on_fdb(device(port), {address, vlan}, added, now);
    }

    void identify(const Vnic& port, const GuestIdentity& identity) {
        table.set_vm(port.index, port.generation, identity, now);
    }

    void host(std::vector<InterfaceAddress> addresses, std::vector<IpAddress> gateways = {}) {
        table.set_own_addresses(std::move(addresses), std::move(gateways), now);
    }

    std::vector<GuestSnapshot> snapshot() const {
        std::vector<GuestSnapshot> guests;
        table.snapshot(guests, now);
        return guests;
    }

    /// "vnet10 10.77.0.10 web01", with " in N s" where it is to wait.
    std::vector<std::string> targets() const {
        std::vector<std::string> texts;
        for (const GuestTarget& target : table.targets()) {
            std::string text = target.device + " " + target.address_text + " " + target.name;
            if (target.probe_from > now.mono) {
                const auto wait =
                    std::chrono::ceil<std::chrono::seconds>(target.probe_from - now.mono);
                text += " in " + std::to_string(wait.count()) + " s";
            }
            texts.push_back(text);
        }
        return texts;
    }

    /// "vnet10 52:54:00:00:00:01 10.77.0.10 (reason)" of all that are listed.
    std::vector<std::string> addresses() const {
        std::vector<std::string> texts;
        for (const GuestSnapshot& guest : snapshot()) {
            for (const GuestAddressSnapshot& address : guest.addresses) {
                std::string text =
                    guest.device + " " + address.mac.to_string() + " " + address.address;
                if (!address.not_probed.empty()) {
                    text += " (" + address.not_probed + ")";
                }
                texts.push_back(text);
            }
        }
        return texts;
    }

    std::uint64_t refused(GuestRefusal why) const {
        for (const NamedCount& count : table.refusals()) {
            if (count.name == to_text(why)) {
                return count.count;
            }
        }
        return 0;
    }

    std::vector<std::string> take_logs() {
        std::vector<LogRecord> records;
        table.take_logs(now.mono, records);
        logs.insert(logs.end(), records.begin(), records.end());
        std::vector<std::string> texts;
        for (const LogRecord& record : logs) {
            texts.push_back(record.message);
        }
        logs.clear();
        return texts;
    }

    std::vector<LogRecord> logs;
};

/// web01 on vnet10 and db1 on vnet11, each with its MAC, without addresses, for a minute.
inline GuestWorld two_guests() {
    GuestWorld world;
    world.ports({tap(10), tap(11)});
    world.learn(10, web);
    world.learn(11, db);
    world.identify(tap(10), machine("web01"));
    world.identify(tap(11), machine("db1"));
    world.pass(60s);
    return world;
}

/// The same, and the targets that they are by then.
inline GuestWorld two_probed_guests() {
    GuestWorld world = two_guests();
    world.hear(10, request(web, "10.77.0.10"));
    world.hear(11, request(db, "10.77.0.11"));
    world.pass(2s);
    return world;
}

inline const Texts both{"vnet10 10.77.0.10 web01", "vnet11 10.77.0.11 db1"};

inline std::vector<MacAddress> macs(const GuestWorld& world, unsigned port) {
    return world.table.macs_of(device(port));
}

}  // namespace reachd::test
