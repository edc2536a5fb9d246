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
// A dump fails when the tables changed under it (NLM_F_DUMP_INTR, or what the topology saw itself),
// when messages were lost during it, when the kernel refuses it or stays silent. One dump runs at a
// time, as the kernel wants it. Statistics are no table that could be wrong: they are read every
// few seconds when nothing else is to be read, and a failure waits for the next time.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "agent/netlink_message.hpp"
#include "agent/topology.hpp"
#include "agent/topology_change.hpp"
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
    /// Losses come in bursts: the dump waits for their end, but no longer than loss_wait_max.
    static constexpr Duration settle_time = std::chrono::milliseconds(100);
    /// The same for a single doubtful fact, which is to be seen in the metrics within 100 ms.
    static constexpr Duration doubt_settle_time = std::chrono::milliseconds(20);
    static constexpr Duration loss_wait_max = std::chrono::seconds(1);
    /// A table that was read once is not read again before 10 times the time that reading all of
    /// them took, within these bounds: so losses without end cost at most some 10 % of a core.
    static constexpr Duration redump_interval_min = std::chrono::milliseconds(250);
    static constexpr Duration redump_interval_max = std::chrono::seconds(1);
    static constexpr int redump_interval_factor = 10;
    static constexpr int tries_max = 3;
    /// Reading a table again takes some 100 ms, and is nothing to speak of.
    static constexpr Duration in_step_tolerance = std::chrono::seconds(2);
    static constexpr Duration rest_time = std::chrono::seconds(30);
    /// After losses and dumps that the tables changed under, no event for this long means that
    /// all is over: the wait is halved.
    static constexpr Duration quiet_time = std::chrono::milliseconds(300);
    static constexpr Duration statistics_interval = std::chrono::seconds(5);
    /// Shorter than dump_silence_max: no table shall wait long for mere statistics.
    static constexpr Duration statistics_silence_max = std::chrono::milliseconds(500);
    /// Events do not tell of virtual functions: where there are any, links are read this often.
    static constexpr Duration virtual_functions_interval = std::chrono::seconds(60);

    NetlinkSync() = default;

    explicit NetlinkSync(const Topology::Limits& limits) : topology_(limits) {}

    /// One datagram as received from the kernel.
    void on_datagram(ByteView datagram, const Instant& now);
    /// The socket lost messages (ENOBUFS).
    void on_overrun(const Instant& now);
    /// A datagram was longer than the buffer: its end is lost.
    void on_truncated(const Instant& now);
    /// An answer is on its way: kept by us or by a lock of the kernel, which is no silence.
    void on_pending(const Instant& now);
    /// The request of take_request() could not be sent.
    void on_request_failed(const Instant& now);

    /// The dump to ask for now, if one is due.
    [[nodiscard]] std::optional<DumpRequest> take_request(MonoTime now);

    /// When to call advance(), take_request() and take_changes() next.
    MonoTime next_deadline() const;

    /// Ends a dump that takes too long. To be called after what the socket holds was handed in,
    /// lest our own stall looks like the kernel's silence.
    void advance(const Instant& now);

    const Topology& topology() const { return topology_; }

    [[nodiscard]] FdbNewsBatch take_fdb_news() { return topology_.take_fdb_news(); }

    /// What changed since the tables were read for the first time; see Topology::take_changes().
    [[nodiscard]] std::vector<TopologyChange> take_changes(MonoTime now);

    /// Each table was read in full once, or given up on after tries_max tries. Statistics aside.
    bool synced() const;

    /// The model can be trusted: no table has waited to be read again for more than
    /// in_step_tolerance.
    bool in_step(MonoTime now) const;

    /// The socket is of no use any more: the model stays as it is, and grows old.
    void on_failed() { failed_ = true; }

    /// No table is being read or waits for it: the model is what the kernel said last.
    bool at_rest() const;

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
        Duration last_duration{};  ///< of its last dump that the kernel brought to an end
    };

    enum class Spoiled : std::uint8_t { no, changed, malformed };

    struct Dump {
        DumpRequest request;
        MonoTime started{};
        MonoTime last_part{};
        Spoiled spoiled = Spoiled::no;
    };

    /// All but the statistics.
    static constexpr std::size_t table_count = dump_kind_count - 1;

    Table& table(DumpKind kind) { return tables_[static_cast<std::size_t>(kind)]; }

    const Table& table(DumpKind kind) const { return tables_[static_cast<std::size_t>(kind)]; }

    DumpRequest start_dump(DumpKind kind, MonoTime now);
    std::optional<DumpKind> table_to_read(MonoTime now);
    bool is_wanted(DumpKind kind) const;
    bool reads_statistics() const;
    void on_message(const NetlinkMessage& message, const Instant& now);
    void on_malformed(const NetlinkMessage& message, const Instant& now);
    void on_malformed_attributes(const NetlinkMessage& message, const Instant& now);
    void on_dump_end(int error, const Instant& now);
    void complete_dump(const Instant& now);
    void fail_dump(const Instant& now, bool retry_when_quiet);
    void read_again(Table& table, const Instant& now, bool retry_when_quiet);
    void spoil_dump(Spoiled how);
    void settle_first_sync();
    void want_doubted(MonoTime now);
    void want_all(MonoTime now);
    void want(DumpKind kind, MonoTime settled);
    bool belongs_to_dump(const NetlinkMessage& message) const;
    MonoTime earliest_start(const Table& table, MonoTime settled) const;
    MonoTime due(const Table& table) const;
    MonoTime dump_deadline() const;
    MonoTime statistics_due() const;
    MonoTime virtual_functions_due() const;
    Duration redump_interval() const;

    Topology topology_;
    std::array<Table, table_count> tables_{};
    std::optional<Dump> dump_;
    std::optional<MonoTime> last_statistics_{};
    bool first_sync_over_ = false;
    bool failed_ = false;
    std::optional<MonoTime> unrest_since_{};
    std::uint32_t sequence_ = 0;
    MonoTime last_event_{};  ///< or loss
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
