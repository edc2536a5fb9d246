// One packet of path MTU probing to be sent now, complete: all that a socket needs to know.
#pragma once

#include <cstdint>

#include "probes/echo_request.hpp"
#include "probes/path_mtu_prober.hpp"

namespace reachd {

struct MtuRequest {
    MtuOrder order;
    EchoTarget target;  ///< its payload size means nothing here
    ProbeCookie cookie;
};

}  // namespace reachd
