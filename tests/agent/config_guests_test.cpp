// Through parse_config: what matters of this reader is the configuration that comes out.
#include "agent/config_guests.hpp"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include "tests/agent/config_reading.hpp"

namespace reachd {
namespace {

using Globs = std::vector<std::string>;

std::string file_with(std::string_view guests) {
    return fmt::format(R"({{"discovery": {{"guests": {}}}}})", guests);
}

GuestDiscoveryConfig good(std::string_view guests) {
    return test::good(file_with(guests)).guests;
}

std::string error(std::string_view guests) {
    return test::error(file_with(guests));
}

std::string names_error(std::string_view names) {
    return error(fmt::format(R"({{"names": {{{}}}}})", names));
}

MacAddress mac(std::uint8_t last) {
    return MacAddress({0x52, 0x54, 0x00, 0x00, 0x00, last});
}

TEST_CASE("config_guests: true, false or an object of changes") {
    CHECK(good("true") == GuestDiscoveryConfig{});
    CHECK(good("{}") == GuestDiscoveryConfig{});
    CHECK_FALSE(good("false").enabled);
    CHECK_FALSE(good(R"({"enabled": false})").enabled);
    CHECK(good(R"({"containers": false})") == GuestDiscoveryConfig{true, false, {"*"}, {}, {}});
    CHECK(error("1") ==
          "r.json:1: /discovery/guests: must be true, false or an object, not an integer");
    CHECK(error(R"({"enabled": "no"})") ==
          "r.json:1: /discovery/guests/enabled: must be true or false, not a string");
    CHECK(error(R"({"bridge": ["br0"]})") ==
          R"(r.json:1: /discovery/guests/bridge: unknown key; did you mean "bridges"?)");
    CHECK(error(R"({"enabled": true, "enabled": true})") ==
          "r.json:1: /discovery/guests/enabled: duplicate key; first on line 1");
}

TEST_CASE("config_guests: globs replace the defaults, in the order of the file") {
    CHECK(good(R"({"bridges": ["vmbr?", "br*"]})").bridges == Globs{"vmbr?", "br*"});
    CHECK(good(R"({"bridges": []})").bridges.empty());
    CHECK(good(R"({"exclude": ["test-*", "vnet0"]})").exclude == Globs{"test-*", "vnet0"});
}

TEST_CASE("config_guests: what is no list of globs") {
    for (const std::string key : {"bridges", "exclude"}) {
        CAPTURE(key);
        const auto of = [&key](std::string_view value) {
            return error(fmt::format(R"({{"{}": {}}})", key, value));
        };
        const auto at = [&key](std::string_view rest) {
            return fmt::format("r.json:1: /discovery/guests/{}{}", key, rest);
        };
        CHECK(of(R"("br0")") == at(R"(: must be a list of globs like ["br*"], not a string)"));
        CHECK(of(R"(["br0", 5])") == at("/1: must be a string, not an integer"));
        CHECK(of(R"(["", "x"])") == at("/0: a glob has 1 to 256 bytes"));
        CHECK(of(fmt::format(R"(["{}"])", std::string(256, '*'))).empty());
        CHECK(of(fmt::format(R"(["{}"])", std::string(257, '*'))) ==
              at("/0: a glob has 1 to 256 bytes"));
        CHECK(of(R"(["a\u0000b"])").find("control character") != std::string::npos);
        std::string many = R"("x")";
        for (std::size_t i = 1; i < guest_globs_max; ++i) {
            many += R"(, "x")";
        }
        CHECK(of(fmt::format("[{}]", many)).empty());
        CHECK(of(fmt::format("[{}, \"x\"]", many)) == at(": must have at most 64 globs"));
    }
}

TEST_CASE("config_guests: names come in the order of their MAC addresses") {
    const auto guests = good(R"({"names": { "52:54:00:00:00:0C": "web", "52:54:00:00:00:0a": "db",
                                            "52:54:00:00:00:0b": "web" }})");
    using Name = std::pair<MacAddress, std::string>;
    CHECK(guests.names == std::vector<Name>{{mac(10), "db"}, {mac(11), "web"}, {mac(12), "web"}});
    CHECK(good(R"({"names": {}})").names.empty());
}

TEST_CASE("config_guests: what is no name of a guest") {
    CHECK(error(R"({"names": ["web01"]})") ==
          "r.json:1: /discovery/guests/names: must be an object, not a list");
    CHECK(names_error(R"("web01": "52:54:00:00:00:0a")") ==
          R"(r.json:1: /discovery/guests/names/web01: "web01" is no MAC address; they are written )"
          R"(like "52:54:00:12:34:56")");
    CHECK(names_error(R"("ff:ff:ff:ff:ff:ff": "all")") ==
          R"(r.json:1: /discovery/guests/names/ff:ff:ff:ff:ff:ff: "ff:ff:ff:ff:ff:ff" is a group )"
          "address; no interface has it");
    const std::string at = "r.json:1: /discovery/guests/names/52:54:00:00:00:0a: ";
    CHECK(names_error(R"("52:54:00:00:00:0a": 5)") == at + "must be a string, not an integer");
    CHECK(names_error(R"("52:54:00:00:00:0a": "")") ==
          at + "must not be empty; leave it out to have the guest named by itself");
    CHECK(names_error(R"("52:54:00:00:00:0a": "x\ny")").find("control character") !=
          std::string::npos);
    CHECK(names_error(fmt::format(R"("52:54:00:00:00:0a": "{}")", std::string(257, 'x'))) ==
          at + "longer than 256 bytes");
    // The key and the value of one member may both be wrong.
    CHECK(names_error(R"("x": 5)").find('\n') != std::string::npos);
}

TEST_CASE("config_guests: a MAC address has one name, however it is spelt") {
    CHECK(names_error("\"52:54:00:00:00:0a\": \"x\",\n\"52:54:00:00:00:0A\": \"x\"") ==
          R"(r.json:2: /discovery/guests/names/52:54:00:00:00:0A: the same MAC address as )"
          R"("52:54:00:00:00:0a" on line 1)");
    CHECK(names_error("\"52:54:00:00:00:0a\": \"x\",\n\"52:54:00:00:00:0a\": \"x\"") ==
          "r.json:2: /discovery/guests/names/52:54:00:00:00:0a: duplicate key; first on line 1");
}

TEST_CASE("config_guests: many names") {
    std::string names;
    for (std::size_t i = 0; i <= guest_names_max; ++i) {
        names += fmt::format("{}\"52:54:00:{:02x}:{:02x}:{:02x}\": \"g{}\"",
                             i == 0 ? "" : ", ",
                             (i >> 16U) & 0xffU,
                             (i >> 8U) & 0xffU,
                             i & 0xffU,
                             i);
    }
    CHECK(names_error(names) == "r.json:1: /discovery/guests/names: more than 100000 names");
    names.resize(names.rfind(','));
    CHECK(good(fmt::format(R"({{"names": {{{}}}}})", names)).names.size() == guest_names_max);
}

}  // namespace
}  // namespace reachd
