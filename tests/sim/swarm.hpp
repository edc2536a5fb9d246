// Random worlds: peers, faults and their times all drawn from one seed, run to the end, repaired,
// and looked at once more. Says which invariants broke; a seed that breaks one is a bug in the
// agent, or in what we believe of the world, and becomes a scenario.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace reachd::sim {

struct SwarmResult {
    std::uint64_t seed = 0;
    std::uint64_t digest = 0;  ///< of all that happened
    std::uint64_t turns = 0;
    std::vector<std::string> broken;  ///< in words, at most Audit::broken_max
    std::vector<std::string> trace;   ///< only if asked for
};

SwarmResult run_swarm(std::uint64_t seed, bool trace = false);

}  // namespace reachd::sim
