// A small snapshot with everything in it, and with names that need escaping.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/random.hpp"
#include "common/snapshot.hpp"

namespace reachd::test {

/// A peer that is up and has one probe session with random counters.
inline void add_peer(Snapshot& snapshot,
                     const std::string& name,
                     const std::string& address,
                     Random& random) {
    PeerSnapshot peer;
    peer.identity = std::make_shared<const PeerIdentity>(name, address);
    peer.up = random.below(4) != 0;
    peer.state_changes = random.below(100);
    peer.last_change = WallTime(std::chrono::seconds(1'700'000'000) + Duration(random.below(1000)));
    ProbeSnapshot probe;
    probe.peer = static_cast<std::uint32_t>(snapshot.peers.size());
    probe.up = peer.up;
    const auto edges = snapshot.rtt_edges ? snapshot.rtt_edges->size() : 0;
    for (std::size_t bucket = 0; bucket <= edges; ++bucket) {
        snapshot.rtt_buckets.push_back(random.next() >> (20U + random.below(44)));
        probe.counters.received += snapshot.rtt_buckets.back();
    }
    probe.counters.lost = random.below(1000);
    probe.counters.sent = probe.counters.received + probe.counters.lost;
    probe.counters.late = random.below(10);
    probe.counters.duplicates = random.below(10);
    probe.counters.reordered = random.below(10);
    probe.rtt_sum = Duration(static_cast<std::int64_t>(random.next() >> 16U));
    probe.jitter = Duration(random.below(1'000'000));
    snapshot.peers.push_back(std::move(peer));
    snapshot.probes.push_back(probe);
}

inline void add_odd_peers(Snapshot& snapshot) {
    PeerSnapshot guest;
    guest.identity = std::make_shared<const PeerIdentity>(
        "web \"01\"\\\n}",
        "fe80::1%br0",
        PeerKind::guest,
        PeerDetails{.source = "fe80::2",
                    .device = "br0",
                    .labels = {{"rack", "r\\2"}, {"note", "one\ntwo \"three\""}, {"empty", ""}},
                    .bridge = "b\"r0",
                    .vm = "web\\01"});
    guest.state = Reachability::down;
    guest.up = false;
    guest.state_changes = 3;
    guest.last_change = WallTime(std::chrono::milliseconds(1'700'000'000'250));
    PeerSnapshot gateway;
    gateway.identity = std::make_shared<const PeerIdentity>("gateway", "", PeerKind::gateway);
    snapshot.peers = {guest, gateway};

    ProbeSnapshot lossy;
    lossy.peer = 0;
    lossy.state = Reachability::down;
    lossy.up = false;
    lossy.counters = {.sent = 110,
                      .received = 100,
                      .lost = 8,
                      .late = 1,
                      .duplicates = 2,
                      .reordered = 18'446'744'073'709'551'615U};
    lossy.rtt_sum = std::chrono::microseconds(21'435);
    lossy.jitter = Duration(1'234);
    ProbeSnapshot unasked;
    unasked.peer = 1;
    ProbeSnapshot refused;
    refused.peer = 0;
    refused.kind = ProbeKind::tcp;
    refused.port = 443;
    refused.state = Reachability::down;
    refused.up = false;
    refused.counters = {.sent = 4, .received = 3, .lost = 1};
    refused.syn_retransmits = 2;
    ProbeSnapshot neighbour;
    neighbour.peer = 1;
    neighbour.kind = ProbeKind::arp;
    neighbour.state = Reachability::up;
    neighbour.up = true;
    neighbour.counters = {.sent = 10, .received = 10};
    neighbour.rtt_sum = std::chrono::microseconds(880);
    neighbour.last_rtt = std::chrono::microseconds(88);
    // Not in the order of the peers: that is promised to nobody.
    snapshot.probes = {lossy, unasked, refused, neighbour};
    snapshot.failures = {{0, FailureReason::timeout, 5},
                         {0, FailureReason::host_unreachable, 3},
                         {1, FailureReason::unresolved, 7},
                         {2, FailureReason::timeout, 1},
                         {2, FailureReason::refused, 3}};
    snapshot.rtt_edges =
        std::make_shared<const std::vector<double>>(std::vector<double>{0.00005, 0.0001, 0.02, 1});
    snapshot.rtt_buckets = {0, 90, 9, 1, 0,  //
                            0, 0,  0, 0, 0,  //
                            0, 0,  0, 0, 0,  //
                            2, 8,  0, 0, 0};
}

inline void add_engine(Snapshot& snapshot) {
    const auto edges =
        std::make_shared<const std::vector<double>>(std::vector<double>{0.001, 0.01, 10});
    snapshot.host_rtt = {
        {ProbeKind::icmp, PeerKind::guest, {edges, {90, 10, 0, 0}, std::chrono::milliseconds(21)}},
        {ProbeKind::arp, PeerKind::gateway, {edges, {0, 0, 0, 0}, Duration{}}}};
    snapshot.probe_delay = {edges, {100, 9, 1, 1}, std::chrono::milliseconds(999)};
    snapshot.skipped = {1, 2, 3};
    snapshot.discarded = {{{4, 5, 0}, {6, 7, 8}, {9, 10, 11}}};
    snapshot.user_stamped = {6, 7, 8};
    snapshot.packets_ignored = {{"cookie", 7}, {"checksum", 8}};
    snapshot.throttle_ratio = 0.5;
    snapshot.sockets = {{"icmp4", 4'194'304}, {"netlink", 16'777'216}};
}

/// Appends a link with the next index, not yet counted.
inline Link& add_link(TopologySnapshot& topology, const std::string& name, LinkKind kind) {
    auto link = std::make_shared<Link>();
    link->index = static_cast<IfIndex>(topology.links.size() + 1);
    link->generation = topology.links.size() + 100;
    link->name = name;
    link->kind = kind;
    link->oper_state = OperState::up;
    link->admin_up = true;
    link->carrier = true;
    link->mtu_bytes = 1500;
    topology.links.push_back(link);
    return *link;
}

inline MacAddress mac_of(std::uint8_t last) {
    return MacAddress({0x52, 0x54, 0x00, 0xab, 0xcd, last});
}

/// A hypervisor's links: a NIC (2) and a vNIC (5) in a bridge (4), a virtual function (3), and one
/// of each kind that has something of its own to show.
inline std::shared_ptr<TopologySnapshot> sample_topology() {
    auto topology = std::make_shared<TopologySnapshot>();
    auto& loopback = add_link(*topology, "lo", LinkKind::loopback);
    loopback.oper_state = OperState::unknown;
    loopback.mtu_bytes = 65'536;
    auto& nic = add_link(*topology, "eno1", LinkKind::physical);
    nic.mac = mac_of(2);
    nic.master = static_cast<IfIndex>(4);
    nic.port = BridgePort{PortState::forwarding, false};
    nic.mtu_bytes = 9000;
    nic.carrier_changes = 3;
    auto& function = add_link(*topology, "eno1v0", LinkKind::physical);
    function.mac = mac_of(3);
    function.oper_state = OperState::down;
    function.carrier = false;
    auto& bridge = add_link(*topology, "br0", LinkKind::bridge);
    bridge.mac = mac_of(2);
    bridge.bridge = {
        .vlan_filtering = true, .stp = true, .forward_delay_centiseconds = 1550, .default_pvid = 1};
    auto& guest = add_link(*topology, R"(vn"0\x1b)", LinkKind::tap);
    guest.mac = mac_of(5);
    guest.master = bridge.index;
    guest.port = BridgePort{PortState::blocking, true};
    auto& veth = add_link(*topology, "véth6", LinkKind::veth);
    veth.lower = static_cast<IfIndex>(3);
    veth.lower_namespace = 2;
    veth.admin_up = false;
    veth.oper_state = OperState::down;
    add_link(*topology, "bond0", LinkKind::bond).detail = 4;
    auto& vlan = add_link(*topology, "bond0.20", LinkKind::vlan);
    vlan.lower = static_cast<IfIndex>(7);
    vlan.detail = 20;
    add_link(*topology, "vx1", LinkKind::vxlan).detail = 16'777'215;

    topology->addresses = {{bridge.index, *IpAddress::parse("10.77.0.2"), 24, 0},
                           {bridge.index, *IpAddress::parse("2001:db8::2"), 64, 0},
                           {vlan.index, *IpAddress::parse("10.20.0.1"), 32, 0}};
    topology->vlans = {{guest.index, {{1, 1, true, true}, {100, 199, false, false}}}};
    topology->virtual_functions = {
        {nic.index,
         {{0, mac_of(3), 20, VirtualFunction::LinkPolicy::enable, true, false},
          {1, std::nullopt, 0, VirtualFunction::LinkPolicy::automatic, false, true}}}};
    topology->default_gateways = {{"10.77.0.1", "br0", 100}, {"fe80::1%br0", "br0", 1024}};
    topology->ipv4_routes = 12;
    topology->ipv6_routes = 7;
    topology->neighbours = 33;
    topology->fdb_entries = 44;
    return topology;
}

inline void add_topology(Snapshot& snapshot) {
    snapshot.topology = sample_topology();
    snapshot.link_counters.resize(snapshot.topology->links.size());
    snapshot.link_counters[0] = LinkCounters{};
    snapshot.link_counters[1] = LinkCounters{1, 2, 3, 18'446'744'073'709'551'615U};
    snapshot.link_counters[4] = LinkCounters{.receive_drops = 9};
    snapshot.devices = {{static_cast<IfIndex>(2), "mlx5_core", 25'000, false},
                        {static_cast<IfIndex>(3), "iavf", 0, true}};
    snapshot.last_change = TopologyChangeSnapshot{
        WallTime(std::chrono::milliseconds(1'700'000'002'500)), R"(vn"0\x1b)", "joined bridge br0"};
}

/// Behind the vNIC (5) one with an address that is probed and one that is not, behind the veth (6)
/// one of which nothing is known yet.
inline void add_guests(Snapshot& snapshot) {
    const auto time = [](std::int64_t milliseconds) {
        return WallTime(std::chrono::milliseconds(milliseconds));
    };
    GuestSnapshot web;
    web.name = "web \"01\"\\\n}";
    web.vm = "web\\01";
    web.uuid = "12345678-1234-1234-1234-123456789abc";
    web.port = static_cast<IfIndex>(5);
    web.device = R"(vn"0\x1b)";
    web.bridge = static_cast<IfIndex>(4);
    web.bridge_name = "br0";
    web.macs = {mac_of(5), mac_of(6)};
    web.addresses = {{.mac = mac_of(5),
                      .address = "fe80::1%br0",
                      .how = LearntBy::neighbour,
                      .first_seen = time(1'700'000'000'001),
                      .last_seen = time(1'700'000'400'000),
                      .peer = 0,
                      .not_probed = {}},
                     {.mac = mac_of(6),
                      .address = "10.77.0.10",
                      .how = LearntBy::dhcp,
                      .first_seen = time(1'700'000'399'000),
                      .last_seen = time(1'700'000'399'000),
                      .peer = {},
                      .not_probed = "claimed 1 s ago"}};
    GuestSnapshot fresh;
    fresh.port = static_cast<IfIndex>(6);
    fresh.device = "véth6";
    fresh.kind = LinkKind::veth;
    snapshot.guests = {web, fresh};
}

/// Of the guest one that a router signals, of the gateway one that is not determined.
inline void add_path_mtus(Snapshot& snapshot) {
    const auto bridge = static_cast<IfIndex>(4);
    const auto nic = static_cast<IfIndex>(2);
    PathMtuSnapshot signalled;
    signalled.peer = 0;
    signalled.mtu.verdict = MtuVerdict::signalled;
    signalled.mtu.direction = MtuDirection::forward;
    signalled.mtu.expected = 9000;
    signalled.mtu.bytes = 1400;
    signalled.mtu.reporter = *IpAddress::parse("fe80::9");
    signalled.mtu.reporter.set_scope(bridge);
    signalled.mtu.reported = 1400;
    signalled.packets = {100, 3, 2, 1};
    PathMtuSnapshot undetermined;
    undetermined.peer = 1;
    undetermined.mtu.expected = 1500;
    undetermined.packets = {0, 18'446'744'073'709'551'615U, 0, 0};
    snapshot.path_mtus = {signalled, undetermined};
    snapshot.mtu_inconsistencies = {
        {MtuConflict::port_above_bridge, bridge, nic, bridge, 9000, 1500, 1},
        {MtuConflict::port_below_uplink, bridge, nic, static_cast<IfIndex>(5), 9000, 1500, 2}};
}

inline Snapshot sample_snapshot() {
    Snapshot snapshot;
    snapshot.sequence = 42;
    snapshot.taken = {MonoTime(std::chrono::milliseconds(500'250)),
                      WallTime(std::chrono::milliseconds(1'700'000'400'042))};
    snapshot.started = {MonoTime(std::chrono::milliseconds(100'000)),
                        WallTime(std::chrono::milliseconds(1'699'999'999'792))};
    snapshot.host = {"hv1", {{"zone", "z1"}, {"owner", "\"ops\"\n"}}, HostRole::hypervisor, "kvm"};
    add_odd_peers(snapshot);
    add_topology(snapshot);
    add_guests(snapshot);
    add_path_mtus(snapshot);
    add_engine(snapshot);
    snapshot.netlink.messages = {{"newlink", 12}, {"delroute", 1}};
    snapshot.netlink.overruns = 1;
    snapshot.netlink.resyncs = 2;
    snapshot.netlink.ignored = {{"malformed", 1}};
    snapshot.netlink.last_sync = WallTime(std::chrono::seconds(1'700'000'001));
    snapshot.discovery_errors = {{"dns", 2}};
    snapshot.reload = {.last_successful = false,
                       .last_success = WallTime(std::chrono::seconds(1'700'000'000))};
    snapshot.series_limit = 1'000'000;
    snapshot.topology_synced = true;
    snapshot.topology_in_step = true;
    return snapshot;
}

}  // namespace reachd::test
