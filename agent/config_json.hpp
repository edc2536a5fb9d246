// reachd.json, as text, into a Config: every check that needs no look at the system. All that is
// wrong with a file is told at once, each problem with file, line, JSON pointer and, where there is
// one, the nearest valid key. A file is taken whole or not at all.
//
// It reads no files and resolves no names; whether a device or a source address exists is found
// out while running, since both may come and go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/config.hpp"
#include "agent/json_document.hpp"
#include "common/result.hpp"

namespace reachd {

/// A larger file is refused, so io need not read further than one byte beyond.
inline constexpr std::size_t config_bytes_max = json_bytes_max;
inline constexpr std::size_t config_errors_max = json_problems_max;

struct ConfigError {
    std::string file;
    std::uint32_t line = 1;
    std::string pointer;  ///< RFC 6901; empty: the file as a whole
    std::string message;  ///< one printable line, hint included

    friend bool operator==(const ConfigError&, const ConfigError&) = default;
};

/// At least one error, at most config_errors_max, in the order of the file.
struct ConfigErrors {
    std::vector<ConfigError> errors;
    std::size_t omitted = 0;  ///< found beyond those

    std::size_t count() const { return errors.size() + omitted; }
};

using ConfigOutcome = Result<Config, ConfigErrors>;

/// `text` is the file's content, `file_name` only stands in the errors.
[[nodiscard]] ConfigOutcome parse_config(std::string_view text, std::string_view file_name);

/// `FILE:LINE: POINTER: message`; the pointer is left out where it is empty.
std::string to_text(const ConfigError& error);

/// One line an error, and a last one "FILE: and N more errors" where some were omitted.
std::vector<std::string> to_lines(const ConfigErrors& errors);

}  // namespace reachd
