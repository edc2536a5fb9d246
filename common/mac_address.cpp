#include "common/mac_address.hpp"

#include <algorithm>

namespace reachd {
namespace {

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

std::array<char, MacAddress::text_size> MacAddress::text() const {
    constexpr std::string_view digits = "0123456789abcdef";
    std::array<char, text_size> text{};
    for (std::size_t i = 0; i < size; ++i) {
        text[3 * i] = digits[bytes_[i] >> 4U];
        text[3 * i + 1] = digits[bytes_[i] & 0xfU];
        if (i + 1 < size) {
            text[3 * i + 2] = ':';
        }
    }
    return text;
}

std::string MacAddress::to_string() const {
    const auto characters = text();
    return {characters.begin(), characters.end()};
}

std::uint64_t MacAddress::to_number() const {
    std::uint64_t number = 0;
    for (const auto byte : bytes_) {
        number = number << 8U | byte;
    }
    return number;
}

}  // namespace reachd
