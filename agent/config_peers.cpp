#include "agent/config_peers.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "agent/config_probes.hpp"
#include "agent/config_reader.hpp"
#include "agent/config_text.hpp"
#include "common/nearest.hpp"

namespace reachd {
namespace {

using namespace config_reader;

/// Of peers later, if ever: ARP and neighbour discovery are for guests and gateways.
constexpr std::array<std::string_view, 4> arp_keys{"enabled", "interval", "timeout", "sender"};

/// A peer while it is read, with what is needed to check it against the others.
struct PeerDraft {
    explicit PeerDraft(const JsonValue& value) : place(value) {}

    PeerConfig config;
    PeerAddress address;  ///< canonical is empty: missing or refused
    JsonValue place;      ///< of the peer, for complaints about it as a whole
    std::optional<JsonValue> name_place;
    std::optional<JsonValue> address_place;
    std::optional<JsonValue> family_place;
    std::optional<JsonValue> source_place;
    std::optional<JsonValue> mtu_place;
};

void read_peer_name(JsonProblems& problems, const JsonValue& value, PeerDraft& peer) {
    peer.name_place = value;
    if (value.is(JsonType::text) && value.text().empty()) {
        problems.add(value, "must not be empty; leave it out to use the address");
        return;
    }
    read_checked(problems, value, check_label_value, peer.config.name);
}

void read_peer_address(JsonProblems& problems, const JsonValue& value, PeerDraft& peer) {
    peer.address_place = value;
    const auto written = text_of(problems, value);
    if (!written) {
        return;
    }
    auto address = parse_peer_address(*written);
    if (!address) {
        problems.add(value, address.error().message);
        return;
    }
    peer.address = *std::move(address);
    peer.config.address = peer.address.numeric ? peer.address.canonical : std::string(*written);
}

void read_peer_family(JsonProblems& problems, const JsonValue& value, PeerDraft& peer) {
    constexpr std::array<std::string_view, 3> choices{"any", "ipv4", "ipv6"};
    const auto written = text_of(problems, value);
    if (!written) {
        return;
    }
    const auto choice = std::find(choices.begin(), choices.end(), *written);
    if (choice == choices.end()) {
        problems.add(
            value,
            fmt::format("\"{}\" is no family; {}", excerpt(*written), hint(*written, choices)));
        return;
    }
    peer.family_place = value;
    peer.config.family = static_cast<FamilyChoice>(choice - choices.begin());
}

void read_peer_source(JsonProblems& problems, const JsonValue& value, PeerDraft& peer) {
    const auto written = text_of(problems, value);
    if (!written || written->empty()) {
        return;  // "": the kernel chooses
    }
    const auto source = parse_source_address(*written);
    if (!source) {
        problems.add(value, source.error().message);
        return;
    }
    peer.source_place = value;
    peer.config.source = *source;
}

void read_peer_device(JsonProblems& problems, const JsonValue& value, PeerDraft& peer) {
    if (value.is(JsonType::text) && value.text().empty()) {
        return;  // "": routing chooses
    }
    read_checked(problems, value, check_device_name, peer.config.device);
}

void read_peer_labels(JsonProblems& problems, const JsonValue& value, PeerDraft& peer) {
    read_labels(problems, value, peer.config.labels);
}

void read_peer_icmp(JsonProblems& problems, const JsonValue& value, PeerDraft& peer) {
    read_icmp_changes(problems, value, peer.config.icmp);
}

void read_peer_tcp(JsonProblems& problems, const JsonValue& value, PeerDraft& peer) {
    read_tcp_changes(problems, value, peer.config.tcp);
}

void read_peer_mtu(JsonProblems& problems, const JsonValue& value, PeerDraft& peer) {
    peer.mtu_place = value;
    read_mtu_changes(problems, value, peer.config.mtu);
}

constexpr std::array peer_keys{
    Key<PeerDraft>{"name", read_peer_name},
    Key<PeerDraft>{"address", read_peer_address},
    Key<PeerDraft>{"family", read_peer_family},
    Key<PeerDraft>{"source", read_peer_source},
    Key<PeerDraft>{"device", read_peer_device},
    Key<PeerDraft>{"labels", read_peer_labels},
    Key<PeerDraft>{"icmp", read_peer_icmp},
    Key<PeerDraft>{"tcp", read_peer_tcp},
    Key<PeerDraft>{"arp", later_switch<PeerDraft, arp_keys>},
    Key<PeerDraft>{"mtu", read_peer_mtu},
    Key<PeerDraft>{"thresholds", later_section<PeerDraft, threshold_keys>},
};

FamilyChoice choice_of(Family family) {
    return family == Family::ipv4 ? FamilyChoice::ipv4 : FamilyChoice::ipv6;
}

std::string_view name_of(FamilyChoice family) {
    switch (family) {
        case FamilyChoice::any: return "any";
        case FamilyChoice::ipv4: return "IPv4";
        case FamilyChoice::ipv6: return "IPv6";
    }
    return "";
}

/// Address, family and source must agree; the narrowest of them becomes the family.
void settle_family(JsonProblems& problems, PeerDraft& peer) {
    auto& family = peer.config.family;
    if (peer.address.numeric) {
        const auto actual = choice_of(peer.address.numeric->family());
        if (family != FamilyChoice::any && family != actual) {
            problems.add(*peer.family_place, fmt::format("the address is {}", name_of(actual)));
        }
        family = actual;
    }
    if (peer.config.source) {
        const auto actual = choice_of(peer.config.source->family());
        if (family != FamilyChoice::any && family != actual) {
            problems.add(
                *peer.source_place,
                fmt::format("an {} source for an {} peer", name_of(actual), name_of(family)));
        }
        family = actual;
    }
}

void check_devices(JsonProblems& problems, const PeerDraft& peer) {
    const auto& zone = peer.address.zone;
    const auto& device = peer.config.device;
    if (!zone.empty() && !device.empty() && zone != device) {
        problems.add(
            *peer.address_place,
            fmt::format("its zone is {}, but the device is {}", excerpt(zone), excerpt(device)));
    }
    const bool is_local_source = peer.config.source && peer.config.source->is_link_local_v6();
    if (is_local_source && zone.empty() && device.empty()) {
        problems.add(*peer.source_place, "a link-local source needs a \"device\"");
    }
}

/// The complaint about the unknown key says all there is to say.
bool has_misspelt_address(const JsonValue& peer) {
    constexpr std::array<std::string_view, 1> wanted{"address"};
    for (const auto member : peer.children()) {
        if (!nearest(member.key(), wanted).empty()) {
            return true;
        }
    }
    return false;
}

/// What every IPv6 link carries is no expectation (RFC 8200, section 5).
void check_expected_mtu(JsonProblems& problems, const PeerDraft& peer) {
    const std::uint32_t expected = peer.config.mtu.expected_bytes;
    if (peer.config.mtu.enabled && peer.config.family == FamilyChoice::ipv6 && expected != 0 &&
        expected < minimum_mtu(Family::ipv6)) {
        problems.add(peer.mtu_place.value_or(peer.place),
                     fmt::format("expected_bytes of an IPv6 peer must be {} or more",
                                 minimum_mtu(Family::ipv6)));
    }
}

void finish_peer(JsonProblems& problems, PeerDraft& peer) {
    if (!peer.address_place && !has_misspelt_address(peer.place)) {
        problems.add(peer.place, "a peer needs an \"address\"");
    }
    settle_family(problems, peer);
    check_devices(problems, peer);
    check_expected_mtu(problems, peer);
    if (!peer.name_place) {
        peer.config.name = peer.config.address;
    }
}

/// Indices of peers, those with equal keys side by side and each group in the order of the file.
/// Peers with an empty key are left out.
template <class KeyOf>
std::vector<std::pair<std::string, std::size_t>> grouped(const std::vector<PeerDraft>& peers,
                                                         KeyOf key_of) {
    std::vector<std::pair<std::string, std::size_t>> order;
    order.reserve(peers.size());
    for (std::size_t i = 0; i < peers.size(); ++i) {
        auto key = key_of(peers[i]);
        if (!key.empty()) {
            order.emplace_back(std::move(key), i);
        }
    }
    std::sort(order.begin(), order.end());
    return order;
}

void refuse_duplicate_names(JsonProblems& problems, const std::vector<PeerDraft>& peers) {
    const auto order = grouped(peers, [](const PeerDraft& peer) { return peer.config.name; });
    std::size_t first = 0;
    for (std::size_t i = 1; i < order.size(); ++i) {
        if (order[i].first != order[first].first) {
            first = i;
            continue;
        }
        const auto& peer = peers[order[i].second];
        // Without a name of its own, the name is the address.
        problems.add(peer.name_place.value_or(peer.place),
                     fmt::format("duplicate peer name \"{}\"; first on line {}",
                                 excerpt(peer.config.name),
                                 peers[order[first].second].place.line()));
    }
}

/// What a peer's probes go to and from. A device may not hold a space, so the parts stay apart.
std::string path_of(const PeerDraft& peer) {
    if (peer.address.canonical.empty()) {
        return {};
    }
    const auto source = peer.config.source ? peer.config.source->to_string() : std::string();
    return fmt::format("{} {} {}", peer.address.canonical, source, peer.config.device);
}

/// One host name asked for both families is two peers; `any` is a duplicate of either.
bool may_be_same_family(FamilyChoice left, FamilyChoice right) {
    return left == right || left == FamilyChoice::any || right == FamilyChoice::any;
}

/// Peers of one group: the first of each family choice, by the number of the choice.
using FirstOfFamily = std::array<const PeerDraft*, 3>;

void compare_with(JsonProblems& problems, const PeerDraft& peer, FirstOfFamily& firsts) {
    for (const auto* const first : firsts) {
        const bool clashes =
            first != nullptr && may_be_same_family(first->config.family, peer.config.family);
        // Of the same name: that was told already.
        if (clashes && first->config.name != peer.config.name) {
            problems.add(
                *peer.address_place,
                fmt::format("the same address, source and device as peer \"{}\" on line {}",
                            excerpt(first->config.name),
                            first->place.line()));
            return;
        }
    }
    auto& slot = firsts[static_cast<std::size_t>(peer.config.family)];
    slot = slot == nullptr ? &peer : slot;
}

void refuse_duplicate_paths(JsonProblems& problems, const std::vector<PeerDraft>& peers) {
    const auto order = grouped(peers, path_of);
    FirstOfFamily firsts{};
    for (std::size_t i = 0; i < order.size(); ++i) {
        if (i > 0 && order[i].first != order[i - 1].first) {
            firsts = {};
        }
        compare_with(problems, peers[order[i].second], firsts);
    }
}

}  // namespace

void read_labels(JsonProblems& problems, const JsonValue& value, std::vector<Label>& labels) {
    if (!expect(problems, value, JsonType::object)) {
        return;
    }
    labels.clear();
    if (value.children().count() > labels_max) {
        problems.add(value, fmt::format("more than {} labels", labels_max));
        return;
    }
    for (const auto member : value.children()) {
        if (auto problem = check_label_name(member.key())) {
            problems.add_key(member, std::move(problem->message));
        }
        Label label{std::string(member.key()), {}};
        read_checked(problems, member, check_label_value, label.value);
        labels.push_back(std::move(label));
    }
}

void read_peers(JsonProblems& problems, const JsonValue& value, Config& config) {
    if (!expect(problems, value, JsonType::array)) {
        return;
    }
    const auto count = value.children().count();
    if (count > config.limits.peers) {
        problems.add(
            value,
            fmt::format("{} peers are more than limits.peers, {}", count, config.limits.peers));
    }
    std::vector<PeerDraft> peers;
    peers.reserve(count);
    for (const auto element : value.children()) {
        PeerDraft peer(element);
        peer.config.icmp = config.icmp;
        peer.config.tcp = config.tcp;
        peer.config.mtu = config.mtu;
        if (!expect(problems, element, JsonType::object)) {
            continue;
        }
        read_section(problems, element, peer_keys, peer);
        finish_peer(problems, peer);
        check_mtu_budget(problems, element, peer.config.mtu, config.limits);
        peers.push_back(std::move(peer));
    }
    refuse_duplicate_names(problems, peers);
    refuse_duplicate_paths(problems, peers);
    config.peers.clear();
    config.peers.reserve(peers.size());
    for (auto& peer : peers) {
        config.peers.push_back(std::move(peer.config));
    }
}

}  // namespace reachd
