// Asks the kernel's routing which device a packet would leave by: RTM_GETROUTE, which knows policy
// rules, VRFs and routes of all tables, where the model of the topology holds the main one alone.
// The kernel answers within the request and without its lock on all devices (both since
// Linux 4.16), so nothing waits here.
#pragma once

#include <optional>

#include "common/address.hpp"
#include "probes/egress.hpp"

namespace reachd {

class EgressFinder {
  public:
    /// Without a socket, when there is none to be had, no way is ever found.
    EgressFinder();
    ~EgressFinder();
    EgressFinder(const EgressFinder&) = delete;
    EgressFinder& operator=(const EgressFinder&) = delete;

    /// Nothing: the kernel gave no answer; ask again later.
    /// `device` any: the routes decide, or the zone of a link-local destination.
    std::optional<Egress> find(const IpAddress& destination,
                               const IpAddress& source,
                               IfIndex device = IfIndex::any);

  private:
    int fd_ = -1;
    std::uint32_t sequence_ = 0;
};

}  // namespace reachd
