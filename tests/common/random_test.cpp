#include "common/random.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

#include <catch2/catch.hpp>

namespace reachd {
namespace {

TEST_CASE("the generator is SplitMix64") {
    // Reference outputs of the published algorithm.
    Random zero(0);
    CHECK(zero.next() == 0xe220a8397b1dcdafU);
    CHECK(zero.next() == 0x6e789e6aa1b965f4U);
    CHECK(zero.next() == 0x06c45d188009454fU);
    Random seeded(1234567);
    CHECK(seeded.next() == 6457827717110365317U);
    CHECK(seeded.next() == 3203168211198807973U);
}

TEST_CASE("the same seed gives the same run, another gives another") {
    Random a(42);
    Random b(42);
    Random c(43);
    int alike = 0;
    for (int i = 0; i < 100; ++i) {
        const auto value = a.next();
        CHECK(b.next() == value);
        alike += c.next() == value ? 1 : 0;
    }
    CHECK(alike == 0);
}

TEST_CASE("bounded numbers stay below their bound and fill it evenly") {
    Random random(5);
    for (int i = 0; i < 1000; ++i) {
        REQUIRE(random.below(1) == 0);
    }
    std::array<int, 10> counts{};
    for (int i = 0; i < 100'000; ++i) {
        const auto value = random.below(10);
        REQUIRE(value < 10);
        ++counts[value];
    }
    for (const int count : counts) {
        CHECK(count > 9'600);  // four standard deviations
        CHECK(count < 10'400);
    }
    std::uint32_t highest = 0;
    for (int i = 0; i < 1000; ++i) {
        highest = std::max(highest, random.below(0xffffffffU));
    }
    CHECK(highest > 0xf0000000U);
}

}  // namespace
}  // namespace reachd
