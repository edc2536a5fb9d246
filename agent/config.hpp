// The configuration as validated values: what the daemon runs on after config_json has read,
// checked and completed a file. Defaults are those of an empty configuration `{}`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/address.hpp"
#include "common/mac_address.hpp"
#include "common/snapshot.hpp"
#include "common/time.hpp"

namespace reachd {

inline constexpr std::size_t label_name_bytes_max = 128;
inline constexpr std::size_t label_value_bytes_max = 256;  ///< also names of peers and of the host
inline constexpr std::size_t labels_max = 32;              ///< of one peer, or of the host
inline constexpr std::size_t listen_addresses_max = 16;
inline constexpr std::size_t rtt_edges_max = 64;
inline constexpr std::size_t socket_path_bytes_max = 107;  ///< unix(7): sun_path without its NUL
inline constexpr std::size_t tcp_ports_max = 16;           ///< of one peer
inline constexpr std::size_t glob_bytes_max = 256;
inline constexpr std::size_t guest_globs_max = 64;       ///< in each list of them
inline constexpr std::size_t guest_names_max = 100'000;  ///< as many as limits.guests can be

/// Time-out over interval, rounded up, is at most this: what one session has to remember.
inline constexpr std::int64_t probes_in_flight_max = 256;

/// ICMP echo options of one peer, or the defaults for all.
struct IcmpOptions {
    bool enabled = true;
    Duration interval = std::chrono::seconds(1);  ///< 10 ms to 1 h
    Duration timeout = std::chrono::seconds(1);   ///< 10 ms to 60 s
    std::uint16_t payload_bytes = 56;             ///< 16 to 9000, after the 8-byte ICMP header
    std::uint8_t dscp = 0;                        ///< 0 to 63 (RFC 2474)

    friend bool operator==(const IcmpOptions&, const IcmpOptions&) = default;
};

/// TCP connect options: defaults for all, or of one peer.
struct TcpOptions {
    Duration interval = std::chrono::seconds(5);  ///< 10 ms to 1 h
    Duration timeout = std::chrono::seconds(1);   ///< 10 ms to 60 s
    /// Ascending, each once, 1 to 65535, at most tcp_ports_max; empty: not probed.
    std::vector<std::uint16_t> ports;

    friend bool operator==(const TcpOptions&, const TcpOptions&) = default;
};

/// ARP and IPv6 neighbour discovery of guests and gateways.
struct ArpOptions {
    bool enabled = true;
    Duration interval = std::chrono::seconds(1);        ///< 10 ms to 1 h
    Duration timeout = std::chrono::milliseconds(500);  ///< 10 ms to 60 s
    /// IPv4 unicast, no loopback; nothing: 0.0.0.0, an ARP probe (RFC 5227, section 1.1).
    std::optional<IpAddress> sender{};

    friend bool operator==(const ArpOptions&, const ArpOptions&) = default;
};

/// Path MTU probing of peers.
struct MtuOptions {
    bool enabled = true;
    Duration interval = std::chrono::seconds(60);       ///< 1 s to 24 h
    Duration timeout = std::chrono::milliseconds(500);  ///< 50 ms to 10 s
    /// Of the whole IP packet, 68 (IPv6: 1280) to 65535; 0: what the outgoing interface allows.
    std::uint32_t expected_bytes = 0;

    friend bool operator==(const MtuOptions&, const MtuOptions&) = default;
};

struct GuestDiscoveryConfig {
    bool enabled = true;
    bool containers = true;                 ///< also veths into other namespaces
    std::vector<std::string> bridges{"*"};  ///< globs over bridge names, at most guest_globs_max
    std::vector<std::string> exclude;       ///< over device, guest and VM names, likewise
    /// The last word on who has this MAC address; ordered by MAC, each once, at most
    /// guest_names_max. Several may share a name: a guest with several virtual NICs.
    std::vector<std::pair<MacAddress, std::string>> names;

    friend bool operator==(const GuestDiscoveryConfig&, const GuestDiscoveryConfig&) = default;
};

enum class FamilyChoice : std::uint8_t { any, ipv4, ipv6 };

struct PeerConfig {
    std::string name;  ///< defaults to `address`; no two peers share one
    /// Unicast: numeric (RFC 5952 text; with its %zone where link-local, and only there), or a host
    /// name of RFC 1123 form, as configured.
    std::string address;
    /// `any` only for host names without a source: an address has its family, and so has a source.
    FamilyChoice family = FamilyChoice::any;
    std::optional<IpAddress> source;  ///< unicast, without scope; link-local only with a device
    std::string device;               ///< interface name, or empty; never at odds with a zone
    std::vector<Label> labels;
    IcmpOptions icmp;
    TcpOptions tcp;
    MtuOptions mtu;

    friend bool operator==(const PeerConfig&, const PeerConfig&) = default;
};

struct ListenAddress {
    /// Numeric address (RFC 5952 text, a %zone where link-local), or empty for every address of
    /// both families.
    std::string host;
    std::uint16_t port = 10862;

    friend bool operator==(const ListenAddress&, const ListenAddress&) = default;
};

struct WebConfig {
    /// 1 to listen_addresses_max, no two alike.
    std::vector<ListenAddress> listen{ListenAddress{}};
    bool open = false;

    friend bool operator==(const WebConfig&, const WebConfig&) = default;
};

struct ControlConfig {
    /// Path of the control socket; empty: in the run-time directory.
    std::string socket;

    friend bool operator==(const ControlConfig&, const ControlConfig&) = default;
};

struct HostConfig {
    std::string name;  ///< empty: the host name
    std::vector<Label> labels;

    friend bool operator==(const HostConfig&, const HostConfig&) = default;
};

struct LimitsConfig {
    std::uint32_t peers = 20000;              ///< 1 to 1,000,000
    std::uint32_t guests = 2000;              ///< addresses of guests probed, 1 to 100,000
    std::uint32_t probes_per_second = 50000;  ///< 1 to 200,000, the cap in the code
    std::uint32_t mtu_bytes_per_second =
        1'000'000;                    ///< of path MTU probing; 100,000 to 1,000,000,000
    std::uint64_t series = 1000000;   ///< 1000 to 100,000,000
    std::uint32_t connections = 256;  ///< 1 to 10,000
};

struct Config {
    WebConfig web;
    ControlConfig control;
    HostConfig host;
    IcmpOptions icmp;  ///< defaults for peers, and for discovered gateways and guests
    TcpOptions tcp;    ///< likewise
    ArpOptions arp;
    MtuOptions mtu;
    std::vector<PeerConfig> peers;
    bool discover_gateways = true;
    GuestDiscoveryConfig guests;
    /// Upper bounds in seconds, 1 to rtt_edges_max of them, 1 ns to 1 h each, ascending by at least
    /// 1 ns.
    std::vector<double> rtt_edges{
        0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.02, 0.1, 1};
    LimitsConfig limits;
};

}  // namespace reachd
