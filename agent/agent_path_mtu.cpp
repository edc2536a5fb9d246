#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "agent/agent.hpp"
#include "agent/mtu_consistency.hpp"

namespace reachd {
namespace {

/// systemd's MESSAGE_ID, never to be changed.
constexpr std::string_view mtu_mismatch_message = "5d0c8b1f7a4e4e0c9a3d6f2b81c7e954";
constexpr std::string_view mtu_as_expected_message = "c2a96e3fd5b84b7f8e1400d97b3a6c12";
constexpr std::string_view mtu_conflict_message = "9e7b35a0d1624c58b6f0a2c4e8d31f76";
constexpr std::string_view mtu_fit_message = "b41f0c97e2d84a6ba5c3708e19f6d2a0";

/// Devices come and go as they like; their MTUs are compared at this pace, and only after what
/// belongs together has been told.
constexpr Duration conflicts_interval = std::chrono::milliseconds(100);
constexpr Duration conflicts_settle_time = std::chrono::milliseconds(30);

/// Sets tokens of path MTU probing apart from those of the probe engine, under one key.
constexpr std::uint32_t mtu_domain = 0x80000000U;

/// Whether the log line would be the same.
bool reads_alike(const PathMtu& a, const PathMtu& b) {
    return a.verdict == b.verdict && a.bytes == b.bytes && a.expected == b.expected &&
           a.direction == b.direction && a.reporter == b.reporter && a.device == b.device;
}

/// A bridge has one of a kind at most, however many of its ports are too large.
bool is_same(const MtuInconsistency& a, const MtuInconsistency& b) {
    const bool by_bridge =
        a.conflict != MtuConflict::veth_ends && a.conflict != MtuConflict::overlay_above_underlay;
    return a.conflict == b.conflict && a.bridge == b.bridge &&
           (by_bridge || (a.larger == b.larger && a.smaller == b.smaller));
}

/// Whether the log line would be the same.
bool reads_same(const MtuInconsistency& a, const MtuInconsistency& b) {
    return is_same(a, b) && a.larger == b.larger && a.smaller == b.smaller &&
           a.larger_bytes == b.larger_bytes && a.smaller_bytes == b.smaller_bytes;
}

bool is_among(const MtuInconsistency& one,
              const std::vector<MtuInconsistency>& all,
              bool (*same)(const MtuInconsistency&, const MtuInconsistency&)) {
    return std::any_of(all.begin(), all.end(), [&](const auto& other) { return same(one, other); });
}

std::string_view verdict_text(MtuVerdict verdict) {
    switch (verdict) {
        case MtuVerdict::undetermined: return "not known";
        case MtuVerdict::ok: return "as expected";
        case MtuVerdict::signalled: return "too big for a router";
        case MtuVerdict::black_hole: return "larger packets vanish silently";
        case MtuVerdict::local: return "a device of this host is smaller";
        case MtuVerdict::peer_egress: return "the peer answers in fragments, its MTU is smaller";
    }
    return "";
}

std::string direction_text(MtuDirection direction) {
    switch (direction) {
        case MtuDirection::none: return "";
        case MtuDirection::forward: return ", towards the peer";
        case MtuDirection::reverse: return ", on the way back";
        case MtuDirection::both: return ", both ways";
        case MtuDirection::unknown: return ", direction unknown";
    }
    return "";
}

}  // namespace

// ---- Who, and which way

void Agent::want_mtu(std::uint32_t id, const MtuOptions& options, const Instant& now) {
    mtus_.want(id, options, now.mono);
}

void Agent::aim_mtu(std::uint32_t id, bool anew, const Instant& now) {
    mtus_.aim(id, mtu_aim(peers_[id]), anew, netlink_.topology(), now.mono);
}

/// A guest on whose segment the host has no address cannot be asked by ICMP.
std::optional<MtuAim> Agent::mtu_aim(const Peer& peer) const {
    const bool is_guest = peer.identity->kind() == PeerKind::guest;
    if (!peer.is_resolved() || (peer.extras && peer.extras->device_missing) ||
        (is_guest && peer.target.device == IfIndex::any)) {
        return std::nullopt;
    }
    MtuAim aim{peer.target.destination.family(), peer.target.device, IfIndex::any};
    if (is_guest && peer.extras && peer.extras->neighbour) {
        aim.port = peer.extras->neighbour->device;
    }
    return aim;
}

void Agent::follow_mtu_ways(const Instant& now) {
    const Topology& topology = netlink_.topology();
    if (!netlink_.synced()) {
        return;
    }
    const bool links_changed = mtu_structure_ != topology.structure_revision();
    const bool routes_changed = mtu_routes_ != topology.route_revision();
    const bool neighbours_changed = mtu_neighbours_ != topology.neighbour_revision();
    mtu_structure_ = topology.structure_revision();
    mtu_routes_ = topology.route_revision();
    mtu_neighbours_ = topology.neighbour_revision();
    if (links_changed) {
        mtus_.follow_links(topology, now.mono);
        next_mtu_conflicts_ =
            std::min(next_mtu_conflicts_,
                     std::max(now.mono + conflicts_settle_time, mtu_conflicts_not_before_));
    }
    if (neighbours_changed) {
        mtus_.doubt_ports(now.mono);
    }
    if (links_changed || routes_changed) {
        mtus_.doubt_ways(now.mono);
    }
    if (now.mono >= next_mtu_conflicts_) {
        next_mtu_conflicts_ = mono_never;
        mtu_conflicts_not_before_ = now.mono + conflicts_interval;
        find_mtu_conflicts();
    }
}

/// What is new is told once, and its end; what came or went by itself is told as that.
void Agent::find_mtu_conflicts() {
    const Topology& topology = netlink_.topology();
    const auto before = std::exchange(
        mtu_conflicts_, find_mtu_inconsistencies(topology.links(), topology.addresses()));
    for (const MtuInconsistency& gone : before) {
        const bool is_there = topology.link(gone.larger) && topology.link(gone.smaller);
        if (loses_traffic(gone.conflict) && is_there && !is_among(gone, mtu_conflicts_, is_same)) {
            tell_mtu_conflict(gone, true);
        }
    }
    for (const MtuInconsistency& found : mtu_conflicts_) {
        if (loses_traffic(found.conflict) && !is_among(found, before, reads_same)) {
            tell_mtu_conflict(found, false);
        }
    }
}

void Agent::tell_mtu_conflict(const MtuInconsistency& conflict, bool is_over) {
    const Topology& topology = netlink_.topology();
    const auto larger = topology.name_of(conflict.larger);
    const auto smaller = topology.name_of(conflict.smaller);
    if (is_over) {
        logs_.push_back({LogLevel::notice,
                         fmt::format("MTUs fit again ({}): {} no longer has more than {} takes",
                                     to_text(conflict.conflict),
                                     larger,
                                     smaller),
                         mtu_fit_message,
                         {}});
        return;
    }
    logs_.push_back({LogLevel::warning,
                     fmt::format("MTUs do not fit ({}): {} has {}, {} takes {}",
                                 to_text(conflict.conflict),
                                 larger,
                                 conflict.larger_bytes,
                                 smaller,
                                 conflict.smaller_bytes),
                     mtu_conflict_message,
                     {}});
}

// ---- Packets

ProbeCookie Agent::mtu_cookie(ProbeToken token) const {
    return {cookie_key_.tag(token, mtus_.prober().generation(token.session) | mtu_domain), token};
}

bool Agent::is_ours_of_mtu(const ProbeCookie& cookie) const {
    return mtus_.prober().is_open(cookie.token.session) &&
           mtu_cookie(cookie.token).tag == cookie.tag;
}

void Agent::order_mtu_packets(const Instant& now, Actions& actions) {
    mtu_orders_.clear();
    mtu_lookups_.clear();
    mtus_.poll(now.mono, mtu_lookups_, mtu_orders_);
    for (const std::uint32_t id : mtu_lookups_) {
        const EchoTarget& target = peers_[id].target;
        actions.egress_lookups.push_back({id, target.destination, target.source, target.device});
    }
    for (const MtuOrder& order : mtu_orders_) {
        const EchoTarget& target = peers_[mtus_.peer_of(order.token.session)].target;
        actions.mtu_requests[static_cast<std::size_t>(target.destination.family())].push_back(
            {order, target, mtu_cookie(order.token)});
    }
    log_mtu_changes();
}

void Agent::handle(const MtuPacketSent& event, const Instant& now) {
    mtus_.prober().on_sent(event.order, now.mono);
}

void Agent::handle(const MtuPacketNotSent& event, const Instant& now) {
    mtus_.prober().on_not_sent(event.order, now.mono);
}

void Agent::handle(const MtuPacketTooBig& event, const Instant& now) {
    mtus_.prober().on_too_big_for_device(event.order, event.mtu, now.mono);
}

void Agent::handle(const MtuReplied& event, const Instant& now) {
    const ProbeCookie& cookie = event.reply.cookie;
    if (!is_ours_of_mtu(cookie) ||
        event.reply.sequence != static_cast<std::uint16_t>(cookie.token.sequence)) {
        return ignore(Ignored::foreign);
    }
    if (event.from != peers_[mtus_.peer_of(cookie.token.session)].target.destination) {
        return ignore(Ignored::wrong_source);
    }
    mtus_.prober().on_answer(cookie.token, event.bytes, event.fragment, now.mono);
}

/// A quote with the cookie proves itself; one of a bare header must match the destination of the
/// packet in flight that has its sequence number.
void Agent::handle(const MtuEchoFailed& event, const Instant& now) {
    const EchoError& error = event.error;
    const auto token =
        error.cookie ? std::optional(error.cookie->token) : mtus_.prober().find(error.sequence);
    if (!token || (error.cookie && !is_ours_of_mtu(*error.cookie)) ||
        !peers_[mtus_.peer_of(token->session)].target.destination.has_same_bytes(
            error.destination)) {
        return ignore(Ignored::foreign);
    }
    if (error.reason == FailureReason::too_big &&
        !mtus_.prober().on_too_big(*token, event.reporter, error.mtu, now.mono)) {
        ignore(Ignored::foreign);
    }
}

/// That a port is closed only the peer itself can know.
void Agent::handle(const MtuDatagramFailed& event, const Instant& now) {
    const auto token = mtus_.prober().find_datagram(event.port);
    if (!token || !peers_[mtus_.peer_of(token->session)].target.destination.has_same_bytes(
                      event.destination)) {
        return ignore(Ignored::foreign);
    }
    if (event.reason == FailureReason::port_unreachable) {
        if (!event.reporter.has_same_bytes(event.destination)) {
            return ignore(Ignored::wrong_source);
        }
        mtus_.prober().on_answer(*token, 0, 0, now.mono);
    } else if (event.reason == FailureReason::too_big &&
               !mtus_.prober().on_too_big(*token, event.reporter, event.mtu, now.mono)) {
        ignore(Ignored::foreign);
    }
}

void Agent::handle(const MtuOverflowed&, const Instant& now) {
    mtus_.prober().on_receive_overflow(now.mono);
}

void Agent::handle(const EgressFound& event, const Instant& now) {
    if (event.peer >= peers_.places() || !peers_[event.peer].identity) {
        return;
    }
    const Topology& topology = netlink_.topology();
    const auto& [device, gateway] = event.egress;
    const IpAddress& next_hop =
        gateway.is_unspecified() ? peers_[event.peer].target.destination : gateway;
    const MtuWay way{device, topology.port_towards(device, next_hop)};
    mtus_.on_egress(event.peer, way, topology, now.mono);
}

// ---- Results

/// Who says so, or which device it is.
std::string Agent::mtu_source_text(const PathMtu& mtu) const {
    if (mtu.device != IfIndex::any) {
        return fmt::format(": {}", netlink_.topology().name_of(mtu.device));
    }
    if (mtu.reporter.is_unspecified()) {
        return "";
    }
    const std::string_view zone = netlink_.topology().name_of(mtu.reporter.scope());
    return fmt::format(", {} says {}", mtu.reporter.to_string(zone), mtu.reported);
}

void Agent::log_mtu_changes() {
    for (const std::uint32_t id : mtus_.take_changed()) {
        const PeerIdentity& identity = *peers_[id].identity;
        const PathMtu mtu = mtus_.result(id).value_or(PathMtu{});
        const auto told = mtu_told_.find(id);
        const bool was_ill = told != mtu_told_.end();
        if (is_mismatch(mtu.verdict)) {
            if (was_ill && reads_alike(told->second, mtu)) {
                continue;
            }
            mtu_told_[id] = mtu;
            logs_.push_back(
                {LogLevel::warning,
                 fmt::format("path MTU to {} ({}) is {}, {} expected: {}{}{}",
                             identity.name(),
                             identity.address(),
                             mtu.bytes,
                             mtu.expected,
                             verdict_text(mtu.verdict),
                             direction_text(mtu.direction),
                             mtu_source_text(mtu)),
                 mtu_mismatch_message,
                 {{"REACHD_PEER", identity.name()}, {"REACHD_ADDRESS", identity.address()}}});
        } else if (was_ill && mtu.verdict == MtuVerdict::ok) {
            mtu_told_.erase(told);
            logs_.push_back(
                {LogLevel::notice,
                 fmt::format("path MTU to {} ({}) is {} again, as expected",
                             identity.name(),
                             identity.address(),
                             mtu.bytes),
                 mtu_as_expected_message,
                 {{"REACHD_PEER", identity.name()}, {"REACHD_ADDRESS", identity.address()}}});
        }
    }
}

void Agent::snapshot_mtu(std::uint32_t id, std::uint32_t place, Snapshot& snapshot) const {
    if (const auto mtu = mtus_.result(id)) {
        snapshot.path_mtus.push_back({place, *mtu, *mtus_.counts(id)});
    }
}

}  // namespace reachd
