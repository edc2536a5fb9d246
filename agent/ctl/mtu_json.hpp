// What `reachctl mtu --json` prints: one object, its "mtu" with the names that a peer has in
// /api/v1/peers. Times are RFC 3339, UTC; units are in the names; null means not known, or none.
#pragma once

#include <string>

#include "agent/ctl/mtu_report.hpp"

namespace reachd::ctl {

/// With a line feed at its end.
std::string mtu_json(const MtuReport& report);

}  // namespace reachd::ctl
