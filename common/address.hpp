// Network addresses and identities as values: an IP address with its IPv6 zone, an interface index.
// Text in, text out; owns no lookup of interface names or host names.
#pragma once

#include <array>
#include <bit>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "common/bytes.hpp"

namespace reachd {

/// Kernel interface index; 0 means "any". An index can be re-used by another device later.
enum class IfIndex : std::uint32_t { any = 0 };

enum class Family : std::uint8_t { ipv4, ipv6 };

/// An IPv4 or IPv6 address. `scope` is the interface of a link-local IPv6 address (RFC 4007), else
/// IfIndex::any. A default-constructed address is 0.0.0.0, "none".
class IpAddress {
  public:
    IpAddress() = default;

    static IpAddress v4(const std::array<std::uint8_t, 4>& bytes);
    static IpAddress v6(const std::array<std::uint8_t, 16>& bytes, IfIndex scope = IfIndex::any);

    /// From 4 or 16 network-order bytes, as in packets and netlink attributes.
    static std::optional<IpAddress> from_bytes(ByteView bytes);

    /// Numeric text without a zone: "10.0.0.1", "fe80::1". No host names, no IPv4 shorthand.
    static std::optional<IpAddress> parse(std::string_view text);

    Family family() const { return family_; }

    /// 4 or 16 bytes in network order.
    ByteView bytes() const { return {bytes_.data(), family_ == Family::ipv4 ? 4U : 16U}; }

    IfIndex scope() const { return scope_; }

    void set_scope(IfIndex scope) { scope_ = scope; }

    IpAddress without_scope() const {
        IpAddress plain = *this;
        plain.scope_ = IfIndex::any;
        return plain;
    }

    /// Equal but for the scope, which the kernel, quotes and people name on some addresses only.
    bool has_same_bytes(const IpAddress& other) const {
        return words() == other.words() && family_ == other.family_;
    }

    bool is_unspecified() const { return words() == Words{}; }

    bool is_loopback() const;
    bool is_multicast() const;
    /// fe80::/10 (RFC 4291). IPv4's 169.254.0.0/16 needs no zone and does not count.
    bool is_link_local_v6() const;

    /// RFC 5952 text, without the zone (its name is not known here).
    std::string to_string() const;

    /// With the zone "fe80::1%eth0" where the address is link-local IPv6 and the name is known.
    std::string to_string(std::string_view zone) const;

    /// Stable within one run; equal addresses (scope included) hash alike.
    std::uint32_t hash() const;

    friend bool operator==(const IpAddress& a, const IpAddress& b) {
        return a.words() == b.words() && a.scope_ == b.scope_ && a.family_ == b.family_;
    }

    friend auto operator<=>(const IpAddress&, const IpAddress&) = default;

  private:
    /// Compared as two words: each reply is checked against its peer's address, and the compiler
    /// makes a library call of an array's comparison.
    using Words = std::pair<std::uint64_t, std::uint64_t>;

    Words words() const {
        const auto both = std::bit_cast<std::array<std::uint64_t, 2>>(bytes_);
        return {both[0], both[1]};
    }

    std::array<std::uint8_t, 16> bytes_{};
    IfIndex scope_ = IfIndex::any;
    Family family_ = Family::ipv4;
};

}  // namespace reachd
