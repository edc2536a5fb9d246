// The answer to GET /api/v1/guests, read into structs. Decides nothing about how it looks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/ctl/peers_report.hpp"
#include "common/result.hpp"
#include "common/time.hpp"

namespace reachd::ctl {

/// What is not known is empty or nothing.
struct GuestAddress {
    std::string address;
    std::string state;  ///< empty: not probed
    std::optional<WallTime> since;
    std::string reason;      ///< word of reachd_probe_failures_total
    std::string not_probed;  ///< why, in words
    std::vector<ProbeState> probes;
};

struct Guest {
    std::string name;
    std::string vm;
    std::string uuid;
    std::string device;
    std::string bridge;
    std::string state;
    std::optional<WallTime> since;
    std::vector<std::string> macs;
    std::vector<GuestAddress> addresses;
};

struct GuestsReport {
    std::optional<WallTime> time{};
    std::vector<Guest> guests{};
    std::uint64_t guests_omitted = 0;
};

/// The error says in a few words why this is no such answer.
Result<GuestsReport, std::string> parse_guests(std::string_view body);

/// Its name, or what there is instead of one while that is not decided: a MAC address, the port.
const std::string& shown_name(const Guest& guest);

}  // namespace reachd::ctl
