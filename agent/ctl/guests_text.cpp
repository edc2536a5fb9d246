#include "agent/ctl/guests_text.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "agent/ctl/cause_text.hpp"
#include "agent/ctl/quantity_text.hpp"
#include "agent/ctl/state_look.hpp"
#include "agent/ctl/table_text.hpp"
#include "agent/ctl/topology_tree.hpp"
#include "agent/ctl/word_choice.hpp"

namespace reachd::ctl {
namespace {

using Text = Result<ListText, std::string>;

constexpr std::string_view none = "-";

/// One address of a guest, or a guest without one.
struct Row {
    const Guest* guest = nullptr;
    const GuestAddress* address = nullptr;  ///< null: none is known
    std::string state = "unknown";
    std::string cause{};
    Health health = Health::unknown;
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
    Row row{.guest = &guest, .address = &address};
    row.state = is_probed(address) ? address.state : "unknown";
    row.cause = cause_of(address);
    row.health = health_of(row.state);
    if (row.health == Health::well && !row.cause.empty()) {
        row.health = Health::noted;
    }
    return row;
}

/// `whole`: also the addresses that are not probed while others of the same guest are.
void add_rows(std::vector<Row>& rows, const Guest& guest, bool whole) {
    if (guest.addresses.empty()) {
        rows.push_back({.guest = &guest});
        return;
    }
    const bool any_probed = std::any_of(guest.addresses.begin(), guest.addresses.end(), is_probed);
    for (const auto& address : guest.addresses) {
        if (whole || !any_probed || is_probed(address)) {
            rows.push_back(row_of(guest, address));
        }
    }
}

std::optional<WallTime> since_of(const Row& row) {
    return row.address != nullptr ? row.address->since : row.guest->since;
}

/// Of what is ill the longest so comes first: the rest may follow from it.
bool stands_before(const Row& left, const Row& right) {
    if (left.health != right.health) {
        return left.health < right.health;
    }
    if (left.health < Health::well && since_of(left) != since_of(right)) {
        const auto never = WallTime::max();
        return since_of(left).value_or(never) < since_of(right).value_or(never);
    }
    const auto& left_name = shown_name(*left.guest);
    const auto& right_name = shown_name(*right.guest);
    return left_name != right_name && comes_before(left_name, right_name);
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
    return std::string(none);
}

TableRow cells_of(const Row& row, const GuestsReport& report, const Terminal& terminal) {
    const Guest& guest = *row.guest;
    const auto ink = ink_of(row.state);
    const auto since = since_of(row);
    const auto bridge = guest.bridge.empty() ? std::string(none) : guest.bridge;
    return {
        .mark = {std::string(symbol_of(row.state, terminal)), ink},
        .cells = {{shown_name(guest)},
                  {row.address != nullptr ? row.address->address : "not seen"},
                  {row.state, ink},
                  {bridge + "/" + guest.device},
                  {rtt_cell(row, "arp", terminal)},
                  {rtt_cell(row, "icmp", terminal)},
                  {report.time && since ? age_text(*report.time - *since) : ""},
                  {row.cause, row.health == Health::noted ? Ink::warning : ink}},
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

/// "9 guests: 7 up, 1 down, 1 without an address yet."
std::string total_text(const std::vector<const Guest*>& guests) {
    std::vector<std::string> parts;
    const auto add = [&](std::string_view state, bool has_address, std::string_view word) {
        const auto count = std::count_if(guests.begin(), guests.end(), [&](const Guest* guest) {
            return guest->state == state && guest->addresses.empty() != has_address;
        });
        if (count > 0) {
            parts.push_back(fmt::format("{} {}", count, word));
        }
    };
    add("up", true, "up");
    add("degraded", true, "degraded");
    add("suspect", true, "suspect");
    add("down", true, "down");
    add("unknown", true, "unknown yet");
    add("unknown", false, "without an address yet");
    return fmt::format(
        "{} guest{}: {}.\n", guests.size(), guests.size() == 1 ? "" : "s", fmt::join(parts, ", "));
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
    auto footer = total_text(guests);
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
