// The state of the daemon at one instant, as immutable values: all that exporters may read. Made by
// the probe loop, handed to the web loop, never changed after. Text that rarely changes is shared
// (shared_ptr<const T>, its only use here) so that a snapshot of 10,000 peers is one flat copy.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/link.hpp"
#include "common/path_mtu.hpp"
#include "common/probe.hpp"
#include "common/time.hpp"

namespace reachd {

struct Label {
    std::string name;
    std::string value;

    friend bool operator==(const Label&, const Label&) = default;
};

/// What only some peers have.
struct PeerDetails {
    std::string source;         ///< configured source address, or empty
    std::string device;         ///< configured, the gateway's or the guest's device, or empty
    std::vector<Label> labels;  ///< the operator's own labels
    std::string bridge{};       ///< of a guest, or empty
    std::string vm{};           ///< of a guest whose virtual machine is known, or empty

    friend bool operator==(const PeerDetails&, const PeerDetails&) = default;
};

/// Who a peer is. Fixed for the life of its series. There are as many as peers, so name and address
/// are kept only once: escaped, as each line of the exposition wants them.
class PeerIdentity {
  public:
    PeerIdentity(std::string_view name,
                 std::string_view address,
                 PeerKind kind = PeerKind::host,
                 PeerDetails details = {});

    /// `peer="…",address="…"`, escaped for the exposition format.
    const std::string& label_text() const { return label_text_; }

    std::string name() const;  ///< label `peer`
    /// Label `address`: numeric, with zone; empty while unresolved.
    std::string address() const;

    PeerKind kind() const { return kind_; }

    const PeerDetails& details() const;

  private:
    std::string label_text_;
    std::unique_ptr<const PeerDetails> details_;  ///< null: none
    std::uint32_t name_bytes_;                    ///< escaped
    PeerKind kind_;
};

/// Escapes backslash, double quote and line feed as the exposition format asks.
std::string exposition_label_value(std::string_view value);

struct PeerSnapshot {
    std::shared_ptr<const PeerIdentity> identity;
    Reachability state = Reachability::unknown;
    /// The last verdict: nothing before the first one, and kept while a state is suspect.
    std::optional<bool> up;
    std::uint64_t state_changes = 0;  ///< verdicts that differed from the one before
    WallTime last_change{};           ///< of the last verdict that changed; epoch: none yet
};

/// One probe session: a peer asked in one way (and on one port, 0 where there is none). Its
/// RTT buckets are row `i` of Snapshot::rtt_buckets, where `i` is its place in Snapshot::probes.
struct ProbeSnapshot {
    std::uint32_t peer = 0;  ///< place in Snapshot::peers
    ProbeKind kind = ProbeKind::icmp;
    std::uint16_t port = 0;
    Reachability state = Reachability::unknown;
    std::optional<bool> up;
    ProbeCounters counters;
    Duration rtt_sum{};
    Duration jitter{};  ///< RFC 3550, section 6.4.1; zero before the second sample
    Duration last_rtt{};
    std::uint64_t syn_retransmits = 0;  ///< TCP only
};

/// Failures are rare: only reasons that have occurred are listed, ordered by probe.
struct FailureCount {
    std::uint32_t probe = 0;  ///< place in Snapshot::probes
    FailureReason reason = FailureReason::timeout;
    std::uint64_t count = 0;
};

/// A histogram with its own edges (upper bounds in seconds, ascending, without +Inf).
/// counts has one element more than edges; counts are per bucket, not cumulative.
struct HistogramSnapshot {
    std::shared_ptr<const std::vector<double>> edges;
    std::vector<std::uint64_t> counts;
    Duration sum{};
};

struct HostRttSnapshot {
    ProbeKind probe = ProbeKind::icmp;
    PeerKind kind = PeerKind::host;
    HistogramSnapshot rtt;
};

/// The path MTU of a peer of which a size is expected.
struct PathMtuSnapshot {
    std::uint32_t peer = 0;  ///< place in Snapshot::peers
    PathMtu mtu;
    std::array<std::uint64_t, mtu_packet_result_count> packets{};  ///< by MtuPacketResult
};

struct NamedCount {
    std::string name;
    std::uint64_t count = 0;
};

/// What the kernel does not tell by rtnetlink about a device of the hardware.
struct DeviceFacts {
    IfIndex index = IfIndex::any;
    std::string driver;            ///< empty: not known
    std::uint32_t speed_mbit = 0;  ///< 0: not known
    bool virtual_function = false;

    friend bool operator==(const DeviceFacts&, const DeviceFacts&) = default;
};

struct PortVlans {
    IfIndex port = IfIndex::any;
    std::vector<VlanRange> ranges;
};

struct FunctionsOf {
    IfIndex physical_function = IfIndex::any;
    std::vector<VirtualFunction> functions;
};

struct DefaultGateway {
    std::string address;  ///< with its zone where link-local
    std::string device;
    std::uint32_t metric = 0;
};

/// The host's network at one instant, by ascending index throughout.
struct TopologySnapshot {
    std::vector<std::shared_ptr<const Link>> links;
    std::vector<InterfaceAddress> addresses;
    std::vector<PortVlans> vlans;
    std::vector<FunctionsOf> virtual_functions;
    std::vector<DefaultGateway> default_gateways;  ///< best first
    std::uint64_t ipv4_routes = 0;                 ///< of the main table, those that are kept
    std::uint64_t ipv6_routes = 0;
    std::uint64_t neighbours = 0;
    std::uint64_t fdb_entries = 0;
};

/// How an address of a guest came to be known.
enum class LearntBy : std::uint8_t {
    arp,           ///< it sent ARP with this sender address
    neighbour,     ///< it advertised the address, or solicited from it (RFC 4861)
    dhcp,          ///< a server acknowledged it
    host_table,    ///< the neighbour table of this host
    run_time_file  ///< an earlier run of the daemon
};
inline constexpr std::size_t learnt_by_count = 5;

constexpr std::string_view to_text(LearntBy how) {
    constexpr std::array<std::string_view, learnt_by_count> names{
        "arp", "neighbour", "dhcp", "host_table", "run_time_file"};
    return names[static_cast<std::size_t>(how)];
}

struct GuestAddressSnapshot {
    MacAddress mac;
    std::string address;     ///< numeric, with its zone where link-local
    std::uint16_t vlan = 0;  ///< which the guest tags itself; 0: untagged
    LearntBy how = LearntBy::arp;
    WallTime first_seen{};
    WallTime last_seen{};
    std::optional<std::uint32_t> peer;  ///< place in Snapshot::peers; nothing: not probed
    /// Why it is not probed (yet), for people: "temporary address", "claimed 4 s ago", …
    std::string not_probed;
};

/// What is behind one virtual NIC: a virtual machine, a container, or nobody knows what.
struct GuestSnapshot {
    std::string name;  ///< label `peer`; empty: not decided yet
    std::string vm;    ///< of a virtual machine; empty: none, or not known
    std::string uuid;
    IfIndex port = IfIndex::any;
    std::string device;
    IfIndex bridge = IfIndex::any;  ///< any: in none
    std::string bridge_name;
    LinkKind kind = LinkKind::tap;  ///< of the port: tap, veth, macvtap, physical (representor)
    std::vector<MacAddress> macs;   ///< learnt behind the port, or told by the virtual machine
    std::vector<GuestAddressSnapshot> addresses;
};

/// A change of the host's network, in words.
struct TopologyChangeSnapshot {
    WallTime time{};
    std::string device;
    std::string text;  ///< "joined bridge br0"
};

struct NetlinkSnapshot {
    std::vector<NamedCount> messages;  ///< by type: newlink, dellink, newroute, …
    std::uint64_t overruns = 0;
    std::uint64_t resyncs = 0;
    /// What arrived and was not used, by reason: malformed, malformed_attribute, link_limit, …
    std::vector<NamedCount> ignored;
    WallTime last_sync{};  ///< epoch: never yet
};

struct SocketSnapshot {
    std::string name;  ///< icmp4, icmp6, netlink
    std::uint64_t receive_buffer_bytes = 0;
};

struct ReloadSnapshot {
    bool last_successful = true;
    WallTime last_success{};
};

/// What kind of machine the host is.
enum class HostRole : std::uint8_t { physical, hypervisor, guest };
inline constexpr std::size_t host_role_count = 3;

constexpr std::string_view to_text(HostRole role) {
    constexpr std::array<std::string_view, host_role_count> names{
        "physical", "hypervisor", "guest"};
    return names[static_cast<std::size_t>(role)];
}

struct HostSnapshot {
    std::string name;
    std::vector<Label> labels;
    HostRole role = HostRole::physical;
    /// What it runs on: "none", "kvm", "vmware", "microsoft", "xen", "amazon", …; empty: not known.
    std::string virtualization;
};

struct Snapshot {
    std::uint64_t sequence = 0;  ///< rises with each snapshot of a run
    Instant taken{};
    Instant started{};  ///< of the run

    HostSnapshot host;
    std::vector<PeerSnapshot> peers;
    std::vector<ProbeSnapshot> probes;
    std::vector<FailureCount> failures;
    /// Upper bounds of reachd_probe_rtt_seconds in seconds, ascending, without +Inf; the same for
    /// all probes of a snapshot. rtt_buckets holds (edges + 1) counts a probe, not cumulative.
    std::shared_ptr<const std::vector<double>> rtt_edges;
    std::vector<std::uint64_t> rtt_buckets;

    std::vector<PathMtuSnapshot> path_mtus;             ///< by ascending peer
    std::vector<MtuInconsistency> mtu_inconsistencies;  ///< by ascending bridge and larger device

    std::vector<HostRttSnapshot> host_rtt;
    HistogramSnapshot probe_delay;
    std::array<std::uint64_t, skip_reason_count> skipped{};
    std::array<std::array<std::uint64_t, discard_reason_count>, probe_kind_count> discarded{};
    std::array<std::uint64_t, probe_kind_count> user_stamped{};
    /// Packets that claimed to be ours and were not: forged, foreign or damaged. By what was wrong.
    std::vector<NamedCount> packets_ignored;
    double throttle_ratio = 1.0;  ///< 1: full rate

    std::shared_ptr<const TopologySnapshot> topology;
    /// Of the links in `topology`, in their order; nothing: not read yet. Empty: none read yet.
    std::vector<std::optional<LinkCounters>> link_counters;
    std::vector<DeviceFacts> devices;   ///< by ascending index
    std::vector<GuestSnapshot> guests;  ///< by ascending index of the port
    std::optional<TopologyChangeSnapshot> last_change;
    NetlinkSnapshot netlink;
    std::vector<SocketSnapshot> sockets;
    std::vector<NamedCount> discovery_errors;  ///< by source: gateways, dns
    ReloadSnapshot reload;
    std::uint64_t series_limit = 0;

    bool topology_synced = false;   ///< the first full netlink dump is in
    bool topology_in_step = false;  ///< the topology is what the kernel said last
    /// Each resolved peer has sent one probe of its shortest interval.
    bool every_peer_asked = false;
};

}  // namespace reachd
