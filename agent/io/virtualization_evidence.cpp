#include "agent/io/virtualization_evidence.hpp"

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>

#if defined __x86_64__ || defined __i386__
#include <cpuid.h>
#endif
#include <fcntl.h>

#include "agent/io/small_file.hpp"

namespace reachd {
namespace {

#if defined __x86_64__ || defined __i386__

/// Where signatures may stand: the first hypervisor at 0x40000000, those it imitates above.
constexpr std::uint32_t first_leaf = 0x40000000;
constexpr std::uint32_t leaf_step = 0x100;
constexpr std::uint32_t leaf_count = 4;

std::string vendor_at(std::uint32_t leaf) {
    std::uint32_t eax = 0;
    std::array<std::uint32_t, 3> words{};
    // Not __get_cpuid: that refuses leaves above the highest basic one.
    __cpuid(leaf, eax, words[0], words[1], words[2]);
    std::string vendor(sizeof words, '\0');
    std::memcpy(vendor.data(), words.data(), sizeof words);
    return trimmed(std::move(vendor));
}

void ask_processor(VirtualizationEvidence& evidence) {
    std::uint32_t eax = 0;
    std::uint32_t ebx = 0;
    std::uint32_t ecx = 0;
    std::uint32_t edx = 0;
    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) {
        return;
    }
    evidence.hypervisor_bit = (ecx & 1U << 31U) != 0;
    if (!*evidence.hypervisor_bit) {
        return;  // real processors answer these leaves with anything
    }
    for (std::uint32_t i = 0; i < leaf_count; ++i) {
        evidence.hypervisor_vendors.push_back(vendor_at(first_leaf + i * leaf_step));
    }
}

#else

void ask_processor(VirtualizationEvidence&) {}

#endif

bool is_there(const std::filesystem::path& path) {
    std::error_code error;
    return std::filesystem::exists(path, error);
}

}  // namespace

VirtualizationEvidence read_virtualization_evidence(const std::filesystem::path& root) {
    const auto read = [&root](const char* path) { return read_small_file(AT_FDCWD, root / path); };
    VirtualizationEvidence evidence;
    ask_processor(evidence);
    evidence.dmi_sys_vendor = read("sys/class/dmi/id/sys_vendor");
    evidence.dmi_product_name = read("sys/class/dmi/id/product_name");
    evidence.dmi_board_vendor = read("sys/class/dmi/id/board_vendor");
    evidence.dmi_bios_vendor = read("sys/class/dmi/id/bios_vendor");
    evidence.hypervisor_type = read("sys/hypervisor/type");
    evidence.xen_features = read("sys/hypervisor/properties/features");
    evidence.xen_capabilities = read("proc/xen/capabilities");
    evidence.device_tree = read("proc/device-tree/hypervisor/compatible");
    evidence.machine = read("proc/device-tree/compatible");
    evidence.kernel_release = read("proc/sys/kernel/osrelease");
    evidence.container_manager = read("run/systemd/container");
    if (const char* manager = std::getenv("container");
        evidence.container_manager.empty() && manager != nullptr) {
        evidence.container_manager = std::string(manager).substr(0, small_file_bytes_max);
    }
    evidence.docker_file = is_there(root / ".dockerenv");
    evidence.podman_file = is_there(root / "run/.containerenv");
    return evidence;
}

}  // namespace reachd
