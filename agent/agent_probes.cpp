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

void Agent::handle(const EchoSent& event, const Instant& now) {
    engine_.on_sent(event.order, now);
}

void Agent::handle(const EchoNotSent& event, const Instant& now) {
    engine_.on_not_sent(event.order, event.reason, now);
}

void Agent::handle(const EchoSkipped& event, const Instant&) {
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
        const std::uint32_t session = peers_[id].session;
        if (session == Peer::no_session || !engine_.knows_sequence(session, error.sequence)) {
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
    if (destination.bytes().size() != error.destination.bytes().size() ||
        !std::equal(destination.bytes().begin(),
                    destination.bytes().end(),
                    error.destination.bytes().begin())) {
        return ignore(Ignored::foreign);
    }
    // Our own host says "host unreachable" when nobody answers ARP or neighbour discovery.
    const bool by_ourselves = std::equal(error.source.bytes().begin(),
                                         error.source.bytes().end(),
                                         event.reporter.bytes().begin(),
                                         event.reporter.bytes().end());
    const bool neighbour = by_ourselves && error.reason == FailureReason::host_unreachable;
    engine_.on_error(*session, neighbour ? FailureReason::neighbour_failed : error.reason, now);
}

void Agent::handle(const PacketRejected& event, const Instant&) {
    ignore(reason_of(event.flaw));
}

void Agent::handle(const ReceiveOverflowed&, const Instant& now) {
    engine_.on_receive_overflow(now);
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

void Agent::order_echo(const SendOrder& order, const Instant& now, Actions& actions) {
    const std::uint32_t session = order.token.session;
    const Peer& peer = peers_[peers_.peer_of(session)];
    if (!peer.is_resolved()) {
        return engine_.on_not_sent(order, FailureReason::unresolved, now);
    }
    const std::size_t family = index(peer.target.destination.family());
    const bool device_missing = peer.extras && peer.extras->device_missing;
    if (device_missing && !netlink_.synced()) {
        return engine_.on_skipped(order, SkipReason::busy);  // not missed yet: we do not know
    }
    if (!family_open_[family] || device_missing) {
        return engine_.on_not_sent(order, FailureReason::local_error, now);
    }
    const std::uint64_t tag = cookie_key_.tag(order.token, engine_.generation(session));
    actions.echo_requests[family].push_back(
        {order,
         peer.target,
         ProbeCookie{tag, order.token},
         identifier_of(peer.target.destination.family(), session)});
}

// ---- Verdicts

void Agent::judge_changed_peers(const Instant& now) {
    for (const std::uint32_t session : engine_.take_changed()) {
        Peer& peer = peers_[peers_.peer_of(session)];
        peer.state = engine_.state(session);
        const auto before = std::exchange(peer.up, engine_.up(session));
        if (peer.up == before) {
            continue;
        }
        peer.last_change = now.wall;
        ++verdicts_;
        if (before.has_value()) {
            ++peer.state_changes;
        }
        log_verdict(peer, before);
    }
}

void Agent::log_verdict(const Peer& peer, std::optional<bool> before) {
    const bool up = *peer.up;
    if (up && !before.has_value()) {
        return;  // ten thousand healthy peers at start are no news
    }
    const PeerIdentity& identity = *peer.identity;
    const std::string who = identity.name() == identity.address() || identity.address().empty()
                                ? identity.name()
                                : fmt::format("{} ({})", identity.name(), identity.address());
    const std::string text =
        up ? fmt::format("peer {} is up again", who)
           : fmt::format("peer {} is down: {}", who, to_text(engine_.last_failure(peer.session)));
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
