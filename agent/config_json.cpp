#include "agent/config_json.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "agent/config_guests.hpp"
#include "agent/config_peers.hpp"
#include "agent/config_probes.hpp"
#include "agent/config_reader.hpp"
#include "agent/config_text.hpp"

namespace reachd {
namespace {

using namespace config_reader;

// Keys of sections that are not served yet.

constexpr std::array<std::string_view, 1> web_probe_keys{"targets"};
constexpr std::array<std::string_view, 2> mesh_keys{"levels", "peers_per_group"};
constexpr std::array<std::string_view, 3> fault_keys{"disable", "ignore_devices", "ignore_peers"};

// host

template <auto member>
void labels(JsonProblems& problems, const JsonValue& value, SectionOf<member>& section) {
    read_labels(problems, value, section.*member);
}

constexpr std::array host_keys{
    Key<HostConfig>{"name", text<&HostConfig::name, check_label_value>},
    Key<HostConfig>{"labels", labels<&HostConfig::labels>},
};

// control

constexpr std::array control_keys{
    Key<ControlConfig>{"socket", text<&ControlConfig::socket, check_socket_path>},
};

// web

/// Why two addresses cannot both be listened on; empty when they can.
std::string_view listen_clash(const ListenAddress& one, const ListenAddress& other) {
    if (one == other) {
        return "listed twice";
    }
    const bool covers_all = one.host.empty() || other.host.empty();
    return covers_all && one.port == other.port
               ? "another entry listens on every address with this port"
               : "";
}

/// Adds `listen`, or complains about a clash with those before it.
void add_listen(JsonProblems& problems,
                const JsonValue& value,
                ListenAddress listen,
                std::vector<ListenAddress>& all) {
    for (const auto& other : all) {
        const auto clash = listen_clash(listen, other);
        if (!clash.empty()) {
            problems.add(value, std::string(clash));
            return;
        }
    }
    all.push_back(std::move(listen));
}

void read_listen(JsonProblems& problems, const JsonValue& value, WebConfig& web) {
    if (!expect(problems, value, JsonType::array, R"(a list like [":10862"])")) {
        return;
    }
    const auto count = value.children().count();
    if (count == 0 || count > listen_addresses_max) {
        problems.add(value, fmt::format("must have 1 to {} addresses", listen_addresses_max));
        return;
    }
    web.listen.clear();
    for (const auto element : value.children()) {
        const auto written = text_of(problems, element);
        if (!written) {
            continue;
        }
        auto listen = parse_listen_address(*written);
        if (!listen) {
            problems.add(element, listen.error().message);
        } else {
            add_listen(problems, element, *std::move(listen), web.listen);
        }
    }
}

constexpr std::array web_keys{
    Key<WebConfig>{"listen", read_listen},
    Key<WebConfig>{"config_file", later_text<WebConfig>},
    Key<WebConfig>{"open", boolean<&WebConfig::open>},
    Key<WebConfig>{"probe", later_section<WebConfig, web_probe_keys>},
};

// probes, discovery

template <auto member, auto read>
void part(JsonProblems& problems, const JsonValue& value, Config& config) {
    read(problems, value, config.*member);
}

constexpr std::array probes_keys{
    Key<Config>{"icmp", part<&Config::icmp, read_icmp>},
    Key<Config>{"tcp", part<&Config::tcp, read_tcp>},
    Key<Config>{"arp", part<&Config::arp, read_arp>},
    Key<Config>{"mtu", part<&Config::mtu, read_mtu>},
};

constexpr std::array discovery_keys{
    Key<Config>{"gateways", boolean<&Config::discover_gateways>},
    Key<Config>{"guests", part<&Config::guests, read_guest_discovery>},
    Key<Config>{"files", later_list<Config>},
    Key<Config>{"http", later_list<Config>},
    Key<Config>{"dns", later_list<Config>},
};

// metrics, limits

/// Edges as seconds; the engine keeps nanoseconds, in which no two may fall together.
void read_rtt_edges(JsonProblems& problems, const JsonValue& value, Config& config) {
    constexpr double least = 1e-9;
    constexpr double most = 3600;
    if (!expect(problems, value, JsonType::array, "a list of seconds")) {
        return;
    }
    const auto count = value.children().count();
    if (count == 0 || count > rtt_edges_max) {
        problems.add(value, fmt::format("must have 1 to {} edges", rtt_edges_max));
        return;
    }
    std::vector<double> edges;
    for (const auto element : value.children()) {
        if (!element.is(JsonType::real) &&
            !expect(problems, element, JsonType::integer, "a number")) {
            continue;
        }
        const double edge = element.number();
        if (edge < least || edge > most) {
            problems.add(element, "must be above 0 and at most 3600 seconds");
        } else if (!edges.empty() && std::llround(edge * 1e9) <= std::llround(edges.back() * 1e9)) {
            problems.add(element, "must be greater than the edge before it");
        } else {
            edges.push_back(edge);
        }
    }
    config.rtt_edges = std::move(edges);
}

constexpr std::array metrics_keys{
    Key<Config>{"rtt_edges", read_rtt_edges},
};

constexpr std::array limits_keys{
    Key<LimitsConfig>{"peers", integer<&LimitsConfig::peers, 1, 1'000'000>},
    Key<LimitsConfig>{"guests", integer<&LimitsConfig::guests, 1, 100'000>},
    Key<LimitsConfig>{"probes_per_second", integer<&LimitsConfig::probes_per_second, 1, 200'000>},
    Key<LimitsConfig>{"mtu_bytes_per_second",
                      integer<&LimitsConfig::mtu_bytes_per_second, 100'000, 1'000'000'000>},
    Key<LimitsConfig>{"series", integer<&LimitsConfig::series, 1000, 100'000'000>},
    Key<LimitsConfig>{"connections", integer<&LimitsConfig::connections, 1, 10'000>},
};

// The whole

template <auto member, const auto& keys>
void section(JsonProblems& problems, const JsonValue& value, Config& config) {
    read_section(problems, value, keys, config.*member);
}

template <const auto& keys>
void flat_section(JsonProblems& problems, const JsonValue& value, Config& config) {
    read_section(problems, value, keys, config);
}

/// peers comes last: it needs the defaults of probes and the limits.
constexpr std::array config_keys{
    Key<Config>{"web", section<&Config::web, web_keys>},
    Key<Config>{"control", section<&Config::control, control_keys>},
    Key<Config>{"host", section<&Config::host, host_keys>},
    Key<Config>{"probes", flat_section<probes_keys>},
    Key<Config>{"discovery", flat_section<discovery_keys>},
    Key<Config>{"mesh", later_section<Config, mesh_keys>},
    Key<Config>{"thresholds", later_section<Config, threshold_keys>},
    Key<Config>{"faults", later_section<Config, fault_keys>},
    Key<Config>{"metrics", flat_section<metrics_keys>},
    Key<Config>{"limits", section<&Config::limits, limits_keys>},
    Key<Config>{"peers", read_peers},
};

ConfigErrors errors_of(const JsonProblems& problems, std::string_view file_name) {
    ConfigErrors result;
    result.omitted = problems.omitted();
    for (auto& problem : problems.sorted()) {
        result.errors.push_back({std::string(file_name),
                                 problem.line,
                                 std::move(problem.pointer),
                                 std::move(problem.message)});
    }
    return result;
}

}  // namespace

ConfigOutcome parse_config(std::string_view text, std::string_view file_name) {
    JsonProblems problems;
    Config config;
    if (const auto document = parse_json(text, problems)) {
        read_section(problems, document->root(), config_keys, config);
        check_mtu_budget(problems, document->root(), config.mtu, config.limits);
    }
    if (!problems.empty()) {
        return errors_of(problems, file_name);
    }
    return config;
}

std::string to_text(const ConfigError& error) {
    return error.pointer.empty()
               ? fmt::format("{}:{}: {}", error.file, error.line, error.message)
               : fmt::format("{}:{}: {}: {}", error.file, error.line, error.pointer, error.message);
}

std::vector<std::string> to_lines(const ConfigErrors& errors) {
    std::vector<std::string> lines;
    lines.reserve(errors.errors.size() + 1);
    for (const auto& error : errors.errors) {
        lines.push_back(to_text(error));
    }
    if (errors.omitted > 0) {
        lines.push_back(fmt::format("{}: and {} more errors",
                                    errors.errors.empty() ? "" : errors.errors.front().file,
                                    errors.omitted));
    }
    return lines;
}

}  // namespace reachd
