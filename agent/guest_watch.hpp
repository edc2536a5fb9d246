// Keeps the guest inventory in step with the topology, and says what that takes: which ports to
// listen on, whose names to look up, what to keep in the run-time file, who is to be probed. The
// inventory itself is GuestTable's, the peers are the agent's.
//
// Guests can make the topology change as often as they like, so it is looked at at a pace.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/config.hpp"
#include "agent/fdb_table.hpp"
#include "agent/guest_cache.hpp"
#include "agent/guest_identity.hpp"
#include "agent/guest_ports.hpp"
#include "agent/guest_table.hpp"
#include "agent/listened_ports.hpp"
#include "agent/topology.hpp"
#include "common/log.hpp"
#include "common/snapshot.hpp"
#include "common/time.hpp"
#include "probes/neighbour_filter.hpp"
#include "probes/neighbour_packet.hpp"

namespace reachd {

/// Asks who the owners of these ports are. All ports at once: what is known of one tells what
/// another is not.
struct GuestLookup {
    struct Port {
        IfIndex index = IfIndex::any;
        std::uint64_t generation = 0;
        GuestPort facts;
    };

    std::vector<Port> ports;
};

/// The answer: identities in the order of the lookup's ports.
struct GuestsIdentified {
    std::vector<GuestLookup::Port> ports;
    std::vector<GuestIdentity> identities;
    std::vector<NameGap> gaps;
};

class GuestWatch {
  public:
    /// At most this often is the topology looked at for ports, addresses and neighbours.
    static constexpr Duration look_interval = std::chrono::milliseconds(100);
    /// At most this often are names looked up: some milliseconds of a helper thread each time.
    static constexpr Duration lookup_interval = std::chrono::milliseconds(500);
    /// From a new port to the first lookup: the machine is there before its tap, its files are
    /// written while it starts.
    static constexpr Duration lookup_delay = std::chrono::milliseconds(100);
    /// Lookups for one port that nobody is known to own.
    static constexpr unsigned lookups_max = 4;
    static constexpr Duration save_interval = std::chrono::seconds(30);
    /// What was last seen is kept too, also while nothing else changes.
    static constexpr Duration quiet_save_interval = std::chrono::minutes(5);
    /// The host's neighbours can be many, and are the weakest evidence.
    static constexpr Duration neighbours_interval = std::chrono::seconds(1);
    /// At most this often is it told that ports cannot be listened on, and as often that all can be
    /// again. What fails in between is told then, and the end not before.
    static constexpr Duration failure_line_interval = std::chrono::minutes(1);

    explicit GuestWatch(const Config& config);

    void configure(const Config& config, const Instant& now);

    /// After all events of a turn.
    void advance(const Topology& topology, const FdbNewsBatch& fdb, const Instant& now);

    void on_frame(IfIndex port, const NeighbourFrame& frame, const Instant& now);
    void on_seen(const GuestTarget& target, const Instant& now);
    void on_identified(GuestsIdentified event, const Instant& now);
    void on_restored(const std::vector<GuestAddressRecord>& records, const Instant& now);

    /// Nothing: as they were.
    std::optional<std::vector<GuestTarget>> take_targets(MonoTime now);

    /// When take_targets() has something to tell.
    MonoTime targets_due() const {
        return targets_stale_ || targets_seen_ != table_.revision() ? MonoTime{} : tell_again_;
    }

    /// Tell the targets again at this time, since one of them may be probed from then on.
    void tell_again_at(MonoTime time) { tell_again_ = std::min(tell_again_, time); }

    /// Ports to listen on from now on, and no more. One that is in both has a new device. Who does
    /// not hear of a failure before the next turn takes the port for open.
    [[nodiscard]] ListenedPorts::Changes take_ports() { return listened_.take_changes(); }

    /// Some are to be closed: whoever is asked there must not be asked any more.
    bool lost_ports() const { return listened_.any_closed(); }

    /// A port of take_ports() could not be opened: tried again. True: it was not so before.
    bool on_port_failed(IfIndex port, std::string_view reason, MonoTime now);

    std::optional<GuestLookup> take_lookup(MonoTime now);

    /// What to keep in the run-time file, now and then; nothing: not due.
    std::optional<std::vector<GuestAddressRecord>> take_records(MonoTime now);

    /// At the end of a run.
    std::vector<GuestAddressRecord> records() const { return table_.records(); }

    void take_logs(MonoTime now, std::vector<LogRecord>& logs);

    /// Of all but take_targets().
    MonoTime next_deadline() const;

    void snapshot(std::vector<GuestSnapshot>& guests, const Instant& now) const {
        table_.snapshot(guests, now);
    }

    std::vector<NamedCount> refusals() const { return table_.refusals(); }

  private:
    struct Known {
        std::uint64_t generation = 0;
        unsigned lookups = 0;  ///< done
        std::size_t macs = 0;  ///< at the last lookup
        bool named = false;
        PortUse use = PortUse::guest;
        GuestPort facts;
    };

    /// Ports that came to fail since the last line about it.
    struct UntoldFailures {
        std::size_t ports = 0;
        std::string device;  ///< of the first
        std::string reason;
    };

    void look_at_ports(const Topology& topology, const Instant& now);
    void follow_fdb(const Topology& topology, const FdbNewsBatch& fdb, const Instant& now);
    void look_at_neighbours(const Topology& topology, const Instant& now);
    bool knows(const Vnic& port) const;
    std::vector<IfIndex> note_ports(const std::vector<Vnic>& ports, MonoTime now);
    void follow_listened(MonoTime now);
    void tell_failures(bool failing);
    void note_owner(Known& known, std::optional<std::uint32_t> owner_uid, MonoTime now);
    void want_lookups(MonoTime now);

    GuestDiscoveryConfig config_;
    GuestTable table_;
    std::map<IfIndex, Known> ports_;
    ListenedPorts listened_;
    UntoldFailures untold_failures_;
    bool failure_told_ = false;  ///< and its end is not
    MonoTime next_failure_line_{};
    std::vector<LogRecord> logs_;
    std::vector<NameGap> gaps_told_;
    std::uint64_t structure_seen_ = 0;
    std::uint64_t neighbours_seen_ = 0;
    std::uint64_t macs_seen_ = 0;
    std::uint64_t targets_seen_ = 0;
    bool stale_ = true;          ///< the links have changed since they were looked at
    bool targets_stale_ = true;  ///< the next take_targets() tells, whatever the revision
    MonoTime tell_again_ = mono_never;
    MonoTime next_look_{};
    MonoTime lookup_due_ = mono_never;
    MonoTime lookup_not_before_{};
    bool lookup_out_ = false;
    MonoTime next_neighbours_{};
    bool neighbours_stale_ = true;
    MonoTime next_save_{};
    MonoTime quiet_save_{};
    std::uint64_t saved_revision_ = 0;
};

}  // namespace reachd
