// The way a packet leaves this host.
#pragma once

#include "common/address.hpp"

namespace reachd {

struct Egress {
    IfIndex device = IfIndex::any;  ///< any: there is no route, or the source is not this host's
    IpAddress gateway;              ///< unspecified: the destination is on the link, or not known
};

}  // namespace reachd
