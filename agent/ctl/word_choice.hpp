// Which things the words of a command line mean: by any of their names, exactly or by a glob. A
// word that means nothing is an error with the nearest word there is. Knows no peer and no guest.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/result.hpp"

namespace reachd::ctl {

/// What one thing is called: "db1", "10.77.0.11". Empty names mean nothing.
using Names = std::vector<std::string_view>;

/// Whether the word, a name or a glob, means the name.
bool means(std::string_view word, std::string_view name);

/// For each of `things` whether a word means it; all of them without words. The error is a line for
/// people: "no peer 'db11'; near: db1. All: reachctl peers --all", with `kind` "peer" and `all`
/// "reachctl peers --all".
Result<std::vector<bool>, std::string> choose(const std::vector<std::string>& words,
                                              const std::vector<Names>& things,
                                              std::string_view kind,
                                              std::string_view all);

/// An address without its zone, which nobody types; all else as it is.
std::string_view without_zone(std::string_view address);

}  // namespace reachd::ctl
