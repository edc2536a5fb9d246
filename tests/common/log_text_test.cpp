// Log records as bytes: what a hostile name may do to a line (nothing), stamps, the journal's
// datagram, the rate bound.
#include "common/log_text.hpp"

#include <algorithm>
#include <string>

#include <catch2/catch.hpp>

using namespace reachd;
using namespace std::chrono_literals;
using namespace std::string_literals;

TEST_CASE("log levels have words, and words have levels") {
    for (const LogLevel level :
         {LogLevel::error, LogLevel::warning, LogLevel::notice, LogLevel::info, LogLevel::debug}) {
        CHECK(parse_log_level(to_text(level)) == level);
    }
    CHECK(parse_log_level("warn") == LogLevel::warning);
    CHECK_FALSE(parse_log_level("").has_value());
    CHECK_FALSE(parse_log_level("INFO").has_value());
    CHECK_FALSE(parse_log_level("info ").has_value());
}

TEST_CASE("ordinary text of any script is left as it is") {
    CHECK(printable("").empty());
    CHECK(printable("peer web01 is down") == "peer web01 is down");
    CHECK(printable("C:\\path \"quoted\" 100%") == "C:\\path \"quoted\" 100%");
    CHECK(printable("Grüße, 東京, שלום, 😀") == "Grüße, 東京, שלום, 😀");
}

TEST_CASE("control characters cannot break a line or steer a terminal") {
    CHECK(printable("a\nwarning: forged") == "a\\nwarning: forged");
    CHECK(printable("a\r\tb") == "a\\r\\tb");
    CHECK(printable("\x1b[2J\x07") == "\\x1b[2J\\x07");
    CHECK(printable("a\0b"s) == "a\\x00b");
    CHECK(printable("\x7f") == "\\x7f");
    CHECK(printable("\xc2\x9b"
                    "31m") == "\\u009b31m");        // CSI as a C1 control
    CHECK(printable("\xe2\x80\xa8") == "\\u2028");  // line separator
    CHECK(printable("\xe2\x80\xae"
                    "gpj.exe") == "\\u202egpj.exe");
    CHECK(printable("\xe2\x81\xa6") == "\\u2066");
}

TEST_CASE("bytes that are not UTF-8 are shown as numbers") {
    CHECK(printable("\xff") == "\\xff");
    CHECK(printable("\x80"
                    "a") ==
          "\\x80"
          "a");
    CHECK(printable("\xc0\x8a") == "\\xc0\\x8a");                    // overlong line feed
    CHECK(printable("\xe0\x80\x8a") == "\\xe0\\x80\\x8a");           // the same, longer
    CHECK(printable("\xed\xa0\x80") == "\\xed\\xa0\\x80");           // surrogate
    CHECK(printable("\xf4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");  // above U+10FFFF
    CHECK(printable("a\xe2\x82") == "a\\xe2\\x82");                  // cut off
    CHECK(printable("\xe2\x82"
                    "A") ==
          "\\xe2\\x82"
          "A");
}

TEST_CASE("long text is cut at a character, visibly") {
    CHECK(printable("abcdef", 6) == "abcdef");
    CHECK(printable("abcdefg", 6) == "abc…");
    CHECK(printable("ab€def", 6) == "ab…");  // the euro sign would end at byte 5: no room
    CHECK(printable("\n\n\n\n", 6) == "\\n…");
    CHECK(printable("abcd", 3) == "…");
    const std::string long_text(1'000'000, '\n');
    CHECK(printable(long_text).size() <= log_text_bytes_max);
}

TEST_CASE("time stamps are RFC 3339 in UTC with milliseconds") {
    CHECK(rfc3339_utc(WallTime{}) == "1970-01-01T00:00:00.000Z");
    CHECK(rfc3339_utc(WallTime(1709210096s + 789ms + 999us)) == "2024-02-29T12:34:56.789Z");
    CHECK(rfc3339_utc(WallTime(951782399s + 999'999'999ns)) == "2000-02-28T23:59:59.999Z");
    CHECK(rfc3339_utc(WallTime(951782400s)) == "2000-02-29T00:00:00.000Z");
    CHECK(rfc3339_utc(WallTime(-1ns)) == "1969-12-31T23:59:59.999Z");
}

TEST_CASE("journal field names are those that journald takes") {
    CHECK(is_journal_field_name("REACHD_PEER"));
    CHECK(is_journal_field_name("A1"));
    CHECK_FALSE(is_journal_field_name(""));
    CHECK_FALSE(is_journal_field_name("_PID"));
    CHECK_FALSE(is_journal_field_name("1A"));
    CHECK_FALSE(is_journal_field_name("reachd_peer"));
    CHECK_FALSE(is_journal_field_name("A=B"));
    CHECK_FALSE(is_journal_field_name("A\nB"));
    CHECK(is_journal_field_name(std::string(64, 'A')));
    CHECK_FALSE(is_journal_field_name(std::string(65, 'A')));
}

TEST_CASE("a journal datagram holds the record and its fields") {
    LogRecord record{LogLevel::warning, "web01 is down", "0123456789abcdef0123456789abcdef", {}};
    record.fields.emplace_back("REACHD_PEER", "web01");
    record.fields.emplace_back("bad name", "x");
    CHECK(journal_datagram(record, "reachd") ==
          "MESSAGE=web01 is down\nPRIORITY=4\nSYSLOG_IDENTIFIER=reachd\n"
          "MESSAGE_ID=0123456789abcdef0123456789abcdef\nREACHD_PEER=web01\n");
}

TEST_CASE("a record without an id has no MESSAGE_ID") {
    const auto datagram = journal_datagram({LogLevel::error, "x"}, "reachd");
    CHECK(datagram == "MESSAGE=x\nPRIORITY=3\nSYSLOG_IDENTIFIER=reachd\n");
}

TEST_CASE("no value can add a field to a journal datagram") {
    LogRecord record{LogLevel::info, "a\nPRIORITY=0", {}, {}};
    record.fields.emplace_back("REACHD_PEER", "b\nMESSAGE=c\n\0\0"s);
    const auto datagram = journal_datagram(record, "reachd");
    CHECK(std::count(datagram.begin(), datagram.end(), '\n') == 4);
    CHECK(datagram.find('\0') == std::string::npos);
}

TEST_CASE("a record with too many fields or too long values stays one datagram of bounded size") {
    LogRecord record{LogLevel::info, std::string(100'000, 'x'), {}, {}};
    for (int i = 0; i < 1000; ++i) {
        record.fields.emplace_back("REACHD_PEER", std::string(10'000, 'y'));
    }
    const auto datagram = journal_datagram(record, "reachd");
    CHECK(std::count(datagram.begin(), datagram.end(), '\n') == 3 + log_fields_max);
    CHECK(datagram.size() < 160'000);  // below net.core.wmem_default
}

TEST_CASE("JOURNAL_STREAM must name device and inode exactly") {
    CHECK(journal_stream_is("9:4711", 9, 4711));
    CHECK(journal_stream_is("18446744073709551615:1", ~std::uint64_t{0}, 1));
    CHECK_FALSE(journal_stream_is("9:4711", 9, 4712));
    CHECK_FALSE(journal_stream_is("9:4711", 8, 4711));
    CHECK_FALSE(journal_stream_is("", 0, 0));
    CHECK_FALSE(journal_stream_is("9", 9, 0));
    CHECK_FALSE(journal_stream_is("9:", 9, 0));
    CHECK_FALSE(journal_stream_is(":9", 0, 9));
    CHECK_FALSE(journal_stream_is("9:4711 ", 9, 4711));
    CHECK_FALSE(journal_stream_is(" 9:4711", 9, 4711));
    CHECK_FALSE(journal_stream_is("-1:4711", 9, 4711));
    CHECK_FALSE(journal_stream_is("99999999999999999999:1", 9, 1));
}

TEST_CASE("records pass up to the limit of a second, then the first left out is told") {
    LogRate rate;
    const MonoTime start(100s);
    for (std::uint32_t i = 0; i < log_records_per_second_max; ++i) {
        REQUIRE(rate.admit(start + i * 1ms) == LogVerdict::pass);
    }
    CHECK(rate.admit(start + 300ms) == LogVerdict::suppress_first);
    CHECK(rate.admit(start + 300ms) == LogVerdict::suppress);
    CHECK(rate.admit(start + 1s - 1ns) == LogVerdict::suppress);
    CHECK(rate.admit(start + 1s) == LogVerdict::pass);
    CHECK(rate.take_suppressed() == 3);
    CHECK(rate.take_suppressed() == 0);
}

TEST_CASE("each second has its own budget and its own first") {
    LogRate rate;
    std::uint64_t passed = 0;
    std::uint64_t firsts = 0;
    for (int i = 0; i < 5000; ++i) {
        const auto verdict = rate.admit(MonoTime(1s) + i * 1ms);
        passed += verdict == LogVerdict::pass ? 1U : 0U;
        firsts += verdict == LogVerdict::suppress_first ? 1U : 0U;
    }
    CHECK(passed == 5 * log_records_per_second_max);
    CHECK(firsts == 5);
    CHECK(rate.take_suppressed() == 5000 - passed);
}
