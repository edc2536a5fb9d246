// What became of each size that one search for a path MTU has asked for: the evidence behind its
// verdict. Decides nothing; the tests of directions are not sizes of a round trip and stay out.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "common/address.hpp"
#include "probes/path_mtu_prober.hpp"

namespace reachd::ctl {

/// Echo requests of one size.
struct MtuTrial {
    std::uint32_t bytes = 0;  ///< of the whole IP packet
    unsigned sent = 0;
    unsigned answered = 0;
    std::uint32_t fragment = 0;  ///< largest that an answer came in, bytes; 0: all came whole
    bool too_big = false;        ///< an ICMP message says so
    IpAddress reporter{};        ///< whose
    std::uint32_t reported = 0;  ///< the MTU it gives; 0: none

    friend bool operator==(const MtuTrial&, const MtuTrial&) = default;
};

/// The largest size that was answered; 0: none.
std::uint32_t largest_answered(const std::vector<MtuTrial>& trials);

class MtuTrace {
  public:
    /// Sizes kept; a search has not half as many. Further ones are left out.
    static constexpr std::size_t trials_max = 256;

    void on_sent(const MtuOrder& order);
    /// `fragment`: the largest one that it came in, as an IP packet; 0: it came whole.
    void on_answered(ProbeToken token, std::uint32_t fragment);
    /// `mtu`: bytes; 0: it gives none.
    void on_too_big(ProbeToken token, const IpAddress& reporter, std::uint32_t mtu);

    /// In the order in which they were tried first.
    const std::vector<MtuTrial>& trials() const { return trials_; }

  private:
    MtuTrial* trial_of(ProbeToken token);

    std::vector<MtuTrial> trials_;
    /// Place in trials_ of what is out, by sequence number modulo PathMtuProber::flights_max: the
    /// prober has no two such packets out at once.
    std::map<std::uint32_t, std::size_t> out_;
};

}  // namespace reachd::ctl
