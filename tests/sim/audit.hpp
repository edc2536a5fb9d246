// Watches one agent in a simulated world and compares what it says with what really happened to
// its probes, which only the world knows. Finds broken invariants; never stops a run, and never
// tells the agent anything.
//
// At every look (a snapshot):
//   - no counter has fallen while its peer or link lived;
//   - sent is what the kernel took; lost is no more than what the world made fail; received is no
//     more than what was answered; in flight is no more than what was asked lately;
//   - lost = sum of the loss reasons, and no reason that nobody gave;
//   - received = RTT samples + discarded ones + those that wait for their transmit stamp;
//   - forged packets, overruns and the like are counted one by one.
// At every verdict:
//   - down only after nothing but failures, up only upon an answer;
//   - both in time, as the public interface promises.
// At every turn: no deadline in the past, none further away than the shortest interval.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/agent.hpp"
#include "tests/sim/network.hpp"

namespace reachd::sim {

/// A verdict as the agent's users see it.
struct Verdict {
    std::string peer;
    std::string address;
    bool up = false;
    Duration at{};  ///< since the beginning of the world

    friend bool operator==(const Verdict&, const Verdict&) = default;
};

class Audit {
  public:
    static constexpr std::size_t broken_max = 20;

    explicit Audit(Network& network, MonoTime start) : network_(network), start_(start) {}

    // --- What the world knows about one address (its place in the network)

    /// How it is probed now. `exact`: probed from the beginning, under one name and in one way.
    void set_options(std::size_t host, const IcmpOptions& options, bool exact);
    /// Its session may begin anew.
    void note_restart(std::size_t host, MonoTime now);

    /// Two devices may have one name for the agent, since it has missed messages: which of them a
    /// zone means is not known any more.
    void note_doubtful_zones() { zones_hold_ = false; }

    /// Until then its probes may fail in ways the world does not see.
    void excuse(std::size_t host, MonoTime until) { truth(host).excused_until = until; }

    /// Every session begins anew.
    void note_restarts(MonoTime now);

    /// Peers come and go by themselves.
    void note_churn() { sessions_restarted_ = true; }

    /// How those are probed that set_options() has not named.
    void set_default_options(const IcmpOptions& options);

    Duration timeout_of(std::size_t host) { return truth(host).options.timeout; }

    /// The kernel took it; `answer_after`: when the first true answer will arrive, if ever.
    void note_sent(std::size_t host,
                   const SendOrder& order,
                   std::optional<Duration> answer_after,
                   MonoTime now);
    void note_not_sent(std::size_t host, const SendOrder& order, FailureReason why, MonoTime now);
    void note_skipped(MonoTime now);
    /// Our own buffer had no room for a true answer.
    void note_dropped(std::size_t host, MonoTime now);
    /// The agent has been given a true answer, or a copy of one. `sure`: nobody could take it for a
    /// late one.
    void note_answer(std::size_t host,
                     std::uint16_t sequence,
                     MonoTime sent,
                     MonoTime arrived,
                     bool sure,
                     MonoTime now);
    void note_error(std::size_t host, FailureReason reason);

    void note_forged() { ++forged_; }

    void note_overrun_told(std::uint64_t total) { overruns_told_ = total; }

    void note_missing_stamp(MonoTime now) { last_missing_stamp_ = now; }

    /// The loop was late by so much.
    void note_lag(Duration lag, MonoTime now);

    /// The daemon's own trouble until now: nobody can expect punctual verdicts.
    void note_trouble(MonoTime now) { last_trouble_ = now; }

    // --- What the agent says

    void turn_done(const Agent& agent, const Instant& now);
    void look(const Agent& agent, const Snapshot& snapshot, const Instant& now);
    /// Whoever is resolved and probed must be up by now.
    void expect_all_up(const Snapshot& snapshot);

    void fail(const std::string& what, MonoTime now);

    const std::vector<std::string>& broken() const { return broken_; }

    const std::vector<Verdict>& verdicts() const { return verdicts_; }

    std::uint64_t looks() const { return looks_; }

  private:
    static constexpr std::size_t sends_remembered = 64;

    struct Truth {
        IcmpOptions options{};
        bool configured = false;
        bool exact = false;
        std::uint64_t sent = 0;
        std::uint64_t failed = 0;   ///< sent, and perhaps without an answer in time
        std::uint64_t answers = 0;  ///< read, and not surely late; repeated ones too
        std::uint32_t failures_since_answer = 0;
        std::array<bool, failure_reason_count> reasons{};
        Duration rtt_max{};
        MonoTime restarted{};
        MonoTime excused_until{};
        MonoTime last_failure{};
        MonoTime last_sure_answer{};  ///< arrived
        MonoTime last_answer_read{};
        std::array<MonoTime, sends_remembered> sends{};  ///< the latest ones, a ring
        /// Which probe of this place was answered last: its sequence, one more.
        std::array<std::uint32_t, sends_remembered> answered{};
        std::optional<bool> up;
    };

    /// What was seen of a peer at the last look.
    struct Known {
        std::shared_ptr<const PeerIdentity> identity;
        std::optional<std::size_t> host;
        std::optional<bool> up;
        MonoTime born{};
        MonoTime looked{};
        bool probed = false;
        ProbeCounters counters;
        std::uint64_t samples = 0;
        std::uint64_t state_changes = 0;
        std::array<std::uint64_t, failure_reason_count> failures{};
    };

    struct Check {
        MonoTime from{};  ///< the verdict's time begins here
        MonoTime since{};
        MonoTime timed_out{};  ///< an answer after this makes another verdict right
        std::size_t host = 0;
        bool up = false;
    };

    Truth& truth(std::size_t host);
    Duration verdict_slack(const Truth& truth) const;
    void expect_down(std::size_t host, MonoTime since, MonoTime timed_out);
    void expect_up(std::size_t host, MonoTime since);
    void run_checks(const Agent& agent, const Instant& now);
    bool is_excused(const Check& check);
    void check_deadline(const Agent& agent, MonoTime now);

    Known* find_known(const PeerIdentity* identity, std::size_t hint);
    const Known* find_relabelled(const Known& fresh) const;
    std::optional<std::size_t> host_of(const Agent& agent, const PeerIdentity& identity);
    void collect(const Agent& agent, const Snapshot& snapshot, MonoTime now);
    void look_at_name(const Known& fresh, MonoTime now);
    void look_at_verdict(Known& fresh, const Known* before, MonoTime now);
    void look_at_probe(const Known& fresh, const Known* before, MonoTime now);
    void look_at_accounting(const Known& fresh, MonoTime now);
    void look_at_in_flight(const Known& fresh, MonoTime now);
    void look_at_totals(const Snapshot& snapshot, MonoTime now);
    void look_at_host_rtt(const Snapshot& snapshot, MonoTime now);
    void look_at_link_counters(const Snapshot& snapshot, MonoTime now);
    void look_at_path_mtus(const Snapshot& snapshot, MonoTime now);
    void look_at_samples(const Snapshot& snapshot, MonoTime now);
    std::string name(const Known& known) const;

    Network& network_;
    MonoTime start_;
    IcmpOptions default_options_;
    std::vector<Truth> truths_;
    std::vector<Known> known_;
    std::vector<Known> fresh_;
    std::vector<Check> checks_;
    std::vector<std::uint64_t> totals_;
    std::vector<std::uint64_t> fresh_totals_;
    std::map<std::pair<ProbeKind, PeerKind>, std::vector<std::uint64_t>> host_rtt_;
    /// By index and generation, of all links ever seen.
    std::map<std::pair<IfIndex, std::uint64_t>, std::optional<LinkCounters>> link_counters_;
    std::vector<Verdict> verdicts_;
    std::vector<std::string> broken_;
    MonoTime last_trouble_{};
    MonoTime last_missing_stamp_{};
    MonoTime last_turn_{};
    Duration lag_max_{};
    std::uint64_t forged_ = 0;
    std::uint64_t overruns_told_ = 0;
    std::uint64_t verdicts_seen_ = 0;
    std::uint64_t looks_ = 0;
    int turns_at_once_ = 0;
    bool sessions_restarted_ = false;
    bool zones_hold_ = true;
};

}  // namespace reachd::sim
