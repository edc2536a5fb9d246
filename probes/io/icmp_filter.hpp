// The kernel-side filter of our raw ICMP sockets, as classic BPF: echo replies with one of our
// identifiers, and ICMP errors about such requests. The rest of the host's ICMP never wakes us.
#pragma once

#include <vector>

#include <linux/filter.h>

#include "common/address.hpp"
#include "probes/echo_request.hpp"

namespace reachd {

/// For a raw IPv4 socket (data begins with the IP header) or a raw ICMPv6 socket (data begins with
/// the ICMPv6 header; of the extension headers before a quoted request only that of a first
/// fragment is known).
std::vector<sock_filter> icmp_filter(Family family, EchoIdentifiers identifiers);

}  // namespace reachd
