// A simulated world around one real Agent: virtual clocks, a network, a kernel, a resolver, guests
// if wanted, and a driver that does what the probe loop does, as punctually or as badly as it is
// told. No socket, no thread, no real clock: the same seed gives the same run.
//
//     World world({.seed = 7, .config = config_of({peer_config("pm1", "10.77.0.20")})});
//     world.run(10s);
//     world.network.path("10.77.0.20").link.back.down = true;
//     world.run(5s);
//     world.verdicts(), world.snapshot(), world.broken(), …
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/core.h>

#include "agent/agent.hpp"
#include "common/random.hpp"
#include "tests/sim/audit.hpp"
#include "tests/sim/guests.hpp"
#include "tests/sim/kernel.hpp"
#include "tests/sim/large_packets.hpp"
#include "tests/sim/network.hpp"

namespace reachd::sim {

/// What goes wrong in our own host.
struct LocalFaults {
    std::optional<FailureReason> send_fails{};  ///< EPERM, no route and their like
    std::uint32_t send_failure = 0;             ///< chance of `send_fails`, which must be there
    std::uint32_t busy = 0;                     ///< chance that the socket takes nothing now
    std::uint32_t transmit_stamp_missing = 0;   ///< chance
    Duration transmit_stamp_after{};            ///< how late the stamps come
    std::uint32_t receive_stamp_missing = 0;    ///< chance
    std::uint32_t receive_buffer_packets = 100'000;
    Duration loop_lag{};  ///< the loop wakes up late, by up to this much
};

/// What the resolver knows of a name.
struct NameFacts {
    ResolveResult answer = ResolveError::not_found;
    Duration after = 2ms;
    bool silent = false;  ///< never answers
};

struct WorldOptions {
    std::uint64_t seed = 1;
    Config config{};
    /// Mean time between looks at the agent's snapshot; zero: only at verdicts.
    Duration look_interval = 1s;
    bool trace = false;
    /// A hypervisor, on which guests can be found. Else the network has echo hosts only.
    bool guests = false;
};

class World {
  public:
    explicit World(WorldOptions options);
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    Network network;
    Kernel kernel;
    LocalFaults local;
    LargePackets large;

    // --- Time

    void run(Duration duration);

    Duration elapsed() const { return now_.mono - start_; }

    MonoTime mono() const { return now_.mono; }

    /// What happens after this time.
    void after(Duration delay, std::function<void()> what);

    void step_wall(Duration by);

    /// The wall clock runs faster (or slower) by this from now on.
    void slew_wall(std::int32_t parts_per_million) { slew_ppm_ = parts_per_million; }

    /// The loop does not run for so long from now; what arrives waits in the sockets.
    void starve(Duration duration);

    // --- The host

    void set_name(const std::string& name, NameFacts facts);
    void reload(Config config);

    /// Repairs all there is to repair.
    void heal();

    /// A line of the trace, if there is one.
    void remark(const std::string& text);

    // --- What came of it

    Snapshot snapshot();

    const std::vector<Verdict>& verdicts() const { return audit.verdicts(); }

    const std::vector<std::string>& broken() const { return audit.broken(); }

    const std::vector<LogRecord>& logs() const { return logs_; }

    const std::vector<std::string>& trace() const { return trace_; }

    /// Of all that happened: two runs with the same are the same.
    std::uint64_t digest() const { return digest_; }

    std::uint64_t turns() const { return turns_; }

    /// The agent's model against a fresh dump of the kernel, only at rest: what differs, or
    /// nothing.
    std::optional<std::string> model_difference();

    // --- The kernel's tables, see Kernel

    void set_link(const test::LinkFacts& link);
    void remove_link(int index);
    void set_up(int index, bool up);
    void add_route(const test::RouteFacts& route);
    void remove_route(const test::RouteFacts& route);
    void storm(int changes);

    Audit audit;
    std::unique_ptr<Guests> guests;  ///< null: none wanted
    std::unique_ptr<Agent> agent;

  private:
    enum class EventKind : std::uint8_t { packet, lookup, call };

    struct Event {
        MonoTime at{};
        std::uint64_t order = 0;
        EventKind kind = EventKind::packet;
        std::uint32_t slot = 0;
    };

    /// What waits in, or travels to, the socket for echo replies.
    struct Packet {
        Arrival arrival;
        bool is_stamp = false;  ///< a transmit stamp, of the request with this cookie
        ProbeCookie cookie;
        std::size_t host = 0;
        MonoTime sent{};
        MonoTime arrived{};
        Duration timeout{};
        WallTime stamp{};
        std::uint32_t wall_steps = 0;  ///< before it was sent
        std::uint64_t dropped = 0;     ///< packets the socket had dropped when this one came in
        bool stamped = true;
        bool from_guest = false;
    };

    struct Lookup {
        std::uint64_t id = 0;
        std::string name;
        ResolveResult answer = ResolveError::failed;
    };

    void push(MonoTime at, EventKind kind, std::uint32_t slot);
    std::uint32_t add_packet(Packet packet);
    void happen(const Event& event);
    void arrive(std::uint32_t slot);
    void pass_time(MonoTime until);

    MonoTime wake_time() const;
    void turn();
    void drain();
    void read(const Packet& packet);
    void perform();
    void send(const EchoRequest& request);
    void transmit(const EchoRequest& request, std::size_t host);
    void send_to_guest(const EchoRequest& request);
    void perform_for_guests();
    void note_trouble();
    Config fitting(Config config) const;
    void look_up(const LookupRequest& request);
    void take_look();
    void answer_lookup(const Lookup& lookup);
    void apply_options();

    void mix(std::uint64_t value);
    /// A line of the trace.
    template <class... Arguments>
    void note(fmt::format_string<Arguments...> format, Arguments&&... arguments);

    MonoTime start_;
    Instant now_;
    Random random_;
    std::int32_t slew_ppm_ = 0;
    std::uint32_t wall_steps_ = 0;
    MonoTime starved_until_{};

    std::vector<Event> events_;  ///< a heap; ties by order of insertion
    std::uint64_t next_order_ = 0;
    std::vector<Packet> packets_;
    std::vector<std::uint32_t> free_packets_;
    std::vector<Lookup> lookups_;
    std::vector<std::function<void()>> calls_;

    std::vector<std::uint32_t> inbox_;  ///< places in packets_
    std::uint64_t dropped_ = 0;
    std::uint64_t dropped_told_ = 0;
    std::optional<MonoTime> readable_since_;
    Duration lag_{};  ///< of the next wake-up
    std::map<std::string, NameFacts> names_;
    std::map<std::string, std::vector<IpAddress>> answers_;  ///< the latest ones given
    Config config_;
    std::vector<Arrival> arrivals_;
    Actions actions_;
    Duration look_interval_;
    MonoTime next_look_ = mono_never;

    std::vector<LogRecord> logs_;
    std::vector<std::string> trace_;
    bool tracing_ = false;
    std::uint64_t digest_ = 0xcbf29ce484222325U;
    std::uint64_t turns_ = 0;
};

/// A peer of a configuration with everything else as it is by default.
PeerConfig peer_config(const std::string& name, const std::string& address);

Config config_of(std::vector<PeerConfig> peers);

}  // namespace reachd::sim
