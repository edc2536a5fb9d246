// How guests are found and called: the key "guests" of the section "discovery". It does not know
// which bridges and guests there are: a pattern that matches nothing is no error.
#pragma once

#include "agent/config.hpp"
#include "agent/json_document.hpp"

namespace reachd {

/// True, false, or an object of changes to `guests`. Takes O(n log n) for n names.
void read_guest_discovery(JsonProblems& problems,
                          const JsonValue& value,
                          GuestDiscoveryConfig& guests);

}  // namespace reachd
