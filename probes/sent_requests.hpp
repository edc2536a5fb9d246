// Which request a transmit stamp belongs to. ARP and neighbour discovery carry nothing of ours that
// tells two questions to one neighbour apart, so order and time do: stamps come in the order of the
// requests, and soon. A request whose stamp never comes (its frame was dropped in a queue) spoils
// those of no later one, unless these follow each other within queue_time_max; then they go
// without. Sends nothing and reads no clock.
#pragma once

#include <array>
#include <cstddef>
#include <optional>

#include "common/address.hpp"
#include "common/time.hpp"
#include "probes/probe_cookie.hpp"

namespace reachd {

/// The requests of one port whose stamp has not come, oldest first.
class SentRequests {
  public:
    /// A stamp is there when the send returns, or once the frame has left a queue. While there are
    /// as many, a further one is not remembered: its sample is then one by user time.
    static constexpr std::size_t requests_max = 16;
    /// A stamp that comes later than this is not believed. Bursts ask at longer intervals.
    static constexpr Duration queue_time_max = std::chrono::milliseconds(100);

    /// `before` was read before the request was handed to the kernel.
    void add(const IpAddress& target, ProbeToken token, WallTime before);

    /// Whose stamp it is: the oldest request to `target` that was sent before it, but not long
    /// before. Nothing also when the wall clock was set back in between.
    std::optional<ProbeToken> take(const IpAddress& target, WallTime stamp);

    bool empty() const { return count_ == 0; }

    std::size_t size() const { return count_; }

  private:
    struct Entry {
        IpAddress target;  ///< without scope: stamps name none
        ProbeToken token;
        WallTime before;
    };

    template <class Condition>
    void forget_if(Condition condition);

    std::array<Entry, requests_max> entries_;
    std::size_t count_ = 0;
};

}  // namespace reachd
