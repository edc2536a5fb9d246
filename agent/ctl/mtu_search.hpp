// One search for the path MTU to one destination: a prober with a single session, the proof that an
// answer is ours, and the end. Pure: is told the time, and gives requests to whoever has sockets.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "agent/ctl/mtu_trace.hpp"
#include "common/path_mtu.hpp"
#include "common/probe.hpp"
#include "common/time.hpp"
#include "probes/echo_request.hpp"
#include "probes/icmp_packet.hpp"
#include "probes/path_mtu_prober.hpp"
#include "probes/path_mtu_request.hpp"

namespace reachd::ctl {

/// An ICMP error that is no matter of size.
struct MtuComplaint {
    IpAddress reporter;
    FailureReason reason = FailureReason::timeout;
};

class MtuSearch {
  public:
    /// Then it is over, whatever is known. A search takes longer than some seconds only where the
    /// round trip does not stay far below the time-out.
    static constexpr Duration patience = std::chrono::seconds(10);
    /// Until the first answers tell how long one takes.
    static constexpr Duration timeout = std::chrono::milliseconds(500);
    /// As much as the daemon may cost by default.
    static constexpr std::uint32_t bytes_per_second = 1'000'000;

    /// `key`: random bits, for the cookies.
    MtuSearch(const EchoTarget& target,
              const PathMtuFacts& facts,
              const std::array<std::uint64_t, 2>& key,
              MonoTime start);

    /// First thing of every wake-up, before its events.
    void observe(MonoTime now) { prober_.observe(now); }

    /// Appends what is to be sent now; each must be answered, before the next poll(), by exactly
    /// one of on_sent(), on_not_sent() and on_too_big_for_device().
    void poll(MonoTime now, std::vector<MtuRequest>& requests);
    MonoTime next_deadline() const;
    bool is_over(MonoTime now) const;

    /// A result was reached, be it that nothing can be said; false: the time was too short.
    bool is_settled() const;

    void on_sent(const MtuOrder& order, MonoTime at);

    void on_not_sent(const MtuOrder& order, MonoTime now) { prober_.on_not_sent(order, now); }

    void on_too_big_for_device(const MtuOrder& order, std::uint32_t mtu, MonoTime now) {
        prober_.on_too_big_for_device(order, mtu, now);
    }

    /// Whatever is not ours is ignored; see PathMtuSink for the arguments.
    void on_reply(const IpAddress& from,
                  const EchoReply& reply,
                  std::uint32_t bytes,
                  std::uint32_t fragment,
                  MonoTime now);
    void on_echo_error(const IpAddress& reporter, const EchoError& error, MonoTime now);
    void on_datagram_error(const IpAddress& reporter,
                           const IpAddress& destination,
                           std::uint16_t port,
                           FailureReason reason,
                           std::uint32_t mtu,
                           MonoTime now);

    void on_overflow(MonoTime now) { prober_.on_receive_overflow(now); }

    PathMtu result() const { return prober_.result(session_); }

    const MtuTrace& trace() const { return trace_; }

    /// The last one about our echo requests.
    const std::optional<MtuComplaint>& complaint() const { return complaint_; }

  private:
    ProbeCookie cookie(ProbeToken token) const { return {key_.tag(token, 0), token}; }

    std::uint64_t count(MtuPacketResult result) const {
        return prober_.counts(session_)[static_cast<std::size_t>(result)];
    }

    void take_answer(ProbeToken token, std::uint32_t bytes, std::uint32_t fragment, MonoTime now);
    void take_too_big(ProbeToken token, const IpAddress& reporter, std::uint32_t mtu, MonoTime now);

    EchoTarget target_;
    CookieKey key_;
    MonoTime start_;
    PathMtuProber prober_;
    std::uint32_t session_;
    MtuTrace trace_;
    std::optional<MtuComplaint> complaint_;
    std::vector<MtuOrder> orders_;
};

}  // namespace reachd::ctl
