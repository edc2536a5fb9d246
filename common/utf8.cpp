#include "common/utf8.hpp"

#include <array>

namespace reachd {

Utf8Character decode_utf8(std::string_view text) {
    const auto byte_at = [text](std::size_t at) { return static_cast<unsigned char>(text[at]); };
    const unsigned char lead = byte_at(0);
    if (lead < 0x80U) {
        return {lead, 1};
    }
    const std::size_t bytes = lead >= 0xf0U ? 4 : lead >= 0xe0U ? 3 : 2;
    if (lead < 0xc2U || lead > 0xf4U || text.size() < bytes) {
        return {};
    }
    char32_t code = lead & (0x7fU >> bytes);
    for (std::size_t at = 1; at < bytes; ++at) {
        if ((byte_at(at) & 0xc0U) != 0x80U) {
            return {};
        }
        code = (code << 6U) | (byte_at(at) & 0x3fU);
    }
    constexpr std::array<char32_t, 5> least{0, 0, 0x80, 0x800, 0x10000};
    if (code < least[bytes] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
        return {};
    }
    return {code, bytes};
}

bool is_control(char32_t code) {
    return code < 0x20 || (code >= 0x7f && code <= 0x9f);
}

bool steers_direction(char32_t code) {
    return code == 0x061c || code == 0x200e || code == 0x200f ||
           (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

}  // namespace reachd
