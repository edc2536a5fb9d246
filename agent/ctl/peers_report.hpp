// The answer to GET /api/v1/peers, read into structs. Decides nothing about how it looks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/ctl/json_view.hpp"
#include "common/path_mtu.hpp"
#include "common/result.hpp"
#include "common/time.hpp"

namespace reachd::ctl {

/// One probe session, here and in the answer about guests.
struct ProbeState {
    std::string probe{};                  ///< icmp, tcp, arp
    std::optional<std::uint64_t> port{};  ///< of TCP
    std::string state{};
    bool answered = false;  ///< once at least
    std::optional<double> rtt_seconds{};
    std::string reason{};  ///< word of reachd_probe_failures_total
};

/// What is not known is empty or nothing.
struct Peer {
    std::string name;
    std::string address;
    std::string kind;
    std::string state;
    std::optional<WallTime> since;
    std::optional<double> rtt_seconds;
    std::optional<double> rtt_p99_seconds;
    std::optional<double> loss_ratio;
    std::string reason;  ///< word of reachd_probe_failures_total
    std::string vm;
    std::optional<PathMtu> mtu;  ///< verdict, direction, sizes; nothing: none is expected
    std::vector<ProbeState> probes;
};

struct PeersReport {
    std::optional<WallTime> time{};
    std::vector<Peer> peers{};
    std::uint64_t peers_omitted = 0;
};

/// The error says in a few words why this is no such answer.
Result<PeersReport, std::string> parse_peers(std::string_view body);

/// The array `probes` of a peer or of an address.
std::vector<ProbeState> read_probes(const JsonView& owner);

}  // namespace reachd::ctl
