// Shell-like patterns over names: "vnet*", "eno?". Knows no files and no character classes.
#pragma once

#include <string_view>

namespace reachd {

/// Whether the text has a character with a meaning in glob_matches.
bool is_glob(std::string_view text);

/// '*' stands for any bytes, also none, '?' for one character of UTF-8; all else for itself, case
/// included. Takes time of at most the product of both lengths.
bool glob_matches(std::string_view pattern, std::string_view text);

}  // namespace reachd
