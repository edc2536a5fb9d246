// Path MTU probing in a simulated world: what becomes of a packet of some size on its way out of
// our own device, through the links and routers of the Network, to a peer and back. Packets are
// sizes here; what must hold of them is judged by who reads the results.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

#include "agent/agent.hpp"
#include "common/random.hpp"
#include "tests/sim/network.hpp"

namespace reachd::sim {

class LargePackets {
  public:
    LargePackets(std::uint64_t seed, const Instant& now, Network& network)
        : now_(now),
          network_(network),
          random_(seed) {}

    LargePackets(const LargePackets&) = delete;
    LargePackets& operator=(const LargePackets&) = delete;

    // --- The host

    /// By which device all leaves; any: the routing knows none, and no size is expected.
    IfIndex egress = IfIndex::any;
    std::uint32_t egress_bytes = 9000;  ///< its MTU, as the kernel refuses what is larger
    std::uint32_t busy = 0;             ///< chance that the socket takes nothing now

    // --- What came of it

    std::uint64_t packets() const { return packets_; }

    /// The most bytes that were sent within any second.
    std::uint64_t bytes_per_second_max() const { return bytes_per_second_max_; }

    // --- The loop

    bool readable() const { return !inbox_.empty(); }

    MonoTime next() const { return travelling_.empty() ? mono_never : travelling_.begin()->first; }

    void advance();
    void drain(Agent& agent);
    void perform(const Actions& actions, Agent& agent);

  private:
    /// One of these.
    struct News {
        std::optional<MtuReplied> reply{};
        std::optional<MtuEchoFailed> echo_error{};
        std::optional<MtuDatagramFailed> datagram_error{};
    };

    void send(const MtuRequest& request, Agent& agent);
    void count(std::uint32_t bytes);
    std::optional<Duration> cross(const LinkFaults& link, std::uint32_t bytes);
    void arrive(const MtuRequest& request, const Path& way, Duration so_far);
    void report(const MtuRequest& request, Path& way, FailureReason reason, Duration so_far);
    void post(News news, Duration after);

    const Instant& now_;
    Network& network_;
    Random random_;
    std::multimap<MonoTime, News> travelling_;
    std::deque<News> inbox_;
    std::deque<std::pair<MonoTime, std::uint32_t>> lately_;  ///< sent within the last second
    std::uint64_t bytes_lately_ = 0;
    std::uint64_t bytes_per_second_max_ = 0;
    std::uint64_t packets_ = 0;
};

}  // namespace reachd::sim
