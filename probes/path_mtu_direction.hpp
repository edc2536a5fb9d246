// Which way large packets do not pass, from the echo that failed (A) and two tests that need no
// help of the peer:
//   B: an echo request in small fragments of our own, which asks for one large answer;
//   C: a large UDP datagram to a closed port, which asks for one small ICMP message.
// Each has a control, the same in small. A test that fails says something only where its control is
// answered: else fragments, or UDP, or the message are filtered, and nothing is known.
#pragma once

#include <array>
#include <cstdint>

#include "common/path_mtu.hpp"

namespace reachd {

class PathMtuDirection {
  public:
    enum class Test : std::uint8_t { large_answer, large_datagram };
    static constexpr std::size_t test_count = 2;

    void on_answer(Test test, bool control) { answered_[at(test)][control ? 1 : 0] = true; }

    /// Not all of it was asked: silence says nothing.
    void spoil(Test test) { spoilt_[at(test)] = true; }

    bool answered(Test test, bool control) const { return answered_[at(test)][control ? 1 : 0]; }

    /// By a large datagram. Call these only after all copies are out of time.
    Passage forward() const { return passage(Test::large_datagram); }

    Passage reverse() const { return passage(Test::large_answer); }

    /// Given that the large echo failed, so that one way at least does not pass. `unknown` also
    /// when both pass by themselves: then it is no matter of size alone.
    MtuDirection direction() const;

  private:
    static std::size_t at(Test test) { return static_cast<std::size_t>(test); }

    Passage passage(Test test) const {
        return answered(test, false)  ? Passage::passes
               : spoilt_[at(test)]    ? Passage::unknown
               : answered(test, true) ? Passage::fails
                                      : Passage::unknown;
    }

    std::array<std::array<bool, 2>, test_count> answered_{};
    std::array<bool, test_count> spoilt_{};
};

}  // namespace reachd
