// Hostile names made harmless, and the shape of UUIDs and device names.
#include "agent/guest_text.hpp"

#include <catch2/catch.hpp>

using namespace reachd;

TEST_CASE("names of guests are shown as they are, or escaped") {
    CHECK(guest_name_text("web01") == "web01");
    CHECK(guest_name_text("Büro 7") == "Büro 7");
    CHECK(guest_name_text("") == "");
    CHECK(guest_name_text("a\x1b[31m\n") == "a\\x1b[31m\\x0a");
    CHECK(guest_name_text("\xff\xfe") == "\\xff\\xfe");
    CHECK(guest_name_text("gpj.exe\xe2\x80\xae") == "gpj.exe\\xe2\\x80\\xae");
    CHECK(guest_name_text("C:\\x41") == "C:\\x5cx41");
}

TEST_CASE("names of guests are cut between characters") {
    const std::string most(guest_name_bytes_max, 'a');
    CHECK(guest_name_text(most) == most);
    CHECK(guest_name_text(most + "b") == most);
    CHECK(guest_name_text(std::string(1U << 20U, 'a')) == most);
    const std::string almost(guest_name_bytes_max - 1, 'a');
    CHECK(guest_name_text(almost + "ü") == almost);
    CHECK(guest_name_text(almost + "\x01") == almost);
    CHECK(guest_name_text(std::string(300, '\x01')).size() == guest_name_bytes_max);
    for (std::size_t size = 245; size < 262; ++size) {
        const auto text =
            guest_name_text(std::string(size, 'a') + "\xf0\x9f\x90\xa7\xf0\x9f\x90\xa7");
        INFO(size);
        CHECK(is_shown_text(text, guest_name_bytes_max));
        CHECK(text.find('\\') == std::string::npos);
    }
}

TEST_CASE("names of devices are those that the kernel can have") {
    CHECK(guest_device_text("tap100i0") == "tap100i0");
    CHECK(guest_device_text("fifteen-bytes-x") == "fifteen-bytes-x");
    CHECK(guest_device_text("sixteen-bytes-xy").empty());
    CHECK(guest_device_text("tap\x07") == "tap\\x07");
}

TEST_CASE("UUIDs have one shape") {
    const std::string uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    CHECK(guest_uuid_text(uuid) == uuid);
    CHECK(guest_uuid_text("6BA7B810-9DAD-11D1-80B4-00C04FD430C8") == uuid);
    for (const char* wrong : {"",
                              "6ba7b8109dad11d180b400c04fd430c8",
                              "6ba7b810-9dad-11d1-80b4-00c04fd430c",
                              "6ba7b810-9dad-11d1-80b4-00c04fd430c88",
                              "6ba7b810-9dad-11d1-80b4-00c04fd430cg",
                              "6ba7b8101-9ad-11d1-80b4-00c04fd430c8",
                              "{ba7b810-9dad-11d1-80b4-00c04fd430c8"}) {
        INFO(wrong);
        CHECK(guest_uuid_text(wrong).empty());
    }
}

TEST_CASE("what comes back from a file is checked") {
    CHECK(is_shown_text("tap0", 15));
    CHECK(is_shown_text("tap\\x07", 60));
    CHECK_FALSE(is_shown_text("", 15));
    CHECK_FALSE(is_shown_text("tap0", 3));
    CHECK_FALSE(is_shown_text("tap\n", 15));
    CHECK_FALSE(is_shown_text(std::string_view("tap\0", 4), 15));
    CHECK_FALSE(is_shown_text("\xc3", 15));
    CHECK_FALSE(is_shown_text("\xe2\x80\xae", 15));
}
