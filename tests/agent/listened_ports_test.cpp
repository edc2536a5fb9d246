#include "agent/listened_ports.hpp"

#include <catch2/catch.hpp>

using namespace reachd;
using namespace std::chrono_literals;

namespace {

using Ports = std::vector<NeighbourPort>;

const NeighbourPort vnet0{IfIndex{5}, PortUse::guest};
const NeighbourPort vnet1{IfIndex{6}, PortUse::guest};

/// Performs what is wanted as the probe loop does; ports in `broken` fail.
struct Listener {
    ListenedPorts ports;
    MonoTime now{1000s};
    std::set<NeighbourPort> broken;
    std::vector<MonoTime> tries;

    bool turn() {
        const bool opened = ports.advance(now);
        for (const NeighbourPort& port : ports.take_changes().opened) {
            tries.push_back(now);
            if (broken.contains(port)) {
                ports.on_failed(port, now);
            }
        }
        return opened;
    }

    void run(Duration time) {
        const MonoTime end = now + time;
        while (now < end) {
            now = std::clamp(ports.next_deadline(), now + 1ms, end);
            turn();
        }
    }
};

}  // namespace

TEST_CASE("listened_ports: open once the turn after has come", "[listened_ports]") {
    Listener listener;
    listener.ports.want({{vnet0, 1}});
    CHECK(listener.ports.next_deadline() <= listener.now);
    CHECK_FALSE(listener.turn());
    CHECK_FALSE(listener.ports.is_open(vnet0));
    CHECK(listener.turn());
    CHECK(listener.ports.is_open(vnet0));
    CHECK_FALSE(listener.turn());
    CHECK(listener.tries.size() == 1);
    CHECK(listener.ports.next_deadline() == mono_never);
}

TEST_CASE("listened_ports: what fails is tried again, ever more seldom", "[listened_ports]") {
    Listener listener;
    listener.broken = {vnet0};
    listener.ports.want({{vnet0, 1}, {vnet1, 1}});
    listener.run(10min);
    CHECK(listener.ports.any_failed());
    CHECK(listener.ports.is_open(vnet1));
    auto& tries = listener.tries;
    tries.erase(tries.begin());  // of the other one
    REQUIRE(tries.size() > 8);
    for (std::size_t i = 1; i < tries.size(); ++i) {
        const Duration pause = tries[i] - tries[i - 1];
        CHECK(pause >= std::min(Duration(1s) * (1 << std::min<std::size_t>(i - 1, 6)),
                                Duration(ListenedPorts::longest_pause)));
        CHECK(pause <= ListenedPorts::longest_pause + 1ms);
    }
    SECTION("until it works") {
        listener.broken.clear();
        listener.run(ListenedPorts::longest_pause + 10ms);
        CHECK(listener.ports.is_open(vnet0));
        CHECK_FALSE(listener.ports.any_failed());
        CHECK(listener.ports.next_deadline() == mono_never);
        // The next failure starts with a short pause.
        CHECK(listener.ports.on_failed(vnet0, listener.now));
        CHECK(listener.ports.next_deadline() == listener.now + ListenedPorts::first_pause);
    }
    SECTION("until it is gone, and then it need not be closed") {
        listener.ports.want({{vnet1, 1}});
        CHECK(listener.ports.take_changes().closed.empty());
        CHECK(listener.ports.next_deadline() == mono_never);
        CHECK_FALSE(listener.ports.on_failed(vnet0, listener.now));
    }
}

TEST_CASE("listened_ports: only the first failure is news", "[listened_ports]") {
    Listener listener;
    listener.ports.want({{vnet0, 1}});
    CHECK(listener.ports.on_failed(vnet0, listener.now));
    CHECK_FALSE(listener.ports.on_failed(vnet0, listener.now));
}

TEST_CASE("listened_ports: another device of the same index is another port", "[listened_ports]") {
    Listener listener;
    listener.ports.want({{vnet0, 1}});
    listener.run(10ms);
    listener.ports.want({{vnet0, 2}});
    CHECK_FALSE(listener.ports.is_open(vnet0));
    const auto changes = listener.ports.take_changes();
    CHECK(changes.closed == Ports{vnet0});
    CHECK(changes.opened == Ports{vnet0});
}

TEST_CASE("listened_ports: what comes and goes within a turn is never opened", "[listened_ports]") {
    ListenedPorts ports;
    ports.want({{vnet0, 1}});
    ports.want({});
    const auto changes = ports.take_changes();
    CHECK(changes.opened.empty());
    CHECK(changes.closed.empty());
}
