// A small seedable generator, passed by reference: the same seed gives the same run, in the daemon
// as in the simulated network. It spreads phases and makes ids; it is no source of secrets.
#pragma once

#include <cstdint>

namespace reachd {

/// SplitMix64 (Steele, Lea, Flood 2014). Every seed is good, zero included.
class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    std::uint64_t next() {
        state_ += 0x9e3779b97f4a7c15U;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
        return z ^ (z >> 31U);
    }

    /// Uniform in [0, bound) but for a bias below 2^-32; bound must be at least 1.
    std::uint32_t below(std::uint32_t bound) {
        return static_cast<std::uint32_t>(((next() >> 32U) * bound) >> 32U);
    }

  private:
    std::uint64_t state_;
};

}  // namespace reachd
