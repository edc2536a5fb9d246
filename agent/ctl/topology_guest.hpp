// The guests in the tree of `reachctl topology`: what of a guest is said beside its port, and how
// wide it is over all of them. Draws no tree.
#pragma once

#include <cstddef>
#include <string>

#include "agent/ctl/terminal.hpp"
#include "agent/ctl/topology_report.hpp"

namespace reachd::ctl {

/// "● db2  10.77.0.31 +1  210 µs", in its parts.
struct GuestCells {
    std::string state;
    std::string name;
    std::string address;  ///< the one that tells most, and how many others there are; or that none
                          ///< is known, then `has_address` is false
    bool has_address = false;
    std::string answer;  ///< RTT of the last answer, or the state where that is no good one
};

GuestCells guest_cells(const PortGuest& guest, const Terminal& terminal);

/// Widths of the parts of all guests of a tree.
class GuestColumns {
  public:
    void add(const GuestCells& cells);

    /// Of a whole guest, symbol included.
    std::size_t width() const;

    /// Cuts names until a guest is as wide as `width_max`, as far as that goes.
    void fit(std::size_t width_max);

    TextLine text(const GuestCells& cells, const Terminal& terminal) const;

  private:
    std::size_t name_ = 0;
    std::size_t address_ = 0;
    std::size_t answer_ = 0;
    std::size_t remark_ = 0;  ///< what stands in the place of address and answer
};

}  // namespace reachd::ctl
