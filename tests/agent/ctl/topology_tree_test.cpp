#include "agent/ctl/topology_tree.hpp"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace reachd::ctl;

namespace {

Device device(std::uint64_t index, std::string name, std::string kind, std::string master = {}) {
    Device result;
    result.index = index;
    result.name = std::move(name);
    result.kind = kind;
    result.link_kind = std::move(kind);
    result.master = std::move(master);
    result.admin_up = true;
    result.up = true;
    return result;
}

Device above(Device device, std::uint64_t lower) {
    device.lower_index = lower;
    return device;
}

/// "name(child child(grandchild)) other": patches as "a=b", slaves as "bond[a b]".
std::string drawn(const TopologyTree& tree, const TopologyReport& report) {
    std::string text;

    struct Step {
        std::size_t node;
        std::string after;
    };

    std::vector<Step> steps;
    const auto push = [&](const std::vector<std::size_t>& nodes, const std::string& end) {
        std::string after = end;
        for (auto node = nodes.rbegin(); node != nodes.rend(); ++node) {
            if (tree.nodes[*node].shown) {
                steps.push_back({*node, after});
                after = " ";
            }
        }
    };
    push(tree.roots, "");
    while (!steps.empty()) {
        const auto step = steps.back();
        steps.pop_back();
        const auto& node = tree.nodes[step.node];
        text += report.devices[node.device].name;
        text += node.patch ? "=" + report.devices[*node.patch].name : "";
        for (std::size_t i = 0; i < node.slaves.size(); ++i) {
            text += (i == 0 ? "[" : " ") + report.devices[node.slaves[i]].name;
        }
        text += node.slaves.empty() ? "" : "]";
        const bool open = std::any_of(node.children.begin(), node.children.end(), [&](auto child) {
            return tree.nodes[child].shown;
        });
        if (open) {
            text += "(";
            push(node.children, ")" + step.after);
        } else {
            text += step.after;
        }
    }
    return text;
}

std::string drawn(const TopologyReport& report) {
    return drawn(make_tree(report), report);
}

TopologyReport report_of(std::vector<Device> devices) {
    TopologyReport report;
    report.devices = std::move(devices);
    return report;
}

/// Every device has one place, and parents come before their children.
void check_complete(const TopologyReport& report) {
    const auto tree = make_tree(report);
    std::vector<int> seen(report.devices.size());
    for (std::size_t i = 0; i < tree.nodes.size(); ++i) {
        const auto& node = tree.nodes[i];
        ++seen[node.device];
        if (node.patch) {
            ++seen[*node.patch];
        }
        for (const auto slave : node.slaves) {
            ++seen[slave];
        }
        for (const auto child : node.children) {
            CHECK(child > i);
            CHECK(tree.nodes[child].parent == i);
        }
    }
    CHECK(std::all_of(seen.begin(), seen.end(), [](int count) { return count == 1; }));
}

}  // namespace

TEST_CASE("numbers in names count as numbers") {
    CHECK(comes_before("vnet2", "vnet10"));
    CHECK_FALSE(comes_before("vnet10", "vnet2"));
    CHECK(comes_before("vnet", "vnet0"));
    CHECK(comes_before("a9b", "a10a"));
    CHECK(comes_before("eth01", "eth1"));
    CHECK_FALSE(comes_before("eth1", "eth01"));
    CHECK_FALSE(comes_before("x", "x"));
    CHECK(comes_before("br0", "eno1"));
    CHECK(comes_before("a99999999999999999999998", "a99999999999999999999999"));
}

TEST_CASE("a bridge hangs under its uplink, its ports under it") {
    CHECK(drawn(report_of({device(1, "vnet10", "tap", "br0"),
                           device(2, "vnet9", "tap", "br0"),
                           device(3, "br0", "bridge"),
                           device(4, "eno1", "physical", "br0")})) == "eno1(br0(vnet9 vnet10))");
}

TEST_CASE("of several uplinks the first by name carries the bridge, the others are ports") {
    CHECK(drawn(report_of({device(1, "br0", "bridge"),
                           device(2, "eno2", "physical", "br0"),
                           device(3, "eno1", "physical", "br0")})) == "eno1(br0(eno2))");
}

TEST_CASE("bonds show their slaves, vlans hang on what is below, also on a slave") {
    CHECK(drawn(report_of({device(1, "eno1", "physical", "bond0"),
                           device(2, "eno2", "physical", "bond0"),
                           device(3, "bond0", "bond"),
                           above(device(4, "bond0.20", "vlan", "br1"), 3),
                           device(5, "br1", "bridge"),
                           above(device(6, "mv0", "other"), 1)})) ==
          "bond0[eno1 eno2](bond0.20(br1) mv0)");
}

TEST_CASE("the ends of a veth pair are one patch, and the branch goes on behind it") {
    CHECK(drawn(report_of({device(1, "eno1", "physical", "vmbr0"),
                           device(2, "vmbr0", "bridge"),
                           above(device(3, "fwpr100p0", "veth", "vmbr0"), 4),
                           above(device(4, "fwln100i0", "veth", "fwbr100i0"), 3),
                           device(5, "fwbr100i0", "bridge"),
                           device(6, "tap100i0", "tap", "fwbr100i0")})) ==
          "eno1(vmbr0(fwpr100p0=fwln100i0(fwbr100i0(tap100i0))))");
}

TEST_CASE("of bridges without uplink the one with an address is the root") {
    auto main = device(2, "vmbr1", "bridge");
    main.addresses = {"10.0.0.1/24"};
    CHECK(drawn(report_of({device(1, "fwbr1", "bridge"),
                           main,
                           above(device(3, "a", "veth", "fwbr1"), 4),
                           above(device(4, "b", "veth", "vmbr1"), 3)})) == "vmbr1(b=a(fwbr1))");
}

TEST_CASE("a patch between two bridges with places of their own stays two ports") {
    CHECK(drawn(report_of({device(1, "eno1", "physical", "br1"),
                           device(2, "eno2", "physical", "br2"),
                           device(3, "br1", "bridge"),
                           device(4, "br2", "bridge"),
                           above(device(5, "a", "veth", "br1"), 6),
                           above(device(6, "b", "veth", "br2"), 5)})) ==
          "eno1(br1(a)) eno2(br2(b))");
}

TEST_CASE("loops of bridges end") {
    const auto report = report_of({device(1, "br1", "bridge"),
                                   device(2, "br2", "bridge"),
                                   above(device(3, "a", "veth", "br1"), 4),
                                   above(device(4, "b", "veth", "br2"), 3),
                                   above(device(5, "c", "veth", "br1"), 6),
                                   above(device(6, "d", "veth", "br2"), 5)});
    CHECK(drawn(report) == "br1(a=b(br2(d)) c)");
    check_complete(report);
}

TEST_CASE("a free end of a pair stands beside the other; one elsewhere is alone") {
    auto elsewhere = above(device(5, "v5", "veth"), 1);
    elsewhere.lower_namespace = 3;
    CHECK(drawn(report_of({above(device(1, "v1", "veth"), 2),
                           above(device(2, "v2", "veth"), 1),
                           above(device(3, "v3", "veth"), 9),
                           elsewhere})) == "v1=v2 v3 v5");
}

TEST_CASE("roots are hardware, bonds, bridges, others, loose ends") {
    CHECK(drawn(report_of({device(1, "a", "tap"),
                           device(2, "b", "other"),
                           device(3, "c", "bridge"),
                           device(4, "d", "bond"),
                           device(5, "e", "vf")})) == "e d c b a");
}

TEST_CASE("members of what is no bridge hang on it") {
    CHECK(drawn(report_of({device(1, "ovs-system", "ovs"),
                           device(2, "eno1", "physical", "ovs-system"),
                           device(3, "tap1", "tap", "ovs-system")})) == "ovs-system(eno1 tap1)");
}

TEST_CASE("what tells nothing is hidden, and only the idle is counted") {
    auto idle = device(2, "dummy0", "other");
    idle.admin_up = false;
    auto lo = device(1, "lo", "other");
    lo.link_kind = "loopback";
    auto nic = device(3, "eno1", "physical");
    nic.admin_up = false;
    auto used = device(4, "br0", "bridge");
    used.admin_up = false;
    auto addressed = idle;
    addressed.index = 6;
    addressed.name = "dummy1";
    addressed.addresses = {"10.0.0.1/32"};
    const auto report =
        report_of({lo, idle, nic, used, device(5, "tap1", "tap", "br0"), addressed});
    auto tree = make_tree(report);
    hide_idle(tree, report);
    CHECK(drawn(tree, report) == "eno1 br0(tap1) dummy1");
    CHECK(tree.hidden == 1);
}

TEST_CASE("words keep the branches they are in") {
    const auto report = report_of({device(1, "eno1", "physical", "br0"),
                                   device(2, "br0", "bridge"),
                                   device(3, "vnet1", "tap", "br0"),
                                   device(4, "vnet2", "tap", "br0"),
                                   device(5, "eno2", "physical", "bond0"),
                                   device(6, "bond0", "bond")});
    const auto kept = [&](const std::vector<std::string>& words) {
        auto tree = make_tree(report);
        std::string unknown;
        return keep_branches(tree, report, words, unknown) ? drawn(tree, report)
                                                           : "unknown: " + unknown;
    };
    CHECK(kept({"vnet2"}) == "eno1(br0(vnet2))");
    CHECK(kept({"br0"}) == "eno1(br0(vnet1 vnet2))");
    CHECK(kept({"eno2"}) == "bond0[eno2]");
    CHECK(kept({"vnet?", "bond*"}) == "eno1(br0(vnet1 vnet2)) bond0[eno2]");
    CHECK(kept({"vnet1", "vnet3"}) == "unknown: vnet3");
    CHECK(kept({"x*"}) == "unknown: x*");
}

TEST_CASE("a word for a guest means its port") {
    auto port = device(3, "vnet1", "tap", "br0");
    port.guest = PortGuest{.name = "web", .state = "up", .addresses = {{"fe80::1%br0", "up", {}}}};
    const auto report =
        report_of({device(2, "br0", "bridge"), port, device(4, "vnet2", "tap", "br0")});
    for (const std::string word : {"web", "w*", "fe80::1", "fe80::1%br0"}) {
        auto tree = make_tree(report);
        std::string unknown;
        CAPTURE(word);
        REQUIRE(keep_branches(tree, report, {word}, unknown));
        CHECK(drawn(tree, report) == "br0(vnet1)");
    }
}

TEST_CASE("whatever the data says, every device has one place") {
    check_complete(report_of({}));
    // Masters and lower devices in circles, and names that are not there.
    check_complete(report_of({device(1, "a", "bond", "b"), device(2, "b", "bond", "a")}));
    check_complete(report_of({above(device(1, "a", "vlan"), 2), above(device(2, "b", "vlan"), 1)}));
    check_complete(
        report_of({device(1, "a", "bridge", "a"), above(device(2, "b", "vlan", "a"), 1)}));
    const std::vector<std::string> kinds{
        "physical", "bridge", "veth", "tap", "bond", "vlan", "vxlan", "other", "ovs", "vf"};
    std::mt19937 random(1);  // NOLINT(cert-msc51-cpp): the same worlds in every run
    for (int round = 0; round < 3000; ++round) {
        const auto count = random() % 12;
        TopologyReport report;
        for (std::uint64_t i = 1; i <= count; ++i) {
            // Names and indexes repeat now and then.
            auto made = device(random() % 16 == 0 ? 1 : i,
                               "d" + std::to_string(random() % 16 == 0 ? 1 : i),
                               kinds[random() % kinds.size()]);
            made.master = random() % 2 == 0 ? "d" + std::to_string(1 + random() % 14) : "";
            if (random() % 2 == 0) {
                made.lower_index = 1 + random() % 14;
            }
            made.admin_up = random() % 4 != 0;
            report.devices.push_back(made);
        }
        CAPTURE(round);
        check_complete(report);
    }
}
