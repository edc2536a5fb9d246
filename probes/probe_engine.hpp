// When to ask, and what became of each question: the schedule, the probes in flight, the accounting
// and the verdicts of every probe session of every kind. Knows no packets, addresses, sockets or
// clocks: it says "send probe 17 of session 4 now" and is told what came back.
//
// Invariants, for every session at every instant:
//   - sent = received + lost + in flight; each sent probe ends exactly once;
//   - lost = sum of the loss reasons; no counter ever falls;
//   - only answers in time give an RTT sample, and only those whose stamps can be trusted.
//
// The daemon's own trouble is kept apart from the network's. A loop that stood still is no proof of
// silence: probes that were out meanwhile get their whole time-out again, and their RTTs are
// discarded. So do probes whose answers our own receive buffer may have dropped; those are asked a
// second time. A step of the wall clock discards the samples in flight, never the answers.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "common/probe.hpp"
#include "common/random.hpp"
#include "common/snapshot.hpp"
#include "common/time.hpp"
#include "probes/probe_cookie.hpp"
#include "probes/probe_totals.hpp"
#include "probes/reachability.hpp"
#include "probes/rtt_histogram.hpp"
#include "probes/send_pace.hpp"
#include "probes/tcp_result.hpp"
#include "probes/timer_wheel.hpp"

namespace reachd {

struct EngineOptions {
    std::vector<double> rtt_edges;       ///< per session, seconds
    std::vector<double> host_rtt_edges;  ///< over all sessions of a kind, seconds
    std::uint32_t probes_per_second = 50000;
};

struct SessionOptions {
    ProbeKind kind = ProbeKind::icmp;
    PeerKind peer_kind = PeerKind::host;
    Duration interval = std::chrono::seconds(1);
    Duration timeout = std::chrono::seconds(1);

    friend bool operator==(const SessionOptions&, const SessionOptions&) = default;
};

/// "Send this now." Every order must be answered, before the next poll(), by exactly one of
/// on_sent(), on_not_sent() and on_skipped().
struct SendOrder {
    ProbeToken token;
    MonoTime due;           ///< when it should have gone out
    bool in_burst = false;  ///< part of a confirmation: no part of windows, jitter and baseline
    bool repeated = false;  ///< the same probe once more, since we lost its answer ourselves
};

class ProbeEngine {
  public:
    /// A loop later than this has stood still: nothing in flight is judged by it.
    static constexpr Duration stall_threshold = std::chrono::milliseconds(250);
    /// ICMP errors are rate-limited by those who send them, so one explains losses for this long.
    static constexpr Duration evidence_lifetime = std::chrono::seconds(10);
    static constexpr unsigned burst_size = 3;
    static constexpr Duration burst_spacing = std::chrono::milliseconds(150);
    static constexpr Duration verdict_delay = std::chrono::milliseconds(900);
    static constexpr unsigned in_flight_per_session_max = 256;
    /// A probe gets its time-out again, and a burst is asked again, this often at most, whatever
    /// befalls us: a verdict must come.
    static constexpr std::uint8_t second_chances_max = 2;
    /// 64 MB of probes in flight: the table cannot grow beyond it, whatever is configured.
    static constexpr std::size_t in_flight_max = 1'000'000;
    static constexpr std::uint32_t probes_per_second_max = SendPace::probes_per_second_max;

    ProbeEngine(const EngineOptions& options, Random& random, MonoTime start);

    /// Begins a session. Its first probe falls somewhere within the first interval, so that many
    /// sessions make a flat rate; to a peer that was found, and so comes alone or with a few, it
    /// goes at once.
    std::uint32_t open(const SessionOptions& options, MonoTime now);
    void close(std::uint32_t session);
    /// From the next probe on; its counters stay.
    void set_times(std::uint32_t session, Duration interval, Duration timeout, MonoTime now);
    void set_probes_per_second(std::uint32_t limit);
    /// Only while no session is open: their counts are by the old edges.
    void set_rtt_edges(std::vector<double> edges_in_seconds);
    void reserve(std::size_t sessions);

    bool is_open(std::uint32_t session) const {
        return session < sessions_.size() && sessions_[session].open;
    }

    /// Asks the processor for what an event about this session will need; false: there is none.
    bool prefetch_session(std::uint32_t session) const;

    /// Distinguishes the sessions that had the same number one after the other.
    std::uint32_t generation(std::uint32_t session) const { return sessions_[session].generation; }

    SessionOptions options(std::uint32_t session) const;

    Duration interval(std::uint32_t session) const { return sessions_[session].interval; }

    /// First thing of every wake-up, before its events: notices a loop that stood still and a wall
    /// clock that stepped.
    void observe(const Instant& now);

    /// Ends probes that are out of time and orders those that are due. After all events.
    void poll(const Instant& now, std::vector<SendOrder>& orders);

    /// mono_never when there is nothing to wait for.
    MonoTime next_deadline() const;

    void on_sent(const SendOrder& order, const Instant& at);
    /// The kernel refused it: evidence against the local path, but no sent probe.
    void on_not_sent(const SendOrder& order, FailureReason reason, const Instant& now);
    /// We could not offer it to the kernel (full buffer): says nothing about any path.
    void on_skipped(const SendOrder& order, SkipReason reason);

    /// What was asked until now proves nothing any more, for the peer is not what it was (its link
    /// came up again, it checks its address): a confirmation under way begins anew.
    void confirm_anew(std::uint32_t session, MonoTime now);
    void on_transmit_stamp(ProbeToken token, WallTime stamp);
    /// An answer that has proved to be ours; `received` is the kernel's stamp, if it gave one.
    void on_answer(ProbeToken token, std::optional<WallTime> received, const Instant& read);
    /// A true answer that does not say which probe it answers (ARP, neighbour discovery): counted
    /// for the one sent last before it of those that are out, else late for as many as were lost
    /// since the peer's last answer, else a duplicate. Gives an RTT only where it can belong to one
    /// probe alone: no other was out, none is lost whose answer may still come.
    void on_unnumbered_answer(std::uint32_t session,
                              std::optional<WallTime> received,
                              const Instant& read);
    /// How a connect ended before its time was out.
    void on_tcp_result(ProbeToken token, const TcpResult& result, const Instant& read);
    /// Retransmissions of a SYN that nobody waits for any more.
    void on_syn_retransmits(ProbeToken token, std::uint32_t count);
    /// An ICMP error about this session: explains losses, ends nothing.
    void on_error(std::uint32_t session, FailureReason reason, const Instant& now);
    /// The buffer that all answers of this kind come through overflowed: some may be gone that the
    /// network delivered. A connect is not asked again: the kernel itself takes its answer.
    void on_receive_overflow(ProbeKind kind);
    /// The buffer that only this session's answers come through did.
    void on_receive_overflow_of(std::uint32_t session);

    /// Another way of asking this peer is in doubt: ask at once in this way too. Not told by
    /// take_changed(), lest the ways of one peer suspect each other in turn.
    void suspect(std::uint32_t session, MonoTime now);

    /// The sequence number in flight (or lately) whose low 16 bits are these; for ICMP errors that
    /// quote no more than a header.
    bool knows_sequence(std::uint32_t session, std::uint16_t low_bits) const;

    /// A probe of this session is out and has no answer yet; or it was lost, and an answer without
    /// a number would be counted as its late one.
    bool awaits_answer(std::uint32_t session, MonoTime now) const;

    /// Sessions whose verdict or shown state may have changed since the last call, each once.
    std::vector<std::uint32_t> take_changed();

    /// Connects that were given up since the last call: out of time, or their session is closed.
    std::vector<ProbeToken> take_abandoned() { return std::exchange(abandoned_, {}); }

    /// Whether what was asked for is there: an echo, an open port, a neighbour.
    Reachability state(std::uint32_t session) const;
    std::optional<bool> up(std::uint32_t session) const;
    /// Whether the peer answers at all: a refusal is an answer of it, too.
    Reachability reach_state(std::uint32_t session) const;
    std::optional<bool> reachable(std::uint32_t session) const;
    /// The reason of the latest failure; timeout before the first.
    FailureReason last_failure(std::uint32_t session) const;

    /// Probes that are out, or answered and waiting for their transmit stamp.
    std::size_t in_flight(ProbeKind kind) const {
        return in_flight_[static_cast<std::size_t>(kind)];
    }

    /// Whether the kernel has taken (or refused) a probe of this session.
    bool asked(std::uint32_t session) const { return sessions_[session].asked; }

    /// Fills all but `peer`, `port` and the place in the snapshot, which are the caller's, and
    /// appends the session's bucket row and failures to the snapshot.
    void snapshot_session(std::uint32_t session, ProbeSnapshot& probe, Snapshot& snapshot) const;
    void snapshot_totals(Snapshot& snapshot) const;

  private:
    static constexpr std::uint32_t none = 0xffffffffU;
    /// All that can be in flight, and some more: late answers and duplicates are told apart.
    static constexpr std::size_t answers_remembered = in_flight_per_session_max + 64;

    /// What has gone wrong with a session; most sessions never need one.
    struct Trouble {
        std::array<std::uint64_t, failure_reason_count> failures{};
        std::uint64_t late = 0;
        std::uint64_t duplicates = 0;
        std::uint64_t reordered = 0;
        std::uint64_t syn_retransmits = 0;
        FailureReason last = FailureReason::timeout;
        FailureReason evidence = FailureReason::timeout;
        MonoTime evidence_at{};
        /// Lost probes whose answer may still come, and how long after the peer's next one.
        std::uint64_t owed_answers = 0;
        MonoTime owed_until = mono_never;
        bool has_evidence = false;
    };

    /// Of all probes of a kind: what happened to us, not to them.
    struct Epochs {
        std::uint32_t stall = 0;   ///< rises with each stall or overflow of our own
        std::uint32_t repeat = 0;  ///< probes sent before this stall epoch are asked again
    };

    using Microseconds = std::chrono::duration<std::uint32_t, std::micro>;

    struct Session {
        MonoTime next_due{};
        MonoTime burst_due = mono_never;
        MonoTime verdict_due = mono_never;
        Microseconds interval{};
        Microseconds timeout{};
        std::uint64_t sent = 0;
        std::uint64_t received = 0;
        std::uint64_t lost = 0;
        Duration rtt_sum{};
        Duration jitter{};
        Duration smoothed_rtt{};
        Duration last_paced_rtt{};  ///< of the last sample outside a burst; zero: none yet
        /// Bit i: probe (sequence - 1 - i) was answered.
        std::bitset<answers_remembered> answered_bits;
        std::unique_ptr<Trouble> trouble;
        std::uint32_t sequence = 0;          ///< of the next probe
        std::uint32_t highest_answered = 0;  ///< one past the latest probe answered in time
        std::uint32_t first_in_flight = none;
        std::uint32_t burst_epoch = 0;  ///< stall epoch when the burst began
        std::uint32_t generation = 0;
        std::uint16_t in_flight = 0;
        ReachabilityMachine machine;  ///< is what was asked for there?
        ReachabilityMachine reach;    ///< does the peer answer at all?
        std::uint8_t burst_left = 0;
        std::uint8_t burst_chances = 0;  ///< bursts begun anew since the suspicion
        ProbeKind kind = ProbeKind::icmp;
        PeerKind peer_kind = PeerKind::host;
        bool open = false;
        bool asked = false;
        bool changed = false;
    };

    /// A probe that is out, or answered and waiting for its transmit stamp.
    struct Flight {
        MonoTime sent{};
        WallTime sent_wall{};    ///< our own clock just before the send
        WallTime transmitted{};  ///< the kernel's stamp; epoch: not yet
        WallTime received{};     ///< only while answered
        std::uint32_t session = none;
        std::uint32_t sequence = 0;
        std::uint32_t next = none;  ///< in the session's list, or in the free list
        std::uint16_t clock_epoch = 0;
        std::uint32_t stall_epoch = 0;
        bool in_burst = false;
        bool answered = false;     ///< only its transmit stamp is missing
        bool overlaps = false;     ///< another was out without an answer; of ARP only
        std::uint8_t chances = 0;  ///< time-outs granted anew since we stood still or overflowed
    };

    void expire_flights(const Instant& now, std::vector<SendOrder>& orders);
    void expire(std::uint32_t flight, const Instant& now, std::vector<SendOrder>& orders);
    void run_session(std::uint32_t id, const Instant& now, std::vector<SendOrder>& orders);
    void order_scheduled(std::uint32_t id, MonoTime now, std::vector<SendOrder>& orders);
    void order_burst(std::uint32_t id, MonoTime now, std::vector<SendOrder>& orders);
    void give_order(std::uint32_t id, MonoTime due, bool in_burst, std::vector<SendOrder>& orders);
    bool has_room(const Session& session, std::size_t ordered) const;
    MonoTime first_due(const SessionOptions& options, MonoTime now);
    void skip_missed(Session& session, MonoTime now, SkipReason reason);
    void schedule_session(std::uint32_t id);

    void judge(std::uint32_t id, ReachabilityMachine::Event event, MonoTime now) {
        judge(id, event, event, now);
    }

    void judge(std::uint32_t id,
               std::optional<ReachabilityMachine::Event> event,
               ReachabilityMachine::Event reach_event,
               MonoTime now);

    std::uint32_t find_flight(const Session& session, std::uint32_t sequence) const;
    std::uint32_t allocate_flight(ProbeKind kind);
    void remove_flight(std::uint32_t flight);
    void lose(std::uint32_t flight, FailureReason reason, const Instant& now);
    void receive(std::uint32_t flight);
    void take_sample(std::uint32_t flight, std::optional<WallTime> received, const Instant& read);
    void mark_overlap(const Session& session, Flight& flight);
    std::uint32_t last_unanswered(const Session& session, std::optional<WallTime> received) const;
    std::uint64_t answers_owed(const Session& session, MonoTime now) const;
    void note_owed_answer(Session& session, MonoTime now);
    void note_unnumbered_answer(Session& session, MonoTime now);
    void note_unexpected_answer(Session& session, std::uint32_t sequence);
    bool mark_answered(Session& session, std::uint32_t sequence);
    bool answered_in_time(const Flight& flight, WallTime received, const Instant& read) const;
    void finish_sample(std::uint32_t flight);
    void discard_sample(std::uint32_t flight, DiscardReason reason);
    void record(std::uint32_t id, const Flight& flight, Duration rtt);
    Trouble& trouble(Session& session);
    void count_failure(Session& session, FailureReason reason);
    FailureReason loss_reason(const Session& session, MonoTime now) const;
    const Epochs& epochs_of(const Session& session) const;
    bool is_starved(const Flight& flight) const;
    void begin_burst(Session& session, MonoTime now);
    bool begin_burst_anew(Session& session, MonoTime now);
    static Duration verdict_wait(const Session& session);

    Random& random_;
    HistogramEdges edges_;
    std::vector<Session> sessions_;
    std::vector<std::uint32_t> free_sessions_;
    std::vector<std::uint64_t> buckets_;  ///< a row of edges_.bucket_count() a session
    TimerWheel session_wheel_;
    std::vector<Flight> flights_;
    std::uint32_t free_flights_ = none;
    std::size_t flights_free_ = 0;
    std::array<std::size_t, probe_kind_count> in_flight_{};
    TimerWheel flight_wheel_;
    std::vector<std::uint32_t> changed_;
    std::vector<ProbeToken> abandoned_;
    std::uint64_t opened_ = 0;  ///< sessions ever opened: places the next one in its interval
    MonoTime prompt_free_{};    ///< from here on a first probe may go at once

    ProbeTotals totals_;
    SendPace pace_;

    std::optional<Instant> last_observed_;
    std::uint16_t clock_epoch_ = 0;  ///< rises with each step of the wall clock
    std::array<Epochs, probe_kind_count> epochs_{};
};

}  // namespace reachd
