// What the guest inventory refused, as counts, and what it has to say of it, as log lines: each
// matter once, and at a bounded rate, since a guest decides how many lies it tells. It judges
// nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "common/log.hpp"
#include "common/snapshot.hpp"
#include "common/time.hpp"

namespace reachd {

/// Why something that was heard, found or restored is not in the inventory.
enum class GuestRefusal : std::uint8_t {
    port_limit,         ///< GuestTable::ports_max
    mac_limit,          ///< GuestTable::macs_per_port_max, or macs_max
    address_limit,      ///< of a MAC, a port, or all
    foreign_mac,        ///< speaks for a MAC that is not behind the port
    mac_elsewhere,      ///< has the MAC of another guest
    unusable_address,   ///< loopback, multicast, broadcast
    host_address,       ///< claims an address of the host
    gateway_address,    ///< claims an address of a gateway
    guest_address,      ///< claims an address of another guest
    contested_address,  ///< two MACs behind one port claim the address
    restored_record,    ///< of the run-time file: expired, impossible, or for another device
};
inline constexpr std::size_t guest_refusal_count = 11;

constexpr std::string_view to_text(GuestRefusal why) {
    constexpr std::array<std::string_view, guest_refusal_count> names{"port_limit",
                                                                      "mac_limit",
                                                                      "address_limit",
                                                                      "foreign_mac",
                                                                      "mac_elsewhere",
                                                                      "unusable_address",
                                                                      "host_address",
                                                                      "gateway_address",
                                                                      "guest_address",
                                                                      "contested_address",
                                                                      "restored_record"};
    return names[static_cast<std::size_t>(why)];
}

class GuestNotices {
  public:
    /// Lines in one window; the others are told as a number.
    static constexpr std::size_t lines_per_window = 20;
    static constexpr Duration window = std::chrono::seconds(60);
    /// Matters remembered so that they are told once; the oldest are forgotten.
    static constexpr std::size_t matters_max = 1024;

    void count(GuestRefusal why, std::uint64_t times = 1) {
        counts_[static_cast<std::size_t>(why)] += times;
    }

    std::uint64_t counted(GuestRefusal why) const { return counts_[static_cast<std::size_t>(why)]; }

    /// Those that have occurred.
    std::vector<NamedCount> counts() const;

    /// False: it was said already, or too much is said at the moment; then the line need not be
    /// made. `matter` tells one matter from another.
    [[nodiscard]] bool is_news(std::uint64_t matter, MonoTime now);

    void say(LogRecord record) { logs_.push_back(std::move(record)); }

    /// Appends what is to be said, and forgets it.
    void take_logs(MonoTime now, std::vector<LogRecord>& logs);

    /// When take_logs() has something to say although nothing happens any more.
    MonoTime next_deadline() const;

  private:
    std::array<std::uint64_t, guest_refusal_count> counts_{};
    std::unordered_set<std::uint64_t> told_;
    std::deque<std::uint64_t> told_in_order_;
    std::vector<LogRecord> logs_;
    MonoTime window_end_{};
    std::size_t lines_ = 0;         ///< in this window
    std::uint64_t suppressed_ = 0;  ///< in this window
};

}  // namespace reachd
