// What this host itself knows of the way to an address: the address behind a name, the device that
// packets leave by, its MTU, and the address that they are sent from. Sends nothing but questions
// to the resolver and to the kernel's routing; both may be waited for.
#pragma once

#include <cstdint>
#include <string>

#include "agent/ctl/command_line.hpp"
#include "common/result.hpp"
#include "probes/echo_request.hpp"

namespace reachd::ctl {

struct MtuPath {
    EchoTarget target;
    std::string address;  ///< with its zone
    std::string source;   ///< empty: not known
    IfIndex device = IfIndex::any;
    std::string device_name;
    std::uint32_t device_mtu = 0;  ///< bytes
};

struct NoMtuPath {
    std::string text;  ///< one line for people: what, where, how to mend it
    int exit_code = 0;
};

/// To this name or address, with the source and the device that the invocation names.
Result<MtuPath, NoMtuPath> find_mtu_path(const Invocation& invocation, const std::string& host);

}  // namespace reachd::ctl
