#include "agent/virtualization.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <string_view>
#include <system_error>

namespace reachd {
namespace {

/// Empty: nothing was recognised.
using Word = std::string_view;

constexpr Word microsoft = "microsoft";
constexpr Word unknown_vm = "vm-other";
constexpr Word unknown_container = "container-other";

struct Entry {
    std::string_view text;
    Word word;
};

/// CPUID signatures, whole.
constexpr std::array<Entry, 14> cpuid_vendors{{
    {"KVMKVMKVM", "kvm"},
    {"Linux KVM Hv", "kvm"},
    {"TCGTCGTCGTCG", "qemu"},
    {"VMwareVMware", "vmware"},
    {"Microsoft Hv", microsoft},
    {"XenVMMXenVMM", "xen"},
    {"VBoxVBoxVBox", "oracle"},
    {"bhyve bhyve", "bhyve"},
    {"prl hyperv", "parallels"},
    {"lrpepyh vr", "parallels"},
    {"QNXQVMBSQG", "qnx"},
    {"ACRNACRNACRN", "acrn"},
    {"SRESRESRESRE", "sre"},
    {"Apple VZ", "apple"},
}};

/// Beginnings of SMBIOS texts that only virtual machines have. Amazon, Google and Microsoft also
/// sell real machines: see from_cloud_firmware().
constexpr std::array<Entry, 15> firmware_texts{{
    {"KVM", "kvm"},
    {"OpenStack", "kvm"},
    {"KubeVirt", "kvm"},
    {"oVirt", "kvm"},
    {"RHEV Hypervisor", "kvm"},
    {"QEMU", "qemu"},
    {"VMware", "vmware"},
    {"VMW", "vmware"},
    {"innotek GmbH", "oracle"},
    {"VirtualBox", "oracle"},
    {"Xen", "xen"},
    {"Bochs", "bochs"},
    {"Parallels", "parallels"},
    {"BHYVE", "bhyve"},
    {"Apple Virtualization", "apple"},
}};

constexpr std::array<Entry, 8> containers{{
    {"lxc", "lxc"},
    {"lxc-libvirt", "lxc-libvirt"},
    {"systemd-nspawn", "systemd-nspawn"},
    {"docker", "docker"},
    {"podman", "podman"},
    {"rkt", "rkt"},
    {"wsl", "wsl"},
    {"proot", "proot"},
}};

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

template <std::size_t count>
Word find_whole(const std::array<Entry, count>& table, std::string_view text) {
    const auto found = std::find_if(
        table.begin(), table.end(), [&](const Entry& entry) { return entry.text == text; });
    return found == table.end() ? Word{} : found->word;
}

template <std::size_t count>
Word find_beginning(const std::array<Entry, count>& table, std::string_view text) {
    const auto found = std::find_if(table.begin(), table.end(), [&](const Entry& entry) {
        return text.substr(0, entry.text.size()) == entry.text;
    });
    return found == table.end() ? Word{} : found->word;
}

/// KVM and Xen imitate Hyper-V for the sake of Windows guests: the other signature is the truth.
Word from_processor(const VirtualizationEvidence& evidence) {
    Word found;
    for (const std::string& vendor : evidence.hypervisor_vendors) {
        const Word word = find_whole(cpuid_vendors, vendor);
        if (!word.empty() && (found.empty() || found == microsoft)) {
            found = word;
        }
    }
    return found;
}

Word from_cloud_firmware(const VirtualizationEvidence& evidence) {
    const std::string_view product = evidence.dmi_product_name;
    const bool bare_metal = contains(product, ".metal") || evidence.hypervisor_bit == false;
    if (evidence.dmi_sys_vendor == "Amazon EC2" || evidence.dmi_bios_vendor == "Amazon EC2") {
        return bare_metal ? Word{} : "amazon";
    }
    if (product == "Google Compute Engine") {
        return bare_metal ? Word{} : "google";
    }
    if (evidence.dmi_sys_vendor == "Microsoft Corporation" && product == "Virtual Machine") {
        return microsoft;
    }
    return {};
}

Word from_firmware(const VirtualizationEvidence& evidence) {
    for (const std::string* text : {&evidence.dmi_product_name,
                                    &evidence.dmi_sys_vendor,
                                    &evidence.dmi_board_vendor,
                                    &evidence.dmi_bios_vendor}) {
        if (const Word word = find_beginning(firmware_texts, *text); !word.empty()) {
            return word;
        }
    }
    return {};
}

Word from_device_tree(const VirtualizationEvidence& evidence) {
    const std::string_view hypervisor = evidence.device_tree;
    if (contains(hypervisor, "linux,kvm")) {
        return "kvm";
    }
    if (contains(hypervisor, "xen")) {
        return "xen";
    }
    if (contains(hypervisor, "vmware")) {
        return "vmware";
    }
    if (contains(evidence.machine, "linux,dummy-virt") || contains(evidence.machine, "qemu,")) {
        return "qemu";
    }
    return hypervisor.empty() ? Word{} : unknown_vm;
}

/// What a cloud calls itself is more than the hypervisor it is built on, and Parallels and
/// VirtualBox may show KVM's or Hyper-V's signature; otherwise the processor is the best witness,
/// since operators change firmware texts.
Word virtual_machine(const VirtualizationEvidence& evidence) {
    const Word cloud = from_cloud_firmware(evidence);
    const Word firmware = from_firmware(evidence);
    const Word processor = from_processor(evidence);
    if (cloud == "amazon" || cloud == "google") {
        return cloud;
    }
    if (firmware == "oracle" || firmware == "parallels" || firmware == "xen") {
        return firmware;
    }
    if (processor == microsoft && !firmware.empty()) {
        return firmware == "qemu" ? "kvm" : firmware;  // only KVM imitates Hyper-V for QEMU
    }
    for (const Word word : {processor, cloud, firmware, from_device_tree(evidence)}) {
        if (!word.empty()) {
            return word;
        }
    }
    if (evidence.hypervisor_type == "xen" || !evidence.xen_capabilities.empty()) {
        return "xen";
    }
    return evidence.hypervisor_bit == true ? unknown_vm : Word{};
}

/// Microsoft's kernels: "…-Microsoft" of WSL 1, "…-microsoft-standard-WSL2".
bool is_wsl(std::string_view release) {
    return contains(release, "-Microsoft") || contains(release, "microsoft-standard") ||
           contains(release, "-WSL");
}

Word container(const VirtualizationEvidence& evidence) {
    if (is_wsl(evidence.kernel_release)) {
        return "wsl";
    }
    const std::string_view manager = evidence.container_manager;
    if (const Word word = find_whole(containers, manager); !word.empty()) {
        return word;
    }
    if (evidence.podman_file) {
        return "podman";
    }
    if (evidence.docker_file) {
        return "docker";
    }
    return manager.empty() || manager == "none" ? Word{} : unknown_container;
}

bool wraps_one_program(Word container) {
    return container == "docker" || container == "podman" || container == "rkt" ||
           container == "proot" || container == unknown_container;
}

bool is_xen_dom0(const VirtualizationEvidence& evidence) {
    if (contains(evidence.xen_capabilities, "control_d")) {
        return true;
    }
    constexpr std::uint64_t dom0_feature = 1U << 11U;  // XENFEAT_dom0
    std::uint64_t features = 0;
    const std::string& text = evidence.xen_features;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), features, 16);
    return parsed.ec == std::errc{} && (features & dom0_feature) != 0;
}

}  // namespace

HostFacts detect_virtualization(const VirtualizationEvidence& evidence) {
    HostFacts facts;
    const Word inside = container(evidence);
    if (!inside.empty() && !wraps_one_program(inside)) {
        facts.virtualization = inside;
        return facts;
    }
    if (is_xen_dom0(evidence)) {
        facts.xen_dom0 = true;
        return facts;
    }
    const Word machine = virtual_machine(evidence);
    for (const Word word : {machine, inside}) {
        if (!word.empty()) {
            facts.virtualization = word;
            break;
        }
    }
    return facts;
}

}  // namespace reachd
