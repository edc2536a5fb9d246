// Through parse_config: what matters of these readers is the configuration that comes out.
#include "agent/config_probes.hpp"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include "tests/agent/config_reading.hpp"

namespace reachd {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::error;
using test::good;
using Ports = std::vector<std::uint16_t>;

/// Of one probe kind's defaults: R"("tcp": {…})".
std::string probes_error(std::string_view kind) {
    return error(fmt::format(R"({{"probes": {{{}}}}})", kind));
}

/// Of probes.tcp `defaults` and a peer whose "tcp" is `changes`, on the second line.
std::string file_with(std::string_view defaults, std::string_view changes) {
    return fmt::format("{{\"probes\": {{\"tcp\": {}}},\n\"peers\": [{{\"address\": \"a\"{}{}}}]}}",
                       defaults,
                       changes.empty() ? "" : ", \"tcp\": ",
                       changes);
}

TcpOptions peer_tcp(std::string_view defaults, std::string_view changes) {
    const auto config = good(file_with(defaults, changes));
    REQUIRE(config.peers.size() == 1);
    return config.peers.front().tcp;
}

TEST_CASE("config_probes: ports come in ascending order") {
    CHECK(good(R"({"probes": {"tcp": {"ports": [65535, 1, 443, 22]}}})").tcp.ports ==
          Ports{1, 22, 443, 65535});
    CHECK(good(R"({"probes": {"tcp": {"ports": []}}})").tcp.ports.empty());
}

TEST_CASE("config_probes: what is no list of ports") {
    CHECK(probes_error(R"("tcp": {"ports": 22})") ==
          "r.json:1: /probes/tcp/ports: must be a list of ports, not an integer");
    CHECK(probes_error(R"("tcp": {"ports": ["22"]})") ==
          "r.json:1: /probes/tcp/ports/0: must be an integer, not a string");
    CHECK(probes_error(R"("tcp": {"ports": [22, 22.0]})") ==
          "r.json:1: /probes/tcp/ports/1: must be an integer, without decimals or exponent");
    for (const auto* const port : {"0", "-1", "65536", "65558", "4294967318", "1e3", "null"}) {
        CAPTURE(port);
        CHECK(probes_error(fmt::format(R"("tcp": {{"ports": [22, {}]}})", port))
                  .rfind("r.json:1: /probes/tcp/ports/1: must be", 0) == 0);
    }
    // Each wrong one is told, and nothing else.
    CHECK(probes_error(R"("tcp": {"ports": [22, 0, 443, 22, 65536]})") ==
          "r.json:1: /probes/tcp/ports/1: must be 1 to 65535\n"
          "r.json:1: /probes/tcp/ports/3: listed twice\n"
          "r.json:1: /probes/tcp/ports/4: must be 1 to 65535");
}

TEST_CASE("config_probes: a peer has at most 16 ports") {
    std::string many = "1";
    for (int port = 2; port <= 16; ++port) {
        many += fmt::format(", {}", port);
    }
    CHECK(peer_tcp("{}", fmt::format(R"({{"ports": [{}]}})", many)).ports.size() == tcp_ports_max);
    CHECK(probes_error(fmt::format(R"("tcp": {{"ports": [{}, 17]}})", many)) ==
          "r.json:1: /probes/tcp/ports: must have at most 16 ports");
    CHECK(error(file_with("{}", fmt::format(R"({{"ports": [{}, 17]}})", many))) ==
          "r.json:2: /peers/0/tcp/ports: must have at most 16 ports");
}

TEST_CASE("config_probes: a peer changes the defaults of TCP") {
    const auto* const defaults = R"({"ports": [22, 443], "interval": "2s"})";
    const TcpOptions inherited{seconds(2), seconds(1), {22, 443}};
    CHECK(peer_tcp(defaults, "") == inherited);
    CHECK(peer_tcp(defaults, "true") == inherited);
    CHECK(peer_tcp(defaults, "{}") == inherited);
    CHECK(peer_tcp(defaults, "false").ports.empty());
    CHECK(peer_tcp(defaults, R"({"ports": []})").ports.empty());
    CHECK(peer_tcp(defaults, R"({"ports": [80]})") == TcpOptions{seconds(2), seconds(1), {80}});
    CHECK(peer_tcp(defaults, R"({"timeout": "300ms"})") ==
          TcpOptions{seconds(2), milliseconds(300), {22, 443}});
}

TEST_CASE("config_probes: TCP without a port anywhere") {
    CHECK(peer_tcp("{}", "").ports.empty());
    CHECK(peer_tcp("{}", "{}").ports.empty());
    CHECK(peer_tcp("{}", "false").ports.empty());
    CHECK(peer_tcp("{}", R"({"ports": [], "interval": "1s"})").ports.empty());
    const std::string none =
        R"(r.json:2: /peers/0/tcp: there are no "ports" to probe, neither here nor in probes.tcp)";
    CHECK(error(file_with("{}", "true")) == none);
    CHECK(error(file_with("{}", R"({"interval": "1s"})")) == none);
    CHECK(error(file_with(R"({"ports": []})", "true")) == none);
    CHECK(error(R"({"peers": [{"address": "a", "tcp": true}]})").find("no \"ports\"") !=
          std::string::npos);
}

TEST_CASE("config_probes: ports that were refused are not missed as well") {
    const std::string ports_refused = "r.json:1: /probes/tcp/ports/0: must be 1 to 65535";
    CHECK(error(file_with(R"({"ports": [0]})", "true")) == ports_refused);
    CHECK(error(file_with(R"({"ports": [0]})", R"({"interval": "1s"})")) == ports_refused);
    CHECK(error(file_with(R"({"prots": [22]})", "true")) ==
          R"(r.json:1: /probes/tcp/prots: unknown key; did you mean "ports"?)");
    CHECK(error(file_with("true", "true")) ==
          "r.json:1: /probes/tcp: must be an object, not true or false");
    CHECK(error(file_with("{}", R"({"prots": [22]})")) ==
          R"(r.json:2: /peers/0/tcp/prots: unknown key; did you mean "ports"?)");
    CHECK(error(file_with("{}", "1")) ==
          "r.json:2: /peers/0/tcp: must be true, false or an object, not an integer");
    CHECK(error(file_with("{}", "[22]")) ==
          "r.json:2: /peers/0/tcp: must be true, false or an object, not a list");
}

TEST_CASE("config_probes: intervals and time-outs of every kind") {
    for (const std::string kind : {"icmp", "tcp", "arp"}) {
        CAPTURE(kind);
        const auto of = [&kind](std::string_view interval, std::string_view timeout) {
            return probes_error(fmt::format(
                R"("{}": {{"interval": "{}", "timeout": "{}"}})", kind, interval, timeout));
        };
        CHECK(of("10ms", "10ms").empty());
        CHECK(of("1h", "60s").empty());
        CHECK(of("10ms", "2560ms").empty());
        CHECK(of("10ms", "2561ms") ==
              fmt::format("r.json:1: /probes/{}: timeout must be at most 256 times the interval",
                          kind));
        CHECK(of("9ms", "1s") ==
              fmt::format("r.json:1: /probes/{}/interval: must be 10ms to 1h", kind));
        CHECK(of("1s", "61s") ==
              fmt::format("r.json:1: /probes/{}/timeout: must be 10ms to 1m", kind));
    }
    // The default of one key with a peer's value of the other.
    CHECK(error(file_with(R"({"timeout": "60s", "ports": [22]})", R"({"interval": "200ms"})")) ==
          "r.json:2: /peers/0/tcp: timeout must be at most 256 times the interval");
}

TEST_CASE("config_probes: where ARP requests come from") {
    CHECK(good(R"({"probes": {"arp": {"sender": "10.0.0.1"}}})").arp.sender ==
          IpAddress::v4({10, 0, 0, 1}));
    CHECK_FALSE(good(R"({"probes": {"arp": {"sender": ""}}})").arp.sender);
    CHECK_FALSE(good(R"({"probes": {"arp": {"enabled": false}}})").arp.enabled);
    CHECK(probes_error(R"("arp": {"sender": "fe80::1"})")
              .rfind("r.json:1: /probes/arp/sender: \"fe80::1\" is no IPv4 address", 0) == 0);
    CHECK(probes_error(R"("arp": {"sender": null})") ==
          "r.json:1: /probes/arp/sender: must be a string, not null");
    CHECK(probes_error(R"("arp": false)") ==
          "r.json:1: /probes/arp: must be an object, not true or false");
    CHECK(probes_error(R"("arp": {"source": "10.0.0.1"})")
              .rfind("r.json:1: /probes/arp/source: unknown key; ", 0) == 0);
}

TEST_CASE("config_probes: path MTU by default, and what changes it") {
    const auto defaults = good(R"({"peers": [{"address": "a"}]})");
    CHECK(defaults.mtu == MtuOptions{true, seconds(60), milliseconds(500), 0});
    CHECK(defaults.peers.front().mtu == defaults.mtu);
    CHECK(defaults.limits.mtu_bytes_per_second == 1'000'000);

    const auto config = good(R"({
        "probes": { "mtu": { "interval": "30s", "timeout": "1s", "expected_bytes": 9000 } },
        "limits": { "mtu_bytes_per_second": 100000 },
        "peers": [ { "address": "a" },
                   { "address": "b", "mtu": false },
                   { "address": "c", "mtu": { "expected_bytes": "auto" } } ]
    })");
    CHECK(config.mtu == MtuOptions{true, seconds(30), seconds(1), 9000});
    CHECK(config.peers[0].mtu == config.mtu);
    CHECK_FALSE(config.peers[1].mtu.enabled);
    CHECK(config.peers[2].mtu.expected_bytes == 0);
    CHECK(config.limits.mtu_bytes_per_second == 100'000);
}

TEST_CASE("config_probes: sizes that no path can have") {
    for (const auto* const bytes : {"0", "67", "65536", "-1", "9000.5", "4294968796"}) {
        CAPTURE(bytes);
        CHECK(probes_error(fmt::format(R"("mtu": {{"expected_bytes": {}}})", bytes))
                  .rfind("r.json:1: /probes/mtu/expected_bytes: must be", 0) == 0);
    }
    CHECK(probes_error(R"("mtu": {"expected_bytes": "jumbo"})") ==
          R"(r.json:1: /probes/mtu/expected_bytes: must be "auto" or a number of bytes)");
    CHECK(error(R"({"peers": [{"address": "2001:db8::1", "mtu": {"expected_bytes": 1279}}]})") ==
          "r.json:1: /peers/0/mtu: expected_bytes of an IPv6 peer must be 1280 or more");
    CHECK(error(R"({"probes": {"mtu": {"expected_bytes": 1000}},
                    "peers": [{"address": "2001:db8::1"}]})") ==
          "r.json:2: /peers/0: expected_bytes of an IPv6 peer must be 1280 or more");
    CHECK(good(R"({"peers": [{"address": "2001:db8::1", "mtu": {"expected_bytes": 1280}}]})")
              .peers.front()
              .mtu.expected_bytes == 1280);
    CHECK(error(R"({"limits": {"mtu_bytes_per_second": 99999}})").find("100000") !=
          std::string::npos);
    CHECK(error(R"({"limits": {"mtu_bytes_per_second": 100000},
                    "peers": [{"address": "a", "mtu": {"expected_bytes": 10001}}]})") ==
          "r.json:2: /peers/0: expected_bytes 10001 is more than a tenth of "
          "limits.mtu_bytes_per_second, 100000");
    CHECK(good(R"({"limits": {"mtu_bytes_per_second": 100000},
                   "peers": [{"address": "a", "mtu": {"expected_bytes": 10000}}]})")
              .peers.size() == 1);
    CHECK(error(R"({"probes": {"mtu": {"expected_bytes": 65535}},
                    "limits": {"mtu_bytes_per_second": 200000}})")
              .find("expected_bytes 65535 is more than a tenth") != std::string::npos);
}

}  // namespace
}  // namespace reachd
