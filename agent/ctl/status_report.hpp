// The answer to GET /api/v1/status, read into a struct. Decides nothing about how it looks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.hpp"
#include "common/time.hpp"

namespace reachd::ctl {

struct UnreachablePeer {
    std::string peer;
    std::string address;
    std::string kind;
    std::optional<WallTime> since;
    std::string reason;  ///< word of reachd_probe_failures_total; empty: not known
};

struct WorstPeer {
    std::string peer;
    double rtt_seconds = 0;
};

/// One that is down, or that has no address.
struct IllGuest {
    std::string guest;
    std::string state;
    std::uint64_t addresses = 0;  ///< that are known
};

struct GuestsOfBridge {
    std::string bridge;  ///< empty: in none
    std::uint64_t guests = 0;
};

struct LastChange {
    WallTime time{};
    std::string device;
    std::string text;
};

/// Devices of the host whose MTUs do not fit together.
struct MtuMisfit {
    std::string conflict{};  ///< word of common/path_mtu.hpp, or of a newer daemon
    std::string bridge{};    ///< empty: in none
    std::string larger{};
    std::uint64_t larger_bytes = 0;
    std::string smaller{};
    std::uint64_t smaller_bytes = 0;
    std::uint64_t devices = 0;  ///< that are too large
};

/// What is not known is empty or 0.
struct StatusReport {
    std::string host;
    std::optional<WallTime> time;
    bool healthy = false;

    std::uint64_t peers = 0;
    std::uint64_t peers_up = 0;
    std::uint64_t peers_suspect = 0;
    std::uint64_t peers_down = 0;
    std::uint64_t peers_unknown = 0;
    std::optional<double> rtt_median_seconds;
    std::optional<WorstPeer> worst;
    std::vector<UnreachablePeer> unreachable;

    std::uint64_t guests = 0;
    std::uint64_t guests_up = 0;
    std::uint64_t guests_suspect = 0;
    std::vector<GuestsOfBridge> bridges;
    std::vector<IllGuest> guests_ill;

    bool synced = false;
    std::uint64_t interfaces = 0;
    std::uint64_t overruns = 0;
    std::uint64_t resyncs = 0;
    std::optional<LastChange> last_change;

    std::uint64_t mtus_measured = 0;
    std::uint64_t mtus_as_expected = 0;
    std::uint64_t mtus_mismatched = 0;
    std::uint64_t mtus_undetermined = 0;
    std::vector<MtuMisfit> mtu_misfits;  ///< only those that lose traffic

    std::string version;
    std::optional<double> uptime_seconds;
    std::optional<double> cpu_ratio;
    std::optional<std::uint64_t> resident_memory_bytes;
    std::optional<double> probes_on_time_ratio;
    std::uint64_t skipped_probes = 0;
    double throttle_ratio = 1;
};

/// The error says in a few words why this is no such answer.
Result<StatusReport, std::string> parse_status(std::string_view body);

}  // namespace reachd::ctl
