#include "agent/peer_table.hpp"

#include <algorithm>
#include <set>

#include <catch2/catch.hpp>

#include "common/random.hpp"

namespace reachd {
namespace {

Peer peer_at(const std::string& address_text, IfIndex scope = IfIndex::any) {
    Peer peer;
    peer.identity = std::make_shared<const PeerIdentity>("peer", "");
    if (!address_text.empty()) {
        peer.target.destination = *IpAddress::parse(address_text);
        peer.target.destination.set_scope(scope);
    }
    return peer;
}

std::set<std::uint32_t> found_at(PeerTable& table,
                                 const std::string& text,
                                 IfIndex scope = IfIndex::any) {
    IpAddress address = *IpAddress::parse(text);
    address.set_scope(scope);
    const auto found = table.peers_at(address);
    return {found.begin(), found.end()};
}

using Ids = std::set<std::uint32_t>;

TEST_CASE("peers keep their place until they go, and free places are taken again") {
    PeerTable table;
    CHECK(table.size() == 0);
    const auto a = table.add(peer_at("10.0.0.1"));
    const auto b = table.add(peer_at("10.0.0.2"));
    const auto c = table.add(peer_at("10.0.0.3"));
    CHECK(table.size() == 3);
    table.remove(b);
    CHECK(table.size() == 2);
    CHECK(table.places() == 3);
    CHECK(table[b].identity == nullptr);
    CHECK(table[a].target.destination.to_string() == "10.0.0.1");
    CHECK(table[c].target.destination.to_string() == "10.0.0.3");

    const auto d = table.add(peer_at("10.0.0.4"));
    CHECK(d == b);
    CHECK(table.places() == 3);
    CHECK(table[d].first_session == no_session);
    CHECK_FALSE(table[d].up.has_value());
}

TEST_CASE("those with a device by name are known, for as long as they stay") {
    PeerTable table;
    const auto with = [&](const std::string& device) {
        Peer peer = peer_at("10.0.0.1");
        peer.extras = std::make_unique<PeerExtras>();
        peer.extras->device = device;
        return table.add(std::move(peer));
    };
    const auto plain = table.add(peer_at("10.0.0.2"));
    const auto named = with("eth0");
    const auto guest = with("");
    CHECK(table.with_device() == Ids{named});
    const auto second = with("eth1");
    CHECK(table.with_device() == Ids{named, second});
    table.remove(named);
    table.remove(guest);
    table.remove(plain);
    CHECK(table.with_device() == Ids{second});
    CHECK(with("eth2") != second);
    CHECK(table.with_device().size() == 2);
}

TEST_CASE("sessions lead to their peers, also after their numbers were used again") {
    PeerTable table;
    const auto a = table.add(peer_at("10.0.0.1"));
    const auto b = table.add(peer_at("10.0.0.2"));
    table.add_session(a, 5, ProbeKind::icmp, 0);
    table.add_session(b, 0, ProbeKind::icmp, 0);
    CHECK(table.peer_of(5) == a);
    CHECK(table.peer_of(0) == b);
    CHECK(table[a].first_session == 5);
    table.drop_session(0);
    CHECK(table[b].first_session == no_session);
    table.drop_session(5);
    table.add_session(a, 0, ProbeKind::icmp, 0);
    CHECK(table.peer_of(0) == a);
    CHECK(table[a].first_session == 0);
}

TEST_CASE("a peer's sessions form one chain, whichever of them go") {
    PeerTable table;
    const auto a = table.add(peer_at("10.0.0.1"));
    const auto b = table.add(peer_at("10.0.0.2"));
    table.add_session(a, 3, ProbeKind::icmp, 0);
    table.add_session(b, 0, ProbeKind::icmp, 0);
    table.add_session(a, 1, ProbeKind::tcp, 22);
    table.add_session(a, 4, ProbeKind::tcp, 443);
    const auto chain = [&table](std::uint32_t peer) {
        std::vector<std::uint32_t> sessions;
        for (auto session = table[peer].first_session; session != no_session;
             session = table.next_session(session)) {
            sessions.push_back(session);
        }
        return sessions;
    };
    using Sessions = std::vector<std::uint32_t>;
    CHECK(chain(a) == Sessions{3, 1, 4});
    CHECK(chain(b) == Sessions{0});
    CHECK(table.place_of(4).port == 443);
    CHECK(table.session_of(a, ProbeKind::tcp) == 1);
    CHECK(table.session_of(a, ProbeKind::arp) == no_session);
    const auto revision = table.revision();
    table.drop_session(1);
    CHECK(table.revision() > revision);
    CHECK(chain(a) == Sessions{3, 4});
    table.drop_session(3);
    table.add_session(a, 1, ProbeKind::icmp, 0);
    CHECK(chain(a) == Sessions{4, 1});
    CHECK(chain(b) == Sessions{0});
}

TEST_CASE("addresses lead to all their peers, and to no others") {
    PeerTable table;
    const auto a = table.add(peer_at("10.0.0.1"));
    const auto b = table.add(peer_at("10.0.0.1"));
    const auto c = table.add(peer_at("fe80::1", IfIndex{2}));
    const auto d = table.add(peer_at("fe80::1", IfIndex{3}));
    table.add(peer_at(""));  // unresolved
    CHECK(found_at(table, "10.0.0.1") == Ids{a, b});
    CHECK(found_at(table, "fe80::1", IfIndex{2}) == Ids{c});
    CHECK(found_at(table, "fe80::1", IfIndex{3}) == Ids{d});
    CHECK(found_at(table, "fe80::1").empty());
    CHECK(found_at(table, "0.0.0.0").empty());
    CHECK(found_at(table, "::").empty());
    CHECK(found_at(table, "::10.0.0.1").empty());
    CHECK(found_at(table, "10.0.0.2").empty());
}

TEST_CASE("the addresses follow what comes, goes and moves") {
    PeerTable table;
    const auto a = table.add(peer_at("10.0.0.1"));
    CHECK(found_at(table, "10.0.0.1") == Ids{a});
    const auto b = table.add(peer_at("10.0.0.1"));
    CHECK(found_at(table, "10.0.0.1") == Ids{a, b});
    table.remove(a);
    CHECK(found_at(table, "10.0.0.1") == Ids{b});
    table[b].target.destination = *IpAddress::parse("10.0.0.9");
    table.touch_addresses();
    CHECK(found_at(table, "10.0.0.1").empty());
    CHECK(found_at(table, "10.0.0.9") == Ids{b});
}

TEST_CASE("a verdict can be forgotten") {
    Peer peer = peer_at("10.0.0.1");
    peer.state = Reachability::down;
    peer.up = false;
    peer.state_changes = 7;
    peer.last_change = WallTime(std::chrono::seconds(5));
    peer.forget_verdict();
    CHECK(peer.state == Reachability::unknown);
    CHECK_FALSE(peer.up.has_value());
    CHECK(peer.state_changes == 0);
    CHECK(peer.last_change == WallTime{});
}

/// Against the plainest table there is.
TEST_CASE("the table is right after many random changes") {
    Random random(7);
    PeerTable table;
    std::vector<std::pair<std::uint32_t, std::string>> model;
    for (int step = 0; step < 3000; ++step) {
        const std::string text = "10.0.0." + std::to_string(1 + random.below(20));
        switch (random.below(4)) {
            case 0:
            case 1: model.emplace_back(table.add(peer_at(text)), text); break;
            case 2:
                if (!model.empty()) {
                    const auto at = random.below(static_cast<std::uint32_t>(model.size()));
                    table.remove(model[at].first);
                    model.erase(model.begin() + at);
                }
                break;
            default: {
                Ids wanted;
                for (const auto& [id, where] : model) {
                    if (where == text) {
                        wanted.insert(id);
                    }
                }
                REQUIRE(found_at(table, text) == wanted);
            }
        }
        REQUIRE(table.size() == model.size());
    }
}

}  // namespace
}  // namespace reachd
