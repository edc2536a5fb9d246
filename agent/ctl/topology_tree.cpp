#include "agent/ctl/topology_tree.hpp"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "agent/ctl/word_choice.hpp"

namespace reachd::ctl {
namespace {

using Place = std::size_t;
using MaybePlace = std::optional<Place>;

bool is_digit(char character) {
    return character >= '0' && character <= '9';
}

/// Takes the digits off the front, without leading zeros.
std::string_view take_number(std::string_view& text) {
    std::size_t size = 0;
    while (size < text.size() && is_digit(text[size])) {
        ++size;
    }
    auto number = text.substr(0, size);
    text.remove_prefix(size);
    number.remove_prefix(std::min(number.find_first_not_of('0'), number.size()));
    return number;
}

/// The order of siblings and of roots: hardware first, loose ends last.
enum class Rank : std::uint8_t { nic, bond, bridge, other, guest };

Rank rank_of(const Device& device) {
    if (device.kind == "physical" || device.kind == "vf") {
        return Rank::nic;
    }
    if (device.kind == "bond") {
        return Rank::bond;
    }
    if (device.kind == "bridge") {
        return Rank::bridge;
    }
    const bool is_guest = device.kind == "veth" || device.kind == "tap" || device.kind == "macvtap";
    return is_guest ? Rank::guest : Rank::other;
}

bool may_be_uplink(const Device& device) {
    return rank_of(device) <= Rank::bond || device.kind == "vlan" || device.kind == "vxlan";
}

/// Who belongs to whom, found once.
class Relations {
  public:
    explicit Relations(const TopologyReport& report);

    const Device& device(Place place) const { return devices_[place]; }

    std::size_t size() const { return devices_.size(); }

    MaybePlace master(Place place) const { return masters_[place]; }

    MaybePlace bridge_of(Place place) const;
    /// The bond that shows it on its own line.
    MaybePlace bond_of(Place place) const;
    /// The device below; not for a veth.
    MaybePlace lower(Place place) const;
    /// The other end of a veth, in this namespace.
    MaybePlace other_end(Place place) const;
    MaybePlace uplink(Place bridge) const;

    const std::vector<Place>& members(Place master) const { return members_[master]; }

    /// Where it hangs by itself; nothing: it is a root, unless a patch leads to it.
    MaybePlace parent(Place place) const;

    bool before(Place left, Place right) const;

  private:
    MaybePlace by_index(std::uint64_t index) const;

    const std::vector<Device>& devices_;
    std::unordered_map<std::uint64_t, Place> by_index_;
    std::vector<MaybePlace> masters_;
    std::vector<std::vector<Place>> members_;  ///< in their order
    std::vector<MaybePlace> uplinks_;          ///< of bridges
};

Relations::Relations(const TopologyReport& report)
    : devices_(report.devices),
      masters_(devices_.size()),
      members_(devices_.size()),
      uplinks_(devices_.size()) {
    std::unordered_map<std::string_view, Place> by_name;
    for (Place place = 0; place < devices_.size(); ++place) {
        by_index_[devices_[place].index] = place;
        by_name[devices_[place].name] = place;
    }
    for (Place place = 0; place < devices_.size(); ++place) {
        const auto found = by_name.find(devices_[place].master);
        if (!devices_[place].master.empty() && found != by_name.end() && found->second != place) {
            masters_[place] = found->second;
            members_[found->second].push_back(place);
        }
    }
    for (Place place = 0; place < devices_.size(); ++place) {
        auto& members = members_[place];
        const auto in_order = [this](Place left, Place right) { return before(left, right); };
        std::sort(members.begin(), members.end(), in_order);
        if (devices_[place].kind != "bridge") {
            continue;
        }
        for (const Place member : members) {
            const bool first = !uplinks_[place] ||
                               comes_before(devices_[member].name, devices_[*uplinks_[place]].name);
            if (may_be_uplink(devices_[member]) && first) {
                uplinks_[place] = member;
            }
        }
    }
}

MaybePlace Relations::by_index(std::uint64_t index) const {
    const auto found = by_index_.find(index);
    return found == by_index_.end() ? std::nullopt : MaybePlace(found->second);
}

MaybePlace Relations::bridge_of(Place place) const {
    const auto master = masters_[place];
    return master && devices_[*master].kind == "bridge" ? master : std::nullopt;
}

MaybePlace Relations::bond_of(Place place) const {
    const auto master = masters_[place];
    return master && devices_[*master].kind == "bond" ? master : std::nullopt;
}

MaybePlace Relations::lower(Place place) const {
    const auto& device = devices_[place];
    if (device.kind == "veth" || !device.lower_index || device.lower_namespace) {
        return std::nullopt;
    }
    const auto found = by_index(*device.lower_index);
    return found == place ? std::nullopt : found;
}

MaybePlace Relations::other_end(Place place) const {
    const auto& device = devices_[place];
    if (device.kind != "veth" || !device.lower_index || device.lower_namespace) {
        return std::nullopt;
    }
    const auto found = by_index(*device.lower_index);
    // Both must say so: an index can be stale for an instant.
    const bool mutual = found && *found != place && devices_[*found].kind == "veth" &&
                        !devices_[*found].lower_namespace &&
                        devices_[*found].lower_index == device.index;
    return mutual ? found : std::nullopt;
}

MaybePlace Relations::uplink(Place bridge) const {
    return uplinks_[bridge];
}

MaybePlace Relations::parent(Place place) const {
    if (const auto uplink = uplinks_[place]) {
        return uplink;
    }
    const auto bridge = bridge_of(place);
    if (bridge && uplinks_[*bridge] != place) {
        return bridge;
    }
    if (const auto below = lower(place)) {
        return below;
    }
    return bridge ? std::nullopt : masters_[place];
}

bool Relations::before(Place left, Place right) const {
    const auto& first = devices_[left];
    const auto& second = devices_[right];
    const auto first_rank = rank_of(first);
    const auto second_rank = rank_of(second);
    if (first_rank != second_rank) {
        return first_rank < second_rank;
    }
    if (first.name != second.name) {
        return comes_before(first.name, second.name);
    }
    return left < right;
}

/// Gives every device its place, from the roots on.
class TreeMaker {
  public:
    explicit TreeMaker(const TopologyReport& report);

    TopologyTree make();

  private:
    void add_roots(const std::vector<Place>& candidates);
    void place(Place device, MaybePlace parent_node);
    void place_children();
    void patch(TreeNode& node, std::vector<Place>& candidates);
    std::vector<Place> children_of(TreeNode& node);

    Relations relations_;
    std::vector<std::vector<Place>> children_;  ///< of each device by itself, in their order
    std::vector<bool> placed_;
    TopologyTree tree_;
    std::size_t next_node_ = 0;  ///< the first whose children are not placed yet
};

TreeMaker::TreeMaker(const TopologyReport& report)
    : relations_(report),
      children_(report.devices.size()),
      placed_(report.devices.size()) {
    for (Place device = 0; device < relations_.size(); ++device) {
        const auto parent = relations_.parent(device);
        if (parent && !relations_.bond_of(device)) {
            children_[*parent].push_back(device);
        }
    }
}

TopologyTree TreeMaker::make() {
    std::vector<Place> hardware;
    std::vector<Place> bridges;
    std::vector<Place> rest;
    std::vector<Place> all;
    std::vector<Place> slaves;
    for (Place device = 0; device < relations_.size(); ++device) {
        if (relations_.bond_of(device)) {
            slaves.push_back(device);  // on the line of its bond
            continue;
        }
        all.push_back(device);
        if (relations_.parent(device)) {
            continue;
        }
        const auto rank = rank_of(relations_.device(device));
        (rank <= Rank::bond ? hardware : rank == Rank::bridge ? bridges : rest).push_back(device);
    }
    const auto in_order = [this](Place left, Place right) {
        return relations_.before(left, right);
    };
    // Of bridges that only patches connect, the one with an address, or with most ports, is where
    // the others hang.
    const auto main_first = [this](Place left, Place right) {
        const auto key = [this](Place place) {
            return std::tuple(relations_.device(place).addresses.empty(),
                              relations_.size() - relations_.members(place).size());
        };
        return key(left) != key(right) ? key(left) < key(right) : relations_.before(left, right);
    };
    std::sort(hardware.begin(), hardware.end(), in_order);
    std::sort(bridges.begin(), bridges.end(), main_first);
    std::sort(rest.begin(), rest.end(), in_order);
    std::sort(all.begin(), all.end(), in_order);
    add_roots(hardware);
    add_roots(bridges);
    add_roots(rest);
    add_roots(all);  // those that only hang on one another
    add_roots(slaves);
    return std::move(tree_);
}

void TreeMaker::add_roots(const std::vector<Place>& candidates) {
    const bool together =
        !candidates.empty() && rank_of(relations_.device(candidates[0])) <= Rank::bond;
    for (const Place device : candidates) {
        if (placed_[device]) {
            continue;
        }
        tree_.roots.push_back(tree_.nodes.size());
        place(device, std::nullopt);
        if (!together) {
            place_children();
        }
    }
    place_children();
}

void TreeMaker::place(Place device, MaybePlace parent_node) {
    placed_[device] = true;
    TreeNode node;
    node.device = device;
    node.parent = parent_node;
    if (relations_.device(device).kind == "bond") {
        for (const Place slave : relations_.members(device)) {
            // A bond that is its own slave by way of others is no bond of theirs.
            if (!placed_[slave]) {
                placed_[slave] = true;
                node.slaves.push_back(slave);
            }
        }
    }
    tree_.nodes.push_back(std::move(node));
}

void TreeMaker::place_children() {
    for (; next_node_ < tree_.nodes.size(); ++next_node_) {
        for (const Place child : children_of(tree_.nodes[next_node_])) {
            if (!placed_[child]) {
                tree_.nodes[next_node_].children.push_back(tree_.nodes.size());
                place(child, next_node_);
            }
        }
    }
}

std::vector<Place> TreeMaker::children_of(TreeNode& node) {
    auto candidates = children_[node.device];
    for (const Place slave : node.slaves) {
        candidates.insert(candidates.end(), children_[slave].begin(), children_[slave].end());
    }
    patch(node, candidates);
    std::sort(candidates.begin(), candidates.end(), [this](Place left, Place right) {
        return relations_.before(left, right);
    });
    return candidates;
}

/// Where a veth's other end is free, or leads to a bridge that has no better place, the two ends
/// are one line, and the branch goes on there.
void TreeMaker::patch(TreeNode& node, std::vector<Place>& candidates) {
    const auto end = relations_.other_end(node.device);
    if (!end || placed_[*end]) {
        return;
    }
    const auto bridge = relations_.bridge_of(*end);
    if (bridge && (placed_[*bridge] || relations_.uplink(*bridge))) {
        return;
    }
    if (!bridge && relations_.master(*end)) {
        return;  // of a bond or a VRF: it has its place there
    }
    placed_[*end] = true;
    node.patch = *end;
    candidates.insert(candidates.end(), children_[*end].begin(), children_[*end].end());
    if (bridge) {
        candidates.push_back(*bridge);
    }
}

bool is_loopback(const Device& device) {
    return device.link_kind == "loopback" || (device.kind == "other" && device.name == "lo");
}

bool is_idle(const Device& device) {
    return rank_of(device) != Rank::nic && !device.admin_up && device.addresses.empty();
}

bool device_means(const Device& device, const std::string& word) {
    if (means(word, device.name)) {
        return true;
    }
    return device.guest && (means(word, device.guest->name) ||
                            std::any_of(device.guest->addresses.begin(),
                                        device.guest->addresses.end(),
                                        [&](const auto& address) {
                                            return means(word, address.address) ||
                                                   means(word, without_zone(address.address));
                                        }));
}

bool node_means(const TreeNode& node, const TopologyReport& report, const std::string& word) {
    const auto is_meant = [&](Place place) { return device_means(report.devices[place], word); };
    return is_meant(node.device) || (node.patch && is_meant(*node.patch)) ||
           std::any_of(node.slaves.begin(), node.slaves.end(), is_meant);
}

}  // namespace

bool comes_before(std::string_view left, std::string_view right) {
    const std::pair originals(left, right);
    while (!left.empty() && !right.empty()) {
        if (is_digit(left.front()) && is_digit(right.front())) {
            const auto first = take_number(left);
            const auto second = take_number(right);
            if (first.size() != second.size()) {
                return first.size() < second.size();
            }
            if (first != second) {
                return first < second;
            }
        } else if (left.front() != right.front()) {
            return static_cast<unsigned char>(left.front()) <
                   static_cast<unsigned char>(right.front());
        } else {
            left.remove_prefix(1);
            right.remove_prefix(1);
        }
    }
    if (left.empty() && right.empty()) {
        return originals.first < originals.second;  // only zeros in front of numbers differ
    }
    return left.empty();
}

TopologyTree make_tree(const TopologyReport& report) {
    return TreeMaker(report).make();
}

void hide_idle(TopologyTree& tree, const TopologyReport& report) {
    for (const std::size_t root : tree.roots) {
        auto& node = tree.nodes[root];
        const auto& device = report.devices[node.device];
        const bool alone = node.children.empty() && node.slaves.empty();
        if (!alone) {
            continue;
        }
        if (is_loopback(device)) {
            node.shown = false;
        } else if (is_idle(device) && (!node.patch || is_idle(report.devices[*node.patch]))) {
            node.shown = false;
            tree.hidden += node.patch ? std::size_t{2} : std::size_t{1};
        }
    }
}

bool keep_branches(TopologyTree& tree,
                   const TopologyReport& report,
                   const std::vector<std::string>& words,
                   std::string& unknown) {
    std::vector<bool> kept(tree.nodes.size());
    for (const std::string& word : words) {
        bool found = false;
        for (std::size_t i = 0; i < tree.nodes.size(); ++i) {
            if (node_means(tree.nodes[i], report, word)) {
                kept[i] = true;
                found = true;
            }
        }
        if (!found) {
            unknown = word;
            return false;
        }
    }
    // Parents stand before their children: downwards in order, upwards against it.
    for (std::size_t i = 0; i < tree.nodes.size(); ++i) {
        auto& node = tree.nodes[i];
        node.shown = kept[i] || (node.parent && tree.nodes[*node.parent].shown);
    }
    for (std::size_t i = tree.nodes.size(); i-- > 0;) {
        const auto& node = tree.nodes[i];
        if (node.shown && node.parent) {
            tree.nodes[*node.parent].shown = true;
        }
    }
    return true;
}

}  // namespace reachd::ctl
