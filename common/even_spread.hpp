// Where the n-th of unknown many things begins in an interval, so that all of them lie evenly in
// it, however many come.
#pragma once

#include <cmath>
#include <cstdint>

namespace reachd {

/// In [0, 1): multiples of the golden ratio, of which no two and no few lie close together.
inline double even_spread(std::uint64_t number) {
    constexpr double golden = 0.61803398874989484820;
    return std::fmod(static_cast<double>(number) * golden, 1.0);
}

}  // namespace reachd
