// An Ethernet address (EUI-48) as a value. Other link-layer addresses (InfiniBand's 20 bytes,
// tunnels' IP addresses) are no MAC addresses and have no place here.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/bytes.hpp"

namespace reachd {

class MacAddress {
  public:
    static constexpr std::size_t size = 6;
    static constexpr std::size_t text_size = 3 * size - 1;

    MacAddress() = default;

    explicit MacAddress(const std::array<std::uint8_t, size>& bytes) : bytes_(bytes) {}

    /// From exactly 6 bytes.
    static std::optional<MacAddress> from_bytes(ByteView bytes);

    /// "52:54:00:12:34:56", either case.
    static std::optional<MacAddress> parse(std::string_view text);

    const std::array<std::uint8_t, size>& bytes() const { return bytes_; }

    /// Group bit (IEEE 802, first octet's lowest bit): multicast and broadcast.
    bool is_group() const { return (bytes_[0] & 1U) != 0; }

    bool is_zero() const { return bytes_ == std::array<std::uint8_t, size>{}; }

    /// One that a single device can have.
    bool is_station() const { return !is_group() && !is_zero(); }

    /// Lower-case, with colons.
    std::string to_string() const;

    /// The same as exactly text_size characters, for writers of many.
    std::array<char, text_size> text() const;

    /// The 48 bits as a number, first octet highest: for hashing and ordering.
    std::uint64_t to_number() const;

    friend bool operator==(const MacAddress&, const MacAddress&) = default;
    friend auto operator<=>(const MacAddress&, const MacAddress&) = default;

  private:
    std::array<std::uint8_t, size> bytes_{};
};

}  // namespace reachd
