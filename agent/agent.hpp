// The whole daemon without its input and output: events in, actions out, time as an argument. It
// composes the cores (netlink sync, name resolution, peers, probe engine) and holds the decisions
// that need more than one of them. One thread, no clock, no socket, no exception.
//
// A turn of its driver:  observe(now); handle(event, …) for all there is; perform poll(now).
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/event.hpp"
#include "agent/guest_watch.hpp"
#include "agent/path_mtu_watch.hpp"
#include "agent/peer_table.hpp"
#include "agent/topology_watch.hpp"
#include "common/random.hpp"
#include "probes/probe_engine.hpp"

namespace reachd {

/// What makes one run differ from another.
struct AgentSeed {
    std::uint64_t random = 0;
    std::array<std::uint64_t, 2> cookie_key{};  ///< secret: from the kernel's random numbers
};

class Agent {
  public:
    Agent(Config config, std::string host_name, const AgentSeed& seed, const Instant& start);

    /// Its parts hold on to each other.
    Agent(const Agent&) = delete;
    Agent& operator=(const Agent&) = delete;

    /// First thing of a turn, and again whenever the clocks were read anew.
    void observe(const Instant& now) {
        engine_.observe(now);
        mtus_.prober().observe(now.mono);
    }

    void handle(const EchoSocketOpened& event, const Instant& now);
    void handle(const ProbeSent& event, const Instant& now);
    void handle(const ProbeNotSent& event, const Instant& now);
    void handle(const ProbeSkipped& event, const Instant& now);
    void handle(const TransmitStamped& event, const Instant& now);
    void handle(const EchoReplied& event, const Instant& now);
    void handle(const EchoFailed& event, const Instant& now);
    void handle(const PacketRejected& event, const Instant& now);
    void handle(const TcpEnded& event, const Instant& now);
    void handle(const TcpAbandoned& event, const Instant& now);
    void handle(const NeighbourStamped& event, const Instant& now);
    void handle(const NeighbourHeard& event, const Instant& now);
    void handle(const NeighbourOverflowed& event, const Instant& now);
    void handle(const GuestPortFailed& event, const Instant& now);
    void handle(const GatewayPortFailed& event, const Instant& now);
    void handle(const MtuPacketSent& event, const Instant& now);
    void handle(const MtuPacketNotSent& event, const Instant& now);
    void handle(const MtuPacketTooBig& event, const Instant& now);
    void handle(const MtuReplied& event, const Instant& now);
    void handle(const MtuEchoFailed& event, const Instant& now);
    void handle(const MtuDatagramFailed& event, const Instant& now);
    void handle(const MtuOverflowed& event, const Instant& now);
    void handle(const EgressFound& event, const Instant& now);
    void handle(GuestsIdentified event, const Instant& now);
    void handle(const GuestsRestored& event, const Instant& now);
    void handle(const ReceiveOverflowed& event, const Instant& now);
    void handle(const NetlinkReceived& event, const Instant& now);
    void handle(const NetlinkOverran& event, const Instant& now);
    void handle(const NetlinkTruncated& event, const Instant& now);
    void handle(const DumpRequestFailed& event, const Instant& now);
    void handle(const NetlinkPending& event, const Instant& now);
    void handle(const NetlinkFailed& event, const Instant& now);
    void handle(const NameLookedUp& event, const Instant& now);
    void handle(const HostDescribed& event, const Instant& now);
    void handle(const DeviceDescribed& event, const Instant& now);
    void handle(ConfigLoaded event, const Instant& now);
    void handle(const ConfigRejected& event, const Instant& now);

    /// An event about this session (if there is one) follows soon: see common/prefetch.hpp.
    void prefetch(std::uint32_t session) const;

    /// Last thing of a turn: everything to be done now. Echo requests must have been reported on
    /// before the next poll.
    void poll(const Instant& now, Actions& actions);

    /// When poll() wants to be called again, at the latest; mono_never: only after an event.
    MonoTime next_deadline() const;

    /// A snapshot in the making: copying ten thousand peers takes over a millisecond, so it is done
    /// in parts, between which the agent may go on. Each probe's numbers belong together; those of
    /// two probes can be some milliseconds apart.
    struct SnapshotDraft {
        std::shared_ptr<Snapshot> snapshot{};
        std::uint32_t next_peer = 0;  ///< place in the table
        std::uint64_t peers_revision = 0;
        int restarts = 0;
    };

    /// Copies about `peers_max` peers more; the snapshot when it is complete, else null. Starts
    /// over when peers came or went meanwhile, a few times at most.
    [[nodiscard]] std::shared_ptr<Snapshot> extend_snapshot(SnapshotDraft& draft,
                                                            std::size_t peers_max,
                                                            const Instant& now) const;

    /// In one go.
    Snapshot snapshot(const Instant& now) const;

    /// For the run-time file at the end of a run.
    std::vector<GuestAddressRecord> guest_records() const { return guests_.records(); }

    /// A probe of this kind is out. Late answers and what guests say by themselves are not meant.
    bool awaits(ProbeKind kind) const { return engine_.in_flight(kind) > 0; }

    bool awaits_mtu_answers() const { return mtus_.prober().in_flight() > 0; }

    std::size_t peer_count() const { return peers_.size(); }

    /// The largest payload any peer is sent, bytes.
    std::size_t payload_bytes_max() const { return payload_bytes_max_; }

    /// The first dump of every table is in.
    bool topology_synced() const { return netlink_.synced(); }

    const Topology& topology() const { return netlink_.topology(); }

    /// Rises with every verdict.
    std::uint64_t verdicts() const { return verdicts_; }

    /// "30 peers: 27 up, 2 down, 1 unknown" for the service manager.
    std::string status_line() const;

  private:
    /// The label `peer` of every discovered gateway.
    static constexpr std::string_view gateway_name = "gateway";

    /// A guest's address, as told apart from others for as long as it is probed.
    struct GuestKey {
        IfIndex port = IfIndex::any;
        IpAddress address;
        MacAddress mac;

        friend auto operator<=>(const GuestKey&, const GuestKey&) = default;
    };

    struct GuestPeer {
        GuestTarget target;
        std::uint32_t peer = 0;
        std::uint64_t serial = 0;  ///< in the order of discovery
    };

    using GuestPeers = std::map<GuestKey, GuestPeer>;

    /// Those behind one port, for walking over.
    struct GuestsOnPort {
        GuestPeers::iterator first;
        GuestPeers::iterator last;

        GuestPeers::iterator begin() const { return first; }

        GuestPeers::iterator end() const { return last; }
    };

    struct GatewayPeer {
        Gateway gateway;
        std::uint32_t peer = 0;
    };

    /// One that limits.peers leaves no room for now.
    struct WaitingGateway {
        Gateway gateway;
        MonoTime since{};
        bool refused = false;  ///< counted: there is no guest to make room either
    };

    /// Of the sockets for gateways that cannot be opened, so many are told of, until all are open.
    static constexpr std::size_t gateway_ports_told_max = 16;

    enum class Ignored : std::uint8_t { malformed, bad_checksum, foreign, wrong_source };
    static constexpr std::size_t ignored_count = 4;

    void add_configured_peer(const PeerConfig& config, const Instant& now);

    /// One way of asking a peer.
    struct ProbeSpec {
        SessionOptions options;
        std::uint16_t port = 0;  ///< TCP only

        friend bool operator==(const ProbeSpec&, const ProbeSpec&) = default;
    };

    static bool is_same_way(const ProbeSpec& a, const ProbeSpec& b) {
        return a.options.kind == b.options.kind && a.port == b.port;
    }

    static std::vector<ProbeSpec> ip_probes(PeerKind kind,
                                            const IcmpOptions& icmp,
                                            const TcpOptions& tcp);
    std::vector<ProbeSpec> probes_of(std::uint32_t id) const;
    std::uint32_t add_peer(Peer peer,
                           const IcmpOptions& icmp,
                           const MtuOptions& mtu,
                           const std::vector<ProbeSpec>& probes,
                           const Instant& now);
    void set_echo_options(Peer& peer, const IcmpOptions& icmp);
    void set_probes(std::uint32_t id, const std::vector<ProbeSpec>& wanted, const Instant& now);
    void open_session(std::uint32_t id, const ProbeSpec& probe, const Instant& now);
    void close_sessions(std::uint32_t id);
    void remove_peer(std::uint32_t id);
    void update_configured_peer(std::uint32_t id, const PeerConfig& config, const Instant& now);
    void apply_peers(const std::vector<PeerConfig>& configured, const Instant& now);
    void set_address(std::uint32_t id, const IpAddress& address, const Instant& now);
    std::string resolved_address_text(const IpAddress& address, const std::string& device) const;
    void change_rtt_edges(const std::vector<double>& edges, const Instant& now);

    void follow_topology(const Instant& now);
    void follow_changes(const Instant& now);
    void resolve_device(Peer& peer) const;
    void resolve_devices(const Instant& now);
    bool is_same_series(const Gateway& a, const Gateway& b) const;
    std::vector<Gateway> wanted_gateways() const;
    void follow_gateways(const Instant& now);
    void remove_gateways_not_in(const std::vector<Gateway>& wanted);
    void admit_gateways(const std::vector<Gateway>& wanted, const Instant& now);
    MonoTime admission_due() const;
    void count_refused(const Gateway& gateway);
    void add_gateway(const Gateway& gateway, const Instant& now);
    void aim_at_gateway(const GatewayPeer& gateway);
    void want_gateway_ports();
    void follow_gateway_ports(const Instant& now);
    bool can_ask(const Peer& gateway) const;
    bool has_arp_session(const GatewayPeer& gateway) const;
    bool wants_arp_session(const GatewayPeer& gateway) const;
    std::vector<ProbeSpec> gateway_probes(const GatewayPeer& gateway) const;
    void follow_gateway_probes(const Instant& now);
    void ask_gateway(Peer& gateway, const SendOrder& order, const Instant& now, Actions& actions);
    void on_gateway_heard(const NeighbourHeard& event, const Instant& now);
    void on_gateway_overflow(const NeighbourOverflowed& event);

    void follow_guests(const Instant& now);
    MonoTime guests_deadline() const;
    void follow_guests_anew();
    GuestsOnPort guests_on(IfIndex port);
    void leave_alone(IfIndex port, const MacAddress& mac, MonoTime now);
    void confirm_anew(std::uint32_t peer, MonoTime now);
    void apply_guests(const std::vector<GuestTarget>& targets, bool anew, const Instant& now);
    void remove_guests_not_in(const std::map<GuestKey, const GuestTarget*>& wanted);
    void admit_guests(std::vector<const GuestTarget*> fresh, const Instant& now);
    void put_in_turn(std::vector<const GuestTarget*>& fresh) const;
    void add_guest(const GuestTarget& target, const Instant& now);
    void update_guest(GuestPeer& guest, const GuestTarget& target, const Instant& now);
    void aim_at_guest(Peer& peer, const GuestTarget& target) const;
    std::vector<ProbeSpec> guest_probes(const GuestTarget& target) const;
    std::set<std::string> series_of_others() const;
    std::size_t room_for_guests() const;
    void evict_guests(std::size_t others);
    void count_refused(const GuestTarget& target);
    void snapshot_guests(Snapshot& snapshot, const Instant& now) const;

    void want_mtu(std::uint32_t id, const MtuOptions& options, const Instant& now);
    void aim_mtu(std::uint32_t id, bool anew, const Instant& now);
    std::optional<MtuAim> mtu_aim(const Peer& peer) const;
    void follow_mtu_ways(const Instant& now);
    void find_mtu_conflicts();
    void tell_mtu_conflict(const MtuInconsistency& conflict, bool is_over);
    void order_mtu_packets(const Instant& now, Actions& actions);
    ProbeCookie mtu_cookie(ProbeToken token) const;
    bool is_ours_of_mtu(const ProbeCookie& cookie) const;
    std::string mtu_source_text(const PathMtu& mtu) const;
    void log_mtu_changes();
    void snapshot_mtu(std::uint32_t id, std::uint32_t place, Snapshot& snapshot) const;

    void begin_snapshot(SnapshotDraft& draft) const;
    void snapshot_peer(std::uint32_t id, Snapshot& snapshot) const;
    void finish_snapshot(Snapshot& snapshot, const Instant& now) const;
    void snapshot_topology(Snapshot& snapshot) const;
    void order_probe(const SendOrder& order, const Instant& now, Actions& actions);
    void order_echo(const Peer& peer, const SendOrder& order, const Instant& now, Actions& actions);
    void order_connect(const Peer& peer, const SendOrder& order, Actions& actions);
    void order_neighbour(const Peer& peer,
                         const SendOrder& order,
                         const Instant& now,
                         Actions& actions);
    void judge_changed_peers(const Instant& now);
    void suspect_siblings(std::uint32_t session, const Instant& now);
    bool is_evidence(const Peer& peer, std::uint32_t session, const Instant& now) const;
    std::optional<bool> judge(Peer& peer, const Instant& now) const;
    void update_verdict(Peer& peer, const Instant& now);
    std::string failures_text(const Peer& peer) const;
    void log_verdict(const Peer& peer, std::optional<bool> before);
    std::optional<std::uint32_t> session_of(const EchoError& error);
    bool is_ours(const ProbeCookie& cookie) const;
    std::uint16_t identifier_of(Family family, std::uint32_t session) const;
    void ignore(Ignored why);
    static Ignored reason_of(PacketFlaw flaw);

    Config config_;
    std::string host_name_;
    Instant started_;
    Random random_;
    CookieKey cookie_key_;
    ProbeEngine engine_;
    NetlinkSync netlink_;
    TopologyWatch watch_;
    NameResolution names_;
    PeerTable peers_;
    /// The configured peer that has the gateways' name, if there is one.
    std::optional<std::uint32_t> gateway_namesake_;
    /// Peers that have a host name, resolved or not.
    std::unordered_multimap<std::string, std::uint32_t> by_host_name_;
    std::vector<GatewayPeer> gateways_;
    std::vector<WaitingGateway> waiting_gateways_;
    ListenedPorts gateway_ports_;
    std::uint64_t gateway_ports_failed_ = 0;
    std::set<NeighbourPort> gateway_ports_told_;
    GuestWatch guests_;
    GuestPeers guest_peers_;
    std::uint64_t next_guest_serial_ = 0;
    /// Those that the limits leave no room for now: some of GuestTable::addresses_max.
    std::set<GuestKey> refused_guests_;
    bool guests_refused_logged_ = false;
    std::uint64_t guests_refused_ = 0;
    std::uint64_t guest_ports_failed_ = 0;
    PathMtuWatch mtus_;
    std::vector<MtuOrder> mtu_orders_;
    std::vector<std::uint32_t> mtu_lookups_;
    /// What was told of a peer's path MTU, where it was not as expected.
    std::map<std::uint32_t, PathMtu> mtu_told_;
    std::vector<MtuInconsistency> mtu_conflicts_;
    std::uint64_t mtu_structure_ = 0;  ///< of the topology, when the ways were looked at
    std::uint64_t mtu_routes_ = 0;     ///< likewise
    std::uint64_t mtu_neighbours_ = 0;
    MonoTime next_mtu_conflicts_ = mono_never;
    MonoTime mtu_conflicts_not_before_{};
    bool guests_followed_ = false;
    MonoTime next_guests_{};
    std::vector<SendOrder> orders_;
    std::vector<LogRecord> logs_;
    std::array<EchoIdentifiers, 2> identifiers_{};  ///< by Family
    std::array<bool, 2> family_open_{};
    std::array<std::uint64_t, ignored_count> ignored_{};
    std::size_t payload_bytes_max_ = 0;
    std::uint64_t topology_revision_ = 0;
    bool topology_followed_ = false;
    bool stock_taken_ = false;
    bool gateways_refused_logged_ = false;
    std::uint64_t gateways_refused_ = 0;
    std::uint64_t verdicts_ = 0;
    ReloadSnapshot reload_;
    mutable std::uint64_t snapshots_ = 0;
};

}  // namespace reachd
