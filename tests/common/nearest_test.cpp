#include "common/nearest.hpp"

#include <array>

#include <catch2/catch.hpp>

namespace reachd {
namespace {

constexpr std::array<std::string_view, 6> keys{
    "address", "name", "timeout", "interval", "icmp", "enabled"};

TEST_CASE("nearest finds the word that was meant") {
    CHECK(nearest("adress", keys) == "address");
    CHECK(nearest("adresss", keys) == "address");
    CHECK(nearest("nmae", keys) == "name");  // two neighbours swapped are one edit
    CHECK(nearest("timout", keys) == "timeout");
    CHECK(nearest("time_out", keys) == "timeout");
    CHECK(nearest("Interval", keys) == "interval");
    CHECK(nearest("ICMP", keys) == "icmp");
    CHECK(nearest("name", keys) == "name");
}

TEST_CASE("nearest says nothing when nothing is near") {
    CHECK(nearest("", keys).empty());
    CHECK(nearest("x", keys).empty());
    CHECK(nearest("colour", keys).empty());
    CHECK(nearest("tcp", std::span<const std::string_view>{}).empty());
    CHECK(nearest(std::string(65, 'a'), keys).empty());
    CHECK(nearest(std::string(1 << 20, 'a'), keys).empty());
    constexpr std::array<std::string_view, 1> short_word{"a"};
    CHECK(nearest("b", short_word).empty());
}

TEST_CASE("nearest takes the first of equals and the fewest edits") {
    constexpr std::array<std::string_view, 3> peers{"db1", "db2", "dbx1"};
    CHECK(nearest("db3", peers) == "db1");
    CHECK(nearest("db2", peers) == "db2");
    CHECK(nearest("db11", peers) == "db1");
    const std::string long_word(70, 'a');
    const std::array<std::string_view, 1> long_words{long_word};
    CHECK(nearest(std::string(64, 'a'), long_words).empty());
}

TEST_CASE("nearest takes bytes, not characters, and survives any of them") {
    constexpr std::array<std::string_view, 1> names{"größe"};
    CHECK(nearest("grösse", names) == "größe");
    CHECK(nearest(std::string_view("\0\xff", 2), names).empty());
}

}  // namespace
}  // namespace reachd
