#include "tests/sim/guests.hpp"

#include <algorithm>
#include <utility>

namespace reachd::sim {
namespace {

constexpr unsigned arp_probes = 3;  ///< RFC 5227, section 1.1; IPv6 asks once (RFC 4862)
constexpr Duration probe_spacing = 1s;
/// Made-up frames of a flood in one go; the rest comes as fast as a virtual NIC goes.
constexpr unsigned flood_frames_at_once = 200;
constexpr Duration flood_pause = 10ms;

const MacAddress everybody({0xff, 0xff, 0xff, 0xff, 0xff, 0xff});

MacAddress mac_of_device(std::uint8_t kind, int index) {
    return MacAddress({kind,
                       0x54,
                       0x00,
                       0x00,
                       static_cast<std::uint8_t>(index >> 8),
                       static_cast<std::uint8_t>(index)});
}

IpAddress unspecified(Family family) {
    return family == Family::ipv4 ? IpAddress() : IpAddress::v6({});
}

/// Whom guests ask in everyday life: nobody that the agent knows.
IpAddress somebody(Family family) {
    return family == Family::ipv4
               ? IpAddress::v4({172, 28, 255, 254})
               : IpAddress::v6({0xfd, 0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe});
}

NeighbourFrame question(const MacAddress& mac, const IpAddress& own, const IpAddress& target) {
    NeighbourFrame frame;
    frame.kind = target.family() == Family::ipv4 ? NeighbourFrame::Kind::arp_request
                                                 : NeighbourFrame::Kind::solicitation;
    frame.frame_source = frame.mac = mac;
    frame.frame_destination = everybody;
    frame.address = own;
    frame.target = target;
    return frame;
}

NeighbourFrame announcement(const MacAddress& mac, const IpAddress& address) {
    NeighbourFrame frame = question(mac, address, address);
    if (address.family() == Family::ipv6) {
        frame.kind = NeighbourFrame::Kind::advertisement;
        frame.target = *IpAddress::parse("ff02::1");
    }
    return frame;
}

NeighbourFrame answer_to(const NeighbourTarget& target) {
    NeighbourFrame frame;
    const bool arp = target.address.family() == Family::ipv4;
    frame.kind = arp ? NeighbourFrame::Kind::arp_reply : NeighbourFrame::Kind::advertisement;
    frame.solicited = !arp;
    frame.frame_source = frame.mac = mac_of(target);
    frame.frame_destination = target.sender_mac;
    frame.address = target.address.without_scope();
    frame.target = target.sender.without_scope();
    return frame;
}

}  // namespace

Guests::Guests(std::uint64_t seed, const Instant& now, Kernel& kernel, Audit& whole)
    : audit(whole, *this),
      now_(now),
      kernel_(kernel),
      random_(seed) {}

void Guests::plan(Duration after, std::function<void()> what) {
    plans_.emplace(now_.mono + after, std::move(what));
}

/// Void once the guest has begun another life.
void Guests::plan(std::size_t place, Duration after, std::function<void()> what) {
    plan(after, [this, place, life = guests_[place].life, what = std::move(what)] {
        if (guests_[place].life == life) {
            what();
        }
    });
}

void Guests::advance() {
    while (!plans_.empty() && plans_.begin()->first <= now_.mono) {
        const std::function<void()> what = std::move(plans_.begin()->second);
        plans_.erase(plans_.begin());
        what();
    }
}

// --- The host ------------------------------------------------------------------------------------

void Guests::add_bridge(int index, const std::string& name) {
    bridges_.insert(index);
    test::LinkFacts link{.index = index, .name = name, .kind = "bridge"};
    link.mac = mac_of_device(0x02, index);
    kernel_.set_link(link, now_.mono);
}

void Guests::add_own_address(int bridge, const IpAddress& address, std::uint8_t prefix_length) {
    audit.note_own_address(address);
    InterfaceAddress own{static_cast<IfIndex>(bridge), address, prefix_length};
    kernel_.add_address(own, now_.mono);
}

test::LinkFacts Guests::facts_of(int index, const Port& port) const {
    test::LinkFacts link{.index = index, .name = port.name, .up = port.up};
    link.master = port.bridge;
    link.kind = "tun";
    link.tun_type = 2;
    link.oper_state = port.up ? IF_OPER_UP : IF_OPER_DOWN;
    link.mac = mac_of_device(0xfe, index);
    return link;
}

void Guests::add_port(int index, const std::string& name, int bridge) {
    Port& port = ports_[index];
    port = {name, bridge, next_serial_++, true, now_.mono, {}, now_.mono};
    kernel_.set_link(facts_of(index, port), now_.mono);
}

void Guests::remove_port(int index) {
    note("port {} is gone", index);
    ports_.erase(index);
    kernel_.remove_link(index, now_.mono);
}

void Guests::rename_port(int index, const std::string& name) {
    note("port {} is {} now", index, name);
    Port& port = ports_.at(index);
    port.name = name;
    disturb_port(index);
    kernel_.set_link(facts_of(index, port), now_.mono);
}

void Guests::set_port_up(int index, bool up) {
    Port& port = ports_.at(index);
    if (port.up == up) {
        return;
    }
    note("port {} {}", index, up ? "up" : "down");
    port.up = up;
    (up ? port.up_since : port.down_since) = now_.mono;
    disturb_port(index);
    kernel_.set_up(index, up, now_.mono);
}

void Guests::set_owner(const std::string& device, const std::string& name) {
    owners_[device] = name;
}

bool Guests::is_heard(int port) const {
    const auto ear = ears_.find(port);
    const auto device = ports_.find(port);
    return ear != ears_.end() && device != ports_.end() && ear->second == device->second.serial;
}

bool Guests::is_bridge(IfIndex device) const {
    return bridges_.contains(static_cast<int>(device));
}

// --- The guests ----------------------------------------------------------------------------------

std::size_t Guests::add(Guest guest) {
    guest.disturbed = now_.mono;
    guests_.push_back(std::move(guest));
    return guests_.size() - 1;
}

void Guests::disturb(std::size_t place) {
    guests_[place].disturbed = now_.mono;
}

void Guests::disturb_port(int index) {
    ports_.at(index).disturbed = now_.mono;
}

/// Out of the guest, into its port: the bridge learns, and so does who listens there.
void Guests::send(std::size_t place, NeighbourFrame frame, std::optional<NeighbourAnswer> answer) {
    const int index = guests_[place].port;
    const auto port = ports_.find(index);
    const bool heard = port != ports_.end() && port->second.up && is_heard(index);
    if (port != ports_.end() && port->second.up) {
        kernel_.learn(index, frame.frame_source, now_.mono);
        audit.note_behind(port->second.serial, frame.frame_source);
    }
    if (heard && unread_[index] < faults.buffer_frames) {
        ++unread_[index];
        inbox_.push_back({index, std::move(frame), {}, answer, now_.wall, now_.mono});
        return;
    }
    if (heard) {
        overflowed_.insert(index);
    }
    if (answer) {
        audit.note_answer_dropped(*answer, now_.mono);
    }
}

void Guests::use(std::size_t place) {
    const Guest& guest = guests_[place];
    for (const IpAddress& address : guest.addresses) {
        if (!guest.hung) {
            send(place, question(guest.mac, address, somebody(address.family())));
        }
    }
}

void Guests::announce(std::size_t place, const IpAddress& address) {
    send(place, announcement(guests_[place].mac, address));
}

void Guests::check(std::size_t place, const IpAddress& address) {
    note("guest {} checks {}", place, address.to_string());
    disturb(place);
    Guest& guest = guests_[place];
    std::erase(guest.addresses, address);
    guest.tentative = address;
    probe(place, address, address.family() == Family::ipv4 ? arp_probes : 1);
}

void Guests::probe(std::size_t place, const IpAddress& address, unsigned left) {
    disturb(place);
    send(place, question(guests_[place].mac, unspecified(address.family()), address));
    plan(place, probe_spacing, [this, place, address, left] {
        left > 1 ? probe(place, address, left - 1) : settle(place, address);
    });
}

void Guests::settle(std::size_t place, const IpAddress& address) {
    Guest& guest = guests_[place];
    guest.addresses.push_back(address);
    guest.tentative.reset();
    announce(place, address);
}

void Guests::hang(std::size_t place) {
    note("guest {} hangs", place);
    disturb(place);
    ++guests_[place].life;
    guests_[place].hung = true;
    guests_[place].tentative.reset();
    audit.expect(place, false, now_.mono);
}

void Guests::resume(std::size_t place) {
    note("guest {} goes on", place);
    disturb(place);
    guests_[place].hung = false;
    audit.expect(place, true, now_.mono);
}

void Guests::reboot(std::size_t place, Duration off) {
    hang(place);
    plan(place, off, [this, place] {
        note("guest {} is back", place);
        guests_[place].hung = false;
        const std::vector<IpAddress> addresses = guests_[place].addresses;
        Duration later{};
        for (const IpAddress& address : addresses) {  // one after the other
            plan(place, later, [this, place, address] { check(place, address); });
            later += (arp_probes + 1) * probe_spacing;
        }
    });
}

void Guests::move(std::size_t place, int port) {
    note("guest {} moves to port {}", place, port);
    disturb(place);
    guests_[place].port = port;
    ++guests_[place].life;
    guests_[place].tentative.reset();
    const std::vector<IpAddress> addresses = guests_[place].addresses;
    for (const IpAddress& address : addresses) {
        announce(place, address);  // as QEMU does for it
    }
}

void Guests::change_address(std::size_t place, const IpAddress& address) {
    guests_[place].addresses.clear();
    check(place, address);
}

void Guests::set_quality(std::size_t place, std::uint32_t loss, Duration answer_after) {
    disturb(place);
    guests_[place].loss = loss;
    guests_[place].answer_after = answer_after;
}

void Guests::forge(std::size_t place, const IpAddress& address, const MacAddress& mac) {
    guests_[place].is_liar = true;
    if (const auto port = ports_.find(guests_[place].port); port != ports_.end()) {
        port->second.lied_to = true;
    }
    audit.note_forged(address);
    send(place, question(mac, address, somebody(address.family())));
}

void Guests::flood(std::size_t place, unsigned addresses, unsigned macs) {
    guests_[place].is_liar = true;
    for (unsigned i = 0; i < addresses; ++i) {
        const auto number = random_.next();
        const auto byte = [number](unsigned at) { return static_cast<std::uint8_t>(number >> at); };
        const IpAddress address = IpAddress::v4({172, 28, byte(0), byte(8)});
        const MacAddress made_up({0x06, byte(16), byte(24), byte(32), byte(40), byte(48)});
        plan(i / flood_frames_at_once * flood_pause, [this, place, address, made_up, i, macs] {
            forge(place, address, i < macs ? made_up : guests_[place].mac);
        });
    }
}

void Guests::heal() {
    faults = {};
    for (std::size_t place = 0; place < guests_.size(); ++place) {
        set_quality(place, 0, Guest{}.answer_after);
        if (guests_[place].hung) {
            resume(place);
        }
    }
    for (const auto& [index, port] : ports_) {
        set_port_up(index, true);
    }
}

const Guest* Guests::owner_of(int port, const IpAddress& address) const {
    for (const Guest& guest : guests_) {
        const auto& own = guest.addresses;
        if (guest.port == port && std::find(own.begin(), own.end(), address) != own.end()) {
            return &guest;
        }
    }
    return nullptr;
}

std::optional<Duration> Guests::answers_echo(const IpAddress& address) {
    for (const Guest& guest : guests_) {
        const auto& own = guest.addresses;
        const auto port = ports_.find(guest.port);
        const bool there = port != ports_.end() && port->second.up && !guest.hung;
        if (there && std::find(own.begin(), own.end(), address.without_scope()) != own.end() &&
            !happens(guest.loss, random_)) {
            return guest.answer_after;
        }
    }
    return std::nullopt;
}

// --- The loop ------------------------------------------------------------------------------------

void Guests::drain(Agent& agent) {
    for (GuestsIdentified& event : identified_) {
        for (std::size_t i = 0; i < event.ports.size(); ++i) {
            const auto port = ports_.find(static_cast<int>(event.ports[i].index));
            for (const MacAddress& mac : event.identities[i].macs) {
                if (port != ports_.end()) {
                    audit.note_behind(port->second.serial, mac);
                }
            }
        }
        agent.handle(std::move(event), now_);
    }
    identified_.clear();
    for (const Heard& heard : inbox_) {
        if (heard.stamp_of) {
            agent.handle(NeighbourStamped{*heard.stamp_of, heard.stamp}, now_);
            continue;
        }
        const auto ear = ears_.find(heard.port);
        audit.note_read(ear == ears_.end() ? 0 : ear->second, heard.frame, now_.mono);
        if (heard.answer) {
            audit.note_answer_read(*heard.answer, heard.arrived, now_);
        }
        agent.handle(NeighbourHeard{static_cast<IfIndex>(heard.port), heard.frame, heard.stamp},
                     now_);
    }
    inbox_.clear();
    unread_.clear();
    for (const int port : overflowed_) {
        note("the buffer of port {} was full", port);
        audit.note_trouble(now_.mono);
        agent.handle(NeighbourOverflowed{static_cast<IfIndex>(port)}, now_);
    }
    overflowed_.clear();
}

void Guests::perform(Actions& actions, Agent& agent) {
    for (const NeighbourPort& port : actions.guest_ports.closed) {
        close(static_cast<int>(port.device));
    }
    for (const NeighbourPort& port : actions.guest_ports.opened) {
        open(port.device, agent);
    }
    for (const NeighbourRequest& request : actions.neighbour_requests) {
        ask(request, agent);
    }
    if (actions.guest_lookup) {
        look_up(std::move(*actions.guest_lookup));
    }
}

void Guests::open(IfIndex port, Agent& agent) {
    const int index = static_cast<int>(port);
    const auto device = ports_.find(index);
    if (device == ports_.end() || happens(faults.open_failure, random_)) {
        note("port {} cannot be listened on", index);
        agent.handle(GuestPortFailed{port, "No such device"}, now_);
        return;
    }
    note("listening on port {}", index);
    ears_[index] = device->second.serial;
}

/// What waits there is gone with the socket.
void Guests::close(int port) {
    ears_.erase(port);
    std::erase_if(inbox_, [&](const Heard& heard) {
        const bool gone = heard.port == port;
        if (gone && heard.answer) {
            audit.note_answer_dropped(*heard.answer, now_.mono);
        }
        return gone;
    });
    overflowed_.erase(port);
    unread_.erase(port);
}

std::optional<Duration> Guests::answer_of(const NeighbourTarget& target) {
    for (const Guest& guest : guests_) {
        const auto& own = guest.addresses;
        if (guest.port == static_cast<int>(target.device) && guest.mac == mac_of(target) &&
            !guest.hung &&
            std::find(own.begin(), own.end(), target.address.without_scope()) != own.end() &&
            !happens(guest.loss, random_)) {
            return guest.answer_after;
        }
    }
    return std::nullopt;
}

void Guests::ask(const NeighbourRequest& request, Agent& agent) {
    requests_.push_back(request);
    const int index = static_cast<int>(request.target.device);
    if (!is_heard(index) || !ports_.at(index).up) {
        audit.note_not_sent(request, now_.mono);
        agent.handle(ProbeNotSent{request.order, FailureReason::local_error}, now_);
        return;
    }
    if (happens(faults.busy, random_)) {
        audit.note_trouble(now_.mono);
        agent.handle(ProbeSkipped{request.order}, now_);
        return;
    }
    agent.handle(ProbeSent{request.order}, now_);
    const auto after = answer_of(request.target);
    note("{} on port {} asked for {}{}",
         mac_of(request.target).to_string(),
         index,
         request.target.address.to_string(),
         after ? "" : ", will not answer");
    audit.note_sent(request, after, now_.mono);
    if (!happens(faults.stamp_missing, random_)) {
        inbox_.push_back({index, {}, request.order.token, {}, now_.wall, now_.mono});
    }
    if (!after) {
        return;
    }
    const NeighbourAnswer answer{index,
                                 request.target.address.without_scope(),
                                 request.order.token,
                                 now_.mono,
                                 now_.wall.time_since_epoch() - now_.mono.time_since_epoch()};
    plan(*after, [this, answer, target = request.target] {
        for (std::size_t place = 0; place < guests_.size(); ++place) {
            if (guests_[place].mac == mac_of(target) && guests_[place].port == answer.port) {
                return send(place, answer_to(target), answer);
            }
        }
        audit.note_answer_dropped(answer, now_.mono);
    });
}

void Guests::look_up(GuestLookup lookup) {
    GuestsIdentified answer;
    answer.ports = std::move(lookup.ports);
    const bool in_vain = faults.vain_lookups > 0;
    faults.vain_lookups -= in_vain ? 1U : 0U;
    for (const GuestLookup::Port& port : answer.ports) {
        GuestIdentity& identity = answer.identities.emplace_back();
        const auto owner = owners_.find(port.facts.device);
        if (owner != owners_.end() && !in_vain) {
            identity.name = identity.vm = owner->second;
            identity.how = IdentifiedBy::tap_name;
        }
    }
    plan(faults.lookup_time, [this, answer = std::move(answer)] { identified_.push_back(answer); });
}

void Guests::restore(std::vector<GuestAddressRecord> records, Agent& agent) {
    for (const GuestAddressRecord& record : records) {
        audit.note_restored(record);
    }
    agent.handle(GuestsRestored{std::move(records)}, now_);
}

}  // namespace reachd::sim
