#include "agent/guest_notices.hpp"

#include <catch2/catch.hpp>

using namespace reachd;
using namespace std::chrono_literals;

namespace {

constexpr MonoTime start{1000s};

std::vector<std::string> taken(GuestNotices& notices, MonoTime now) {
    std::vector<LogRecord> records;
    notices.take_logs(now, records);
    std::vector<std::string> texts;
    for (const auto& record : records) {
        texts.push_back(record.message);
    }
    return texts;
}

void tell(GuestNotices& notices, std::uint64_t matter, MonoTime now) {
    if (notices.is_news(matter, now)) {
        notices.say({LogLevel::warning, "matter " + std::to_string(matter)});
    }
}

}  // namespace

TEST_CASE("a matter is told once", "[guest_notices]") {
    GuestNotices notices;
    tell(notices, 7, start);
    tell(notices, 7, start + 1s);
    tell(notices, 8, start + 1h);
    tell(notices, 7, start + 2h);
    CHECK(taken(notices, start + 2h) == std::vector<std::string>{"matter 7", "matter 8"});
    CHECK(taken(notices, start + 3h).empty());
    CHECK(notices.next_deadline() == mono_never);
}

TEST_CASE("too many matters at once are told as a number", "[guest_notices]") {
    GuestNotices notices;
    for (std::uint64_t matter = 0; matter < 100; ++matter) {
        tell(notices, matter, start + 1s * matter / 10);
    }
    CHECK(taken(notices, start + 10s).size() == GuestNotices::lines_per_window);
    CHECK(notices.next_deadline() == start + GuestNotices::window);
    CHECK(taken(notices, start + 59s).empty());
    CHECK(taken(notices, start + 60s) ==
          std::vector<std::string>{"and 80 more refused claims of guests within 60 s"});
    CHECK(notices.next_deadline() == mono_never);
    tell(notices, 99, start + 61s);
    CHECK(taken(notices, start + 61s) == std::vector<std::string>{"matter 99"});
}

TEST_CASE("refusals are counted by reason", "[guest_notices]") {
    GuestNotices notices;
    CHECK(notices.counts().empty());
    notices.count(GuestRefusal::host_address);
    notices.count(GuestRefusal::mac_limit, 5);
    const auto counts = notices.counts();
    REQUIRE(counts.size() == 2);
    CHECK(counts[0].name == "mac_limit");
    CHECK(counts[0].count == 5);
    CHECK(counts[1].name == "host_address");
    CHECK(notices.counted(GuestRefusal::gateway_address) == 0);
}
