// Feeds arbitrary bytes to the configuration reader and asks what must be true of every outcome,
// whatever the text: one that breaks its promises is a bug, so ENSURE aborts. Corpus:
// corpus/config.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "agent/config_json.hpp"
#include "agent/config_text.hpp"
#include "common/check.hpp"

namespace reachd {
namespace {

bool is_one_line(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char byte) {
        return static_cast<unsigned char>(byte) >= 0x20U && byte != 0x7f;
    });
}

void check_errors(const ConfigErrors& errors, std::string_view text) {
    const auto lines = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
    ENSURE(!errors.errors.empty());
    ENSURE(errors.errors.size() <= config_errors_max);
    ENSURE(errors.omitted == 0 || errors.errors.size() == config_errors_max);
    std::size_t line = 1;
    for (const auto& error : errors.errors) {
        ENSURE(error.line >= line && error.line <= lines);
        line = error.line;
        ENSURE(error.file == "fuzz.json" && !error.message.empty());
        ENSURE(error.pointer.empty() || error.pointer.front() == '/');
        ENSURE(is_one_line(to_text(error)));
    }
}

template <class Options>
void check_times(const Options& options) {
    ENSURE(options.interval >= std::chrono::milliseconds(10));
    ENSURE(options.interval <= std::chrono::hours(1));
    ENSURE(options.timeout >= std::chrono::milliseconds(10));
    ENSURE(options.timeout <= std::chrono::seconds(60));
    ENSURE(options.timeout <= probes_in_flight_max * options.interval);
}

/// Whether each element is less than the one after it.
template <class Values, class Less>
bool is_ascending(const Values& values, Less less) {
    return std::adjacent_find(
               values.begin(), values.end(), [less](const auto& one, const auto& next) {
                   return !less(one, next);
               }) == values.end();
}

void check_tcp(const TcpOptions& tcp) {
    check_times(tcp);
    ENSURE(tcp.ports.size() <= tcp_ports_max);
    ENSURE(is_ascending(tcp.ports, std::less<>()));
    ENSURE(tcp.ports.empty() || tcp.ports.front() >= 1);
}

void check_arp(const ArpOptions& arp) {
    check_times(arp);
    ENSURE(!arp.sender || (arp.sender->family() == Family::ipv4 && !arp.sender->is_unspecified()));
}

void check_globs(const std::vector<std::string>& globs) {
    ENSURE(globs.size() <= guest_globs_max);
    for (const auto& glob : globs) {
        ENSURE(!check_glob(glob));
    }
}

void check_guests(const GuestDiscoveryConfig& guests) {
    check_globs(guests.bridges);
    check_globs(guests.exclude);
    ENSURE(guests.names.size() <= guest_names_max);
    ENSURE(is_ascending(
        guests.names, [](const auto& one, const auto& other) { return one.first < other.first; }));
    for (const auto& [mac, name] : guests.names) {
        ENSURE(!mac.is_group() && !mac.is_zero());
        ENSURE(!name.empty() && !check_label_value(name));
    }
}

void check_icmp(const IcmpOptions& icmp) {
    check_times(icmp);
    ENSURE(icmp.payload_bytes >= 16 && icmp.payload_bytes <= 9000 && icmp.dscp <= 63);
}

void check_peer(const PeerConfig& peer) {
    ENSURE(!peer.name.empty() && is_one_line(peer.name));
    ENSURE(parse_peer_address(peer.address));
    ENSURE(peer.device.empty() || !check_device_name(peer.device));
    ENSURE(!peer.source || !peer.source->is_unspecified());
    ENSURE(!peer.source || peer.family != FamilyChoice::any);
    ENSURE(peer.labels.size() <= labels_max);
    for (const auto& label : peer.labels) {
        ENSURE(!check_label_name(label.name) && !check_label_value(label.value));
    }
    check_icmp(peer.icmp);
    check_tcp(peer.tcp);
}

void check_config(const Config& config) {
    ENSURE(!config.web.listen.empty() && config.web.listen.size() <= listen_addresses_max);
    ENSURE(!config.rtt_edges.empty() && config.rtt_edges.size() <= rtt_edges_max);
    ENSURE(config.rtt_edges.front() > 0 && config.rtt_edges.back() <= 3600);
    ENSURE(std::is_sorted(config.rtt_edges.begin(), config.rtt_edges.end()));
    ENSURE(config.peers.size() <= config.limits.peers);
    ENSURE(config.limits.probes_per_second >= 1 && config.limits.probes_per_second <= 200'000);
    ENSURE(config.limits.guests >= 1 && config.limits.guests <= 100'000);
    check_icmp(config.icmp);
    check_tcp(config.tcp);
    check_arp(config.arp);
    check_guests(config.guests);
    std::set<std::string_view> names;
    for (const auto& peer : config.peers) {
        check_peer(peer);
        ENSURE(names.insert(peer.name).second);
    }
}

void check_outcome(std::string_view text) {
    const auto outcome = parse_config(text, "fuzz.json");
    if (outcome) {
        check_config(*outcome);
    } else {
        check_errors(outcome.error(), text);
    }
}

}  // namespace
}  // namespace reachd

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    reachd::check_outcome({reinterpret_cast<const char*>(data), size});
    return 0;
}
