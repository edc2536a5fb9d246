#include "agent/topology_watch.hpp"

#include <chrono>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "agent/netlink_message.hpp"

namespace reachd {
namespace {

using namespace std::chrono_literals;

class World {
  public:
    Topology topology;
    TopologyWatch watch;
    Instant now{MonoTime(1000s), WallTime(1'700'000'000s)};

    World() { watch.take_stock(topology); }

    void link(std::uint32_t index,
              const std::string& name,
              LinkKind kind,
              bool carrier = true,
              std::uint32_t master = 0) {
        NetlinkMessage message;
        message.type = NetlinkType::new_link;
        LinkChanged change;
        change.index = static_cast<IfIndex>(index);
        change.complete = true;
        change.admin_up = true;
        change.carrier = carrier;
        change.name = name;
        change.kind = kind;
        change.mtu_bytes = 1500;
        change.master = static_cast<IfIndex>(master);
        change.oper_state = carrier ? OperState::up : OperState::down;
        message.body = change;
        topology.apply(message, now);
    }

    void remove(std::uint32_t index) {
        NetlinkMessage message;
        message.type = NetlinkType::del_link;
        message.body = LinkRemoved{static_cast<IfIndex>(index)};
        topology.apply(message, now);
    }

    /// Hands over what has changed, after it has settled.
    std::vector<std::string> settle() {
        now.mono += 100ms;
        now.wall += 100ms;
        watch.on_changes(topology.take_changes(now.mono), topology, now);
        return logs();
    }

    std::vector<std::string> logs() {
        std::vector<LogRecord> records;
        watch.take_logs(now.mono, records);
        std::vector<std::string> lines;
        for (const LogRecord& record : records) {
            lines.push_back(record.message);
            levels.push_back(record.level);
        }
        return lines;
    }

    std::vector<DeviceLookup> lookups() {
        std::vector<DeviceLookup> asked;
        watch.take_lookups(asked);
        return asked;
    }

    std::vector<LogLevel> levels;
};

TEST_CASE("topology watch: a change becomes a line, and is the last change", "[watch]") {
    World world;
    world.link(3, "vnet0", LinkKind::tap);
    const auto lines = world.settle();
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].find("link vnet0: appeared") == 0);
    CHECK(world.levels == std::vector<LogLevel>{LogLevel::info});
    REQUIRE(world.watch.last_change());
    CHECK(world.watch.last_change()->device == "vnet0");
    CHECK(world.watch.last_change()->time == WallTime(1'700'000'000s));
    CHECK(world.watch.last_change()->text.find("appeared") == 0);
    CHECK(world.settle().empty());
}

TEST_CASE("topology watch: what the host stands on is notable", "[watch]") {
    World world;
    world.link(2, "eno1", LinkKind::physical);
    world.settle();
    world.link(2, "eno1", LinkKind::physical, false);
    const auto lines = world.settle();
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].find("carrier") != std::string::npos);
    CHECK(world.levels.back() == LogLevel::notice);
}

TEST_CASE("topology watch: a storm is told as a number, the host's own links are not", "[watch]") {
    World world;
    for (std::uint32_t i = 0; i < 1000; ++i) {
        world.link(100 + i, "veth" + std::to_string(i), LinkKind::veth);
    }
    CHECK(world.settle().size() == TopologyWatch::lines_per_window / 2);
    world.link(2, "eno1", LinkKind::physical);
    CHECK(world.settle().size() == 1);
    const auto due = world.watch.next_deadline();
    REQUIRE(due < world.now.mono + TopologyWatch::window);
    world.now.mono = due;
    CHECK(world.logs() == std::vector<std::string>{"and 975 more changes of links within 10 s"});
    CHECK(world.watch.next_deadline() == mono_never);
    world.link(5000, "tap9", LinkKind::tap);
    CHECK(world.settle().size() == 1);  // a new window
}

TEST_CASE("topology watch: asks for the facts of hardware, at first and when they may change",
          "[watch]") {
    World world;
    world.link(2, "eno1", LinkKind::physical);
    world.link(3, "br0", LinkKind::bridge);
    world.settle();
    auto asked = world.lookups();
    REQUIRE(asked.size() == 1);
    CHECK(asked[0].index == IfIndex{2});
    CHECK(asked[0].name == "eno1");
    CHECK(world.lookups().empty());
    world.watch.on_described(
        {IfIndex{2}, "mlx5_core", 25000, false}, asked[0].generation, world.topology);
    REQUIRE(world.watch.devices().size() == 1);
    CHECK(world.watch.devices()[0].driver == "mlx5_core");

    world.link(2, "eno1", LinkKind::physical, false);
    world.settle();
    CHECK(world.lookups().size() == 1);  // a link that comes back may run at another speed

    world.remove(2);
    world.settle();
    CHECK(world.levels.back() == LogLevel::notice);
    CHECK(world.watch.devices().empty());
    world.link(2, "eth7", LinkKind::physical);
    world.settle();
    world.watch.on_described(
        {IfIndex{2}, "mlx5_core", 25000, false}, asked[0].generation, world.topology);
    CHECK(world.watch.devices().empty());  // the answer is about another device
}

TEST_CASE("topology watch: what is there at the start is looked at, not told", "[watch]") {
    Topology topology;
    TopologyWatch watch;
    NetlinkMessage message;
    LinkChanged change;
    change.index = IfIndex{2};
    change.complete = true;
    change.name = "eno1";
    change.kind = LinkKind::physical;
    change.mtu_bytes = 9000;
    message.body = change;
    topology.apply(message, {});
    topology.forget_changes();
    watch.take_stock(topology);
    std::vector<DeviceLookup> asked;
    watch.take_lookups(asked);
    CHECK(asked.size() == 1);
    CHECK_FALSE(watch.last_change());
}

TEST_CASE("topology watch: the role of the host", "[watch]") {
    World world;
    CHECK(world.watch.role() == HostRole::physical);
    world.watch.set_host({"kvm", false});
    CHECK(world.watch.role() == HostRole::guest);
    CHECK(world.watch.virtualization() == "kvm");
    world.link(7, "tun0", LinkKind::tap);
    world.settle();
    CHECK(world.watch.role() == HostRole::guest);  // a VPN's
    world.link(7, "tun0", LinkKind::tap, true, 3);
    world.settle();
    CHECK(world.watch.role() == HostRole::hypervisor);
    world.remove(7);
    world.settle();
    CHECK(world.watch.role() == HostRole::hypervisor);  // a role does not flap with its guests

    TopologyWatch dom0;
    dom0.set_host({"none", true});
    CHECK(dom0.role() == HostRole::hypervisor);
}

}  // namespace
}  // namespace reachd
