// The simulated world itself: it repeats itself exactly, its audit sees what it should, and a few
// hundred random worlds break nothing. The program `swarm` runs as many as one likes.
#include "tests/sim/swarm.hpp"

#include <set>

#include <catch2/catch.hpp>

#include "tests/sim/scenario.hpp"

namespace reachd::sim {
namespace {

bool mentions(const Audit& audit, const std::string& what) {
    return std::any_of(
        audit.broken().begin(), audit.broken().end(), [&what](const std::string& text) {
            return text.find(what) != std::string::npos;
        });
}

}  // namespace

TEST_CASE("sim: same seed, same run", "[sim]") {
    std::set<std::uint64_t> digests;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        const SwarmResult once = run_swarm(seed, true);
        const SwarmResult again = run_swarm(seed, true);
        CHECK(once.digest == again.digest);
        CHECK(once.trace == again.trace);
        CHECK(once.turns == again.turns);
        CHECK(run_swarm(seed).digest == once.digest);  // watched or not
        digests.insert(once.digest);
    }
    CHECK(digests.size() == 20);
}

TEST_CASE("sim: random worlds break no invariant", "[sim][swarm]") {
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        const SwarmResult result = run_swarm(seed);
        CAPTURE(seed);
        CHECK(result.broken == Texts{});
    }
}

TEST_CASE("sim: the audit notices what does not fit the world", "[sim]") {
    Network network(1);
    const std::size_t host = network.index_of(*IpAddress::parse("10.77.0.20"));
    World world({.seed = 1, .config = two_peers()});
    Audit audit(network, world.mono());
    audit.set_options(host, IcmpOptions{}, true);
    world.run(3s);
    SECTION("probes that the kernel never took, answers that nobody gave") {
        audit.look(*world.agent, world.agent->snapshot({world.mono(), {}}), {world.mono(), {}});
        CHECK(audit.broken().size() >= 3);
    }
    SECTION("an outage that is not told") {
        audit.look(*world.agent, world.agent->snapshot({world.mono(), {}}), {world.mono(), {}});
        const std::size_t before = audit.broken().size();
        audit.note_sent(host, SendOrder{}, std::nullopt, world.mono());
        world.run(3s);
        audit.turn_done(*world.agent, {world.mono(), {}});
        CHECK(audit.broken().size() > before);
        CHECK(mentions(audit, "not down by 5."));
    }
    SECTION("losses without a cause") {
        world.network.path("10.77.0.20").link.there.down = true;
        world.run(5s);
        audit.look(*world.agent, world.agent->snapshot({world.mono(), {}}), {world.mono(), {}});
        CHECK(mentions(audit, "is down after 0 failures"));
        CHECK(mentions(audit, "lost, 0 failed"));
    }
}

}  // namespace reachd::sim
