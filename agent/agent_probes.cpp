#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "agent/agent.hpp"
#include "common/prefetch.hpp"

namespace reachd {
namespace {

/// systemd's MESSAGE_ID: one for each kind of event, never to be changed.
constexpr std::string_view peer_down_message = "6d0c2f0a8f5e4b4a9a1ad1d5a8b0e6c1";
constexpr std::string_view peer_up_message = "0f9be2f0d2a54b3a8b7d5f8a37c4e952";

std::size_t index(Family family) {
    return static_cast<std::size_t>(family);
}

}  // namespace

void Agent::handle(const EchoSocketOpened& event, const Instant&) {
    identifiers_[index(event.family)] = event.identifiers;
    family_open_[index(event.family)] = true;
}

void Agent::handle(const ProbeSent& event, const Instant& now) {
    engine_.on_sent(event.order, now);
}

void Agent::handle(const ProbeNotSent& event, const Instant& now) {
    engine_.on_not_sent(event.order, event.reason, now);
}

void Agent::handle(const ProbeSkipped& event, const Instant&) {
    engine_.on_skipped(event.order, SkipReason::busy);
}

/// Sessions with one address mostly have different identifiers, so that an error which quotes only
/// a header still leads to one of them.
std::uint16_t Agent::identifier_of(Family family, std::uint32_t session) const {
    const EchoIdentifiers& ours = identifiers_[index(family)];
    return static_cast<std::uint16_t>(ours.first + session % ours.count);
}

bool Agent::is_ours(const ProbeCookie& cookie) const {
    const auto session = cookie.token.session;
    return engine_.is_open(session) &&
           cookie_key_.tag(cookie.token, engine_.generation(session)) == cookie.tag;
}

void Agent::handle(const TransmitStamped& event, const Instant&) {
    // Straight from our own kernel: whatever it looped back, we sent.
    if (engine_.is_open(event.cookie.token.session)) {
        engine_.on_transmit_stamp(event.cookie.token, event.stamp);
    }
}

void Agent::prefetch(std::uint32_t session) const {
    if (engine_.prefetch_session(session)) {
        reachd::prefetch(peers_[peers_.peer_of(session)]);
    }
}

void Agent::handle(const EchoReplied& event, const Instant& now) {
    const ProbeCookie& cookie = event.reply.cookie;
    if (!is_ours(cookie)) {
        return ignore(Ignored::foreign);
    }
    const Peer& peer = peers_[peers_.peer_of(cookie.token.session)];
    if (event.from != peer.target.destination) {
        return ignore(Ignored::wrong_source);
    }
    if (event.reply.sequence != static_cast<std::uint16_t>(cookie.token.sequence) ||
        event.reply.identifier != identifier_of(event.from.family(), cookie.token.session)) {
        return ignore(Ignored::foreign);
    }
    engine_.on_answer(cookie.token, event.received, now);
}

/// The session an ICMP error is about. A quote with the cookie proves itself; one of a bare header
/// must match destination, identifier and a sequence number in flight.
std::optional<std::uint32_t> Agent::session_of(const EchoError& error) {
    if (error.cookie) {
        return is_ours(*error.cookie) ? std::optional(error.cookie->token.session) : std::nullopt;
    }
    for (const std::uint32_t id : peers_.peers_at(error.destination)) {
        const std::uint32_t session = peers_.session_of(id, ProbeKind::icmp);
        if (session == no_session || !engine_.knows_sequence(session, error.sequence)) {
            continue;
        }
        if (error.identifier == identifier_of(error.destination.family(), session)) {
            return session;
        }
    }
    return std::nullopt;
}

void Agent::handle(const EchoFailed& event, const Instant& now) {
    EchoError error = event.error;
    // A quote carries no zone; the reporter of a link-local destination is on the same link.
    if (error.destination.is_link_local_v6()) {
        error.destination.set_scope(event.reporter.scope());
    }
    const auto session = session_of(error);
    if (!session) {
        return ignore(Ignored::foreign);
    }
    const IpAddress& destination = peers_[peers_.peer_of(*session)].target.destination;
    if (!destination.has_same_bytes(error.destination)) {
        return ignore(Ignored::foreign);
    }
    // Our own host says "host unreachable" when nobody answers ARP or neighbour discovery.
    const bool by_ourselves = error.source.has_same_bytes(event.reporter);
    const bool neighbour = by_ourselves && error.reason == FailureReason::host_unreachable;
    engine_.on_error(*session, neighbour ? FailureReason::neighbour_failed : error.reason, now);
}

void Agent::handle(const PacketRejected& event, const Instant&) {
    ignore(reason_of(event.flaw));
}

void Agent::handle(const ReceiveOverflowed&, const Instant&) {
    engine_.on_receive_overflow(ProbeKind::icmp);
}

Agent::Ignored Agent::reason_of(PacketFlaw flaw) {
    switch (flaw) {
        case PacketFlaw::malformed: return Ignored::malformed;
        case PacketFlaw::bad_checksum: return Ignored::bad_checksum;
        case PacketFlaw::foreign: return Ignored::foreign;
    }
    return Ignored::malformed;
}

void Agent::ignore(Ignored why) {
    ++ignored_[static_cast<std::size_t>(why)];
}

void Agent::order_probe(const SendOrder& order, const Instant& now, Actions& actions) {
    const PeerTable::Place& place = peers_.place_of(order.token.session);
    const Peer& peer = peers_[place.peer];
    if (!peer.is_resolved()) {
        return engine_.on_not_sent(order, FailureReason::unresolved, now);
    }
    const bool device_missing = peer.extras && peer.extras->device_missing;
    if (device_missing && !netlink_.synced()) {
        return engine_.on_skipped(order, SkipReason::busy);  // not missed yet: we do not know
    }
    if (device_missing) {
        return engine_.on_not_sent(order, FailureReason::local_error, now);
    }
    switch (place.kind) {
        case ProbeKind::icmp: return order_echo(peer, order, now, actions);
        case ProbeKind::tcp: return order_connect(peer, order, actions);
        case ProbeKind::arp: break;
    }
    if (peer.identity->kind() == PeerKind::gateway) {
        return ask_gateway(peers_[place.peer], order, now, actions);
    }
    order_neighbour(peer, order, now, actions);
}

void Agent::order_echo(const Peer& peer,
                       const SendOrder& order,
                       const Instant& now,
                       Actions& actions) {
    const Family family = peer.target.destination.family();
    if (!family_open_[index(family)]) {
        return engine_.on_not_sent(order, FailureReason::local_error, now);
    }
    const std::uint32_t session = order.token.session;
    const std::uint64_t tag = cookie_key_.tag(order.token, engine_.generation(session));
    actions.echo_requests[index(family)].push_back(
        {order, peer.target, ProbeCookie{tag, order.token}, identifier_of(family, session)});
}

void Agent::order_connect(const Peer& peer, const SendOrder& order, Actions& actions) {
    const EchoTarget& target = peer.target;
    const std::uint16_t port = peers_.place_of(order.token.session).port;
    actions.tcp_requests.push_back(
        {order, {target.destination, target.source, target.device, port, target.dscp}});
}

void Agent::order_neighbour(const Peer& peer,
                            const SendOrder& order,
                            const Instant& now,
                            Actions& actions) {
    if (!peer.extras || !peer.extras->neighbour || peer.extras->neighbour_cut_off) {
        return engine_.on_not_sent(order, FailureReason::local_error, now);
    }
    if (now.mono < peer.extras->neighbour_from) {
        return engine_.on_skipped(order, SkipReason::busy);  // it checks its address anew
    }
    actions.neighbour_requests.push_back({order, *peer.extras->neighbour});
}

void Agent::handle(const TcpEnded& event, const Instant& now) {
    engine_.on_tcp_result(event.token, event.result, now);
}

void Agent::handle(const TcpAbandoned& event, const Instant&) {
    engine_.on_syn_retransmits(event.token, event.syn_retransmits);
}

void Agent::handle(const NeighbourStamped& event, const Instant&) {
    if (engine_.is_open(event.token.session)) {
        engine_.on_transmit_stamp(event.token, event.stamp);
    }
}

// ---- Verdicts

void Agent::judge_changed_peers(const Instant& now) {
    for (const std::uint32_t session : engine_.take_changed()) {
        if (engine_.reach_state(session) == Reachability::suspect) {
            suspect_siblings(session, now);
        }
        update_verdict(peers_[peers_.peer_of(session)], now);
    }
}

/// The peer is asked in all its ways at once, so that its verdict is known at once.
void Agent::suspect_siblings(std::uint32_t session, const Instant& now) {
    const Peer& peer = peers_[peers_.peer_of(session)];
    for (auto sibling = peer.first_session; sibling != no_session;
         sibling = peers_.next_session(sibling)) {
        if (sibling != session) {
            engine_.suspect(sibling, now.mono);
        }
    }
}

/// Sets what is shown, and gives the verdict: a peer is up while it answers in one way at least,
/// and down when none is left that might.
std::optional<bool> Agent::judge(Peer& peer, const Instant& now) const {
    std::array<bool, 4> seen{};  // by Reachability
    bool any_up = false;
    bool any_evidence = false;
    bool all_down = true;
    for (auto session = peer.first_session; session != no_session;
         session = peers_.next_session(session)) {
        if (!is_evidence(peer, session, now)) {
            continue;
        }
        any_evidence = true;
        seen[static_cast<std::size_t>(engine_.reach_state(session))] = true;
        const auto reachable = engine_.reachable(session);
        any_up = any_up || reachable == true;
        all_down = all_down && reachable == false;
    }
    peer.state = Reachability::unknown;
    for (const auto best :
         {Reachability::up, Reachability::suspect, Reachability::unknown, Reachability::down}) {
        if (seen[static_cast<std::size_t>(best)]) {
            peer.state = best;
            break;
        }
    }
    return any_up || (any_evidence && all_down) ? std::optional(any_up) : std::nullopt;
}

/// News is what differs from the last verdict, also where there was none for a while: a way of
/// asking that is new has to be waited for.
void Agent::update_verdict(Peer& peer, const Instant& now) {
    const auto shown = std::exchange(peer.up, judge(peer, now));
    if (peer.up == shown || !peer.up) {
        return;
    }
    ++verdicts_;
    const auto before = std::exchange(peer.told, peer.up);
    if (peer.up == before) {
        return;
    }
    peer.last_change = now.wall;
    if (before.has_value()) {
        ++peer.state_changes;
    }
    log_verdict(peer, before);
}

/// "timeout", or "icmp timeout, tcp/22 prohibited" where it is asked in several ways.
std::string Agent::failures_text(const Peer& peer) const {
    std::string text;
    for (auto session = peer.first_session; session != no_session;
         session = peers_.next_session(session)) {
        const std::string_view reason = to_text(engine_.last_failure(session));
        const PeerTable::Place& place = peers_.place_of(session);
        if (session == peer.first_session && place.next == no_session) {
            return std::string(reason);
        }
        text += fmt::format("{}{}{} {}",
                            text.empty() ? "" : ", ",
                            to_text(place.kind),
                            place.port == 0 ? std::string() : fmt::format("/{}", place.port),
                            reason);
    }
    return text;
}

void Agent::log_verdict(const Peer& peer, std::optional<bool> before) {
    const bool up = *peer.up;
    const PeerIdentity& identity = *peer.identity;
    if (!before.has_value() && (up || identity.kind() == PeerKind::guest)) {
        // Ten thousand healthy peers at start are no news, nor is an address that a guest may have
        // made up: it never answered.
        return;
    }
    const std::string who = identity.name() == identity.address() || identity.address().empty()
                                ? identity.name()
                                : fmt::format("{} ({})", identity.name(), identity.address());
    const std::string text = up ? fmt::format("peer {} is up again", who)
                                : fmt::format("peer {} is down: {}", who, failures_text(peer));
    LogRecord record{up ? LogLevel::notice : LogLevel::warning,
                     text,
                     up ? peer_up_message : peer_down_message,
                     {{"REACHD_PEER", identity.name()}, {"REACHD_ADDRESS", identity.address()}}};
    if (const std::string& device = identity.details().device; !device.empty()) {
        record.fields.emplace_back("REACHD_DEVICE", device);
    }
    logs_.push_back(std::move(record));
}

}  // namespace reachd
