#include "agent/guest_ports.hpp"

#include <catch2/catch.hpp>

#include "tests/agent/netlink_builder.hpp"

using namespace reachd;
using namespace reachd::test;

namespace {

using Texts = std::vector<std::string>;

IfIndex device(int index) {
    return static_cast<IfIndex>(index);
}

class Host {
  public:
    void add(const LinkFacts& link) { feed(new_link(link)); }

    void feed(const Bytes& datagram) {
        NetlinkReader reader{ByteView(datagram)};
        while (const auto* message = reader.next()) {
            topology.apply(*message);
        }
    }

    void bridge(int index, const std::string& name, bool filters = false) {
        LinkFacts link{.index = index, .name = name, .kind = "bridge"};
        link.bridge = BridgeSettings{};
        link.bridge->vlan_filtering = filters;
        link.bridge->default_pvid = 1;
        add(link);
    }

    void tap(int index, const std::string& name, int master) {
        LinkFacts link{.index = index, .name = name, .master = master, .kind = "tun"};
        link.tun_type = 2;
        link.port = port_of(master);
        add(link);
    }

    void veth(int index, const std::string& name, int master, int peer, int ns = -1) {
        LinkFacts link{.index = index, .name = name, .master = master, .kind = "veth"};
        link.lower = peer;
        if (ns >= 0) {
            link.lower_namespace = ns;
        }
        link.port = port_of(master);
        add(link);
    }

    void nic(int index, const std::string& name, int master = 0) {
        add({.index = index, .name = name, .master = master});
    }

    void pvid(int port, int bridge, std::uint16_t vlan) {
        const std::string name(topology.name_of(device(port)));
        const LinkFacts link{.index = port, .name = name, .master = bridge};
        feed(bridge_link(link, {{vlan, vlan, true, true}}));
    }

    /// "vnet0 in br0"; "vnet0 in fwbr0 to vmbr0"; "vnet0 in nothing".
    Texts ports(const GuestDiscoveryConfig& config = {}) const {
        Texts texts;
        for (const Vnic& vnic : guest_ports(topology, config)) {
            std::string text =
                vnic.device + " in " + (vnic.in_bridge() ? vnic.bridge_name : "nothing");
            if (vnic.uplink_bridge != vnic.bridge) {
                text += " to " + vnic.uplink_bridge_name;
            }
            texts.push_back(text);
        }
        return texts;
    }

    Vnic port(const std::string& name) const {
        for (Vnic& vnic : guest_ports(topology, {})) {
            if (vnic.device == name) {
                return std::move(vnic);
            }
        }
        FAIL("no port " << name);
        return {};
    }

    Topology topology;

  private:
    static std::optional<BridgePort> port_of(int master) {
        return master == 0 ? std::nullopt : std::optional(BridgePort{PortState::forwarding, false});
    }
};

GuestDiscoveryConfig on_bridges(std::vector<std::string> globs) {
    GuestDiscoveryConfig config;
    config.bridges = std::move(globs);
    return config;
}

}  // namespace

TEST_CASE("taps and veths into namespaces lead to guests", "[guest_ports]") {
    Host host;
    host.bridge(2, "br0");
    host.nic(3, "eth0", 2);
    host.tap(4, "vnet0", 2);
    host.veth(5, "veth1", 2, 9, 3);
    host.add({.index = 6, .name = "tun0", .kind = "tun", .tun_type = 1});
    host.add({.index = 7, .name = "vx0", .master = 2, .kind = "vxlan"});
    CHECK(host.ports() == Texts{"vnet0 in br0", "veth1 in br0"});

    const Vnic vnet0 = host.port("vnet0");
    CHECK(vnet0.index == device(4));
    CHECK(vnet0.generation == host.topology.link(device(4))->generation);
    CHECK(vnet0.kind == LinkKind::tap);
    CHECK(vnet0.bridge == device(2));
    CHECK(vnet0.segment == device(2));
    CHECK(vnet0.host_devices == std::vector{device(2)});
    CHECK(vnet0.zone_name == "br0");
    CHECK(vnet0.peer_namespace == -1);
    CHECK(vnet0.up);
    CHECK(vnet0.may_send);
    CHECK(host.port("veth1").peer_namespace == 3);
}

TEST_CASE("a tap may have an owner", "[guest_ports]") {
    Host host;
    host.bridge(2, "br0");
    host.tap(4, "vnet0", 2);
    CHECK_FALSE(host.port("vnet0").owner_uid.has_value());
    LinkFacts given{.index = 4, .name = "vnet0", .master = 2, .kind = "tun", .tun_type = 2};
    given.tun_owner = 1000;
    host.add(given);
    CHECK(host.port("vnet0").owner_uid == 1000U);
    given.tun_owner.reset();
    host.add(given);
    CHECK_FALSE(host.port("vnet0").owner_uid.has_value());
}

TEST_CASE("filters choose ports by bridge and device", "[guest_ports]") {
    Host host;
    host.bridge(2, "br0");
    host.bridge(3, "virbr1");
    host.tap(4, "vnet0", 2);
    host.tap(5, "vnet1", 3);
    host.veth(6, "veth1", 2, 9, 0);
    CHECK(host.ports(on_bridges({"virbr*"})) == Texts{"vnet1 in virbr1"});
    CHECK(host.ports(on_bridges({})).empty());
    GuestDiscoveryConfig config;
    config.exclude = {"vnet?"};
    CHECK(host.ports(config) == Texts{"veth1 in br0"});
    config = {};
    config.containers = false;
    CHECK(host.ports(config) == Texts{"vnet0 in br0", "vnet1 in virbr1"});
}

TEST_CASE("ports without a bridge are shown as such", "[guest_ports]") {
    Host host;
    host.bridge(2, "br0");
    host.tap(4, "vnet0", 0);
    host.veth(5, "cali1", 0, 9, 1);
    CHECK(host.ports(on_bridges({"br1"})) == Texts{"vnet0 in nothing", "cali1 in nothing"});
    CHECK(host.port("vnet0").segment == device(4));
    CHECK(host.port("vnet0").zone_name == "vnet0");
    CHECK(host.port("vnet0").host_devices.empty());
}

TEST_CASE("a bond is no bridge", "[guest_ports]") {
    Host host;
    host.add({.index = 2, .name = "bond0", .kind = "bond"});
    host.tap(4, "tap0", 2);
    CHECK(host.ports() == Texts{"tap0 in nothing"});
}

TEST_CASE("Proxmox: the patch to the firewall bridge is followed", "[guest_ports]") {
    Host host;
    host.bridge(2, "vmbr0");
    host.nic(3, "eth0", 2);
    for (int vm = 0; vm < 3; ++vm) {
        const int base = 10 + vm * 10;
        const std::string id = std::to_string(100 + vm);
        host.bridge(base, "fwbr" + id + "i0");
        host.tap(base + 1, "tap" + id + "i0", base);
        host.veth(base + 2, "fwln" + id + "i0", base, base + 3);
        host.veth(base + 3, "fwpr" + id + "p0", 2, base + 2);
    }
    const Texts all{"tap100i0 in fwbr100i0 to vmbr0",
                    "tap101i0 in fwbr101i0 to vmbr0",
                    "tap102i0 in fwbr102i0 to vmbr0"};
    CHECK(host.ports() == all);
    CHECK(host.ports(on_bridges({"vmbr0"})) == all);
    CHECK(host.ports(on_bridges({"fwbr101i0"})) == Texts{all[1]});
    const Vnic tap = host.port("tap101i0");
    CHECK(tap.segment == device(2));
    CHECK(tap.zone_name == "vmbr0");
    CHECK(tap.host_devices == std::vector{device(2), device(20)});
}

TEST_CASE("the middle of a star without uplink is the bridge that others lead to",
          "[guest_ports]") {
    Host host;
    host.bridge(10, "fwbr100i0");
    host.bridge(11, "fwbr101i0");
    host.bridge(20, "vmbr1");
    host.tap(12, "tap100i0", 10);
    host.veth(13, "fwln100i0", 10, 14);
    host.veth(14, "fwpr100p0", 20, 13);
    host.veth(15, "fwln101i0", 11, 16);
    host.veth(16, "fwpr101p0", 20, 15);
    CHECK(host.ports() == Texts{"tap100i0 in fwbr100i0 to vmbr1"});
}

TEST_CASE("rings of patches do no harm", "[guest_ports]") {
    Host host;
    for (int i = 0; i < 4; ++i) {
        host.bridge(2 + i, "br" + std::to_string(i));
    }
    for (int i = 0; i < 4; ++i) {
        host.veth(20 + 2 * i, "a" + std::to_string(i), 2 + i, 21 + 2 * i);
        host.veth(21 + 2 * i, "b" + std::to_string(i), 2 + (i + 1) % 4, 20 + 2 * i);
    }
    host.veth(40, "self0", 3, 41);
    host.veth(41, "self1", 3, 40);
    host.tap(50, "vnet0", 5);
    CHECK(host.ports().size() == 1);
    CHECK(host.port("vnet0").segment == host.port("vnet0").uplink_bridge);
}

TEST_CASE("OpenStack: a hybrid bridge leads to the switch, and is a segment of its own",
          "[guest_ports]") {
    Host host;
    host.add({.index = 2, .name = "ovs-system", .kind = "openvswitch"});
    host.nic(3, "eth0", 2);
    host.bridge(10, "qbr1");
    host.bridge(20, "qbr2");
    for (const int base : {10, 20}) {
        const std::string id = std::to_string(base / 10);
        host.tap(base + 1, "tap" + id, base);
        host.veth(base + 2, "qvb" + id, base, base + 3);
        host.veth(base + 3, "qvo" + id, 2, base + 2);
    }
    host.tap(30, "tap3", 2);
    CHECK(host.ports() ==
          Texts{"tap1 in qbr1 to ovs-system", "tap2 in qbr2 to ovs-system", "tap3 in ovs-system"});
    CHECK(host.port("tap1").segment == device(10));
    CHECK(host.port("tap2").segment == device(20));
    CHECK(host.port("tap3").segment == device(30));
    CHECK(host.port("tap3").host_devices.empty());
}

TEST_CASE("a macvtap is never sent on, and shares its device's network", "[guest_ports]") {
    Host host;
    host.nic(3, "eth0");
    LinkFacts link{.index = 4, .name = "macvtap0", .kind = "macvtap"};
    link.lower = 3;
    host.add(link);
    const auto ports = guest_ports(host.topology, {});
    REQUIRE(ports.size() == 1);
    CHECK_FALSE(ports[0].may_send);
    CHECK_FALSE(ports[0].in_bridge());
    CHECK(ports[0].segment == device(3));
    CHECK(host.ports(on_bridges({"br*"})).empty());
    CHECK(host.ports(on_bridges({"eth*"})).size() == 1);
}

TEST_CASE("ports of a filtering bridge are apart by VLAN", "[guest_ports]") {
    Host host;
    host.bridge(2, "vmbr0", true);
    host.tap(4, "tap0", 2);
    host.tap(5, "tap1", 2);
    LinkFacts vlan{.index = 6, .name = "vmbr0.20", .kind = "vlan"};
    vlan.lower = 2;
    vlan.detail = 20;
    host.add(vlan);
    host.pvid(2, 2, 1);
    host.pvid(4, 2, 1);
    host.pvid(5, 2, 20);
    CHECK(host.port("tap0").vlan == 1);
    CHECK(host.port("tap0").host_devices == std::vector{device(2)});
    CHECK(host.port("tap1").vlan == 20);
    CHECK(host.port("tap1").host_devices == std::vector{device(6)});
    CHECK(host.port("tap1").zone_name == "vmbr0.20");
    CHECK(host.port("tap1").segment == device(2));
}

TEST_CASE("behind a firewall bridge the far end of the patch tells the VLAN", "[guest_ports]") {
    Host host;
    host.bridge(2, "vmbr0", true);
    host.nic(3, "eth0", 2);
    host.bridge(10, "fwbr100i0");
    host.tap(11, "tap100i0", 10);
    host.veth(12, "fwln100i0", 10, 13);
    host.veth(13, "fwpr100p0", 2, 12);
    host.pvid(2, 2, 1);
    host.pvid(13, 2, 30);
    CHECK(host.port("tap100i0").vlan == 30);
    CHECK(host.port("tap100i0").segment == device(2));
    CHECK(host.port("tap100i0").host_devices == std::vector{device(10)});
}

TEST_CASE("ten thousand links", "[guest_ports]") {
    Host host;
    host.bridge(2, "vmbr0");
    host.nic(3, "eth0", 2);
    for (int i = 0; i < 2500; ++i) {
        const int base = 10 + 4 * i;
        const std::string id = std::to_string(i);
        host.bridge(base, "fwbr" + id);
        host.tap(base + 1, "tap" + id, base);
        host.veth(base + 2, "fwln" + id, base, base + 3);
        host.veth(base + 3, "fwpr" + id, 2, base + 2);
    }
    const auto ports = guest_ports(host.topology, on_bridges({"vmbr0"}));
    CHECK(ports.size() == 2500);
    CHECK(std::all_of(ports.begin(), ports.end(), [](const Vnic& vnic) {
        return vnic.uplink_bridge == device(2) && vnic.segment == device(2);
    }));
}
