// Who is behind which port: joins the ports that lead to guests with what processes, libvirt and
// network namespaces tell of themselves. Pure, and judged anew from nothing each time: reads no
// table (agent/io/process_table and agent/io/namespace_names do), keeps no names, and does not know
// the operator's own `names`, which go before all of this.
//
// Evidence, the strongest first; the first that says anything decides:
//   1. libvirt names the port's device as the target of a domain's interface
//   2. a QEMU process names the device (ifname=)
//   3. the port's MAC is a guest's with the first byte fe, which is how libvirt makes the MAC of a
//      tap from its guest's
//   4. the namespace that the other end of a veth is in has a name
//   5. a machine's MAC was learnt behind the port. Guests can forge that: it names nobody who is
//      already known to be elsewhere, and nothing where two ports or two machines come into
//      question
// Two different machines by the same evidence give no name, and a doubt in words.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/libvirt_domain.hpp"
#include "agent/vm_process.hpp"
#include "common/mac_address.hpp"

namespace reachd {

/// Machines joined: processes and domains, each; further ones are left out.
inline constexpr std::size_t virtual_machines_max = 4096;
/// Names of network namespaces.
inline constexpr std::size_t namespace_names_max = 4096;
/// MACs looked at behind one port; the port of a router of guests may have thousands.
inline constexpr std::size_t port_macs_considered_max = 256;

struct NamespaceName {
    std::int32_t nsid =
        0;             ///< as this namespace numbers it (Link::lower_namespace); never negative
    std::string name;  ///< safe and bounded, see guest_name_text(); never empty

    friend bool operator==(const NamespaceName&, const NamespaceName&) = default;
};

/// What could not be read, to be said to people once.
struct NameGap {
    std::string source;       ///< "/run/libvirt/qemu", "/proc/PID/cmdline"
    std::string reason;       ///< "Permission denied"
    std::uint64_t count = 1;  ///< files of that source that it happened to

    friend bool operator==(const NameGap&, const NameGap&) = default;
};

/// Everything that names of guests may come from, as found at one time.
struct NameEvidence {
    std::vector<VmProcess> processes;
    /// Users beside root under whom the host's own management runs machines (libvirt-qemu, qemu).
    std::vector<std::uint32_t> vm_uids;
    std::vector<LibvirtDomain> domains;
    std::vector<NamespaceName> namespaces;
    std::vector<NameGap> gaps;
};

/// A port that leads to a guest.
struct GuestPort {
    std::string device;
    std::optional<MacAddress> mac{};           ///< its own
    std::optional<std::uint32_t> owner_uid{};  ///< of a tap (IFLA_TUN_OWNER); nothing: not set
    std::int32_t peer_namespace = -1;          ///< of a veth's other end; -1: this one, or no veth
    std::vector<MacAddress> macs{};            ///< learnt behind it
};

enum class IdentifiedBy : std::uint8_t {
    nothing,
    libvirt,
    tap_name,
    tap_mac,
    network_namespace,
    guest_mac,
};
inline constexpr std::size_t identified_by_count = 6;

constexpr std::string_view to_text(IdentifiedBy how) {
    constexpr std::array<std::string_view, identified_by_count> names{
        "nothing", "libvirt", "tap_name", "tap_mac", "network_namespace", "guest_mac"};
    return names[static_cast<std::size_t>(how)];
}

struct GuestIdentity {
    std::string name;  ///< of the virtual machine, else of the namespace; empty: not known
    std::string vm;    ///< of the virtual machine; empty: none, or not known
    std::string uuid;  ///< of the virtual machine; empty: none, or not known
    /// Of the network cards that the machine itself is known to have behind this port.
    std::vector<MacAddress> macs;
    IdentifiedBy how = IdentifiedBy::nothing;
    std::string doubt;  ///< one line for people: why there is no name; empty: no evidence, or clear

    friend bool operator==(const GuestIdentity&, const GuestIdentity&) = default;
};

/// One identity for each port, in their order. All ports at once, because what is known of one
/// tells what another is not. Takes 5 to 10 us a port and machine: for a thread beside the loops.
std::vector<GuestIdentity> identify_guests(const std::vector<GuestPort>& ports,
                                           const NameEvidence& evidence);

}  // namespace reachd
