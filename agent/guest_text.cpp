#include "agent/guest_text.hpp"

#include <algorithm>
#include <cstdint>

#include "agent/netlink_message.hpp"
#include "common/bytes.hpp"
#include "common/utf8.hpp"

namespace reachd {
namespace {

/// device_text() escapes the backslash itself, so that each one begins a \xNN.
constexpr std::size_t escape_bytes = 4;
constexpr std::size_t character_bytes_max = 4;

ByteView bytes_of(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

/// Where the text is cut so that at most `bytes_max` are left and nothing is torn.
std::size_t place_to_cut(std::string_view text, std::size_t bytes_max) {
    std::size_t at = 0;
    while (at < text.size()) {
        const std::size_t step =
            text[at] == '\\' ? escape_bytes : decode_utf8(text.substr(at)).bytes;
        if (step == 0 || at + step > bytes_max) {
            break;
        }
        at += step;
    }
    return at;
}

bool is_hexadecimal(char digit) {
    return (digit >= '0' && digit <= '9') || (digit >= 'a' && digit <= 'f');
}

}  // namespace

std::string guest_name_text(std::string_view found) {
    // No byte becomes shorter: what stands behind these would be cut in any case.
    auto text = device_text(bytes_of(found.substr(0, guest_name_bytes_max + character_bytes_max)));
    if (text.size() > guest_name_bytes_max) {
        text.resize(place_to_cut(text, guest_name_bytes_max));
    }
    return text;
}

std::string guest_device_text(std::string_view found) {
    return found.size() > device_name_bytes_max ? std::string() : device_text(bytes_of(found));
}

std::string guest_uuid_text(std::string_view found) {
    constexpr std::string_view shape = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    if (found.size() != shape.size()) {
        return {};
    }
    std::string text(found);
    for (std::size_t at = 0; at < shape.size(); ++at) {
        if (text[at] >= 'A' && text[at] <= 'F') {
            text[at] = static_cast<char>(text[at] - 'A' + 'a');
        }
        if (shape[at] == '-' ? text[at] != '-' : !is_hexadecimal(text[at])) {
            return {};
        }
    }
    return text;
}

bool is_shown_text(std::string_view text, std::size_t bytes_max) {
    if (text.empty() || text.size() > bytes_max) {
        return false;
    }
    while (!text.empty()) {
        const auto character = decode_utf8(text);
        if (character.bytes == 0 || is_control(character.code) ||
            steers_direction(character.code)) {
            return false;
        }
        text.remove_prefix(character.bytes);
    }
    return true;
}

}  // namespace reachd
