// The run-time file's text: there and back, and whatever else may be found in its place.
#include "agent/guest_cache.hpp"

#include <catch2/catch.hpp>

using namespace reachd;
using namespace std::chrono_literals;

namespace {

constexpr WallTime now{1769904000s};

GuestAddressRecord record(const std::string& device = "vnet7",
                          const char* address = "10.0.0.7",
                          Duration age = 5s) {
    const auto mac = MacAddress::parse("52:54:00:12:34:56");
    const auto parsed = IpAddress::parse(address);
    REQUIRE(mac);
    REQUIRE(parsed);
    return {device, MacAddress::parse("fe:54:00:12:34:56"), *mac, *parsed, now - 2h, now - age};
}

std::string with(const std::string& what, const std::string& by) {
    std::string text =
        R"({"version":1,"addresses":[{"device":"vnet7","port_mac":"fe:54:00:12:34:56",)"
        R"("mac":"52:54:00:12:34:56","address":"10.0.0.7","first_seen":1769900000000,)"
        R"("last_seen":1769903999500}]})";
    const auto at = text.find(what);
    REQUIRE(at != std::string::npos);
    return text.replace(at, what.size(), by);
}

}  // namespace

TEST_CASE("addresses survive a restart") {
    auto no_port_mac = record("tap\\x07\"", "2001:db8::7", 7s);
    no_port_mac.port_mac.reset();
    const std::vector<GuestAddressRecord> records{
        record(), record("vnet7", "10.0.0.8", 6s), no_port_mac};
    const auto reading = decode_guest_cache(encode_guest_cache(records, now), now);
    CHECK(reading.problem.empty());
    CHECK(reading.invalid == 0);
    CHECK(reading.expired == 0);
    CHECK(reading.records == records);
    CHECK(decode_guest_cache(encode_guest_cache({}, now), now).records.empty());
}

TEST_CASE("the text of the file") {
    CHECK(encode_guest_cache({record()}, now) ==
          "{\"version\":1,\"addresses\":[\n"
          "{\"device\":\"vnet7\",\"port_mac\":\"fe:54:00:12:34:56\",\"mac\":\"52:54:00:12:34:56\","
          "\"address\":\"10.0.0.7\",\"first_seen\":1769896800000,\"last_seen\":1769903995000}\n"
          "]}\n");
}

TEST_CASE("no zone is written") {
    auto link_local = record("vnet7", "fe80::7");
    link_local.address.set_scope(IfIndex{17});
    const auto text = encode_guest_cache({link_local}, now);
    CHECK(text.find('%') == std::string::npos);
    const auto reading = decode_guest_cache(text, now);
    REQUIRE(reading.records.size() == 1);
    CHECK(reading.records[0].address.scope() == IfIndex::any);
    CHECK(decode_guest_cache(with("10.0.0.7", "fe80::7%17"), now).invalid == 1);
}

TEST_CASE("an hour is the end") {
    const auto at_the_end = record("a", "10.0.0.1", 1h);
    const auto beyond = record("b", "10.0.0.2", 1h + 1ms);
    CHECK(encode_guest_cache({beyond}, now) == encode_guest_cache({}, now));
    const auto text = encode_guest_cache({at_the_end, beyond}, now);
    CHECK(decode_guest_cache(text, now).records == std::vector{at_the_end});
    const auto later = decode_guest_cache(text, now + 1s);
    CHECK(later.records.empty());
    CHECK(later.expired == 1);
    CHECK(later.problem.empty());
}

TEST_CASE("a clock that was set back") {
    const auto text = encode_guest_cache({record("vnet7", "10.0.0.7", 0s)}, now);
    const auto a_little = decode_guest_cache(text, now - 1min);
    REQUIRE(a_little.records.size() == 1);
    CHECK(a_little.records[0].last_seen == now - 1min);
    CHECK(decode_guest_cache(text, now - 61s).invalid == 1);
    const auto before_first =
        decode_guest_cache(with("1769900000000", "1769903999500"), WallTime{1769903999s});
    REQUIRE(before_first.records.size() == 1);
    CHECK(before_first.records[0].first_seen == WallTime{1769903999s});
}

TEST_CASE("records that cannot be true") {
    REQUIRE(decode_guest_cache(with("}", "}"), now).records.size() == 1);
    const std::vector<std::pair<std::string, std::string>> lies{
        {"vnet7", ""},
        {"vnet7", "a\\nb"},
        {"vnet7", "a\\u202eb"},
        {"vnet7", std::string(61, 'a')},
        {"\"vnet7\"", "7"},
        {"\"device\"", "\"devise\""},
        {"\"52:54:00:12:34:56\"", "null"},
        {"52:54:00:12:34:56", "53:54:00:12:34:56"},
        {"52:54:00:12:34:56", "00:00:00:00:00:00"},
        {"10.0.0.7", "10.0.0"},
        {"10.0.0.7", "0.0.0.0"},
        {"10.0.0.7", "127.0.0.1"},
        {"10.0.0.7", "224.0.0.1"},
        {"10.0.0.7", "255.255.255.255"},
        {"10.0.0.7", "::1"},
        {"10.0.0.7", "ff02::1"},
        {"10.0.0.7", "web01.example"},
        {"1769900000000", "-1"},
        {"1769900000000", "1769903999501"},
        {"1769903999500", "9223372036854775807"},
        {"1769903999500", "17699039995000000000000"},
        {"1769903999500", "1769903999500.5"},
        {"1769903999500", "1769999999999"},
        {"{\"device\"", "[],{\"device\""},
    };
    for (const auto& [what, by] : lies) {
        INFO(what << " by " << by);
        const auto reading = decode_guest_cache(with(what, by), now);
        CHECK(reading.problem.empty());
        CHECK(reading.invalid == 1);
        CHECK(reading.records.size() == (what == "{\"device\"" ? 1U : 0U));
    }
}

TEST_CASE("a port's MAC that is none is not known") {
    const auto reading = decode_guest_cache(with("fe:54:00:12:34:56", "fe:54"), now);
    REQUIRE(reading.records.size() == 1);
    CHECK_FALSE(reading.records[0].port_mac);
}

TEST_CASE("files of others, and no files at all") {
    for (const std::string& text : {std::string(),
                                    std::string("\0", 1),
                                    std::string("[]"),
                                    std::string("{}"),
                                    std::string("{\"version\":1}"),
                                    std::string("{\"version\":1,\"addresses\":{}}"),
                                    std::string("{\"version\":1,\"addresses\":["),
                                    std::string(100000, '['),
                                    with("\"version\":1", "\"version\":2"),
                                    with("\"version\":1", "\"version\":\"1\""),
                                    std::string(guest_cache_bytes_max + 1, ' ')}) {
        INFO(text.substr(0, 100));
        const auto reading = decode_guest_cache(text, now);
        CHECK_FALSE(reading.problem.empty());
        CHECK(reading.records.empty());
    }
    // Later versions of this version may say more.
    CHECK(decode_guest_cache(with("\"mac\"", "\"vlan\":7,\"mac\""), now).records.size() == 1);
}

TEST_CASE("each address once, seen last first, and no more than fit") {
    const auto twice = decode_guest_cache(
        with("[{",
             R"([{"device":"vnet7","mac":"52:54:00:12:34:56","address":"10.0.0.7",)"
             R"("first_seen":1769900000000,"last_seen":1769903990000},{)"),
        now);
    REQUIRE(twice.records.size() == 1);
    CHECK(twice.records[0].last_seen == now - 500ms);

    std::vector<GuestAddressRecord> many;
    for (std::size_t i = 0; i < guest_cache_records_max + 10; ++i) {
        auto made = record("a-device-name-x");
        made.address = IpAddress::v6({0x20,
                                      0x01,
                                      0x0d,
                                      0xb8,
                                      0xff,
                                      0xff,
                                      0xff,
                                      0xff,
                                      0xff,
                                      0xff,
                                      0xff,
                                      0xff,
                                      0xff,
                                      0xff,
                                      static_cast<std::uint8_t>(i >> 8U),
                                      static_cast<std::uint8_t>(i & 0xffU)});
        made.device = std::to_string(i >> 16U) + "-device-name-xy";
        made.last_seen = now - std::chrono::milliseconds(i);
        many.push_back(made);
    }
    const auto text = encode_guest_cache(many, now);
    CHECK(text.size() < guest_cache_bytes_max);
    const auto reading = decode_guest_cache(text, now);
    CHECK(reading.records.size() == guest_cache_records_max);
    CHECK(reading.records.front() == many.front());
    CHECK(reading.records.back() == many[guest_cache_records_max - 1]);

    std::string too_many = R"({"version":1,"addresses":[0)";
    for (std::size_t i = 0; i < guest_cache_records_max + 10; ++i) {
        too_many += ",0";
    }
    CHECK(decode_guest_cache(too_many + "]}", now).invalid == guest_cache_records_max + 11);
}

TEST_CASE("what would not be taken back is not written") {
    auto nameless = record("");
    auto turned = record();
    std::swap(turned.first_seen, turned.last_seen);
    auto group = record();
    group.mac = *MacAddress::parse("ff:ff:ff:ff:ff:ff");
    CHECK(encode_guest_cache({nameless, turned, group}, now) == encode_guest_cache({}, now));
}
