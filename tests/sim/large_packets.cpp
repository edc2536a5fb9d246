#include "tests/sim/large_packets.hpp"

#include <algorithm>
#include <utility>

namespace reachd::sim {
namespace {

/// Of an ICMP error with its quote.
constexpr std::uint32_t error_bytes = 84;

/// Two fragments: half of it, and headers.
constexpr std::uint32_t fragment_bytes(std::uint32_t bytes) {
    return bytes / 2 + 56;
}

/// The largest fragment that a device of this MTU sends: all but the last carry a multiple of 8
/// bytes (RFC 791, section 2.3; RFC 8200, section 4.5).
std::uint32_t largest_fragment(Family family, std::uint32_t mtu) {
    const std::uint32_t header = family == Family::ipv4 ? 20 : 48;
    return header + (mtu - header) / 8 * 8;
}

}  // namespace

void LargePackets::advance() {
    while (!travelling_.empty() && travelling_.begin()->first <= now_.mono) {
        inbox_.push_back(std::move(travelling_.begin()->second));
        travelling_.erase(travelling_.begin());
    }
}

void LargePackets::drain(Agent& agent) {
    for (const News& news : std::exchange(inbox_, {})) {
        if (news.reply) {
            agent.handle(*news.reply, now_);
        } else if (news.echo_error) {
            agent.handle(*news.echo_error, now_);
        } else if (news.datagram_error) {
            agent.handle(*news.datagram_error, now_);
        }
    }
}

void LargePackets::perform(const Actions& actions, Agent& agent) {
    for (const EgressLookup& lookup : actions.egress_lookups) {
        agent.handle(EgressFound{lookup.peer, {egress, {}}}, now_);
    }
    for (const auto& family : actions.mtu_requests) {
        for (const MtuRequest& request : family) {
            send(request, agent);
        }
    }
}

void LargePackets::count(std::uint32_t bytes) {
    ++packets_;
    lately_.emplace_back(now_.mono, bytes);
    bytes_lately_ += bytes;
    while (lately_.front().first + 1s <= now_.mono) {
        bytes_lately_ -= lately_.front().second;
        lately_.pop_front();
    }
    bytes_per_second_max_ = std::max(bytes_per_second_max_, bytes_lately_);
}

void LargePackets::send(const MtuRequest& request, Agent& agent) {
    const MtuPacket& packet = request.order.packet;
    if (happens(busy, random_)) {
        agent.handle(MtuPacketNotSent{request.order}, now_);
        return;
    }
    const bool in_fragments = packet.form == MtuForm::fragmented_echo;
    if (!in_fragments && packet.bytes > egress_bytes) {
        agent.handle(MtuPacketTooBig{request.order, egress_bytes}, now_);
        return;
    }
    agent.handle(MtuPacketSent{request.order}, now_);
    count(packet.bytes);
    if (!network_.knows(request.target.destination)) {
        return;  // a guest: its host's bridge is no part of this model
    }
    Path& way = network_.path(request.target.destination);
    if (way.neighbour_dead) {
        return report(request, way, FailureReason::host_unreachable, way.neighbour_timeout);
    }
    const std::uint32_t bytes = in_fragments ? fragment_bytes(packet.bytes) : packet.bytes;
    const auto to_router = cross(network_.segment(way.segment).there, bytes);
    if (!to_router) {
        return;
    }
    const bool too_big = way.router.mtu_bytes != 0 && bytes > way.router.mtu_bytes;
    if (way.router.says || too_big) {
        return report(request, way, way.router.says.value_or(FailureReason::too_big), *to_router);
    }
    if (const auto to_peer = cross(way.link.there, bytes); to_peer && !way.host.filtered) {
        arrive(request, way, *to_router + *to_peer + way.host.answer_after);
    }
}

/// Nothing: it is lost.
std::optional<Duration> LargePackets::cross(const LinkFaults& link, std::uint32_t bytes) {
    if (link.down || (link.mtu_bytes != 0 && bytes > link.mtu_bytes) ||
        happens(link.loss, random_)) {
        return std::nullopt;
    }
    return link.delay + random_duration(link.jitter, random_);
}

void LargePackets::arrive(const MtuRequest& request, const Path& way, Duration so_far) {
    const MtuPacket& packet = request.order.packet;
    const IpAddress& peer = request.target.destination;
    const bool is_datagram = packet.form == MtuForm::datagram;
    if (is_datagram && way.host.closed_ports_silent) {
        return;
    }
    const std::uint32_t answer = is_datagram ? error_bytes : packet.bytes;
    const bool in_fragments = way.host.mtu_bytes != 0 && answer > way.host.mtu_bytes;
    const std::uint32_t largest =
        in_fragments ? largest_fragment(peer.family(), way.host.mtu_bytes) : answer;
    const auto to_router = cross(way.link.back, largest);
    const auto to_us = cross(network_.segment(way.segment).back, largest);
    if (!to_router || !to_us) {
        return;
    }
    News news;
    if (is_datagram) {
        news.datagram_error =
            MtuDatagramFailed{peer, peer, request.order.port, FailureReason::port_unreachable, 0};
    } else {
        const ProbeCookie& cookie = request.cookie;
        const auto sequence = static_cast<std::uint16_t>(cookie.token.sequence);
        news.reply =
            MtuReplied{peer, {0, sequence, cookie}, packet.bytes, in_fragments ? largest : 0};
    }
    post(std::move(news), so_far + *to_router + *to_us);
}

/// From the router, or of our own host about a neighbour that does not answer.
void LargePackets::report(const MtuRequest& request,
                          Path& way,
                          FailureReason reason,
                          Duration so_far) {
    if (way.last_error != MonoTime{} && now_.mono - way.last_error < way.router.error_interval) {
        return;
    }
    way.last_error = now_.mono;
    const auto back = cross(network_.segment(way.segment).back, error_bytes);
    if (!back) {
        return;
    }
    const IpAddress& peer = request.target.destination;
    const IpAddress reporter = router_of(peer.family());
    const std::uint32_t mtu = reason == FailureReason::too_big ? way.router.mtu_bytes : 0;
    News news;
    if (request.order.packet.form == MtuForm::datagram) {
        news.datagram_error = MtuDatagramFailed{reporter, peer, request.order.port, reason, mtu};
    } else {
        EchoError error;
        error.reason = reason;
        error.destination = peer;
        error.destination.set_scope(IfIndex::any);  // a quote carries none
        error.sequence = static_cast<std::uint16_t>(request.cookie.token.sequence);
        error.mtu = mtu;
        if (!way.router.bare_quote) {
            error.cookie = request.cookie;
        }
        news.echo_error = MtuEchoFailed{reporter, error};
    }
    post(std::move(news), so_far + *back);
}

void LargePackets::post(News news, Duration after) {
    travelling_.emplace(now_.mono + after, std::move(news));
}

}  // namespace reachd::sim
