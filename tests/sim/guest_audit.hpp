// Watches what the agent does to guests and says of them, and compares it with what really is. A
// part of the Audit, which keeps the list of broken invariants. Never tells the agent anything.
//
// At every question to a neighbour:
//   - it goes out of a port that its MAC was seen behind, for an address that the MAC was seen to
//     use; never from `::`;
//   - not within the time after a claim, a check for duplicates or a link that came up in which it
//     might make the guest give its address up.
// At every look:
//   - addresses of the host are no guest's, those of gateways not for long;
//   - at most 4 addresses a MAC, 64 addresses and 64 MACs a port, limits.guests peers;
//   - sent = received + lost + in flight, each of them what the world knows it to be;
//   - peers leave with their port.
// At every verdict: down only when the guest did not answer, up only when it did; and in time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/agent.hpp"
#include "tests/sim/audit.hpp"

namespace reachd::sim {

class Guests;
struct Guest;

/// Zero: a question to everybody.
inline MacAddress mac_of(const NeighbourTarget& target) {
    const std::optional<MacAddress> mac = target.mac;
    return mac.value_or(MacAddress{});
}

/// Which question an answer answers, as only the world knows.
struct NeighbourAnswer {
    int port = 0;
    IpAddress address;  ///< without zone
    ProbeToken token;
    MonoTime sent{};
    Duration wall_ahead{};  ///< of the monotonic clock, when it was sent
};

class GuestAudit {
  public:
    GuestAudit(Audit& audit, const Guests& guests) : audit_(audit), guests_(guests) {}

    void set_options(const Config& config);

    // --- What the agent was told

    void note_behind(std::uint32_t port_serial, const MacAddress& mac);
    void note_read(std::uint32_t port_serial, const NeighbourFrame& frame, MonoTime now);
    void note_restored(const GuestAddressRecord& record);

    void note_own_address(const IpAddress& address) { own_.insert(address); }

    /// Claimed by who does not have it.
    void note_forged(const IpAddress& address) { forged_.insert(address); }

    // --- What it asked, and what became of it

    /// The kernel took it. `answer_after`: when it will be answered, if ever.
    void note_sent(const NeighbourRequest& request,
                   std::optional<Duration> answer_after,
                   MonoTime now);
    void note_not_sent(const NeighbourRequest& request, MonoTime now);
    void note_answer_read(const NeighbourAnswer& answer, MonoTime arrived, const Instant& now);
    void note_answer_dropped(const NeighbourAnswer& answer, MonoTime now);

    /// Every session begins anew.
    void note_restarts() { known_.clear(), places_.clear(); }

    /// Nobody can expect punctual verdicts until now.
    void note_trouble(MonoTime now) { last_trouble_ = now; }

    void note_lag(Duration lag, MonoTime now);

    // --- Verdicts to come

    /// What it does from now on makes it so.
    void expect(std::size_t guest, bool up, MonoTime now);

    // --- What the agent says

    void look(const Agent& agent, const Snapshot& snapshot, const Instant& now);
    void turn_done(const Agent& agent, const Instant& now);
    /// Whoever can be asked must be up by now, and nobody else be there.
    void expect_settled(const Snapshot& snapshot);

  private:
    static constexpr std::size_t sends_remembered = 64;

    /// What is known of an address from frames that the agent has read.
    struct Claim {
        MonoTime first{};
        std::optional<MonoTime> used{};
        /// When its guest asked whether it is free, by the port.
        std::map<std::uint32_t, MonoTime> checked{};
        bool restored = false;
    };

    /// A session, as the world sees it: what goes out of a port for an address.
    struct Truth {
        ProbeToken last{};
        MacAddress mac{};
        std::uint32_t port_serial = 0;  ///< a device that is replaced in place begins anew
        std::uint64_t life = 0;
        std::uint64_t sent = 0;
        std::uint64_t failed = 0;
        std::uint64_t answers = 0;
        unsigned failures_since_answer = 0;
        MonoTime last_sure_answer{};
        MonoTime last_answer_read{};
        MonoTime last_not_sent{};
        std::array<MonoTime, sends_remembered> sends{};
    };

    struct Known {
        std::shared_ptr<const PeerIdentity> identity;
        std::optional<bool> up;
        std::vector<ProbeCounters> counters;  ///< of its probes, in their order
        std::optional<ProbeCounters> asked;   ///< by ARP or neighbour discovery
        std::uint64_t life = 0;               ///< of the session, as the world counts them
        std::uint64_t sent_before = 0;        ///< by an earlier session that it takes for the same
    };

    struct Check {
        MonoTime at{};
        MonoTime since{};
        std::size_t guest = 0;
        std::pair<int, IpAddress> place;
        const PeerIdentity* identity = nullptr;
        bool up = false;
    };

    using Place = std::pair<int, IpAddress>;

    Truth& session_of(const NeighbourRequest& request);
    void judge_request(const NeighbourTarget& target, std::uint32_t serial, MonoTime now);
    void judge_time(const NeighbourTarget& target,
                    std::uint32_t serial,
                    const Claim& claim,
                    MonoTime now);
    void run_checks(const Agent& agent, const Instant& now);
    bool is_excused(const Check& check) const;
    std::optional<Place> place_of(const PeerIdentity& identity) const;
    bool is_known_place(const Place& place, MonoTime now) const;
    void look_at_limits(const Snapshot& snapshot, MonoTime now);
    void look_at_owners(const Agent& agent, const Snapshot& snapshot, MonoTime now);
    void look_at_counters(const Known& fresh, const Known& before, MonoTime now);
    void look_at_reasons(const Snapshot& snapshot, MonoTime now);
    void look_at_verdict(const Known& fresh, const Place& place, MonoTime now);
    void look_at_session(Known& fresh, const Place& place, MonoTime now);
    void look_at_in_flight(const Known& fresh, const Place& place, MonoTime now);
    bool was_asked_to_wait(const Place& place, MonoTime since) const;
    bool must_be_up(const Guest& guest, const IpAddress& address, MonoTime now) const;
    void suspect(const std::string& what, Duration patience, MonoTime now);

    void fail(const std::string& what, MonoTime now) { audit_.fail(what, now); }

    Audit& audit_;
    const Guests& guests_;
    ArpOptions arp_;
    Duration echo_interval_{};
    Duration echo_timeout_{};
    std::uint32_t guests_max_ = 0;
    std::set<std::pair<std::uint32_t, MacAddress>> behind_;
    std::map<std::pair<MacAddress, IpAddress>, Claim> claims_;
    std::set<IpAddress> own_;
    std::set<IpAddress> forged_;
    std::map<Place, Truth> truths_;
    std::uint64_t lives_ = 0;
    std::map<std::string, Known> known_;  ///< by label text
    std::vector<Check> checks_;
    /// What is wrong since when: broken if it stays.
    std::map<std::string, MonoTime> suspicions_;
    std::map<std::string, MonoTime> fresh_suspicions_;
    MonoTime last_trouble_{};
    Duration lag_max_{};
    std::uint64_t verdicts_seen_ = 0;
    std::map<Place, const Known*> places_;  ///< at the last look
};

}  // namespace reachd::sim
