#include "agent/ctl/terminal.hpp"

#include <algorithm>
#include <array>

namespace reachd::ctl {
namespace {

constexpr Glyphs utf8_glyphs{.up = "●",
                             .warning = "▲",
                             .down = "✖",
                             .unknown = "○",
                             .off = "○",
                             .branch = "├─",
                             .last_branch = "└─",
                             .trunk = "│ ",
                             .no_trunk = "  ",
                             .wire = "─",
                             .patch = "═",
                             .ellipsis = "…",
                             .microsecond = "µs"};

// "off" stands beside words that say so; "?" would ask a question that has an answer.
constexpr Glyphs ascii_glyphs{.up = "*",
                              .warning = "!",
                              .down = "x",
                              .unknown = "?",
                              .off = "o",
                              .branch = "|-",
                              .last_branch = "`-",
                              .trunk = "| ",
                              .no_trunk = "  ",
                              .wire = "-",
                              .patch = "=",
                              .ellipsis = "...",
                              .microsecond = "us"};

bool begins_character(char byte) {
    constexpr unsigned continuation_mask = 0xC0;
    constexpr unsigned continuation = 0x80;
    return (static_cast<unsigned char>(byte) & continuation_mask) != continuation;
}

/// Bytes of the first `characters` code points.
std::size_t bytes_of(std::string_view utf8, std::size_t characters) {
    std::size_t at = 0;
    while (at < utf8.size()) {
        if (begins_character(utf8[at]) && characters-- == 0) {
            break;
        }
        ++at;
    }
    return at;
}

std::string_view escape_of(Ink ink) {
    switch (ink) {
        case Ink::plain: return "";
        case Ink::good: return "\x1b[32m";
        case Ink::warning: return "\x1b[33m";
        case Ink::bad: return "\x1b[31m";
    }
    return "";
}

std::string ascii_only(std::string_view utf8) {
    std::string text;
    for (const char byte : utf8) {
        const bool is_ascii = static_cast<unsigned char>(byte) < 0x80;
        if (is_ascii) {
            text += byte;
        } else if (begins_character(byte)) {
            text += '?';
        }
    }
    return text;
}

}  // namespace

std::optional<ColourWish> parse_colour_wish(std::string_view text) {
    if (text == "auto") {
        return ColourWish::automatic;
    }
    if (text == "always") {
        return ColourWish::always;
    }
    if (text == "never") {
        return ColourWish::never;
    }
    return std::nullopt;
}

bool use_colour(ColourWish wish,
                bool is_terminal,
                std::string_view term,
                std::string_view no_color) {
    switch (wish) {
        case ColourWish::always: return true;
        case ColourWish::never: return false;
        case ColourWish::automatic: return is_terminal && term != "dumb" && no_color.empty();
    }
    return false;
}

const Glyphs& glyphs(const Terminal& terminal) {
    return terminal.utf8 ? utf8_glyphs : ascii_glyphs;
}

std::size_t display_width(std::string_view utf8) {
    return static_cast<std::size_t>(std::count_if(utf8.begin(), utf8.end(), begins_character));
}

std::string cut_middle(std::string_view utf8, std::size_t width, const Terminal& terminal) {
    const auto total = display_width(utf8);
    if (total <= width) {
        return std::string(utf8);
    }
    const auto ellipsis = glyphs(terminal).ellipsis;
    const auto kept = width - std::min(width, display_width(ellipsis));
    const auto tail = kept / 2;
    std::string text(utf8.substr(0, bytes_of(utf8, kept - tail)));
    text += ellipsis;
    text += utf8.substr(bytes_of(utf8, total - tail));
    return text;
}

TextLine& TextLine::add(std::string_view text, Ink ink) {
    if (!text.empty()) {
        pieces_.push_back({std::string(text), ink});
        width_ += display_width(text);
    }
    return *this;
}

TextLine& TextLine::add(const TextLine& other) {
    pieces_.insert(pieces_.end(), other.pieces_.begin(), other.pieces_.end());
    width_ += other.width_;
    return *this;
}

TextLine& TextLine::pad_to(std::size_t width) {
    return add(std::string(width - std::min(width, width_), ' '));
}

TextLine& TextLine::add_right(std::string_view text, std::size_t width) {
    constexpr std::size_t gap = 2;
    const auto begin = width - std::min(width, display_width(text));
    return pad_to(std::max(begin, width_ + gap)).add(text);
}

void TextLine::cut(std::size_t width, const Terminal& terminal) {
    if (width_ <= width) {
        return;
    }
    const auto ellipsis = glyphs(terminal).ellipsis;
    const auto limit = width - std::min(width, display_width(ellipsis));
    while (!pieces_.empty() && width_ > limit) {
        auto& piece = pieces_.back();
        const auto piece_width = display_width(piece.text);
        const auto excess = width_ - limit;
        if (piece_width > excess) {
            piece.text.resize(bytes_of(piece.text, piece_width - excess));
            width_ = limit;
        } else {
            width_ -= piece_width;
            pieces_.pop_back();
        }
    }
    add(ellipsis);
}

std::string TextLine::text(const Terminal& terminal) const {
    std::string text;
    for (const auto& piece : pieces_) {
        const bool coloured = terminal.colour && piece.ink != Ink::plain;
        text += coloured ? escape_of(piece.ink) : "";
        text += terminal.utf8 ? piece.text : ascii_only(piece.text);
        text += coloured ? "\x1b[0m" : "";
    }
    // Padding in front of something that was left out in the end.
    text.resize(text.find_last_not_of(' ') + 1);
    text += '\n';
    return text;
}

}  // namespace reachd::ctl
