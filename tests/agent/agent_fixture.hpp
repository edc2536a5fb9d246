// A world for one Agent in tests: virtual clocks, a kernel that answers dumps, a resolver and a
// network that answer as they are told. It performs the agent's actions as the probe loop does, and
// checks at each snapshot what must hold at every instant.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "agent/agent.hpp"
#include "tests/agent/netlink_builder.hpp"

namespace reachd::test {

using namespace std::chrono_literals;

inline PeerConfig peer_config(const std::string& name, const std::string& address) {
    PeerConfig peer;
    peer.name = name;
    peer.address = address;
    return peer;
}

inline Config config_of(std::vector<PeerConfig> peers) {
    Config config;
    config.peers = std::move(peers);
    return config;
}

/// What the kernel's tables hold when they are dumped.
struct KernelTables {
    std::vector<LinkFacts> links{};
    std::vector<RouteFacts> routes{};
    Duration dump_time{};
    std::vector<InterfaceAddress> addresses{};
    std::vector<NeighbourFacts> neighbours{};

    Bytes dump(const DumpRequest& request) const {
        Bytes answer;
        if (request.kind == DumpKind::links) {
            for (const LinkFacts& link : links) {
                answer = answer + new_link(link, NLM_F_MULTI, request.sequence);
            }
        }
        for (const InterfaceAddress& each : addresses) {
            if (request.kind == DumpKind::addresses) {
                answer = answer + new_address(each, NLM_F_MULTI, request.sequence);
            }
        }
        for (const NeighbourFacts& each : neighbours) {
            if (request.kind == DumpKind::neighbours) {
                answer = answer + new_neighbour(each, NLM_F_MULTI, request.sequence);
            }
        }
        for (const RouteFacts& route : routes) {
            const DumpKind table =
                route.family == Family::ipv4 ? DumpKind::ipv4_routes : DumpKind::ipv6_routes;
            if (request.kind == table) {
                answer = answer + new_route(route, NLM_F_MULTI, request.sequence);
            }
        }
        return answer + dump_done(request.sequence);
    }
};

inline RouteFacts default_route(const std::string& gateway, int device, std::uint32_t metric = 0) {
    RouteFacts route;
    route.family = address(gateway).family();
    route.hops = {{address(gateway), device}};
    route.metric = metric;
    return route;
}

/// One peer of a snapshot with its first probe, if it has one, and the names of all.
struct PeerRow {
    PeerSnapshot peer;
    std::optional<ProbeSnapshot> probe;
    std::vector<ProbeSnapshot> probes;
    std::map<FailureReason, std::uint64_t> failures;
    std::uint64_t samples = 0;

    std::uint64_t failed(FailureReason reason) const {
        const auto found = failures.find(reason);
        return found == failures.end() ? 0 : found->second;
    }
};

/// What must hold in every snapshot, whatever happened.
inline void check_consistent(const Snapshot& snapshot) {
    std::set<std::string> series;
    for (const PeerSnapshot& peer : snapshot.peers) {
        REQUIRE(peer.identity != nullptr);
        CHECK(series.insert(peer.identity->label_text()).second);
    }
    const std::size_t columns = snapshot.rtt_edges->size() + 1;
    REQUIRE(snapshot.rtt_buckets.size() == snapshot.probes.size() * columns);
    std::vector<std::uint64_t> losses(snapshot.probes.size());
    std::uint32_t last = 0;
    for (const FailureCount& failure : snapshot.failures) {
        REQUIRE(failure.probe < snapshot.probes.size());
        CHECK(failure.probe >= last);
        CHECK(failure.count > 0);
        last = failure.probe;
        losses[failure.probe] += is_loss(failure.reason) ? failure.count : 0;
    }
    std::set<std::tuple<std::uint32_t, ProbeKind, std::uint16_t>> probed;
    for (std::size_t i = 0; i < snapshot.probes.size(); ++i) {
        const ProbeSnapshot& probe = snapshot.probes[i];
        REQUIRE(probe.peer < snapshot.peers.size());
        CHECK(probed.insert({probe.peer, probe.kind, probe.port}).second);
        CHECK((i == 0 || snapshot.probes[i - 1].peer <= probe.peer));
        CHECK(probe.counters.lost == losses[i]);
        CHECK(probe.counters.sent >= probe.counters.received + probe.counters.lost);
    }
}

class AgentWorld {
  public:
    static constexpr EchoIdentifiers identifiers{0x4a50, 16};

    /// What a peer does with a request: nothing, or an answer after this time.
    using Behaviour = std::function<std::optional<Duration>(const EchoRequest&)>;

    /// Everybody answers after 1 ms, until told otherwise.
    explicit AgentWorld(Config config = {},
                        KernelTables tables = {},
                        std::set<Family> families = {Family::ipv4, Family::ipv6})
        : kernel(std::move(tables)),
          agent(std::move(config), "testhost", AgentSeed{1, {0x0123, 0x4567}}, now) {
        for (const Family family : families) {
            agent.handle(EchoSocketOpened{family, identifiers}, now);
        }
        turn();
    }

    Instant now{MonoTime(1000s), WallTime(1'700'000'000s)};
    KernelTables kernel;
    /// What becomes of a connect: nothing, or this after 1 ms.
    using Connecting = std::function<std::optional<TcpResult>(const TcpRequest&)>;

    Behaviour behaviour = [](const EchoRequest&) { return std::optional<Duration>(1ms); };
    /// Whether a question to a neighbour is answered, after 100 us.
    std::function<bool(const NeighbourTarget&)> neighbour_answers = [](const auto&) {
        return true;
    };
    /// Who the owner of a port is, by its device; others have no name.
    std::map<std::string, GuestIdentity> owners;
    Connecting connecting = [](const TcpRequest&) { return std::optional(established()); };
    /// Lookups of other names stay unanswered.
    std::map<std::string, ResolveResult> names;
    /// What the kernel says to a request instead of taking it.
    std::optional<FailureReason> send_fails;
    /// By which device everything leaves; any: no route is found, so no size is expected.
    IfIndex egress = IfIndex::any;
    IpAddress gateway{};  ///< of the next hop; unspecified: the peer itself
    /// Requests and answers of path MTU probing that are larger vanish.
    std::uint32_t mtu_forward = ip_packet_bytes_max;
    std::uint32_t mtu_reverse = ip_packet_bytes_max;
    Agent agent;

    std::vector<MtuRequest> mtu_requests;
    std::vector<EchoRequest> requests;
    std::vector<TcpRequest> connects;
    std::vector<ProbeToken> abandoned;
    std::vector<NeighbourRequest> questions;
    std::set<IfIndex> ports_heard;
    std::set<NeighbourPort> gateway_ports_heard;
    /// Why no socket for gateways can be opened.
    std::optional<std::string> gateway_ports_fail;
    std::set<IfIndex> deaf_ports;  ///< cannot be listened on
    std::size_t guest_lookups = 0;
    std::vector<GuestAddressRecord> kept;
    std::vector<LookupRequest> lookups;
    std::vector<DeviceLookup> device_lookups;
    std::vector<LogRecord> logs;

    void silence() {
        behaviour = [](const EchoRequest&) { return std::optional<Duration>(); };
    }

    void silence(const std::string& destination) {
        behaviour = [quiet = address(destination)](const EchoRequest& request) {
            const bool is_quiet = request.target.destination == quiet;
            return is_quiet ? std::nullopt : std::optional<Duration>(1ms);
        };
    }

    void everybody_answers() {
        behaviour = [](const EchoRequest&) { return std::optional<Duration>(1ms); };
    }

    /// One turn of the probe loop at this very moment; what it causes at once is done too.
    void turn() {
        do {
            agent.observe(now);
            deliver_due();
            agent.poll(now, actions_);
            perform();
        } while (!due_.empty() && due_.begin()->first <= now.mono);
    }

    void run(Duration duration) {
        const MonoTime end = now.mono + duration;
        int turns_at_once = 0;
        while (true) {
            MonoTime next = std::min(agent.next_deadline(), end);
            if (!due_.empty()) {
                next = std::min(next, due_.begin()->first);
            }
            turns_at_once = next > now.mono ? 0 : turns_at_once + 1;
            REQUIRE(turns_at_once < 10);  // else the real loop would spin
            advance(std::max(next - now.mono, Duration::zero()));
            turn();
            if (now.mono >= end) {
                return;
            }
        }
    }

    template <class Event>
    void handle(const Event& event) {
        agent.observe(now);
        agent.handle(event, now);
        turn();
    }

    void tell(const Bytes& datagram) { handle(NetlinkReceived{ByteView(datagram)}); }

    void look_up(const std::string& name, const ResolveResult& result) {
        const auto lookup = std::find_if(
            lookups.begin(), lookups.end(), [&](const auto& each) { return each.name == name; });
        REQUIRE(lookup != lookups.end());
        const NameLookedUp event{lookup->id, result};
        lookups.erase(lookup);
        handle(event);
    }

    void reload(Config config) { handle(ConfigLoaded{std::move(config)}); }

    Snapshot snapshot() {
        Snapshot taken = agent.snapshot(now);
        check_consistent(taken);
        return taken;
    }

    std::vector<PeerRow> rows() {
        const Snapshot taken = snapshot();
        std::vector<PeerRow> all;
        for (const PeerSnapshot& peer : taken.peers) {
            all.push_back({peer, {}, {}, {}, 0});
        }
        const std::size_t columns = taken.rtt_edges->size() + 1;
        for (std::size_t i = 0; i < taken.probes.size(); ++i) {
            PeerRow& row = all[taken.probes[i].peer];
            row.probes.push_back(taken.probes[i]);
            row.probe = row.probes.front();
            for (std::size_t column = 0; column < columns; ++column) {
                row.samples += taken.rtt_buckets[i * columns + column];
            }
        }
        for (const FailureCount& failure : taken.failures) {
            all[taken.probes[failure.probe].peer].failures[failure.reason] += failure.count;
        }
        return all;
    }

    /// The only peer of that name.
    PeerRow row(const std::string& name) {
        std::vector<PeerRow> found;
        for (PeerRow& each : rows()) {
            if (each.peer.identity->name() == name) {
                found.push_back(std::move(each));
            }
        }
        REQUIRE(found.size() == 1);
        return found.front();
    }

    ProbeCounters counters(const std::string& name) {
        const PeerRow found = row(name);
        REQUIRE(found.probe.has_value());
        return found.probe->counters;
    }

    /// "name address device", ordered.
    std::vector<std::string> who() {
        std::vector<std::string> texts;
        for (const PeerRow& each : rows()) {
            const PeerIdentity& identity = *each.peer.identity;
            texts.push_back(identity.name() + " " + identity.address() + " " +
                            identity.details().device);
        }
        std::sort(texts.begin(), texts.end());
        return texts;
    }

    std::uint64_t ignored(std::string_view why) {
        return count_of(snapshot().packets_ignored, why);
    }

    std::uint64_t discovery_errors(std::string_view source) {
        return count_of(snapshot().discovery_errors, source);
    }

    /// The latest request to this address.
    EchoRequest last_request(const std::string& destination) const {
        const auto found =
            std::find_if(requests.rbegin(), requests.rend(), [&](const EchoRequest& request) {
                return request.target.destination.to_string() == destination;
            });
        REQUIRE(found != requests.rend());
        return *found;
    }

    std::vector<std::string> messages() const {
        std::vector<std::string> texts;
        for (const LogRecord& record : logs) {
            texts.push_back(record.message);
        }
        return texts;
    }

    static TcpResult established() {
        return {TcpResult::Kind::established, FailureReason::timeout, 800us, false, 0};
    }

    static TcpResult refused() {
        return {TcpResult::Kind::refused, FailureReason::refused, 30us, true, 0};
    }

    static NeighbourFrame answer_to(const NeighbourTarget& target) {
        const bool v4 = target.address.family() == Family::ipv4;
        NeighbourFrame frame;
        frame.kind = v4 ? NeighbourFrame::Kind::arp_reply : NeighbourFrame::Kind::advertisement;
        frame.frame_source = frame.mac = target.mac.value_or(mac("52:54:00:aa:aa:aa"));
        frame.frame_destination = target.sender_mac;
        frame.address = target.address;
        frame.address.set_scope(IfIndex::any);  // a frame carries none
        frame.target = target.sender;
        frame.solicited = !v4;
        return frame;
    }

    static MtuReplied mtu_reply_to(const MtuRequest& request) {
        const ProbeCookie& cookie = request.cookie;
        return {request.target.destination,
                {0, static_cast<std::uint16_t>(cookie.token.sequence), cookie},
                request.order.packet.bytes,
                0};
    }

    static EchoReplied reply_to(const EchoRequest& request) {
        return {request.target.destination,
                {request.identifier,
                 static_cast<std::uint16_t>(request.cookie.token.sequence),
                 request.cookie},
                std::nullopt};
    }

    /// What a router says about a request, quoting its cookie.
    static EchoFailed error_about(const EchoRequest& request,
                                  FailureReason reason,
                                  const std::string& reporter) {
        EchoError error;
        error.reason = reason;
        error.destination = request.target.destination;
        error.destination.set_scope(IfIndex::any);  // a quote carries none
        error.source =
            address(error.destination.family() == Family::ipv4 ? "10.0.0.99" : "fd00::99");
        error.identifier = request.identifier;
        error.sequence = static_cast<std::uint16_t>(request.cookie.token.sequence);
        error.cookie = request.cookie;
        return {address(reporter), error};
    }

  private:
    static std::uint64_t count_of(const std::vector<NamedCount>& counts, std::string_view name) {
        const auto found = std::find_if(
            counts.begin(), counts.end(), [name](const auto& each) { return each.name == name; });
        REQUIRE(found != counts.end());
        return found->count;
    }

    void advance(Duration duration) {
        now.mono += duration;
        now.wall += duration;
    }

    void deliver_due() {
        while (!due_.empty() && due_.begin()->first <= now.mono) {
            const auto deliver = std::move(due_.begin()->second);
            due_.erase(due_.begin());
            deliver();
        }
    }

    void perform() {
        for (const auto& family : actions_.echo_requests) {
            for (const EchoRequest& request : family) {
                send(request);
            }
        }
        for (const ProbeToken& token : actions_.tcp_abandoned) {
            abandoned.push_back(token);
            agent.handle(TcpAbandoned{token, 1}, now);
        }
        for (const TcpRequest& request : actions_.tcp_requests) {
            connect(request);
        }
        perform_for_guests();
        perform_for_mtu();
        for (const DumpRequest& request : actions_.dumps) {
            at(now.mono + kernel.dump_time, [this, datagram = kernel.dump(request)] {
                agent.handle(NetlinkReceived{ByteView(datagram)}, now);
            });
        }
        for (LookupRequest& request : actions_.lookups) {
            const auto known = names.find(request.name);
            if (known == names.end()) {
                lookups.push_back(std::move(request));
                continue;
            }
            at(now.mono, [this, event = NameLookedUp{request.id, known->second}] {
                agent.handle(event, now);
            });
        }
        std::move(actions_.device_lookups.begin(),
                  actions_.device_lookups.end(),
                  std::back_inserter(device_lookups));
        std::move(actions_.logs.begin(), actions_.logs.end(), std::back_inserter(logs));
        actions_.clear();
    }

    void perform_for_mtu() {
        for (const EgressLookup& lookup : actions_.egress_lookups) {
            agent.handle(EgressFound{lookup.peer, {egress, gateway}}, now);
        }
        for (const auto& family : actions_.mtu_requests) {
            for (const MtuRequest& request : family) {
                mtu_requests.push_back(request);
                agent.handle(MtuPacketSent{request.order}, now);
                answer(request);
            }
        }
    }

    void answer(const MtuRequest& request) {
        const MtuPacket& packet = request.order.packet;
        const bool is_datagram = packet.form == MtuForm::datagram;
        const bool arrives = packet.form == MtuForm::fragmented_echo || packet.bytes <= mtu_forward;
        if (!arrives || (!is_datagram && packet.bytes > mtu_reverse)) {
            return;
        }
        at(now.mono + 300us, [this, request, is_datagram] {
            if (is_datagram) {
                const IpAddress& peer = request.target.destination;
                agent.handle(
                    MtuDatagramFailed{
                        peer, peer, request.order.port, FailureReason::port_unreachable, 0},
                    now);
            } else {
                agent.handle(mtu_reply_to(request), now);
            }
        });
    }

    void send(const EchoRequest& request) {
        requests.push_back(request);
        if (send_fails) {
            agent.handle(ProbeNotSent{request.order, *send_fails}, now);
            return;
        }
        agent.handle(ProbeSent{request.order}, now);
        agent.handle(TransmitStamped{request.cookie, now.wall}, now);
        if (const auto delay = behaviour(request)) {
            at(now.mono + *delay, [this, reply = reply_to(request)]() mutable {
                reply.received = now.wall;
                agent.handle(reply, now);
            });
        }
    }

    void perform_for_guests() {
        for (const NeighbourPort& port : actions_.guest_ports.closed) {
            REQUIRE(ports_heard.erase(port.device) == 1);
        }
        for (const NeighbourPort& port : actions_.guest_ports.opened) {
            if (deaf_ports.contains(port.device)) {
                agent.handle(GuestPortFailed{port.device, "Too many open files"}, now);
                continue;
            }
            REQUIRE(ports_heard.insert(port.device).second);
        }
        for (const NeighbourPort& port : actions_.gateway_ports.closed) {
            REQUIRE(gateway_ports_heard.erase(port) == 1);
        }
        for (const NeighbourPort& port : actions_.gateway_ports.opened) {
            if (gateway_ports_fail) {
                agent.handle(GatewayPortFailed{port, *gateway_ports_fail}, now);
            } else {
                REQUIRE(gateway_ports_heard.insert(port).second);
            }
        }
        for (const NeighbourRequest& request : actions_.neighbour_requests) {
            ask(request);
        }
        if (actions_.guest_lookup) {
            ++guest_lookups;
            GuestsIdentified event{actions_.guest_lookup->ports, {}, {}};
            for (const GuestLookup::Port& port : event.ports) {
                event.identities.push_back(owners[port.facts.device]);
            }
            at(now.mono + 5ms, [this, event] { agent.handle(event, now); });
        }
        if (actions_.guest_records) {
            kept = *actions_.guest_records;
        }
    }

    void ask(const NeighbourRequest& request) {
        const NeighbourTarget& asked = request.target;
        REQUIRE((is_for_gateways(asked.use)
                     ? gateway_ports_heard.contains({asked.device, asked.use})
                     : ports_heard.contains(asked.device)));
        questions.push_back(request);
        agent.handle(ProbeSent{request.order}, now);
        agent.handle(NeighbourStamped{request.order.token, now.wall}, now);
        if (neighbour_answers(request.target)) {
            at(now.mono + 100us, [this, target = request.target] {
                agent.handle(NeighbourHeard{target.device, answer_to(target), now.wall, target.use},
                             now);
            });
        }
    }

    void connect(const TcpRequest& request) {
        connects.push_back(request);
        if (send_fails) {
            agent.handle(ProbeNotSent{request.order, *send_fails}, now);
            return;
        }
        agent.handle(ProbeSent{request.order}, now);
        if (const auto result = connecting(request)) {
            at(now.mono + 1ms, [this, event = TcpEnded{request.order.token, *result}] {
                agent.handle(event, now);
            });
        }
    }

    void at(MonoTime when, std::function<void()> what) { due_.emplace(when, std::move(what)); }

    Actions actions_;
    std::multimap<MonoTime, std::function<void()>> due_;
};

}  // namespace reachd::test
