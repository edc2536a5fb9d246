#include "agent/ctl/word_choice.hpp"

#include <algorithm>

#include <fmt/core.h>

#include "common/glob.hpp"
#include "common/log_text.hpp"
#include "common/nearest.hpp"

namespace reachd::ctl {
namespace {

using Choice = Result<std::vector<bool>, std::string>;

std::string unknown_word(const std::string& word,
                         const std::vector<Names>& things,
                         std::string_view kind,
                         std::string_view all) {
    Names names;
    for (const Names& thing : things) {
        names.insert(names.end(), thing.begin(), thing.end());
    }
    const auto near = nearest(word, names);
    return fmt::format(
        "no {} '{}'{}. All: {}", kind, printable(word), near.empty() ? "" : "; near: " + near, all);
}

}  // namespace

bool means(std::string_view word, std::string_view name) {
    return !name.empty() && (word == name || (is_glob(word) && glob_matches(word, name)));
}

Choice choose(const std::vector<std::string>& words,
              const std::vector<Names>& things,
              std::string_view kind,
              std::string_view all) {
    std::vector<bool> chosen(things.size(), words.empty());
    for (const auto& word : words) {
        bool found = false;
        for (std::size_t i = 0; i < things.size(); ++i) {
            const bool meant =
                std::any_of(things[i].begin(), things[i].end(), [&](std::string_view name) {
                    return means(word, name);
                });
            found = found || meant;
            chosen[i] = chosen[i] || meant;
        }
        if (!found) {
            return {boost::system::in_place_error, unknown_word(word, things, kind, all)};
        }
    }
    return {boost::system::in_place_value, std::move(chosen)};
}

std::string_view without_zone(std::string_view address) {
    return address.substr(0, address.find('%'));
}

}  // namespace reachd::ctl
