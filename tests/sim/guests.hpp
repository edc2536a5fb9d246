// The hypervisor's side of a simulated world: ports of bridges, the packet sockets on them, and the
// guests behind: machines with a MAC and addresses that answer ARP and neighbour discovery, check
// their addresses before use, hang, reboot, move, and lie. Frames are values here (NeighbourFrame);
// no bytes, no clock of its own, no verdicts. What bridges learn is told by the Kernel, what must
// hold is judged by the GuestAudit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "agent/agent.hpp"
#include "common/random.hpp"
#include "tests/sim/guest_audit.hpp"
#include "tests/sim/kernel.hpp"

namespace reachd::sim {

struct Guest {
    MacAddress mac{};
    int port = 0;                          ///< index of the device it is behind; 0: gone
    std::vector<IpAddress> addresses{};    ///< in use, without zone
    std::optional<IpAddress> tentative{};  ///< being checked: not answered for
    bool hung = false;
    std::uint32_t loss = 0;  ///< chance that it leaves a question unanswered
    Duration answer_after = 100us;
    unsigned life = 0;     ///< rises with each reboot: what was planned before is void
    MonoTime disturbed{};  ///< not like every day until then
    bool is_liar = false;  ///< sends what is not true
};

/// What goes wrong with our own sockets and names.
struct GuestFaults {
    std::uint32_t open_failure = 0;   ///< chance that a port cannot be listened on
    std::uint32_t busy = 0;           ///< chance that a socket takes nothing now
    std::uint32_t stamp_missing = 0;  ///< chance, of transmit stamps
    std::size_t buffer_frames = 80;   ///< of one port, unread
    Duration lookup_time = 3ms;       ///< until names are known
    unsigned vain_lookups = 0;        ///< so many more find no name
};

class Guests {
  public:
    Guests(std::uint64_t seed, const Instant& now, Kernel& kernel, Audit& audit);
    Guests(const Guests&) = delete;
    Guests& operator=(const Guests&) = delete;

    GuestFaults faults;
    GuestAudit audit;

    // --- The host

    void add_bridge(int index, const std::string& name);
    /// Of the host, on a bridge.
    void add_own_address(int bridge, const IpAddress& address, std::uint8_t prefix_length);
    void add_port(int index, const std::string& name, int bridge);
    /// Who is behind it stays, and is cut off.
    void remove_port(int index);
    void rename_port(int index, const std::string& name);
    void set_port_up(int index, bool up);
    /// What processes, files and namespaces tell of the owner of a device.
    void set_owner(const std::string& device, const std::string& name);

    struct Port {
        std::string name;
        int bridge = 0;
        std::uint32_t serial = 0;  ///< no two devices have one
        bool up = true;
        MonoTime up_since{};
        MonoTime down_since{};
        MonoTime disturbed{};
        bool lied_to = false;  ///< what is not true may fill its tables for long
    };

    const std::map<int, Port>& ports() const { return ports_; }

    bool is_doubtful() const { return kernel_.is_doubtful(); }

    /// A packet socket is open there.
    bool is_heard(int port) const;

    // --- The guests

    std::size_t add(Guest guest);

    const Guest& operator[](std::size_t place) const { return guests_[place]; }

    std::size_t size() const { return guests_.size(); }

    /// Ordinary traffic of all its addresses.
    void use(std::size_t place);
    void announce(std::size_t place, const IpAddress& address);
    /// Asks three times whether it is free (once for IPv6), then has it and announces it.
    void check(std::size_t place, const IpAddress& address);
    void hang(std::size_t place);
    void resume(std::size_t place);
    /// Silent for so long, then it checks its addresses anew.
    void reboot(std::size_t place, Duration off);
    /// Live migration: the same machine, behind another port from now on.
    void move(std::size_t place, int port);

    void leave(std::size_t place) { move(place, 0); }

    /// Gives up all addresses for this one, which it checks first.
    void change_address(std::size_t place, const IpAddress& address);
    void set_quality(std::size_t place, std::uint32_t loss, Duration answer_after);
    /// Claims what is not its own: an address, with its own MAC or another's.
    void forge(std::size_t place, const IpAddress& address, const MacAddress& mac);
    /// So many made-up addresses, `macs` of them with MACs made up too; all at once.
    void flood(std::size_t place, unsigned addresses, unsigned macs);
    void heal();

    /// Whether an echo request of the host to this address would be answered.
    std::optional<Duration> answers_echo(const IpAddress& address);
    bool is_bridge(IfIndex device) const;
    const Guest* owner_of(int port, const IpAddress& address) const;

    // --- The loop

    bool readable() const {
        return !inbox_.empty() || !overflowed_.empty() || !identified_.empty();
    }

    MonoTime next() const { return plans_.empty() ? mono_never : plans_.begin()->first; }

    /// What is due happens.
    void advance();
    void drain(Agent& agent);
    void perform(Actions& actions, Agent& agent);
    /// What an earlier run knew.
    void restore(std::vector<GuestAddressRecord> records, Agent& agent);

    const std::vector<NeighbourRequest>& requests() const { return requests_; }

    std::vector<std::string> notes;  ///< lines for the trace, taken by the world
    bool noting = false;

  private:
    /// What waits to be read.
    struct Heard {
        int port = 0;
        NeighbourFrame frame{};
        std::optional<ProbeToken> stamp_of{};  ///< a transmit stamp instead of a frame
        std::optional<NeighbourAnswer> answer{};
        WallTime stamp{};
        MonoTime arrived{};
    };

    void plan(Duration after, std::function<void()> what);
    void plan(std::size_t place, Duration after, std::function<void()> what);

    template <class... Arguments>
    void note(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
        if (noting) {
            notes.push_back(fmt::format(format, std::forward<Arguments>(arguments)...));
        }
    }

    void disturb(std::size_t place);
    void disturb_port(int index);
    void send(std::size_t place, NeighbourFrame frame, std::optional<NeighbourAnswer> answer = {});
    void probe(std::size_t place, const IpAddress& address, unsigned left);
    void settle(std::size_t place, const IpAddress& address);
    void open(IfIndex port, Agent& agent);
    void close(int port);
    void ask(const NeighbourRequest& request, Agent& agent);
    std::optional<Duration> answer_of(const NeighbourTarget& target);
    void look_up(GuestLookup lookup);
    test::LinkFacts facts_of(int index, const Port& port) const;

    const Instant& now_;
    Kernel& kernel_;
    Random random_;
    std::uint32_t next_serial_ = 1;
    std::set<int> bridges_;
    std::map<int, Port> ports_;
    std::map<int, std::uint32_t>
        ears_;  ///< index: serial of the device that the socket is bound to
    std::vector<Guest> guests_;
    std::map<std::string, std::string> owners_;
    std::multimap<MonoTime, std::function<void()>> plans_;
    std::deque<Heard> inbox_;
    std::map<int, std::size_t> unread_;
    std::set<int> overflowed_;
    std::deque<GuestsIdentified> identified_;
    std::vector<NeighbourRequest> requests_;
};

}  // namespace reachd::sim
