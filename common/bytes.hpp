// Bounds-checked big-endian access to packet bytes. A read outside the span yields nothing; it
// never touches memory that the span does not cover.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "common/check.hpp"

namespace reachd {

using ByteView = std::span<const std::uint8_t>;
using ByteSpan = std::span<std::uint8_t>;

inline std::optional<std::uint8_t> read_u8(ByteView bytes, std::size_t at) {
    if (at >= bytes.size()) {
        return std::nullopt;
    }
    return bytes[at];
}

/// Between network and host byte order, either way.
template <class Unsigned>
constexpr Unsigned swap_network_order(Unsigned value) {
    if constexpr (std::endian::native == std::endian::big || sizeof(Unsigned) == 1) {
        return value;
    } else if constexpr (sizeof(Unsigned) == 2) {
        return __builtin_bswap16(value);
    } else if constexpr (sizeof(Unsigned) == 4) {
        return __builtin_bswap32(value);
    } else {
        return __builtin_bswap64(value);
    }
}

template <class Unsigned>
std::optional<Unsigned> read_big_endian(ByteView bytes, std::size_t at) {
    if (at > bytes.size() || bytes.size() - at < sizeof(Unsigned)) {
        return std::nullopt;
    }
    Unsigned value = 0;
    std::memcpy(&value, bytes.data() + at, sizeof(value));
    return swap_network_order(value);
}

inline std::optional<std::uint16_t> read_u16(ByteView bytes, std::size_t at) {
    return read_big_endian<std::uint16_t>(bytes, at);
}

inline std::optional<std::uint32_t> read_u32(ByteView bytes, std::size_t at) {
    return read_big_endian<std::uint32_t>(bytes, at);
}

inline std::optional<std::uint64_t> read_u64(ByteView bytes, std::size_t at) {
    return read_big_endian<std::uint64_t>(bytes, at);
}

/// The bytes from `at` on; empty when there are none.
inline ByteView tail(ByteView bytes, std::size_t at) {
    return at >= bytes.size() ? ByteView{} : bytes.subspan(at);
}

/// Writers are for buffers we sized ourselves: out of bounds is a bug.
template <class Unsigned>
void write_big_endian(ByteSpan bytes, std::size_t at, Unsigned value) {
    ENSURE(at <= bytes.size() && bytes.size() - at >= sizeof(Unsigned));
    const Unsigned swapped = swap_network_order(value);
    std::memcpy(bytes.data() + at, &swapped, sizeof(swapped));
}

}  // namespace reachd
