// Bounds-checked big-endian access to packet bytes. A read outside the span yields nothing; it
// never touches memory that the span does not cover.
#pragma once

#include <cstddef>
#include <cstdint>
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

template <class Unsigned>
std::optional<Unsigned> read_big_endian(ByteView bytes, std::size_t at) {
    if (at > bytes.size() || bytes.size() - at < sizeof(Unsigned)) {
        return std::nullopt;
    }
    Unsigned value = 0;
    for (std::size_t i = 0; i < sizeof(Unsigned); ++i) {
        value = static_cast<Unsigned>((static_cast<std::uint64_t>(value) << 8U) | bytes[at + i]);
    }
    return value;
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
    for (std::size_t i = 0; i < sizeof(Unsigned); ++i) {
        const auto shift = 8U * (sizeof(Unsigned) - 1U - i);
        bytes[at + i] = static_cast<std::uint8_t>(static_cast<std::uint64_t>(value) >> shift);
    }
}

}  // namespace reachd
