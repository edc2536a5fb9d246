// One question to the daemon over its control socket: GET a page, with one deadline for all of it.
// Says why there is no answer in words that lead on. Knows no page and prints nothing.
#pragma once

#include <string>
#include <string_view>

#include "common/result.hpp"
#include "common/time.hpp"

namespace reachd::ctl {

struct Answer {
    unsigned status = 0;
    std::string body;
};

struct NoAnswer {
    enum class Kind : std::uint8_t {
        not_running,
        not_allowed,
        wrong_path,  ///< such as one that no socket can have
        broken,
    };

    Kind kind = Kind::not_running;
    std::string text;  ///< one line for people: what, where, how to mend it
};

inline constexpr Duration control_deadline = std::chrono::seconds(5);

Result<Answer, NoAnswer> ask_daemon(const std::string& socket_path,
                                    std::string_view page,
                                    Duration patience = control_deadline);

/// What to tell a user whom the socket at this path is not for.
std::string not_allowed_here(const std::string& socket_path);

}  // namespace reachd::ctl
