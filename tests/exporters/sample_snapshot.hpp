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
        PeerDetails{
            "fe80::2", "br0", {{"rack", "r\\2"}, {"note", "one\ntwo \"three\""}, {"empty", ""}}});
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
    snapshot.probes = {lossy, unasked};
    snapshot.failures = {{0, FailureReason::timeout, 5},
                         {0, FailureReason::host_unreachable, 3},
                         {1, FailureReason::unresolved, 7}};
    snapshot.rtt_edges =
        std::make_shared<const std::vector<double>>(std::vector<double>{0.00005, 0.0001, 0.02, 1});
    snapshot.rtt_buckets = {0, 90, 9, 1, 0, 0, 0, 0, 0, 0};
}

inline void add_engine(Snapshot& snapshot) {
    const auto edges =
        std::make_shared<const std::vector<double>>(std::vector<double>{0.001, 0.01, 10});
    snapshot.host_rtt = {
        {ProbeKind::icmp, PeerKind::guest, {edges, {90, 10, 0, 0}, std::chrono::milliseconds(21)}},
        {ProbeKind::icmp, PeerKind::gateway, {edges, {0, 0, 0, 0}, Duration{}}}};
    snapshot.probe_delay = {edges, {100, 9, 1, 1}, std::chrono::milliseconds(999)};
    snapshot.skipped = {1, 2, 3};
    snapshot.discarded = {{{4, 5}}};
    snapshot.user_stamped = {6};
    snapshot.packets_ignored = {{"cookie", 7}, {"checksum", 8}};
    snapshot.throttle_ratio = 0.5;
    snapshot.sockets = {{"icmp4", 4'194'304}, {"netlink", 16'777'216}};
}

inline Snapshot sample_snapshot() {
    Snapshot snapshot;
    snapshot.sequence = 42;
    snapshot.host = {"hv1", {{"zone", "z1"}, {"owner", "\"ops\"\n"}}};
    add_odd_peers(snapshot);
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
    return snapshot;
}

}  // namespace reachd::test
