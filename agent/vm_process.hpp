// What the command line of a QEMU process says about the virtual machine in it: its name, its UUID
// and its network cards. Text in, values out; agent/io/process_table finds the processes.
//
// The command line belongs to the process: it may say anything. Whether it is believed depends on
// who owns the process, and is agent/guest_identity's business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/mac_address.hpp"

namespace reachd {

/// Of one command line; what stands behind is not looked at.
inline constexpr std::size_t command_line_bytes_max = 128U << 10U;
/// Network cards (and back ends without one) of one machine; further ones are left out.
inline constexpr std::size_t vm_nics_max = 64;

/// A network card of a virtual machine, as far as the command line tells of it.
struct VmNic {
    std::optional<MacAddress> mac{};  ///< never zero, never of a group
    std::string tap{};  ///< name of its device here, safe text as in Link::name; empty: not told

    friend bool operator==(const VmNic&, const VmNic&) = default;
};

struct VmProcess {
    std::int32_t pid = 0;
    /// Real and effective user; nothing: they differ, so that the one who started it may have
    /// written a command line in the name of the other.
    std::optional<std::uint32_t> owner_uid{};
    std::string comm;  ///< /proc/PID/comm, safe text
    std::string name;  ///< safe and bounded, see guest_name_text(); empty: none given
    std::string uuid;  ///< lower case; empty: none given
    std::vector<VmNic> nics;

    friend bool operator==(const VmProcess&, const VmProcess&) = default;
};

/// Whether a process of this name can be a virtual machine: "qemu-system-x86", "qemu-kvm", "kvm".
bool may_be_vm(std::string_view comm);

/// From the arguments, each ended by a NUL, as in /proc/PID/cmdline. pid, owner and comm are left
/// to the caller. Understands -name, -uuid, -smbios (its UUID), -device, -netdev, -nic and -net, in
/// QEMU's own syntax and as JSON.
VmProcess read_command_line(std::string_view command_line);

}  // namespace reachd
