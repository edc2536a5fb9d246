// What the scenario tests share: the interface promises as numbers, and short questions to a world.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/sim/world.hpp"

namespace reachd::sim {

/// Two peers, asked once a second: what befalls pm1 must never be told of pm2.
inline Config two_peers() {
    Config config = config_of({peer_config("pm1", "10.77.0.20"), peer_config("pm2", "10.77.0.21")});
    config.discover_gateways = false;
    return config;
}

inline Path& pm1(World& world) {
    return world.network.path("10.77.0.20");
}

/// The probe of a peer, all zero for one without.
struct Row {
    Reachability state = Reachability::unknown;
    std::optional<bool> up;
    ProbeCounters counters;
    std::array<std::uint64_t, failure_reason_count> failures{};

    std::uint64_t failed(FailureReason reason) const {
        return failures[static_cast<std::size_t>(reason)];
    }
};

inline Row row_of(World& world, const std::string& peer) {
    const Snapshot snapshot = world.snapshot();
    Row row;
    for (std::size_t i = 0; i < snapshot.probes.size(); ++i) {
        const PeerSnapshot& found = snapshot.peers[snapshot.probes[i].peer];
        if (found.identity->name() != peer) {
            continue;
        }
        row.state = found.state;
        row.up = found.up;
        row.counters = snapshot.probes[i].counters;
        for (const FailureCount& failure : snapshot.failures) {
            if (failure.probe == i) {
                row.failures[static_cast<std::size_t>(failure.reason)] = failure.count;
            }
        }
    }
    return row;
}

/// "pm1 up", "pm1 down" in the order of their times.
inline std::vector<std::string> verdict_texts(const World& world) {
    std::vector<std::string> texts;
    for (const Verdict& verdict : world.verdicts()) {
        texts.push_back(verdict.peer + (verdict.up ? " up" : " down"));
    }
    return texts;
}

using Texts = std::vector<std::string>;

/// Both are up, and nothing else has been said.
inline const Texts both_up{"pm1 up", "pm2 up"};

/// When the latest verdict on this peer came.
inline Duration last_verdict(const World& world, const std::string& peer) {
    Duration at = Duration::min();
    for (const Verdict& verdict : world.verdicts()) {
        at = verdict.peer == peer ? verdict.at : at;
    }
    return at;
}

/// Nobody has been told anything about this peer: each probe was answered, once and in time.
inline void check_untouched(World& world, const std::string& peer) {
    const Row row = row_of(world, peer);
    CHECK(row.state == Reachability::up);
    CHECK(row.counters.sent - row.counters.received <= 1);
    CHECK(row.counters.lost + row.counters.late + row.counters.duplicates +
              row.counters.reordered ==
          0);
    for (const std::uint64_t failures : row.failures) {
        CHECK(failures == 0);
    }
}

inline std::uint64_t total(const std::vector<NamedCount>& counts) {
    std::uint64_t sum = 0;
    for (const NamedCount& count : counts) {
        sum += count.count;
    }
    return sum;
}

/// No invariant broke on the way.
inline void check_sound(const World& world) {
    CHECK(world.broken() == Texts{});
}

}  // namespace reachd::sim
