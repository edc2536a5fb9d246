// Random choices of a swarm, in the few words that its drawing functions need.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "common/random.hpp"
#include "common/time.hpp"
#include "tests/sim/network.hpp"

namespace reachd::sim {

class Draws {
  protected:
    explicit Draws(std::uint64_t seed) : random_(seed) {}

    template <class Value, std::size_t count>
    Value pick(const std::array<Value, count>& values) {
        return values[random_.below(count)];
    }

    std::uint32_t below(std::uint32_t bound) { return random_.below(bound); }

    bool one_in(std::uint32_t n) { return random_.below(n) == 0; }

    /// Between the two, both included.
    Duration between(Duration least, Duration most) {
        return least + random_duration(most - least, random_);
    }

  private:
    Random random_;
};

}  // namespace reachd::sim
