// The forwarding entries of the host's bridges: which MAC address is behind which port. Keyed as
// the kernel keys them, by bridge, VLAN and address, and chained by port, so that a port that goes
// takes its entries along without a walk over the others. Judges no moves; it tells of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "agent/netlink_message.hpp"
#include "agent/swept_table.hpp"
#include "common/address.hpp"
#include "common/mac_address.hpp"

namespace reachd {

/// A MAC address was learnt behind a port, or is behind it no more.
struct FdbNews {
    IfIndex port = IfIndex::any;
    MacAddress mac{};
    std::uint16_t vlan = 0;  ///< 0: none
    bool added = false;
};

/// News in order. Some were dropped: then only the table itself tells what is where.
struct FdbNewsBatch {
    std::vector<FdbNews> news;
    bool dropped = false;
};

/// A bridge has learnt the MAC in this VLAN; 0: it knows none.
struct LearntMac {
    MacAddress mac{};
    std::uint16_t vlan = 0;

    friend auto operator<=>(const LearntMac&, const LearntMac&) = default;
};

class FdbTable {
  public:
    /// News that wait to be taken: half a full table at once. Further ones are dropped, and that is
    /// told with the others.
    static constexpr std::size_t news_max = 65'536;

    struct Changed {
        bool added = false;
        std::optional<IfIndex> port_before{};  ///< it moved
    };

    explicit FdbTable(std::size_t limit) : entries_(limit) {}

    Changed change(const FdbChanged& entry, Teller teller);

    /// By an event. False: too much to remember, the table is to be read once more.
    [[nodiscard]] bool remember_removal(const FdbRemoved& entry);
    bool remove(const FdbRemoved& entry);

    /// What is behind a port, or belongs to a bridge. True: there was something.
    bool remove_device(IfIndex device);

    void begin_sweep() { entries_.begin_sweep(); }

    struct SweepEnd {
        bool changed = false;
        bool incomplete = false;  ///< see SweptTable
    };

    SweepEnd finish_sweep();

    void abandon_sweep() { entries_.abandon_sweep(); }

    bool sweeping() const { return entries_.sweeping(); }

    std::size_t size() const { return entries_.size(); }

    /// Entries of one bridge, ordered by VLAN and MAC.
    std::vector<FdbChanged> of(IfIndex bridge) const;

    /// Behind which a bridge knows the MAC in this VLAN; any: it does not.
    IfIndex port_of(IfIndex bridge, std::uint16_t vlan, const MacAddress& mac) const;

    std::uint64_t refused() const { return entries_.refused(); }

    /// What bridges learnt behind this port, in no order. Entries that were set by hand are left
    /// out: they do not tell that anybody is there.
    std::vector<LearntMac> learnt_behind(IfIndex port) const;

    /// Since the last call; about the same entries. One that is set by hand now is removed.
    [[nodiscard]] FdbNewsBatch take_news() { return std::exchange(news_, {}); }

  private:
    struct Key {
        IfIndex bridge = IfIndex::any;
        std::uint16_t vlan = 0;
        MacAddress mac{};

        friend bool operator==(const Key&, const Key&) = default;
        friend auto operator<=>(const Key&, const Key&) = default;
    };

    struct Entry {
        std::pair<const Key, Swept<Entry>>* previous = nullptr;  ///< of the same port
        std::pair<const Key, Swept<Entry>>* next = nullptr;
        IfIndex port = IfIndex::any;
        bool fixed = false;
    };

    using Table = SweptTable<Key, Entry>;
    using Node = Table::Node;

    void chain(Node& node);
    void unchain(Node& node);
    void erase(Node& node);
    void tell(const Node& node, bool added);

    Table entries_;
    FdbNewsBatch news_;
    std::unordered_map<IfIndex, Node*> first_of_port_;
};

}  // namespace reachd
