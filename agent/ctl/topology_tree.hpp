// The devices of a host as the tree in which a person follows a packet: NICs at the root, what lies
// above them below; a bridge under its uplink, its ports under the bridge; the two ends of a veth
// pair as one patch between two bridges. Every device has exactly one place, whatever the data
// says. Knows no text and no terminal.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/ctl/topology_report.hpp"

namespace reachd::ctl {

struct TreeNode {
    std::size_t device = 0;             ///< place in TopologyReport::devices
    std::optional<std::size_t> patch;   ///< the other end of a veth pair, shown on the same line
    std::vector<std::size_t> slaves;    ///< of a bond, shown on the same line
    std::optional<std::size_t> parent;  ///< place in TopologyTree::nodes
    std::vector<std::size_t> children;  ///< the same, in the order in which they are shown
    bool shown = true;
};

struct TopologyTree {
    std::vector<TreeNode> nodes;     ///< parents before their children
    std::vector<std::size_t> roots;  ///< places in `nodes`, in the order in which they are shown
    std::size_t hidden = 0;          ///< devices that hide_idle left out
};

TopologyTree make_tree(const TopologyReport& report);

/// Leaves out what tells nothing: the loopback, and virtual devices that are switched off and that
/// nothing uses. Only the latter are counted.
void hide_idle(TopologyTree& tree, const TopologyReport& report);

/// Leaves the branches with the devices that one of the words (names or globs, also of the guest
/// behind a port and of its addresses) means: they, what they hang on and what hangs on them.
/// False, and nothing is changed, when a word means none; `unknown` is that word then.
bool keep_branches(TopologyTree& tree,
                   const TopologyReport& report,
                   const std::vector<std::string>& words,
                   std::string& unknown);

/// Whether `left` comes before `right`: numbers in names count as numbers, vnet2 before vnet10.
bool comes_before(std::string_view left, std::string_view right);

}  // namespace reachd::ctl
