#include "probes/io/socket_address.hpp"

#include <array>
#include <cstring>

namespace reachd {

SocketAddress to_socket_address(const IpAddress& address, std::uint16_t port) {
    SocketAddress out{};
    if (address.family() == Family::ipv4) {
        sockaddr_in v4{};
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        std::memcpy(&v4.sin_addr, address.bytes().data(), sizeof(v4.sin_addr));
        std::memcpy(&out, &v4, sizeof(v4));
        return out;
    }
    out.sin6_family = AF_INET6;
    out.sin6_port = htons(port);
    out.sin6_scope_id = static_cast<std::uint32_t>(address.scope());
    std::memcpy(&out.sin6_addr, address.bytes().data(), sizeof(out.sin6_addr));
    return out;
}

IpAddress from_socket_address(const SocketAddress& address) {
    if (address.sin6_family == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, &address, sizeof(v4));
        std::array<std::uint8_t, 4> bytes{};
        std::memcpy(bytes.data(), &v4.sin_addr, bytes.size());
        return IpAddress::v4(bytes);
    }
    if (address.sin6_family != AF_INET6) {
        return {};
    }
    std::array<std::uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), &address.sin6_addr, bytes.size());
    return IpAddress::v6(bytes, IfIndex{address.sin6_scope_id});
}

}  // namespace reachd
