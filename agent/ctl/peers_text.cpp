#include "agent/ctl/peers_text.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "agent/ctl/cause_text.hpp"
#include "agent/ctl/mtu_report.hpp"
#include "agent/ctl/quantity_text.hpp"
#include "agent/ctl/table_text.hpp"
#include "agent/ctl/topology_tree.hpp"
#include "agent/ctl/word_choice.hpp"

namespace reachd::ctl {
namespace {

/// Up, and large packets do not pass.
constexpr std::string_view degraded = "degraded";

using Text = Result<ListText, std::string>;

/// A peer with what is decided about its row.
struct Row : ListRow {
    const Peer* peer = nullptr;
};

/// The name of the fault that its path MTU amounts to; empty for none.
std::string mtu_fault(const Peer& peer) {
    if (!peer.mtu || health_of(peer.state) != Health::well) {
        return "";
    }
    const auto fault = fault_of(*peer.mtu);
    return fault ? std::string(fault->name) : "";
}

std::string cause_of(const Peer& peer) {
    switch (health_of(peer.state)) {
        case Health::down: return short_reason(peer.reason);
        case Health::unknown: return peer.address.empty() ? "name not resolved" : "";
        case Health::doubtful:
        case Health::noted:
        case Health::well: return sessions_down(peer.probes);
    }
    return "";
}

/// Since when a path MTU is what it is is not told: `since` is that of the state before.
Row row_of(const Peer& peer) {
    Row row{{peer.name, peer.address, peer.state, cause_of(peer), peer.since}, &peer};
    if (const auto fault = mtu_fault(peer); !fault.empty()) {
        row.state = degraded;
        row.cause = row.cause.empty() ? fault : fault + ", " + row.cause;
        row.since.reset();
    }
    row.health = health_of(row);
    return row;
}

std::string rtt_cell(const std::optional<double>& seconds, const Terminal& terminal) {
    return seconds ? rtt_text(*seconds, terminal) : std::string(no_value);
}

std::string loss_cell(const Row& row) {
    // The verdict is that nothing is answered, whatever was before.
    if (row.health == Health::down) {
        return loss_text(1);
    }
    return row.peer->loss_ratio ? loss_text(*row.peer->loss_ratio) : std::string(no_value);
}

std::string mtu_cell(const Peer& peer) {
    return peer.mtu && peer.mtu->bytes != 0 ? std::to_string(peer.mtu->bytes)
                                            : std::string(no_value);
}

TableRow cells_of(const Row& row, const PeersReport& report, const Terminal& terminal) {
    const Peer& peer = *row.peer;
    const bool is_down = row.health == Health::down;
    return {.mark = mark_of(row, terminal),
            .cells = {{peer.name},
                      {peer.address.empty() ? std::string(no_value) : peer.address},
                      {peer.kind},
                      state_cell(row),
                      {is_down ? std::string(no_value) : rtt_cell(peer.rtt_seconds, terminal)},
                      {is_down ? std::string(no_value) : rtt_cell(peer.rtt_p99_seconds, terminal)},
                      {loss_cell(row)},
                      {mtu_cell(peer)},
                      since_cell(row, report.time),
                      cause_cell(row)}};
}

std::string table_of(const std::vector<Row>& rows,
                     const PeersReport& report,
                     const ViewOptions& view,
                     const Terminal& terminal) {
    static const std::vector<Column> columns{{"PEER", Fit::cut_middle},
                                             {"ADDRESS"},
                                             {"KIND", Fit::drop_second},
                                             {"STATE"},
                                             {"RTT", Fit::whole, true},
                                             {"P99", Fit::drop_first, true},
                                             {"LOSS", Fit::whole, true},
                                             {"MTU", Fit::drop_third, true},
                                             {"SINCE", Fit::whole, true},
                                             {"CAUSE", Fit::cut_end, false, true}};
    std::vector<TableRow> table;
    table.reserve(rows.size());
    for (const Row& row : rows) {
        table.push_back(cells_of(row, report, terminal));
    }
    return table_text(columns, table, view.legend, terminal);
}

std::string list_text(std::vector<Row> rows,
                      const PeersReport& report,
                      bool whole,
                      const ViewOptions& view,
                      const Terminal& terminal) {
    if (rows.empty()) {
        return view.legend ? "No peers: none is configured, and none was found.\n" : "";
    }
    std::sort(rows.begin(), rows.end(), stands_before);
    std::vector<std::string_view> states;
    for (const Row& row : rows) {
        states.push_back(row.state);
    }
    auto footer = total_text("peer", states);
    if (!whole) {
        const auto all = rows.size();
        leave_out_well(rows);
        footer = hidden_text(all - rows.size(), "reachctl peers --all", terminal) + footer;
    }
    footer += omitted_text(report.peers_omitted, terminal);
    return table_of(rows, report, view, terminal) + (view.legend ? footer : "");
}

}  // namespace

Text peers_text(const PeersReport& report,
                const std::vector<std::string>& words,
                const ViewOptions& view,
                const Terminal& terminal) {
    std::vector<Names> names;
    names.reserve(report.peers.size());
    for (const Peer& peer : report.peers) {
        names.push_back({peer.name, peer.address, without_zone(peer.address)});
    }
    const auto chosen = choose(words, names, "peer", "reachctl peers --all");
    if (!chosen) {
        return {boost::system::in_place_error, chosen.error()};
    }
    std::vector<Row> rows;
    for (std::size_t i = 0; i < report.peers.size(); ++i) {
        if ((*chosen)[i]) {
            rows.push_back(row_of(report.peers[i]));
        }
    }
    ListText list;
    list.is_ill = std::any_of(rows.begin(), rows.end(), [](const Row& row) {
        return row.health == Health::down || row.state == degraded;
    });
    list.text = list_text(std::move(rows), report, view.all || !words.empty(), view, terminal);
    return {boost::system::in_place_value, std::move(list)};
}

}  // namespace reachd::ctl
