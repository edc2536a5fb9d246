#include "agent/ctl/table_text.hpp"

#include <sstream>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace reachd::ctl;

namespace {

const std::vector<Column> columns{{"NAME", Fit::cut_middle},
                                  {"ADDRESS"},
                                  {"KIND", Fit::drop_second},
                                  {"RTT", Fit::whole, true},
                                  {"P99", Fit::drop_first, true},
                                  {"CAUSE", Fit::cut_end, false, true}};

constexpr Terminal piped{20, true, false, false};

Terminal wide(std::size_t width) {
    return {width, true, false, true};
}

const std::vector<TableRow> two_rows{
    {{"●"}, {{"a-rather-long-name"}, {"10.0.0.1"}, {"host"}, {"85 µs"}, {"1 s"}, {""}}},
    {{"✖", Ink::bad}, {{"b"}, {"::1"}, {"guest"}, {"-"}, {"-"}, {"no answer at all", Ink::bad}}}};

std::size_t widest(const std::string& text) {
    std::size_t width = 0;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        width = std::max(width, display_width(line));
    }
    return width;
}

}  // namespace

TEST_CASE("columns are as wide as what is in them, numbers at the right") {
    CHECK(table_text(columns, two_rows, true, wide(100)) ==
          "  NAME                ADDRESS   KIND     RTT  P99  CAUSE\n"
          "● a-rather-long-name  10.0.0.1  host   85 µs  1 s\n"
          "✖ b                   ::1       guest      -    -  no answer at all\n");
}

TEST_CASE("without header the titles do not count") {
    const std::vector<Column> one{{"A VERY LONG TITLE"}, {"B"}};
    CHECK(table_text(one, {{{"x"}, {{"1"}, {"2"}}}}, false, wide(80)) == "x 1  2\n");
    CHECK(table_text(one, {}, true, wide(80)).empty());
}

TEST_CASE("a column that is needed sometimes is there only then") {
    const std::vector<TableRow> row{two_rows[0]};
    CHECK(table_text(columns, row, true, wide(100)).find("CAUSE") == std::string::npos);
}

TEST_CASE("too wide: columns go in their order, then the cause is cut, then the name") {
    const auto full = widest(table_text(columns, two_rows, true, wide(200)));
    const auto without_p99 = table_text(columns, two_rows, true, wide(full - 1));
    CHECK(without_p99.find("P99") == std::string::npos);
    CHECK(without_p99.find("KIND") != std::string::npos);
    const auto without_kind = table_text(columns, two_rows, true, wide(full - 6));
    CHECK(without_kind.find("KIND") == std::string::npos);
    CHECK(without_kind.find("no answer at all") != std::string::npos);
    const auto cut = table_text(columns, two_rows, true, wide(full - 14));
    CHECK(cut.find("…\n") != std::string::npos);
    CHECK(cut.find("a-rather-long-name") != std::string::npos);
    const auto narrow = table_text(columns, two_rows, true, wide(40));
    CHECK(narrow.find("a-rather-long-name") == std::string::npos);
    CHECK(narrow.find("10.0.0.1") != std::string::npos);
    CHECK(narrow.find("85 µs") != std::string::npos);
}

TEST_CASE("columns are dropped in the order of their ranks, wherever they stand") {
    const std::vector<Column> ranked{
        {"CC", Fit::drop_third}, {"AA", Fit::drop_first}, {"NAME"}, {"BB", Fit::drop_second}};
    const std::vector<TableRow> row{{{"●"}, {{"c"}, {"a"}, {"name"}, {"b"}}}};
    CHECK(table_text(ranked, row, true, wide(18)) == "  CC  AA  NAME  BB\n● c   a   name  b\n");
    CHECK(table_text(ranked, row, true, wide(17)) == "  CC  NAME  BB\n● c   name  b\n");
    CHECK(table_text(ranked, row, true, wide(13)) == "  CC  NAME\n● c   name\n");
    CHECK(table_text(ranked, row, true, wide(9)) == "  NAME\n● name\n");
}

TEST_CASE("no line is wider than the terminal down to where only whole things are left") {
    for (std::size_t width = 38; width < 90; ++width) {
        CAPTURE(width);
        CHECK(widest(table_text(columns, two_rows, true, wide(width))) <= width);
    }
    CHECK(table_text(columns, two_rows, true, wide(10)).find("10.0.0.1") != std::string::npos);
    CHECK(table_text(columns, two_rows, true, piped).find("no answer at all") != std::string::npos);
}
