// What the inventory keeps of one guest's port: the port itself, the MACs behind it and their
// addresses, as plain values with the few questions that each can answer alone. GuestTable owns
// them, and every rule that needs more than one port.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agent/guest_identity.hpp"
#include "agent/guest_ports.hpp"
#include "common/address.hpp"
#include "common/mac_address.hpp"
#include "common/snapshot.hpp"
#include "common/time.hpp"

namespace reachd {

/// From a link that came up, or an address in ordinary use, to the first probe.
inline constexpr Duration guest_settle_time = std::chrono::seconds(2);

/// From a claim (announcement, DHCP) to the first probe, and the pause after the guest itself asks
/// whether its address is free. A host that probes for its address gives it up when it sees another
/// probe for it (RFC 5227, section 2.1.1); its own probing takes 9 s at most (section 1.1).
inline constexpr Duration guest_claim_time = std::chrono::seconds(10);
/// Between two looks at what would have gone by now, but has a reason to stay.
inline constexpr Duration guest_revisit = std::chrono::minutes(1);
/// Between two looks for room behind one port.
inline constexpr Duration guest_room_pause = std::chrono::milliseconds(100);

struct KnownAddress {
    IpAddress address;       ///< without scope
    std::uint16_t vlan = 0;  ///< in which it is claimed
    bool tagged = false;     ///< by the guest itself: VLANs of its own
    bool restored = false;   ///< known to an earlier run
    bool confirmed = false;  ///< heard here, not only told by the host's table
    LearntBy how = LearntBy::arp;
    WallTime first_seen{};
    WallTime last_seen{};
    MonoTime since = MonoTime::min();       ///< first heard; min: by an earlier run
    MonoTime heard{};                       ///< last
    Duration heard_at_age{};                ///< KnownMac::age then
    MonoTime used = MonoTime::min();        ///< last seen in ordinary use
    MonoTime held_until = MonoTime::min();  ///< not to be probed before
    std::string series_name{};              ///< label `peer`; empty: not given out yet

    /// The first moment at which asking for it can do no harm.
    MonoTime probe_from(MonoTime link_up) const {
        const bool in_use = restored || used >= link_up;
        return std::max(link_up + (in_use ? guest_settle_time : guest_claim_time), held_until);
    }
};

/// What a guest asked for with a MAC, and what was found wanting: see GuestTable.
struct AddressNote {
    enum class Kind : std::uint8_t {
        none,
        probe,         ///< it asked whether the address is free
        dhcp_request,  ///< it asked a server for the address
        dismissed,     ///< the host's table named it, and nobody was heard with it
    };

    Kind kind = Kind::none;
    IpAddress address;
    MonoTime at{};

    /// The guest may still be checking the address: until then.
    MonoTime held_until() const {
        const bool asked = kind == Kind::probe || kind == Kind::dhcp_request;
        return asked ? at + guest_claim_time : MonoTime::min();
    }
};

/// VLANs in which a bridge has learnt a MAC; 0: it knows none. Of a MAC that is in more than fit,
/// the further ones count for nothing: it may seem forgotten too early, and is asked all the same.
class LearntVlans {
  public:
    static constexpr std::size_t vlans_max = 4;

    bool empty() const { return count_ == 0; }

    bool contains(std::uint16_t vlan) const {
        return std::find(vlans_.begin(), vlans_.begin() + count_, vlan) != vlans_.begin() + count_;
    }

    void insert(std::uint16_t vlan) {
        if (count_ < vlans_max && !contains(vlan)) {
            vlans_[count_++] = vlan;
        }
    }

    /// False: it was not there.
    bool erase(std::uint16_t vlan) {
        const auto end = vlans_.begin() + count_;
        const auto found = std::find(vlans_.begin(), end, vlan);
        if (found == end) {
            return false;
        }
        *found = vlans_[--count_];
        return true;
    }

    void clear() { count_ = 0; }

    std::span<const std::uint16_t> all() const { return std::span(vlans_).first(count_); }

  private:
    std::array<std::uint16_t, vlans_max> vlans_{};
    std::uint8_t count_ = 0;
};

struct KnownMac {
    static constexpr std::size_t notes_max = 4;

    bool told = false;   ///< by the virtual machine's own configuration
    bool spoke = false;  ///< a frame came from it
    LearntVlans learnt;  ///< by the bridge, behind this port
    std::uint64_t serial = 0;
    MonoTime last_heard{};
    Duration age{};  ///< time in which it was heard; of a silence only the begin counts
    std::optional<MonoTime> left{};  ///< the bridge forgot it then
    std::vector<KnownAddress> addresses{};
    std::array<AddressNote, notes_max> notes{};

    bool in_fdb() const { return !learnt.empty(); }

    bool is_present() const { return in_fdb() || spoke; }

    void hear(MonoTime now, Duration silence_max) {
        age += std::min(now - last_heard, silence_max);
        last_heard = now;
        left.reset();
    }

    KnownAddress* find(const IpAddress& address, std::uint16_t vlan) {
        const auto found =
            std::find_if(addresses.begin(), addresses.end(), [&](const KnownAddress& known) {
                return known.address == address && known.vlan == vlan;
            });
        return found == addresses.end() ? nullptr : &*found;
    }

    /// The oldest note makes room.
    void note(AddressNote::Kind kind, const IpAddress& address, MonoTime now) {
        auto place = std::find_if(notes.begin(), notes.end(), [&](const AddressNote& known) {
            return known.kind == kind && known.address == address;
        });
        if (place == notes.end()) {
            place = std::min_element(
                notes.begin(), notes.end(), [](const AddressNote& a, const AddressNote& b) {
                    const bool a_used = a.kind != AddressNote::Kind::none;
                    const bool b_used = b.kind != AddressNote::Kind::none;
                    return a_used != b_used ? b_used : a_used && a.at < b.at;
                });
        }
        *place = {kind, address, now};
    }

    /// min: it did not ask for it.
    MonoTime held_until(const IpAddress& address) const {
        MonoTime until = MonoTime::min();
        for (const AddressNote& known : notes) {
            until = known.address == address ? std::max(until, known.held_until()) : until;
        }
        return until;
    }

    bool is_checking(MonoTime now) const {
        return std::any_of(notes.begin(), notes.end(), [&](const AddressNote& known) {
            return known.held_until() > now;
        });
    }

    /// When; nothing: never, or longer ago than `within`.
    std::optional<MonoTime> noted(AddressNote::Kind kind,
                                  const IpAddress& address,
                                  Duration within,
                                  MonoTime now) const {
        for (const AddressNote& known : notes) {
            if (known.kind == kind && known.address == address && now - known.at < within) {
                return known.at;
            }
        }
        return std::nullopt;
    }
};

struct KnownPort {
    Vnic vnic;
    MonoTime appeared{};
    MonoTime link_up{};  ///< last; the first time it was seen up, for those that were up before
    std::optional<MonoTime> first_mac{};
    std::optional<GuestIdentity> identity{};
    MonoTime identified{};
    std::string name{};  ///< fixed; empty: not yet
    bool named_by_map = false;
    bool excluded = false;
    std::map<MacAddress, KnownMac> macs{};
    std::size_t addresses = 0;
    /// No look for room before: looking at all entries for each frame would be dear in a storm.
    MonoTime crowded_until = MonoTime::min();
    MonoTime visited{};
    MonoTime due = mono_never;

    KnownMac* find(const MacAddress& mac) {
        const auto found = macs.find(mac);
        return found == macs.end() ? nullptr : &found->second;
    }

    const KnownMac* find(const MacAddress& mac) const {
        const auto found = macs.find(mac);
        return found == macs.end() ? nullptr : &found->second;
    }
};

}  // namespace reachd
