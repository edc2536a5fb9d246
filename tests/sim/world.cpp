#include "tests/sim/world.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "tests/sim/model.hpp"

namespace reachd::sim {
namespace {

constexpr EchoIdentifiers identifiers{0x4a50, 16};

/// A stall of more than the engine's threshold is noticed for sure.
constexpr Duration surely_stalled = ProbeEngine::stall_threshold + 2 * TimerWheel::tick;

/// Slewing clocks make stamps this wrong at most, over one probe.
constexpr Duration stamp_margin = 1ms;

constexpr std::size_t logs_max = 10'000;

/// Each use of the seed needs its own stream, or a change of one would change the others.
enum Stream : std::uint64_t {
    stream_large = 0,
    stream_network,
    stream_kernel,
    stream_world,
    stream_agent,
    stream_guests
};

std::uint64_t seed_of(std::uint64_t seed, Stream stream) {
    return Random(seed * 8 + stream).next();
}

}  // namespace

PeerConfig peer_config(const std::string& name, const std::string& address) {
    PeerConfig peer;
    peer.name = name;
    peer.address = address;
    return peer;
}

Config config_of(std::vector<PeerConfig> peers) {
    Config config;
    config.peers = std::move(peers);
    return config;
}

World::World(WorldOptions options)
    : network(seed_of(options.seed, stream_network)),
      kernel(seed_of(options.seed, stream_kernel)),
      large(seed_of(options.seed, stream_large), now_, network),
      audit(network, MonoTime(1000s)),
      start_(1000s),
      now_{MonoTime(1000s), WallTime(1'700'000'000s)},
      random_(seed_of(options.seed, stream_world)),
      look_interval_(options.look_interval),
      tracing_(options.trace) {
    if (options.guests) {
        guests =
            std::make_unique<Guests>(seed_of(options.seed, stream_guests), now_, kernel, audit);
        guests->noting = tracing_;
        audit.note_churn();
    }
    config_ = fitting(std::move(options.config));
    apply_options();
    agent = std::make_unique<Agent>(
        config_, "simulated", AgentSeed{seed_of(options.seed, stream_agent), {1, 2}}, now_);
    for (const Family family : {Family::ipv4, Family::ipv6}) {
        agent->handle(EchoSocketOpened{family, identifiers}, now_);
    }
    if (look_interval_ > Duration::zero()) {
        next_look_ = now_.mono + look_interval_;
    }
}

/// Nobody answers ARP where there are no guests.
Config World::fitting(Config config) const {
    config.guests.enabled = config.guests.enabled && guests != nullptr;
    config.arp.enabled = config.arp.enabled && guests != nullptr;
    return config;
}

void World::mix(std::uint64_t value) {
    digest_ = (digest_ ^ value) * 0x100000001b3U;
    digest_ ^= digest_ >> 29U;
}

template <class... Arguments>
void World::note(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    if (tracing_) {
        trace_.push_back(fmt::format("{:12.6f} ", to_seconds(elapsed())) +
                         fmt::format(format, std::forward<Arguments>(arguments)...));
    }
}

// --- Time ----------------------------------------------------------------------------------------

void World::pass_time(MonoTime until) {
    const Duration passed = std::max(until - now_.mono, Duration::zero());
    now_.mono += passed;
    now_.wall += passed + Duration(passed.count() / always * slew_ppm_);
}

void World::step_wall(Duration by) {
    note("the wall clock steps by {:.6f} s", to_seconds(by));
    now_.wall += by;
    ++wall_steps_;
}

void World::starve(Duration duration) {
    note("the loop stands still for {:.6f} s", to_seconds(duration));
    starved_until_ = std::max(starved_until_, now_.mono + duration);
}

void World::push(MonoTime at, EventKind kind, std::uint32_t slot) {
    events_.push_back({at, next_order_++, kind, slot});
    std::push_heap(events_.begin(), events_.end(), [](const Event& a, const Event& b) {
        return std::pair(a.at, a.order) > std::pair(b.at, b.order);
    });
}

void World::after(Duration delay, std::function<void()> what) {
    calls_.push_back(std::move(what));
    push(now_.mono + delay, EventKind::call, static_cast<std::uint32_t>(calls_.size() - 1));
}

MonoTime World::wake_time() const {
    const MonoTime asked = std::min(agent->next_deadline(), readable_since_.value_or(mono_never));
    return asked == mono_never ? mono_never : std::max(asked + lag_, starved_until_);
}

void World::run(Duration duration) {
    const MonoTime end = now_.mono + duration;
    while (true) {
        const MonoTime happens_next = events_.empty() ? mono_never : events_.front().at;
        const MonoTime guests_next = guests ? guests->next() : mono_never;
        pass_time(
            std::min({end, wake_time(), happens_next, kernel.next(), guests_next, large.next()}));
        while (!events_.empty() && events_.front().at <= now_.mono) {
            std::pop_heap(events_.begin(), events_.end(), [](const Event& a, const Event& b) {
                return std::pair(a.at, a.order) > std::pair(b.at, b.order);
            });
            const Event event = events_.back();
            events_.pop_back();
            happen(event);
        }
        while (kernel.next() <= now_.mono) {
            kernel.advance(now_.mono);
        }
        if (guests) {
            guests->advance();
        }
        large.advance();
        const bool heard = (guests && guests->readable()) || large.readable();
        if (!readable_since_ && (kernel.readable() || !inbox_.empty() || heard)) {
            readable_since_ = now_.mono;
        }
        if (wake_time() <= now_.mono) {
            turn();
        }
        const bool at_work = wake_time() <= now_.mono && broken().size() < Audit::broken_max;
        if (now_.mono >= end && !at_work) {
            return;
        }
    }
}

// --- Events --------------------------------------------------------------------------------------

std::uint32_t World::add_packet(Packet packet) {
    if (free_packets_.empty()) {
        packets_.push_back(std::move(packet));
        return static_cast<std::uint32_t>(packets_.size() - 1);
    }
    const std::uint32_t slot = free_packets_.back();
    free_packets_.pop_back();
    packets_[slot] = std::move(packet);
    return slot;
}

void World::happen(const Event& event) {
    switch (event.kind) {
        case EventKind::packet: return arrive(event.slot);
        case EventKind::lookup: return answer_lookup(lookups_[event.slot]);
        case EventKind::call: return std::exchange(calls_[event.slot], {})();
    }
}

void World::arrive(std::uint32_t slot) {
    Packet& packet = packets_[slot];
    if (inbox_.size() >= local.receive_buffer_packets && !packet.is_stamp) {
        note("no room for an answer of {}", packet.arrival.from.to_string());
        ++dropped_;
        if (packet.arrival.genuine) {
            audit.note_dropped(packet.host, now_.mono);
        }
        free_packets_.push_back(slot);
        return;
    }
    packet.arrived = now_.mono;
    packet.dropped = dropped_;
    if (!packet.is_stamp) {
        packet.stamp = now_.wall;
        packet.stamped = !happens(local.receive_stamp_missing, random_);
    }
    inbox_.push_back(slot);
}

void World::answer_lookup(const Lookup& lookup) {
    note("the resolver answers for {}", lookup.name);
    if (lookup.answer) {
        auto& known = answers_[lookup.name];
        if (!known.empty() && known != *lookup.answer) {
            for (const auto& addresses : {known, *lookup.answer}) {
                for (const IpAddress& address : addresses) {
                    audit.note_restart(network.index_of(address), now_.mono);
                }
            }
        }
        known = *lookup.answer;
    }
    agent->observe(now_);
    agent->handle(NameLookedUp{lookup.id, lookup.answer}, now_);
    turn();
}

// --- The loop ------------------------------------------------------------------------------------

void World::turn() {
    ++turns_;
    const MonoTime asked = std::min(agent->next_deadline(), readable_since_.value_or(mono_never));
    if (asked < now_.mono) {
        audit.note_lag(now_.mono - asked, now_.mono);
        if (guests) {
            guests->audit.note_lag(now_.mono - asked, now_.mono);
        }
    }
    agent->observe(now_);
    if (kernel.drain(*agent, now_)) {
        audit.note_doubtful_zones();
    }
    audit.note_overrun_told(kernel.overruns_told());
    drain();
    agent->poll(now_, actions_);
    readable_since_.reset();
    perform();
    lag_ = random_duration(local.loop_lag, random_);
    audit.turn_done(*agent, now_);
    if (guests) {
        guests->audit.turn_done(*agent, now_);
    }
    if (next_look_ <= now_.mono) {
        take_look();
    }
}

void World::drain() {
    for (const std::uint32_t slot : inbox_) {
        read(packets_[slot]);
        free_packets_.push_back(slot);
    }
    inbox_.clear();
    large.drain(*agent);
    if (guests) {
        guests->drain(*agent);
    }
}

void World::note_trouble() {
    audit.note_trouble(now_.mono);
    if (guests) {
        guests->audit.note_trouble(now_.mono);
    }
}

void World::read(const Packet& packet) {
    mix(static_cast<std::uint64_t>(now_.mono.time_since_epoch().count()) + packet.host);
    if (packet.is_stamp) {
        agent->handle(TransmitStamped{packet.cookie, packet.stamp}, now_);
        return;
    }
    if (packet.dropped != dropped_told_) {
        dropped_told_ = packet.dropped;
        note_trouble();
        agent->handle(ReceiveOverflowed{}, now_);
    }
    const Arrival& arrival = packet.arrival;
    if (arrival.is_error) {
        note("{} about {}", to_text(arrival.error.reason), arrival.error.destination.to_string());
        audit.note_error(packet.host, arrival.error.reason);
        agent->handle(EchoFailed{arrival.from, arrival.error}, now_);
        return;
    }
    const auto stamp = packet.stamped ? std::optional(packet.stamp) : std::nullopt;
    if (packet.from_guest) {
        agent->handle(EchoReplied{arrival.from, arrival.reply, stamp}, now_);
        return;
    }
    if (arrival.genuine) {
        const Duration took = packet.arrived - packet.sent;
        const Duration read_after = now_.mono - packet.sent;
        const bool seen_in_time = read_after <= packet.timeout - stamp_margin ||
                                  read_after >= packet.timeout + surely_stalled ||
                                  (packet.stamped && packet.wall_steps == wall_steps_);
        const bool sure = took <= packet.timeout - stamp_margin && seen_in_time;
        note("answer {} of {}{}",
             arrival.reply.sequence,
             arrival.from.to_string(),
             sure ? "" : ", perhaps late");
        audit.note_answer(
            packet.host, arrival.reply.sequence, packet.sent, packet.arrived, sure, now_.mono);
    } else {
        note("forged answer from {}", arrival.from.to_string());
        audit.note_forged();
    }
    agent->handle(EchoReplied{arrival.from, arrival.reply, stamp}, now_);
}

void World::perform_for_guests() {
    for (const NeighbourRequest& request : actions_.neighbour_requests) {
        mix(request.order.token.session + static_cast<std::uint64_t>(request.target.device));
        mix(request.order.token.sequence);
    }
    guests->perform(actions_, *agent);
    for (const std::string& text : std::exchange(guests->notes, {})) {
        note("{}", text);
    }
}

void World::perform() {
    for (const auto& requests : actions_.echo_requests) {
        for (const EchoRequest& request : requests) {
            send(request);
        }
    }
    if (guests) {
        perform_for_guests();
    }
    large.perform(actions_, *agent);
    for (const DumpRequest& request : actions_.dumps) {
        note("dump of {} asked for", to_text(request.kind));
        if (!kernel.ask(request, now_.mono)) {
            agent->handle(DumpRequestFailed{}, now_);
        }
    }
    for (const LookupRequest& request : actions_.lookups) {
        look_up(request);
    }
    for (LogRecord& record : actions_.logs) {
        note("log: {}", record.message);
        if (logs_.size() < logs_max) {
            logs_.push_back(std::move(record));
        }
    }
    actions_.clear();
}

/// Straight over a bridge of this host: no network in between.
void World::send_to_guest(const EchoRequest& request) {
    mix(request.cookie.token.sequence);
    agent->handle(ProbeSent{request.order}, now_);
    Packet packet;
    packet.from_guest = true;
    packet.sent = now_.mono;
    packet.stamp = now_.wall;
    packet.cookie = request.cookie;
    packet.is_stamp = true;
    inbox_.push_back(add_packet(packet));
    packet.is_stamp = false;
    packet.arrival.from = request.target.destination;
    packet.arrival.reply = {request.identifier,
                            static_cast<std::uint16_t>(request.cookie.token.sequence),
                            request.cookie};
    if (const auto after = guests->answers_echo(request.target.destination)) {
        push(now_.mono + *after, EventKind::packet, add_packet(packet));
    }
}

void World::send(const EchoRequest& request) {
    // A gateway can be on a bridge, too.
    if (guests && guests->is_bridge(request.target.device) &&
        !network.knows(request.target.destination)) {
        return send_to_guest(request);
    }
    const std::size_t host = network.index_of(request.target.destination);
    mix(static_cast<std::uint64_t>(now_.mono.time_since_epoch().count()) ^
        request.cookie.token.sequence);
    if (local.send_fails && happens(local.send_failure, random_)) {
        note("{} for {}", to_text(*local.send_fails), network[host].address.to_string());
        audit.note_not_sent(host, request.order, *local.send_fails, now_.mono);
        agent->handle(ProbeNotSent{request.order, *local.send_fails}, now_);
        return;
    }
    if (happens(local.busy, random_)) {
        audit.note_skipped(now_.mono);
        agent->handle(ProbeSkipped{request.order}, now_);
        return;
    }
    agent->handle(ProbeSent{request.order}, now_);
    transmit(request, host);
}

void World::transmit(const EchoRequest& request, std::size_t host) {
    Packet packet;
    packet.host = host;
    packet.sent = now_.mono;
    packet.timeout = audit.timeout_of(host);
    packet.wall_steps = wall_steps_;
    if (happens(local.transmit_stamp_missing, random_)) {
        audit.note_missing_stamp(now_.mono);
    } else {
        packet.is_stamp = true;
        packet.cookie = request.cookie;
        packet.stamp = now_.wall;
        if (local.transmit_stamp_after > Duration::zero()) {
            audit.note_missing_stamp(now_.mono + local.transmit_stamp_after);
            push(now_.mono + local.transmit_stamp_after, EventKind::packet, add_packet(packet));
        } else {
            // Read with what comes next: a wake-up of its own would change nothing.
            inbox_.push_back(add_packet(packet));
        }
        packet.is_stamp = false;
    }
    network.carry(request, now_.mono, arrivals_);
    std::optional<Duration> first;
    for (const Arrival& arrival : arrivals_) {
        if (arrival.genuine) {
            first = std::min(arrival.after, first.value_or(arrival.after));
        }
        packet.arrival = arrival;
        push(now_.mono + arrival.after, EventKind::packet, add_packet(packet));
    }
    note("probe {} to {}{}{}",
         static_cast<std::uint16_t>(request.cookie.token.sequence),
         network[host].address.to_string(),
         request.order.in_burst   ? ", burst"
         : request.order.repeated ? ", once more"
                                  : "",
         first ? "" : ", will not be answered");
    audit.note_sent(host, request.order, first, now_.mono);
}

void World::look_up(const LookupRequest& request) {
    const NameFacts& facts = names_[request.name];
    note("look up {}", request.name);
    if (!facts.silent) {
        lookups_.push_back({request.id, request.name, facts.answer});
        push(now_.mono + facts.after,
             EventKind::lookup,
             static_cast<std::uint32_t>(lookups_.size() - 1));
    }
}

// --- The host ------------------------------------------------------------------------------------

/// Tells the audit who is probed how.
void World::apply_options() {
    if (guests) {
        guests->audit.set_options(config_);
    }
    audit.set_default_options(config_.icmp);
    for (const PeerConfig& peer : config_.peers) {
        const auto zone = peer.address.find('%');
        if (const auto address = IpAddress::parse(peer.address.substr(0, zone))) {
            const bool exact = peer.device.empty() && zone == std::string::npos;
            audit.set_options(network.index_of(*address), peer.icmp, exact);
        } else if (const auto known = names_.find(peer.address);
                   known != names_.end() && known->second.answer) {
            for (const IpAddress& each : *known->second.answer) {
                audit.set_options(network.index_of(each), peer.icmp, false);
            }
        }
    }
}

void World::set_name(const std::string& name, NameFacts facts) {
    names_[name] = std::move(facts);
    apply_options();
}

void World::reload(Config config) {
    note("reload");
    const auto keeps = [&config](const PeerConfig& peer) {
        return std::any_of(config.peers.begin(), config.peers.end(), [&](const PeerConfig& other) {
            PeerConfig same = peer;
            same.labels = other.labels;
            return same == other;
        });
    };
    for (const PeerConfig& peer : config_.peers) {
        const auto address = IpAddress::parse(peer.address);
        if (address && !keeps(peer)) {
            audit.note_restart(network.index_of(*address), now_.mono);
        }
    }
    if (config.rtt_edges != config_.rtt_edges) {
        audit.note_restarts(now_.mono);
        if (guests) {
            guests->audit.note_restarts();
        }
    }
    config = fitting(std::move(config));
    config_ = config;
    apply_options();
    agent->observe(now_);
    agent->handle(ConfigLoaded{std::move(config)}, now_);
    turn();
}

void World::remark(const std::string& text) {
    note("{}", text);
}

void World::heal() {
    note("all is healed");
    network.heal();
    if (guests) {
        guests->heal();
    }
    kernel.faults = {};
    local = {};
    lag_ = {};
    starved_until_ = std::min(starved_until_, now_.mono);
}

void World::set_link(const test::LinkFacts& link) {
    kernel.set_link(link, now_.mono);
}

void World::remove_link(int index) {
    kernel.remove_link(index, now_.mono);
}

void World::set_up(int index, bool up) {
    note("link {} {}", index, up ? "up" : "down");
    kernel.set_up(index, up, now_.mono);
}

void World::add_route(const test::RouteFacts& route) {
    audit.note_churn();
    kernel.add_route(route, now_.mono);
}

void World::remove_route(const test::RouteFacts& route) {
    kernel.remove_route(route, now_.mono);
}

void World::storm(int changes) {
    note("a storm of {} changes", changes);
    if (config_.discover_gateways) {
        audit.note_churn();
    }
    kernel.storm(changes, now_.mono);
}

// --- What came of it -----------------------------------------------------------------------------

Snapshot World::snapshot() {
    Snapshot taken = agent->snapshot(now_);
    audit.look(*agent, taken, now_);
    if (guests) {
        guests->audit.look(*agent, taken, now_);
    }
    return taken;
}

void World::take_look() {
    const Snapshot taken = snapshot();
    for (const ProbeSnapshot& probe : taken.probes) {
        mix(probe.counters.sent * 3 + probe.counters.received);
        mix(static_cast<std::uint64_t>(probe.rtt_sum.count()));
    }
    next_look_ = now_.mono + look_interval_ / 2 + random_duration(look_interval_, random_);
}

std::optional<std::string> World::model_difference() {
    Topology fresh;
    kernel.dump_into(fresh);
    return difference(agent->topology(), fresh, kernel.tables());
}

}  // namespace reachd::sim
