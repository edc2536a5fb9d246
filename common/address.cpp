#include "common/address.hpp"

#include <algorithm>

#include <arpa/inet.h>

namespace reachd {

IpAddress IpAddress::v4(const std::array<std::uint8_t, 4>& bytes) {
    IpAddress address;
    std::copy(bytes.begin(), bytes.end(), address.bytes_.begin());
    return address;
}

IpAddress IpAddress::v6(const std::array<std::uint8_t, 16>& bytes, IfIndex scope) {
    IpAddress address;
    address.bytes_ = bytes;
    address.scope_ = scope;
    address.family_ = Family::ipv6;
    return address;
}

std::optional<IpAddress> IpAddress::from_bytes(ByteView bytes) {
    if (bytes.size() != 4 && bytes.size() != 16) {
        return std::nullopt;
    }
    IpAddress address;
    std::copy(bytes.begin(), bytes.end(), address.bytes_.begin());
    address.family_ = bytes.size() == 4 ? Family::ipv4 : Family::ipv6;
    return address;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
    // inet_pton wants a terminated string; the longest valid text is 45 characters.
    if (text.size() > 45 || text.find('\0') != std::string_view::npos) {
        return std::nullopt;
    }
    const std::string terminated(text);
    std::array<std::uint8_t, 16> bytes{};
    if (inet_pton(AF_INET, terminated.c_str(), bytes.data()) == 1) {
        return from_bytes(ByteView(bytes).first(4));
    }
    if (inet_pton(AF_INET6, terminated.c_str(), bytes.data()) == 1) {
        return from_bytes(bytes);
    }
    return std::nullopt;
}

bool IpAddress::is_loopback() const {
    if (family_ == Family::ipv4) {
        return bytes_[0] == 127;
    }
    return std::all_of(bytes_.begin(), bytes_.end() - 1, [](auto byte) { return byte == 0; }) &&
           bytes_[15] == 1;
}

bool IpAddress::is_multicast() const {
    return family_ == Family::ipv4 ? (bytes_[0] & 0xf0U) == 0xe0U : bytes_[0] == 0xffU;
}

bool IpAddress::is_link_local_v6() const {
    return family_ == Family::ipv6 && bytes_[0] == 0xfeU && (bytes_[1] & 0xc0U) == 0x80U;
}

std::string IpAddress::to_string() const {
    std::array<char, INET6_ADDRSTRLEN> text{};
    const int family = family_ == Family::ipv4 ? AF_INET : AF_INET6;
    ENSURE(inet_ntop(family, bytes_.data(), text.data(), text.size()) != nullptr);
    return text.data();
}

std::string IpAddress::to_string(std::string_view zone) const {
    std::string text = to_string();
    if (is_link_local_v6() && !zone.empty()) {
        text += '%';
        text += zone;
    }
    return text;
}

std::uint32_t IpAddress::hash() const {
    std::uint64_t hash = 0xcbf29ce484222325U;  // FNV-1a
    for (const auto byte : bytes_) {
        hash = (hash ^ byte) * 0x100000001b3U;
    }
    hash = (hash ^ static_cast<std::uint64_t>(scope_)) * 0x100000001b3U;
    hash = (hash ^ static_cast<std::uint64_t>(family_)) * 0x100000001b3U;
    return static_cast<std::uint32_t>(hash ^ (hash >> 32U));
}

}  // namespace reachd
