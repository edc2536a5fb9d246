// Which addresses a guest may have, and which of them may be asked for on its port: the host's own
// addresses, its gateways and what is on-link at a bridge, and what an IPv6 interface identifier
// says. Pure questions about addresses; it remembers no guests and judges no claims.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/address.hpp"
#include "common/link.hpp"
#include "common/mac_address.hpp"

namespace reachd {

struct IpAddressHash {
    std::size_t operator()(const IpAddress& address) const { return address.hash(); }
};

/// One host's, on some network: not unspecified, loopback, multicast, of "this network" (RFC 791:
/// 0.0.0.0/8), broadcast, or IPv4 in IPv6 (RFC 4291, section 2.5.5.2).
bool is_host_unicast(const IpAddress& address);

/// fe80::/10 and 169.254.0.0/16 (RFC 3927): on-link wherever they are seen.
bool is_link_local(const IpAddress& address);

/// An IPv6 address that is likely a temporary one (RFC 8981) of this MAC address. From outside it
/// cannot be told from a stable opaque one (RFC 7217) by itself, so it takes another address of the
/// same /64 among `all` whose identifier is made from the MAC address (RFC 4291, appendix A), or is
/// that of the MAC's own link-local address.
bool is_temporary(const IpAddress& address, const MacAddress& mac, std::span<const IpAddress> all);

/// The addresses of the host and its gateways, and what is on-link where.
class HostAddresses {
  public:
    /// True: something changed. Gateways carry their device as scope where they are link-local.
    bool set(std::vector<InterfaceAddress> addresses, std::vector<IpAddress> gateways);

    /// `address` is without scope; `devices` are those of this host on its segment. A link-local
    /// address means something on its own link only.
    bool is_own(const IpAddress& address, std::span<const IfIndex> devices) const;
    bool is_gateway(const IpAddress& address, std::span<const IfIndex> devices) const;

    /// A directed broadcast or the network's own address of an IPv4 prefix on these devices.
    bool is_broadcast(const IpAddress& address, std::span<const IfIndex> devices) const;

    /// Inside a prefix on these devices; or they have none of its family, and nothing tells. A
    /// prefix of full length or a link-local one tells nothing of who else is there.
    bool is_on_link(const IpAddress& address, std::span<const IfIndex> devices) const;

    /// The device by which the host itself, with an address of its own, talks to this one on-link;
    /// any: it cannot.
    IfIndex device_towards(const IpAddress& address, std::span<const IfIndex> devices) const;

  private:
    using AddressSet = std::unordered_set<IpAddress, IpAddressHash>;

    static bool contains(const AddressSet& set,
                         IpAddress address,
                         std::span<const IfIndex> devices);
    std::span<const InterfaceAddress> on(IfIndex device) const;

    std::vector<InterfaceAddress> addresses_;
    std::vector<IpAddress> gateway_list_;
    AddressSet own_;
    AddressSet gateways_;
    std::unordered_map<IfIndex, std::vector<InterfaceAddress>> by_device_;
};

/// fe80:: and the modified EUI-64 of this MAC (RFC 4291, appendix A), without scope.
IpAddress link_local_address(const MacAddress& mac);

/// Whether the address lies in the network of this one, that of the same family.
bool in_prefix(const IpAddress& address, const InterfaceAddress& network);

}  // namespace reachd
