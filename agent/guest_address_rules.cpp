#include "agent/guest_address_rules.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "common/bytes.hpp"

namespace reachd {
namespace {

/// Network and identifier of a SLAAC address (RFC 4862) are 64 bits each.
constexpr std::size_t identifier_bytes = 8;

/// A random identifier of 8 bytes has so many zeros among them once in 300,000; identifiers that
/// people or DHCPv6 servers give out have nearly always.
constexpr std::ptrdiff_t zeros_of_assigned = 3;

ByteView identifier_of(const IpAddress& address) {
    return address.bytes().last(identifier_bytes);
}

bool equal(ByteView a, ByteView b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

std::array<std::uint8_t, identifier_bytes> modified_eui64(const MacAddress& mac) {
    const auto& m = mac.bytes();
    const auto universal_flipped = static_cast<std::uint8_t>(m[0] ^ 0x02U);
    return {universal_flipped, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]};
}

bool looks_random(ByteView identifier) {
    const bool eui64 = identifier[3] == 0xff && identifier[4] == 0xfe;
    return !eui64 && std::count(identifier.begin(), identifier.end(), 0) < zeros_of_assigned;
}

bool is_mapped_ipv4(const IpAddress& address) {
    const ByteView bytes = address.bytes();
    return address.family() == Family::ipv6 &&
           std::all_of(bytes.begin(), bytes.begin() + 10, [](auto byte) { return byte == 0; }) &&
           bytes[10] == 0xff && bytes[11] == 0xff;
}

unsigned bits_of(Family family) {
    return family == Family::ipv4 ? 32U : 128U;
}

}  // namespace

bool in_prefix(const IpAddress& address, const InterfaceAddress& network) {
    const ByteView a = address.bytes();
    const ByteView b = network.address.bytes();
    if (a.size() != b.size()) {
        return false;
    }
    const std::size_t length = std::min<std::size_t>(network.prefix_length, a.size() * 8);
    const std::size_t whole = length / 8;
    if (!equal(a.first(whole), b.first(whole))) {
        return false;
    }
    const unsigned rest = length % 8;
    return rest == 0 || (a[whole] ^ b[whole]) >> (8U - rest) == 0;
}

namespace {

/// Whether it tells who else is on the link.
bool tells_network(const InterfaceAddress& network, Family family) {
    return network.address.family() == family && network.prefix_length < bits_of(family) &&
           !is_link_local(network.address);
}

std::uint32_t number_of(const IpAddress& ipv4) {
    const ByteView bytes = ipv4.bytes();
    return (std::uint32_t{bytes[0]} << 24U) | (std::uint32_t{bytes[1]} << 16U) |
           (std::uint32_t{bytes[2]} << 8U) | bytes[3];
}

}  // namespace

IpAddress link_local_address(const MacAddress& mac) {
    std::array<std::uint8_t, 16> bytes{0xfe, 0x80};
    const auto identifier = modified_eui64(mac);
    std::copy(identifier.begin(), identifier.end(), bytes.begin() + identifier_bytes);
    return IpAddress::v6(bytes);
}

bool is_host_unicast(const IpAddress& address) {
    if (address.is_unspecified() || address.is_loopback() || address.is_multicast() ||
        is_mapped_ipv4(address)) {
        return false;
    }
    return address.family() == Family::ipv6 ||
           (address.bytes()[0] != 0 && number_of(address) != 0xffffffffU);
}

bool is_link_local(const IpAddress& address) {
    return address.is_link_local_v6() || (address.family() == Family::ipv4 &&
                                          address.bytes()[0] == 169 && address.bytes()[1] == 254);
}

bool is_temporary(const IpAddress& address, const MacAddress& mac, std::span<const IpAddress> all) {
    if (address.family() != Family::ipv6 || address.is_link_local_v6() ||
        !looks_random(identifier_of(address))) {
        return false;
    }
    const auto eui64 = modified_eui64(mac);
    const auto is_stable = [&](const IpAddress& other) {
        return equal(identifier_of(other), eui64) ||
               std::any_of(all.begin(), all.end(), [&other](const IpAddress& own) {
                   return own.is_link_local_v6() && equal(identifier_of(own), identifier_of(other));
               });
    };
    return !is_stable(address) && std::any_of(all.begin(), all.end(), [&](const IpAddress& other) {
        return other.family() == Family::ipv6 && !other.is_link_local_v6() &&
               equal(other.bytes().first(8), address.bytes().first(8)) && is_stable(other);
    });
}

bool HostAddresses::set(std::vector<InterfaceAddress> addresses, std::vector<IpAddress> gateways) {
    if (addresses == addresses_ && gateways == gateway_list_) {
        return false;
    }
    addresses_ = std::move(addresses);
    gateway_list_ = std::move(gateways);
    own_.clear();
    by_device_.clear();
    for (const InterfaceAddress& own : addresses_) {
        IpAddress address = own.address;
        address.set_scope(address.is_link_local_v6() ? own.device : IfIndex::any);
        own_.insert(address);
        by_device_[own.device].push_back(own);
    }
    gateways_ = AddressSet(gateway_list_.begin(), gateway_list_.end());
    return true;
}

bool HostAddresses::contains(const AddressSet& set,
                             IpAddress address,
                             std::span<const IfIndex> devices) {
    if (!address.is_link_local_v6()) {
        return set.contains(address);
    }
    return std::any_of(devices.begin(), devices.end(), [&](IfIndex device) {
        address.set_scope(device);
        return set.contains(address);
    });
}

bool HostAddresses::is_own(const IpAddress& address, std::span<const IfIndex> devices) const {
    return contains(own_, address, devices);
}

bool HostAddresses::is_gateway(const IpAddress& address, std::span<const IfIndex> devices) const {
    return contains(gateways_, address, devices);
}

std::span<const InterfaceAddress> HostAddresses::on(IfIndex device) const {
    const auto found = by_device_.find(device);
    return found == by_device_.end() ? std::span<const InterfaceAddress>() : found->second;
}

bool HostAddresses::is_broadcast(const IpAddress& address, std::span<const IfIndex> devices) const {
    if (address.family() != Family::ipv4) {
        return false;
    }
    for (const IfIndex device : devices) {
        for (const InterfaceAddress& network : on(device)) {
            // RFC 3021: a prefix of 31 bits has neither.
            if (network.prefix_length > 30 || !in_prefix(address, network)) {
                continue;
            }
            const std::uint32_t host_mask = 0xffffffffU >> network.prefix_length;
            const std::uint32_t host_part = number_of(address) & host_mask;
            if (host_part == 0 || host_part == host_mask) {
                return true;
            }
        }
    }
    return false;
}

bool HostAddresses::is_on_link(const IpAddress& address, std::span<const IfIndex> devices) const {
    if (is_link_local(address)) {
        return true;
    }
    bool told = false;
    for (const IfIndex device : devices) {
        for (const InterfaceAddress& network : on(device)) {
            if (!tells_network(network, address.family())) {
                continue;
            }
            if (in_prefix(address, network)) {
                return true;
            }
            told = true;
        }
    }
    return !told;
}

IfIndex HostAddresses::device_towards(const IpAddress& address,
                                      std::span<const IfIndex> devices) const {
    for (const IfIndex device : devices) {
        const auto networks = on(device);
        const bool reaches =
            std::any_of(networks.begin(), networks.end(), [&](const InterfaceAddress& network) {
                return network.prefix_length < bits_of(address.family()) &&
                       in_prefix(address, network);
            });
        if (reaches) {
            return device;
        }
    }
    return IfIndex::any;
}

}  // namespace reachd
