// What the host runs on, in one word, from what the processor, the firmware and the kernel say of
// themselves. Pure: agent/io/virtualization_evidence collects the facts. Decides no role: that also
// depends on what the topology shows.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace reachd {

/// Raw facts; what could not be read is empty. Texts are as found, without surrounding white space.
struct VirtualizationEvidence {
    /// CPUID leaf 1, ECX bit 31: "running under a hypervisor"; nothing: no x86.
    std::optional<bool> hypervisor_bit{};
    /// CPUID leaves 0x40000000, 0x40000100, …: 12 characters each, without surrounding NULs and
    /// blanks. A hypervisor that imitates another one shows both.
    std::vector<std::string> hypervisor_vendors{};
    /// SMBIOS, as /sys/class/dmi/id shows it.
    std::string dmi_sys_vendor{};
    std::string dmi_product_name{};
    std::string dmi_board_vendor{};
    std::string dmi_bios_vendor{};
    std::string hypervisor_type{};    ///< /sys/hypervisor/type
    std::string xen_features{};       ///< /sys/hypervisor/properties/features, hexadecimal
    std::string xen_capabilities{};   ///< /proc/xen/capabilities
    std::string device_tree{};        ///< /proc/device-tree/hypervisor/compatible, NUL-separated
    std::string machine{};            ///< /proc/device-tree/compatible, NUL-separated
    std::string kernel_release{};     ///< /proc/sys/kernel/osrelease
    std::string container_manager{};  ///< /run/systemd/container, else $container
    bool docker_file = false;         ///< /.dockerenv
    bool podman_file = false;         ///< /run/.containerenv
};

struct HostFacts {
    /// As systemd-detect-virt names it: "none", "kvm", "qemu", "vmware", "microsoft", "xen",
    /// "oracle", "parallels", "bhyve", "amazon", "google", …, "vm-other"; containers "lxc",
    /// "systemd-nspawn", "wsl", "docker", …, "container-other".
    std::string virtualization = "none";
    /// The machine itself runs on Xen as its privileged domain: a hypervisor, not a guest, so
    /// `virtualization` is "none".
    bool xen_dom0 = false;

    friend bool operator==(const HostFacts&, const HostFacts&) = default;
};

/// The innermost environment counts: a system container (LXC, systemd-nspawn, WSL) before the
/// machine below it. Docker and Podman wrap a program, often with the host's own network: they are
/// named only where no virtual machine is.
HostFacts detect_virtualization(const VirtualizationEvidence& evidence);

}  // namespace reachd
