// All path MTU sessions: whose turn it is, the packets in flight, and the bytes a second that all
// of them together may cost. Knows no addresses, sockets or clocks: it says "send this packet of
// session 4" and is told what came back.
//
// Kept apart from the ProbeEngine: these packets decide no reachability and enter no histogram.
// Own trouble (a loop that stood still, an overflow of our receive buffer) is never taken for the
// path's: the check it spoiled begins anew.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/path_mtu.hpp"
#include "common/time.hpp"
#include "probes/path_mtu_session.hpp"
#include "probes/probe_cookie.hpp"
#include "probes/timer_wheel.hpp"

namespace reachd {

/// "Send this now." Each order must be answered, before the next poll(), by exactly one of
/// on_sent(), on_not_sent() and on_too_big_for_device().
struct MtuOrder {
    ProbeToken token;
    MtuPacket packet;
    std::uint16_t port = 0;  ///< of a datagram: no other that is out has it
};

class PathMtuProber {
  public:
    /// Searches at once; others wait for their turn.
    static constexpr std::size_t searches_max = 3;
    static constexpr std::size_t flights_max = 4096;
    /// A datagram's port is this and more: where traceroute finds no service either.
    static constexpr std::uint16_t first_port = 33'434;
    /// A loop later than this has stood still.
    static constexpr Duration stall_threshold = std::chrono::milliseconds(250);
    /// Boundaries remembered for each device, and devices for which they are.
    static constexpr std::size_t guesses_max = 2;
    static constexpr std::size_t guessed_devices_max = 256;

    PathMtuProber(std::uint32_t bytes_per_second, MonoTime start);

    /// The first check follows within a second or the interval, whichever is shorter, and the
    /// others an interval apart, both spread by `place` in [0, 1).
    std::uint32_t open(const PathMtuOptions& options, double place, MonoTime now);
    void close(std::uint32_t session);

    bool is_open(std::uint32_t session) const {
        return session < sessions_.size() && sessions_[session].machine.has_value();
    }

    void set_options(std::uint32_t session, const PathMtuOptions& options, MonoTime now);
    void set_facts(std::uint32_t session, const PathMtuFacts& facts, MonoTime now);

    void set_bytes_per_second(std::uint32_t limit) { bytes_per_second_ = limit; }

    /// Something on the way of this session has changed.
    void hurry(std::uint32_t session, MonoTime now);

    /// Distinguishes the sessions that had the same number one after the other.
    std::uint32_t generation(std::uint32_t session) const { return sessions_[session].generation; }

    /// First thing of every wake-up, before its events.
    void observe(MonoTime now);
    void poll(MonoTime now, std::vector<MtuOrder>& orders);
    MonoTime next_deadline() const;

    void on_sent(const MtuOrder& order, MonoTime at);
    /// The kernel refused it for reasons that are none of its size, or had no room.
    void on_not_sent(const MtuOrder& order, MonoTime now);
    /// The device's MTU is `mtu`.
    void on_too_big_for_device(const MtuOrder& order, std::uint32_t mtu, MonoTime now);

    /// An answer that has proved to be ours. `bytes`: of the whole IP packet; 0: to a datagram.
    /// `fragment`: the largest fragment it came in, as an IP packet; 0: whole.
    void on_answer(ProbeToken token, std::uint32_t bytes, std::uint32_t fragment, MonoTime now);
    /// False: it cannot be true.
    [[nodiscard]] bool on_too_big(ProbeToken token,
                                  const IpAddress& reporter,
                                  std::uint32_t mtu,
                                  MonoTime now);
    void on_receive_overflow(MonoTime now);

    /// Packets that are out.
    std::size_t in_flight() const { return flights_.size() - free_flights_.size(); }

    /// The packet in flight whose sequence number has these low 16 bits: for ICMP errors that quote
    /// no more than a header. Whom it went to must be compared yet.
    std::optional<ProbeToken> find(std::uint16_t low_bits) const;
    /// The datagram in flight to this port.
    std::optional<ProbeToken> find_datagram(std::uint16_t port) const;

    /// When this session has something to do next; mono_never while its packets are being sent.
    MonoTime due(std::uint32_t session) const { return sessions_[session].machine->due(); }

    PathMtu result(std::uint32_t session) const { return sessions_[session].machine->result(); }

    using Counts = std::array<std::uint64_t, mtu_packet_result_count>;

    /// By MtuPacketResult.
    const Counts& counts(std::uint32_t session) const { return sessions_[session].counts; }

    /// Sessions whose result may have changed since the last call, each once.
    std::vector<std::uint32_t> take_changed();

  private:
    static constexpr std::uint32_t none = 0xffffffffU;

    struct Session {
        std::optional<PathMtuSession> machine;
        std::vector<MtuPacket> volley;
        std::size_t ordered = 0;   ///< of the volley
        std::size_t reported = 0;  ///< of the volley
        std::uint32_t out = 0;     ///< packets in flight
        std::uint32_t generation = 0;
        Duration timeout{};    ///< an answer that comes later counts as none
        bool waiting = false;  ///< for its turn to search
        bool changed = false;
        std::uint32_t told = 0;  ///< revision of the result that was told
        Counts counts{};
    };

    struct Flight {
        std::uint32_t session = none;
        std::uint32_t sequence = 0;
        MtuPacket packet;
        MonoTime sent{};
        bool out = false;
        bool too_big = false;
    };

    void run(std::uint32_t id, MonoTime now);
    void settle(std::uint32_t id);
    void schedule(std::uint32_t id);
    void remember_boundary(const Session& session);
    bool may_search(std::uint32_t id);
    void wake_waiting(MonoTime now);

    bool is_queue_empty() const { return doubtful_queue_.empty() && queue_.empty(); }

    void send_queued(std::vector<MtuOrder>& orders);
    void give_order(std::uint32_t id, std::vector<MtuOrder>& orders);
    void refuse(const MtuOrder& order, MonoTime now);
    void on_reported(std::uint32_t id, MonoTime now);
    void expire_flights(MonoTime now);
    Flight* find_flight(ProbeToken token);
    const Flight* find_flight(ProbeToken token) const;
    void end_flight(Flight& flight, MtuPacketResult result, MonoTime now);
    void refill(MonoTime now);

    std::uint32_t bytes_per_second_;
    double tokens_ = 0;
    MonoTime refilled_;
    std::vector<Session> sessions_;
    std::vector<std::uint32_t> free_sessions_;
    TimerWheel session_wheel_;
    std::vector<Flight> flights_;
    std::vector<std::uint32_t> free_flights_;
    TimerWheel flight_wheel_;
    std::uint32_t next_turn_ = 0;
    std::deque<std::uint32_t> doubtful_queue_;  ///< sessions with packets to order, these first
    std::deque<std::uint32_t> queue_;           ///< and these
    std::vector<std::uint32_t> searching_;
    std::deque<std::uint32_t> waiting_;
    std::unordered_map<IfIndex, std::vector<std::uint32_t>> guesses_;  ///< best first
    std::vector<std::uint32_t> changed_;
};

}  // namespace reachd
