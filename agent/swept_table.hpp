// A table that is kept by events and read again by dumps, keyed by what the kernel keys it by.
// Knows who spoke last about an entry, what a dump did not mention, and what was removed while it
// ran. It does not know what the entries mean, nor when a dump is asked for.
//
// A part of a dump is composed before it is queued, so it can be older than an event that arrived
// before it: within one sweep an event is believed over the dump.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace reachd {

/// Who says it, the least believable first.
enum class Teller : std::uint8_t {
    dump,
    half_event,  ///< tells a part of the entry only
    event,
};

/// An entry, and who mentioned it last. A base class, so that its padding is used.
template <class Value>
struct Swept : Value {
    Teller teller = Teller::dump;  ///< the most believable one of that sweep
    std::uint32_t epoch = 0;       ///< sweep of the last mention
};

/// Refuses new entries at its limit, and counts them.
template <class Key, class Value, class Map = std::map<Key, Swept<Value>>>
class SweptTable {
  public:
    using Node = typename Map::value_type;  ///< its address is stable

    struct Mentioned {
        Node* node = nullptr;  ///< null: refused
        bool added = false;
    };

    struct SweepEnd {
        std::vector<Key> gone{};
        bool incomplete = false;  ///< the table is to be read once more
    };

    explicit SweptTable(std::size_t limit) : limit_(limit) {}

    void begin_sweep() {
        ++epoch_;
        sweeping_ = true;
        some_removed_ = false;
        some_refused_ = false;
        removed_.clear();
    }

    void abandon_sweep() {
        sweeping_ = false;
        removed_.clear();
    }

    /// Ends the sweep; what was not mentioned since begin_sweep() is for the caller to erase.
    ///
    /// Most dumps go by position and say so if entries came or went meanwhile (NLM_F_DUMP_INTR).
    /// Where they do not say so, a removal makes the dump skip an entry that lives on: then only
    /// what two sweeps in a row did not mention is gone, and the table is to be read once more.
    SweepEnd finish_sweep(bool skips_are_told) {
        SweepEnd end;
        if (!sweeping_) {
            return end;  // of a dump that was given up
        }
        const bool may_have_skipped = !skips_are_told && some_removed_;
        for (const auto& [key, entry] : entries_) {
            const bool mentioned =
                entry.epoch == epoch_ || (may_have_skipped && entry.epoch + 1 == epoch_);
            if (!mentioned) {
                end.gone.push_back(key);
            }
        }
        // There is room now for what was refused.
        end.incomplete = may_have_skipped || (some_refused_ && !end.gone.empty());
        abandon_sweep();
        return end;
    }

    bool sweeping() const { return sweeping_; }

    /// A dump speaks of what an event told or removed since the dump began.
    bool is_stale(const Key& key, Teller teller) const {
        return teller == Teller::dump && sweeping_ &&
               (told_by(key, Teller::event) || removed_.contains(key));
    }

    bool told_by(const Key& key, Teller teller) const {
        const auto place = entries_.find(key);
        return place != entries_.end() && place->second.epoch == epoch_ &&
               place->second.teller == teller;
    }

    /// Finds or adds what a message that is not stale speaks of.
    Mentioned mention(const Key& key, Teller teller) {
        if (teller == Teller::event && sweeping_) {
            removed_.erase(key);
        }
        auto place = entries_.find(key);
        const bool added = place == entries_.end();
        if (added) {
            if (entries_.size() >= limit_) {
                ++refused_;
                some_refused_ = true;
                return {};
            }
            place = entries_.try_emplace(key).first;
        }
        auto& entry = place->second;
        if (added || entry.epoch != epoch_ || entry.teller < teller) {
            entry.teller = teller;
        }
        entry.epoch = epoch_;
        return {&*place, added};
    }

    /// An event removed it: later parts of the running dump must not bring it back. False: too many
    /// to remember, the table is to be read once more.
    [[nodiscard]] bool remember_removal(const Key& key) {
        some_removed_ = true;
        return remember_absence(key);
    }

    /// The same for an entry that is not there, without any having been removed from the kernel's
    /// list, which would make the dump skip one.
    [[nodiscard]] bool remember_absence(const Key& key) {
        if (!sweeping_ || removed_.contains(key)) {
            return true;
        }
        if (removed_.size() >= limit_) {
            return false;
        }
        removed_.insert(key);
        return true;
    }

    bool erase(const Key& key) { return entries_.erase(key) != 0; }

    Node* find(const Key& key) {
        const auto place = entries_.find(key);
        return place == entries_.end() ? nullptr : &*place;
    }

    const Node* find(const Key& key) const {
        const auto place = entries_.find(key);
        return place == entries_.end() ? nullptr : &*place;
    }

    const Map& entries() const { return entries_; }

    std::size_t size() const { return entries_.size(); }

    std::size_t limit() const { return limit_; }

    std::uint64_t refused() const { return refused_; }

    void count_refusal() { ++refused_; }

  private:
    std::size_t limit_;
    Map entries_;
    std::set<Key> removed_;  ///< by events, during the sweep
    std::uint32_t epoch_ = 1;
    bool sweeping_ = false;
    bool some_removed_ = false;  ///< by events, since the sweep began
    bool some_refused_ = false;  ///< since the sweep began
    std::uint64_t refused_ = 0;
};

}  // namespace reachd
