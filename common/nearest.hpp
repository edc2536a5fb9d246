// "Did you mean": the known word that is most like a mistyped one. Knows nothing of keys, peers or
// commands; the caller says which words there are.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace reachd {

/// The candidate with the fewest edits to `word` (insert, delete, replace, swap of two neighbours;
/// ASCII case does not count), the first of equals. Empty when none is near: more than a third of
/// the longer word would have to change, or the word is longer than 64 bytes.
std::string nearest(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace reachd
