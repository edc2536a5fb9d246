// Reads messages for tests, in the way the daemon does, and looks into their bytes.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include <catch2/catch.hpp>

#include "agent/netlink_message.hpp"
#include "tests/agent/netlink_builder.hpp"

namespace reachd::test {

/// In a buffer of exactly its size, so that a sanitizer sees any read past the end.
inline std::vector<NetlinkMessage> read_all(const Bytes& bytes) {
    const auto exact = std::make_unique<std::uint8_t[]>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), exact.get());
    std::vector<NetlinkMessage> messages;
    NetlinkReader reader(ByteView(exact.get(), bytes.size()));
    while (const auto* message = reader.next()) {
        messages.push_back(*message);
    }
    return messages;
}

inline NetlinkMessage read_one(const Bytes& bytes) {
    const auto messages = read_all(bytes);
    REQUIRE(messages.size() == 1);
    return messages.front();
}

template <class Body>
Body read_body(const Bytes& bytes) {
    const auto message = read_one(bytes);
    REQUIRE(std::holds_alternative<Body>(message.body));
    return std::get<Body>(message.body);
}

inline bool is_malformed(const NetlinkMessage& message) {
    return std::holds_alternative<NetlinkMalformed>(message.body);
}

inline IfIndex device(int index) {
    return static_cast<IfIndex>(index);
}

/// Start of the IFLA_MTU or other attribute `type` in a message, past its 16 + `header` bytes.
inline std::size_t find_attribute(const Bytes& bytes, std::size_t header, int type) {
    for (std::size_t at = 16 + header; at + 4 <= bytes.size();) {
        nlattr attribute{};
        std::memcpy(&attribute, bytes.data() + at, sizeof attribute);
        if (attribute.nla_type == type) {
            return at;
        }
        at += (attribute.nla_len + 3U) & ~std::size_t{3};
    }
    FAIL("no such attribute");
    return 0;
}

}  // namespace reachd::test
