// The host's virtual machines as /proc and libvirt's run-time files show them. Finds and reads;
// what the texts mean is agent/vm_process's and agent/libvirt_domain's business, whether they are
// believed agent/guest_identity's.
//
// Machines in another network namespace name no taps here: those would be other devices than ours.
//
// Needs no privilege for /proc (unless it is mounted with hidepid, or the service has
// ProtectProc=). libvirt's files are root's own.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "agent/guest_identity.hpp"
#include "common/time.hpp"

namespace reachd {

/// Entries of /proc looked at. Finding one that is no machine costs some microseconds.
inline constexpr std::size_t processes_max = 131072;
/// Command lines read in one go, all together.
inline constexpr std::size_t command_lines_bytes_max = 64U << 20U;
/// Machines of users who are neither root nor the management, and the bytes of their command lines:
/// few, so that nobody can take the place of the others.
inline constexpr std::size_t users_machines_max = 512;
inline constexpr std::size_t users_command_lines_bytes_max = 8U << 20U;
/// libvirt's files read in one go, all together.
inline constexpr std::size_t libvirt_files_bytes_max = 64U << 20U;
/// A host that is too busy to be read within this, for each kind of source, is read in part.
inline constexpr Duration name_scan_time_max = std::chrono::seconds(2);

struct ProcessTable {
    std::vector<VmProcess> processes;    ///< by ascending pid
    std::vector<std::uint32_t> vm_uids;  ///< see NameEvidence::vm_uids
    std::vector<NameGap> gaps;           ///< by source and reason
};

/// Blocks, some microseconds a process: never to be called on a loop. Ends early once `stop` is
/// set. Files are looked for under `root`. Users come from etc/passwd alone: no name service is
/// asked, which might wait for a network that we are to watch.
ProcessTable read_process_table(const std::atomic<bool>& stop,
                                const std::filesystem::path& root = "/");

struct LibvirtFiles {
    std::vector<LibvirtDomain> domains;  ///< by file name
    std::vector<NameGap> gaps;
};

/// Blocks; ends early once `stop` is set. A host without libvirt has neither domains nor gaps.
LibvirtFiles read_libvirt_files(const std::atomic<bool>& stop,
                                const std::filesystem::path& root = "/");

}  // namespace reachd
