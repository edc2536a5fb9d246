// Names of the network namespaces around this one: the files of `ip netns`, container engines and
// docker, each asked for the number under which this namespace knows it (RTM_GETNSID). A namespace
// that has no number here has no veth here either. Enters none of them, and makes no numbers.
#pragma once

#include <atomic>
#include <filesystem>
#include <vector>

#include "agent/guest_identity.hpp"

namespace reachd {

struct NamespaceNames {
    std::vector<NamespaceName> names;  ///< by number; of several names run/netns goes first
    std::vector<NameGap> gaps;
};

/// Blocks, about ten microseconds a namespace: never to be called on a loop. Looks into run/netns
/// and run/docker/netns under `root`; the latter is root's own. Ends early once `stop` is set.
NamespaceNames read_namespace_names(const std::atomic<bool>& stop,
                                    const std::filesystem::path& root = "/");

}  // namespace reachd
