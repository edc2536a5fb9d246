#include "exporters/interface_rows.hpp"

#include <array>
#include <bit>
#include <functional>

#include "common/check.hpp"
#include "common/mac_address.hpp"

namespace reachd {
namespace {

// What a line needs beside its name and labels: braces, blanks, the value.
constexpr std::size_t line_rest_max = 16 + number_text_max;

constexpr std::size_t mac_label_size = label_room("mac", "") + MacAddress::text_size;

std::string line_begin(Metric metric) {
    return std::string(describe(metric).name) + "{device";
}

/// For each link whether a later one has the same name.
std::vector<bool> superseded_links(const TopologyView& view) {
    constexpr std::uint32_t empty = UINT32_MAX;
    std::vector<bool> superseded(view.size());
    // Open addressing, at most half full: this runs for each answer, and one allocation a name
    // would cost as much as writing a family.
    std::vector<std::uint32_t> latest(std::bit_ceil(2 * view.size() + 1), empty);
    for (std::size_t row = 0; row < view.size(); ++row) {
        const std::string& name = view.link(row).name;
        auto slot = std::hash<std::string_view>{}(name) & (latest.size() - 1);
        while (latest[slot] != empty && view.link(latest[slot]).name != name) {
            slot = (slot + 1) & (latest.size() - 1);
        }
        if (latest[slot] != empty) {
            superseded[latest[slot]] = true;
        }
        latest[slot] = static_cast<std::uint32_t>(row);
    }
    return superseded;
}

void write_mac_label(TextBlock& block, const MacAddress& mac) {
    const auto text = mac.text();
    block.text(",mac=\"");
    block.text({text.data(), text.size()});
    block.character('"');
}

}  // namespace

InterfaceRows::InterfaceRows(const Snapshot& snapshot) : view_(snapshot) {
    ENSURE(view_.size() < no_bridge);
    quote_names();
    const auto superseded = superseded_links(view_);
    rows_.reserve(view_.size());
    // Ports of one bridge mostly follow each other.
    IfIndex last_master = IfIndex::any;
    std::uint32_t last_bridge = no_bridge;
    for (std::size_t i = 0; i < view_.size(); ++i) {
        if (superseded[i]) {
            continue;
        }
        const Link& link = view_.link(i);
        if (link.master != last_master) {
            const auto bridge = view_.bridge_of(link);
            last_master = link.master;
            last_bridge = bridge ? static_cast<std::uint32_t>(*bridge) : no_bridge;
        }
        rows_.push_back({static_cast<std::uint32_t>(i), last_bridge});
        series_ += lines_of(rows_.back());
    }
    rows_kept_ = rows_.size();
}

void InterfaceRows::quote_names() {
    name_begins_.reserve(view_.size() + 1);
    for (std::size_t i = 0; i < view_.size(); ++i) {
        name_begins_.push_back(static_cast<std::uint32_t>(names_.size()));
        names_ += "=\"";
        names_ += exposition_label_value(view_.link(i).name);
        names_ += '"';
    }
    name_begins_.push_back(static_cast<std::uint32_t>(names_.size()));
}

std::span<const InterfaceRows::Family> InterfaceRows::families() {
    using Self = InterfaceRows;
    static constexpr std::array families{
        Family{Metric::interface_info, &Self::write_infos},
        Family{Metric::interface_admin_up, &Self::write_admin_up},
        Family{Metric::interface_up, &Self::write_up},
        Family{Metric::interface_mtu, &Self::write_mtu},
        Family{Metric::interface_carrier_changes, &Self::write_carrier_changes},
        Family{
            Metric::interface_receive_errors, &Self::write_counters, &LinkCounters::receive_errors},
        Family{Metric::interface_transmit_errors,
               &Self::write_counters,
               &LinkCounters::transmit_errors},
        Family{
            Metric::interface_receive_drops, &Self::write_counters, &LinkCounters::receive_drops},
        Family{
            Metric::interface_transmit_drops, &Self::write_counters, &LinkCounters::transmit_drops},
        Family{Metric::bridge_port_state, &Self::write_port_states},
    };
    return families;
}

std::uint64_t InterfaceRows::lines_of(const Row& row) const {
    constexpr std::uint64_t always = 5;  // info, admin up, up, MTU, carrier changes
    constexpr std::uint64_t counters = 4;
    return always + (view_.counters(row.link) != nullptr ? counters : 0) +
           (is_port(row) ? port_state_count : 0);
}

void InterfaceRows::limit(std::uint64_t budget) {
    const auto wanted = series_ + series_dropped_;
    if (wanted <= budget) {
        return;
    }
    const auto kept =
        keep_first(rows_.size(), budget, [this](std::size_t row) { return lines_of(rows_[row]); });
    rows_kept_ = kept.rows;
    series_ = kept.series;
    series_dropped_ = wanted - kept.series;
}

/// The line of an interface in most families. `begin`: from line_begin().
template <class WriteValue>
bool InterfaceRows::write_line(TextBlock& block,
                               std::string_view begin,
                               const Row& row,
                               WriteValue write_value) const {
    const auto name = quoted_name(row.link);
    if (!block.reserve(begin.size() + name.size() + line_rest_max)) {
        return false;
    }
    block.text(begin);
    block.text(name);
    block.text("} ");
    write_value();
    block.character('\n');
    return true;
}

/// A family with one line for each interface.
template <class WriteValue>
bool InterfaceRows::write_lines(const Family& family,
                                RowCursor& cursor,
                                WriteValue write_value) const {
    const auto begin = line_begin(family.metric);
    return cursor.for_each_row(rows_kept_, [&](std::size_t index) {
        const Row& row = rows_[index];
        return write_line(cursor.block, begin, row, [&] { write_value(link_of(row)); });
    });
}

bool InterfaceRows::write_infos(const Family& family, RowCursor& cursor) const {
    const auto name = describe(family.metric).name;
    return cursor.for_each_row(
        rows_kept_, [&](std::size_t row) { return write_info(cursor.block, name, rows_[row]); });
}

bool InterfaceRows::write_info(TextBlock& block, std::string_view name, const Row& row) const {
    const Link& link = link_of(row);
    const DeviceFacts* const facts = view_.facts(link);
    const auto kind = to_text(interface_kind(link, facts));
    const std::string_view driver = facts != nullptr ? std::string_view(facts->driver) : "";
    const GuestSnapshot* const guest = view_.guest(link);
    const std::string_view vm = guest != nullptr ? std::string_view(guest->vm) : "";
    const auto device = quoted_name(row.link);
    const auto bridge = row.bridge != no_bridge ? quoted_name(row.bridge) : "";
    constexpr std::string_view bridge_label = ",bridge";
    if (!block.reserve(name.size() + device.size() + label_room("device", "") +
                       label_room("kind", kind) + label_room("driver", driver) + mac_label_size +
                       bridge_label.size() + bridge.size() + label_room("vm", vm) +
                       line_rest_max)) {
        return false;
    }
    block.text(name);
    block.text("{device");
    block.text(device);
    write_label(block, "kind", kind);
    write_label(block, "driver", driver);
    if (link.mac) {
        write_mac_label(block, *link.mac);
    }
    if (!bridge.empty()) {
        block.text(bridge_label);
        block.text(bridge);
    }
    write_label(block, "vm", vm);
    block.text("} 1\n");
    return true;
}

bool InterfaceRows::write_admin_up(const Family& family, RowCursor& cursor) const {
    return write_lines(
        family, cursor, [&](const Link& link) { cursor.block.text(zero_or_one(link.admin_up)); });
}

bool InterfaceRows::write_up(const Family& family, RowCursor& cursor) const {
    return write_lines(
        family, cursor, [&](const Link& link) { cursor.block.text(zero_or_one(link.is_up())); });
}

bool InterfaceRows::write_mtu(const Family& family, RowCursor& cursor) const {
    return write_lines(
        family, cursor, [&](const Link& link) { cursor.block.number(link.mtu_bytes); });
}

bool InterfaceRows::write_carrier_changes(const Family& family, RowCursor& cursor) const {
    return write_lines(
        family, cursor, [&](const Link& link) { cursor.block.number(link.carrier_changes); });
}

bool InterfaceRows::write_counters(const Family& family, RowCursor& cursor) const {
    TextBlock& block = cursor.block;
    const auto begin = line_begin(family.metric);
    return cursor.for_each_row(rows_kept_, [&](std::size_t index) {
        const auto* counters = view_.counters(rows_[index].link);
        return counters == nullptr || write_line(block, begin, rows_[index], [&] {
                   block.number(counters->*family.counter);
               });
    });
}

bool InterfaceRows::write_port_states(const Family& family, RowCursor& cursor) const {
    const auto name = describe(family.metric).name;
    return cursor.for_each_row(rows_kept_, [&](std::size_t index) {
        const Row& row = rows_[index];
        return !is_port(row) || write_port_state(cursor.block, name, row);
    });
}

bool InterfaceRows::write_port_state(TextBlock& block,
                                     std::string_view name,
                                     const Row& row) const {
    constexpr std::size_t label_names = std::string_view("{bridge,device,state=\"\"").size();
    const auto bridge = quoted_name(row.bridge);
    const auto device = quoted_name(row.link);
    if (!block.reserve(port_state_count * (name.size() + bridge.size() + device.size() +
                                           label_names + line_rest_max))) {
        return false;
    }
    const PortState now = link_of(row).port->state;
    const char* const line = block.position();
    block.text(name);
    block.text("{bridge");
    block.text(bridge);
    block.text(",device");
    block.text(device);
    block.text(",state=\"");
    const std::string_view prefix(line, static_cast<std::size_t>(block.position() - line));
    for (std::size_t i = 0; i < port_state_count; ++i) {
        const auto state = static_cast<PortState>(i);
        if (i > 0) {
            block.text(prefix);
        }
        block.text(to_text(state));
        block.text(state == now ? "\"} 1\n" : "\"} 0\n");
    }
    return true;
}

}  // namespace reachd
