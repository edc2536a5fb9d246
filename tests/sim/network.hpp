// The network of a simulated world: what becomes of an echo request between our socket and a host,
// and of what comes back. Links delay, lose, double, reorder and swallow large packets; routers
// report errors as seldom as routers do; hosts answer, filter, hesitate or lie. Every fault is an
// option, none is a code path of a test. Owns no clock and no queue: a request goes in, what will
// arrive (and when) comes out.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "agent/event.hpp"
#include "common/random.hpp"

namespace reachd::sim {

using namespace std::chrono_literals;

/// Chances are parts in a million.
inline constexpr std::uint32_t always = 1'000'000;

inline bool happens(std::uint32_t chance, Random& random) {
    return chance != 0 && random.below(always) < chance;
}

/// Zero to `most`, both included.
inline Duration random_duration(Duration most, Random& random) {
    if (most <= Duration::zero()) {
        return Duration::zero();
    }
    return Duration(static_cast<Duration::rep>(random.next() %
                                               (static_cast<std::uint64_t>(most.count()) + 1U)));
}

/// One direction of a link.
struct LinkFaults {
    bool down = false;
    std::uint32_t loss = 0;         ///< chance
    std::uint32_t duplication = 0;  ///< chance of one more copy
    std::uint32_t reordering = 0;   ///< chance to be held back by `reorder_by`
    Duration delay = 100us;
    Duration jitter{};  ///< up to this much more, evenly
    Duration reorder_by{};
    std::uint32_t mtu_bytes = 0;  ///< larger IP packets vanish without a message; 0: none do
};

struct LinkPair {
    LinkFaults there;
    LinkFaults back;
};

/// The router before a host.
struct RouterFaults {
    /// What it says instead of forwarding.
    std::optional<FailureReason> says{};
    /// Larger packets are answered by "too big"; 0: none are.
    std::uint32_t mtu_bytes = 0;
    /// Routers limit their errors; what goes over is dropped silently.
    Duration error_interval{};
    /// Quotes the IP header and 8 bytes (RFC 792) only: no cookie.
    bool bare_quote = false;
};

enum class Forgery : std::uint8_t { none, cookie, source, identifier, sequence };

struct HostFaults {
    bool filtered = false;
    Duration answer_after{};
    std::uint32_t duplicates = 0;  ///< further copies of each answer, 0 to 4
    Forgery forgery = Forgery::none;
    /// Lies beside its answer instead of in its place.
    bool answers_too = false;
    /// It leaves by a smaller device: larger answers come in fragments; 0: in one piece.
    std::uint32_t mtu_bytes = 0;
    bool closed_ports_silent = false;  ///< no ICMP message about a datagram
};

/// All that lies between us and one address.
struct Path {
    IpAddress address;
    std::size_t segment = 0;  ///< the shared link that leads to it
    LinkPair link;
    RouterFaults router;
    HostFaults host;
    /// Nobody answers ARP or neighbour discovery: our own host says so, after `neighbour_timeout`.
    bool neighbour_dead = false;
    Duration neighbour_timeout = 3s;
    MonoTime last_error{};
};

/// What will arrive at our socket.
struct Arrival {
    Duration after{};
    bool genuine = false;  ///< a true answer, not a forged one
    bool is_error = false;
    IpAddress from;
    EchoReply reply;
    EchoError error;
};

/// What reports errors on the way to any host of this family.
const IpAddress& router_of(Family family);

/// IP packet size of a request, bytes.
std::uint32_t packet_bytes(const EchoTarget& target);

class Network {
  public:
    explicit Network(std::uint64_t seed) : random_(seed), segments_(1) {}

    /// Whether anybody has asked for the path to this address.
    bool knows(const IpAddress& address) const;

    /// The path to this address, its zone included; a new one is healthy.
    Path& path(const IpAddress& address) { return paths_[index_of(address)]; }

    Path& path(std::string_view address);

    std::size_t index_of(const IpAddress& address);

    Path& operator[](std::size_t index) { return paths_[index]; }

    std::size_t size() const { return paths_.size(); }

    /// A link that several paths share; made when first asked for.
    LinkPair& segment(std::size_t index);

    /// Repairs everything; delays without jitter are no faults and stay.
    void heal();

    /// Fills `arrivals` with all that this request will cause.
    void carry(const EchoRequest& request, MonoTime now, std::vector<Arrival>& arrivals);

  private:
    static constexpr std::size_t copies_max = 16;

    void cross(const LinkFaults& link, std::uint32_t bytes);
    void answer(const Path& path, const EchoRequest& request, std::vector<Arrival>& arrivals);
    void report(Path& path,
                const EchoRequest& request,
                FailureReason reason,
                MonoTime now,
                std::vector<Arrival>& arrivals);

    Random random_;
    std::deque<Path> paths_;  ///< their addresses stay
    std::deque<LinkPair> segments_;
    /// The travelling times of the copies under way.
    std::vector<Duration> copies_;
    std::vector<Duration> crossed_;
};

}  // namespace reachd::sim
