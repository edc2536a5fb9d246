// The connects under way, found by handle (what an event brings back) and by token (what the engine
// knows). A place is used again as soon as its connect is gone, the latest first; a handle that
// outlives its connect finds nothing. Holds descriptors as numbers only: never closes one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/time.hpp"
#include "probes/probe_cookie.hpp"

namespace reachd {

struct PendingConnect {
    int descriptor = -1;
    /// The port may be the very one that the kernel chooses for our own end.
    bool may_meet_itself = false;
    ProbeToken token;
    MonoTime begun{};  ///< just before its SYN was sent
};

class ConnectTable {
  public:
    /// Place (low half) and the number of the place's uses so far: never that of an earlier use.
    enum class Handle : std::uint64_t {};

    /// `capacity` is what add() may hold at once, 0 to 1,000,000. Takes memory only as connects
    /// come, and never gives it back.
    explicit ConnectTable(std::size_t capacity);

    std::size_t capacity() const { return capacity_; }

    std::size_t size() const { return size_; }

    bool full() const { return size_ >= capacity_; }

    /// Only while not full.
    Handle add(const PendingConnect& connect);

    /// Null when it is gone. Valid until the next add().
    const PendingConnect* find(Handle handle) const;

    /// The latest with this token.
    std::optional<Handle> find(ProbeToken token) const;

    /// Nothing happens when it is gone already.
    void remove(Handle handle);

    /// All of them, in no order; the table is empty then.
    std::vector<PendingConnect> take_all();

  private:
    static constexpr std::uint32_t none = 0xffffffffU;

    struct Place {
        PendingConnect connect;
        std::uint32_t use = 0;
        bool in_use = false;
        std::uint32_t next = none;  ///< in its bucket's chain, or in the free list
        std::uint32_t previous = none;
    };

    std::uint32_t& bucket_of(ProbeToken token);
    std::size_t bucket_number(ProbeToken token) const;
    const Place* place_of(Handle handle) const;
    static Handle handle_of(std::uint32_t place, std::uint32_t use);

    std::size_t capacity_;
    std::size_t size_ = 0;
    std::vector<Place> places_;
    std::uint32_t free_ = none;
    std::vector<std::uint32_t> buckets_;  ///< a power of two, at least capacity; empty before use
};

}  // namespace reachd
