#include "agent/ctl/topology_text.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "agent/ctl/quantity_text.hpp"
#include "agent/ctl/topology_guest.hpp"
#include "agent/ctl/topology_tree.hpp"
#include "common/log_text.hpp"
#include "common/nearest.hpp"

namespace reachd::ctl {
namespace {

// Where the second column begins: not nearer than this, so that small trees look alike, and not
// further, so that one long name does not push all else out.
constexpr std::size_t facts_column_min = 19;
constexpr std::size_t facts_column_max = 40;
constexpr std::size_t name_width_min = 8;
// The kernel stacks devices 8 high; patches may add to that. Deeper levels stand at this one.
constexpr std::size_t stem_bytes_max = 400;
constexpr std::size_t uncut = std::string_view::npos;

/// What is left out first where a line is too wide.
enum class Worth : std::uint8_t { mac, mtu, speed, more_addresses, gateway, always };

struct Fact {
    TextLine text;
    Worth worth = Worth::always;
};

using Facts = std::vector<Fact>;

/// A line of the tree before it is fitted to the terminal.
struct Row {
    std::string stem;  ///< the branches in front of it
    TextLine name;
    Facts facts;
    const Device* device = nullptr;
    const Device* patch = nullptr;
    std::optional<GuestCells> guest{};
};

/// Gateways by device, and whose uplink is told elsewhere.
struct Context {
    const TopologyReport& report;
    const TopologyTree& tree;
    const ViewOptions& view;
    const Terminal& terminal;
    std::unordered_map<std::string_view, std::string_view> gateways;  ///< the best of each device
    std::unordered_map<std::string_view, const Device*> by_name;
};

TextLine symbol(const Device& device, const Terminal& terminal) {
    const auto& glyph = glyphs(terminal);
    TextLine line;
    if (device.up) {
        return line.add(glyph.up, Ink::good);
    }
    return device.admin_up ? line.add(glyph.down, Ink::bad) : line.add(glyph.off);
}

TextLine device_name(const Device& device, std::string_view shown, const Terminal& terminal) {
    return symbol(device, terminal).add(" ").add(shown);
}

void add(Facts& facts, std::string_view text, Ink ink = Ink::plain, Worth worth = Worth::always) {
    if (!text.empty()) {
        facts.push_back({TextLine().add(text, ink), worth});
    }
}

/// Why a device is not up; empty when it is.
std::string trouble_of(const Device& device) {
    if (device.up) {
        return "";
    }
    if (!device.admin_up) {
        return "switched off";
    }
    if (device.oper_state == "lower_layer_down") {
        return "the device below is down";
    }
    if (!device.carrier) {
        return "no carrier";
    }
    std::string state = device.oper_state;
    std::replace(state.begin(), state.end(), '_', ' ');
    return state;
}

std::string veth_text(const Device& device, const TreeNode& node, const Context& context) {
    if (node.patch) {
        return "veth pair";
    }
    if (device.lower_namespace) {
        return fmt::format("veth to ns {}", *device.lower_namespace);
    }
    if (device.lower.empty()) {
        return "veth";
    }
    const auto end = context.by_name.find(device.lower);
    const bool is_member = end != context.by_name.end() && !end->second->master.empty();
    return is_member ? fmt::format("veth to {} in {}", device.lower, end->second->master)
                     : "veth to " + device.lower;
}

/// The device below, where that is not the one it hangs on in the tree.
std::string below_text(const Device& device, const TreeNode& node, const Context& context) {
    if (device.lower.empty()) {
        return "";
    }
    const auto* const parent =
        node.parent ? &context.report.devices[context.tree.nodes[*node.parent].device] : nullptr;
    return parent != nullptr && parent->name == device.lower ? "" : " on " + device.lower;
}

std::string kind_text(const Device& device, const TreeNode& node, const Context& context) {
    const auto& driver = device.driver;
    if (device.kind == "physical") {
        return driver.empty() ? "NIC" : driver;
    }
    if (device.kind == "vf") {
        return driver.empty() ? "virtual function" : driver + ", virtual function";
    }
    if (device.kind == "veth") {
        return veth_text(device, node, context);
    }
    std::string text = device.link_kind;
    if (device.kind == "vlan" && device.vlan_id) {
        text = fmt::format("vlan {}", *device.vlan_id);
    } else if (device.vni) {
        text = fmt::format("{} {}", device.link_kind, *device.vni);
    } else if (device.kind == "ovs") {
        text = "Open vSwitch";
    } else if (device.kind == "bond") {
        text = device.bond_mode.empty() ? "bond" : device.bond_mode;
    }
    return text + below_text(device, node, context);
}

void add_slaves(Facts& facts, const TreeNode& node, const Context& context) {
    const auto& devices = context.report.devices;
    if (node.slaves.empty()) {
        add(facts, devices[node.device].kind == "bond" ? "no slaves" : "");
        return;
    }
    const auto up = std::count_if(node.slaves.begin(), node.slaves.end(), [&](std::size_t slave) {
        return devices[slave].up;
    });
    const bool all_up = up == static_cast<std::ptrdiff_t>(node.slaves.size());
    TextLine line;
    line.add(fmt::format("{} of {}", up, node.slaves.size()), all_up ? Ink::plain : Ink::bad);
    line.add(":");
    for (const std::size_t slave : node.slaves) {
        line.add(" ").add(device_name(devices[slave], devices[slave].name, context.terminal));
    }
    facts.push_back({std::move(line), Worth::always});
}

void add_port(Facts& facts, const Device& device) {
    // A port whose device is down is disabled: that was said.
    const bool told = !device.up && device.port_state == "disabled";
    if (!device.port_state.empty() && device.port_state != "forwarding" && !told) {
        add(facts, "port " + device.port_state, Ink::warning);
    }
    if (device.port_isolated) {
        add(facts, "isolated");
    }
}

/// The membership that the tree does not show.
void add_master(Facts& facts, const Device& device, const TreeNode& node, const Context& context) {
    if (device.master.empty()) {
        // The other end of a tap is a guest, who is reached by a bridge or not at all.
        const bool stray = device.kind == "tap" && device.addresses.empty();
        add(facts, stray ? "in no bridge" : "", Ink::warning);
        return;
    }
    const auto& nodes = context.tree.nodes;
    const auto is_master = [&](std::size_t place) {
        return context.report.devices[place].name == device.master;
    };
    const bool above = node.parent && (is_master(nodes[*node.parent].device));
    const bool below =
        std::any_of(node.children.begin(), node.children.end(), [&](std::size_t child) {
            return is_master(nodes[child].device);
        });
    if (!above && !below) {
        add(facts, "in " + device.master);
    }
}

bool is_link_local(std::string_view address) {
    return address.substr(0, 5) == "fe80:";
}

void add_addresses(Facts& facts, const Device& device, const Context& context) {
    std::vector<std::string_view> addresses;
    for (const auto& address : device.addresses) {
        if (context.view.all || !is_link_local(address)) {
            addresses.push_back(address);
        }
    }
    for (std::size_t i = 0; i < addresses.size(); ++i) {
        add(facts, addresses[i], Ink::plain, i == 0 ? Worth::always : Worth::more_addresses);
    }
    if (addresses.empty() && device.kind == "bridge") {
        add(facts, "no address");
    }
    const auto gateway = context.gateways.find(device.name);
    if (gateway != context.gateways.end()) {
        add(facts, fmt::format("gateway {}", gateway->second), Ink::plain, Worth::gateway);
    }
}

/// Where the ends of a pair differ, larger packets vanish without a message.
void add_mtu(Facts& facts, const Device& device, const Device* patch) {
    if (!device.mtu_bytes) {
        return;
    }
    if (patch != nullptr && patch->mtu_bytes && patch->mtu_bytes != device.mtu_bytes) {
        add(facts, fmt::format("mtu {}/{}", *device.mtu_bytes, *patch->mtu_bytes), Ink::warning);
    } else {
        add(facts, fmt::format("mtu {}", *device.mtu_bytes), Ink::plain, Worth::mtu);
    }
}

Facts facts_of(const TreeNode& node, const Context& context) {
    const auto& devices = context.report.devices;
    const auto& device = devices[node.device];
    const auto* const patch = node.patch ? &devices[*node.patch] : nullptr;
    Facts facts;
    add(facts, kind_text(device, node, context));
    add(facts, trouble_of(device), device.admin_up ? Ink::bad : Ink::plain);
    if (patch != nullptr && !patch->up && device.up) {
        add(facts, patch->name + " " + trouble_of(*patch), Ink::bad);
    }
    add_slaves(facts, node, context);
    if (device.speed_bits_per_second) {
        add(facts, speed_text(*device.speed_bits_per_second), Ink::plain, Worth::speed);
    }
    if (device.virtual_functions > 0) {
        add(facts,
            fmt::format(
                "{} VF{}", device.virtual_functions, device.virtual_functions == 1 ? "" : "s"));
    }
    add_port(facts, device);
    add_master(facts, device, node, context);
    add_addresses(facts, device, context);
    if (patch != nullptr) {
        add_port(facts, *patch);
        add_addresses(facts, *patch, context);
    }
    add_mtu(facts, device, patch);
    if (device.link_kind != "loopback") {
        add(facts, device.mac, Ink::plain, Worth::mac);
    }
    return facts;
}

TextLine name_of(const Row& row, std::size_t width_max, const Terminal& terminal) {
    const auto cut = [&](const Device& device) {
        return device_name(device, cut_middle(device.name, width_max, terminal), terminal);
    };
    auto name = cut(*row.device);
    if (row.patch != nullptr) {
        name.add(" ").add(glyphs(terminal).patch).add(" ").add(cut(*row.patch));
    }
    return name;
}

/// The rows of the nodes that are shown, in the order of the tree.
std::vector<Row> rows_of(const Context& context) {
    struct Step {
        std::size_t node;
        std::string stem;  ///< of its siblings
        bool last;
    };

    const auto& nodes = context.tree.nodes;
    const auto& glyph = glyphs(context.terminal);
    std::vector<Row> rows;
    std::vector<Step> steps;
    const auto push = [&](const std::vector<std::size_t>& siblings, const std::string& stem) {
        bool last = true;
        for (auto sibling = siblings.rbegin(); sibling != siblings.rend(); ++sibling) {
            if (nodes[*sibling].shown) {
                steps.push_back({*sibling, stem, std::exchange(last, false)});
            }
        }
    };
    push(context.tree.roots, "");
    while (!steps.empty()) {
        const auto step = std::move(steps.back());
        steps.pop_back();
        const auto& node = nodes[step.node];
        Row row;
        row.stem = step.stem + std::string(step.last ? glyph.last_branch : glyph.branch);
        row.device = &context.report.devices[node.device];
        row.patch = node.patch ? &context.report.devices[*node.patch] : nullptr;
        row.name = name_of(row, uncut, context.terminal);
        row.facts = facts_of(node, context);
        if (row.device->guest) {
            row.guest = guest_cells(*row.device->guest, context.terminal);
        }
        rows.push_back(std::move(row));
        const auto trunk = step.last ? glyph.no_trunk : glyph.trunk;
        const bool deep = step.stem.size() + trunk.size() > stem_bytes_max;
        push(node.children, deep ? step.stem : step.stem + std::string(trunk));
    }
    return rows;
}

TextLine put_together(const Row& row,
                      const TextLine& name,
                      const Facts& facts,
                      std::size_t facts_column) {
    TextLine line;
    line.add(row.stem).add(name);
    line.pad_to(std::max(facts_column, line.width() + 2));
    for (std::size_t i = 0; i < facts.size(); ++i) {
        line.add(i == 0 ? "" : ", ").add(facts[i].text);
    }
    return line;
}

/// Of addresses that are left out, the first one says how many they are.
void leave_out(Facts& facts, Worth worth) {
    const auto is_worth = [worth](const Fact& fact) { return fact.worth == worth; };
    const auto first = std::find_if(facts.begin(), facts.end(), is_worth);
    const auto count = std::count_if(first, facts.end(), is_worth);
    if (worth == Worth::more_addresses && count > 0 && first != facts.begin()) {
        std::prev(first)->text.add(fmt::format(" +{}", count));
    }
    facts.erase(std::remove_if(first, facts.end(), is_worth), facts.end());
}

constexpr std::array worths{
    Worth::mac, Worth::mtu, Worth::speed, Worth::more_addresses, Worth::gateway};

/// Leaves out what is worth less until the line fits; addresses and numbers are never cut.
TextLine fitted(Row& row, std::size_t facts_column, const Terminal& terminal) {
    auto line = put_together(row, row.name, row.facts, facts_column);
    if (!terminal.is_terminal) {
        return line;
    }
    for (const auto worth : worths) {
        if (line.width() <= terminal.columns) {
            return line;
        }
        leave_out(row.facts, worth);
        line = put_together(row, row.name, row.facts, facts_column);
    }
    const auto width = std::max(display_width(row.device->name),
                                row.patch != nullptr ? display_width(row.patch->name) : 0);
    if (line.width() > terminal.columns && width > name_width_min) {
        const auto excess = line.width() - terminal.columns;
        const auto shorter = std::max(name_width_min, width - std::min(width, excess));
        line = put_together(row, name_of(row, shorter, terminal), row.facts, facts_column);
    }
    return line;
}

// Between a port and its guest, blanks included: as it looks best, and as it can be.
constexpr std::size_t wire_usual = 5;
constexpr std::size_t wire_least = 3;

/// Where the guests begin when nothing more is left out of the facts of their ports.
std::size_t facts_end(const std::vector<Row>& rows, std::size_t facts_column) {
    std::size_t end = 0;
    for (const Row& row : rows) {
        if (row.guest) {
            end = std::max(end, put_together(row, row.name, row.facts, facts_column).width());
        }
    }
    return end;
}

std::size_t names_end(const std::vector<Row>& rows) {
    std::size_t end = 0;
    for (const Row& row : rows) {
        if (row.guest) {
            end = std::max(end, display_width(row.stem) + row.name.width());
        }
    }
    return end;
}

/// The ports with guests, which stand beside them all in one column. The same is left out of all of
/// these ports, so that their lines look alike.
class GuestPart {
  public:
    GuestPart(std::vector<Row>& rows, std::size_t facts_column, const Terminal& terminal);

    /// The line of a row with a guest.
    TextLine line(const Row& row) const;

  private:
    const Terminal& terminal_;
    GuestColumns columns_;
    std::size_t facts_column_;
    std::size_t column_ = 0;  ///< where the guests begin
};

GuestPart::GuestPart(std::vector<Row>& rows, std::size_t facts_column, const Terminal& terminal)
    : terminal_(terminal),
      facts_column_(facts_column) {
    for (const Row& row : rows) {
        if (row.guest) {
            columns_.add(*row.guest);
        }
    }
    column_ = facts_end(rows, facts_column) + wire_usual;
    if (!terminal.is_terminal) {
        return;
    }
    for (const auto worth : worths) {
        if (column_ + columns_.width() <= terminal.columns) {
            return;
        }
        for (Row& row : rows) {
            if (row.guest) {
                leave_out(row.facts, worth);
            }
        }
        column_ = facts_end(rows, facts_column) + wire_usual;
    }
    if (column_ + columns_.width() > terminal.columns) {
        // Not in one column with the facts of all devices then.
        facts_column_ = std::min(facts_column, names_end(rows) + 2);
        column_ = facts_end(rows, facts_column_) + wire_least;
        columns_.fit(terminal.columns - std::min(terminal.columns, column_));
    }
}

TextLine GuestPart::line(const Row& row) const {
    auto line = put_together(row, row.name, row.facts, facts_column_);
    std::string wire = " ";
    for (auto at = line.width() + 1; at + 1 < column_; ++at) {
        wire += glyphs(terminal_).wire;
    }
    return line.add(wire).add(" ").add(columns_.text(*row.guest, terminal_));
}

std::string rows_text(std::vector<Row> rows, const Terminal& terminal) {
    std::size_t widest = 0;
    for (const Row& row : rows) {
        widest = std::max(widest, display_width(row.stem) + row.name.width());
    }
    const auto facts_column = std::clamp(widest + 2, facts_column_min, facts_column_max);
    const GuestPart guests(rows, facts_column, terminal);
    std::string text;
    for (Row& row : rows) {
        text += (row.guest ? guests.line(row) : fitted(row, facts_column, terminal)).text(terminal);
    }
    return text;
}

std::string unknown_word(const std::string& word, const TopologyReport& report) {
    std::vector<std::string_view> names;
    names.reserve(report.devices.size());
    for (const Device& device : report.devices) {
        names.push_back(device.name);
        if (device.guest) {
            names.push_back(device.guest->name);
        }
    }
    const auto near = nearest(word, names);
    return fmt::format("no device '{}'{}. All: reachctl topology --all",
                       printable(word),
                       near.empty() ? "" : "; near: " + near);
}

std::string header_text(const TopologyReport& report, const Terminal& terminal) {
    const auto host = report.host.empty() ? std::string("this host") : report.host;
    TextLine line;
    if (report.synced) {
        line.add(host);
    } else {
        line.add(glyphs(terminal).warning, Ink::warning).add(" " + host + ": ");
        line.add("not in step with the kernel yet, ask again", Ink::warning);
    }
    return line.text(terminal);
}

std::string footer_text(const TopologyReport& report,
                        const TopologyTree& tree,
                        const Terminal& terminal) {
    std::string text;
    const auto dots = glyphs(terminal).ellipsis;
    if (tree.hidden > 0) {
        text +=
            fmt::format("{} {} more {} switched off and used by nothing: reachctl topology --all\n",
                        dots,
                        tree.hidden,
                        tree.hidden == 1 ? "is" : "are");
    }
    if (report.devices_omitted > 0) {
        text += fmt::format(
            "{} {} more do not fit the answer of reachd\n", dots, report.devices_omitted);
    }
    return text;
}

}  // namespace

Result<std::string, std::string> topology_text(const TopologyReport& report,
                                               const std::vector<std::string>& words,
                                               const ViewOptions& view,
                                               const Terminal& terminal) {
    using Text = Result<std::string, std::string>;
    auto tree = make_tree(report);
    std::string unknown;
    if (!words.empty()) {
        if (!keep_branches(tree, report, words, unknown)) {
            return Text(boost::system::in_place_error, unknown_word(unknown, report));
        }
    } else if (!view.all) {
        hide_idle(tree, report);
    }
    Context context{report, tree, view, terminal, {}, {}};
    for (const Gateway& gateway : report.gateways) {
        context.gateways.emplace(gateway.device, gateway.address);
    }
    for (const Device& device : report.devices) {
        context.by_name[device.name] = &device;
    }
    std::string text = view.legend || !report.synced ? header_text(report, terminal) : "";
    text += rows_text(rows_of(context), terminal);
    text += view.legend ? footer_text(report, tree, terminal) : "";
    return Text(boost::system::in_place_value, std::move(text));
}

}  // namespace reachd::ctl
