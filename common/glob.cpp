#include "common/glob.hpp"

#include <cstddef>

namespace reachd {
namespace {

/// Bytes of the character at the front of non-empty text; stray bytes are one each.
std::size_t character_bytes(std::string_view text) {
    const auto is_continuation = [](char byte) {
        return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U;
    };
    std::size_t size = 1;
    while (size < text.size() && is_continuation(text[size])) {
        ++size;
    }
    return size;
}

}  // namespace

bool is_glob(std::string_view text) {
    return text.find_first_of("*?") != std::string_view::npos;
}

bool glob_matches(std::string_view pattern, std::string_view text) {
    // Only the last star needs to be tried again: what stood before it has found its place.
    std::string_view pattern_after_star;
    std::string_view text_after_star;
    bool starred = false;
    while (!text.empty()) {
        if (!pattern.empty() && pattern.front() == '*') {
            pattern.remove_prefix(1);
            pattern_after_star = pattern;
            text_after_star = text;
            starred = true;
        } else if (!pattern.empty() && pattern.front() == '?') {
            pattern.remove_prefix(1);
            text.remove_prefix(character_bytes(text));
        } else if (!pattern.empty() && pattern.front() == text.front()) {
            pattern.remove_prefix(1);
            text.remove_prefix(1);
        } else if (starred) {
            text_after_star.remove_prefix(1);
            text = text_after_star;
            pattern = pattern_after_star;
        } else {
            return false;
        }
    }
    return pattern.find_first_not_of('*') == std::string_view::npos;
}

}  // namespace reachd
