// One peer's path MTU: asks once an interval whether a packet of the expected size passes, and only
// if it does not, while a small one does, searches for the size that passes and for the direction.
// Follows RFC 8899 in spirit: it trusts what arrives, and what routers say only when it proves
// true.
//
// A step is a volley of packets. The caller sends them, tells when the last has left, what came
// back, and when the volley is over; the session says what is next. Pure, time as an argument;
// nothing here knows sockets, ids or bytes of packets.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "common/path_mtu.hpp"
#include "common/time.hpp"
#include "probes/path_mtu_direction.hpp"
#include "probes/path_mtu_ladder.hpp"

namespace reachd {

/// How a packet asks.
enum class MtuForm : std::uint8_t {
    echo,             ///< an echo request that must not be fragmented
    fragmented_echo,  ///< the same in small fragments of our own: only the answer is large
    datagram,         ///< UDP to a closed port, not to be fragmented: only the request is large
};

struct MtuPacket {
    MtuForm form = MtuForm::echo;
    std::uint32_t bytes = 0;  ///< of the whole IP packet, before any fragmenting

    friend bool operator==(const MtuPacket&, const MtuPacket&) = default;
};

struct PathMtuOptions {
    Family family = Family::ipv4;
    Duration interval = std::chrono::seconds(60);
    Duration timeout = std::chrono::milliseconds(500);

    friend bool operator==(const PathMtuOptions&, const PathMtuOptions&) = default;
};

/// What the host itself knows of the path.
struct PathMtuFacts {
    std::uint32_t expected = 0;     ///< bytes; 0: no packets, nothing to say
    std::uint32_t local = 0;        ///< the smallest MTU on the way out of this host; 0: not known
    IfIndex device = IfIndex::any;  ///< which has it

    friend bool operator==(const PathMtuFacts&, const PathMtuFacts&) = default;
};

class PathMtuSession {
  public:
    /// Of the expected size, before a search.
    static constexpr unsigned attempts_max = 3;
    static constexpr Duration attempt_spacing = std::chrono::milliseconds(100);
    static constexpr Duration timeout_min = std::chrono::milliseconds(50);
    /// How often what is smaller than expected is searched anew (RFC 8899, section 5.1.1:
    /// PMTU_RAISE_TIMER).
    static constexpr Duration raise_interval = std::chrono::minutes(10);
    /// After own trouble a check begins anew, this often at most; then it waits for its time.
    static constexpr unsigned second_chances_max = 2;
    /// So many checks in a row that own trouble spoilt: what was known before is known no more.
    static constexpr unsigned spoilt_checks_max = 2;

    /// The first check is at `first_due`, the others so much later and whole intervals from there:
    /// many sessions that began together, or were all hurried, spread over the interval.
    PathMtuSession(const PathMtuOptions& options, MonoTime first_due, Duration phase = {});

    /// From the next check on; not the family.
    void set_options(const PathMtuOptions& options, MonoTime now);

    /// The device of the way out, and so perhaps the sizes, are others now: what was measured says
    /// nothing any more. True: they are, and a check is due at once.
    bool set_facts(const PathMtuFacts& facts, MonoTime now);

    const PathMtuFacts& facts() const { return facts_; }

    /// Something on the way has changed: ask now.
    void hurry(MonoTime now);

    /// When next_volley() or on_volley_over() is to be called.
    MonoTime due() const { return due_; }

    bool is_volley_out() const { return volley_out_; }

    /// Many large packets are to come.
    bool is_searching() const { return cycle_ && cycle_->stage == Stage::searching; }

    /// The first packets of the check were not answered as they should be.
    bool is_in_doubt() const {
        return cycle_ && (cycle_->attempts > 1 || cycle_->stage != Stage::checking);
    }

    /// The next attempt waits for its time, though nothing is out any more.
    bool is_between_attempts() const {
        return cycle_ && cycle_->stage == Stage::checking && cycle_->attempts < attempts_max;
    }

    /// Begins a check, or goes on with one. `guesses`: what was measured on ways like this, best
    /// first. Empty: nothing to ask now. Until on_volley_sent() the session has no due time.
    std::vector<MtuPacket> next_volley(const std::vector<std::uint32_t>& guesses, MonoTime now);

    /// The last packet of the volley has left, or was refused.
    void on_volley_sent(MonoTime now);
    void on_volley_over(MonoTime now);

    /// `fragment`: the largest fragment the answer came in, as an IP packet; 0: it came whole.
    void on_answer(const MtuPacket& packet, std::uint32_t fragment, Duration rtt, MonoTime now);

    /// It came back shorter than it was: the packet passed, of its answer nothing is known.
    void on_shortened_answer(const MtuPacket& packet, MonoTime now);

    /// An ICMP error says so, and proved to be about our packet. `mtu` 0: it does not say more.
    /// False: it cannot be true, and is ignored.
    [[nodiscard]] bool on_too_big(const MtuPacket& packet,
                                  const IpAddress& reporter,
                                  std::uint32_t mtu,
                                  MonoTime now);

    /// Own trouble kept it from leaving.
    void on_not_sent(const MtuPacket& packet, MonoTime now);

    /// The kernel refused the packet, since no more than `mtu` bytes leave: the device's MTU has
    /// just changed, or a policy of its own (an IPsec tunnel) takes room. Asked again after
    /// raise_interval.
    void on_too_big_for_device(std::uint32_t mtu, MonoTime now);

    /// Our own trouble may have cost answers: what was found in this check counts no more.
    void on_own_trouble(MonoTime now);

    PathMtu result() const;

    /// Rises with every change of the result.
    std::uint32_t revision() const { return revision_; }

    /// The size that passed, as measured: result().bytes is rounded down to what people call it.
    /// 0: as expected, or not known.
    std::uint32_t boundary() const { return finding_ ? finding_->boundary : 0; }

    /// How long to wait for an answer.
    Duration timeout() const;

  private:
    enum class Stage : std::uint8_t {
        checking,           ///< does the expected size pass?
        searching,          ///< which size does?
        finding_direction,  ///< which way does one byte more not pass?
        measuring_answers,  ///< the peer fragments its answers: which size does it not?
    };

    struct Signal {
        IpAddress reporter;
        std::uint32_t mtu = 0;
    };

    /// What is needed only while a check is under way.
    struct Cycle {
        Stage stage = Stage::checking;
        MonoTime start{};
        unsigned attempts = 0;
        unsigned volleys = 0;    ///< of the tests of directions
        std::uint32_t base = 0;  ///< the size that should pass in any case
        bool base_answered = false;
        bool small_answered = false;
        std::uint32_t fragment = 0;  ///< largest of a large answer
        std::optional<Signal> signal;
        std::optional<PathMtuLadder> ladder;
        PathMtuDirection direction;
        bool answered_since = false;  ///< anything, after the search
        bool beyond_kernel = false;   ///< tries more than the kernel took the last time
    };

    /// What is kept only where all is not as expected.
    struct Finding {
        PathMtu result;
        std::uint32_t boundary = 0;
        MonoTime raise_due{};
    };

    using Milliseconds = std::chrono::duration<std::uint32_t, std::milli>;
    using Microseconds = std::chrono::duration<std::uint32_t, std::micro>;

    MonoTime turn_after(MonoTime start) const;
    std::uint32_t small_bytes() const;
    std::uint32_t fits_devices() const;
    std::uint32_t sendable() const;
    std::uint32_t target() const;

    std::uint32_t too_large() const;
    PathMtu answered(std::uint32_t bytes) const;
    PathMtu as_known() const;

    bool may_raise(MonoTime now) const { return !finding_ || now >= finding_->raise_due; }

    void begin_anew(MonoTime now);
    void begin_cycle(MonoTime now);
    std::vector<MtuPacket> attempt();
    std::vector<MtuPacket> search_volley(const std::vector<std::uint32_t>& guesses);
    std::vector<MtuPacket> ladder_volley();
    std::vector<MtuPacket> direction_volley();
    std::vector<std::uint32_t> all_guesses(const std::vector<std::uint32_t>& shared) const;
    void on_direction_answer(const MtuPacket& packet, std::uint32_t fragment);
    void on_large_answer(std::uint32_t fragment, MonoTime now);
    void end_attempt(MonoTime now);
    void begin_search();
    bool is_stage_over() const;
    void end_stage(MonoTime now);
    void end_search(MonoTime now);
    void end_finding_direction(MonoTime now);
    void end_measuring(MonoTime now);
    void end_cycle(MonoTime now);
    void conclude_as_known(bool passes, MonoTime now);
    void conclude(const PathMtu& result, std::uint32_t boundary, MonoTime now);

    PathMtuFacts facts_;
    Milliseconds interval_;
    Milliseconds timeout_;
    Microseconds smoothed_rtt_{};
    std::uint32_t revision_ = 0;
    MonoTime due_;
    MonoTime next_check_;
    MonoTime turn_;  ///< one of its turns, from which all others are whole intervals away
    std::unique_ptr<Cycle> cycle_;
    std::unique_ptr<Finding> finding_;  ///< null: as expected, or not known
    Family family_;
    bool volley_out_ = false;
    bool passes_ = false;  ///< what this host can send does, there and back
    std::uint8_t chances_ = 0;
    std::uint8_t spoilt_checks_ = 0;
    std::uint32_t kernel_limit_ = 0;  ///< bytes; 0: it refused nothing
    MonoTime kernel_limit_until_{};
};

/// What people call an MTU at which this is the largest size that passes: veth and bridges let 4
/// bytes more through, for a VLAN tag.
std::uint32_t customary_mtu(std::uint32_t boundary);

}  // namespace reachd
