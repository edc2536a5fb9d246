#include "common/snapshot.hpp"

#include <catch2/catch.hpp>

namespace reachd {
namespace {

TEST_CASE("label values are escaped as the exposition format asks, and no further") {
    CHECK(exposition_label_value("").empty());
    CHECK(exposition_label_value("web01") == "web01");
    CHECK(exposition_label_value("a\\b") == R"(a\\b)");
    CHECK(exposition_label_value("say \"hi\"") == R"(say \"hi\")");
    CHECK(exposition_label_value("two\nlines") == R"(two\nlines)");
    CHECK(exposition_label_value("\\n") == R"(\\n)");  // not a line feed
    CHECK(exposition_label_value("\\\"\n") == R"(\\\"\n)");
    CHECK(exposition_label_value("tab\tbraces{}='comma,") == "tab\tbraces{}='comma,");
    CHECK(exposition_label_value("grün 網") == "grün 網");
    const std::string with_nul("a\0b", 3);
    CHECK(exposition_label_value(with_nul) == with_nul);
}

TEST_CASE("a label value cannot end its quotes or its line") {
    for (const std::string value :
         {"\"", "\\", "\\\"", "\n", "\\\\\"\n", "x\",evil=\"y", "\"} 1\n# "}) {
        const std::string escaped = exposition_label_value(value);
        CHECK(escaped.find('\n') == std::string::npos);
        bool after_backslash = false;
        for (const char character : escaped) {
            CHECK_FALSE((character == '"' && !after_backslash));
            after_backslash = character == '\\' && !after_backslash;
        }
        CHECK_FALSE(after_backslash);
    }
}

TEST_CASE("the labels of a peer") {
    CHECK(PeerIdentity("db1", "10.0.0.1").label_text() == R"(peer="db1",address="10.0.0.1")");
    CHECK(PeerIdentity("db1", "").label_text() == R"(peer="db1",address="")");
    const PeerIdentity odd("a\"b\nc\\n", "fe80::1%eth\\0");
    CHECK(odd.label_text() == R"(peer="a\"b\nc\\n",address="fe80::1%eth\\0")");
    CHECK(odd.name() == "a\"b\nc\\n");
    CHECK(odd.address() == "fe80::1%eth\\0");
    CHECK(PeerIdentity("db1", "").address().empty());
    CHECK(PeerIdentity("db1", "").details() == PeerDetails{});
}

TEST_CASE("a snapshot begins with what is known before anything happened") {
    const Snapshot snapshot;
    CHECK_FALSE(snapshot.topology_synced);
    CHECK_FALSE(snapshot.every_peer_asked);
    CHECK(snapshot.throttle_ratio == 1.0);
    CHECK(snapshot.reload.last_successful);
    CHECK(snapshot.netlink.last_sync == WallTime{});
    CHECK_FALSE(PeerSnapshot{}.up.has_value());
    CHECK(PeerSnapshot{}.state == Reachability::unknown);
}

}  // namespace
}  // namespace reachd
