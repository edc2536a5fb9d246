// Reads configurations for tests, as the daemon reads a file named r.json.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include "agent/config_json.hpp"

namespace reachd::test {

/// The test fails when the text has an error.
inline Config good(std::string_view text) {
    const auto outcome = parse_config(text, "r.json");
    if (!outcome) {
        FAIL(to_lines(outcome.error()).front());
    }
    return *outcome;
}

/// Empty when there are none.
inline std::vector<std::string> errors(std::string_view text) {
    const auto outcome = parse_config(text, "r.json");
    return outcome ? std::vector<std::string>{} : to_lines(outcome.error());
}

/// All errors of a text, a line each; empty when there are none.
inline std::string error(std::string_view text) {
    return fmt::format("{}", fmt::join(errors(text), "\n"));
}

}  // namespace reachd::test
