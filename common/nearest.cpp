#include "common/nearest.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

namespace reachd {
namespace {

constexpr std::size_t word_bytes_max = 64;

using Row = std::array<std::size_t, word_bytes_max + 1>;

char fold(char byte) {
    return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte - 'A' + 'a') : byte;
}

bool same(char left, char right) {
    return fold(left) == fold(right);
}

/// Optimal string alignment distance, three rows at a time. Both words fit word_bytes_max.
std::size_t edit_distance(std::string_view from, std::string_view to) {
    Row before{};
    Row above{};
    Row row{};
    for (std::size_t j = 0; j <= to.size(); ++j) {
        above[j] = j;
    }
    for (std::size_t i = 1; i <= from.size(); ++i) {
        row[0] = i;
        for (std::size_t j = 1; j <= to.size(); ++j) {
            const std::size_t replaced = above[j - 1] + (same(from[i - 1], to[j - 1]) ? 0 : 1);
            row[j] = std::min({above[j] + 1, row[j - 1] + 1, replaced});
            if (i > 1 && j > 1 && same(from[i - 1], to[j - 2]) && same(from[i - 2], to[j - 1])) {
                row[j] = std::min(row[j], before[j - 2] + 1);
            }
        }
        before = above;
        above = row;
    }
    return above[to.size()];
}

}  // namespace

std::string nearest(std::string_view word, std::span<const std::string_view> candidates) {
    if (word.size() > word_bytes_max) {
        return {};
    }
    std::string_view best;
    std::size_t best_distance = word_bytes_max + 1;
    for (const auto candidate : candidates) {
        if (candidate.size() > word_bytes_max) {
            continue;
        }
        const auto distance = edit_distance(word, candidate);
        const auto allowed = std::max<std::size_t>(1, std::max(word.size(), candidate.size()) / 3);
        // A word of which no letter stays is no likeness, however short it is.
        const bool is_alike = distance <= allowed && distance < candidate.size();
        if (is_alike && distance < best_distance) {
            best = candidate;
            best_distance = distance;
        }
    }
    return std::string(best);
}

}  // namespace reachd
