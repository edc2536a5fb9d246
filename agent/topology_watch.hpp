// What the agent makes of the changes of its host's network: lines for people at a bounded rate,
// questions about devices of the hardware, the role of the host. Changes come from the topology;
// this part neither finds them nor judges whether they are faults.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/topology.hpp"
#include "agent/topology_change.hpp"
#include "agent/virtualization.hpp"
#include "common/log.hpp"
#include "common/snapshot.hpp"
#include "common/time.hpp"

namespace reachd {

/// Asks for what rtnetlink does not tell about a device of the hardware: driver, speed.
struct DeviceLookup {
    IfIndex index = IfIndex::any;
    std::uint64_t generation = 0;
    std::string name;
};

class TopologyWatch {
  public:
    /// Lines about changes in one window; the others are counted and told as a number. A container
    /// host makes thousands of links an hour, and its journal has other readers.
    static constexpr std::size_t lines_per_window = 50;
    static constexpr Duration window = std::chrono::seconds(10);
    /// Devices of the hardware whose facts are kept.
    static constexpr std::size_t devices_max = 4096;

    void set_host(HostFacts facts);

    /// The tables have been read for the first time: what is there is no change, but is looked at.
    void take_stock(const Topology& topology);

    void on_changes(const std::vector<TopologyChange>& changes,
                    const Topology& topology,
                    const Instant& now);

    void on_described(const DeviceFacts& facts, std::uint64_t generation, const Topology& topology);

    /// Appends what to ask, and forgets it.
    void take_lookups(std::vector<DeviceLookup>& lookups);
    void take_logs(MonoTime now, std::vector<LogRecord>& logs);

    /// When take_logs() has something to say although nothing changes any more.
    MonoTime next_deadline() const;

    HostRole role() const;

    /// Empty: not known.
    const std::string& virtualization() const { return host_.virtualization; }

    /// By ascending index.
    std::vector<DeviceFacts> devices() const;

    const std::optional<TopologyChangeSnapshot>& last_change() const { return last_change_; }

  private:
    struct Described {
        std::uint64_t generation = 0;
        DeviceFacts facts;
    };

    void look_at(const Link& link, bool ask);
    void report(const TopologyChange& change, MonoTime now);

    HostFacts host_;
    bool has_guests_ = false;  ///< in this run, also when they are gone by now
    std::map<IfIndex, Described> devices_;
    std::vector<DeviceLookup> lookups_;
    std::vector<LogRecord> logs_;
    std::optional<TopologyChangeSnapshot> last_change_;
    MonoTime window_end_{};
    std::size_t lines_ = 0;         ///< in this window
    std::uint64_t suppressed_ = 0;  ///< in this window
};

}  // namespace reachd
