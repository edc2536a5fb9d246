// UTF-8 as it arrives from the network, the kernel and files: one strict decoder, and which
// characters do something to a reader instead of being read. What to put in their place is the
// caller's affair.
#pragma once

#include <cstddef>
#include <string_view>

namespace reachd {

struct Utf8Character {
    char32_t code = 0;
    std::size_t bytes = 0;  ///< 0: no UTF-8
};

/// The character at the front of a text that is not empty. Strict (RFC 3629): no overlong forms, no
/// surrogates, nothing above U+10FFFF.
Utf8Character decode_utf8(std::string_view text);

/// C0, DEL and C1 (ECMA-48): terminals obey them.
bool is_control(char32_t code);

/// Bidirectional controls (UAX #9) can make a text read differently from what it says.
bool steers_direction(char32_t code);

}  // namespace reachd
