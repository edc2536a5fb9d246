#include "agent/ctl/command_line.hpp"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace reachd::ctl;

namespace {

using Words = std::vector<std::string>;

Invocation parsed(const Words& arguments) {
    const auto result = parse_command_line(arguments);
    REQUIRE(result.has_value());
    return *result;
}

std::string problem_of(const Words& arguments) {
    const auto result = parse_command_line(arguments);
    return result ? "none" : result.error();
}

}  // namespace

TEST_CASE("options stand before and after the command") {
    for (const auto& arguments : {Words{"--json", "--color=never", "--socket", "/x", "status"},
                                  Words{"status", "--color", "never", "--json", "--socket=/x"}}) {
        const auto invocation = parsed(arguments);
        CHECK(invocation.command == Command::status);
        CHECK(invocation.json);
        CHECK(invocation.colour == ColourWish::never);
        CHECK(invocation.socket == "/x");
    }
}

TEST_CASE("without options there are the usual ones") {
    const auto invocation = parsed({"topology"});
    CHECK(invocation.command == Command::topology);
    CHECK(invocation.socket == default_control_socket);
    CHECK(invocation.colour == ColourWish::automatic);
    CHECK_FALSE(invocation.json);
    CHECK_FALSE(invocation.all);
    CHECK_FALSE(invocation.quiet);
    CHECK_FALSE(invocation.no_legend);
    CHECK(invocation.words.empty());
}

TEST_CASE("words follow the command; after -- everything is a word") {
    CHECK(parsed({"topology", "br0", "--all", "vnet*"}).words == Words{"br0", "vnet*"});
    CHECK(parsed({"topology", "--", "--all", "-"}).words == Words{"--all", "-"});
    CHECK(parsed({"peers", "db1"}).command == Command::peers);
    CHECK(parsed({"guests", "web*", "br0"}).words == Words{"web*", "br0"});
    CHECK(parsed({"topology", "-"}).words == Words{"-"});
}

TEST_CASE("help and version need no command and forgive the rest") {
    CHECK(parsed({"--help"}).help);
    CHECK(parsed({"-h"}).help);
    CHECK(parsed({"--version"}).version);
    const auto about = parsed({"status", "--help"});
    CHECK(about.help);
    CHECK(about.command == Command::status);
}

TEST_CASE("what is wrong is said, with what may have been meant") {
    CHECK(problem_of({}) == "which command? See reachctl --help");
    CHECK(problem_of({"stauts"}) == "no command 'stauts'; did you mean status?");
    CHECK(problem_of({"--all", "topologie"}) == "no command 'topologie'; did you mean topology?");
    CHECK(problem_of({"zzz"}) == "no command 'zzz'; see reachctl --help");
    CHECK(problem_of({"status\x1b[31m"}).find('\x1b') == std::string::npos);
    CHECK(problem_of({"status", "--jsno"}) == "no option '--jsno'; did you mean --json?");
    CHECK(problem_of({"status", "--colour=never"}) ==
          "no option '--colour'; did you mean --color?");
    CHECK(problem_of({"status", "-x"}) == "no option '-x'; see reachctl --help");
    CHECK(problem_of({"status", "--color=red"}) == "--color=red: want auto, always or never");
    CHECK(problem_of({"status", "--color"}) == "--color wants a value: --color=WHEN");
    CHECK(problem_of({"status", "--socket="}) == "--socket wants a value: --socket=PATH");
    CHECK(problem_of({"status", "--json=1"}) == "--json takes no value");
    CHECK(problem_of({"status", "db1"}) == "status takes no words, such as 'db1'");
    CHECK(problem_of({"topology", "--quiet"}) ==
          "--quiet is not for topology; see reachctl topology --help");
    CHECK(problem_of({"topology", "--json", "br0"}) ==
          "--json is the whole of topology, without words such as 'br0'");
}

TEST_CASE("mtu takes one address and what is expected there") {
    const auto invocation = parsed({"mtu", "10.0.0.1", "--expected", "9000", "--json"});
    CHECK(invocation.command == Command::mtu);
    CHECK(invocation.words == Words{"10.0.0.1"});
    CHECK(invocation.expected_bytes == 9000);
    CHECK(invocation.json);
    CHECK(parsed({"mtu", "::1"}).expected_bytes == 0);
    CHECK(parsed({"mtu", "::1", "--expected=68"}).expected_bytes == 68);
    CHECK(parsed({"mtu", "::1", "--expected=65535"}).expected_bytes == 65'535);
    const auto bound = parsed({"--device=br0", "mtu", "db1", "--source", "10.0.0.9"});
    CHECK(bound.device == "br0");
    CHECK(bound.source == "10.0.0.9");
    const std::string one = "mtu wants one address or host name: reachctl mtu ADDRESS";
    CHECK(problem_of({"mtu"}) == one);
    CHECK(problem_of({"mtu", ""}) == one);
    CHECK(problem_of({"mtu", "10.0.0.1", "10.0.0.2"}) == one);
    for (const std::string bytes :
         {"67", "0", "-1", "65536", "4294967364", "99999999999999999999", "9000x", "9k", " 9000"}) {
        CHECK(problem_of({"mtu", "db1", "--expected=" + bytes}) ==
              "--expected=" + bytes + ": want 68 to 65535 bytes, of the whole IP packet");
    }
    CHECK(problem_of({"mtu", "db1", "--expected=\x1b[1m"}).find('\x1b') == std::string::npos);
    for (const std::string option : {"--expected=9000", "--source=10.0.0.9", "--device=br0"}) {
        const std::string name = option.substr(0, option.find('='));
        CHECK(problem_of({"peers", option}) ==
              name + " is not for peers; see reachctl peers --help");
    }
    CHECK(problem_of({"mtu", "db1", "--quiet"}) ==
          "--quiet is not for mtu; see reachctl mtu --help");
}

TEST_CASE("commands of later versions are refused by name") {
    for (const std::string name :
         {"faults", "watch", "reload", "ping", "diagnose", "check-config"}) {
        CHECK(problem_of({name, "x"}) ==
              name + ": not available in this version; see reachctl --help");
    }
}

TEST_CASE("help names every command and option, in lines that fit") {
    const auto whole = help_text(std::nullopt);
    for (const auto* word : {"status",
                             "peers",
                             "guests",
                             "topology",
                             "--all",
                             "--no-legend",
                             "--quiet",
                             "--json",
                             "--color=WHEN",
                             "--socket=PATH",
                             "--help",
                             "--version",
                             "mtu",
                             "--expected=BYTES",
                             "--source=ADDR",
                             "--device=NAME",
                             "Exit codes",
                             "Examples"}) {
        CAPTURE(word);
        CHECK(whole.find(word) != std::string::npos);
    }
    CHECK(help_text(Command::status).find("--quiet") != std::string::npos);
    CHECK(help_text(Command::topology).find("--quiet") == std::string::npos);
    CHECK(help_text(Command::topology).find("reachctl topology [DEVICE...]") != std::string::npos);
    CHECK(help_text(Command::topology).find("--expected") == std::string::npos);
    CHECK(help_text(Command::mtu).find("--expected") != std::string::npos);
    CHECK(help_text(Command::mtu).find("no daemon to talk to") == std::string::npos);
    CHECK(help_text(Command::mtu).find("no permission to ask") != std::string::npos);
    for (const auto& text : {whole,
                             help_text(Command::status),
                             help_text(Command::peers),
                             help_text(Command::guests),
                             help_text(Command::topology),
                             help_text(Command::mtu)}) {
        std::size_t begin = 0;
        while (begin < text.size()) {
            const auto end = text.find('\n', begin);
            REQUIRE(end != std::string::npos);
            CHECK(display_width(text.substr(begin, end - begin)) <= 80);
            begin = end + 1;
        }
    }
}

TEST_CASE("the version names what was built") {
    CHECK(version_text("0.1.0", "0123456789ab", "gcc 12.2.0") ==
          "reachctl 0.1.0 (0123456789ab, gcc 12.2.0)");
}
