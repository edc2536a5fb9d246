#include "probes/path_mtu_ladder.hpp"

#include <algorithm>
#include <utility>

namespace reachd {

PathMtuLadder::PathMtuLadder(std::uint32_t low,
                             std::uint32_t high,
                             const std::vector<std::uint32_t>& guesses,
                             std::size_t rungs)
    : low_(low),
      failed_{std::max(high, low + 1)},
      guesses_(guesses),
      rungs_max_(std::max<std::size_t>(rungs, 1)) {
    begin_round();
}

/// The next sizes to try, between what passes and what does not; if nothing is between them, the
/// first that does not, once more.
void PathMtuLadder::begin_round() {
    rungs_.clear();
    confirming_ = high() - low_ <= 1;
    if (!confirming_) {
        return make_rungs();
    }
    if (failed_.size() > 1) {
        rungs_.push_back({high(), 0});
    } else {
        done_ = true;  // what is left never passes, says the caller
    }
}

/// Guesses first, and alone: where one passes and the next size does not, nearly all is known, for
/// few bytes. Later the sizes lie evenly in between.
void PathMtuLadder::make_rungs() {
    std::vector<std::uint32_t> sizes;
    const auto add = [&](std::uint32_t bytes) {
        if (bytes > low_ && bytes < high() && sizes.size() < rungs_max_ &&
            std::find(sizes.begin(), sizes.end(), bytes) == sizes.end()) {
            sizes.push_back(bytes);
        }
    };
    for (const std::uint32_t guess : std::exchange(guesses_, {})) {
        add(guess);
        add(guess + 1);
    }
    guessing_ = !sizes.empty();
    if (!guessing_) {
        const std::uint64_t steps = rungs_max_ + 1;
        for (std::uint64_t step = 1; step < steps; ++step) {
            add(low_ + static_cast<std::uint32_t>((high() - low_) * step / steps));
        }
        add(low_ + (high() - low_) / 2);  // one at least, however small the gap
        rungs_max_ = std::min(rungs_max_, later_rungs_max);
    }
    std::sort(sizes.begin(), sizes.end());
    for (const std::uint32_t bytes : sizes) {
        rungs_.push_back({bytes, 0});
    }
}

/// At first all, guesses in all their copies; then again the lowest of those that are missing,
/// since any answer from above would have cleared them: what more was lost by chance the
/// confirmation brings to light.
std::vector<std::uint32_t> PathMtuLadder::next_volley() {
    std::vector<std::uint32_t> volley;
    std::size_t repeated = 0;
    for (Rung& rung : rungs_) {
        const bool open = rung.bytes > low_ && (confirming_ || rung.bytes < high());
        if (done_ || !open || repeated == repeated_rungs) {
            continue;
        }
        const unsigned wanted = confirming_                    ? confirmations
                                : rung.copies > 0 || guessing_ ? copies - rung.copies
                                                               : 1;
        volley.insert(volley.end(), wanted, rung.bytes);
        repeated += rung.copies > 0 ? 1 : 0;
        rung.copies += wanted;
    }
    return volley;
}

/// What was silent below was lost by chance.
void PathMtuLadder::on_passed(std::uint32_t bytes) {
    if (bytes <= low_) {
        return;
    }
    low_ = bytes;
    const std::uint32_t ceiling = std::max(failed_.front(), low_ + 1);
    std::erase_if(failed_, [this](std::uint32_t failed) { return failed <= low_; });
    if (failed_.empty()) {
        failed_.push_back(ceiling);
    }
}

void PathMtuLadder::on_refused(std::uint32_t bytes) {
    fail(std::max(bytes, low_ + 1));
}

void PathMtuLadder::fail(std::uint32_t bytes) {
    if (bytes < high()) {
        failed_.push_back(bytes);
    }
}

void PathMtuLadder::on_volley_over() {
    if (done_) {
        return;
    }
    const auto missing = std::find_if(
        rungs_.begin(), rungs_.end(), [this](const Rung& rung) { return rung.bytes > low_; });
    if (confirming_) {
        done_ = missing != rungs_.end();
    } else if (missing != rungs_.end() && missing->bytes < high()) {
        if (missing->copies < copies) {
            return;
        }
        fail(missing->bytes);
    }
    if (!done_) {
        begin_round();
    }
}

}  // namespace reachd
