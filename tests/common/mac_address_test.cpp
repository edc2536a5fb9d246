#include "common/mac_address.hpp"

#include <vector>

#include <catch2/catch.hpp>

namespace reachd {
namespace {

TEST_CASE("a MAC address goes to text and back", "[mac]") {
    const auto address = MacAddress::parse("52:54:00:12:aB:FF");
    REQUIRE(address);
    CHECK(address->to_string() == "52:54:00:12:ab:ff");
    CHECK(address->to_number() == 0x52540012abff);
    CHECK(MacAddress::from_bytes(address->bytes()) == address);
    CHECK(MacAddress::parse(address->to_string()) == address);
}

TEST_CASE("what is no MAC address is refused", "[mac]") {
    for (const auto* text : {"",
                             "52:54:00:12:34",
                             "52:54:00:12:34:5",
                             "52:54:00:12:34:56:78",
                             "52-54-00-12-34-56",
                             "52:54:00:12:34:5g",
                             "5254.0012.3456"}) {
        CAPTURE(text);
        CHECK_FALSE(MacAddress::parse(text));
    }
    CHECK_FALSE(MacAddress::from_bytes(std::vector<std::uint8_t>(5)));
    CHECK_FALSE(MacAddress::from_bytes(std::vector<std::uint8_t>(20)));
}

TEST_CASE("group and zero addresses are told apart", "[mac]") {
    CHECK(MacAddress::parse("ff:ff:ff:ff:ff:ff")->is_group());
    CHECK(MacAddress::parse("33:33:00:00:00:01")->is_group());
    CHECK_FALSE(MacAddress::parse("52:54:00:00:00:01")->is_group());
    CHECK(MacAddress{}.is_zero());
    CHECK_FALSE(MacAddress::parse("00:00:00:00:00:01")->is_zero());
}

}  // namespace
}  // namespace reachd
