#include "agent/ctl/io/surroundings.hpp"

#include <algorithm>
#include <charconv>
#include <clocale>
#include <cstdlib>
#include <string_view>

#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace reachd::ctl {
namespace {

// NOLINTBEGIN(concurrency-mt-unsafe): this program has one thread.

std::string_view variable(const char* name) {
    const char* const value = std::getenv(name);
    return value == nullptr ? std::string_view{} : std::string_view(value);
}

bool locale_is_utf8() {
    if (std::setlocale(LC_CTYPE, "") == nullptr) {
        return false;  // LANG names a locale that is not there
    }
    return std::string_view(nl_langinfo(CODESET)) == "UTF-8";
}

// NOLINTEND(concurrency-mt-unsafe)

std::size_t columns_of_stdout() {
    constexpr std::size_t usual = 80;
    constexpr std::size_t least = 20;
    constexpr std::size_t most = 10'000;
    winsize size{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        return std::max<std::size_t>(least, size.ws_col);
    }
    const auto text = variable("COLUMNS");
    std::size_t columns = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), columns);
    const bool good = !text.empty() && error == std::errc() && stop == text.data() + text.size();
    return good && columns > 0 ? std::clamp(columns, least, most) : usual;
}

}  // namespace

Terminal terminal_of_stdout(ColourWish wish) {
    const bool is_terminal = isatty(STDOUT_FILENO) == 1;
    return {.columns = columns_of_stdout(),
            .utf8 = locale_is_utf8(),
            .colour = use_colour(wish, is_terminal, variable("TERM"), variable("NO_COLOR")),
            .is_terminal = is_terminal};
}

}  // namespace reachd::ctl
