#include "agent/name_resolution.hpp"

#include <algorithm>

#include "common/check.hpp"

namespace reachd {

namespace {

/// Uniform between `least` and `most`.
Duration between(Duration least, Duration most, Random& random) {
    constexpr std::uint32_t steps = 1U << 16U;
    return least + (most - least) / steps * random.below(steps);
}

/// At most a tenth early, so that hosts that failed together do not ask together again.
Duration jittered(Duration interval, Random& random) {
    return between(interval - interval / 10, interval, random);
}

Duration retry_delay(std::uint32_t failures) {
    Duration delay = NameResolution::retry_first;
    for (std::uint32_t i = 1; i < failures && delay < NameResolution::retry_longest; ++i) {
        delay *= 2;
    }
    return std::min(delay, NameResolution::retry_longest);
}

bool is_wanted(FamilyChoice choice, Family family) {
    switch (choice) {
        case FamilyChoice::any: return true;
        case FamilyChoice::ipv4: return family == Family::ipv4;
        case FamilyChoice::ipv6: return family == Family::ipv6;
    }
    return false;
}

bool is_broadcast(const IpAddress& address) {
    const auto bytes = address.bytes();
    return address.family() == Family::ipv4 &&
           std::all_of(bytes.begin(), bytes.end(), [](auto byte) { return byte == 0xff; });
}

/// Whoever runs a zone decides what its names mean, but not that we probe a whole segment.
std::vector<IpAddress> usable_addresses(const ResolveResult& result, FamilyChoice family) {
    std::vector<IpAddress> usable;
    if (!result) {
        return usable;
    }
    for (const IpAddress& address : *result) {
        if (is_wanted(family, address.family()) && !address.is_unspecified() &&
            !address.is_multicast() && !is_broadcast(address)) {
            usable.push_back(address);
        }
    }
    return usable;
}

}  // namespace

void NameResolution::add(const std::string& name, FamilyChoice family, MonoTime now) {
    const auto [entry, is_new] = names_.try_emplace(Key{name, family});
    ++entry->second.peers;
    if (!is_new) {
        return;
    }
    entry->second.serial = next_serial_++;
    if (!is_under_way(entry->first)) {  // removed and added again: that lookup is ours once more
        schedule(entry, now);
    }
}

void NameResolution::remove(const std::string& name, FamilyChoice family) {
    const auto entry = names_.find(Key{name, family});
    ENSURE(entry != names_.end());
    if (--entry->second.peers == 0) {
        unschedule(entry);
        names_.erase(entry);
    }
}

std::vector<LookupRequest> NameResolution::take_requests(MonoTime now, Random& random) {
    expire(now, random);
    std::vector<LookupRequest> requests;
    while (under_way_.size() < under_way_max && !due_.empty() && due_.begin()->first.first <= now) {
        const auto name = due_.begin()->second;
        unschedule(name);
        const Key& key = name->first;
        const MonoTime give_up = now + lookup_timeout;
        under_way_.push_back(Lookup{next_id_, key, give_up});
        requests.push_back(LookupRequest{next_id_, key.name, key.family, give_up});
        ++next_id_;
    }
    return requests;
}

std::optional<NameUpdate> NameResolution::on_result(std::uint64_t id,
                                                    const ResolveResult& result,
                                                    MonoTime now,
                                                    Random& random) {
    const auto has_id = [id](const Lookup& lookup) { return lookup.id == id; };
    auto lookup = std::find_if(under_way_.begin(), under_way_.end(), has_id);
    const bool in_time = lookup != under_way_.end();
    auto& lookups = in_time ? under_way_ : given_up_;
    if (!in_time) {
        lookup = std::find_if(given_up_.begin(), given_up_.end(), has_id);
        if (lookup == given_up_.end()) {
            return std::nullopt;
        }
    }
    const Key key = std::move(lookup->key);
    lookups.erase(lookup);
    const auto name = names_.find(key);
    if (name == names_.end()) {
        return std::nullopt;
    }
    const auto usable = usable_addresses(result, key.family);
    if (usable.empty() && !in_time) {
        return std::nullopt;  // it was counted when it was given up
    }
    bool changed = false;
    if (usable.empty()) {
        fail(name, result ? ResolveError::not_found : result.error(), now, random);
    } else {
        changed = succeed(name, usable, now, random);
    }
    return NameUpdate{key.name, key.family, name->second.state.address, changed};
}

std::optional<NameState> NameResolution::state(const std::string& name, FamilyChoice family) const {
    const auto entry = names_.find(Key{name, family});
    if (entry == names_.end()) {
        return std::nullopt;
    }
    return entry->second.state;
}

MonoTime NameResolution::next_deadline() const {
    MonoTime deadline = under_way_.empty() ? mono_never : under_way_.front().give_up;
    // With no room for another lookup a due name must wait, and not make the loop spin.
    if (under_way_.size() < under_way_max && !due_.empty()) {
        deadline = std::min(deadline, due_.begin()->first.first);
    }
    return deadline;
}

void NameResolution::schedule(Names::iterator name, MonoTime due) {
    unschedule(name);
    due_.emplace(std::pair(due, name->second.serial), name);
    name->second.due = due;
}

void NameResolution::unschedule(Names::iterator name) {
    if (name->second.due) {
        due_.erase(std::pair(*name->second.due, name->second.serial));
        name->second.due.reset();
    }
}

void NameResolution::expire(MonoTime now, Random& random) {
    while (!under_way_.empty() && under_way_.front().give_up <= now) {
        if (given_up_.size() == given_up_max) {
            given_up_.erase(given_up_.begin());
        }
        given_up_.push_back(std::move(under_way_.front()));
        under_way_.erase(under_way_.begin());
        const auto name = names_.find(given_up_.back().key);
        if (name != names_.end()) {
            fail(name, ResolveError::failed, now, random);
        }
    }
}

void NameResolution::fail(Names::iterator name, ResolveError error, MonoTime now, Random& random) {
    NameState& state = name->second.state;
    ++errors_;
    ++state.failures;
    state.last_error = error;
    schedule(name, now + jittered(retry_delay(state.failures), random));
}

bool NameResolution::succeed(Names::iterator name,
                             const std::vector<IpAddress>& usable,
                             MonoTime now,
                             Random& random) {
    NameState& state = name->second.state;
    const bool is_first = !state.address.has_value();
    const bool is_kept =
        !is_first && std::find(usable.begin(), usable.end(), *state.address) != usable.end();
    if (!is_kept) {
        state.address = usable.front();
    }
    state.failures = 0;
    state.last_error.reset();
    if (!is_under_way(name->first)) {
        // Names that came together in one file part company with their first refresh.
        const Duration delay = is_first ? between(refresh_interval / 10, refresh_interval, random)
                                        : jittered(refresh_interval, random);
        schedule(name, now + delay);
    }
    return !is_kept;
}

bool NameResolution::is_under_way(const Key& key) const {
    return std::any_of(under_way_.begin(), under_way_.end(), [&key](const Lookup& lookup) {
        return lookup.key == key;
    });
}

}  // namespace reachd
