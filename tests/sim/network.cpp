#include "tests/sim/network.hpp"

#include <algorithm>
#include <utility>

namespace reachd::sim {
namespace {

constexpr std::uint32_t ipv4_header_bytes = 20;
constexpr std::uint32_t ipv6_header_bytes = 40;

const IpAddress& ourselves(Family family) {
    static const IpAddress ipv4 = IpAddress::v4({10, 255, 0, 99});
    static const IpAddress ipv6 =
        IpAddress::v6({0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 99});
    return family == Family::ipv4 ? ipv4 : ipv6;
}

void heal_link(LinkFaults& link) {
    LinkFaults healthy;
    healthy.delay = link.delay;
    link = healthy;
}

EchoReply true_reply(const EchoRequest& request) {
    return {request.identifier,
            static_cast<std::uint16_t>(request.cookie.token.sequence),
            request.cookie};
}

Arrival forged_answer(const EchoRequest& request, Forgery forgery) {
    Arrival arrival;
    arrival.from = request.target.destination;
    arrival.reply = true_reply(request);
    switch (forgery) {
        case Forgery::none: break;
        case Forgery::cookie: arrival.reply.cookie.tag ^= 1U; break;
        case Forgery::source: arrival.from = router_of(request.target.destination.family()); break;
        case Forgery::identifier: arrival.reply.identifier ^= 1U; break;
        case Forgery::sequence: arrival.reply.sequence ^= 1U; break;
    }
    return arrival;
}

}  // namespace

const IpAddress& router_of(Family family) {
    static const IpAddress ipv4 = IpAddress::v4({10, 255, 0, 1});
    static const IpAddress ipv6 =
        IpAddress::v6({0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
    return family == Family::ipv4 ? ipv4 : ipv6;
}

std::uint32_t packet_bytes(const EchoTarget& target) {
    const bool ipv4 = target.destination.family() == Family::ipv4;
    return target.payload_bytes + static_cast<std::uint32_t>(icmp_header_bytes) +
           (ipv4 ? ipv4_header_bytes : ipv6_header_bytes);
}

Path& Network::path(std::string_view address) {
    return path(*IpAddress::parse(address));
}

bool Network::knows(const IpAddress& address) const {
    return std::any_of(paths_.begin(), paths_.end(), [&address](const Path& path) {
        return path.address == address;
    });
}

std::size_t Network::index_of(const IpAddress& address) {
    for (std::size_t i = 0; i < paths_.size(); ++i) {
        if (paths_[i].address == address) {
            return i;
        }
    }
    paths_.emplace_back().address = address;
    return paths_.size() - 1;
}

LinkPair& Network::segment(std::size_t index) {
    while (segments_.size() <= index) {
        segments_.emplace_back();
    }
    return segments_[index];
}

void Network::heal() {
    for (LinkPair& segment : segments_) {
        heal_link(segment.there);
        heal_link(segment.back);
    }
    for (Path& path : paths_) {
        heal_link(path.link.there);
        heal_link(path.link.back);
        path.router = {};
        path.host = {};
        path.neighbour_dead = false;
    }
}

/// Takes each copy over one link.
void Network::cross(const LinkFaults& link, std::uint32_t bytes) {
    crossed_.clear();
    const bool swallowed = link.down || (link.mtu_bytes != 0 && bytes > link.mtu_bytes);
    for (std::size_t i = 0; i < copies_.size() && !swallowed; ++i) {
        const bool twice = happens(link.duplication, random_);
        for (int copy = 0; copy < (twice ? 2 : 1); ++copy) {
            if (happens(link.loss, random_) || crossed_.size() == copies_max) {
                continue;
            }
            Duration time = copies_[i] + link.delay + random_duration(link.jitter, random_);
            if (happens(link.reordering, random_)) {
                time += link.reorder_by;
            }
            crossed_.push_back(time);
        }
    }
    std::swap(copies_, crossed_);
}

void Network::carry(const EchoRequest& request, MonoTime now, std::vector<Arrival>& arrivals) {
    arrivals.clear();
    Path& way = path(request.target.destination);
    const std::uint32_t bytes = packet_bytes(request.target);
    copies_.assign(1, Duration::zero());
    if (way.neighbour_dead) {
        return report(way, request, FailureReason::host_unreachable, now, arrivals);
    }
    cross(segment(way.segment).there, bytes);
    const bool too_big = way.router.mtu_bytes != 0 && bytes > way.router.mtu_bytes;
    if (way.router.says || too_big) {
        const auto reason = way.router.says.value_or(FailureReason::too_big);
        return report(way, request, reason, now, arrivals);
    }
    cross(way.link.there, bytes);
    if (way.host.filtered) {
        return;
    }
    answer(way, request, arrivals);
}

void Network::answer(const Path& way, const EchoRequest& request, std::vector<Arrival>& arrivals) {
    const std::uint32_t bytes = packet_bytes(request.target);
    const std::size_t asked = copies_.size();
    for (std::size_t i = 0; i < asked; ++i) {
        copies_[i] += way.host.answer_after;
        for (std::uint32_t copy = 0; copy < way.host.duplicates; ++copy) {
            copies_.push_back(copies_[i]);
        }
    }
    cross(way.link.back, bytes);
    cross(segment(way.segment).back, bytes);
    for (const Duration after : copies_) {
        if (way.host.forgery != Forgery::none) {
            arrivals.push_back(forged_answer(request, way.host.forgery));
            arrivals.back().after = after;
        }
        if (way.host.forgery == Forgery::none || way.host.answers_too) {
            Arrival& arrival = arrivals.emplace_back();
            arrival.after = after;
            arrival.genuine = true;
            arrival.from = request.target.destination;
            arrival.reply = true_reply(request);
        }
    }
}

/// An ICMP error: from our own host when a neighbour is dead, else from the router.
void Network::report(Path& way,
                     const EchoRequest& request,
                     FailureReason reason,
                     MonoTime now,
                     std::vector<Arrival>& arrivals) {
    if (copies_.empty() ||
        (way.last_error != MonoTime{} && now - way.last_error < way.router.error_interval)) {
        return;
    }
    way.last_error = now;
    if (!way.neighbour_dead) {
        copies_.resize(1);
        cross(segment(way.segment).back, ipv6_header_bytes);
        if (copies_.empty()) {
            return;
        }
    }
    const Family family = way.address.family();
    Arrival& arrival = arrivals.emplace_back();
    arrival.after = way.neighbour_dead ? way.neighbour_timeout : copies_.front();
    arrival.is_error = true;
    arrival.from = way.neighbour_dead ? ourselves(family) : router_of(family);
    arrival.from.set_scope(request.target.destination.scope());
    arrival.error.reason = reason;
    arrival.error.destination = request.target.destination;
    arrival.error.destination.set_scope(IfIndex::any);  // a quote carries none
    arrival.error.source = ourselves(family);
    arrival.error.identifier = request.identifier;
    arrival.error.sequence = static_cast<std::uint16_t>(request.cookie.token.sequence);
    arrival.error.mtu = reason == FailureReason::too_big ? way.router.mtu_bytes : 0;
    if (!way.router.bare_quote) {
        arrival.error.cookie = request.cookie;
    }
}

}  // namespace reachd::sim
