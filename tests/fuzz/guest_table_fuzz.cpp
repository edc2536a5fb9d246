// Fuzz target: what guests, the bridge, the process table and the run-time file may say, in any
// order and at any time. Whatever they say, the inventory stays within its limits, nobody has the
// host's address, and no two targets share a series.
//
//   input = events of 8 bytes: what happens, on which port, a MAC, three bytes of an address, ...
#include "agent/guest_table.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/bytes.hpp"
#include "common/check.hpp"

namespace reachd {
namespace {

constexpr std::size_t event_bytes = 8;
constexpr std::size_t events_max = 2000;
constexpr IfIndex bridge = static_cast<IfIndex>(2);

MacAddress mac_of(std::uint8_t number) {
    return MacAddress({static_cast<std::uint8_t>(number == 0xff ? 1 : 2), 0, 0, 0, 0, number});
}

IpAddress address_of(ByteView bytes) {
    if (bytes[0] % 4 == 0) {
        const std::uint8_t first = bytes[1] % 2 == 0 ? std::uint8_t{0xfe} : std::uint8_t{0x20};
        return IpAddress::v6({first, 0x80, 0, 0, 0, 0, 0, 0, bytes[1], 3, 4, 5, 6, 7, 8, bytes[2]});
    }
    return IpAddress::v4({bytes[1] % 8 == 0 ? bytes[0] : std::uint8_t{10}, 0, bytes[1], bytes[2]});
}

Vnic port_of(std::uint8_t number, std::uint8_t variety) {
    Vnic vnic;
    vnic.index = static_cast<IfIndex>(10U + number % 8U);
    vnic.generation = 1U + variety % 2U;
    vnic.device = "vnet" + std::to_string(number % 8);
    const bool lost = (variety & 2U) != 0;
    vnic.bridge = lost ? IfIndex::any : bridge;
    vnic.segment = lost ? vnic.index : static_cast<IfIndex>((variety & 4U) != 0 ? 3 : 2);
    vnic.vlan = (variety & 8U) != 0 ? 20 : 0;
    vnic.zone_name = lost ? vnic.device : "br0";
    vnic.host_devices.assign(lost ? 0 : 1, bridge);
    vnic.up = (variety & 16U) != 0;
    vnic.may_send = (variety & 32U) == 0;
    vnic.kind = vnic.may_send ? LinkKind::tap : LinkKind::macvtap;
    return vnic;
}

class Run {
  public:
    void handle(ByteView event) {
        const IfIndex port = static_cast<IfIndex>(10U + event[1] % 8U);
        const MacAddress mac = mac_of(event[2]);
        const IpAddress address = address_of(event.subspan(3));
        switch (event[0] % 10) {
            case 0: change_ports(event); break;
            case 1: learn(event, port, mac); break;
            case 2: identify(event); break;
            case 3: set_host(address); break;
            case 4: table_.on_host_neighbour(bridge, address, mac, now_); break;
            case 5: table_.on_seen(port, 1U + event[2] % 2U, address, now_); break;
            case 6: restore(event, mac, address); break;
            default: hear(event, port, mac, address); break;
        }
        pass(event[7]);
    }

    void check() const {
        std::vector<GuestSnapshot> guests;
        table_.snapshot(guests, now_);
        for (const GuestSnapshot& guest : guests) {
            ENSURE(guest.macs.size() <= GuestTable::macs_per_port_max);
            ENSURE(guest.addresses.size() <= GuestTable::addresses_per_port_max);
            std::map<MacAddress, std::size_t> count;
            for (const GuestAddressSnapshot& address : guest.addresses) {
                ENSURE(++count[address.mac] <= GuestTable::addresses_per_mac_max);
            }
        }
        std::set<std::pair<std::string, std::string>> series;
        for (const GuestTarget& target : table_.targets()) {
            IpAddress plain = target.address;
            plain.set_scope(IfIndex::any);
            ENSURE(plain.is_link_local_v6() || plain != own_);
            ENSURE(!target.name.empty() && !target.mac.is_group());
            ENSURE(series.insert({target.name, target.address_text}).second);
        }
    }

    void finish() {
        check();
        table_.set_ports({}, now_);
        ENSURE(table_.mac_count() == 0 && table_.address_count() == 0);
    }

  private:
    void learn(ByteView event, IfIndex port, const MacAddress& mac) {
        const auto vlan = static_cast<std::uint16_t>(event[4] % 8U * 10U);
        if (event[3] % 8 == 7) {
            table_.set_fdb(port, {{mac, vlan}}, now_);
        } else {
            table_.on_fdb(port, {mac, vlan}, event[3] % 4 != 0, now_);
        }
    }

    void pass(std::uint8_t amount) {
        const Duration step = amount < 128 ? std::chrono::milliseconds(amount)
                                           : Duration(std::chrono::seconds((amount - 128) * 20));
        now_ = {now_.mono + step, now_.wall + step};
        table_.advance(now_);
        logs_.clear();
        table_.take_logs(now_.mono, logs_);
        ENSURE(table_.next_deadline() > now_.mono);
    }

    void change_ports(ByteView event) {
        std::vector<Vnic> ports;
        for (std::uint8_t i = 0; i < 6; ++i) {
            if ((event[1] >> i) % 2 != 0) {
                ports.push_back(port_of(i, event[2U + i % 5U]));
            }
        }
        table_.set_ports(std::move(ports), now_);
    }

    void identify(ByteView event) {
        GuestIdentity identity;
        identity.name = identity.vm = event[3] % 4 == 0 ? "" : "vm" + std::to_string(event[3] % 4);
        for (std::size_t i = 4; i < 4U + event[3] % 3U; ++i) {
            identity.macs.push_back(mac_of(event[i]));
        }
        const auto port = static_cast<IfIndex>(10U + event[1] % 8U);
        table_.set_vm(port, 1U + event[2] % 2U, std::move(identity), now_);
    }

    void set_host(const IpAddress& address) {
        own_ = address;
        InterfaceAddress own;
        own.device = bridge;
        own.address = address;
        own.prefix_length = address.family() == Family::ipv4 ? 16 : 64;
        table_.set_own_addresses({own}, {}, now_);
    }

    void restore(ByteView event, const MacAddress& mac, const IpAddress& address) {
        const WallTime seen = now_.wall - std::chrono::minutes(event[6] % 70);
        table_.restore({"vnet" + std::to_string(event[1] % 8), {}, mac, address, seen, seen}, now_);
    }

    void hear(ByteView event, IfIndex port, const MacAddress& mac, const IpAddress& address) {
        NeighbourFrame frame;
        frame.kind = static_cast<NeighbourFrame::Kind>(event[6] % 6);
        frame.frame_source = frame.mac = mac;
        if ((event[6] & 8U) != 0) {
            frame.frame_source = mac_of(event[5]);
        }
        frame.target = address;
        if ((event[6] & 16U) != 0) {
            frame.address = address;
            frame.target = IpAddress::v4({10, 0, 0, 1});
        }
        frame.vlan = (event[6] & 32U) != 0 ? 20 : 0;
        frame.solicited = (event[6] & 64U) != 0;
        table_.on_frame(port, frame, now_);
    }

    Instant now_{MonoTime(std::chrono::hours(1)), WallTime(std::chrono::hours(400'000))};
    GuestTable table_;
    IpAddress own_;
    std::vector<LogRecord> logs_;
};

}  // namespace
}  // namespace reachd

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const reachd::ByteView input(data, size);
    reachd::Run run;
    const std::size_t events = std::min(size / reachd::event_bytes, reachd::events_max);
    for (std::size_t i = 0; i < events; ++i) {
        run.handle(input.subspan(i * reachd::event_bytes, reachd::event_bytes));
        run.check();
    }
    run.finish();
    return 0;
}
