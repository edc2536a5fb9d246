// The grammar below all rtnetlink messages: kernel structures and chains of attributes out of
// bytes. Checks every length and counts what does not fit; knows no message and keeps no state.
// Only for the parts of the parser; everybody else reads agent/netlink_message.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>
#include <type_traits>

#include <linux/netlink.h>

#include "common/address.hpp"
#include "common/bytes.hpp"

namespace reachd::netlink {

// The kernel's address families, which its UAPI headers do not number (netlink_message.cpp checks
// them against <sys/socket.h>).
inline constexpr std::uint8_t family_unspecified = 0;
inline constexpr std::uint8_t family_ipv4 = 2;
inline constexpr std::uint8_t family_bridge = 7;
inline constexpr std::uint8_t family_ipv6 = 10;

inline constexpr std::uint16_t vlan_id_max = 4094;  // 4095 is reserved (IEEE 802.1Q)

inline constexpr std::size_t alignment = 4;  // NLMSG_ALIGNTO, NLA_ALIGNTO, RTNH_ALIGNTO

constexpr std::size_t aligned(std::size_t size) {
    return (size + alignment - 1) & ~(alignment - 1);
}

/// A kernel structure out of the front of `bytes`. Netlink is in host byte order, and a copy needs
/// no alignment.
template <class Struct>
std::optional<Struct> read_struct(ByteView bytes) {
    static_assert(std::is_trivially_copyable_v<Struct>);
    if (bytes.size() < sizeof(Struct)) {
        return std::nullopt;
    }
    Struct value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
}

/// What follows a header of type `Struct` and its padding.
template <class Struct>
ByteView after(ByteView bytes) {
    return tail(bytes, aligned(sizeof(Struct)));
}

inline std::optional<IfIndex> to_index(std::int64_t number) {
    if (number <= 0 || number > std::numeric_limits<std::int32_t>::max()) {
        return std::nullopt;
    }
    return static_cast<IfIndex>(number);
}

/// The IP family of a header; none: a family that is not followed.
constexpr std::optional<Family> to_family(std::uint16_t number) {
    switch (number) {
        case family_ipv4: return Family::ipv4;
        case family_ipv6: return Family::ipv6;
        default: return std::nullopt;
    }
}

constexpr int address_bits(Family family) {
    return family == Family::ipv4 ? 32 : 128;
}

struct Attribute {
    std::uint16_t type = 0;
    ByteView payload{};
};

/// Walks a chain of attributes. Like the kernel it lets up to three stray bytes at the end pass.
class AttributeReader {
  public:
    explicit AttributeReader(ByteView bytes) : rest_(bytes) {}

    std::optional<Attribute> next() {
        const auto header = read_struct<nlattr>(rest_);
        if (!header) {
            return std::nullopt;
        }
        const std::size_t length = header->nla_len;
        if (length < sizeof(nlattr) || length > rest_.size()) {
            broken_ = true;
            return std::nullopt;
        }
        Attribute attribute;
        attribute.type = header->nla_type & static_cast<std::uint16_t>(NLA_TYPE_MASK);
        attribute.payload = rest_.subspan(sizeof(nlattr), length - sizeof(nlattr));
        rest_ = tail(rest_, aligned(length));
        return attribute;
    }

    /// The chain ended in a length that cannot be true.
    bool broken() const { return broken_; }

  private:
    ByteView rest_;
    bool broken_ = false;
};

/// Reads the payload of known attributes and counts those of a wrong length or value.
class PayloadReader {
  public:
    /// Longer payloads are fine: the kernel lets its structures grow at their end.
    template <class Value>
    std::optional<Value> number(const Attribute& attribute) {
        const auto value = read_struct<Value>(attribute.payload);
        count_unless(value.has_value());
        return value;
    }

    /// The raw bytes of a name, up to its first NUL: 1 to `bytes_max` of them; else empty.
    ByteView text(const Attribute& attribute, std::size_t bytes_max) {
        const auto& bytes = attribute.payload;
        const auto end = std::find(bytes.begin(), bytes.end(), std::uint8_t{0});
        const auto length = static_cast<std::size_t>(end - bytes.begin());
        const bool good = length > 0 && length <= bytes_max;
        count_unless(good);
        return good ? bytes.first(length) : ByteView{};
    }

    std::optional<IpAddress> address(Family family, ByteView bytes) {
        const bool fits = bytes.size() * 8 == static_cast<std::size_t>(address_bits(family));
        count_unless(fits);
        return fits ? IpAddress::from_bytes(bytes) : std::nullopt;
    }

    void count_unless(bool good) { malformed_ += good ? 0U : 1U; }

    std::uint32_t malformed() const { return malformed_; }

  private:
    std::uint32_t malformed_ = 0;
};

/// Calls `read(attribute)` for each attribute of a nest; a chain that does not add up is counted.
/// The nest is a loop of its own at each level, so no input can drive the depth.
template <class Read>
void read_nest(ByteView nest, PayloadReader& payload, Read read) {
    AttributeReader attributes(nest);
    while (const auto attribute = attributes.next()) {
        read(*attribute);
    }
    payload.count_unless(!attributes.broken());
}

inline std::string_view as_text(ByteView bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace reachd::netlink
