#include "agent/config_probes.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "agent/config_reader.hpp"
#include "agent/config_text.hpp"
#include "common/path_mtu.hpp"

namespace reachd {
namespace {

using namespace config_reader;

constexpr std::string_view switch_or_changes = "true, false or an object";

void read_ports(JsonProblems& problems, const JsonValue& value, TcpOptions& options) {
    if (!expect(problems, value, JsonType::array, "a list of ports")) {
        return;
    }
    if (value.children().count() > tcp_ports_max) {
        problems.add(value, fmt::format("must have at most {} ports", tcp_ports_max));
        return;
    }
    std::vector<std::uint16_t> ports;
    for (const auto element : value.children()) {
        const auto number = integer_of(problems, element, 1, 65535);
        if (!number) {
            continue;
        }
        const auto port = static_cast<std::uint16_t>(*number);
        if (std::find(ports.begin(), ports.end(), port) != ports.end()) {
            problems.add(element, "listed twice");
        } else {
            ports.push_back(port);
        }
    }
    std::sort(ports.begin(), ports.end());
    options.ports = std::move(ports);
}

void read_sender(JsonProblems& problems, const JsonValue& value, ArpOptions& options) {
    const auto written = text_of(problems, value);
    if (!written) {
        return;
    }
    if (written->empty()) {
        options.sender.reset();
        return;
    }
    const auto sender = parse_arp_sender(*written);
    if (!sender) {
        problems.add(value, sender.error().message);
        return;
    }
    options.sender = *sender;
}

constexpr std::string_view automatic = "auto";

void read_expected(JsonProblems& problems, const JsonValue& value, MtuOptions& options) {
    if (value.is(JsonType::text) && value.text() == automatic) {
        options.expected_bytes = 0;
        return;
    }
    if (!value.is(JsonType::integer)) {
        problems.add(value, "must be \"auto\" or a number of bytes");
        return;
    }
    const auto bytes =
        integer_of(problems, value, minimum_mtu(Family::ipv4), std::int64_t{ip_packet_bytes_max});
    if (bytes) {
        options.expected_bytes = static_cast<std::uint32_t>(*bytes);
    }
}

template <class Options>
constexpr Key<Options> interval_key{"interval", duration<&Options::interval, 10, 3'600'000>};

template <class Options>
constexpr Key<Options> timeout_key{"timeout", duration<&Options::timeout, 10, 60'000>};

constexpr std::array icmp_keys{
    Key<IcmpOptions>{"enabled", boolean<&IcmpOptions::enabled>},
    interval_key<IcmpOptions>,
    timeout_key<IcmpOptions>,
    Key<IcmpOptions>{"payload_bytes", integer<&IcmpOptions::payload_bytes, 16, 9000>},
    Key<IcmpOptions>{"dscp", integer<&IcmpOptions::dscp, 0, 63>},
};

constexpr std::array tcp_keys{
    interval_key<TcpOptions>,
    timeout_key<TcpOptions>,
    Key<TcpOptions>{"ports", read_ports},
};

constexpr std::array arp_keys{
    Key<ArpOptions>{"enabled", boolean<&ArpOptions::enabled>},
    interval_key<ArpOptions>,
    timeout_key<ArpOptions>,
    Key<ArpOptions>{"sender", read_sender},
};

constexpr std::array mtu_keys{
    Key<MtuOptions>{"enabled", boolean<&MtuOptions::enabled>},
    Key<MtuOptions>{"interval", duration<&MtuOptions::interval, 1000, 86'400'000>},
    Key<MtuOptions>{"timeout", duration<&MtuOptions::timeout, 50, 10'000>},
    Key<MtuOptions>{"expected_bytes", read_expected},
};

/// Whether there was nothing to complain about.
template <class Options, std::size_t count>
bool read_options(JsonProblems& problems,
                  const JsonValue& value,
                  const std::array<Key<Options>, count>& keys,
                  Options& options) {
    const auto before = problems.count();
    read_section(problems, value, keys, options);
    // After another complaint the ratio may be one of values that nobody asked for.
    if (problems.count() == before && options.timeout > probes_in_flight_max * options.interval) {
        problems.add(
            value,
            fmt::format("timeout must be at most {} times the interval", probes_in_flight_max));
    }
    return problems.count() == before;
}

/// Of a kind that can be switched on and off.
template <class Options>
void read_changes(JsonProblems& problems,
                  const JsonValue& value,
                  Options& options,
                  void (*read)(JsonProblems&, const JsonValue&, Options&)) {
    if (value.is(JsonType::boolean)) {
        options.enabled = value.boolean();
    } else if (expect(problems, value, JsonType::object, switch_or_changes)) {
        read(problems, value, options);
    }
}

bool has_member(const JsonValue& object, std::string_view key) {
    const auto members = object.children();
    return std::any_of(members.begin(), members.end(), [key](const JsonValue& member) {
        return member.key() == key;
    });
}

/// An empty object changes nothing, and so does not ask for probes either.
bool asks_for_tcp(const JsonValue& value) {
    if (value.is(JsonType::boolean)) {
        return value.boolean();
    }
    return value.children().count() != 0 && !has_member(value, "ports");
}

}  // namespace

void read_icmp(JsonProblems& problems, const JsonValue& value, IcmpOptions& options) {
    read_options(problems, value, icmp_keys, options);
}

void read_tcp(JsonProblems& problems, const JsonValue& value, TcpOptions& options) {
    if (!read_options(problems, value, tcp_keys, options) && options.ports.empty()) {
        options.ports.push_back(1);  // any: the file is refused, its ports are never probed
    }
}

void read_arp(JsonProblems& problems, const JsonValue& value, ArpOptions& options) {
    read_options(problems, value, arp_keys, options);
}

void read_mtu(JsonProblems& problems, const JsonValue& value, MtuOptions& options) {
    read_section(problems, value, mtu_keys, options);
}

void read_icmp_changes(JsonProblems& problems, const JsonValue& value, IcmpOptions& options) {
    read_changes(problems, value, options, read_icmp);
}

void read_mtu_changes(JsonProblems& problems, const JsonValue& value, MtuOptions& options) {
    read_changes(problems, value, options, read_mtu);
}

void read_tcp_changes(JsonProblems& problems, const JsonValue& value, TcpOptions& options) {
    if (value.is(JsonType::boolean)) {
        if (!value.boolean()) {
            options.ports.clear();
        }
    } else if (expect(problems, value, JsonType::object, switch_or_changes)) {
        read_tcp(problems, value, options);
    } else {
        return;
    }
    if (asks_for_tcp(value) && options.ports.empty()) {
        problems.add(value, R"(there are no "ports" to probe, neither here nor in probes.tcp)");
    }
}

void check_mtu_budget(JsonProblems& problems,
                      const JsonValue& value,
                      const MtuOptions& options,
                      const LimitsConfig& limits) {
    constexpr std::uint32_t share = 10;
    if (options.enabled && options.expected_bytes > limits.mtu_bytes_per_second / share) {
        problems.add(value,
                     fmt::format("expected_bytes {} is more than a tenth of "
                                 "limits.mtu_bytes_per_second, {}",
                                 options.expected_bytes,
                                 limits.mtu_bytes_per_second));
    }
}

}  // namespace reachd
