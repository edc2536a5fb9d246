#include "agent/ctl/topology_guest.hpp"

#include <algorithm>
#include <string_view>

#include <fmt/core.h>

#include "agent/ctl/quantity_text.hpp"
#include "agent/ctl/state_look.hpp"

namespace reachd::ctl {
namespace {

constexpr std::size_t mark_width = 2;
constexpr std::size_t gap = 2;
constexpr std::size_t name_width_min = 8;

/// The higher the more this address tells of its guest.
int weight(const PortGuestAddress& address) {
    if (address.state.empty()) {
        return 0;
    }
    const bool is_link_local = address.address.substr(0, 5) == "fe80:";
    return 1 + (is_link_local ? 0 : 1) + (address.state == "up" ? 2 : 0);
}

std::string answer_of(const PortGuest& guest,
                      const PortGuestAddress& address,
                      const Terminal& terminal) {
    const auto health = health_of(guest.state);
    if (health == Health::down || health == Health::doubtful) {
        return guest.state;
    }
    return address.rtt_seconds ? rtt_text(*address.rtt_seconds, terminal) : "";
}

}  // namespace

GuestCells guest_cells(const PortGuest& guest, const Terminal& terminal) {
    GuestCells cells;
    cells.state = guest.state;
    cells.name = guest.name.empty() ? "unnamed" : guest.name;
    const auto& addresses = guest.addresses;
    const auto best =
        std::max_element(addresses.begin(), addresses.end(), [](const auto& a, const auto& b) {
            return weight(a) < weight(b);
        });
    if (best == addresses.end()) {
        cells.address = "no address seen yet";
        return cells;
    }
    cells.has_address = true;
    cells.address = best->address;
    if (addresses.size() > 1) {
        cells.address += fmt::format(" +{}", addresses.size() - 1);
    }
    cells.answer = answer_of(guest, *best, terminal);
    return cells;
}

void GuestColumns::add(const GuestCells& cells) {
    name_ = std::max(name_, display_width(cells.name));
    if (cells.has_address) {
        address_ = std::max(address_, display_width(cells.address));
        answer_ = std::max(answer_, display_width(cells.answer));
    } else {
        remark_ = std::max(remark_, display_width(cells.address));
    }
}

std::size_t GuestColumns::width() const {
    const auto told = address_ + (answer_ > 0 ? gap + answer_ : 0);
    return mark_width + name_ + gap + std::max(told, remark_);
}

void GuestColumns::fit(std::size_t width_max) {
    const auto excess = width() - std::min(width(), width_max);
    const auto shorter = name_ - std::min(name_, excess);
    name_ = std::min(name_, std::max(name_width_min, shorter));
}

TextLine GuestColumns::text(const GuestCells& cells, const Terminal& terminal) const {
    const auto ink = ink_of(cells.state);
    TextLine line;
    line.add(symbol_of(cells.state, terminal), ink).add(" ");
    line.add(cut_middle(cells.name, name_, terminal)).pad_to(mark_width + name_ + gap);
    line.add(cells.address);
    if (!cells.answer.empty()) {
        const auto begin = mark_width + name_ + gap + address_ + gap;
        const bool is_state = cells.answer == cells.state;
        line.pad_to(begin + answer_ - std::min(answer_, display_width(cells.answer)));
        line.add(cells.answer, is_state ? ink : Ink::plain);
    }
    return line;
}

}  // namespace reachd::ctl
