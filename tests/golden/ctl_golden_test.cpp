// What reachctl prints for answers of the daemon, byte for byte: at 80 columns, narrow, in ASCII,
// into a pipe and in colour. After a wanted change: unit_tests "[.rewrite]".
#include <array>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

#include "agent/ctl/command_output.hpp"

using namespace reachd::ctl;

namespace {

struct Golden {
    std::string_view output;  ///< file in tests/golden/ctl
    std::string_view answer;  ///< the same
    Terminal terminal;
    std::vector<std::string> arguments;
};

constexpr Terminal usual{80, true, false, true};
constexpr Terminal wide{140, true, false, true};
constexpr Terminal narrow{60, true, false, true};
constexpr Terminal ascii{80, false, false, true};
constexpr Terminal coloured{80, true, true, true};
constexpr Terminal piped{80, true, false, false};

const std::array goldens{
    Golden{"status_healthy.txt", "status_healthy.json", usual, {"status"}},
    Golden{"status_healthy_all.txt", "status_healthy.json", piped, {"status", "--all"}},
    Golden{"status_ill.txt", "status_ill.json", usual, {"status"}},
    Golden{"status_ill_narrow.txt", "status_ill.json", narrow, {"status"}},
    Golden{"status_ill_ascii.txt", "status_ill.json", ascii, {"status"}},
    Golden{"status_ill_piped.txt", "status_ill.json", piped, {"status", "--no-legend"}},
    Golden{"status_ill_colour.txt", "status_ill.json", coloured, {"status"}},
    Golden{"topology.txt", "topology.json", usual, {"topology"}},
    Golden{"topology_narrow.txt", "topology.json", narrow, {"topology"}},
    Golden{"topology_ascii.txt", "topology.json", ascii, {"topology"}},
    Golden{"topology_piped.txt", "topology.json", piped, {"topology", "--all", "--no-legend"}},
    Golden{"topology_colour.txt", "topology.json", coloured, {"topology"}},
    Golden{"peers.txt", "peers.json", usual, {"peers"}},
    Golden{"peers_narrow.txt", "peers.json", narrow, {"peers"}},
    Golden{"peers_ascii.txt", "peers.json", ascii, {"peers"}},
    Golden{"peers_colour.txt", "peers.json", coloured, {"peers"}},
    Golden{"peers_piped.txt", "peers.json", piped, {"peers", "--all", "--no-legend"}},
    Golden{"peers_chosen.txt", "peers.json", usual, {"peers", "app1", "pm1?", "10.77.0.1"}},
    Golden{"guests.txt", "guests.json", usual, {"guests"}},
    Golden{"guests_narrow.txt", "guests.json", narrow, {"guests"}},
    Golden{"guests_ascii.txt", "guests.json", ascii, {"guests"}},
    Golden{"guests_colour.txt", "guests.json", coloured, {"guests"}},
    Golden{"guests_piped.txt", "guests.json", piped, {"guests", "--all", "--no-legend"}},
    Golden{"guests_chosen.txt", "guests.json", usual, {"guests", "db2", "vnet2*", "10.77.0.40"}},
    Golden{"topology_guests.txt", "topology_guests.json", usual, {"topology"}},
    Golden{"topology_guests_wide.txt", "topology_guests.json", wide, {"topology"}},
    Golden{"topology_guests_narrow.txt", "topology_guests.json", narrow, {"topology"}},
    Golden{"topology_guests_ascii.txt", "topology_guests.json", ascii, {"topology"}},
    Golden{
        "topology_guests_piped.txt", "topology_guests.json", piped, {"topology", "web01", "mail"}},
    Golden{"topology_branch.txt", "topology.json", usual, {"topology", "tap*", "bond0"}},
};

std::string path_of(std::string_view file) {
    return std::string(REACHD_SOURCE_DIR) + "/tests/golden/ctl/" + std::string(file);
}

std::string read(std::string_view name) {
    std::ifstream file(path_of(name), std::ios::binary);
    REQUIRE(file.good());
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

Output output_of(const Golden& golden) {
    const auto invocation = parse_command_line(golden.arguments);
    REQUIRE(invocation.has_value());
    constexpr unsigned ok = 200;
    return command_output(*invocation, ok, read(golden.answer), golden.terminal);
}

}  // namespace

TEST_CASE("reachctl's outputs are the golden ones") {
    for (const auto& golden : goldens) {
        CAPTURE(golden.output);
        CHECK(output_of(golden).text == read(golden.output));
    }
}

TEST_CASE("write reachctl's golden outputs anew", "[.rewrite]") {
    for (const auto& golden : goldens) {
        std::ofstream file(path_of(golden.output), std::ios::binary | std::ios::trunc);
        file << output_of(golden).text;
        REQUIRE(file.good());
    }
}
