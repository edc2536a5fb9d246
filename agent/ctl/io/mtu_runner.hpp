// Runs one search for a path MTU on the real network: sockets, clock and loop for an MtuSearch,
// which decides everything.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "agent/ctl/mtu_search.hpp"
#include "common/result.hpp"
#include "common/time.hpp"
#include "probes/echo_request.hpp"
#include "probes/io/path_mtu_sockets.hpp"

namespace reachd::ctl {

struct MtuOutcome {
    IcmpMode mode = IcmpMode::raw;
    bool settled = true;
    PathMtu result;
    std::vector<MtuTrial> trials;
    std::optional<MtuComplaint> complaint;
};

/// Called from time to time while it goes on.
using MtuProgress = std::function<void(const MtuTrace& trace, Duration elapsed)>;

/// Takes up to MtuSearch::patience. `progress` may be empty.
Result<MtuOutcome, IcmpSocketError> run_mtu_search(const EchoTarget& target,
                                                   const PathMtuFacts& facts,
                                                   const MtuProgress& progress);

}  // namespace reachd::ctl
