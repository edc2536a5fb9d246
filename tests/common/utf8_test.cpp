#include "common/utf8.hpp"

#include <string>

#include <catch2/catch.hpp>

namespace reachd {
namespace {

TEST_CASE("utf8: each length at its edges", "[utf8]") {
    const auto decodes = [](const std::string& text, char32_t code) {
        const auto character = decode_utf8(text + "x");
        return character.code == code && character.bytes == text.size();
    };
    CHECK(decodes(std::string(1, '\0'), 0));
    CHECK(decodes("\x7f", 0x7f));
    CHECK(decodes("\xc2\x80", 0x80));
    CHECK(decodes("\xdf\xbf", 0x7ff));
    CHECK(decodes("\xe0\xa0\x80", 0x800));
    CHECK(decodes("\xed\x9f\xbf", 0xd7ff));
    CHECK(decodes("\xee\x80\x80", 0xe000));
    CHECK(decodes("\xef\xbf\xbf", 0xffff));
    CHECK(decodes("\xf0\x90\x80\x80", 0x10000));
    CHECK(decodes("\xf4\x8f\xbf\xbf", 0x10ffff));
}

TEST_CASE("utf8: what is none decodes to nothing", "[utf8]") {
    for (const char* text : {"\x80",
                             "\xbf",
                             "\xc0\xaf",  // overlong
                             "\xc1\xbf",
                             "\xe0\x9f\xbf",
                             "\xf0\x8f\xbf\xbf",
                             "\xed\xa0\x80",      // surrogate
                             "\xf4\x90\x80\x80",  // above U+10FFFF
                             "\xf5\x80\x80\x80",
                             "\xc3",  // cut short
                             "\xe2\x82",
                             "\xf0\x9f\x98",
                             "\xc3\x28",
                             "\xe2\x28\xa1"}) {
        CAPTURE(text);
        CHECK(decode_utf8(text).bytes == 0);
    }
}

TEST_CASE("utf8: characters that act on a reader", "[utf8]") {
    CHECK(is_control(0x1b));
    CHECK(is_control(0x7f));
    CHECK(is_control(0x9b));
    CHECK_FALSE(is_control(0x20));
    CHECK_FALSE(is_control(0xa0));
    for (const char32_t code :
         {U'\u061c', U'\u200e', U'\u200f', U'\u202a', U'\u202e', U'\u2066', U'\u2069'}) {
        CHECK(steers_direction(code));
    }
    for (const char32_t code :
         {U'\u061b', U'\u200d', U'\u2010', U'\u2029', U'\u202f', U'\u2065', U'\u206a'}) {
        CHECK_FALSE(steers_direction(code));
    }
}

}  // namespace
}  // namespace reachd
