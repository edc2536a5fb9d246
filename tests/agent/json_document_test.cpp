#include "agent/json_document.hpp"

#include <cmath>

#include <catch2/catch.hpp>

namespace reachd {
namespace {

/// The document of a text that must be fine.
JsonDocument read(std::string_view text) {
    JsonProblems problems;
    auto document = parse_json(text, problems);
    REQUIRE(document);
    REQUIRE(problems.empty());
    return *std::move(document);
}

JsonValue member(const JsonValue& object, std::string_view key) {
    for (const auto child : object.children()) {
        if (child.key() == key) {
            return child;
        }
    }
    FAIL("no member " << key);
    return object;
}

/// The one problem of a text that must not be read, as "LINE POINTER: MESSAGE".
std::string refusal(std::string_view text) {
    JsonProblems problems;
    const auto document = parse_json(text, problems);
    CHECK_FALSE(document);
    REQUIRE(problems.count() == 1);
    const auto problem = problems.sorted().front();
    return std::to_string(problem.line) + " " + problem.pointer + ": " + problem.message;
}

TEST_CASE("json_document: values of every type") {
    const auto document = read(R"({"n": null, "t": true, "f": false, "i": -5, "u": 7, "r": 1.5,
                                   "s": "a\u00e4\n\u0000z", "a": [1, "x", []], "o": {}})");
    const auto root = document.root();
    CHECK(member(root, "n").is(JsonType::null));
    CHECK(member(root, "t").boolean());
    CHECK_FALSE(member(root, "f").boolean());
    CHECK(member(root, "i").integer() == -5);
    CHECK(member(root, "u").integer() == 7);
    CHECK(member(root, "u").number() == 7.0);
    CHECK(member(root, "r").number() == 1.5);
    CHECK(member(root, "s").text() == std::string_view("aä\n\0z", 6));
    CHECK(member(root, "a").children().count() == 3);
    CHECK(member(root, "o").is(JsonType::object));
    CHECK(member(root, "o").children().count() == 0);
    CHECK(root.children().count() == 9);
}

TEST_CASE("json_document: integers at and beyond the ends") {
    const auto document = read(R"([9223372036854775807, 18446744073709551615, -9223372036854775808,
                                   18446744073709551616, -9223372036854775809, 1e3, 56.0, -0])");
    std::vector<JsonValue> values;
    for (const auto value : document.root().children()) {
        values.push_back(value);
    }
    CHECK(values[0].integer() == INT64_MAX);
    CHECK(values[1].integer() == INT64_MAX);  // saturated
    CHECK(values[2].integer() == INT64_MIN);
    CHECK(values[3].is(JsonType::real));
    CHECK(values[3].is_huge_integer());
    CHECK(values[4].is_huge_integer());
    CHECK(values[5].is(JsonType::real));
    CHECK_FALSE(values[5].is_huge_integer());
    CHECK_FALSE(values[6].is_huge_integer());
    CHECK(values[7].integer() == 0);
}

TEST_CASE("json_document: lines of keys and values") {
    const auto document = read(
        "{\n"
        "  \"a\": 1\n"
        "  , // comment\n"
        "  /* two\n lines **/ \"b\":\n"
        "     \"x\",\r\n"
        "  \"c\": [ 1,\n 2.5\n, true,\n{\n}],\n"
        "  \"d\": 12\n"
        "}\n");
    const auto root = document.root();
    CHECK(root.line() == 1);
    CHECK(member(root, "a").line() == 2);
    CHECK(member(root, "b").key_line() == 5);
    CHECK(member(root, "b").line() == 6);
    const auto list = member(root, "c");
    CHECK(list.line() == 7);
    std::vector<std::uint32_t> lines;
    for (const auto element : list.children()) {
        lines.push_back(element.line());
        CHECK(element.key_line() == element.line());
        CHECK(element.key().empty());
    }
    CHECK(lines == std::vector<std::uint32_t>{7, 8, 9, 10});
    CHECK(member(root, "d").line() == 12);
}

TEST_CASE("json_document: a number at the end of the text keeps its line") {
    CHECK(read("\n\n42").root().line() == 3);
    CHECK(read("\n\n42\n").root().line() == 3);
}

TEST_CASE("json_document: pointers are escaped") {
    const auto document = read(R"({"a/b~c": [0, {"": {"x\ny": 1}}]})");
    const auto list = *document.root().children().begin();
    CHECK(document.root().pointer().empty());
    CHECK(list.pointer() == "/a~1b~0c");
    auto second = list.children().begin();
    ++second;
    CHECK((*second).pointer() == "/a~1b~0c/1");
    const auto empty_key = *(*second).children().begin();
    CHECK(empty_key.pointer() == "/a~1b~0c/1/");
    CHECK((*empty_key.children().begin()).pointer() == "/a~1b~0c/1//x\\ny");
}

TEST_CASE("json_document: duplicate keys are told, each with the first line, and kept") {
    JsonProblems problems;
    const auto document =
        parse_json("{\"a\":1,\n\"b\":{\"x\":1,\"x\":2},\n\"a\":2,\n\"\\u0061\":3}", problems);
    REQUIRE(document);
    const auto sorted = problems.sorted();
    REQUIRE(sorted.size() == 3);
    CHECK(sorted[0] == JsonProblem{2, "/b/x", "duplicate key; first on line 2"});
    CHECK(sorted[1] == JsonProblem{3, "/a", "duplicate key; first on line 1"});
    CHECK(sorted[2] == JsonProblem{4, "/a", "duplicate key; first on line 1"});
    CHECK(document->root().children().count() == 4);
}

TEST_CASE("json_document: errors of syntax name their line and say what to do") {
    CHECK(refusal("{\"a\": 1,\n}\n") == "2 : a trailing ',' before '}'; take it out");
    CHECK(refusal("{\"a\": [1,\n2, // last\n]}") == "3 /a: a trailing ',' before ']'; take it out");
    CHECK(refusal("{\n\"a\": 1\n\"b\": 2\n}") == "3 : a ',' or '}' is missing before this");
    CHECK(refusal("[1\n2]") == "2 : a ',' or ']' is missing before this");
    CHECK(refusal("{\n\"a\" 1}") == "2 /a: a ':' is missing after a key");
    CHECK(refusal("{\"a\":\n}") == "2 /a: the value of \"a\" is missing");
    CHECK(refusal("{a: 1}") == "1 : no JSON value; text needs double quotes");
    CHECK(refusal("{'a': 1}") == "1 : strings need double quotes, not single ones");
    CHECK(refusal("{,}") == "1 : a key in double quotes is missing here");
    CHECK(refusal("[,]") == "1 : a value is missing here");
    CHECK(refusal("{\"a\": 1]") == "1 : a ',' or '}' is missing before this");
    CHECK(refusal("{}\n}") == "2 : text after the end of the configuration");
    CHECK(refusal("{}\nfoo") == "2 : text after the end of the configuration");
    CHECK(refusal("\n# x\n{}") == "2 : comments begin with //, not with #");
    CHECK(refusal("{\"a\": NaN}") == "1 /a: NaN and Infinity are no JSON numbers");
    CHECK(refusal("{\"a\": Infinity}") == "1 /a: NaN and Infinity are no JSON numbers");
    CHECK(refusal("{\"a\": +1}") == "1 /a: numbers have no leading '+'");
    CHECK(refusal("{\n\"a\": 1e999\n}") == "2 /a: the number is too large");
    CHECK(refusal("{\"a\": -}") == "1 /a: invalid number; expected digit after '-'");
    CHECK(refusal("{\"a\": \"x\ny\"}") == "1 /a: a string is not closed on its line");
    CHECK(refusal("{\"a\":\n\"x\xc3(\"}") == "2 /a: not UTF-8");
    CHECK(refusal("/* x\n") == "1 : invalid comment; missing closing '*/'");
}

TEST_CASE("json_document: an end too early names what is open") {
    CHECK(refusal("{\n\"a\": [\n1,\n\n\n") ==
          "3 /a: the file ends, but the [ is not closed that begins on line 2");
    CHECK(refusal("{\"a\":1\n") ==
          "1 : the file ends, but the { is not closed that begins on line 1");
    CHECK(refusal("") == "1 : the file is empty; {} is the shortest configuration");
    CHECK(refusal("\n \t\n") == "1 : the file is empty; {} is the shortest configuration");
    CHECK(refusal("// x\n// y\n") == "2 : the file is empty; {} is the shortest configuration");
    CHECK(refusal("\xef\xbb\xbf") == "1 : the file is empty; {} is the shortest configuration");
}

TEST_CASE("json_document: bytes that are no JSON text") {
    using namespace std::string_view_literals;
    CHECK(refusal("{}\n\0x"sv) == "2 : a NUL byte; the file must be text");
    CHECK(refusal("{\"a\":\"\0\"}"sv) == "1 : a NUL byte; the file must be text");
    CHECK(refusal("\xff\xfe{\0}\0"sv) == "1 : the file is UTF-16; it must be UTF-8");
    CHECK(refusal("\xfe\xff\0{"sv) == "1 : the file is UTF-16; it must be UTF-8");
    CHECK(refusal("\xef\xbb{}") == "1 : invalid BOM; must be 0xEF 0xBB 0xBF if given");
    CHECK(read("\xef\xbb\xbf{}").root().is(JsonType::object));
}

TEST_CASE("json_document: every limit holds at its edge") {
    const auto nested = [](std::size_t depth) {
        return std::string(depth, '[') + std::string(depth, ']');
    };
    CHECK(read(nested(json_depth_max)).root().is(JsonType::array));
    JsonProblems depth_problems;
    CHECK_FALSE(parse_json(nested(json_depth_max + 1), depth_problems));
    CHECK(depth_problems.sorted().front().message == "nested deeper than 32 levels");
    JsonProblems deep_problems;
    CHECK_FALSE(parse_json(std::string(json_bytes_max, '['), deep_problems));

    JsonProblems size_problems;
    CHECK_FALSE(parse_json(std::string(json_bytes_max + 1, ' '), size_problems));
    CHECK(size_problems.sorted().front().message == "larger than 16 MiB");

    std::string many = "[0";
    for (std::size_t i = 2; i < json_values_max; ++i) {
        many += ",0";
    }
    CHECK(read(many + "]").root().children().count() == json_values_max - 1);
    JsonProblems count_problems;
    CHECK_FALSE(parse_json(many + ",0]", count_problems));
    CHECK(count_problems.sorted().front().message == "more than 2097152 values");
}

TEST_CASE("json_document: many duplicates are found quickly and told a hundred times") {
    std::string text = "{";
    for (int i = 0; i < 200'000; ++i) {
        text += "\"k\":0,\n";
    }
    JsonProblems problems;
    CHECK(parse_json(text + "\"k\":0}", problems));
    CHECK(problems.count() == 200'000);
    CHECK(problems.sorted().size() == json_problems_max);
    CHECK(problems.omitted() == 200'000 - json_problems_max);
    CHECK(problems.sorted().front().line == 2);
}

TEST_CASE("json_document: problems come in the order of the file") {
    JsonProblems problems;
    problems.add(7, "/b", "second");
    problems.add(2, "/a", "first");
    problems.add(7, "/c", "third");
    const auto sorted = problems.sorted();
    CHECK(sorted[0].message == "first");
    CHECK(sorted[1].message == "second");
    CHECK(sorted[2].message == "third");
}

}  // namespace
}  // namespace reachd
