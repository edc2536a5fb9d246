#include "agent/change_collector.hpp"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace reachd;
using namespace std::chrono_literals;

namespace {

IfIndex device(int index) {
    return static_cast<IfIndex>(index);
}

/// A table of links whose changes the collector is told of, as the topology does.
class Bench {
  public:
    Instant now{MonoTime{1h}, WallTime{1000h}};
    LinkTable links{{.links = 50'000, .vlan_ranges = 100, .virtual_functions = 1}};
    ChangeCollector changes{links};
    std::vector<Gateway> gateways{};

    void wait(Duration time) {
        now.mono += time;
        now.wall += time;
    }

    void create(int index, const std::string& name, LinkKind kind = LinkKind::veth) {
        Link link;
        link.index = device(index);
        link.generation = ++generations_;
        link.name = name;
        link.kind = kind;
        link.mtu_bytes = 1500;
        links.mention(link.index, Teller::event);
        changes.appeared(link, now);
        links.put(std::move(link));
    }

    template <class Change>
    void change(int index, Change edit) {
        const LinkPointer before = *links.find(device(index));
        changes.touch(before, now);
        Link after(*before);
        edit(after);
        links.put(std::move(after));
    }

    void remove(int index) {
        changes.removed(*links.find(device(index)), false, now);
        links.erase(device(index));
    }

    std::vector<TopologyChange> take() {
        return changes.take(now.mono, [this] { return gateways; });
    }

    /// "device words" of each, once all is settled.
    std::vector<std::string> texts() {
        wait(1s);
        std::vector<std::string> texts;
        for (const auto& change : take()) {
            texts.push_back(change.name + " " + describe(change));
        }
        return texts;
    }

    void forget() { changes.forget(gateways); }

  private:
    std::uint64_t generations_ = 0;
};

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("messages of one action are one change, told when they have settled", "[collector]") {
    Bench bench;
    bench.create(2, "a");
    bench.forget();
    CHECK(bench.changes.due() == mono_never);
    const auto first = bench.now;
    bench.change(2, [](Link& link) { link.mtu_bytes = 1400; });
    CHECK(bench.changes.due() == first.mono + 25ms);
    bench.wait(10ms);
    bench.change(2, [](Link& link) { link.admin_up = true; });
    bench.wait(14ms);
    CHECK(bench.take().empty());
    bench.wait(1ms);
    const auto changes = bench.take();
    REQUIRE(changes.size() == 1);
    CHECK(changes[0].time.mono == first.mono);
    CHECK(changes[0].time.wall == first.wall);
    CHECK(changes[0].device == device(2));
    CHECK(changes[0].generation == 1);
    CHECK(describe(changes[0]) == "switched on, mtu 1500 -> 1400");
    CHECK(bench.changes.due() == mono_never);
    CHECK(bench.texts().empty());
}

TEST_CASE("what came and went within that time is no news", "[collector]") {
    Bench bench;
    bench.create(2, "a");
    bench.forget();
    bench.change(2, [](Link& link) { link.carrier = true; });
    bench.change(2, [](Link& link) { link.carrier = false; });
    const InterfaceAddress address{device(2), IpAddress::v4({10, 0, 0, 1}), 24, 0};
    bench.changes.address_changed(address, false, bench.now);
    bench.changes.address_changed(address, true, bench.now);
    CHECK(bench.changes.due() != mono_never);
    CHECK(bench.texts().empty());
}

TEST_CASE("a device that came and went is one change, one that came again two", "[collector]") {
    Bench bench;
    bench.create(2, "a");
    bench.remove(2);
    auto changes = bench.texts();
    CHECK(changes == Texts{"a appeared (veth), removed"});
    bench.create(2, "b");
    bench.forget();
    bench.remove(2);
    bench.create(2, "c");
    bench.wait(1s);
    const auto both = bench.take();
    REQUIRE(both.size() == 2);
    CHECK(both[0].generation != both[1].generation);
    CHECK(both[0].name == "b");
    CHECK(describe(both[0]) == "removed");
    CHECK(both[1].name == "c");
    CHECK(describe(both[1]) == "appeared (veth)");
}

TEST_CASE("names of what a device belonged to outlive it", "[collector]") {
    Bench bench;
    bench.create(2, "a");
    bench.create(9, "br0", LinkKind::bridge);
    bench.change(2, [](Link& link) {
        link.master = device(9);
        link.port = BridgePort{PortState::forwarding, false};
    });
    bench.forget();
    bench.change(2, [](Link& link) {
        link.master = IfIndex::any;
        link.port.reset();
    });
    bench.remove(9);
    CHECK(bench.texts() == Texts{"a left bridge br0", "br0 removed"});
    bench.change(2, [](Link& link) { link.master = device(77); });
    CHECK(bench.texts() == Texts{"a joined #77"});
    bench.change(2, [](Link& link) {
        link.lower = device(12);
        link.lower_namespace = 3;
    });
    CHECK(bench.texts() == Texts{"a lower device none -> #12@ns3"});
}

TEST_CASE("gateways are told with their device, even if nothing else of it changed",
          "[collector]") {
    Bench bench;
    bench.create(2, "a");
    bench.forget();
    bench.changes.touch_gateways(bench.now);
    bench.gateways = {{IpAddress::v4({10, 0, 0, 1}), device(2), 100}};
    CHECK(bench.changes.due() == bench.now.mono + 25ms);
    CHECK(bench.texts() == Texts{"a default gateway 10.0.0.1 added"});
    bench.changes.touch_gateways(bench.now);
    bench.gateways[0].metric = 50;
    CHECK(bench.texts().empty());
    bench.change(2, [](Link& link) { link.admin_up = true; });
    bench.changes.touch_gateways(bench.now);
    bench.gateways[0].address = IpAddress::v4({10, 0, 0, 2});
    CHECK(bench.texts() ==
          Texts{"a switched on, default gateway 10.0.0.1 removed, default gateway 10.0.0.2 added"});
    bench.remove(2);
    bench.changes.touch_gateways(bench.now);
    bench.gateways.clear();
    CHECK(bench.texts() == Texts{"a removed, default gateway 10.0.0.2 removed"});
    CHECK(bench.changes.due() == mono_never);
}

TEST_CASE("a gateway's change is not lost to a younger or older change of its device",
          "[collector]") {
    Bench bench;
    bench.create(2, "a");
    bench.create(3, "b");
    const Gateway first{IpAddress::v4({10, 0, 0, 1}), device(2), 100};
    const Gateway second{IpAddress::v4({10, 0, 0, 2}), device(3), 100};
    bench.gateways = {first, second};
    bench.forget();
    const auto lower_mtu = [](Link& link) { link.mtu_bytes -= 100; };
    const auto told = [&bench] {
        Texts texts;
        for (const auto& change : bench.take()) {
            texts.push_back(change.name + " " + describe(change));
        }
        return texts;
    };

    SECTION("removed, then the MTU: told once, with the MTU") {
        bench.gateways = {second};
        bench.changes.touch_gateways(bench.now);
        bench.wait(10ms);
        bench.change(2, lower_mtu);
        bench.wait(15ms);
        CHECK(told().empty());
        bench.wait(10ms);
        CHECK(told() == Texts{"a mtu 1500 -> 1400, default gateway 10.0.0.1 removed"});
    }
    SECTION("the MTU, then removed: told once, with the MTU") {
        bench.change(2, lower_mtu);
        bench.wait(10ms);
        bench.gateways = {second};
        bench.changes.touch_gateways(bench.now);
        bench.wait(15ms);
        CHECK(told() == Texts{"a mtu 1500 -> 1400, default gateway 10.0.0.1 removed"});
    }
    SECTION("added, then the MTU") {
        const Gateway third{IpAddress::v4({10, 0, 0, 3}), device(2), 100};
        bench.gateways = {first, second, third};
        bench.changes.touch_gateways(bench.now);
        bench.wait(10ms);
        bench.change(2, lower_mtu);
        bench.wait(15ms);
        CHECK(told().empty());
        bench.wait(10ms);
        CHECK(told() == Texts{"a mtu 1500 -> 1400, default gateway 10.0.0.3 added"});
    }
    SECTION("removed, and added again before its device is told: no news") {
        bench.gateways = {second};
        bench.changes.touch_gateways(bench.now);
        bench.wait(10ms);
        bench.change(2, lower_mtu);
        bench.wait(15ms);
        CHECK(told().empty());
        bench.gateways = {first, second};
        bench.changes.touch_gateways(bench.now);
        CHECK(bench.texts() == Texts{"a mtu 1500 -> 1400"});
    }
    SECTION("removed, then its device") {
        bench.gateways = {second};
        bench.changes.touch_gateways(bench.now);
        bench.wait(10ms);
        bench.remove(2);
        bench.wait(15ms);
        CHECK(told().empty());
        bench.wait(10ms);
        CHECK(told() == Texts{"a removed, default gateway 10.0.0.1 removed"});
    }
    SECTION("of two devices, only one waits") {
        bench.gateways.clear();
        bench.changes.touch_gateways(bench.now);
        bench.wait(10ms);
        bench.change(2, lower_mtu);
        bench.wait(15ms);
        CHECK(told() == Texts{"b default gateway 10.0.0.2 removed"});
        bench.wait(10ms);
        CHECK(told() == Texts{"a mtu 1500 -> 1400, default gateway 10.0.0.1 removed"});
    }
    bench.changes.touch_gateways(bench.now);
    CHECK(bench.texts().empty());
    CHECK(bench.changes.due() == mono_never);
    CHECK(bench.changes.refused() == 0);
}

TEST_CASE("a MAC that wanders is told with its first and last port", "[collector]") {
    Bench bench;
    bench.create(9, "br0", LinkKind::bridge);
    bench.create(2, "p2");
    bench.create(3, "p3");
    bench.create(4, "p4");
    bench.forget();
    FdbChanged entry{device(9), device(3), MacAddress({2, 0, 0, 0, 0, 1}), 0, false};
    bench.changes.mac_moved(entry, device(2), bench.now);
    entry.port = device(4);
    bench.changes.mac_moved(entry, device(3), bench.now);
    bench.remove(2);
    CHECK(bench.texts() == Texts{"br0 02:00:00:00:00:01 moved from p2 to p4", "p2 removed"});
    bench.changes.mac_moved(entry, device(3), bench.now);
    entry.port = device(3);
    bench.changes.mac_moved(entry, device(4), bench.now);
    CHECK(bench.texts().empty());  // and back
}

TEST_CASE("facts and pending devices are bounded, and counted", "[collector]") {
    Bench bench;
    bench.create(2, "a");
    bench.forget();
    for (std::uint8_t i = 0; i < 100; ++i) {
        bench.changes.address_changed(
            {device(2), IpAddress::v4({10, 0, 0, i}), 24, 0}, true, bench.now);
    }
    bench.wait(1s);
    const auto changes = bench.take();
    REQUIRE(changes.size() == 1);
    CHECK(changes[0].facts.size() == TopologyChange::facts_max);
    CHECK(changes[0].facts_refused == 100 - TopologyChange::facts_max);

    const auto many = static_cast<int>(ChangeCollector::pending_max) + 5;
    for (int i = 10; i < 10 + many; ++i) {
        bench.create(i, "v" + std::to_string(i));
    }
    CHECK(bench.changes.refused() == 5);
    bench.wait(1s);
    CHECK(bench.take().size() == ChangeCollector::pending_max);
    bench.remove(10);
    CHECK(bench.texts() == Texts{"v10 removed"});
}

TEST_CASE("a device nobody announced has no changes", "[collector]") {
    Bench bench;
    bench.changes.address_changed(
        {device(2), IpAddress::v4({10, 0, 0, 1}), 24, 0}, true, bench.now);
    bench.changes.touch_gateways(bench.now);
    bench.gateways = {{IpAddress::v4({10, 0, 0, 1}), device(2), 100}};
    CHECK(bench.texts().empty());
    bench.create(2, "a");
    CHECK(bench.texts() == Texts{"a appeared (veth), default gateway 10.0.0.1 added"});
}
