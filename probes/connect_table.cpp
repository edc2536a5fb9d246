#include "probes/connect_table.hpp"

#include <algorithm>
#include <bit>

#include "common/check.hpp"

namespace reachd {

namespace {

constexpr std::size_t capacity_max = 1'000'000;

}  // namespace

ConnectTable::ConnectTable(std::size_t capacity) : capacity_(capacity) {
    ENSURE(capacity <= capacity_max);
}

/// Tokens are two counters; the odd factor (2^64 by the golden ratio) spreads them.
std::size_t ConnectTable::bucket_number(ProbeToken token) const {
    const std::uint64_t both = std::uint64_t{token.session} << 32U | token.sequence;
    const std::uint64_t spread = both * 0x9e3779b97f4a7c15U;
    return static_cast<std::size_t>(spread >> 32U) & (buckets_.size() - 1);
}

std::uint32_t& ConnectTable::bucket_of(ProbeToken token) {
    return buckets_[bucket_number(token)];
}

ConnectTable::Handle ConnectTable::handle_of(std::uint32_t place, std::uint32_t use) {
    return Handle{std::uint64_t{use} << 32U | place};
}

const ConnectTable::Place* ConnectTable::place_of(Handle handle) const {
    const auto number = static_cast<std::uint64_t>(handle);
    const std::uint64_t place = number & 0xffffffffU;
    if (place >= places_.size()) {
        return nullptr;
    }
    const Place& found = places_[place];
    return found.in_use && found.use == number >> 32U ? &found : nullptr;
}

ConnectTable::Handle ConnectTable::add(const PendingConnect& connect) {
    ENSURE(!full());
    if (buckets_.empty()) {
        buckets_.assign(std::bit_ceil(capacity_), none);
    }
    if (free_ == none) {
        free_ = static_cast<std::uint32_t>(places_.size());
        places_.emplace_back();
    }
    const std::uint32_t number = free_;
    Place& place = places_[number];
    free_ = place.next;
    std::uint32_t& head = bucket_of(connect.token);
    place.connect = connect;
    place.in_use = true;
    place.next = head;
    place.previous = none;
    if (head != none) {
        places_[head].previous = number;
    }
    head = number;
    ++size_;
    return handle_of(number, place.use);
}

const PendingConnect* ConnectTable::find(Handle handle) const {
    const Place* place = place_of(handle);
    return place == nullptr ? nullptr : &place->connect;
}

std::optional<ConnectTable::Handle> ConnectTable::find(ProbeToken token) const {
    if (buckets_.empty()) {
        return std::nullopt;
    }
    std::uint32_t number = buckets_[bucket_number(token)];
    while (number != none && places_[number].connect.token != token) {
        number = places_[number].next;
    }
    return number == none ? std::nullopt : std::optional(handle_of(number, places_[number].use));
}

void ConnectTable::remove(Handle handle) {
    if (place_of(handle) == nullptr) {
        return;
    }
    const auto number = static_cast<std::uint32_t>(static_cast<std::uint64_t>(handle));
    Place& place = places_[number];
    if (place.next != none) {
        places_[place.next].previous = place.previous;
    }
    if (place.previous != none) {
        places_[place.previous].next = place.next;
    } else {
        bucket_of(place.connect.token) = place.next;
    }
    place.in_use = false;
    ++place.use;
    place.next = free_;
    free_ = number;
    --size_;
}

std::vector<PendingConnect> ConnectTable::take_all() {
    std::vector<PendingConnect> all;
    all.reserve(size_);
    for (std::uint32_t number = 0; number < places_.size(); ++number) {
        if (places_[number].in_use) {
            all.push_back(places_[number].connect);
            remove(handle_of(number, places_[number].use));
        }
    }
    return all;
}

}  // namespace reachd
