// libvirt's run-time XML, as it writes it and as nobody should.
#include "agent/libvirt_domain.hpp"

#include <catch2/catch.hpp>

#include "agent/guest_text.hpp"

using namespace reachd;

namespace {

const std::string whole = R"(<!--
WARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE
OVERWRITTEN AND LOST.
-->
<domstatus state='running' reason='booted' pid='4711'>
  <taint flag='custom-argv'/>
  <monitor path='/var/lib/libvirt/qemu/domain-1-web01/monitor.sock' type='unix'/>
  <devices><device alias='net0'/></devices>
  <domain type='kvm' id='1' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
    <name>web01</name>
    <uuid>6ba7b810-9dad-11d1-80b4-00c04fd430c8</uuid>
    <metadata>
      <nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'>
        <name>stolen</name><uuid>00000000-0000-0000-0000-000000000000</uuid>
        <devices><interface><target dev='eth0'/></interface></devices>
      </nova:instance>
    </metadata>
    <os><type arch='x86_64'>hvm</type></os>
    <devices>
      <emulator>/usr/bin/qemu-system-x86_64</emulator>
      <disk type='file'><target dev='vda' bus='virtio'/></disk>
      <interface type='bridge'>
        <mac address='52:54:00:12:34:56'/>
        <source bridge='br0'/>
        <target dev='vnet7'/>
        <model type='virtio'/>
      </interface>
      <interface type='hostdev'><mac address='52:54:00:12:34:57'/></interface>
      <interface type='bridge'><mac address='ff:ff:ff:ff:ff:ff'/><target dev='vnet8'/></interface>
    </devices>
  </domain>
</domstatus>
)";

std::string domain(const std::string& inside) {
    return "<domain><name>web01</name>" + inside + "</domain>";
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
    const auto at = text.find(what);
    REQUIRE(at != std::string::npos);
    return text.replace(at, what.size(), by);
}

}  // namespace

TEST_CASE("a running domain") {
    const auto read = read_libvirt_domain(whole);
    REQUIRE(read);
    CHECK(read->pid == 4711);
    CHECK(read->name == "web01");
    CHECK(read->uuid == "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
    CHECK(read->interfaces ==
          std::vector<LibvirtInterface>{{"vnet7", MacAddress::parse("52:54:00:12:34:56")},
                                        {"", MacAddress::parse("52:54:00:12:34:57")},
                                        {"vnet8", std::nullopt}});
}

TEST_CASE("a domain without its status, with entities and sections") {
    const auto read = read_libvirt_domain("<domain><name>a&amp;b<![CDATA[<c>]]></name></domain>");
    REQUIRE(read);
    CHECK(read->name == "a&b<c>");
    CHECK(read->pid == 0);
    CHECK(read->interfaces.empty());
}

TEST_CASE("hostile names stay names") {
    const auto control = read_libvirt_domain("<domain><name>a\nb\xe2\x80\xae</name></domain>");
    REQUIRE(control);
    CHECK(control->name == "a\\x0ab\\xe2\\x80\\xae");
    const auto endless =
        read_libvirt_domain("<domain><name>" + std::string(500000, 'n') + "</name><uuid>" +
                            std::string(400000, '1') + "</uuid></domain>");
    REQUIRE(endless);
    CHECK(endless->name.size() == guest_name_bytes_max);
    CHECK(endless->uuid.empty());
}

TEST_CASE("what is no domain") {
    for (const std::string xml : {"",
                                  "web01",
                                  "<domain/>",
                                  "<domain><name/></domain>",
                                  "<network><name>default</name></network>",
                                  "<domain><name>web01</name>",
                                  "<domain><name>web01</domain></name>",
                                  "<domain><name>web01</name></domain><domain/>",
                                  "<domain><name>\xff</name></domain>",
                                  "<domain><name>&unknown;</name></domain>"}) {
        INFO(xml);
        CHECK_FALSE(read_libvirt_domain(xml));
    }
    CHECK_FALSE(read_libvirt_domain(whole.substr(0, whole.size() / 2)));
    CHECK_FALSE(read_libvirt_domain(std::string("<domain><name>a\0b</name></domain>", 33)));
}

TEST_CASE("no document type, hence no entities of its own") {
    CHECK_FALSE(read_libvirt_domain("<!DOCTYPE domain>" + domain("")));
    CHECK_FALSE(read_libvirt_domain(
        "<!DOCTYPE domain [<!ENTITY a \"lol\"><!ENTITY b \"&a;&a;&a;&a;\">]><domain>"
        "<name>&b;</name></domain>"));
    CHECK_FALSE(
        read_libvirt_domain("<!DOCTYPE domain [<!ENTITY f SYSTEM \"file:///etc/passwd\">]>"
                            "<domain><name>&f;</name></domain>"));
}

TEST_CASE("limits of size, depth and number") {
    const auto nested = [](std::size_t depth) {
        std::string text;
        for (std::size_t i = 0; i < depth; ++i) {
            text += "<a>";
        }
        for (std::size_t i = 0; i < depth; ++i) {
            text += "</a>";
        }
        return domain(text);
    };
    CHECK(read_libvirt_domain(nested(libvirt_depth_max - 1)));
    CHECK_FALSE(read_libvirt_domain(nested(libvirt_depth_max)));
    CHECK_FALSE(read_libvirt_domain(nested(100000)));

    const auto filled = domain("") + "<!--";
    const auto comment = [&](std::size_t size) {
        return filled + std::string(size - filled.size() - 3, ' ') + "-->";
    };
    CHECK(read_libvirt_domain(comment(libvirt_file_bytes_max)));
    CHECK_FALSE(read_libvirt_domain(comment(libvirt_file_bytes_max + 1)));

    std::string interfaces = "<devices>";
    for (int i = 0; i < 1000; ++i) {
        interfaces += "<interface><target dev='v" + std::to_string(i) + "'/></interface>";
    }
    const auto many = read_libvirt_domain(domain(interfaces + "</devices>"));
    REQUIRE(many);
    REQUIRE(many->interfaces.size() == libvirt_interfaces_max);
    CHECK(many->interfaces.back().device == "v63");
}

TEST_CASE("process ids that are none") {
    for (const char* pid : {"pid='-1'", "pid='x'", "pid='99999999999'", "pid='1 '", "pid=''"}) {
        const auto read = read_libvirt_domain(replaced(whole, "pid='4711'", pid));
        INFO(pid);
        REQUIRE(read);
        CHECK(read->pid == 0);
    }
}
