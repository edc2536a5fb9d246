#include "agent/config_json.hpp"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include "tests/agent/config_reading.hpp"

namespace reachd {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::error;
using test::errors;
using test::good;
using Lines = std::vector<std::string>;

/// The one error of a configuration with one peer.
std::string peer_error(std::string_view members) {
    return error(fmt::format("{{\"peers\": [{{{}}}]}}", members));
}

PeerConfig good_peer(std::string_view members) {
    const auto config = good(fmt::format("{{\"peers\": [{{{}}}]}}", members));
    REQUIRE(config.peers.size() == 1);
    return config.peers.front();
}

std::string contents(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    REQUIRE(file);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::filesystem::path source_dir() {
    return REACHD_SOURCE_DIR;
}

TEST_CASE("config: {} has the documented defaults") {
    const auto config = good("{}");
    CHECK(config.web == WebConfig{});
    CHECK(config.web.listen == std::vector<ListenAddress>{{"", 10862}});
    CHECK_FALSE(config.web.open);
    CHECK(config.host.name.empty());
    CHECK(config.icmp == IcmpOptions{true, seconds(1), seconds(1), 56, 0});
    CHECK(config.tcp == TcpOptions{seconds(5), seconds(1), {}});
    CHECK(config.arp == ArpOptions{true, seconds(1), milliseconds(500), std::nullopt});
    CHECK(config.peers.empty());
    CHECK(config.discover_gateways);
    CHECK(config.guests == GuestDiscoveryConfig{true, true, {"*"}, {}, {}});
    CHECK(config.rtt_edges ==
          std::vector<double>{0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.02, 0.1, 1});
    CHECK(config.limits.peers == 20000);
    CHECK(config.limits.guests == 2000);
    CHECK(config.limits.probes_per_second == 50000);
    CHECK(config.limits.series == 1000000);
    CHECK(config.limits.connections == 256);
}

TEST_CASE("config: every served key arrives") {
    const auto config = good(R"({
        "web": { "listen": ["127.0.0.1:9900", "[::1]:9900"], "open": true },
        "host": { "name": "hv1", "labels": { "zone": "z1", "rack": "r1" } },
        "probes": { "icmp": { "enabled": false, "interval": "2s", "timeout": "500ms",
                              "payload_bytes": 16, "dscp": 63 },
                    "tcp": { "interval": "3s", "timeout": "2s", "ports": [443, 22] },
                    "arp": { "enabled": false, "interval": "4s", "timeout": "10ms",
                             "sender": "10.77.0.1" } },
        "peers": [ { "name": "db1", "address": "DB1.example.net", "family": "ipv4",
                     "source": "10.77.0.1", "device": "br0", "labels": { "rack": "r2" },
                     "icmp": true, "tcp": { "ports": [80] } } ],
        "discovery": { "gateways": false,
                       "guests": { "enabled": false, "containers": false, "bridges": ["br*"],
                                   "exclude": ["vnet9"],
                                   "names": { "52:54:00:12:34:56": "web01" } } },
        "metrics": { "rtt_edges": [1e-6, 0.5, 1] },
        "limits": { "peers": 1, "guests": 100000, "probes_per_second": 200000, "series": 1000,
                    "connections": 10000 }
    })");
    CHECK(config.web.listen == std::vector<ListenAddress>{{"127.0.0.1", 9900}, {"::1", 9900}});
    CHECK(config.web.open);
    CHECK(config.host == HostConfig{"hv1", {{"zone", "z1"}, {"rack", "r1"}}});
    const IcmpOptions icmp{false, seconds(2), milliseconds(500), 16, 63};
    CHECK(config.icmp == icmp);
    REQUIRE(config.peers.size() == 1);
    auto peer_icmp = icmp;
    peer_icmp.enabled = true;
    CHECK(config.peers[0] == PeerConfig{"db1",
                                        "DB1.example.net",
                                        FamilyChoice::ipv4,
                                        IpAddress::v4({10, 77, 0, 1}),
                                        "br0",
                                        {{"rack", "r2"}},
                                        peer_icmp,
                                        TcpOptions{seconds(3), seconds(2), {80}},
                                        {}});
    CHECK(config.tcp == TcpOptions{seconds(3), seconds(2), {22, 443}});
    CHECK(config.arp ==
          ArpOptions{false, seconds(4), milliseconds(10), IpAddress::v4({10, 77, 0, 1})});
    CHECK_FALSE(config.discover_gateways);
    const MacAddress mac({0x52, 0x54, 0x00, 0x12, 0x34, 0x56});
    CHECK(config.guests ==
          GuestDiscoveryConfig{false, false, {"br*"}, {"vnet9"}, {{mac, "web01"}}});
    CHECK(config.rtt_edges == std::vector<double>{1e-6, 0.5, 1});
    CHECK(config.limits.peers == 1);
    CHECK(config.limits.guests == 100000);
    CHECK(config.limits.probes_per_second == 200000);
    CHECK(config.limits.series == 1000);
    CHECK(config.limits.connections == 10000);
}

TEST_CASE("config: peers complete the defaults of probes, wherever those stand") {
    const auto config = good(R"({
        "peers": [ { "address": "10.0.0.1" },
                   { "address": "10.0.0.2", "icmp": { "dscp": 46 } },
                   { "address": "10.0.0.3", "icmp": false } ],
        "probes": { "icmp": { "interval": "200ms", "payload_bytes": 100 } } })");
    REQUIRE(config.peers.size() == 3);
    CHECK(config.peers[0].icmp == config.icmp);
    CHECK(config.peers[1].icmp == IcmpOptions{true, milliseconds(200), seconds(1), 100, 46});
    CHECK(config.peers[2].icmp == IcmpOptions{false, milliseconds(200), seconds(1), 100, 0});
}

TEST_CASE("config: what a peer leaves out follows from its address and source") {
    CHECK(good_peer(R"("address": "2001:DB8::0:5")").name == "2001:db8::5");
    CHECK(good_peer(R"("address": "2001:DB8::0:5")").address == "2001:db8::5");
    CHECK(good_peer(R"("address": "2001:db8::5", "name": "x")").family == FamilyChoice::ipv6);
    CHECK(good_peer(R"("address": "10.0.0.1")").family == FamilyChoice::ipv4);
    CHECK(good_peer(R"("address": "db1")").family == FamilyChoice::any);
    CHECK(good_peer(R"("address": "db1", "source": "::1")").family == FamilyChoice::ipv6);
    CHECK(good_peer(R"("address": "fe80::1%br0")").address == "fe80::1%br0");
    CHECK(good_peer(R"("address": "fe80::1%br0", "device": "br0")").device == "br0");
    CHECK(good_peer(R"("address": "db1", "source": "fe80::2", "device": "br0")").source);
    CHECK_FALSE(good_peer(R"("address": "db1", "source": "", "device": "")").source);
}

TEST_CASE("config: the shipped files are valid") {
    std::size_t files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(source_dir() / "conf")) {
        if (entry.path().extension() == ".json") {
            ++files;
            CAPTURE(entry.path());
            CHECK(error(contents(entry.path())).empty());
        }
    }
    CHECK(files >= 2);
    const auto config = good(contents(source_dir() / "conf/reachd.json"));
    CHECK(config.web == WebConfig{});
    CHECK(config.peers.empty());
    CHECK(config.discover_gateways);
    CHECK(config.guests == GuestDiscoveryConfig{});
    const auto full = good(contents(source_dir() / "conf/full.json"));
    CHECK(full.icmp == IcmpOptions{});
    CHECK(full.tcp == TcpOptions{});
    CHECK(full.arp == ArpOptions{});
    CHECK(full.rtt_edges == Config{}.rtt_edges);
    CHECK(full.peers.size() == 4);
    CHECK(full.peers[1].tcp == TcpOptions{seconds(2), seconds(1), {22, 5432}});
    CHECK(full.guests.bridges == GuestDiscoveryConfig{}.bridges);
    CHECK(full.guests.names.size() == 2);
}

TEST_CASE("config: all errors come at once, in the order of the file, in the documented form") {
    CHECK(errors(R"({
  "web": { "listen": ["localhost:80"], "opne": true },
  "peers": [
    { "address": "10.0.0.1", "icmp": { "interval": 5 } },
    { "name": "pm1",
      "adress": "10.0.0.2" },
    7
  ],
  "mesh": { "levels": ["rack"] },
  "limits": { "peers": 0 }
})") == Lines{
            R"(r.json:2: /web/listen/0: "localhost:80": the address to listen on must be numeric, )"
            "or left out for all",
            R"(r.json:2: /web/opne: unknown key; did you mean "open"?)",
            R"(r.json:4: /peers/0/icmp/interval: must be a duration in quotes, like "250ms" or )"
            R"("1s", not an integer)",
            R"(r.json:6: /peers/1/adress: unknown key; did you mean "address"?)",
            R"(r.json:7: /peers/2: must be an object, not an integer)",
            R"(r.json:9: /mesh: not available in this version)",
            R"(r.json:10: /limits/peers: must be 1 to 1000000)",
        });
}

TEST_CASE("config: unknown keys name the nearest valid key, or all of them") {
    CHECK(error(R"({"peer": []})") == R"(r.json:1: /peer: unknown key; did you mean "peers"?)");
    CHECK(error(R"({"probes": {"imcp": {}}})") ==
          R"(r.json:1: /probes/imcp: unknown key; did you mean "icmp"?)");
    CHECK(error(R"({"host": {"colour": 1}})") ==
          R"(r.json:1: /host/colour: unknown key; valid here: name, labels)");
    CHECK(error(R"({"limits": {"Peers": 5}})") ==
          R"(r.json:1: /limits/Peers: unknown key; did you mean "peers"?)");
    CHECK(error(R"({"": 1})").rfind("r.json:1: /: unknown key; valid here: web,", 0) == 0);
    CHECK(error("{\"a\\nb\": 1}").rfind("r.json:1: /a\\nb: unknown key; valid here: ", 0) == 0);
}

TEST_CASE("config: wrong types") {
    const std::vector<std::pair<std::string, std::string>> wrong{
        {R"([])", "r.json:1: must be an object, not a list"},
        {R"(null)", "r.json:1: must be an object, not null"},
        {R"({"web": []})", "r.json:1: /web: must be an object, not a list"},
        {R"({"web": {"listen": ":10862"}})",
         R"(r.json:1: /web/listen: must be a list like [":10862"], not a string)"},
        {R"({"web": {"listen": [10862]}})",
         "r.json:1: /web/listen/0: must be a string, not an integer"},
        {R"({"web": {"open": "true"}})",
         "r.json:1: /web/open: must be true or false, not a string"},
        {R"({"host": {"name": 5}})", "r.json:1: /host/name: must be a string, not an integer"},
        {R"({"host": {"labels": ["a"]}})", "r.json:1: /host/labels: must be an object, not a list"},
        {R"({"peers": {}})", "r.json:1: /peers: must be a list, not an object"},
        {R"({"discovery": {"gateways": 1}})",
         "r.json:1: /discovery/gateways: must be true or false, not an integer"},
        {R"({"metrics": {"rtt_edges": 1}})",
         "r.json:1: /metrics/rtt_edges: must be a list of seconds, not an integer"},
        {R"({"metrics": {"rtt_edges": ["1"]}})",
         "r.json:1: /metrics/rtt_edges/0: must be a number, not a string"},
        {R"({"probes": {"icmp": false}})",
         "r.json:1: /probes/icmp: must be an object, not true or false"},
        {R"({"limits": {"peers": "5"}})",
         "r.json:1: /limits/peers: must be an integer, not a string"},
        {R"({"limits": {"peers": null}})", "r.json:1: /limits/peers: must be an integer, not null"},
    };
    for (const auto& [text, message] : wrong) {
        CHECK(error(text) == message);
    }
    CHECK(peer_error(R"("address": "db1", "icmp": 1)") ==
          "r.json:1: /peers/0/icmp: must be true, false or an object, not an integer");
    CHECK(peer_error(R"("address": 5)") ==
          "r.json:1: /peers/0/address: must be a string, not an integer");
}

TEST_CASE("config: integers and their bounds") {
    const auto payload = [](std::string_view value) {
        return error(fmt::format(R"({{"probes": {{"icmp": {{"payload_bytes": {}}}}}}})", value));
    };
    for (const auto* const value : {"16", "9000", "56"}) {
        CHECK(payload(value).empty());
    }
    for (const auto* const value : {"15",
                                    "9001",
                                    "0",
                                    "-1",
                                    "65592",
                                    "4294967352",
                                    "18446744073709551672",
                                    "99999999999999999999999999"}) {
        CAPTURE(value);
        CHECK(payload(value) == "r.json:1: /probes/icmp/payload_bytes: must be 16 to 9000");
    }
    for (const auto* const value : {"56.0", "5.6e1", "1e2", "56.5"}) {
        CAPTURE(value);
        CHECK(payload(value) ==
              "r.json:1: /probes/icmp/payload_bytes: must be an integer, without "
              "decimals or exponent");
    }
    CHECK(payload("1e999") == "r.json:1: /probes/icmp/payload_bytes: the number is too large");
    const auto limit = [](std::string_view key, std::uint64_t value) {
        return error(fmt::format(R"({{"limits": {{"{}": {}}}}})", key, value));
    };
    CHECK(limit("peers", 1'000'000).empty());
    CHECK(limit("peers", 1'000'001) == "r.json:1: /limits/peers: must be 1 to 1000000");
    CHECK(limit("probes_per_second", 200'001) ==
          "r.json:1: /limits/probes_per_second: must be 1 to 200000");
    CHECK(limit("series", 999) == "r.json:1: /limits/series: must be 1000 to 100000000");
    CHECK(limit("connections", 0) == "r.json:1: /limits/connections: must be 1 to 10000");
    CHECK(error(R"({"probes": {"icmp": {"dscp": 64}}})") ==
          "r.json:1: /probes/icmp/dscp: must be 0 to 63");
    CHECK(limit("guests", 0) == "r.json:1: /limits/guests: must be 1 to 100000");
    CHECK(limit("guests", 100'001) == "r.json:1: /limits/guests: must be 1 to 100000");
}

TEST_CASE("config: intervals and time-outs") {
    const auto icmp = [](std::string_view interval, std::string_view timeout) {
        return error(
            fmt::format(R"({{"probes": {{"icmp": {{"interval": "{}", "timeout": "{}"}}}}}})",
                        interval,
                        timeout));
    };
    CHECK(icmp("10ms", "10ms").empty());
    CHECK(icmp("1h", "60s").empty());
    CHECK(icmp("9.999ms", "1s") == "r.json:1: /probes/icmp/interval: must be 10ms to 1h");
    CHECK(icmp("1.000001h", "1s") == "r.json:1: /probes/icmp/interval: must be 10ms to 1h");
    CHECK(icmp("1s", "61s") == "r.json:1: /probes/icmp/timeout: must be 10ms to 1m");
    CHECK(icmp("1s", "5").find("/probes/icmp/timeout: \"5\" has no unit") != std::string::npos);
    // 256 probes in flight, and one more.
    CHECK(icmp("10ms", "2560ms").empty());
    CHECK(icmp("10ms", "2561ms") ==
          "r.json:1: /probes/icmp: timeout must be at most 256 times the interval");
    // The default of one key with a peer's value of the other.
    const std::string text = R"({"probes": {"icmp": {"timeout": "60s"}},
        "peers": [{"address": "a", "icmp": {"interval": "200ms"}}, {"address": "b"}]})";
    CHECK(error(text) == "r.json:2: /peers/0/icmp: timeout must be at most 256 times the interval");
}

TEST_CASE("config: the control socket is an absolute path") {
    CHECK(good(R"({"control": {"socket": "/run/x.sock"}})").control.socket == "/run/x.sock");
    CHECK(good(R"({"control": {}})").control.socket.empty());
    CHECK(error(R"({"control": {"socket": "x.sock"}})") ==
          "r.json:1: /control/socket: \"x.sock\" is no absolute path");
    const std::string longest(socket_path_bytes_max - 1, 'x');
    CHECK(error(R"({"control": {"socket": "/)" + longest + R"("}})").empty());
    CHECK(error(R"({"control": {"socket": "/x)" + longest + R"("}})") ==
          "r.json:1: /control/socket: longer than 107 bytes, the kernel's limit");
    CHECK(error(R"({"control": 5})").find("/control") != std::string::npos);
}

TEST_CASE("config: keys of later versions are refused by name") {
    const std::vector<std::pair<std::string, std::string>> later{
        {R"({"web": {"config_file": "web.yml"}})", "/web/config_file"},
        {R"({"web": {"config_file": false}})", "/web/config_file"},
        {R"({"web": {"probe": {"targets": ["10.0.0.0/8"]}}})", "/web/probe"},
        {R"({"discovery": {"files": ["/etc/reachd/peers.d/*.json"]}})", "/discovery/files"},
        {R"({"discovery": {"http": [{"url": "http://x"}]}})", "/discovery/http"},
        {R"({"discovery": {"dns": [{"name": "x"}]}})", "/discovery/dns"},
        {R"({"mesh": {"peers_per_group": 3}})", "/mesh"},
        {R"({"thresholds": {"loss_ratio": 0.05}})", "/thresholds"},
        {R"({"faults": {"disable": ["E1005"]}})", "/faults"},
        {R"({"peers": [{"address": "a", "arp": true}]})", "/peers/0/arp"},
        {R"({"peers": [{"address": "a", "thresholds": {"latency_factor": 10}}]})",
         "/peers/0/thresholds"},
        {R"({"peers": [{"address": "a", "thresholds": false}]})", "/peers/0/thresholds"},
    };
    for (const auto& [text, pointer] : later) {
        CHECK(error(text) == fmt::format("r.json:1: {}: not available in this version", pointer));
    }
}

TEST_CASE("config: a later key that asks for nothing is fine") {
    CHECK(error(R"({
        "web": { "config_file": "", "probe": { "targets": [] } },
        "control": {}, "mesh": {}, "thresholds": {},
        "peers": [ { "address": "a", "arp": false, "thresholds": {} } ],
        "discovery": { "files": [], "http": [], "dns": [] },
        "faults": { "disable": [], "ignore_devices": [], "ignore_peers": [] }
    })")
              .empty());
    CHECK(error(R"({"faults": {"disabel": []}})") ==
          R"(r.json:1: /faults/disabel: unknown key; did you mean "disable"?)");
}

TEST_CASE("config: listen") {
    const auto listen = [](std::string_view list) {
        return error(fmt::format(R"({{"web": {{"listen": [{}]}}}})", list));
    };
    CHECK(listen(R"("0.0.0.0:80", "[::]:80", ":81")").empty());
    CHECK(listen("") == "r.json:1: /web/listen: must have 1 to 16 addresses");
    CHECK(listen(R"(":80", ":80")") == "r.json:1: /web/listen/1: listed twice");
    CHECK(listen(R"("[::1]:80", "[0::1]:80")") == "r.json:1: /web/listen/1: listed twice");
    CHECK(listen(R"("127.0.0.1:80", ":80")") ==
          "r.json:1: /web/listen/1: another entry listens on every address with this port");
    std::string many = "\":1\"";
    for (int port = 2; port <= 17; ++port) {
        many += fmt::format(", \":{}\"", port);
    }
    CHECK(listen(many) == "r.json:1: /web/listen: must have 1 to 16 addresses");
}

TEST_CASE("config: labels") {
    CHECK(good_peer(R"("address": "a", "labels": {"job": "x", "rack": ""})").labels ==
          std::vector<Label>{{"job", "x"}, {"rack", ""}});
    CHECK(
        peer_error(R"("address": "a", "labels": {"peer": "x"})") ==
        "r.json:1: /peers/0/labels/peer: reachd gives a label of this name itself; choose another");
    CHECK(error(R"({"host": {"labels": {"role": "x"}}})") ==
          "r.json:1: /host/labels/role: reachd gives a label of this name itself; choose another");
    CHECK(peer_error(R"("address": "a", "labels": {"a-b": "x"})")
              .find("/peers/0/labels/a-b: no valid label name") != std::string::npos);
    CHECK(peer_error(R"("address": "a", "labels": {"__x": "x"})").find("belong to Prometheus") !=
          std::string::npos);
    CHECK(peer_error(R"("address": "a", "labels": {"x": 5})") ==
          "r.json:1: /peers/0/labels/x: must be a string, not an integer");
    CHECK(peer_error(
              fmt::format(R"("address": "a", "labels": {{"x": "{}"}})", std::string(257, 'y'))) ==
          "r.json:1: /peers/0/labels/x: longer than 256 bytes");
    CHECK(peer_error(R"("address": "a", "labels": {"x": "1", "x": "2"})") ==
          "r.json:1: /peers/0/labels/x: duplicate key; first on line 1");
    std::string many = R"("l0": "x")";
    for (int i = 1; i < 33; ++i) {
        many += fmt::format(R"(, "l{}": "x")", i);
    }
    CHECK(peer_error(fmt::format(R"("address": "a", "labels": {{{}}})", many)) ==
          "r.json:1: /peers/0/labels: more than 32 labels");
    CHECK(peer_error("\"address\": \"a\", \"labels\": {\"x\": \"\xff\"}") ==
          "r.json:1: /peers/0/labels/x: not UTF-8");
}

TEST_CASE("config: a peer's parts must agree") {
    CHECK(peer_error(R"("name": "x")") == R"(r.json:1: /peers/0: a peer needs an "address")");
    CHECK(peer_error(R"("address": "a", "name": "")") ==
          "r.json:1: /peers/0/name: must not be empty; leave it out to use the address");
    CHECK(peer_error(R"("address": "a", "name": "x\ny")").find("control character") !=
          std::string::npos);
    CHECK(peer_error(R"("address": "10.0.0.1", "family": "ipv6")") ==
          "r.json:1: /peers/0/family: the address is IPv4");
    CHECK(peer_error(R"("address": "::1", "family": "ipv4")") ==
          "r.json:1: /peers/0/family: the address is IPv6");
    CHECK(peer_error(R"("address": "a", "family": "ipv5")") ==
          R"(r.json:1: /peers/0/family: "ipv5" is no family; did you mean "ipv4"?)");
    CHECK(peer_error(R"("address": "a", "family": "inet")") ==
          R"(r.json:1: /peers/0/family: "inet" is no family; valid here: any, ipv4, ipv6)");
    CHECK(peer_error(R"("address": "::1", "source": "10.0.0.1")") ==
          "r.json:1: /peers/0/source: an IPv4 source for an IPv6 peer");
    CHECK(peer_error(R"("address": "a", "family": "ipv4", "source": "::1")") ==
          "r.json:1: /peers/0/source: an IPv6 source for an IPv4 peer");
    CHECK(peer_error(R"("address": "fe80::1%eth0", "device": "eth1")") ==
          "r.json:1: /peers/0/address: its zone is eth0, but the device is eth1");
    CHECK(peer_error(R"("address": "a", "source": "fe80::1")") ==
          R"(r.json:1: /peers/0/source: a link-local source needs a "device")");
    CHECK(peer_error(R"("address": "a", "device": "a/b")")
              .find("/peers/0/device: \"a/b\" is no device name") != std::string::npos);
    CHECK(peer_error(R"("address": "10.0.0.300")") ==
          R"(r.json:1: /peers/0/address: "10.0.0.300" is no IPv4 address)");
}

TEST_CASE("config: duplicate peers") {
    CHECK(errors(R"({"peers": [
        {"name": "a", "address": "10.0.0.1"},
        {"name": "b", "address": "10.0.0.2"},
        {"name": "a", "address": "10.0.0.3"},
        {"name": "a", "address": "10.0.0.4"}]})") ==
          Lines{R"(r.json:4: /peers/2/name: duplicate peer name "a"; first on line 2)",
                R"(r.json:5: /peers/3/name: duplicate peer name "a"; first on line 2)"});
    CHECK(error(R"({"peers": [{"address": "10.0.0.1"}, {"address": "10.0.0.1"}]})") ==
          R"(r.json:1: /peers/1: duplicate peer name "10.0.0.1"; first on line 1)");
    const auto same = [](std::string_view one, std::string_view other) {
        return error(fmt::format(
            "{{\"peers\": [{{\"name\": \"x\", {}}},\n{{\"name\": \"y\", {}}}]}}", one, other));
    };
    const std::string clash =
        R"(r.json:2: /peers/1/address: the same address, source and device as peer "x" on line 1)";
    CHECK(same(R"("address": "2001:db8::1")", R"("address": "2001:DB8:0::1")") == clash);
    CHECK(same(R"("address": "db1")", R"("address": "DB1.")") == clash);
    CHECK(same(R"("address": "db1", "device": "a", "source": "::1")",
               R"("source": "0::1", "device": "a", "address": "db1")") == clash);
    CHECK(same(R"("address": "10.0.0.1", "device": "a")", R"("address": "10.0.0.1", "device": "b")")
              .empty());
    CHECK(
        same(R"("address": "10.0.0.1", "source": "10.0.0.2")", R"("address": "10.0.0.1")").empty());
    CHECK(same(R"("address": "fe80::1%a")", R"("address": "fe80::1%b")").empty());
    // One host name in both families is two peers; "any" may be either.
    CHECK(same(R"("address": "db1", "family": "ipv4")", R"("address": "db1", "family": "ipv6")")
              .empty());
    CHECK(same(R"("address": "db1", "family": "any")", R"("address": "db1", "family": "ipv6")") ==
          clash);
}

TEST_CASE("config: more peers than limits.peers, wherever that stands") {
    CHECK(error(R"({"peers": [{"address": "a"}, {"address": "b"}], "limits": {"peers": 1}})") ==
          "r.json:1: /peers: 2 peers are more than limits.peers, 1");
    CHECK(error(R"({"peers": [{"address": "a"}, {"address": "b"}], "limits": {"peers": 2}})")
              .empty());
}

TEST_CASE("config: histogram edges") {
    const auto edges = [](std::string_view list) {
        return error(fmt::format(R"({{"metrics": {{"rtt_edges": [{}]}}}})", list));
    };
    CHECK(edges("1").empty());
    CHECK(edges("0.000000001, 3600").empty());
    CHECK(edges("") == "r.json:1: /metrics/rtt_edges: must have 1 to 64 edges");
    CHECK(edges("0, 1") ==
          "r.json:1: /metrics/rtt_edges/0: must be above 0 and at most 3600 seconds");
    for (const auto* const value : {"-1", "1e-300", "1e-999", "3600.1", "1e300"}) {
        CAPTURE(value);
        CHECK(edges(value) ==
              "r.json:1: /metrics/rtt_edges/0: must be above 0 and at most 3600 seconds");
    }
    CHECK(edges("1, 1") ==
          "r.json:1: /metrics/rtt_edges/1: must be greater than the edge before it");
    CHECK(edges("0.1, 0.01, 0.2") ==
          "r.json:1: /metrics/rtt_edges/1: must be greater than the edge before it");
    CHECK(edges("0.1, 0.1000000001") ==
          "r.json:1: /metrics/rtt_edges/1: must be greater than the edge before it");
    std::string many = "1";
    for (int i = 2; i <= 64; ++i) {
        many += fmt::format(", {}", i);
    }
    CHECK(edges(many).empty());
    CHECK(edges(many + ", 65") == "r.json:1: /metrics/rtt_edges: must have 1 to 64 edges");
}

TEST_CASE("config: duplicate sections do not hide errors and make no false ones") {
    CHECK(errors("{\"limits\": {\"peers\": 5},\n \"limits\": {\"peers\": 0}}") ==
          Lines{"r.json:2: /limits: duplicate key; first on line 1",
                "r.json:2: /limits/peers: must be 1 to 1000000"});
    CHECK(error("{\"peers\": [{\"address\": \"a\"}],\n \"peers\": [{\"address\": \"a\"}]}") ==
          "r.json:2: /peers: duplicate key; first on line 1");
}

TEST_CASE("config: after a hundred errors the rest is counted") {
    std::string text = "{\"peers\": [";
    for (int i = 0; i < 150; ++i) {
        text += fmt::format("{}\n{{\"address\": \"h{}\", \"colour\": 1}}", i == 0 ? "" : ",", i);
    }
    const auto outcome = parse_config(text + "]}", "r.json");
    REQUIRE_FALSE(outcome.has_value());
    CHECK(outcome.error().count() == 150);
    CHECK(outcome.error().errors.size() == 100);
    const auto lines = to_lines(outcome.error());
    REQUIRE(lines.size() == 101);
    CHECK(lines.back() == "r.json: and 50 more errors");
}

TEST_CASE("config: an error is one line of file, line, pointer and message") {
    CHECK(to_text({"/etc/reachd/reachd.json", 22, "/peers/3/adress", "unknown key"}) ==
          "/etc/reachd/reachd.json:22: /peers/3/adress: unknown key");
    CHECK(to_text({"x", 1, "", "larger than 16 MiB"}) == "x:1: larger than 16 MiB");
}

TEST_CASE("config: many peers are read, duplicates among them told apart") {
    // No clock here: were either check quadratic, this test would take minutes instead of a second.
    std::string text = "{\"limits\": {\"peers\": 1000000}, \"peers\": [";
    for (int i = 0; i < 100'000; ++i) {
        text += fmt::format("{}\n{{\"name\": \"p{}\", \"address\": \"10.{}.{}.{}\"}}",
                            i == 0 ? "" : ",",
                            i,
                            i >> 16,
                            (i >> 8) & 255,
                            i & 255);
    }
    const auto config = good(text + "]}");
    REQUIRE(config.peers.size() == 100'000);
    CHECK(config.peers.back().address == "10.1.134.159");

    std::string same = "{\"limits\": {\"peers\": 1000000}, \"peers\": [{\"address\": \"a\"}";
    for (int i = 1; i < 100'000; ++i) {
        same += ",{\"address\": \"a\"}";
    }
    const auto outcome = parse_config(same + "]}", "r.json");
    REQUIRE_FALSE(outcome.has_value());
    CHECK(outcome.error().count() == 99'999);
}

}  // namespace
}  // namespace reachd
