#include "common/bytes.hpp"

#include <array>
#include <limits>

#include <catch2/catch.hpp>

namespace reachd {
namespace {

constexpr std::array<std::uint8_t, 9> bytes{0x81, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x88, 0x09};
constexpr std::size_t far_away = std::numeric_limits<std::size_t>::max();

TEST_CASE("numbers are read big-endian") {
    CHECK(read_u8(bytes, 0) == 0x81);
    CHECK(read_u16(bytes, 0) == 0x8102);
    CHECK(read_u32(bytes, 1) == 0x02030405U);
    CHECK(read_u64(bytes, 0) == 0x8102030405060788U);
    CHECK(read_u64(bytes, 1) == 0x0203040506078809U);
}

TEST_CASE("a read that does not fit yields nothing") {
    CHECK(read_u8(bytes, 8) == 0x09);
    CHECK_FALSE(read_u8(bytes, 9).has_value());
    CHECK(read_u16(bytes, 7) == 0x8809);
    CHECK_FALSE(read_u16(bytes, 8).has_value());
    CHECK(read_u32(bytes, 5) == 0x06078809U);
    CHECK_FALSE(read_u32(bytes, 6).has_value());
    CHECK_FALSE(read_u64(bytes, 2).has_value());
    for (const std::size_t at : {std::size_t{9}, std::size_t{10}, far_away - 7, far_away}) {
        CHECK_FALSE(read_u8(bytes, at).has_value());
        CHECK_FALSE(read_u16(bytes, at).has_value());
        CHECK_FALSE(read_u32(bytes, at).has_value());
        CHECK_FALSE(read_u64(bytes, at).has_value());
    }
    CHECK_FALSE(read_u8({}, 0).has_value());
    CHECK_FALSE(read_u64({}, 0).has_value());
}

TEST_CASE("a tail never reaches past the end") {
    CHECK(tail(bytes, 0).size() == 9);
    CHECK(tail(bytes, 8).size() == 1);
    CHECK(tail(bytes, 8)[0] == 0x09);
    CHECK(tail(bytes, 9).empty());
    CHECK(tail(bytes, far_away).empty());
    CHECK(tail({}, 0).empty());
}

TEST_CASE("what was written is read, and nothing beside it is touched") {
    std::array<std::uint8_t, 10> buffer{};
    buffer.fill(0xee);
    write_big_endian(buffer, 1, std::uint64_t{0x8102030405060708U});
    CHECK(buffer[0] == 0xee);
    CHECK(buffer[1] == 0x81);
    CHECK(buffer[8] == 0x08);
    CHECK(buffer[9] == 0xee);
    CHECK(read_u64(buffer, 1) == 0x8102030405060708U);

    write_big_endian(buffer, 8, std::uint16_t{0xabcd});
    CHECK(read_u16(buffer, 8) == 0xabcd);
    write_big_endian(buffer, 0, std::uint8_t{0xff});
    CHECK(read_u8(buffer, 0) == 0xff);
    write_big_endian(buffer, 2, std::uint32_t{0xfffffffeU});
    CHECK(read_u32(buffer, 2) == 0xfffffffeU);
    CHECK(buffer[1] == 0x81);
}

}  // namespace
}  // namespace reachd
