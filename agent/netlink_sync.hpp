// Keeps the topology equal to the kernel's tables: when to ask for a dump, when to believe it, when
// to ask again. The socket has joined its groups before the first dump is asked for, so that
// nothing falls between the two; dumps and events then go through the same reducer. Sends nothing
// itself and reads no clock.
//
//   table:   wanted --take_request()--> being read --complete--> trusted
//              ^  ^                          |
//              |  +------- 1st, 2nd failure -+-- 3rd failure --> resting: events only, until all is
//              +--- loss or doubt, later                         quiet or 30 s have passed
//
// A dump fails when the tables changed under it (NLM_F_DUMP_INTR), when messages were lost during
// it, when the kernel refuses it or stays silent. One dump runs at a time, as the kernel wants it.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>

#include "agent/netlink_message.hpp"
#include "agent/topology.hpp"
#include "common/bytes.hpp"
#include "common/snapshot.hpp"
#include "common/time.hpp"

namespace reachd {

class NetlinkSync {
  public:
    /// No part of the answer for this long: the dump has failed.
    static constexpr Duration dump_silence_max = std::chrono::seconds(5);
    /// A million routes take about 2 s; what is still not over then never ends.
    static constexpr Duration dump_time_max = std::chrono::seconds(30);
    /// Losses come in bursts: the dump waits for their end, but no longer than redump_interval.
    static constexpr Duration settle_time = std::chrono::milliseconds(100);
    /// The same for a single doubtful fact, which is to be seen in the metrics within 100 ms.
    static constexpr Duration doubt_settle_time = std::chrono::milliseconds(20);
    /// A table that was read once is not read more often than this.
    static constexpr Duration redump_interval = std::chrono::seconds(1);
    static constexpr int tries_max = 3;
    static constexpr Duration rest_time = std::chrono::seconds(30);
    /// Tables that changed under three dumps are read again once no message came for this long.
    static constexpr Duration quiet_time = std::chrono::milliseconds(300);

    NetlinkSync() = default;

    explicit NetlinkSync(const Topology::Limits& limits) : topology_(limits) {}

    /// One datagram as received from the kernel.
    void on_datagram(ByteView datagram, const Instant& now);
    /// The socket lost messages (ENOBUFS).
    void on_overrun(const Instant& now);
    /// A datagram was longer than the buffer: its end is lost.
    void on_truncated(const Instant& now);
    /// The request of take_request() could not be sent.
    void on_request_failed(const Instant& now);

    /// The dump to ask for now, if one is due.
    [[nodiscard]] std::optional<DumpRequest> take_request(MonoTime now);

    /// When to call advance() and take_request() next; mono_never while nothing is pending.
    MonoTime next_deadline() const;

    /// Ends a dump that takes too long. To be called after what the socket holds was handed in,
    /// lest our own stall looks like the kernel's silence.
    void advance(const Instant& now);

    const Topology& topology() const { return topology_; }

    /// Each table was read in full once, or given up on after tries_max tries.
    bool synced() const;

    NetlinkSnapshot snapshot() const;

  private:
    struct Table {
        bool wanted = true;     ///< to be read (again)
        bool accepted = false;  ///< read once, or given up on once
        bool resting = false;   ///< failed tries_max times
        bool retry_when_quiet = false;
        int tries = 0;  ///< failures in a row
        MonoTime not_before{};
        std::optional<MonoTime> last_start{};
    };

    enum class Spoiled : std::uint8_t { no, changed, malformed };

    struct Dump {
        DumpRequest request;
        MonoTime started{};
        MonoTime last_part{};
        Spoiled spoiled = Spoiled::no;
    };

    Table& table(DumpKind kind) { return tables_[static_cast<std::size_t>(kind)]; }

    void on_message(const NetlinkMessage& message, const Instant& now);
    void on_malformed(const NetlinkMessage& message, const Instant& now);
    void on_dump_end(int error, const Instant& now);
    void complete_dump(const Instant& now);
    void fail_dump(const Instant& now, bool retry_when_quiet);
    void spoil_dump(Spoiled how);
    void want_doubted(MonoTime now);
    void want_all(MonoTime now);
    void want(DumpKind kind, MonoTime settled);
    bool belongs_to_dump(const NetlinkMessage& message) const;
    bool at_rest() const;
    MonoTime earliest_start(const Table& table, MonoTime settled) const;
    MonoTime due(const Table& table) const;

    Topology topology_;
    std::array<Table, dump_kind_count> tables_{};
    std::optional<Dump> dump_;
    std::uint32_t sequence_ = 0;
    MonoTime last_message_{};
    std::optional<MonoTime> loss_burst_start_{};
    MonoTime last_loss_{};

    std::array<std::uint64_t, netlink_type_count> messages_{};
    std::uint64_t malformed_ = 0;
    std::uint64_t attributes_malformed_ = 0;
    std::uint64_t overruns_ = 0;
    std::uint64_t resyncs_ = 0;
    WallTime last_sync_{};
};

}  // namespace reachd
