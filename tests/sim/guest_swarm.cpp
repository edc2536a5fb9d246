#include "tests/sim/guest_swarm.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace reachd::sim {
namespace {

constexpr int first_bridge = 200;
constexpr int second_bridge = 201;
constexpr int first_port = 210;
constexpr const char* gateway = "10.0.9.1";

MacAddress guest_mac(std::size_t number) {
    return MacAddress({0x52, 0x54, 0x00, 0x00, 0x01, static_cast<std::uint8_t>(number)});
}

IpAddress own_v4() {
    return IpAddress::v4({172, 28, 0, 1});
}

IpAddress v6_address(std::uint16_t prefix, std::uint8_t number) {
    return IpAddress::v6({static_cast<std::uint8_t>(prefix >> 8U),
                          static_cast<std::uint8_t>(prefix),
                          0,
                          0,
                          0,
                          0,
                          0,
                          0,
                          0,
                          0,
                          0,
                          0,
                          0,
                          0,
                          1,
                          number});
}

}  // namespace

void GuestSwarm::draw_config(Config& config) {
    config.arp.interval = pick(std::array<Duration, 4>{1s, 1s, 500ms, 2s});
    config.arp.timeout = pick(std::array<Duration, 3>{500ms, 500ms, 200ms});
    if (one_in(4)) {
        config.arp.sender = IpAddress::v4({172, 28, 0, 250});
    }
    config.limits.guests = one_in(6) ? 1 + below(6) : config.limits.guests;
    config.discover_gateways = false;  // which would be asked by ARP too
}

void GuestSwarm::draw(World& world, Duration duration) {
    world_ = &world;
    duration_ = duration;
    draw_hosts();
    const int ports = 1 + static_cast<int>(below(6));
    next_index_ = first_port + ports;
    for (int i = 0; i < ports; ++i) {
        draw_port(i);
    }
    if (one_in(3)) {
        draw_restored();
    }
    for (std::size_t guest = 0; guest < guests().size(); ++guest) {
        at(between(0s, 3s), [this, guest] { talk(guest); });
    }
    for (std::uint32_t faults = below(9); faults > 0; --faults) {
        draw_fault();
    }
}

void GuestSwarm::draw_hosts() {
    guests().add_bridge(first_bridge, "vmbr0");
    guests().add_bridge(second_bridge, "vmbr1");
    if (one_in(2)) {
        guests().add_own_address(first_bridge, own_v4(), 16);
    }
    if (one_in(3)) {
        guests().add_own_address(first_bridge, v6_address(0xfd28, 0), 64);
    }
    guests().faults.lookup_time = pick(std::array<Duration, 3>{3ms, 50ms, 1500ms});
    guests().faults.vain_lookups = one_in(3) ? below(5) : 0;
    guests().faults.open_failure = one_in(10) ? always / 4 : 0;
}

void GuestSwarm::draw_port(int number) {
    const int index = first_port + number;
    const std::string name = fmt::format("vnet{}", number);
    guests().add_port(index, name, one_in(3) ? second_bridge : first_bridge);
    ports_.push_back(index);
    now_at_.push_back(index);
    if (!one_in(4)) {
        guests().set_owner(name, one_in(5) ? "twin" : fmt::format("vm{}", number));
    }
    for (std::uint32_t i = one_in(4) ? 2 + below(2) : 1; i > 0; --i) {
        draw_guest(index);
    }
}

void GuestSwarm::draw_guest(int port) {
    const auto number = static_cast<std::uint8_t>(guests().size() + 1);
    Guest guest;
    guest.mac = guest_mac(number);
    guest.port = port;
    guest.addresses = {IpAddress::v4({172, 28, 1, number})};
    if (one_in(2)) {
        guest.addresses.push_back(v6_address(0xfe80, number));
    }
    if (one_in(3)) {
        guest.addresses.push_back(v6_address(0xfd28, number));
    }
    guest.answer_after = pick(std::array<Duration, 4>{50us, 100us, 1ms, 20ms});
    guests().add(std::move(guest));
}

/// Some of it is right; the rest is of other guests, or made up.
void GuestSwarm::draw_restored() {
    std::vector<GuestAddressRecord> records;
    for (const auto& [index, port] : guests().ports()) {
        const Guest& guest = guests()[any_guest()];
        GuestAddressRecord record;
        record.device = port.name;
        record.mac = guest.mac;
        record.address = one_in(4) ? own_v4() : guest.addresses.front();
        record.first_seen = record.last_seen = WallTime(1'700'000'000s) - between(1s, 2000s);
        records.push_back(record);
    }
    guests().restore(std::move(records), *world_->agent);
}

/// Ordinary traffic, now and then, to the end of the world.
void GuestSwarm::talk(std::size_t guest) {
    guests().use(guest);
    at(between(1s, 4s), [this, guest] { talk(guest); });
}

int GuestSwarm::any_port() {
    return static_cast<int>(below(static_cast<std::uint32_t>(ports_.size())));
}

std::size_t GuestSwarm::any_guest() {
    return below(static_cast<std::uint32_t>(guests().size()));
}

void GuestSwarm::draw_fault() {
    switch (below(8)) {
        case 0:
        case 1:
        case 2: draw_guest_fault(any_guest()); break;
        case 3:
        case 4: draw_port_fault(any_port()); break;
        case 5:
        case 6: draw_lies(any_guest()); break;
        default: draw_own_fault(); break;
    }
}

void GuestSwarm::draw_guest_fault(std::size_t guest) {
    const Duration from = between(0s, duration_);
    const Duration length = between(100ms, pick(std::array<Duration, 3>{1s, 5s, 20s}));
    switch (below(7)) {
        case 0:
        case 1:
            at(from, [this, guest] { guests().hang(guest); });
            at(std::min(from + length, duration_), [this, guest] { guests().resume(guest); });
            break;
        case 2: at(from, [this, guest, length] { guests().reboot(guest, length); }); break;
        case 3:
            at(from, [this, guest, port = any_port()] {
                guests().move(guest, now_at_[static_cast<std::size_t>(port)]);
            });
            break;
        case 4:
            at(from, [this, guest, number = next_address_++] {
                guests().change_address(guest, IpAddress::v4({172, 28, 2, number}));
            });
            break;
        case 5:
            at(from, [this, guest, number = next_address_++, v6 = one_in(2)] {
                guests().check(
                    guest, v6 ? v6_address(0xfd28, number) : IpAddress::v4({172, 28, 2, number}));
            });
            break;
        default:
            at(from,
               [this,
                guest,
                loss = pick(std::array<std::uint32_t, 3>{0, 100'000, 500'000}),
                after = pick(std::array<Duration, 3>{100us, 100ms, 700ms})] {
                   guests().set_quality(guest, loss, after);
               });
            break;
    }
}

/// The guests behind it go along.
void GuestSwarm::replace_port(int port, bool same_index) {
    int& index = now_at_[static_cast<std::size_t>(port)];
    const Guests::Port old = guests().ports().at(index);
    const int fresh = same_index ? index : next_index_++;
    guests().remove_port(index);
    guests().add_port(fresh, old.name, old.bridge);
    for (std::size_t guest = 0; guest < guests().size(); ++guest) {
        if (guests()[guest].port == index) {
            guests().move(guest, fresh);
        }
    }
    index = fresh;
}

void GuestSwarm::draw_port_fault(int port) {
    const auto place = static_cast<std::size_t>(port);
    const Duration from = between(0s, duration_);
    const Duration length = between(10ms, pick(std::array<Duration, 3>{300ms, 3s, 20s}));
    switch (below(4)) {
        case 0:
        case 1:
            at(from, [this, place] { guests().set_port_up(now_at_[place], false); });
            at(std::min(from + length, duration_),
               [this, place] { guests().set_port_up(now_at_[place], true); });
            break;
        case 2:
            at(from, [this, place, number = next_address_++] {
                guests().rename_port(now_at_[place], fmt::format("tap{}", number));
            });
            break;
        default: at(from, [this, port, same = one_in(2)] { replace_port(port, same); }); break;
    }
}

void GuestSwarm::draw_lies(std::size_t liar) {
    const std::size_t victim = any_guest();
    switch (below(6)) {
        case 0: later([this, liar] { guests().forge(liar, own_v4(), guests()[liar].mac); }); break;
        case 1:
            later([this, liar] {
                guests().forge(liar, *IpAddress::parse(gateway), guests()[liar].mac);
            });
            break;
        case 2:
        case 3: {
            // Its address, or all that it is.
            const bool both = one_in(2);
            for (std::uint32_t times = 1 + below(20); times > 0; --times) {
                later([this, liar, victim, both] {
                    if (guests()[victim].addresses.empty() || liar == victim) {
                        return;
                    }
                    const IpAddress address = guests()[victim].addresses.front();
                    guests().forge(liar, address, guests()[both ? victim : liar].mac);
                });
            }
            break;
        }
        default:
            later([this, liar, addresses = 50 + below(1500), macs = one_in(2) ? below(150) : 0] {
                guests().flood(liar, addresses, macs);
            });
            break;
    }
}

void GuestSwarm::draw_own_fault() {
    GuestFaults& faults = guests().faults;
    const Duration from = between(0s, duration_);
    const Duration to = std::min(from + between(100ms, 5s), duration_);
    const auto chance = pick(std::array<std::uint32_t, 3>{10'000, 300'000, always});
    switch (below(4)) {
        case 0:
            at(from, [&faults, chance] { faults.busy = chance; });
            at(to, [&faults] { faults.busy = 0; });
            break;
        case 1:
            at(from, [&faults, chance] { faults.stamp_missing = chance; });
            at(to, [&faults] { faults.stamp_missing = 0; });
            break;
        case 2:
            at(from, [&faults, size = 1 + below(4)] { faults.buffer_frames = size; });
            at(to, [&faults] { faults.buffer_frames = GuestFaults{}.buffer_frames; });
            break;
        default:
            at(from, [this, time = between(10ms, pick(std::array<Duration, 3>{300ms, 1s, 6s}))] {
                world_->starve(time);
            });
            break;
    }
}

}  // namespace reachd::sim
