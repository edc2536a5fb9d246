#include "agent/ctl/guests_text.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "agent/ctl/cause_text.hpp"
#include "agent/ctl/quantity_text.hpp"
#include "agent/ctl/table_text.hpp"
#include "agent/ctl/topology_tree.hpp"
#include "agent/ctl/word_choice.hpp"

namespace reachd::ctl {
namespace {

using Text = Result<ListText, std::string>;

constexpr std::string_view unknown = "unknown";

/// One address of a guest, or a guest without one.
struct Row : ListRow {
    const Guest* guest = nullptr;
    const GuestAddress* address = nullptr;  ///< null: none is known
};

bool is_probed(const GuestAddress& address) {
    return !address.state.empty();
}

std::string cause_of(const GuestAddress& address) {
    if (!is_probed(address)) {
        return address.not_probed;
    }
    return health_of(address.state) == Health::down ? short_reason(address.reason)
                                                    : sessions_down(address.probes);
}

Row row_of(const Guest& guest, const GuestAddress& address) {
    const std::string_view state = is_probed(address) ? address.state : unknown;
    Row row{{shown_name(guest), {}, state, cause_of(address), address.since}, &guest, &address};
    row.health = health_of(row);
    return row;
}

/// `whole`: also the addresses that are not probed while others of the same guest are.
void add_rows(std::vector<Row>& rows, const Guest& guest, bool whole) {
    if (guest.addresses.empty()) {
        rows.push_back({{shown_name(guest), {}, unknown, {}, guest.since}, &guest});
        return;
    }
    const bool any_probed = std::any_of(guest.addresses.begin(), guest.addresses.end(), is_probed);
    for (const auto& address : guest.addresses) {
        if (whole || !any_probed || is_probed(address)) {
            rows.push_back(row_of(guest, address));
        }
    }
}

/// The last answer to probes of this kind.
std::string rtt_cell(const Row& row, std::string_view probe, const Terminal& terminal) {
    if (row.address != nullptr && row.health != Health::down) {
        for (const auto& session : row.address->probes) {
            if (session.probe == probe && session.rtt_seconds) {
                return rtt_text(*session.rtt_seconds, terminal);
            }
        }
    }
    return std::string(no_value);
}

TableRow cells_of(const Row& row, const GuestsReport& report, const Terminal& terminal) {
    const Guest& guest = *row.guest;
    const auto bridge = guest.bridge.empty() ? std::string(no_value) : guest.bridge;
    return {
        .mark = mark_of(row, terminal),
        .cells = {{shown_name(guest)},
                  {row.address != nullptr ? row.address->address : "not seen"},
                  state_cell(row),
                  {bridge + "/" + guest.device},
                  {rtt_cell(row, "arp", terminal)},
                  {rtt_cell(row, "icmp", terminal)},
                  since_cell(row, report.time),
                  cause_cell(row)},
    };
}

std::string table_of(const std::vector<Row>& rows,
                     const GuestsReport& report,
                     const ViewOptions& view,
                     const Terminal& terminal) {
    static const std::vector<Column> columns{{"GUEST", Fit::cut_middle},
                                             {"ADDRESS"},
                                             {"STATE"},
                                             {"PORT"},
                                             {"ARP", Fit::whole, true},
                                             {"ICMP", Fit::whole, true},
                                             {"SINCE", Fit::whole, true},
                                             {"CAUSE", Fit::cut_end, false, true}};
    std::vector<TableRow> table;
    table.reserve(rows.size());
    for (const Row& row : rows) {
        table.push_back(cells_of(row, report, terminal));
    }
    return table_text(columns, table, view.legend, terminal);
}

std::size_t guest_count(const std::vector<Row>& rows) {
    std::set<const Guest*> guests;
    for (const Row& row : rows) {
        guests.insert(row.guest);
    }
    return guests.size();
}

std::string list_text(const std::vector<const Guest*>& guests,
                      const GuestsReport& report,
                      bool whole,
                      const ViewOptions& view,
                      const Terminal& terminal) {
    if (guests.empty()) {
        return view.legend ? "No guests: none was found behind the ports of this host.\n" : "";
    }
    std::vector<Row> rows;
    for (const Guest* guest : guests) {
        add_rows(rows, *guest, whole);
    }
    std::stable_sort(rows.begin(), rows.end(), stands_before);
    std::vector<std::string_view> states;
    for (const Guest* guest : guests) {
        const bool has_none = guest->addresses.empty() && guest->state == unknown;
        states.push_back(has_none ? std::string_view() : std::string_view(guest->state));
    }
    auto footer = total_text("guest", states);
    if (!whole) {
        const auto all = guest_count(rows);
        leave_out_well(rows);
        footer = hidden_text(all - guest_count(rows), "reachctl guests --all", terminal) + footer;
    }
    footer += omitted_text(report.guests_omitted, terminal);
    return table_of(rows, report, view, terminal) + (view.legend ? footer : "");
}

Names names_of(const Guest& guest) {
    Names names{guest.name, guest.vm, guest.uuid, guest.device, guest.bridge};
    names.insert(names.end(), guest.macs.begin(), guest.macs.end());
    for (const auto& address : guest.addresses) {
        names.emplace_back(address.address);
        names.push_back(without_zone(address.address));
    }
    return names;
}

}  // namespace

Text guests_text(const GuestsReport& report,
                 const std::vector<std::string>& words,
                 const ViewOptions& view,
                 const Terminal& terminal) {
    std::vector<Names> names;
    names.reserve(report.guests.size());
    for (const Guest& guest : report.guests) {
        names.push_back(names_of(guest));
    }
    const auto chosen = choose(words, names, "guest", "reachctl guests --all");
    if (!chosen) {
        return {boost::system::in_place_error, chosen.error()};
    }
    std::vector<const Guest*> guests;
    ListText list;
    for (std::size_t i = 0; i < report.guests.size(); ++i) {
        if ((*chosen)[i]) {
            const Guest& guest = report.guests[i];
            guests.push_back(&guest);
            list.is_ill = list.is_ill ||
                          std::any_of(guest.addresses.begin(),
                                      guest.addresses.end(),
                                      [](const auto& address) { return address.state == "down"; });
        }
    }
    list.text = list_text(guests, report, view.all || !words.empty(), view, terminal);
    return {boost::system::in_place_value, std::move(list)};
}

}  // namespace reachd::ctl
