// The 16 bytes at the head of each probe's payload that make its answer recognisable: a keyed tag
// over which probe it is. 16-bit ids and sequence numbers collide (other programs, wrap-around, an
// earlier run); a tag under a key of this run does not, and nobody off the path can make one up.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "common/bytes.hpp"

namespace reachd {

/// One probe: its session's place in the engine and its number within the session.
struct ProbeToken {
    std::uint32_t session = 0;
    std::uint32_t sequence = 0;

    friend bool operator==(const ProbeToken&, const ProbeToken&) = default;
};

/// What an answer says it answers. Not to be believed before CookieKey::tag has been compared.
struct ProbeCookie {
    static constexpr std::size_t bytes = 16;

    std::uint64_t tag = 0;
    ProbeToken token;

    void write(ByteSpan out) const;
    static std::optional<ProbeCookie> read(ByteView bytes_in);
};

/// SipHash-2-4 (Aumasson, Bernstein 2012) under a random key of this run.
class CookieKey {
  public:
    explicit CookieKey(const std::array<std::uint64_t, 2>& key) : key_(key) {}

    /// `generation` distinguishes sessions that had the same place one after the other.
    std::uint64_t tag(ProbeToken token, std::uint32_t generation) const;

    /// SipHash-2-4 of `bytes_in`, exposed for the published test vectors.
    std::uint64_t siphash(ByteView bytes_in) const;

  private:
    std::array<std::uint64_t, 2> key_;
};

}  // namespace reachd
