// Guests at random, for worlds of the swarm that have some: a hypervisor with bridges, ports and
// machines behind them, and what befalls these. Draws from a generator of its own, so that worlds
// without guests stay as they are. Judges nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/random.hpp"
#include "tests/sim/draws.hpp"
#include "tests/sim/world.hpp"

namespace reachd::sim {

class GuestSwarm : private Draws {
  public:
    /// From the last fault to all being up, at the latest.
    static constexpr Duration settle_time = 26s;

    explicit GuestSwarm(std::uint64_t seed) : Draws(seed) {}

    /// Whether this world has guests.
    bool is_wanted() { return below(5) == 0; }

    void draw_config(Config& config);
    /// All that happens up to `duration`.
    void draw(World& world, Duration duration);

  private:
    void draw_hosts();
    void draw_port(int number);
    void draw_guest(int port);
    void draw_restored();
    void draw_fault();
    void draw_guest_fault(std::size_t guest);
    void draw_port_fault(int port);
    void draw_lies(std::size_t liar);
    void draw_own_fault();
    void talk(std::size_t guest);
    void replace_port(int port, bool same_index);
    int any_port();
    std::size_t any_guest();

    Guests& guests() { return *world_->guests; }

    void at(Duration when, std::function<void()> what) { world_->after(when, std::move(what)); }

    void later(std::function<void()> what) { at(between(0s, duration_), std::move(what)); }

    World* world_ = nullptr;
    Duration duration_{};
    std::vector<int> ports_;   ///< their first indexes; they may have others by now
    std::vector<int> now_at_;  ///< the index of each now
    int next_index_ = 0;
    std::uint8_t next_address_ = 100;
};

}  // namespace reachd::sim
