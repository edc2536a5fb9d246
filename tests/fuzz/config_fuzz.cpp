// Feeds arbitrary bytes to the configuration reader and asks what must be true of every outcome,
// whatever the text: one that breaks its promises is a bug, so ENSURE aborts. Corpus:
// corpus/config.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>

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

void check_icmp(const IcmpOptions& icmp) {
    ENSURE(icmp.interval >= std::chrono::milliseconds(10) &&
           icmp.interval <= std::chrono::hours(1));
    ENSURE(icmp.timeout >= std::chrono::milliseconds(10));
    ENSURE(icmp.timeout <= std::chrono::seconds(60));
    ENSURE(icmp.timeout <= probes_in_flight_max * icmp.interval);
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
}

void check_config(const Config& config) {
    ENSURE(!config.web.listen.empty() && config.web.listen.size() <= listen_addresses_max);
    ENSURE(!config.rtt_edges.empty() && config.rtt_edges.size() <= rtt_edges_max);
    ENSURE(config.rtt_edges.front() > 0 && config.rtt_edges.back() <= 3600);
    ENSURE(std::is_sorted(config.rtt_edges.begin(), config.rtt_edges.end()));
    ENSURE(config.peers.size() <= config.limits.peers);
    ENSURE(config.limits.probes_per_second >= 1 && config.limits.probes_per_second <= 200'000);
    check_icmp(config.icmp);
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
