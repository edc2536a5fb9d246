// What one search for a path MTU has to tell, and the fault it amounts to. Names no colour and no
// format: mtu_text and mtu_json do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/ctl/mtu_search.hpp"
#include "agent/ctl/mtu_trace.hpp"
#include "common/path_mtu.hpp"
#include "common/time.hpp"

namespace reachd::ctl {

struct MtuReport {
    std::string target;            ///< what the daemon calls it, or as it was asked for
    std::string address;           ///< with its zone
    std::string source;            ///< address; empty: the kernel's choice is not known
    std::string device;            ///< that the packets leave by
    std::uint32_t device_mtu = 0;  ///< bytes
    std::string smaller_device;    ///< of this host, where the verdict is local
    Family family = Family::ipv4;
    WallTime time{};
    bool by_raw_sockets = true;  ///< else ping sockets
    bool settled = true;         ///< false: the time was too short
    PathMtu result;
    std::vector<MtuTrial> trials;
    std::optional<MtuComplaint> complaint;
};

/// With its zone, if it is of one link: that is the one the packets leave by.
std::string named(const IpAddress& reporter, const MtuReport& report);

/// As in the daemon's list of faults.
struct MtuFault {
    std::string_view code;
    std::string_view name;
    bool is_critical = false;
};

/// Nothing: all is as expected, or nothing can be said.
std::optional<MtuFault> fault_of(const PathMtu& mtu);

}  // namespace reachd::ctl
