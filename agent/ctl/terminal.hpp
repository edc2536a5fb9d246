// What is known about where the text goes, and how a line of it is put together: symbols, colour,
// widths in code points, cutting. Asks no terminal and no environment: agent/ctl/io/surroundings
// does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace reachd::ctl {

struct Terminal {
    std::size_t columns = 80;
    bool utf8 = true;
    bool colour = false;
    bool is_terminal = false;  ///< if not, nothing is dropped or cut for want of width
};

enum class ColourWish : std::uint8_t { automatic, always, never };

/// "auto", "always", "never".
std::optional<ColourWish> parse_colour_wish(std::string_view text);

/// `term`: $TERM. `no_color`: $NO_COLOR, which counts unless it is empty (no-color.org). An
/// explicit wish counts more than either.
bool use_colour(ColourWish wish,
                bool is_terminal,
                std::string_view term,
                std::string_view no_color);

/// The symbols, in UTF-8 or in ASCII.
struct Glyphs {
    std::string_view up;
    std::string_view warning;  ///< degraded, suspect
    std::string_view down;
    std::string_view unknown;
    std::string_view off;  ///< switched off on purpose
    std::string_view branch;
    std::string_view last_branch;
    std::string_view trunk;
    std::string_view no_trunk;
    std::string_view wire;   ///< filling, between a port and its guest
    std::string_view patch;  ///< between the two ends of a veth pair
    std::string_view ellipsis;
    std::string_view microsecond;
};

const Glyphs& glyphs(const Terminal& terminal);

/// What a piece of text says about how things are; only such pieces have colour.
enum class Ink : std::uint8_t { plain, good, warning, bad };

/// Code points; the width of what reachd shows, but for ideographs and combining marks.
std::size_t display_width(std::string_view utf8);

/// With an ellipsis in its middle where it is wider than `width`, which is at least 3.
std::string cut_middle(std::string_view utf8, std::size_t width, const Terminal& terminal);

/// One line in the making.
class TextLine {
  public:
    TextLine& add(std::string_view text, Ink ink = Ink::plain);
    TextLine& add(const TextLine& other);

    /// Spaces up to `width`; nothing where the line is as wide already.
    TextLine& pad_to(std::size_t width);

    /// `text` so that it ends at `width`; two spaces away from what is there if it does not fit.
    TextLine& add_right(std::string_view text, std::size_t width);

    std::size_t width() const { return width_; }

    bool empty() const { return pieces_.empty(); }

    /// Ends the line at `width` with an ellipsis where it is wider.
    void cut(std::size_t width, const Terminal& terminal);

    /// With colour, and without what the terminal cannot show; a line feed at its end.
    std::string text(const Terminal& terminal) const;

  private:
    struct Piece {
        std::string text;
        Ink ink;
    };

    std::vector<Piece> pieces_;
    std::size_t width_ = 0;
};

}  // namespace reachd::ctl
