#include "common/mac_address.hpp"

#include <algorithm>

namespace reachd {
namespace {

constexpr std::size_t text_size = MacAddress::size * 3 - 1;

std::optional<std::uint8_t> digit(char character) {
    if (character >= '0' && character <= '9') {
        return static_cast<std::uint8_t>(character - '0');
    }
    const char lower = static_cast<char>(character | 0x20);
    if (lower >= 'a' && lower <= 'f') {
        return static_cast<std::uint8_t>(lower - 'a' + 10);
    }
    return std::nullopt;
}

}  // namespace

std::optional<MacAddress> MacAddress::from_bytes(ByteView bytes) {
    if (bytes.size() != size) {
        return std::nullopt;
    }
    MacAddress address;
    std::copy(bytes.begin(), bytes.end(), address.bytes_.begin());
    return address;
}

std::optional<MacAddress> MacAddress::parse(std::string_view text) {
    if (text.size() != text_size) {
        return std::nullopt;
    }
    MacAddress address;
    for (std::size_t i = 0; i < size; ++i) {
        const auto high = digit(text[3 * i]);
        const auto low = digit(text[3 * i + 1]);
        const bool separated = i + 1 == size || text[3 * i + 2] == ':';
        if (!high || !low || !separated) {
            return std::nullopt;
        }
        address.bytes_[i] = static_cast<std::uint8_t>(*high << 4U | *low);
    }
    return address;
}

std::string MacAddress::to_string() const {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    text.reserve(text_size);
    for (const auto byte : bytes_) {
        if (!text.empty()) {
            text += ':';
        }
        text += digits[byte >> 4U];
        text += digits[byte & 0xfU];
    }
    return text;
}

std::uint64_t MacAddress::to_number() const {
    std::uint64_t number = 0;
    for (const auto byte : bytes_) {
        number = number << 8U | byte;
    }
    return number;
}

}  // namespace reachd
