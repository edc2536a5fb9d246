// A hint to the processor: this object is needed soon. With 10,000 peers a second each is touched
// once a second, long after it left the caches; asking for it a few probes ahead hides the wait.
#pragma once

#include <cstddef>

namespace reachd {

/// How many items ahead of the one being worked on.
inline constexpr std::size_t prefetch_distance = 6;

template <class T>
void prefetch(const T& object) {
    constexpr std::size_t cache_line_bytes = 64;
    const auto* bytes = reinterpret_cast<const char*>(&object);
    for (std::size_t at = 0; at < sizeof(T); at += cache_line_bytes) {
        __builtin_prefetch(bytes + at, 1);
    }
}

}  // namespace reachd
