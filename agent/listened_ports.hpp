// Which devices are listened on for neighbours: wanted, open, or to be tried again, since what
// keeps a socket from being opened (descriptors, memory, privileges) may pass. Opens no socket, and
// knows no guest. What a turn costs depends on the ports that are not open, not on all.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "common/time.hpp"
#include "probes/port_use.hpp"

namespace reachd {

class ListenedPorts {
  public:
    /// From a failure to the next try; doubled each time, up to the longest.
    static constexpr Duration first_pause = std::chrono::seconds(1);
    static constexpr Duration longest_pause = std::chrono::seconds(60);

    /// By port the generation of its device: another one needs another socket.
    using Wanted = std::map<NeighbourPort, std::uint64_t>;

    struct Changes {
        std::vector<NeighbourPort> closed;  ///< first
        std::vector<NeighbourPort> opened;
    };

    /// These and no others from now on. As many as the caller has devices.
    void want(const Wanted& wanted);

    /// It could not be opened: closed until it is tried again. True: it was not so before.
    bool on_failed(const NeighbourPort& port, MonoTime now);

    /// First thing of a turn. What was to be opened in the turn before, and did not fail, is open.
    /// True: some port is open now that was not.
    [[nodiscard]] bool advance(MonoTime now);

    /// Whether a question can be sent there, and its answer heard.
    bool is_open(const NeighbourPort& port) const;

    /// Some port has failed and was not opened since.
    bool any_failed() const;

    /// Some are to be closed: their devices are gone, perhaps with others under their indexes.
    bool any_closed() const { return !closed_.empty(); }

    /// What to do, in the order of the members.
    [[nodiscard]] Changes take_changes();

    MonoTime next_deadline() const;

  private:
    enum class State : std::uint8_t { wanted, opening, open, failed };

    struct Port {
        std::uint64_t generation = 0;
        State state = State::wanted;
        Duration pause{};     ///< after the last failure; zero: it did not fail
        MonoTime retry_at{};  ///< failed
    };

    std::map<NeighbourPort, Port> ports_;
    std::set<NeighbourPort> unsettled_;  ///< not open
    std::vector<NeighbourPort> closed_;
};

}  // namespace reachd
