#include "agent/ctl/mtu_search.hpp"

#include <algorithm>

namespace reachd::ctl {
namespace {

/// Far beyond the end: there is one check, and no second.
constexpr Duration interval = std::chrono::hours(1);

}  // namespace

MtuSearch::MtuSearch(const EchoTarget& target,
                     const PathMtuFacts& facts,
                     const std::array<std::uint64_t, 2>& key,
                     MonoTime start)
    : target_(target),
      key_(key),
      start_(start),
      prober_(bytes_per_second, start),
      session_(prober_.open({target.destination.family(), interval, timeout}, 0, start)) {
    prober_.set_facts(session_, facts, start);
}

void MtuSearch::poll(MonoTime now, std::vector<MtuRequest>& requests) {
    orders_.clear();
    prober_.poll(now, orders_);
    for (const MtuOrder& order : orders_) {
        requests.push_back({order, target_, cookie(order.token)});
    }
}

MonoTime MtuSearch::next_deadline() const {
    return std::min(prober_.next_deadline(), start_ + patience);
}

bool MtuSearch::is_settled() const {
    const MonoTime due = prober_.due(session_);
    return due != mono_never && due > start_ + interval / 2;
}

bool MtuSearch::is_over(MonoTime now) const {
    return is_settled() || now >= start_ + patience;
}

void MtuSearch::on_sent(const MtuOrder& order, MonoTime at) {
    trace_.on_sent(order);
    prober_.on_sent(order, at);
}

/// The prober knows which answers are out of time, or came before; the trace shall show the same.
void MtuSearch::take_answer(ProbeToken token,
                            std::uint32_t bytes,
                            std::uint32_t fragment,
                            MonoTime now) {
    const std::uint64_t before = count(MtuPacketResult::answered);
    prober_.on_answer(token, bytes, fragment, now);
    if (count(MtuPacketResult::answered) != before) {
        trace_.on_answered(token, fragment);
    }
}

void MtuSearch::take_too_big(ProbeToken token,
                             const IpAddress& reporter,
                             std::uint32_t mtu,
                             MonoTime now) {
    const std::uint64_t before = count(MtuPacketResult::too_big);
    static_cast<void>(prober_.on_too_big(token, reporter, mtu, now));
    if (count(MtuPacketResult::too_big) != before) {
        trace_.on_too_big(token, reporter, mtu);
    }
}

void MtuSearch::on_reply(const IpAddress& from,
                         const EchoReply& reply,
                         std::uint32_t bytes,
                         std::uint32_t fragment,
                         MonoTime now) {
    const ProbeToken token = reply.cookie.token;
    const bool is_ours = token.session == session_ && cookie(token).tag == reply.cookie.tag &&
                         reply.sequence == static_cast<std::uint16_t>(token.sequence);
    if (is_ours && from == target_.destination) {
        take_answer(token, bytes, fragment, now);
    }
}

/// A quote with the cookie proves itself; one of a bare header must match a packet in flight.
void MtuSearch::on_echo_error(const IpAddress& reporter, const EchoError& error, MonoTime now) {
    const auto token =
        error.cookie ? std::optional(error.cookie->token) : prober_.find(error.sequence);
    const bool is_ours = token && token->session == session_ &&
                         (!error.cookie || cookie(*token).tag == error.cookie->tag);
    if (!is_ours || !target_.destination.has_same_bytes(error.destination)) {
        return;
    }
    if (error.reason == FailureReason::too_big) {
        take_too_big(*token, reporter, error.mtu, now);
    } else {
        complaint_ = MtuComplaint{reporter, error.reason};
    }
}

/// That a port is closed only the destination itself can know.
void MtuSearch::on_datagram_error(const IpAddress& reporter,
                                  const IpAddress& destination,
                                  std::uint16_t port,
                                  FailureReason reason,
                                  std::uint32_t mtu,
                                  MonoTime now) {
    const auto token = prober_.find_datagram(port);
    if (!token || !target_.destination.has_same_bytes(destination)) {
        return;
    }
    if (reason == FailureReason::port_unreachable && reporter.has_same_bytes(destination)) {
        take_answer(*token, 0, 0, now);
    } else if (reason == FailureReason::too_big) {
        take_too_big(*token, reporter, mtu, now);
    }
}

}  // namespace reachd::ctl
