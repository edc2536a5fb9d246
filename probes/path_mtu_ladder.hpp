// The search for the largest packet that passes: many sizes at once (a volley of rungs), again for
// those that are missing, then closer between the largest that passed and the smallest that did
// not. Any answer clears all smaller sizes, so that loss costs time, not the result; and the end is
// confirmed by further copies of the next larger size. RFC 8899, section 5.3, leaves the algorithm
// to us.
//
// Pure: owns no time. A volley is sent by the caller, who tells what was answered, and when all of
// it is out of time. Ends for every parameter: each round of volleys narrows the gap, and a gap is
// only widened again by an answer above all earlier ones.
#pragma once

#include <cstdint>
#include <vector>

namespace reachd {

class PathMtuLadder {
  public:
    static constexpr std::size_t rungs_default = 16;
    /// In later rounds, when all sizes are large ones: half the bytes for hardly more rounds.
    static constexpr std::size_t later_rungs_max = 8;
    /// Of a rung, before it counts as not passing.
    static constexpr unsigned copies = 3;
    /// Of the sizes that are missing, with each further copy.
    static constexpr std::size_t repeated_rungs = 1;
    /// More of the size above the result: with 10 % loss each way, 8 silent copies of a size that
    /// passes are one in 600,000.
    static constexpr unsigned confirmations = 5;

    /// `low` is known to pass, `high` never to; `low` + 1 or less: there is nothing to search.
    /// `guesses`: sizes that may well be the result, best first.
    PathMtuLadder(std::uint32_t low,
                  std::uint32_t high,
                  const std::vector<std::uint32_t>& guesses = {},
                  std::size_t rungs = rungs_default);

    bool is_done() const { return done_; }

    /// The largest size that passed.
    std::uint32_t result() const { return low_; }

    /// Sizes to send now, ascending, with repetitions; empty when done. Called once a volley.
    std::vector<std::uint32_t> next_volley();

    /// This size passed. Also of an earlier volley, or of no volley at all.
    void on_passed(std::uint32_t bytes);

    /// Somebody says that this size cannot pass. Believed only as far as no answer says otherwise.
    void on_refused(std::uint32_t bytes);

    /// Everything of the last volley is out of time.
    void on_volley_over();

  private:
    struct Rung {
        std::uint32_t bytes = 0;
        unsigned copies = 0;  ///< sent
    };

    void make_rungs();
    void begin_round();

    /// The smallest that failed by now.
    std::uint32_t high() const { return failed_.back(); }

    void fail(std::uint32_t bytes);

    std::uint32_t low_;
    std::vector<std::uint32_t> failed_;  ///< all above low_, descending
    std::vector<std::uint32_t> guesses_;
    std::size_t rungs_max_;
    std::vector<Rung> rungs_;  ///< ascending
    bool guessing_ = false;
    bool confirming_ = false;
    bool done_ = false;
};

}  // namespace reachd
