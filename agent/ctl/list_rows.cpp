#include "agent/ctl/list_rows.hpp"

#include <array>
#include <utility>

#include <fmt/format.h>

#include "agent/ctl/quantity_text.hpp"
#include "agent/ctl/topology_tree.hpp"

namespace reachd::ctl {

Health health_of(const ListRow& row) {
    const auto health = health_of(row.state);
    return health == Health::well && !row.cause.empty() ? Health::noted : health;
}

bool stands_before(const ListRow& left, const ListRow& right) {
    if (left.health != right.health) {
        return left.health < right.health;
    }
    if (left.health < Health::well && left.since != right.since) {
        const auto never = WallTime::max();
        return left.since.value_or(never) < right.since.value_or(never);
    }
    return left.name != right.name ? comes_before(left.name, right.name)
                                   : left.second_name < right.second_name;
}

Cell mark_of(const ListRow& row, const Terminal& terminal) {
    return {std::string(symbol_of(row.state, terminal)), ink_of(row.state)};
}

Cell state_cell(const ListRow& row) {
    return {std::string(row.state), ink_of(row.state)};
}

Cell since_cell(const ListRow& row, const std::optional<WallTime>& now) {
    return {now && row.since ? age_text(*now - *row.since) : ""};
}

Cell cause_cell(const ListRow& row) {
    return {row.cause, row.health == Health::noted ? Ink::warning : ink_of(row.state)};
}

std::string total_text(std::string_view thing, const std::vector<std::string_view>& states) {
    using Word = std::pair<std::string_view, std::string_view>;
    constexpr std::array<Word, 6> words{Word{"up", "up"},
                                        Word{"degraded", "degraded"},
                                        Word{"suspect", "suspect"},
                                        Word{"down", "down"},
                                        Word{"unknown", "unknown yet"},
                                        Word{"", "without an address yet"}};
    std::vector<std::string> parts;
    for (const auto& [state, word] : words) {
        if (const auto count = std::count(states.begin(), states.end(), state); count > 0) {
            parts.push_back(fmt::format("{} {}", count, word));
        }
    }
    return fmt::format("{} {}{}: {}.\n",
                       states.size(),
                       thing,
                       states.size() == 1 ? "" : "s",
                       fmt::join(parts, ", "));
}

std::string hidden_text(std::size_t hidden, std::string_view command, const Terminal& terminal) {
    return hidden == 0 ? std::string()
                       : fmt::format("{} {} more {} up: {}\n",
                                     glyphs(terminal).ellipsis,
                                     hidden,
                                     hidden == 1 ? "is" : "are",
                                     command);
}

std::string omitted_text(std::uint64_t omitted, const Terminal& terminal) {
    return omitted == 0 ? std::string()
                        : fmt::format("{} {} more do not fit the answer of reachd\n",
                                      glyphs(terminal).ellipsis,
                                      omitted);
}

}  // namespace reachd::ctl
