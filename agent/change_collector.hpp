// Gathers what happens to devices until an action of somebody's is over, and tells it as one
// change: the first touch of a device keeps what it was, the end compares. What came and went
// within that time is no news. Owns no table; it is told before a link changes, and looks at the
// tables when the change is due.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/link_table.hpp"
#include "agent/netlink_message.hpp"
#include "agent/route_table.hpp"
#include "agent/topology_change.hpp"
#include "common/link.hpp"
#include "common/time.hpp"

namespace reachd {

class ChangeCollector {
  public:
    /// The kernel sends 5 to 8 messages for one action, all within a few milliseconds.
    static constexpr Duration settle_time = std::chrono::milliseconds(25);
    /// Devices that wait to be told of; more are counted. A fast kernel makes 50 in that time.
    static constexpr std::size_t pending_max = 16'384;

    using Gateways = std::vector<Gateway>;

    explicit ChangeCollector(const LinkTable& links) : links_(links) {}

    // --- What is about to change, or did

    /// Before the link changes or goes.
    void touch(const LinkPointer& link, const Instant& now);
    void appeared(const Link& link, const Instant& now);
    /// `link` as it was last.
    void removed(const LinkPointer& link, bool moved_away, const Instant& now);
    /// Before they change.
    void touch_vlans(const LinkPointer& link, const Instant& now);
    void address_changed(const InterfaceAddress& address, bool added, const Instant& now);
    void neighbour_mac_changed(const NeighbourChanged& neighbour,
                               const MacAddress& before,
                               const Instant& now);
    void mac_moved(const FdbChanged& entry, IfIndex port_before, const Instant& now);
    void touch_gateways(const Instant& now);

    // --- What is told

    /// mono_never while nothing changed.
    MonoTime due() const;

    /// Ordered by time. `gateways` answers with the current ones.
    template <class CurrentGateways>
    std::vector<TopologyChange> take(MonoTime now, CurrentGateways gateways) {
        if (due() > now) {
            return {};
        }
        // Untouched ones may still differ from what was told: of a device whose change waited.
        return take_due(now, gateways());
    }

    /// All so far is no news.
    void forget(Gateways gateways);

    /// Devices whose changes were not told, being too many at once.
    std::uint64_t refused() const { return refused_; }

  private:
    struct AddressTouch {
        InterfaceAddress address{};
        bool existed = false;
        bool exists = false;
    };

    struct NeighbourTouch {
        IpAddress address{};
        MacAddress before{};
        MacAddress after{};
    };

    struct MacMove {
        MacAddress mac{};
        std::uint16_t vlan = 0;
        IfIndex before = IfIndex::any;
        IfIndex after = IfIndex::any;
        LinkPointer port_before{};  ///< keeps the name of a port that goes
    };

    /// What only some changes have.
    struct Extras {
        std::vector<AddressTouch> addresses{};
        std::vector<NeighbourTouch> neighbours{};
        std::vector<MacMove> moves{};
        std::optional<std::vector<VlanRange>> vlans{};  ///< before
        std::uint32_t refused = 0;
    };

    struct Pending {
        Instant first{};
        IfIndex device = IfIndex::any;
        std::uint64_t generation = 0;
        LinkPointer before{};  ///< null: it did not exist
        LinkPointer last{};    ///< null: it exists
        LinkPointer master_before{};
        LinkPointer lower_before{};
        bool moved_away = false;
        std::unique_ptr<Extras> extras{};
    };

    class FactWriter;

    Pending* pending(std::uint64_t generation);
    Pending* pending_of(const LinkPointer& link, const Instant& now);
    Pending make_pending(const LinkPointer& link, const Instant& now) const;
    Pending* add(Pending pending);
    Extras* extras_of(IfIndex device, const Instant& now);
    void release_memory();
    LinkPointer link_or_null(IfIndex index) const;
    std::vector<TopologyChange> take_due(MonoTime now, const Gateways& gateways);
    void add_devices_of_gateways(const Gateways& gateways);
    void settle_gateways(const Gateways& gateways);
    TopologyChange tell(const Pending& told, const Gateways& gateways);
    void tell_master(const Pending& told, const Link& after, FactWriter& facts) const;
    static void tell_link(FactWriter& facts, const Link& before, const Link& after);
    void tell_lower(const Pending& told, const Link& after, FactWriter& facts) const;
    void tell_extras(const Pending& told, FactWriter& facts) const;
    void tell_gateways(IfIndex device, const Gateways& gateways, FactWriter& facts);

    const LinkTable& links_;
    std::deque<Pending> pending_;                                    ///< by time
    std::int64_t first_number_ = 0;                                  ///< of pending_.front()
    std::unordered_map<std::uint64_t, std::int64_t> by_generation_;  ///< to numbers
    std::optional<Instant> gateways_touched_{};
    Gateways gateways_told_;  ///< of each device as of its last change told
    std::uint64_t refused_ = 0;
};

}  // namespace reachd
