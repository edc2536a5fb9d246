// The schedule of host names and the choice of their addresses, under a clock of the test's own.
#include "agent/name_resolution.hpp"

#include <algorithm>
#include <map>
#include <set>

#include <catch2/catch.hpp>

using namespace reachd;
using namespace std::chrono_literals;

namespace {

const MonoTime start(1000s);

IpAddress ip(const char* text) {
    return IpAddress::parse(text).value();
}

ResolveResult answer(std::initializer_list<const char*> texts) {
    std::vector<IpAddress> addresses;
    for (const char* text : texts) {
        addresses.push_back(ip(text));
    }
    return addresses;
}

struct Fixture {
    NameResolution names;
    Random random{42};
    MonoTime now = start;

    void add(const std::string& name, FamilyChoice family = FamilyChoice::any) {
        names.add(name, family, now);
    }

    std::vector<LookupRequest> take() { return names.take_requests(now, random); }

    /// The single request that must be there.
    LookupRequest take_one() {
        const auto requests = take();
        REQUIRE(requests.size() == 1);
        return requests.front();
    }

    std::optional<NameUpdate> result(std::uint64_t id, const ResolveResult& result) {
        return names.on_result(id, result, now, random);
    }

    /// Advances to the next deadline and says how long that took.
    Duration advance() {
        const MonoTime before = now;
        now = names.next_deadline();
        REQUIRE(now != mono_never);
        REQUIRE(now >= before);
        return now - before;
    }

    NameState state(const std::string& name, FamilyChoice family = FamilyChoice::any) {
        return names.state(name, family).value();
    }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "without names there is nothing to wait for") {
    CHECK(names.next_deadline() == mono_never);
    CHECK(take().empty());
    CHECK_FALSE(names.state("a", FamilyChoice::any).has_value());
}

TEST_CASE_METHOD(Fixture, "a new name is looked up at once, with its family") {
    add("a", FamilyChoice::ipv6);
    CHECK(names.next_deadline() == now);
    const auto request = take_one();
    CHECK(request.name == "a");
    CHECK(request.family == FamilyChoice::ipv6);
    CHECK(request.give_up == now + 10s);
    CHECK(names.next_deadline() == now + 10s);
    CHECK(take().empty());
}

TEST_CASE_METHOD(Fixture, "the first address of an answer is used") {
    add("a");
    const auto update = result(take_one().id, answer({"2001:db8::1", "10.0.0.1"}));
    CHECK(update == NameUpdate{"a", FamilyChoice::any, ip("2001:db8::1"), true});
    CHECK(state("a") == NameState{ip("2001:db8::1"), 0, std::nullopt});
    CHECK(names.errors() == 0);
}

TEST_CASE_METHOD(Fixture, "an address is kept while it is still in the answer, in any place") {
    add("a");
    result(take_one().id, answer({"10.0.0.1", "10.0.0.2"}));
    advance();
    auto update = result(take_one().id, answer({"10.0.0.3", "10.0.0.2", "10.0.0.1"}));
    CHECK(update == NameUpdate{"a", FamilyChoice::any, ip("10.0.0.1"), false});
    advance();
    update = result(take_one().id, answer({"10.0.0.3", "10.0.0.2"}));
    CHECK(update == NameUpdate{"a", FamilyChoice::any, ip("10.0.0.3"), true});
}

TEST_CASE_METHOD(Fixture, "the same link-local address on another link is another address") {
    add("a");
    auto on_link = [](IfIndex link) {
        auto address = ip("fe80::1");
        address.set_scope(link);
        return ResolveResult(std::vector<IpAddress>{address});
    };
    result(take_one().id, on_link(IfIndex{2}));
    advance();
    const auto update = result(take_one().id, on_link(IfIndex{3}));
    REQUIRE(update.has_value());
    CHECK(update->changed);
    CHECK(update->address->scope() == IfIndex{3});
}

TEST_CASE_METHOD(Fixture, "addresses of another family do not count") {
    add("a", FamilyChoice::ipv4);
    const auto update = result(take_one().id, answer({"2001:db8::1", "10.0.0.1"}));
    CHECK(update->address == ip("10.0.0.1"));
    advance();
    result(take_one().id, answer({"2001:db8::1"}));
    CHECK(state("a", FamilyChoice::ipv4) == NameState{ip("10.0.0.1"), 1, ResolveError::not_found});
}

TEST_CASE_METHOD(Fixture, "no zone can make us probe a whole segment or ourselves") {
    add("a");
    const auto update =
        result(take_one().id, answer({"0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"}));
    CHECK(update == NameUpdate{"a", FamilyChoice::any, std::nullopt, false});
    CHECK(state("a").last_error == ResolveError::not_found);
}

TEST_CASE_METHOD(Fixture, "an empty answer is a name not found") {
    add("a");
    result(take_one().id, answer({}));
    CHECK(state("a") == NameState{std::nullopt, 1, ResolveError::not_found});
    CHECK(names.errors() == 1);
}

TEST_CASE_METHOD(Fixture, "a name is refreshed every half minute, at most a tenth early") {
    add("a");
    result(take_one().id, answer({"10.0.0.1"}));
    const Duration first = advance();
    CHECK(first >= 3s);
    CHECK(first <= 30s);
    std::set<Duration> intervals;
    for (int i = 0; i < 100; ++i) {
        result(take_one().id, answer({"10.0.0.1"}));
        const Duration interval = advance();
        CHECK(interval >= 27s);
        CHECK(interval <= 30s);
        intervals.insert(interval);
    }
    CHECK(intervals.size() > 50);  // jitter, not a constant
}

TEST_CASE_METHOD(Fixture, "names that came together spread over the refresh interval") {
    constexpr int count = 600;
    for (int i = 0; i < count; ++i) {
        add("host" + std::to_string(i));
    }
    std::map<std::int64_t, int> per_second;
    while (now < start + 5min) {
        for (const auto& request : take()) {
            result(request.id, answer({"10.0.0.1"}));
            if (now > start + 31s) {
                ++per_second[std::chrono::floor<std::chrono::seconds>(now - start).count()];
            }
        }
        advance();
    }
    int most = 0;
    for (const auto& [second, lookups] : per_second) {
        most = std::max(most, lookups);
    }
    CHECK(most < 4 * count / 30);
}

TEST_CASE_METHOD(Fixture,
                 "failures are retried after 2, 4, 8, 16, 30, 30 s; a success resets that") {
    add("a");
    const auto fail_and_wait = [this](Duration expected) {
        result(take_one().id, ResolveError::temporary);
        const Duration delay = advance();
        CHECK(delay <= expected);
        CHECK(delay >= expected - expected / 10);
    };
    for (const Duration expected : {2s, 4s, 8s, 16s, 30s, 30s, 30s}) {
        fail_and_wait(expected);
    }
    CHECK(names.errors() == 7);
    CHECK(state("a").failures == 7);
    result(take_one().id, answer({"10.0.0.1"}));
    CHECK(state("a") == NameState{ip("10.0.0.1"), 0, std::nullopt});
    advance();
    fail_and_wait(2s);
}

TEST_CASE_METHOD(Fixture, "a thousand failures later the retry is still half a minute") {
    add("a");
    for (int i = 0; i < 1000; ++i) {
        result(take_one().id, ResolveError::failed);
        CHECK(advance() <= 30s);
    }
}

TEST_CASE_METHOD(Fixture, "the last good address stays in use through every failure") {
    add("a");
    result(take_one().id, answer({"10.0.0.1"}));
    for (const auto error :
         {ResolveError::not_found, ResolveError::temporary, ResolveError::failed}) {
        advance();
        const auto update = result(take_one().id, error);
        CHECK(update == NameUpdate{"a", FamilyChoice::any, ip("10.0.0.1"), false});
        CHECK(state("a").last_error == error);
    }
    CHECK(state("a").failures == 3);
}

TEST_CASE_METHOD(Fixture, "a name of several peers is looked up once, until the last one leaves") {
    add("a");
    add("a");
    add("a");
    CHECK(names.names() == 1);
    const auto request = take_one();
    names.remove("a", FamilyChoice::any);
    names.remove("a", FamilyChoice::any);
    CHECK(result(request.id, answer({"10.0.0.1"}))->changed);
    add("a");
    CHECK(state("a").address == ip("10.0.0.1"));  // known already
    names.remove("a", FamilyChoice::any);
    names.remove("a", FamilyChoice::any);
    CHECK(names.names() == 0);
    CHECK(names.next_deadline() == mono_never);
}

TEST_CASE_METHOD(Fixture, "families of one name are separate lookups") {
    add("a", FamilyChoice::ipv4);
    add("a", FamilyChoice::ipv6);
    const auto requests = take();
    REQUIRE(requests.size() == 2);
    CHECK(requests[0].family != requests[1].family);
}

TEST_CASE_METHOD(Fixture,
                 "at most eight lookups are under way, in the order of their names' arrival") {
    for (int i = 0; i < 20; ++i) {
        add("host" + std::to_string(i));
    }
    const auto first = take();
    REQUIRE(first.size() == 8);
    CHECK(first.front().name == "host0");
    CHECK(first.back().name == "host7");
    now += 1s;
    CHECK(take().empty());
    // Due names without room must not make the loop spin.
    CHECK(names.next_deadline() == start + 10s);
    result(first[3].id, answer({"10.0.0.1"}));
    CHECK(names.next_deadline() == start);
    CHECK(take_one().name == "host8");
}

TEST_CASE_METHOD(Fixture, "a lookup that never answers fails after ten seconds and makes room") {
    add("a");
    const auto request = take_one();
    now += 10s - 1ns;
    CHECK(take().empty());
    CHECK(names.errors() == 0);
    now += 1ns;
    CHECK(take().empty());
    CHECK(names.errors() == 1);
    CHECK(state("a") == NameState{std::nullopt, 1, ResolveError::failed});
    CHECK(names.under_way() == 0);
    const Duration delay = advance();
    CHECK(delay <= 2s);
    CHECK(take_one().id != request.id);
}

TEST_CASE_METHOD(Fixture, "a late good answer is welcome") {
    add("a");
    const auto late = take_one();
    now += 10s;
    CHECK(take().empty());

    SECTION("before the retry: it replaces it") {
        CHECK(result(late.id, answer({"10.0.0.1"}))->changed);
        CHECK(state("a") == NameState{ip("10.0.0.1"), 0, std::nullopt});
        CHECK(names.next_deadline() >= now + 3s);
    }
    SECTION("during the retry: both count, once each") {
        advance();
        const auto retry = take_one();
        CHECK(result(late.id, answer({"10.0.0.1"}))->changed);
        CHECK(names.next_deadline() == retry.give_up);
        CHECK_FALSE(result(retry.id, answer({"10.0.0.1"}))->changed);
        CHECK(names.next_deadline() > now);
        CHECK(take().empty());
    }
    CHECK_FALSE(result(late.id, answer({"10.0.0.9"})).has_value());
    CHECK(state("a").address == ip("10.0.0.1"));
}

TEST_CASE_METHOD(Fixture, "a late failure is not counted twice") {
    add("a");
    const auto late = take_one();
    now += 10s;
    CHECK(take().empty());
    CHECK_FALSE(result(late.id, ResolveError::temporary).has_value());
    CHECK(names.errors() == 1);
    CHECK(state("a").failures == 1);
}

TEST_CASE_METHOD(Fixture, "results that mean nothing change nothing") {
    CHECK_FALSE(result(0, answer({"10.0.0.1"})).has_value());
    CHECK_FALSE(result(77, ResolveError::failed).has_value());
    add("a");
    const auto request = take_one();
    CHECK_FALSE(result(request.id + 1, answer({"10.0.0.1"})).has_value());
    result(request.id, answer({"10.0.0.1"}));
    CHECK_FALSE(result(request.id, answer({"10.0.0.2"})).has_value());
    CHECK(state("a").address == ip("10.0.0.1"));
    CHECK(names.errors() == 0);
}

TEST_CASE_METHOD(Fixture,
                 "the answer for a name removed meanwhile is dropped, its place is freed") {
    add("a");
    const auto request = take_one();
    names.remove("a", FamilyChoice::any);
    CHECK(names.under_way() == 1);
    CHECK_FALSE(result(request.id, ResolveError::failed).has_value());
    CHECK(names.under_way() == 0);
    CHECK(names.errors() == 0);
    CHECK(names.next_deadline() == mono_never);
}

TEST_CASE_METHOD(Fixture, "a name removed and added again while looked up takes over that lookup") {
    add("a");
    const auto request = take_one();
    names.remove("a", FamilyChoice::any);
    add("a");
    CHECK(take().empty());
    CHECK(result(request.id, answer({"10.0.0.1"}))->changed);
    CHECK(names.next_deadline() > now);
}

TEST_CASE_METHOD(Fixture, "a reload storm cannot have more than eight lookups under way") {
    std::set<std::uint64_t> out;
    for (int i = 0; i < 100; ++i) {
        const std::string name = "host" + std::to_string(i);
        add(name);
        for (const auto& request : take()) {
            out.insert(request.id);
        }
        names.remove(name, FamilyChoice::any);
    }
    CHECK(out.size() == 8);
    now += 10s;
    CHECK(take().empty());
    CHECK(names.under_way() == 0);
    CHECK(names.errors() == 0);  // nobody wants these names any more
}

TEST_CASE_METHOD(Fixture, "with a resolver that never answers the schedule goes on, in bounds") {
    for (int i = 0; i < 100; ++i) {
        add("host" + std::to_string(i));
    }
    std::map<std::string, int> tries;
    while (now < start + 10min) {
        for (const auto& request : take()) {
            ++tries[request.name];
        }
        CHECK(names.under_way() <= 8);
        advance();
    }
    CHECK(tries.size() == 100);  // none starves
    const auto fewer = [](const auto& a, const auto& b) { return a.second < b.second; };
    const auto [least, most] = std::minmax_element(tries.begin(), tries.end(), fewer);
    CHECK(most->second - least->second <= 2);
}

TEST_CASE("the same seed gives the same schedule") {
    const auto run = [](std::uint64_t seed) {
        NameResolution names;
        Random random(seed);
        std::vector<std::pair<MonoTime, std::string>> trace;
        MonoTime now = start;
        for (int i = 0; i < 30; ++i) {
            names.add("host" + std::to_string(i), FamilyChoice::any, now);
        }
        while (trace.size() < 500) {
            for (const auto& request : names.take_requests(now, random)) {
                trace.emplace_back(now, request.name);
                const bool fails = request.id % 3 == 0;
                names.on_result(
                    request.id,
                    fails ? ResolveResult(ResolveError::temporary) : answer({"10.0.0.1"}),
                    now,
                    random);
            }
            now = names.next_deadline();
        }
        return trace;
    };
    CHECK(run(7) == run(7));
    CHECK(run(7) != run(8));
}
