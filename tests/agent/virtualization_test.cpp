// What real machines say of themselves, and the word for each.
#include "agent/virtualization.hpp"

#include <catch2/catch.hpp>

using namespace reachd;

namespace {

struct Machine {
    const char* name;
    VirtualizationEvidence evidence;
    HostFacts expected;
};

VirtualizationEvidence x86(bool hypervisor_bit, std::vector<std::string> vendors = {}) {
    VirtualizationEvidence evidence;
    evidence.hypervisor_bit = hypervisor_bit;
    evidence.hypervisor_vendors = std::move(vendors);
    evidence.kernel_release = "6.1.0-18-amd64";
    return evidence;
}

VirtualizationEvidence with_firmware(VirtualizationEvidence evidence,
                                     const char* sys_vendor,
                                     const char* product,
                                     const char* board = "",
                                     const char* bios = "") {
    evidence.dmi_sys_vendor = sys_vendor;
    evidence.dmi_product_name = product;
    evidence.dmi_board_vendor = board;
    evidence.dmi_bios_vendor = bios;
    return evidence;
}

VirtualizationEvidence in_container(VirtualizationEvidence evidence, const char* manager) {
    evidence.container_manager = manager;
    return evidence;
}

VirtualizationEvidence on_xen(VirtualizationEvidence evidence,
                              const char* capabilities,
                              const char* features = "") {
    evidence.hypervisor_type = "xen";
    evidence.xen_capabilities = capabilities;
    evidence.xen_features = features;
    return evidence;
}

const VirtualizationEvidence dell =
    with_firmware(x86(false), "Dell Inc.", "PowerEdge R650", "Dell Inc.", "Dell Inc.");
const VirtualizationEvidence kvm = with_firmware(
    x86(true, {"KVMKVMKVM", "", "", ""}), "QEMU", "Standard PC (Q35 + ICH9, 2009)", "", "SeaBIOS");

void check(const std::vector<Machine>& machines) {
    for (const Machine& machine : machines) {
        INFO(machine.name);
        const HostFacts found = detect_virtualization(machine.evidence);
        CHECK(found.virtualization == machine.expected.virtualization);
        CHECK(found.xen_dom0 == machine.expected.xen_dom0);
    }
}

}  // namespace

TEST_CASE("real machines run on nothing") {
    VirtualizationEvidence arm;
    arm.machine = std::string("raspberrypi,4-model-b\0brcm,bcm2711", 35);
    check({
        {"Dell", dell, {"none"}},
        {"HPE",
         with_firmware(x86(false), "HPE", "ProLiant DL360 Gen10 Plus", "HPE", "HPE"),
         {"none"}},
        {"Supermicro",
         with_firmware(x86(false),
                       "Supermicro",
                       "SYS-1029P-WTR",
                       "Supermicro",
                       "American Megatrends International, LLC."),
         {"none"}},
        {"Surface laptop",
         with_firmware(
             x86(false), "Microsoft Corporation", "Surface Laptop 3", "Microsoft Corporation"),
         {"none"}},
        {"Chromebook", with_firmware(x86(false), "Google", "Eve", "Google", "coreboot"), {"none"}},
        {"AWS bare metal",
         with_firmware(x86(false), "Amazon EC2", "i3.metal", "Amazon EC2", "Amazon EC2"),
         {"none"}},
        {"AWS bare metal on Graviton",
         with_firmware({}, "Amazon EC2", "c6g.metal", "Amazon EC2", "Amazon EC2"),
         {"none"}},
        {"Raspberry Pi", arm, {"none"}},
        {"nothing is known", {}, {"none"}},
    });
}

TEST_CASE("virtual machines are named after their hypervisor") {
    const auto hyper_v = x86(true, {"Microsoft Hv"});
    check({
        {"KVM with QEMU's names", kvm, {"kvm"}},
        {"Proxmox guest imitating Hyper-V for Windows",
         with_firmware(x86(true, {"Microsoft Hv", "KVMKVMKVM"}),
                       "QEMU",
                       "Standard PC (i440FX + PIIX, 1996)",
                       "",
                       "Proxmox distribution of EDK II"),
         {"kvm"}},
        {"the same, with one signature only",
         with_firmware(hyper_v, "QEMU", "Standard PC (i440FX + PIIX, 1996)"),
         {"kvm"}},
        {"RHEL KVM", with_firmware(x86(true, {"KVMKVMKVM"}), "Red Hat", "KVM"), {"kvm"}},
        {"OpenStack",
         with_firmware(x86(true, {"KVMKVMKVM"}), "OpenStack Foundation", "OpenStack Nova"),
         {"kvm"}},
        {"Hetzner Cloud",
         with_firmware(x86(true, {"KVMKVMKVM"}), "Hetzner", "vServer", "KVM", "Hetzner"),
         {"kvm"}},
        {"hidden hypervisor bit", with_firmware(x86(false), "QEMU", "Standard PC"), {"qemu"}},
        {"QEMU, emulated",
         with_firmware(x86(true, {"TCGTCGTCGTCG"}), "QEMU", "Standard PC"),
         {"qemu"}},
        {"VMware",
         with_firmware(x86(true, {"VMwareVMware"}),
                       "VMware, Inc.",
                       "VMware7,1",
                       "Intel Corporation",
                       "VMware, Inc."),
         {"vmware"}},
        {"Hyper-V and Azure",
         with_firmware(hyper_v,
                       "Microsoft Corporation",
                       "Virtual Machine",
                       "Microsoft Corporation",
                       "American Megatrends Inc."),
         {"microsoft"}},
        {"AWS Nitro",
         with_firmware(
             x86(true, {"KVMKVMKVM"}), "Amazon EC2", "m5.large", "Amazon EC2", "Amazon EC2"),
         {"amazon"}},
        {"AWS Nitro on Graviton",
         with_firmware({}, "Amazon EC2", "m6g.large", "Amazon EC2", "Amazon EC2"),
         {"amazon"}},
        {"AWS Xen",
         on_xen(with_firmware(x86(true, {"XenVMMXenVMM"}), "Xen", "HVM domU", "", "Xen"), ""),
         {"xen"}},
        {"Google Compute Engine",
         with_firmware(
             x86(true, {"KVMKVMKVM"}), "Google", "Google Compute Engine", "Google", "Google"),
         {"google"}},
        {"VirtualBox showing KVM's signature",
         with_firmware(x86(true, {"KVMKVMKVM"}),
                       "innotek GmbH",
                       "VirtualBox",
                       "Oracle Corporation",
                       "innotek GmbH"),
         {"oracle"}},
        {"Parallels",
         with_firmware(x86(true, {"lrpepyh vr"}),
                       "Parallels Software International Inc.",
                       "Parallels Virtual Platform"),
         {"parallels"}},
        {"bhyve", with_firmware(x86(true, {"bhyve bhyve"}), "FreeBSD", "BHYVE"), {"bhyve"}},
        {"Xen imitating Hyper-V", on_xen(x86(true, {"Microsoft Hv", "XenVMMXenVMM"}), ""), {"xen"}},
        {"unknown hypervisor",
         with_firmware(x86(true, {"ABCABCABCABC"}), "ACME", "Cloud"),
         {"vm-other"}},
    });
}

TEST_CASE("without SMBIOS the device tree and Xen's files speak") {
    VirtualizationEvidence pv;
    VirtualizationEvidence arm_kvm;
    arm_kvm.device_tree = "linux,kvm";
    VirtualizationEvidence arm_qemu;
    arm_qemu.machine = "linux,dummy-virt";
    VirtualizationEvidence arm_xen;
    arm_xen.device_tree = std::string("xen,xen-4.17\0xen,xen", 20);
    VirtualizationEvidence strange;
    strange.device_tree = "acme,visor";
    check({
        {"Xen guest, paravirtualised", on_xen(pv, ""), {"xen"}},
        {"KVM on a device tree", arm_kvm, {"kvm"}},
        {"QEMU's machine", arm_qemu, {"qemu"}},
        {"Xen on a device tree", arm_xen, {"xen"}},
        {"another hypervisor", strange, {"vm-other"}},
    });
}

TEST_CASE("Xen's privileged domain is the machine itself") {
    auto paravirtual = dell;
    paravirtual.hypervisor_bit = true;
    paravirtual.hypervisor_vendors = {"XenVMMXenVMM"};
    check({
        {"by its capabilities", on_xen(paravirtual, "control_d"), {"none", true}},
        {"a guest's features", on_xen(paravirtual, "", "0000000000000370"), {"xen", false}},
        {"by its features, xenfs not mounted",
         on_xen(paravirtual, "", "0000000000000b70"),
         {"none", true}},
        {"features that are no number", on_xen(paravirtual, "", "xyz"), {"xen", false}},
    });
}

TEST_CASE("system containers come before the machine, programs in a container after it") {
    auto docker = dell;
    docker.docker_file = true;
    auto docker_on_kvm = kvm;
    docker_on_kvm.docker_file = true;
    auto podman = dell;
    podman.podman_file = true;
    auto wsl = x86(true, {"Microsoft Hv"});
    wsl.kernel_release = "5.15.146.1-microsoft-standard-WSL2";
    auto old_wsl = x86(false);
    old_wsl.kernel_release = "4.4.0-19041-Microsoft";
    auto azure = x86(true, {"Microsoft Hv"});
    azure.kernel_release = "6.5.0-1015-azure";
    check({
        {"LXC on a real machine", in_container(dell, "lxc"), {"lxc"}},
        {"LXC on KVM", in_container(kvm, "lxc"), {"lxc"}},
        {"LXC on Xen's privileged domain", in_container(on_xen(dell, "control_d"), "lxc"), {"lxc"}},
        {"nspawn", in_container(dell, "systemd-nspawn"), {"systemd-nspawn"}},
        {"Docker", docker, {"docker"}},
        {"Docker on KVM", docker_on_kvm, {"kvm"}},
        {"Docker on Xen's privileged domain", on_xen(docker, "control_d"), {"none", true}},
        {"Podman", podman, {"podman"}},
        {"Podman by name", in_container(dell, "podman"), {"podman"}},
        {"another manager", in_container(dell, "oci"), {"container-other"}},
        {"another manager on KVM", in_container(kvm, "oci"), {"kvm"}},
        {"no container, said aloud", in_container(dell, "none"), {"none"}},
        {"WSL 2", wsl, {"wsl"}},
        {"WSL 1", old_wsl, {"wsl"}},
        {"a kernel made for Azure", azure, {"microsoft"}},
    });
}
