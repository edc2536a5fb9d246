#include "agent/config_text.hpp"

#include <catch2/catch.hpp>

namespace reachd {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;

template <class T>
std::string problem_of(const TextOutcome<T>& outcome) {
    return outcome ? "" : outcome.error().message;
}

std::string problem_of(const TextCheck& check) {
    return check ? check->message : "";
}

/// Of an outcome that should have been good; what is wrong with it otherwise.
template <class T>
std::string text_of(const TextOutcome<T>& outcome) {
    return outcome ? outcome->to_string() : outcome.error().message;
}

bool has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

TEST_CASE("config_text: durations") {
    const std::vector<std::pair<std::string, Duration>> good{
        {"250ms", milliseconds(250)},
        {"1s", seconds(1)},
        {"5m", minutes(5)},
        {"1h", hours(1)},
        {"1.5s", milliseconds(1500)},
        {"0.25ms", microseconds(250)},
        {"0s", seconds(0)},
        {"0.000001ms", nanoseconds(1)},
        {"007s", seconds(7)},
        {"0.999999h", nanoseconds(3'599'996'400'000)},
        {"0000000000000000000000001s", seconds(1)},
        {"2562046h", hours(2562046)},
    };
    for (const auto& [text, duration] : good) {
        CAPTURE(text);
        const auto parsed = parse_duration(text);
        REQUIRE(parsed.has_value());
        CHECK(*parsed == duration);
    }
}

TEST_CASE("config_text: what is no duration") {
    for (const std::string text :
         {"",    "s",  "ms", ".",   ".5s",   "1.s", "1..5s", "1.5.5s", "1 s",  " 1s",
          "1s ", "1S", "1d", "1us", "1m30s", "+1s", "1e3s",  "0x1s",   "1,5s", "\xd9\xa1s"}) {
        CAPTURE(text);
        CHECK(has(problem_of(parse_duration(text)), "is no duration; durations are written like"));
    }
    CHECK(has(problem_of(parse_duration("30")), "\"30\" has no unit"));
    CHECK(has(problem_of(parse_duration("-1s")), "is negative"));
    CHECK(has(problem_of(parse_duration("0.1234567s")), "more than 6 decimals"));
    for (const std::string text : {"2562047h", "9223372036854775808ms", "999999999999999999999s"}) {
        CAPTURE(text);
        CHECK(has(problem_of(parse_duration(text)), "is too long"));
    }
    CHECK(has(problem_of(parse_duration(std::string(100'000, '9') + "s")), "is too long"));
}

TEST_CASE("config_text: durations are written in their largest whole unit") {
    CHECK(duration_text(milliseconds(10)) == "10ms");
    CHECK(duration_text(milliseconds(1500)) == "1500ms");
    CHECK(duration_text(seconds(90)) == "90s");
    CHECK(duration_text(seconds(60)) == "1m");
    CHECK(duration_text(hours(1)) == "1h");
    CHECK(duration_text(Duration::zero()) == "0ms");
}

TEST_CASE("config_text: listen addresses") {
    const std::vector<std::pair<std::string, ListenAddress>> good{
        {":10862", {"", 10862}},
        {"127.0.0.1:9900", {"127.0.0.1", 9900}},
        {"0.0.0.0:1", {"0.0.0.0", 1}},
        {"[::1]:9900", {"::1", 9900}},
        {"[::]:65535", {"::", 65535}},
        {"[2001:DB8:0::1]:80", {"2001:db8::1", 80}},
        {"[fe80::1%eth0]:80", {"fe80::1%eth0", 80}},
    };
    for (const auto& [text, expected] : good) {
        CAPTURE(text);
        const auto parsed = parse_listen_address(text);
        CHECK(problem_of(parsed).empty());
        REQUIRE(parsed.has_value());
        CHECK(*parsed == expected);
    }
}

TEST_CASE("config_text: what cannot be listened on") {
    for (const std::string text : {":0",
                                   ":65536",
                                   ":-1",
                                   ":+1",
                                   ": 1",
                                   ":1 ",
                                   ":",
                                   ":http",
                                   ":99999999999",
                                   "127.0.0.1:",
                                   "[::1]:"}) {
        CAPTURE(text);
        CHECK(has(problem_of(parse_listen_address(text)), "the port must be 1 to 65535"));
    }
    for (const std::string text : {"", "10862", "127.0.0.1", "[::1]", "[::1]9900", "[:1"}) {
        CAPTURE(text);
        CHECK(has(problem_of(parse_listen_address(text)), "is no address with a port"));
    }
    for (const std::string text :
         {"localhost:80", "*:80", "[]:80", "10.1:80", "[::g]:80", "1:2:80"}) {
        CAPTURE(text);
        CHECK(has(problem_of(parse_listen_address(text)), "must be numeric"));
    }
    CHECK(has(problem_of(parse_listen_address("::1:9900")), "brackets"));
    CHECK(has(problem_of(parse_listen_address("[127.0.0.1]:80")), "brackets"));
    CHECK(has(problem_of(parse_listen_address("[ff02::1]:80")), "multicast"));
    CHECK(has(problem_of(parse_listen_address("[fe80::1]:80")), "link-local"));
    CHECK(has(problem_of(parse_listen_address("[::1%lo]:80")), "has a zone"));
    CHECK(has(problem_of(parse_listen_address("[::ffff:10.0.0.1]:80")), "IPv6 form"));
}

TEST_CASE("config_text: numeric peers") {
    const auto v4 = parse_peer_address("10.77.0.20");
    REQUIRE(v4.has_value());
    CHECK(v4->numeric == IpAddress::v4({10, 77, 0, 20}));
    CHECK(v4->canonical == "10.77.0.20");
    const auto v6 = parse_peer_address("2001:DB8:0:0::5");
    REQUIRE(v6.has_value());
    CHECK(v6->canonical == "2001:db8::5");
    const auto local = parse_peer_address("FE80::1%eth0");
    REQUIRE(local.has_value());
    CHECK(local->zone == "eth0");
    CHECK(local->canonical == "fe80::1%eth0");
    CHECK(parse_peer_address("127.0.0.1").has_value());
    CHECK(parse_peer_address("169.254.0.1").has_value());
}

TEST_CASE("config_text: addresses that no peer can have") {
    CHECK(has(problem_of(parse_peer_address("fe80::1")), "needs its interface"));
    CHECK(has(problem_of(parse_peer_address("fe80::1%")), "zone of"));
    CHECK(has(problem_of(parse_peer_address("fe80::1%a/b")), "zone of"));
    CHECK(has(problem_of(parse_peer_address("fe80::1%sixteen-bytes-xx")), "zone of"));
    CHECK(has(problem_of(parse_peer_address("10.0.0.1%eth0")), "has a zone"));
    CHECK(has(problem_of(parse_peer_address("2001:db8::1%eth0")), "has a zone"));
    CHECK(has(problem_of(parse_peer_address("0.0.0.0")), "unspecified"));
    CHECK(has(problem_of(parse_peer_address("::")), "unspecified"));
    CHECK(has(problem_of(parse_peer_address("224.0.0.1")), "multicast"));
    CHECK(has(problem_of(parse_peer_address("ff02::1%eth0")), "multicast"));
    CHECK(has(problem_of(parse_peer_address("255.255.255.255")), "broadcast"));
    CHECK(has(problem_of(parse_peer_address("::ffff:10.0.0.1")), "IPv6 form"));
    CHECK(has(problem_of(parse_peer_address("")), "must not be empty"));
    CHECK(has(problem_of(parse_peer_address("10.0.0.0/24")), "is a prefix or URL"));
    CHECK(has(problem_of(parse_peer_address("http://x")), "is a prefix or URL"));
    for (const std::string text :
         {"10.0.0.300", "10.0.0", "1", "10.0.0.1.", "010.0.0.1", "1.2.3.4.5"}) {
        CAPTURE(text);
        CHECK(has(problem_of(parse_peer_address(text)), "is no IPv4 address"));
    }
    for (const std::string text : {"10.0.0.1:80", "[::1]", "::g", "1::2::3"}) {
        CAPTURE(text);
        CHECK(has(problem_of(parse_peer_address(text)), "is no IPv6 address"));
    }
}

TEST_CASE("config_text: host names as in RFC 1123") {
    const std::string label(63, 'a');
    const std::string longest = label + '.' + label + '.' + label + '.' + std::string(61, 'b');
    for (const std::string& name : std::vector<std::string>{"db1",
                                                            "db1.example.net",
                                                            "3com.example",
                                                            "a-b",
                                                            "xn--bcher-kva.example",
                                                            "x.1a",
                                                            "db1.example.net.",
                                                            longest}) {
        CAPTURE(name);
        CHECK(problem_of(parse_peer_address(name)).empty());
    }
    for (const std::string& name : std::vector<std::string>{"-a",
                                                            "a-",
                                                            "a..b",
                                                            ".a",
                                                            ".",
                                                            "a_b",
                                                            "a b",
                                                            "bücher.example",
                                                            label + "a",
                                                            longest + "b",
                                                            "x.1",
                                                            "0x7f000001",
                                                            "10.0x1",
                                                            "a%eth0",
                                                            std::string("a\0b", 3),
                                                            "a\n"}) {
        CAPTURE(name);
        CHECK(has(problem_of(parse_peer_address(name)), "neither an IP address nor a host name"));
    }
    const auto name = parse_peer_address("DB1.Example.NET.");
    REQUIRE(name.has_value());
    CHECK_FALSE(name->numeric);
    CHECK(name->canonical == "db1.example.net");
}

TEST_CASE("config_text: sources") {
    CHECK(parse_source_address("10.0.0.1").has_value());
    CHECK(parse_source_address("fe80::1").has_value());
    for (const std::string text : {"", "eth0", "fe80::1%eth0", "10.0.0.0/8"}) {
        CAPTURE(text);
        CHECK(has(problem_of(parse_source_address(text)), "is no IP address"));
    }
    CHECK(has(problem_of(parse_source_address("0.0.0.0")), "unspecified"));
    CHECK(has(problem_of(parse_source_address("ff02::1")), "multicast"));
}

TEST_CASE("config_text: device names") {
    for (const std::string name : {"eth0", "br-lan.20", "a", "fifteen-bytes-x", "enp3s0f0np0"}) {
        CAPTURE(name);
        CHECK_FALSE(check_device_name(name));
    }
    for (const std::string& name : std::vector<std::string>{"",
                                                            "sixteen-bytes-xx",
                                                            ".",
                                                            "..",
                                                            "a/b",
                                                            "a b",
                                                            "a:1",
                                                            "a\tb",
                                                            "a\n",
                                                            std::string("a\0", 2)}) {
        CAPTURE(name);
        CHECK(check_device_name(name));
    }
}

TEST_CASE("config_text: label names") {
    for (const std::string name : {"rack", "_x", "Zone_1", "job", "instance", "a"}) {
        CAPTURE(name);
        CHECK_FALSE(check_label_name(name));
    }
    for (const std::string name : {"1a", "a-b", "a b", "a.b", "ä", "a:b"}) {
        CAPTURE(name);
        CHECK(has(problem_of(check_label_name(name)), "no valid label name"));
    }
    for (const std::string name : {"__name__", "__", "__x"}) {
        CAPTURE(name);
        CHECK(has(problem_of(check_label_name(name)), "belong to Prometheus"));
    }
    for (const std::string name : {"peer",
                                   "address",
                                   "probe",
                                   "port",
                                   "kind",
                                   "source",
                                   "device",
                                   "bridge",
                                   "vm",
                                   "reason",
                                   "le",
                                   "fault",
                                   "code",
                                   "severity",
                                   "cause",
                                   "host",
                                   "role",
                                   "virtualization"}) {
        CAPTURE(name);
        CHECK(has(problem_of(check_label_name(name)), "choose another"));
    }
    CHECK(check_label_name(""));
    CHECK_FALSE(check_label_name(std::string(128, 'a')));
    CHECK(check_label_name(std::string(129, 'a')));
}

TEST_CASE("config_text: label values") {
    CHECK_FALSE(check_label_value(""));
    CHECK_FALSE(check_label_value("Straße \"1\" \\ {}"));
    CHECK_FALSE(check_label_value(std::string(256, 'x')));
    CHECK(check_label_value(std::string(257, 'x')));
    CHECK(check_label_value("a\nb"));
    CHECK(check_label_value(std::string("a\0b", 3)));
}

TEST_CASE("config_text: addresses that ARP requests may come from") {
    CHECK(text_of(parse_arp_sender("10.0.0.1")) == "10.0.0.1");
    CHECK(text_of(parse_arp_sender("169.254.1.1")) == "169.254.1.1");
    for (const std::string text : {"",
                                   "fe80::1",
                                   "2001:db8::1",
                                   "::ffff:10.0.0.1",
                                   "hv1",
                                   "10.0.0",
                                   "10.0.0.1 ",
                                   "10.0.0.0/8",
                                   "010.0.0.1"}) {
        CAPTURE(text);
        CHECK(has(problem_of(parse_arp_sender(text)), "is no IPv4 address"));
    }
    CHECK(has(problem_of(parse_arp_sender("0.0.0.0")), "is what \"\" stands for"));
    CHECK(has(problem_of(parse_arp_sender("127.0.0.1")), "loopback"));
    CHECK(has(problem_of(parse_arp_sender("224.0.0.1")), "multicast"));
    CHECK(has(problem_of(parse_arp_sender("255.255.255.255")), "broadcast"));
}

TEST_CASE("config_text: addresses of guests' interfaces") {
    CHECK(text_of(parse_guest_mac("52:54:00:ab:cd:ef")) == "52:54:00:ab:cd:ef");
    CHECK(text_of(parse_guest_mac("52:54:00:AB:CD:ef")) == "52:54:00:ab:cd:ef");
    for (const std::string text : {"",
                                   "web01",
                                   "52-54-00-ab-cd-ef",
                                   "525400abcdef",
                                   "52:54:00:ab:cd",
                                   "52:54:00:ab:cd:ef:00",
                                   "52:54:00:ab:cd:eg",
                                   " 52:54:00:ab:cd:ef"}) {
        CAPTURE(text);
        CHECK(has(problem_of(parse_guest_mac(text)), "is no MAC address"));
    }
    CHECK(has(problem_of(parse_guest_mac("ff:ff:ff:ff:ff:ff")), "is a group address"));
    CHECK(has(problem_of(parse_guest_mac("01:00:5e:00:00:01")), "is a group address"));
    CHECK(has(problem_of(parse_guest_mac("00:00:00:00:00:00")), "is the zero address"));
}

TEST_CASE("config_text: globs") {
    for (const std::string text : {"*", "br0", "vnet?", "[0-9]*", "ü*", " "}) {
        CAPTURE(text);
        CHECK_FALSE(check_glob(text));
    }
    CHECK_FALSE(check_glob(std::string(256, '*')));
    CHECK(has(problem_of(check_glob(std::string(257, '*'))), "1 to 256 bytes"));
    CHECK(has(problem_of(check_glob("")), "1 to 256 bytes"));
    CHECK(has(problem_of(check_glob("br\n")), "control character"));
}

}  // namespace
}  // namespace reachd
