// The options of probes by kind: the defaults in the section "probes", and what one peer changes of
// them. It does not know which peers there are.
#pragma once

#include "agent/config.hpp"
#include "agent/json_document.hpp"

namespace reachd {

// Each applies an object of changes to `options`; the whole is checked afterwards.

void read_icmp(JsonProblems& problems, const JsonValue& value, IcmpOptions& options);

/// After a complaint `options` has at least one port, so that nobody is told that there are none.
void read_tcp(JsonProblems& problems, const JsonValue& value, TcpOptions& options);

void read_arp(JsonProblems& problems, const JsonValue& value, ArpOptions& options);

void read_mtu(JsonProblems& problems, const JsonValue& value, MtuOptions& options);

// What a peer says of a kind: true, false or an object of changes. `options` are the defaults.

void read_icmp_changes(JsonProblems& problems, const JsonValue& value, IcmpOptions& options);

void read_mtu_changes(JsonProblems& problems, const JsonValue& value, MtuOptions& options);

/// False takes the ports away, and so does an empty list of them. All else that asks for probes
/// without a port, here or in the defaults, is an error.
void read_tcp_changes(JsonProblems& problems, const JsonValue& value, TcpOptions& options);

/// A tenth of a second's bytes may leave at once: no packet may be larger than that.
void check_mtu_budget(JsonProblems& problems,
                      const JsonValue& value,
                      const MtuOptions& options,
                      const LimitsConfig& limits);

}  // namespace reachd
