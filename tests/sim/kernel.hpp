// The rtnetlink of a simulated host: its tables, the messages of their changes, the dumps, and the
// socket they come through, which can overflow, cut messages short and be slow. Tables are of two
// kinds: links, addresses, forwarding entries and routes that a test sets (indexes from
// `index_first`), and those that change at random in a storm (FakeRtnetlink). Same seed, same run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/agent.hpp"
#include "common/random.hpp"
#include "tests/agent/fake_rtnetlink.hpp"
#include "tests/sim/network.hpp"

namespace reachd::sim {

struct KernelFaults {
    Duration delay{};                       ///< of every message
    Duration jitter{};                      ///< up to this much more; the order stays
    std::uint32_t buffer_datagrams = 4096;  ///< unread ones; events beyond are lost
    std::uint32_t loss = 0;                 ///< chance that an event overflows the buffer
    std::uint32_t truncation = 0;           ///< chance that an event is longer than our buffer
    std::uint32_t interruption = 0;         ///< chance that a part of a dump is marked as torn
    std::uint32_t request_failure = 0;      ///< chance that a dump cannot be asked for
    std::uint32_t refusal = 0;              ///< chance that a dump is answered by EBUSY
    std::uint32_t silence = 0;              ///< chance that a dump is never answered
    Duration part_time = 200us;             ///< most time from one part of a dump to the next
    Duration race{};  ///< most time in which newer events overtake a part of a dump
};

class Kernel {
  public:
    static constexpr int index_first = 100;

    explicit Kernel(std::uint64_t seed) : random_(seed), tables_(random_) {}

    Kernel(const Kernel&) = delete;
    Kernel& operator=(const Kernel&) = delete;

    KernelFaults faults;

    // --- The tables

    /// Adds it, or changes what differs. A port that leaves its bridge takes its entries along.
    void set_link(const test::LinkFacts& link, MonoTime now);
    void remove_link(int index, MonoTime now);
    /// Routes through a link that goes down are gone: IPv6 tells, IPv4 does not.
    void set_up(int index, bool up, MonoTime now);
    void add_route(const test::RouteFacts& route, MonoTime now);
    void remove_route(const test::RouteFacts& route, MonoTime now);
    void add_address(const InterfaceAddress& address, MonoTime now);
    /// A frame from this MAC came in by the port: its bridge learns it, or that it has moved.
    void learn(int port, const MacAddress& mac, MonoTime now);
    /// So many random changes.
    void storm(int changes, MonoTime now);

    const test::FakeRtnetlink& tables() const { return tables_; }

    // --- The socket

    /// False: the request could not be sent.
    [[nodiscard]] bool ask(const DumpRequest& request, MonoTime now);

    /// Something that was told may not have been heard, or not at once.
    bool is_doubtful() const { return doubtful_; }

    bool readable() const { return overrun_ || !inbox_.empty(); }

    /// Hands all that is readable to the agent: the loss first, as the kernel does. Whether
    /// something was lost.
    bool drain(Agent& agent, const Instant& now);

    /// When something will happen by itself; mono_never: nothing.
    MonoTime next() const;
    void advance(MonoTime now);

    /// Nothing is under way.
    bool at_rest() const;

    std::uint64_t overruns_told() const { return overruns_told_; }

    std::uint64_t datagrams_read() const { return datagrams_read_; }

    /// All tables, as an undisturbed dump would tell them.
    void dump_into(Topology& fresh);

  private:
    struct Datagram {
        MonoTime arrives{};
        test::Bytes bytes;
        bool dump_part = false;
    };

    void tell(test::Bytes message, MonoTime now);
    void collect(MonoTime now);
    void post(test::Bytes bytes, MonoTime now);
    void arrive(Datagram datagram);
    void flush_routes_on(int index, MonoTime now);
    void flush_fdb_of(int port, MonoTime now);
    test::Bytes fixed_part(const DumpRequest& request) const;
    static void mark_interrupted(test::Bytes& datagram);

    Random random_;
    test::FakeRtnetlink tables_;
    std::map<int, test::LinkFacts> links_;
    std::vector<test::RouteFacts> routes_;
    std::vector<InterfaceAddress> addresses_;
    std::map<std::pair<int, MacAddress>, int> fdb_;  ///< bridge and MAC: port
    unsigned base_ = 0;  ///< rises when a link comes, goes or is renamed
    unsigned dump_base_ = 0;
    bool dumping_links_ = false;
    MonoTime dump_step_ = mono_never;
    bool part_composed_ = false;
    std::deque<Datagram> transit_;
    std::deque<Datagram> inbox_;
    MonoTime last_arrival_{};
    bool overrun_ = false;
    bool congested_ = false;  ///< until the reader has emptied the buffer, all events are lost
    bool doubtful_ = false;
    std::uint64_t overruns_told_ = 0;
    std::uint64_t datagrams_read_ = 0;
};

}  // namespace reachd::sim
