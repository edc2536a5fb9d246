// How two clocks are read as one moment, with clocks that stand still, jump or are interrupted.
#include "common/clock_sandwich.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

using namespace reachd;
using namespace std::chrono_literals;

namespace {

/// A pair of clocks whose wall reading lasts as long as the script says, the last entry for ever.
class ScriptedClocks {
  public:
    explicit ScriptedClocks(std::vector<Duration> pauses) : pauses_(std::move(pauses)) {}

    Instant read() {
        return read_both_clocks([this] { return MonoTime(elapsed_); },
                                [this] {
                                    const auto last = pauses_.size() - 1;
                                    const Duration pause = pauses_[std::min(wall_reads_, last)];
                                    ++wall_reads_;
                                    elapsed_ += pause / 2;
                                    const auto wall = WallTime(wall_offset + elapsed_);
                                    elapsed_ += pause - pause / 2;
                                    return wall;
                                });
    }

    std::size_t wall_reads() const { return wall_reads_; }

    static constexpr Duration wall_offset = 1000h;

  private:
    std::vector<Duration> pauses_;
    std::size_t wall_reads_ = 0;
    Duration elapsed_ = 5s;
};

Duration error_of(const Instant& instant) {
    const Duration wall = instant.wall.time_since_epoch() - ScriptedClocks::wall_offset;
    const Duration difference = wall - instant.mono.time_since_epoch();
    return difference < Duration::zero() ? -difference : difference;
}

}  // namespace

TEST_CASE("an undisturbed reading is taken at once, in the middle") {
    ScriptedClocks clocks({100ns});
    const Instant instant = clocks.read();
    CHECK(clocks.wall_reads() == 1);
    CHECK(instant.mono == MonoTime(5s + 50ns));
    CHECK(error_of(instant) == 0ns);
}

TEST_CASE("a width of exactly the limit is good enough, one nanosecond more is not") {
    ScriptedClocks at_limit({sandwich_width_max});
    static_cast<void>(at_limit.read());
    CHECK(at_limit.wall_reads() == 1);

    ScriptedClocks beyond({sandwich_width_max + 1ns, 0ns});
    static_cast<void>(beyond.read());
    CHECK(beyond.wall_reads() == 2);
}

TEST_CASE("an interrupted reading is repeated until it is narrow") {
    ScriptedClocks clocks({5ms, 3ms, 1us});
    const Instant instant = clocks.read();
    CHECK(clocks.wall_reads() == 3);
    CHECK(instant.mono == MonoTime(5s + 8ms + 500ns));
    CHECK(error_of(instant) == 0ns);
}

TEST_CASE("after three repetitions the narrowest counts, wherever it was") {
    ScriptedClocks clocks({5ms, 40us, 3ms, 4ms});
    const Instant instant = clocks.read();
    CHECK(clocks.wall_reads() == 1 + sandwich_rereads_max);
    CHECK(instant.mono == MonoTime(5s + 5ms + 20us));
    CHECK(error_of(instant) == 0ns);
}
