#include "agent/ctl/terminal.hpp"

#include <string>

#include <catch2/catch.hpp>

using namespace reachd::ctl;

namespace {

constexpr Terminal utf8{80, true, false, true};
constexpr Terminal ascii{80, false, false, true};
constexpr Terminal coloured{80, true, true, true};

}  // namespace

TEST_CASE("colour is for terminals that want it, or for who asks for it") {
    CHECK(use_colour(ColourWish::automatic, true, "xterm", ""));
    CHECK(use_colour(ColourWish::automatic, true, "", ""));
    CHECK_FALSE(use_colour(ColourWish::automatic, false, "xterm", ""));
    CHECK_FALSE(use_colour(ColourWish::automatic, true, "dumb", ""));
    CHECK_FALSE(use_colour(ColourWish::automatic, true, "xterm", "1"));
    CHECK(use_colour(ColourWish::always, false, "dumb", "1"));
    CHECK_FALSE(use_colour(ColourWish::never, true, "xterm", ""));
    CHECK(parse_colour_wish("auto") == ColourWish::automatic);
    CHECK(parse_colour_wish("always") == ColourWish::always);
    CHECK(parse_colour_wish("never") == ColourWish::never);
    CHECK_FALSE(parse_colour_wish("yes").has_value());
}

TEST_CASE("widths are code points") {
    CHECK(display_width("") == 0);
    CHECK(display_width("µs") == 2);
    CHECK(display_width("├─● ü") == 5);
}

TEST_CASE("the middle is cut, never a character") {
    CHECK(cut_middle("vnet1", 5, utf8) == "vnet1");
    CHECK(cut_middle("production", 7, utf8) == "pro…ion");
    CHECK(cut_middle("production", 6, utf8) == "pro…on");
    CHECK(cut_middle("production", 7, ascii) == "pr...on");
    CHECK(cut_middle("üüüüüüü", 5, utf8) == "üü…üü");
    CHECK(cut_middle("production", 3, ascii) == "...");
}

TEST_CASE("a line pads, aligns right and cuts by width") {
    TextLine line;
    line.add("µ").pad_to(4).add("x").add_right("end", 10);
    CHECK(line.width() == 10);
    CHECK(line.text(utf8) == "µ   x  end\n");
    line.cut(8, utf8);
    CHECK(line.text(utf8) == "µ   x  …\n");
    line.cut(8, utf8);
    CHECK(line.width() == 8);

    TextLine full;
    full.add("12345678").add_right("end", 10);
    CHECK(full.text(utf8) == "12345678  end\n");
    full.pad_to(40);
    CHECK(full.text(utf8) == "12345678  end\n");
}

TEST_CASE("cutting goes through pieces and ends at nothing") {
    TextLine line;
    line.add("abc", Ink::bad).add("def", Ink::good);
    line.cut(3, ascii);
    CHECK(line.text(ascii) == "...\n");
    TextLine tiny;
    tiny.add("abcdef");
    tiny.cut(1, ascii);
    CHECK(tiny.text(ascii) == "...\n");
}

TEST_CASE("only marked pieces are coloured, and every colour ends") {
    TextLine line;
    line.add("a ").add("b", Ink::bad).add(" c");
    CHECK(line.text(utf8) == "a b c\n");
    CHECK(line.text(coloured) == "a \x1b[31mb\x1b[0m c\n");
    CHECK(line.width() == 5);
}

TEST_CASE("what ASCII does not have becomes a question mark") {
    TextLine line;
    line.add("vnetü µ");
    CHECK(line.text(ascii) == "vnet? ?\n");
    for (const auto* const glyph : {glyphs(ascii).up.data(),
                                    glyphs(ascii).branch.data(),
                                    glyphs(ascii).patch.data(),
                                    glyphs(ascii).microsecond.data()}) {
        for (const char byte : std::string(glyph)) {
            CHECK(static_cast<unsigned char>(byte) < 0x80);
        }
    }
}
