// IpAddress to and from the kernel's sockaddr_in and sockaddr_in6.
#pragma once

#include <cstdint>

#include <netinet/in.h>
#include <sys/socket.h>

#include "common/address.hpp"

namespace reachd {

/// Either of the two: sockaddr_in6 is the larger, and an sockaddr_in begins alike.
using SocketAddress = sockaddr_in6;

/// `port` as we write it; 0: none.
SocketAddress to_socket_address(const IpAddress& address, std::uint16_t port);

/// 0.0.0.0 for any other family.
IpAddress from_socket_address(const SocketAddress& address);

constexpr socklen_t socket_address_bytes(Family family) {
    return family == Family::ipv4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
}

}  // namespace reachd
