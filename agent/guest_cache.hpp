// The run-time file's text: addresses learnt from guests, so that a restarted daemon knows at once
// what it would otherwise have to wait for. A codec and nothing else: agent/io/runtime_file reads
// and writes the file, and whoever takes the records still checks that port and guest are the same.
//
// The text comes from a directory that others may have written to: it is input like any other.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/address.hpp"
#include "common/mac_address.hpp"
#include "common/time.hpp"

namespace reachd {

/// Records of one file; what was seen last is kept.
inline constexpr std::size_t guest_cache_records_max = 32768;
/// Bytes of one file: 256 a record, more than any can need.
inline constexpr std::size_t guest_cache_bytes_max = 256 * guest_cache_records_max;
/// A record not seen for longer is not worth a probe.
inline constexpr Duration guest_cache_age_max = std::chrono::hours(1);
/// How far ahead of our clock a record may be, for a clock that was set back a little.
inline constexpr Duration guest_cache_ahead_max = std::chrono::minutes(1);

/// One address of one guest behind one port.
struct GuestAddressRecord {
    std::string device;                    ///< the port's name, safe text as in Link::name
    std::optional<MacAddress> port_mac{};  ///< of the port itself: tells a re-used name
    MacAddress mac{};                      ///< of the guest: never zero, never of a group
    IpAddress address{};                   ///< unicast; a link-local one has no scope here
    WallTime first_seen{};                 ///< milliseconds in the file; not after last_seen
    WallTime last_seen{};

    friend bool operator==(const GuestAddressRecord&, const GuestAddressRecord&) = default;
};

/// The text of a file with these records, without scopes (an index means nothing to the next run).
/// Those older than guest_cache_age_max, and the oldest beyond guest_cache_records_max, are left
/// out.
std::string encode_guest_cache(std::vector<GuestAddressRecord> records, WallTime now);

struct GuestCacheReading {
    std::vector<GuestAddressRecord> records;  ///< seen last comes first, each address once a port
    std::size_t expired = 0;                  ///< older than guest_cache_age_max
    std::size_t invalid = 0;                  ///< malformed, impossible, or beyond the limit
    std::string problem;  ///< why nothing could be used, one line; empty: all is well
};

/// Never fails: what cannot be used is counted. A version that this one does not know is a problem,
/// and no reason to guess.
GuestCacheReading decode_guest_cache(std::string_view text, WallTime now);

}  // namespace reachd
