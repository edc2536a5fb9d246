// The answer to GET /api/v1/topology, read into structs. Decides nothing about how it looks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.hpp"

namespace reachd::ctl {

struct PortGuestAddress {
    std::string address;
    std::string state;  ///< empty: not probed
    std::optional<double> rtt_seconds;
};

/// What is behind a port.
struct PortGuest {
    std::string name;  ///< empty: not decided yet
    std::string state;
    std::vector<PortGuestAddress> addresses;
};

/// What is not known is empty or nothing.
struct Device {
    std::uint64_t index = 0;
    std::string name;
    std::string kind;       ///< label of reachd_interface_info
    std::string link_kind;  ///< finer: loopback, macvlan, dummy, …; as `kind` where it is not told
    std::string driver;
    std::optional<std::uint64_t> speed_bits_per_second;
    std::string mac;
    std::optional<std::uint64_t> mtu_bytes;
    bool admin_up = false;
    bool up = false;
    bool carrier = false;
    std::string oper_state;

    std::string master;      ///< name of its bridge, bond, team, VRF
    std::string port_state;  ///< as a port of a bridge
    bool port_isolated = false;
    std::string
        lower;  ///< name of the device below or the other end, where it is in this namespace
    std::optional<std::uint64_t> lower_index;
    std::optional<std::uint64_t> lower_namespace;  ///< nothing: this one

    std::optional<std::uint64_t> vlan_id;
    std::optional<std::uint64_t> vni;
    std::string bond_mode;
    std::vector<std::string> addresses;
    std::uint64_t virtual_functions = 0;
    std::optional<PortGuest> guest;
};

struct Gateway {
    std::string address;
    std::string device;
};

struct TopologyReport {
    std::string host{};
    bool synced = false;
    std::vector<Device> devices{};
    std::uint64_t devices_omitted = 0;
    std::vector<Gateway> gateways{};
};

/// The error says in a few words why this is no such answer.
Result<TopologyReport, std::string> parse_topology(std::string_view body);

}  // namespace reachd::ctl
