// Command lines of real management tools, and of people who mean harm.
#include "agent/vm_process.hpp"

#include <catch2/catch.hpp>

#include "agent/guest_text.hpp"

using namespace reachd;

namespace {

std::string joined(const std::vector<std::string>& arguments) {
    std::string text("qemu-system-x86_64");
    text += '\0';
    for (const auto& argument : arguments) {
        text += argument;
        text += '\0';
    }
    return text;
}

VmProcess read(const std::vector<std::string>& arguments) {
    return read_command_line(joined(arguments));
}

MacAddress mac(const char* text) {
    const auto parsed = MacAddress::parse(text);
    REQUIRE(parsed);
    return *parsed;
}

const std::string web_mac = "52:54:00:12:34:56";

}  // namespace

TEST_CASE("a machine of libvirt's") {
    const auto vm = read(
        {"-name",
         "guest=web01,debug-threads=on",
         "-S",
         "-object",
         R"({"qom-type":"secret","id":"masterKey0","format":"raw","file":"/var/lib/key.aes"})",
         "-machine",
         "pc-q35-7.2,usb=off",
         "-uuid",
         "6BA7B810-9dad-11d1-80b4-00c04fd430c8",
         "-no-user-config",
         "-netdev",
         R"({"type":"tap","fd":"35","vhost":true,"vhostfd":"37","id":"hostnet0"})",
         "-device",
         R"({"driver":"virtio-net-pci","netdev":"hostnet0","id":"net0","mac":"52:54:00:12:34:56",)"
         R"("bus":"pci.1","addr":"0x0"})",
         "-msg",
         "timestamp=on"});
    CHECK(vm.name == "web01");
    CHECK(vm.uuid == "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
    CHECK(vm.nics == std::vector<VmNic>{{mac("52:54:00:12:34:56"), ""}});
}

TEST_CASE("a machine of Proxmox's") {
    const auto vm = read({"-id",
                          "100",
                          "-name",
                          "web01,debug-threads=on",
                          "-no-shutdown",
                          "-daemonize",
                          "-smbios",
                          "type=1,uuid=f0a1b2c3-0000-4000-8000-00c04fd430c8",
                          "-netdev",
                          "type=tap,id=net0,ifname=tap100i0,script=/usr/libexec/bridge,vhost=on",
                          "-device",
                          "virtio-net-pci,mac=BC:24:11:00:00:01,netdev=net0,bus=pci.0,addr=0x12",
                          "-netdev",
                          "type=tap,id=net1,ifname=tap100i1",
                          "-device",
                          "e1000,mac=BC:24:11:00:00:02,netdev=net1"});
    CHECK(vm.name == "web01");
    CHECK(vm.uuid == "f0a1b2c3-0000-4000-8000-00c04fd430c8");
    CHECK(vm.nics == std::vector<VmNic>{{mac("bc:24:11:00:00:01"), "tap100i0"},
                                        {mac("bc:24:11:00:00:02"), "tap100i1"}});
}

TEST_CASE("a machine started by hand") {
    CHECK(read({"-nic", "tap,mac=" + web_mac + ",ifname=tap5"}).nics ==
          std::vector<VmNic>{{mac("52:54:00:12:34:56"), "tap5"}});
    CHECK(read({"--netdev", "tap,ifname=tap5,id=n"}).nics ==
          std::vector<VmNic>{{std::nullopt, "tap5"}});
    CHECK(read({"-netdev", "tap,ifname=tap5,id=n", "-device", "e1000,netdev=n"}).nics ==
          std::vector<VmNic>{{std::nullopt, "tap5"}});
    CHECK(read({"-net", "nic,macaddr=" + web_mac, "-net", "tap,ifname=tap5"}).nics ==
          std::vector<VmNic>{{mac("52:54:00:12:34:56"), ""}, {std::nullopt, "tap5"}});
    CHECK(read({"-device", "virtio-net-pci,mac=" + web_mac}).nics ==
          std::vector<VmNic>{{mac("52:54:00:12:34:56"), ""}});
}

TEST_CASE("cards join their own back ends, each once") {
    const auto vm = read({"-device",
                          "e1000,netdev=b,mac=52:54:00:00:00:0b",
                          "-netdev",
                          "tap,id=a,ifname=tapa",
                          "-netdev",
                          "tap,id=b,ifname=tapb",
                          "-device",
                          "e1000,netdev=a,mac=52:54:00:00:00:0a",
                          "-device",
                          "e1000,netdev=a,mac=52:54:00:00:00:0c"});
    CHECK(vm.nics == std::vector<VmNic>{{mac("52:54:00:00:00:0a"), "tapa"},
                                        {mac("52:54:00:00:00:0b"), "tapb"},
                                        {mac("52:54:00:00:00:0c"), ""}});
}

TEST_CASE("names in all their forms") {
    CHECK(read({"-name", "web01"}).name == "web01");
    CHECK(read({"-name", "guest=web01"}).name == "web01");
    CHECK(read({"-name", "process=x,guest=web01"}).name == "web01");
    CHECK(read({"-name", "process=x"}).name == "");
    CHECK(read({"-name", "a,,b,debug-threads=on"}).name == "a,b");
    CHECK(read({"-name", "guest=a,,,,b=c,,"}).name == "a,,b=c,");
    CHECK(read({"-name", "guest=first", "-name", "guest=last"}).name == "last");
    CHECK(read({"-name", "guest=web01", "-name", "debug-threads=on,process=y"}).name == "web01");
    CHECK(read({"-name", ""}).name == "");
    CHECK(read({"-name", "guest=web\x1b[2J01"}).name == "web\\x1b[2J01");
    CHECK(read({"-name", "guest=" + std::string(100000, 'n')}).name.size() == guest_name_bytes_max);
    CHECK(read({"-name"}).name == "");
}

TEST_CASE("values that look like options are none") {
    const auto vm =
        read({"-append", "-name", "-name", "guest=web01", "-kernel", "x", "-append", "-uuid"});
    CHECK(vm.name == "web01");
    CHECK(vm.uuid == "");
    // A switch has no value.
    CHECK(read({"-nographic", "-name", "guest=web01"}).name == "web01");
    CHECK(read({"-serial", "-", "-name", "guest=web01"}).name == "web01");
    // The program's own name is no option either.
    CHECK(read_command_line(std::string_view("-name\0web01\0", 12)).name == "");
}

TEST_CASE("what is no MAC, no device and no JSON") {
    for (const std::string wrong : {"",
                                    "00:00:00:00:00:00",
                                    "ff:ff:ff:ff:ff:ff",
                                    "53:54:00:12:34:56",
                                    "52:54:00:12:34",
                                    "on"}) {
        INFO(wrong);
        CHECK(read({"-device", "e1000,mac=" + wrong}).nics.empty());
        CHECK(read({"-device", R"({"driver":"e1000","mac":")" + wrong + "\"}"}).nics.empty());
    }
    CHECK(read({"-netdev", "tap,id=a,ifname=a-name-of-16-byte"}).nics.empty());
    CHECK(read({"-netdev", "user,id=a,ifname=tap0"}).nics.empty());
    for (const std::string json : {R"({"mac":"52:54:00:12:34:56")",
                                   R"({"mac":["52:54:00:12:34:56"]})",
                                   R"({"a":{"mac":"52:54:00:12:34:56"}})",
                                   R"({"mac":525400123456})",
                                   "{",
                                   "{}"}) {
        INFO(json);
        CHECK(read({"-device", json}).nics.empty());
    }
    CHECK(read({"-device", "{\"mac\":" + std::string(15000, '[')}).nics.empty());
    CHECK(read({"-device", "{\"mac\":\"52:54:00:12:34:56\"" + std::string(20000, ' ') + "}"})
              .nics.empty());
}

TEST_CASE("endless command lines are cut where nothing is torn") {
    CHECK(read_command_line("").nics.empty());
    CHECK(read_command_line(std::string(1U << 20U, '\0')).name.empty());
    // The end of an argument that does not fit is not taken for its end.
    const std::string begin = joined({"-append"});
    const std::string filler(command_line_bytes_max - begin.size() - 20, 'x');
    std::string cut = begin + filler + '\0' + "-name" + '\0' + "guest=web01-production" + '\0';
    REQUIRE(cut.size() > command_line_bytes_max);
    CHECK(read_command_line(cut).name.empty());
    CHECK(read_command_line(cut.substr(0, command_line_bytes_max)).name.empty());
    // A process may also have written over its own, without the last NUL.
    CHECK(read_command_line(std::string_view("qemu\0-name\0web01", 16)).name == "web01");
}

TEST_CASE("a machine with a thousand cards") {
    std::vector<std::string> arguments;
    for (int i = 0; i < 1000; ++i) {
        const auto id = std::to_string(i);
        arguments.insert(arguments.end(), {"-netdev", "tap,id=n" + id + ",ifname=tap" + id});
        arguments.insert(arguments.end(), {"-nic", "tap,ifname=nic" + id});
    }
    CHECK(read(arguments).nics.size() == vm_nics_max);
    std::string settings = "e1000";
    for (int i = 0; i < 10000; ++i) {
        settings += ",a=b";
    }
    CHECK(read({"-device", settings + ",mac=" + web_mac}).nics.empty());
}

TEST_CASE("which processes can be machines") {
    for (const char* comm : {"qemu-system-x86", "qemu-kvm", "kvm", "qemu-system-x86\n"}) {
        CHECK(may_be_vm(comm));
    }
    for (const char* comm : {"", "kv", "bash", "xqemu", "libvirtd"}) {
        CHECK_FALSE(may_be_vm(comm));
    }
}
