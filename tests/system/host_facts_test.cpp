// What is read of sysfs, procfs and the processor: trees of the test's own, with hostile contents,
// and this very machine.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <fcntl.h>
#include <net/if.h>
#include <sys/stat.h>

#include "agent/io/device_facts.hpp"
#include "agent/io/small_file.hpp"
#include "agent/io/virtualization_evidence.hpp"

namespace reachd {
namespace {

namespace fs = std::filesystem;

class Tree {
  public:
    Tree() {
        std::string pattern = fs::temp_directory_path() / "reachd-facts-XXXXXX";
        REQUIRE(mkdtemp(pattern.data()) != nullptr);
        root_ = pattern;
    }

    ~Tree() {
        std::error_code ignored;
        fs::remove_all(root_, ignored);
    }

    Tree(const Tree&) = delete;
    Tree& operator=(const Tree&) = delete;

    const fs::path& root() const { return root_; }

    void write(const fs::path& path, const std::string& text) {
        fs::create_directories((root_ / path).parent_path());
        std::ofstream(root_ / path, std::ios::binary) << text;
    }

    void link(const fs::path& path, const fs::path& target) {
        fs::create_directories((root_ / path).parent_path());
        fs::create_symlink(target, root_ / path);
    }

    /// A NIC as sysfs shows it.
    void add_nic(const std::string& name, int index) {
        const fs::path device = fs::path("class/net") / name;
        write(device / "ifindex", std::to_string(index) + "\n");
        write(device / "speed", "25000\n");
        link(device / "device/driver", "../../../../bus/pci/drivers/mlx5_core");
    }

  private:
    fs::path root_;
};

DeviceFacts facts(std::uint32_t index,
                  const char* driver = "",
                  std::uint32_t speed = 0,
                  bool function = false) {
    return {IfIndex{index}, driver, speed, function};
}

}  // namespace

TEST_CASE("driver, speed and virtual function of a NIC") {
    Tree sysfs;
    sysfs.add_nic("eno1", 2);
    CHECK(read_device_facts(IfIndex{2}, "eno1", sysfs.root()) == facts(2, "mlx5_core", 25000));
    sysfs.add_nic("eno1v0", 7);
    sysfs.link("class/net/eno1v0/device/physfn", "../eno1");
    // A link that leads nowhere is none; sysfs' own leads to the physical function.
    CHECK_FALSE(read_device_facts(IfIndex{7}, "eno1v0", sysfs.root()).virtual_function);
    fs::create_directories(sysfs.root() / "class/net/eno1v0/eno1");
    CHECK(read_device_facts(IfIndex{7}, "eno1v0", sysfs.root()) ==
          facts(7, "mlx5_core", 25000, true));
}

TEST_CASE("a name that belongs to another index tells nothing") {
    Tree sysfs;
    sysfs.add_nic("eno1", 2);
    CHECK(read_device_facts(IfIndex{3}, "eno1", sysfs.root()) == facts(3));
    sysfs.write("class/net/eno1/ifindex", "2x");
    CHECK(read_device_facts(IfIndex{2}, "eno1", sysfs.root()) == facts(2));
    fs::remove(sysfs.root() / "class/net/eno1/ifindex");
    CHECK(read_device_facts(IfIndex{2}, "eno1", sysfs.root()) == facts(2));
}

TEST_CASE("odd names lead nowhere") {
    Tree sysfs;
    sysfs.add_nic("eno1", 2);
    sysfs.write("class/ifindex", "2");
    sysfs.write("class/net/ifindex", "2");
    sysfs.link("class/device/driver", "/drivers/wrong");
    sysfs.link("class/net/device/driver", "/drivers/wrong");
    for (const std::string name :
         {"", ".", "..", "../net/eno1", "eno1/", "/", "missing", "a-name-beyond-fifteen-bytes"}) {
        INFO(name);
        CHECK(read_device_facts(IfIndex{2}, name, sysfs.root()) == facts(2));
    }
    CHECK(read_device_facts(IfIndex{2}, std::string("eno1\0x", 6), sysfs.root()) == facts(2));
    CHECK(read_device_facts(IfIndex{2}, "eno1", sysfs.root() / "missing") == facts(2));
}

TEST_CASE("speeds that are none, and drivers that are no name") {
    Tree sysfs;
    sysfs.add_nic("eno1", 2);
    for (const char* speed : {"-1", "4294967295", "99999999999999999999", "fast", "", "10G"}) {
        sysfs.write("class/net/eno1/speed", speed);
        INFO(speed);
        CHECK(read_device_facts(IfIndex{2}, "eno1", sysfs.root()).speed_mbit == 0);
    }
    const fs::path driver = sysfs.root() / "class/net/eno1/device/driver";
    const std::vector<std::string> targets{
        "/drivers/two words", "/drivers/\xff\xfe", "/drivers/" + std::string(99, 'x')};
    for (const std::string& target : targets) {
        fs::remove(driver);
        fs::create_symlink(target, driver);
        CHECK(read_device_facts(IfIndex{2}, "eno1", sysfs.root()).driver.empty());
    }
    fs::remove(driver);
    sysfs.write("class/net/eno1/device/driver", "no link");
    CHECK(read_device_facts(IfIndex{2}, "eno1", sysfs.root()).driver.empty());
}

TEST_CASE("loopback of this machine has neither driver nor speed") {
    const std::uint32_t index = if_nametoindex("lo");
    CHECK(read_device_facts(IfIndex{index}, "lo") == facts(index));
}

TEST_CASE("small files are cut, trimmed, and never waited for") {
    Tree tree;
    tree.write("long", std::string(1 << 20, 'x'));
    CHECK(read_small_file(AT_FDCWD, tree.root() / "long").size() == small_file_bytes_max);
    tree.write("blank", std::string(" \n a b\0\n", 8));
    CHECK(read_small_file(AT_FDCWD, tree.root() / "blank") == "a b");
    CHECK(read_small_file(AT_FDCWD, tree.root() / "missing").empty());
    CHECK(read_small_file(AT_FDCWD, tree.root()).empty());
    REQUIRE(mkfifo((tree.root() / "fifo").c_str(), 0600) == 0);
    CHECK(read_small_file(AT_FDCWD, tree.root() / "fifo").empty());
}

TEST_CASE("evidence is read from where the kernel puts it") {
    Tree tree;
    tree.write("sys/class/dmi/id/sys_vendor", "Dell Inc.\n");
    tree.write("sys/class/dmi/id/product_name", "PowerEdge R650\n");
    tree.write("sys/class/dmi/id/board_vendor", "Board\n");
    tree.write("sys/class/dmi/id/bios_vendor", "Bios\n");
    tree.write("sys/hypervisor/type", "xen\n");
    tree.write("sys/hypervisor/properties/features", "00000b70\n");
    tree.write("proc/xen/capabilities", "control_d\n");
    tree.write("proc/device-tree/hypervisor/compatible", std::string("xen,xen\0", 8));
    tree.write("proc/device-tree/compatible", std::string("a\0b\0", 4));
    tree.write("proc/sys/kernel/osrelease", "6.1.0\n");
    tree.write("run/systemd/container", "lxc\n");
    tree.write(".dockerenv", "");
    tree.write("run/.containerenv", "");
    const auto evidence = read_virtualization_evidence(tree.root());
    CHECK(evidence.dmi_sys_vendor == "Dell Inc.");
    CHECK(evidence.dmi_product_name == "PowerEdge R650");
    CHECK(evidence.dmi_board_vendor == "Board");
    CHECK(evidence.dmi_bios_vendor == "Bios");
    CHECK(evidence.hypervisor_type == "xen");
    CHECK(evidence.xen_features == "00000b70");
    CHECK(evidence.xen_capabilities == "control_d");
    CHECK(evidence.device_tree == "xen,xen");
    CHECK(evidence.machine == std::string("a\0b", 3));
    CHECK(evidence.kernel_release == "6.1.0");
    CHECK(evidence.container_manager == "lxc");
    CHECK(evidence.docker_file);
    CHECK(evidence.podman_file);
}

TEST_CASE("this machine has some word") {
    const auto evidence = read_virtualization_evidence();
    const auto found = detect_virtualization(evidence);
    WARN("this machine: " << found.virtualization << (found.xen_dom0 ? ", Xen dom0" : ""));
    CHECK_FALSE(found.virtualization.empty());
    CHECK_FALSE(evidence.kernel_release.empty());
    if (evidence.hypervisor_bit == true) {
        CHECK(found.virtualization != "none");
    }
}

}  // namespace reachd
