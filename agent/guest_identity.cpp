#include "agent/guest_identity.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>

namespace reachd {
namespace {

constexpr std::uint32_t root_uid = 0;
constexpr std::uint64_t last_five_bytes = 0xffffffffffU;
constexpr std::uint8_t tap_first_byte = 0xfe;

/// Whose word a machine's evidence is. That of root and of the management counts for each port,
/// that of another user only for the taps he owns.
using Owner = std::uint32_t;

struct Machine {
    std::string name;
    std::string uuid;

    friend bool operator==(const Machine&, const Machine&) = default;
};

/// A network card of a machine, as one kind of evidence shows it.
struct Claim {
    std::size_t machine = 0;
    std::optional<MacAddress> mac;
};

/// Claims to one thing (a device, a MAC). Two machines in conflict are all that there is to know:
/// further ones are not kept, so that a thousand forgeries cost no more than one.
class Claims {
  public:
    void add(Claim claim, const std::vector<Machine>& machines) {
        for (auto& known : claims_) {
            // The same machine twice: libvirt and its process, or both ends of a migration.
            if (machines[known.machine] == machines[claim.machine]) {
                known.mac = known.mac ? known.mac : claim.mac;
                return;
            }
        }
        if (claims_.size() < 2) {
            claims_.push_back(claim);
        }
    }

    const std::vector<Claim>& all() const { return claims_; }

  private:
    std::vector<Claim> claims_;
};

template <class Thing>
using ClaimsTo = std::map<std::pair<Owner, Thing>, Claims>;

/// All that is claimed, by what it is claimed to.
class Directory {
  public:
    explicit Directory(const NameEvidence& evidence) {
        vm_uids_.insert(evidence.vm_uids.begin(), evidence.vm_uids.end());
        const auto domains = std::min(evidence.domains.size(), virtual_machines_max);
        for (std::size_t i = 0; i < domains; ++i) {
            add(evidence.domains[i]);
        }
        const auto processes = std::min(evidence.processes.size(), virtual_machines_max);
        for (std::size_t i = 0; i < processes; ++i) {
            add(evidence.processes[i]);
        }
        for (const auto& [nsid, name] : evidence.namespaces) {
            namespaces_.emplace(nsid, name);  // of several names of one namespace the first
        }
    }

    const Machine& machine(std::size_t index) const { return machines_[index]; }

    std::vector<Claim> by_libvirt(const GuestPort& port) const {
        return find(targets_, port, port.device);
    }

    std::vector<Claim> by_tap_name(const GuestPort& port) const {
        return find(taps_, port, port.device);
    }

    std::vector<Claim> by_tap_mac(const GuestPort& port) const {
        if (!port.mac || port.mac->bytes()[0] != tap_first_byte) {
            return {};
        }
        return find(mac_tails_, port, port.mac->to_number() & last_five_bytes);
    }

    std::vector<Claim> by_guest_mac(const GuestPort& port, const MacAddress& mac) const {
        return find(macs_, port, mac);
    }

    std::string namespace_of(const GuestPort& port) const {
        const auto found = namespaces_.find(port.peer_namespace);
        return found == namespaces_.end() ? std::string() : found->second;
    }

  private:
    void add(const LibvirtDomain& domain) {
        const auto index = machines_.size();
        machines_.push_back({domain.name, domain.uuid});
        for (const auto& interface : domain.interfaces) {
            const Claim claim{index, interface.mac};
            if (!interface.device.empty()) {
                targets_[{root_uid, interface.device}].add(claim, machines_);
            }
            add_mac(root_uid, claim);
        }
    }

    void add(const VmProcess& process) {
        if (!process.owner_uid || (process.name.empty() && process.uuid.empty())) {
            return;
        }
        const Owner owner = is_management(*process.owner_uid) ? root_uid : *process.owner_uid;
        const auto index = machines_.size();
        machines_.push_back({process.name, process.uuid});
        for (const auto& nic : process.nics) {
            const Claim claim{index, nic.mac};
            if (!nic.tap.empty()) {
                taps_[{owner, nic.tap}].add(claim, machines_);
            }
            add_mac(owner, claim);
        }
    }

    void add_mac(Owner owner, const Claim& claim) {
        if (claim.mac) {
            macs_[{owner, *claim.mac}].add(claim, machines_);
            mac_tails_[{owner, claim.mac->to_number() & last_five_bytes}].add(claim, machines_);
        }
    }

    bool is_management(std::uint32_t uid) const {
        return uid == root_uid || vm_uids_.count(uid) != 0;
    }

    template <class Thing>
    std::vector<Claim> find(const ClaimsTo<Thing>& claims,
                            const GuestPort& port,
                            const Thing& thing) const {
        Claims found;
        const auto add_of = [&](Owner owner) {
            if (const auto at = claims.find({owner, thing}); at != claims.end()) {
                for (const auto& claim : at->second.all()) {
                    found.add(claim, machines_);
                }
            }
        };
        add_of(root_uid);
        if (port.owner_uid && !is_management(*port.owner_uid)) {
            add_of(*port.owner_uid);
        }
        return found.all();
    }

    std::set<std::uint32_t> vm_uids_;
    std::vector<Machine> machines_;
    ClaimsTo<std::string> targets_;
    ClaimsTo<std::string> taps_;
    ClaimsTo<MacAddress> macs_;
    ClaimsTo<std::uint64_t> mac_tails_;
    std::map<std::int32_t, std::string> namespaces_;
};

std::string words_for(const Machine& machine) {
    return machine.name.empty() ? machine.uuid : machine.name;
}

class Join {
  public:
    Join(const std::vector<GuestPort>& ports, const NameEvidence& evidence)
        : ports_(ports),
          directory_(evidence),
          identities_(ports.size()) {}

    std::vector<GuestIdentity> run() {
        for (std::size_t i = 0; i < ports_.size(); ++i) {
            identify_by_host(ports_[i], identities_[i]);
        }
        for (std::size_t i = 0; i < ports_.size(); ++i) {
            if (is_open(i)) {
                count_macs(ports_[i]);
            }
        }
        for (std::size_t i = 0; i < ports_.size(); ++i) {
            if (is_open(i)) {
                identify_by_guest(ports_[i], identities_[i]);
            }
        }
        return std::move(identities_);
    }

  private:
    bool is_open(std::size_t port) const {
        return identities_[port].how == IdentifiedBy::nothing && identities_[port].doubt.empty();
    }

    /// By what only the host and its management can bring about.
    void identify_by_host(const GuestPort& port, GuestIdentity& identity) {
        if (decide(directory_.by_libvirt(port), IdentifiedBy::libvirt, port, identity) ||
            decide(directory_.by_tap_name(port), IdentifiedBy::tap_name, port, identity) ||
            decide(directory_.by_tap_mac(port), IdentifiedBy::tap_mac, port, identity)) {
            placed_.insert(identity.macs.begin(), identity.macs.end());
            return;
        }
        if (auto name = directory_.namespace_of(port); !name.empty()) {
            identity.name = std::move(name);
            identity.how = IdentifiedBy::network_namespace;
        }
    }

    /// False: this evidence says nothing.
    bool decide(const std::vector<Claim>& claims,
                IdentifiedBy how,
                const GuestPort& port,
                GuestIdentity& identity) const {
        if (claims.empty()) {
            return false;
        }
        if (claims.size() > 1) {
            identity.doubt = fmt::format("{} may be of {} or of {} ({})",
                                         port.device,
                                         words_for(directory_.machine(claims[0].machine)),
                                         words_for(directory_.machine(claims[1].machine)),
                                         to_text(how));
            return true;
        }
        const auto& claim = claims.front();
        const auto& machine = directory_.machine(claim.machine);
        identity.name = machine.name;
        identity.vm = machine.name;
        identity.uuid = machine.uuid;
        identity.how = how;
        if (claim.mac) {
            identity.macs.push_back(*claim.mac);
        }
        return true;
    }

    template <class Visitor>
    static void for_each_mac(const GuestPort& port, Visitor visit) {
        const auto count = std::min(port.macs.size(), port_macs_considered_max);
        for (std::size_t i = 0; i < count; ++i) {
            visit(port.macs[i]);
        }
    }

    void count_macs(const GuestPort& port) {
        std::set<MacAddress> of_port;
        for_each_mac(port, [&](const MacAddress& mac) {
            if (!directory_.by_guest_mac(port, mac).empty() && of_port.insert(mac).second) {
                ++ports_with_[mac];
            }
        });
    }

    /// By what the guest itself may bring about.
    void identify_by_guest(const GuestPort& port, GuestIdentity& identity) const {
        std::vector<Claim> distinct;
        std::vector<MacAddress> macs;
        for_each_mac(port, [&](const MacAddress& mac) {
            const auto claims = directory_.by_guest_mac(port, mac);
            if (claims.empty() || placed_.count(mac) != 0 || !identity.doubt.empty()) {
                return;
            }
            if (ports_with_.at(mac) > 1) {
                identity.doubt = fmt::format("{} of {} is behind {} and other ports",
                                             mac.to_string(),
                                             words_for(directory_.machine(claims.front().machine)),
                                             port.device);
                return;
            }
            for (const auto& claim : claims) {
                add_distinct(claim, distinct);
            }
            macs.push_back(mac);
        });
        if (identity.doubt.empty() && decide(distinct, IdentifiedBy::guest_mac, port, identity) &&
            identity.doubt.empty()) {
            std::sort(macs.begin(), macs.end());
            macs.erase(std::unique(macs.begin(), macs.end()), macs.end());
            identity.macs = std::move(macs);
        }
    }

    void add_distinct(const Claim& claim, std::vector<Claim>& distinct) const {
        const auto same = [&](const Claim& other) {
            return directory_.machine(other.machine) == directory_.machine(claim.machine);
        };
        if (distinct.size() < 2 && std::none_of(distinct.begin(), distinct.end(), same)) {
            distinct.push_back(claim);
        }
    }

    const std::vector<GuestPort>& ports_;
    Directory directory_;
    std::vector<GuestIdentity> identities_;
    std::set<MacAddress> placed_;  ///< known to be behind a port by better evidence
    std::map<MacAddress, std::size_t> ports_with_;
};

}  // namespace

std::vector<GuestIdentity> identify_guests(const std::vector<GuestPort>& ports,
                                           const NameEvidence& evidence) {
    return Join(ports, evidence).run();
}

}  // namespace reachd
