// The inventory of guests: ports of local bridges that lead to guests, the MACs behind them and the
// addresses of these, fed with what is heard, found and told; and out of it, who may be probed,
// where, as whom and from when on. A pure model: it opens no sockets and sends nothing.
//
// What a guest says is a claim. It decides about the guest's own port and nothing else: an address
// is probed only out of the port where it was heard, to the MAC that uses it; addresses of the
// host, of gateways and of other guests alive are refused. Ports hear each other only within a
// segment and VLAN, so two guests may have one address in different ones.
//
// Which MAC is behind a port: the virtual machine's configuration counts most, then the bridge's
// forwarding table, then the source of frames. What a guest sends never takes a MAC away from the
// machine that is configured with it.
//
// An address goes when it was silent for long while its MAC spoke, sooner when another one has
// taken its place, when its MAC left the port, or with the port. A guest that says nothing at all
// keeps what it has: it is down, not gone. Work a frame is bounded by constants, memory by the
// limits below.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "agent/config.hpp"
#include "agent/fdb_table.hpp"
#include "agent/guest_address_rules.hpp"
#include "agent/guest_cache.hpp"
#include "agent/guest_entries.hpp"
#include "agent/guest_identity.hpp"
#include "agent/guest_notices.hpp"
#include "agent/guest_ports.hpp"
#include "common/address.hpp"
#include "common/log.hpp"
#include "common/mac_address.hpp"
#include "common/snapshot.hpp"
#include "common/time.hpp"
#include "probes/neighbour_packet.hpp"

namespace reachd {

/// An address of a guest that is to be probed. Told from others by port, generation, MAC and
/// address.
struct GuestTarget {
    IfIndex port = IfIndex::any;  ///< where probes go out
    std::uint64_t generation = 0;
    std::string device;
    std::optional<MacAddress> port_mac;
    bool up = false;
    bool attached = true;  ///< the port is in its bridge; false: it lost it, the guest is cut off
    IfIndex bridge{};      ///< any: of none now
    std::string bridge_name;  ///< the former one where there is none now
    IfIndex host_device{};    ///< by which the host reaches it itself; any: only by its port
    MacAddress mac;
    IpAddress address;         ///< scope set where it is link-local
    std::string address_text;  ///< with its zone
    /// Label `peer`. Where another guest of the same name has the same address already, with the
    /// MAC: "web01 (52:54:00:12:34:56)". Kept as long as the target is there.
    std::string name;
    std::string vm;         ///< empty: none, or not known
    MonoTime probe_from{};  ///< not before; rises when the guest checks its address anew
    bool listened = false;  ///< somebody hears its answers on the port; GuestWatch knows

    friend bool operator==(const GuestTarget&, const GuestTarget&) = default;
};

class GuestTable {
  public:
    static constexpr std::size_t ports_max = 4096;
    static constexpr std::size_t macs_per_port_max = 64;
    static constexpr std::size_t addresses_per_mac_max = 4;
    static constexpr std::size_t addresses_per_port_max = 64;
    static constexpr std::size_t macs_max = 65'536;
    static constexpr std::size_t addresses_max = guest_cache_records_max;
    /// Records of the run-time file that wait for their MAC.
    static constexpr std::size_t restored_max = guest_cache_records_max;

    /// An address that was not heard of for longer goes, measured in time in which its MAC was: a
    /// guest that hangs says nothing with any address. So does a MAC that no bridge and no
    /// configuration knows, if another one behind the port was heard.
    static constexpr Duration address_age = guest_cache_age_max;
    /// The same where the MAC uses another address that it did not have before this one fell
    /// silent: the guest has changed its address. One that was there all along is no such sign, nor
    /// one of another family: then the silent one is down. Never less than three probe intervals.
    static constexpr Duration replaced_age = std::chrono::minutes(5);
    /// One that only the host's neighbour table names: it keeps addresses that are long given up.
    static constexpr Duration unconfirmed_age = std::chrono::seconds(60);
    /// From the bridge forgetting a MAC (after 300 s of silence, or at a link that goes down) to
    /// the end of its addresses, if other MACs are behind the port. The last one stays: a guest
    /// that hangs is down, not gone.
    static constexpr Duration mac_hold = std::chrono::minutes(10);
    /// Silence after which another guest may have the address, or a new one may have its place. A
    /// virtual machine is back from a reboot within two minutes; a floating address (VRRP) is with
    /// its new owner after that. Never less than three probe intervals: who is not asked is silent.
    static constexpr Duration silence = std::chrono::minutes(2);
    /// The same between two MACs behind one port, where no other guest is concerned; and for a MAC
    /// that a bridge says has moved.
    static constexpr Duration silence_within_port = std::chrono::seconds(10);
    /// For the name of the owner, after the port appeared or its first MAC came.
    static constexpr Duration name_wait = std::chrono::seconds(2);
    /// A DHCP server's answer belongs to a request that is no older.
    static constexpr Duration dhcp_wait = std::chrono::seconds(60);

    /// `probe_interval`: how often a guest is asked at least; nothing: it is only listened to.
    explicit GuestTable(GuestDiscoveryConfig config = {},
                        std::optional<Duration> probe_interval = std::chrono::seconds(1));

    /// Another configuration. The operator's word on names counts at once; other names stay.
    void configure(GuestDiscoveryConfig config,
                   std::optional<Duration> probe_interval,
                   const Instant& now);

    /// What guest_ports() found, all of it. Ports in no bridge count if they were in one here.
    void set_ports(std::vector<Vnic> ports, const Instant& now);

    /// All addresses of the host, and its gateways (scope set where link-local).
    void set_own_addresses(std::vector<InterfaceAddress> addresses,
                           std::vector<IpAddress> gateways,
                           const Instant& now);

    /// Came in on this port.
    void on_frame(IfIndex port, const NeighbourFrame& frame, const Instant& now);

    /// The bridge learnt the MAC behind the port, also: moved it there; or forgot it.
    void on_fdb(IfIndex port, const LearntMac& entry, bool added, const Instant& now);

    /// All that it knows behind the port at the moment.
    void set_fdb(IfIndex port, std::vector<LearntMac> entries, const Instant& now);

    /// The neighbour table of the host has this MAC for this address. Means nothing before the MAC
    /// is known behind a port: to be offered again when macs_revision() rises. Never prolongs what
    /// is known, since the kernel keeps entries of neighbours that are long gone.
    void on_host_neighbour(IfIndex device,
                           const IpAddress& address,
                           const MacAddress& mac,
                           const Instant& now);

    /// Who the owner of the port is, as far as anybody knows: an identity without name says that
    /// there is none to be known. Nothing for a port that is gone by now.
    void set_vm(IfIndex port, std::uint64_t generation, GuestIdentity identity, const Instant& now);

    /// The guest answered a probe of this address.
    void on_seen(IfIndex port,
                 std::uint64_t generation,
                 const IpAddress& address,
                 const Instant& now);

    /// From the run-time file. Counts once its MAC is behind the port of that name again.
    void restore(const GuestAddressRecord& record, const Instant& now);

    /// For the run-time file, in no order; those that still wait for their MAC included.
    std::vector<GuestAddressRecord> records() const;

    /// Rises when targets() or snapshot() may have changed, but for the times at which addresses
    /// were last seen. A hostile guest can make it rise often: look at a pace of your own.
    std::uint64_t revision() const { return revision_; }

    /// Rises when a MAC came behind a port.
    std::uint64_t macs_revision() const { return macs_revision_; }

    /// By ascending index of the port, then by address.
    std::vector<GuestTarget> targets() const;

    /// By ascending index of the port; `peer` is left empty. Reasons for not probing are as of now.
    void snapshot(std::vector<GuestSnapshot>& guests, const Instant& now) const;

    /// MACs behind a port, ascending; those that another port has a better right to are left out.
    std::vector<MacAddress> macs_of(IfIndex port) const;

    /// Appends what is to be said, and forgets it.
    void take_logs(MonoTime now, std::vector<LogRecord>& logs) { notices_.take_logs(now, logs); }

    /// What was refused, by reason; those that have occurred.
    std::vector<NamedCount> refusals() const { return notices_.counts(); }

    /// When advance() or take_logs() has something to do; mono_never: only after an event.
    MonoTime next_deadline() const;
    void advance(const Instant& now);

    std::size_t port_count() const { return ports_.size(); }

    std::size_t mac_count() const { return macs_; }

    std::size_t address_count() const { return claims_.size(); }

  private:
    struct MacKey {
        IfIndex segment = IfIndex::any;
        std::uint16_t vlan = 0;
        MacAddress mac;

        friend bool operator==(const MacKey&, const MacKey&) = default;
    };

    struct ClaimKey {
        IfIndex segment = IfIndex::any;
        std::uint16_t vlan = 0;
        IpAddress address;

        friend bool operator==(const ClaimKey&, const ClaimKey&) = default;
    };

    struct KeyHash {
        static std::uint64_t mixed(std::uint64_t value);
        std::size_t operator()(const MacKey& key) const;
        std::size_t operator()(const ClaimKey& key) const;
    };

    struct Claim {
        IfIndex port = IfIndex::any;
        MacAddress mac;
    };

    /// An address as it was just heard of.
    struct Sighting {
        IpAddress address;
        std::uint16_t vlan = 0;
        bool tagged = false;
        LearntBy how = LearntBy::arp;
        bool in_use = false;  ///< in ordinary use; false: announced, granted
    };

    /// Ports that hear each other.
    struct Segment {
        IfIndex device = IfIndex::any;
        std::uint16_t vlan = 0;

        friend bool operator==(const Segment&, const Segment&) = default;
    };

    struct PendingRecord {
        GuestAddressRecord record;
        MonoTime expires{};
    };

    enum class Evidence : std::uint8_t { configuration, forwarding_table, frame };

    /// Why an address is not probed, whatever the time.
    enum class Bar : std::uint8_t { none, macvtap, tagged, off_link, temporary };

    void set_patience(std::optional<Duration> probe_interval);

    // --- Ports
    KnownPort* find_port(IfIndex index);
    KnownPort* find_port(IfIndex index, std::uint64_t generation);
    void remove_missing_ports(const std::vector<Vnic>& ports);
    void add_port(Vnic vnic, const Instant& now);
    void update_port(KnownPort& port, Vnic vnic, const Instant& now);
    void remove_port(IfIndex index);
    void rebuild_indexes();
    void rebuild_claims(KnownPort& port, const MacAddress& mac, KnownMac& known);
    void rebuild_host_segments();
    void refuse_ports(std::size_t refused, MonoTime now);

    // --- MACs
    static MacKey key_of(const KnownPort& port, const MacAddress& mac);
    bool is_owner(const KnownPort& port, const MacAddress& mac) const;
    KnownMac* add_mac(KnownPort& port, const MacAddress& mac, Evidence evidence, MonoTime now);
    bool make_room_for_mac(KnownPort& port, Evidence evidence, MonoTime now);
    void erase_mac(KnownPort& port, const MacAddress& mac);
    static bool is_untagged(const KnownPort& port, std::uint16_t vlan);
    static bool is_learnt(const KnownPort& port, const KnownMac& known);
    bool may_take(const KnownPort& port,
                  const KnownMac* here,
                  const KnownMac& there,
                  Evidence evidence,
                  MonoTime now) const;
    bool may_own(const KnownPort& port, const MacAddress& mac, Evidence evidence, MonoTime now);
    bool own_mac(KnownPort& port, const MacAddress& mac, Evidence evidence, MonoTime now);
    void move_mac(KnownPort& from, KnownPort& to, const MacAddress& mac, MonoTime now);
    void learn(KnownPort& port, const LearntMac& entry, const Instant& now);
    void unlearn(KnownPort& port, const LearntMac& entry, MonoTime now);
    KnownMac* hear_mac(KnownPort& port, const MacAddress& mac, const Instant& now);
    bool is_silent(MonoTime heard, MonoTime now) const;

    // --- Addresses
    static ClaimKey key_of(const KnownPort& port, const KnownAddress& address);
    void on_probe(KnownPort& port, KnownMac& mac, const NeighbourFrame& frame, const Instant& now);
    void on_dhcp_ack(const KnownPort& port, const NeighbourFrame& frame, const Instant& now);
    void on_refused_probe(KnownPort& port, const NeighbourFrame& frame, const Instant& now);
    void hold(KnownPort& port, KnownAddress& address, const Instant& now);
    void claim(KnownPort& port,
               const MacAddress& mac,
               const Sighting& sighting,
               const Instant& now);
    void refresh(KnownPort& port,
                 const KnownMac& mac,
                 KnownAddress& known,
                 const Sighting& sighting,
                 const Instant& now);
    bool is_admissible(const KnownPort& port, const IpAddress& address, MonoTime now);
    void hear_address(
        KnownPort& port, const KnownMac& mac, KnownAddress& known, bool in_use, const Instant& now);
    bool settle_claim(KnownPort& port, const ClaimKey& key, const Instant& now);
    bool make_room_for_address(KnownPort& port, const MacAddress& mac, MonoTime now);
    void insert(KnownPort& port, const MacAddress& mac, KnownAddress address);
    void erase_address(KnownPort& port,
                       KnownMac& mac,
                       const IpAddress& address,
                       std::uint16_t vlan);
    void release(KnownPort& port, const KnownAddress& address);
    void drop_inadmissible(KnownPort& port, MonoTime now);
    void apply_restored(KnownPort& port, const Instant& now);
    bool apply_restored(KnownPort& port, const PendingRecord& pending, const Instant& now);

    // --- Names and series
    const std::string* mapped_name(const KnownPort& port) const;
    std::vector<const MacAddress*> macs_by_right(const KnownPort& port) const;
    bool has_waited(const KnownPort& port, MonoTime now) const;
    static MonoTime wait_end(const KnownPort& port);
    std::string name_now(const KnownPort& port, MonoTime now) const;
    bool is_excluded(const KnownPort& port, MonoTime now) const;
    void settle_name(KnownPort& port, MonoTime now);
    void enlist(KnownPort& port);
    void forget_series(const KnownPort& port, const KnownAddress& address);
    void delist_all(KnownPort& port);
    static std::string series_key(const KnownPort& port, const KnownAddress& address);
    static std::string address_text(const KnownPort& port, const KnownAddress& address);

    // --- Time
    void touch(KnownPort& port, MonoTime now);
    void touch_all(MonoTime now);
    void schedule(KnownPort& port, MonoTime now);
    MonoTime due_of(const KnownPort& port, MonoTime now) const;
    void visit(KnownPort& port, const Instant& now);
    bool expire_addresses(KnownPort& port, const Instant& now);
    bool expire_macs(KnownPort& port, MonoTime now);
    void expire_restored(MonoTime now);
    static bool is_replaced(const KnownMac& mac, const KnownAddress& address);
    Duration age_of(const KnownMac& mac, const KnownAddress& address) const;
    bool is_aged(const KnownMac& mac, const KnownAddress& address, MonoTime now) const;

    // --- Answers
    Bar bar_of(const KnownPort& port,
               const MacAddress& mac,
               const KnownMac& known,
               const KnownAddress& address) const;
    GuestTarget target_of(const KnownPort& port,
                          const MacAddress& mac,
                          const KnownAddress& address) const;
    std::string not_probed(const KnownPort& port,
                           Bar bar,
                           const KnownAddress& address,
                           MonoTime now) const;
    GuestSnapshot snapshot_of(const KnownPort& port, MonoTime now) const;
    std::string who(const KnownPort& port, MonoTime now) const;
    void refuse_claim(const KnownPort& port,
                      const IpAddress& address,
                      GuestRefusal why,
                      std::string_view whose,
                      MonoTime now);
    void refuse_mac(const KnownPort& port,
                    const KnownPort& owner,
                    const MacAddress& mac,
                    MonoTime now);

    GuestDiscoveryConfig config_;
    Duration silence_{};
    Duration silence_within_port_{};
    Duration replaced_age_{};
    HostAddresses host_;
    std::map<IfIndex, KnownPort> ports_;
    std::unordered_map<std::string, IfIndex> port_by_device_;
    std::unordered_map<IfIndex, std::vector<Segment>> host_segments_;  ///< by device of the host
    std::unordered_map<MacKey, IfIndex, KeyHash> owner_;
    std::unordered_map<ClaimKey, Claim, KeyHash> claims_;  ///< every address, once
    /// Names and addresses given out: one series each.
    std::set<std::string> series_;
    std::unordered_map<std::string, std::vector<PendingRecord>> restored_;  ///< by device
    std::size_t restored_count_ = 0;
    MonoTime restored_due_ = mono_never;
    std::set<std::pair<MonoTime, IfIndex>> due_;
    GuestNotices notices_;
    std::size_t macs_ = 0;  ///< of all ports
    std::size_t ports_refused_ = 0;
    std::uint64_t next_serial_ = 0;
    std::uint64_t revision_ = 0;
    std::uint64_t macs_revision_ = 0;
};

}  // namespace reachd
