// The way of a packet out of this host, as far as its size goes: the device that the routes choose,
// and what is below or behind that. Pure; asks the topology, sends nothing.
#pragma once

#include <cstdint>

#include "agent/topology.hpp"
#include "common/address.hpp"
#include "common/path_mtu.hpp"

namespace reachd {

struct MtuWay {
    IfIndex egress = IfIndex::any;  ///< that the routes or the operator chose
    IfIndex port = IfIndex::any;    ///< of the bridge, behind which the peer is; any: not known

    friend auto operator<=>(const MtuWay&, const MtuWay&) = default;
};

struct WayMtu {
    std::uint32_t expected = 0;     ///< bytes; 0: nothing to expect, as on loopback
    std::uint32_t smallest = 0;     ///< bytes; 0: not known
    IfIndex device = IfIndex::any;  ///< which has the smallest, that of the egress if all are equal

    friend bool operator==(const WayMtu&, const WayMtu&) = default;
};

/// Nothing is expected where the egress device is not known.
WayMtu mtu_of(const MtuWay& way, const Topology& topology);

}  // namespace reachd
