// The configuration as validated values: what the daemon runs on after config_json has read, checked
// and completed a file. Defaults are those of an empty configuration `{}`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/address.hpp"
#include "common/snapshot.hpp"
#include "common/time.hpp"

namespace reachd {

/// ICMP echo options of one peer, or the defaults for all.
struct IcmpOptions {
    bool enabled = true;
    Duration interval = std::chrono::seconds(1);  ///< 10 ms to 1 h
    Duration timeout = std::chrono::seconds(1);   ///< 10 ms to 60 s
    std::uint16_t payload_bytes = 56;             ///< 16 to 9000, after the 8-byte ICMP header
    std::uint8_t dscp = 0;                        ///< 0 to 63 (RFC 2474)

    friend bool operator==(const IcmpOptions&, const IcmpOptions&) = default;
};

enum class FamilyChoice : std::uint8_t { any, ipv4, ipv6 };

struct PeerConfig {
    std::string name;     ///< defaults to `address`
    std::string address;  ///< numeric (with an optional %zone) or a host name, as configured
    FamilyChoice family = FamilyChoice::any;
    std::optional<IpAddress> source;
    std::string device;  ///< interface name, or empty
    std::vector<Label> labels;
    IcmpOptions icmp;

    friend bool operator==(const PeerConfig&, const PeerConfig&) = default;
};

struct ListenAddress {
    std::string host;  ///< numeric address, or empty for every address of both families
    std::uint16_t port = 10862;

    friend bool operator==(const ListenAddress&, const ListenAddress&) = default;
};

struct WebConfig {
    std::vector<ListenAddress> listen{ListenAddress{}};
    bool open = false;

    friend bool operator==(const WebConfig&, const WebConfig&) = default;
};

struct HostConfig {
    std::string name;  ///< empty: the host name
    std::vector<Label> labels;

    friend bool operator==(const HostConfig&, const HostConfig&) = default;
};

struct LimitsConfig {
    std::uint32_t peers = 20000;              ///< 1 to 1,000,000
    std::uint32_t probes_per_second = 50000;  ///< 1 to 200,000, the cap in the code
    std::uint64_t series = 1000000;           ///< 1000 to 100,000,000
    std::uint32_t connections = 256;          ///< 1 to 10,000
};

struct Config {
    WebConfig web;
    HostConfig host;
    IcmpOptions icmp;  ///< defaults for peers and discovered gateways
    std::vector<PeerConfig> peers;
    bool discover_gateways = true;
    std::vector<double> rtt_edges{0.00005, 0.0001, 0.0002, 0.0005, 0.001,
                                  0.002,   0.005,  0.02,   0.1,    1};  ///< seconds, ascending
    LimitsConfig limits;
};

}  // namespace reachd
