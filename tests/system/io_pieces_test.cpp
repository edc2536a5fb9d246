// The small io pieces against the real kernel: clock, log sink, service manager, resolver. Needs no
// privileges, no network and no systemd: the journal and the service manager are sockets of the
// test's own, and getaddrinfo is replaced below so that it can be slow, wrong and stuck at will.
// Links with tests/main.cpp, reachd_agent_io and reachd_common_io; a program apart from unit_tests.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/io/resolver.hpp"
#include "agent/io/service_manager.hpp"
#include "common/io/journal_log.hpp"
#include "common/io/system_clock.hpp"

using namespace reachd;
using namespace std::chrono_literals;
using namespace std::string_literals;

namespace {

Duration elapsed_since(MonoTime time) {
    return mono_now() - time;
}

class TemporaryDirectory {
  public:
    TemporaryDirectory() {
        std::string pattern = "/tmp/reachd-io-test-XXXXXX";
        REQUIRE(mkdtemp(pattern.data()) != nullptr);
        path_ = pattern;
    }

    ~TemporaryDirectory() {
        for (const auto& file : files_) {
            unlink(file.c_str());
        }
        rmdir(path_.c_str());
    }

    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

    std::string file(const std::string& name) {
        files_.push_back(path_ + "/" + name);
        return files_.back();
    }

  private:
    std::string path_;
    std::vector<std::string> files_;
};

class Environment {
  public:
    Environment(const char* name, const std::string& value) : name_(name) {
        setenv(name, value.c_str(), 1);
    }

    ~Environment() { unsetenv(name_); }

    Environment(const Environment&) = delete;
    Environment& operator=(const Environment&) = delete;

  private:
    const char* name_;
};

/// A datagram socket of the test's own, as journald and the service manager have one.
class DatagramSocket {
  public:
    explicit DatagramSocket(const std::string& path)
        : fd_(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        REQUIRE(path.size() < sizeof(address.sun_path));
        std::copy(path.begin(), path.end(), address.sun_path);
        REQUIRE(bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    }

    ~DatagramSocket() { close(fd_); }

    DatagramSocket(const DatagramSocket&) = delete;
    DatagramSocket& operator=(const DatagramSocket&) = delete;

    /// Nothing when none is waiting.
    std::optional<std::string> receive() {
        std::string datagram(65536, '\0');
        const auto size = recv(fd_, datagram.data(), datagram.size(), 0);
        if (size < 0) {
            return std::nullopt;
        }
        datagram.resize(static_cast<std::size_t>(size));
        return datagram;
    }

  private:
    int fd_;
};

class Pipe {
  public:
    Pipe() { REQUIRE(pipe2(fds_.data(), O_CLOEXEC) == 0); }

    ~Pipe() {
        close_reader();
        close(fds_[1]);
    }

    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;

    int writer() const { return fds_[1]; }

    void close_reader() {
        if (fds_[0] >= 0) {
            close(std::exchange(fds_[0], -1));
        }
    }

    /// All there is, without waiting.
    std::string drain() {
        fcntl(fds_[0], F_SETFL, O_NONBLOCK);
        std::string text;
        std::array<char, 4096> chunk{};
        for (;;) {
            const auto size = read(fds_[0], chunk.data(), chunk.size());
            if (size <= 0) {
                return text;
            }
            text.append(chunk.data(), static_cast<std::size_t>(size));
        }
    }

  private:
    std::array<int, 2> fds_{-1, -1};
};

JournalLogOptions to_fd(int fd) {
    JournalLogOptions options;
    options.fd = fd;
    options.journal_socket = "/nonexistent/journal";
    return options;
}

std::string journal_stream_of(int fd) {
    struct stat status {};

    REQUIRE(fstat(fd, &status) == 0);
    return std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
}

// What the replaced getaddrinfo does with its names: see there.
std::atomic<bool> let_go{false};
std::atomic<int> inside{0};
std::atomic<int> flags_seen{0};

addrinfo* make_info(const char* text, std::uint32_t scope, addrinfo* next) {
    auto* const info = new addrinfo{};
    if (auto v4 = std::make_unique<sockaddr_in>(); inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        info->ai_family = AF_INET;
        info->ai_addrlen = sizeof(sockaddr_in);
        info->ai_addr = reinterpret_cast<sockaddr*>(v4.release());
    } else {
        auto v6 = std::make_unique<sockaddr_in6>();
        REQUIRE(inet_pton(AF_INET6, text, &v6->sin6_addr) == 1);
        v6->sin6_family = AF_INET6;
        v6->sin6_scope_id = scope;
        info->ai_family = AF_INET6;
        info->ai_addrlen = sizeof(sockaddr_in6);
        info->ai_addr = reinterpret_cast<sockaddr*>(v6.release());
    }
    info->ai_next = next;
    return info;
}

}  // namespace

/// Takes the place of the C library's: "stuck" blocks until let_go, "forever" for ever.
extern "C" int getaddrinfo(const char* name,
                           const char* /*service*/,
                           const addrinfo* hints,
                           addrinfo** answer) {
    const std::string asked = name;
    flags_seen = hints->ai_flags;
    if (asked == "missing") {
        return EAI_NONAME;
    }
    if (asked == "again") {
        return EAI_AGAIN;
    }
    if (asked == "broken") {
        return EAI_SYSTEM;
    }
    if (asked == "huge") {
        *answer = nullptr;
        for (int i = 999; i >= 0; --i) {
            const auto text = "10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1);
            *answer = make_info(text.c_str(), 0, *answer);
        }
        return 0;
    }
    ++inside;
    while (asked == "forever" || (asked == "stuck" && !let_go)) {
        std::this_thread::sleep_for(1ms);
    }
    --inside;
    *answer = make_info("10.0.0.2", 0, nullptr);
    *answer = make_info("2001:db8::1", 0, *answer);
    *answer = make_info("10.0.0.2", 0, *answer);
    *answer = make_info("fe80::1", 7, *answer);
    return 0;
}

extern "C" void freeaddrinfo(addrinfo* info) {
    while (info != nullptr) {
        addrinfo* const next = info->ai_next;
        if (info->ai_family == AF_INET) {
            delete reinterpret_cast<sockaddr_in*>(info->ai_addr);
        } else {
            delete reinterpret_cast<sockaddr_in6*>(info->ai_addr);
        }
        delete info;
        info = next;
    }
}

// --- clock ---------------------------------------------------------------------------------------

TEST_CASE("the clock reads both clocks as one moment, forwards") {
    for (int i = 0; i < 1000; ++i) {
        const MonoTime before = mono_now();
        const Instant instant = now();
        CHECK(instant.mono >= before);
        CHECK(instant.mono <= mono_now());
    }
    const auto wall = std::chrono::system_clock::now().time_since_epoch();
    CHECK(std::chrono::abs(now().wall.time_since_epoch() - wall) < 1s);
}

// --- log sink ------------------------------------------------------------------------------------

TEST_CASE("plain lines go to a pipe, one a record, without a time") {
    Pipe pipe;
    JournalLog log(to_fd(pipe.writer()));
    CHECK_FALSE(log.to_journal());
    log.write({LogLevel::warning, "peer a\nerror: forged"});
    log.write({LogLevel::debug, "hidden"});
    log.set_minimum_level(LogLevel::debug);
    log.write({LogLevel::debug, "shown"});
    log.set_minimum_level(LogLevel::error);
    log.write({LogLevel::warning, "hidden too"});
    CHECK(pipe.drain() == "warning: peer a\\nerror: forged\ndebug: shown\n");
}

TEST_CASE("lines in a file begin with the time") {
    TemporaryDirectory directory;
    const auto path = directory.file("log");
    const int fd = open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    JournalLog(to_fd(fd)).write({LogLevel::info, "x"});
    close(fd);
    std::string line;
    std::getline(std::ifstream(path), line);
    CHECK_THAT(line, Catch::Matches(R"(20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ info: x)"));
}

TEST_CASE("a full pipe never blocks; what was lost is told once there is room") {
    Pipe pipe;
    JournalLog log(to_fd(pipe.writer()));
    const std::string long_message(3000, 'x');
    const MonoTime began = mono_now();
    for (int i = 0; i < 100; ++i) {
        log.write({LogLevel::info, long_message});
    }
    CHECK(elapsed_since(began) < 5s);  // blocking would be for ever
    const auto lost = log.dropped();
    CHECK(lost > 0);
    CHECK(lost < 100);
    const std::string kept = pipe.drain();
    CHECK(kept.size() == (100 - lost) * (long_message.size() + "info: \n"s.size()));
    log.write({LogLevel::info, "after"});
    CHECK(pipe.drain() == "warning: " + std::to_string(lost) +
                              " log records lost: they could not be written\ninfo: after\n");
    CHECK(log.dropped() == lost);
}

TEST_CASE("a pipe without a reader loses records, not the process") {
    Pipe pipe;
    JournalLog log(to_fd(pipe.writer()));
    pipe.close_reader();
    log.write({LogLevel::info, "x"});
    log.write({LogLevel::info, "x"});
    CHECK(log.dropped() == 2);
}

TEST_CASE("a closed stderr loses records, not the process") {
    JournalLog log(to_fd(1000));
    log.write({LogLevel::info, "x"});
    CHECK(log.dropped() == 1);
}

TEST_CASE("a storm is cut to the limit and its rest is told, at the latest at the end") {
    Pipe pipe;
    std::uint64_t suppressed = 0;
    {
        JournalLog log(to_fd(pipe.writer()));
        for (int i = 0; i < 1000; ++i) {
            log.write({LogLevel::info, "x"});
        }
        suppressed = log.suppressed();
    }
    // A second may have turned over in between on a slow machine, but hardly more than one.
    CHECK(suppressed >= 1000 - 2 * log_records_per_second_max);
    const std::string text = pipe.drain();
    CHECK(text.find("warning: more than 200 log records in a second") != std::string::npos);
    CHECK(text.find(" log records left out: more than 200 in a second\n") != std::string::npos);
}

TEST_CASE("with JOURNAL_STREAM naming stderr, records go to the journal with their fields") {
    TemporaryDirectory directory;
    const auto path = directory.file("journal");
    DatagramSocket journal(path);
    Pipe pipe;
    const Environment stream("JOURNAL_STREAM", journal_stream_of(pipe.writer()));
    auto options = to_fd(pipe.writer());
    options.journal_socket = path;
    JournalLog log(options);
    CHECK(log.to_journal());
    log.write({LogLevel::notice,
               "web01 is up",
               "00112233445566778899aabbccddeeff",
               {{"REACHD_PEER", "web01"}}});
    CHECK(journal.receive() ==
          "MESSAGE=web01 is up\nPRIORITY=5\nSYSLOG_IDENTIFIER=reachd\n"
          "MESSAGE_ID=00112233445566778899aabbccddeeff\nREACHD_PEER=web01\n");
    CHECK(pipe.drain().empty());
}

TEST_CASE("a JOURNAL_STREAM inherited from elsewhere is not believed") {
    Pipe pipe;
    Pipe other;
    const Environment stream("JOURNAL_STREAM", journal_stream_of(other.writer()));
    JournalLog log(to_fd(pipe.writer()));
    CHECK_FALSE(log.to_journal());
    log.write({LogLevel::info, "x"});
    CHECK(pipe.drain() == "info: x\n");
}

TEST_CASE("where the journal's socket is out of reach, stderr carries the severity") {
    Pipe pipe;
    const Environment stream("JOURNAL_STREAM", journal_stream_of(pipe.writer()));
    JournalLog log(to_fd(pipe.writer()));
    log.write({LogLevel::warning, "x"});
    CHECK(pipe.drain() == "<4>x\n");
    CHECK(log.dropped() == 0);
}

TEST_CASE("a journal that does not read never blocks; what was lost is told afterwards") {
    TemporaryDirectory directory;
    const auto path = directory.file("journal");
    DatagramSocket journal(path);
    Pipe pipe;
    const Environment stream("JOURNAL_STREAM", journal_stream_of(pipe.writer()));
    auto options = to_fd(pipe.writer());
    options.journal_socket = path;
    JournalLog log(options);
    const std::string long_message(4000,
                                   'x');  // fills the send buffer, whatever the queue's length
    const MonoTime began = mono_now();
    for (std::uint32_t i = 0; i < log_records_per_second_max; ++i) {
        log.write({LogLevel::info, long_message});
    }
    CHECK(elapsed_since(began) < 5s);  // blocking would be for ever
    REQUIRE(log.dropped() > 0);
    while (journal.receive()) {
    }
    std::this_thread::sleep_for(1100ms);  // a new second of the rate limit
    log.write({LogLevel::info, "after"});
    const auto told = journal.receive();
    REQUIRE(told.has_value());
    CHECK(told->find(" log records lost") != std::string::npos);
    CHECK(journal.receive()->find("MESSAGE=after\n") == 0);
}

// --- service manager -----------------------------------------------------------------------------

TEST_CASE("without a service manager everything is silence") {
    ServiceManager service;
    service.ready("x");
    service.reloading();
    service.status("y");
    service.notify_watchdog();
    service.stopping();
    CHECK_FALSE(service.watchdog_interval().has_value());
}

TEST_CASE("the service manager hears readiness, reloads, status and the end") {
    TemporaryDirectory directory;
    const auto path = directory.file("notify");
    DatagramSocket socket(path);
    const Environment notify("NOTIFY_SOCKET", path);
    ServiceManager service;
    service.ready("probing 3 peers");
    CHECK(socket.receive() == "READY=1\nSTATUS=probing 3 peers");
    service.status("probing 3 peers");
    CHECK_FALSE(socket.receive().has_value());  // nothing new
    service.status("probing 4 peers\nMAINPID=1");
    CHECK(socket.receive() == "STATUS=probing 4 peers\\nMAINPID=1");
    service.notify_watchdog();
    CHECK_FALSE(socket.receive().has_value());  // none configured
    service.stopping();
    CHECK(socket.receive() == "STOPPING=1");

    const MonoTime before = mono_now();
    service.reloading();
    const auto reloading = socket.receive().value_or("");
    const std::string expected = "RELOADING=1\nMONOTONIC_USEC=";
    REQUIRE(reloading.substr(0, expected.size()) == expected);
    const auto time =
        MonoTime(std::chrono::microseconds(std::stoll(reloading.substr(expected.size()))));
    CHECK(time >= before - 1us);
    CHECK(time <= mono_now());
}

TEST_CASE("the watchdog is the service manager's, if it is meant for us") {
    TemporaryDirectory directory;
    const auto path = directory.file("notify");
    DatagramSocket socket(path);
    const Environment notify("NOTIFY_SOCKET", path);
    const Environment interval("WATCHDOG_USEC", "1500000");
    SECTION("anybody's") {
        ServiceManager service;
        CHECK(service.watchdog_interval() == 1500ms);
        service.notify_watchdog();
        CHECK(socket.receive() == "WATCHDOG=1");
    }
    SECTION("ours") {
        const Environment pid("WATCHDOG_PID", std::to_string(getpid()));
        CHECK(ServiceManager().watchdog_interval() == 1500ms);
    }
    SECTION("another's") {
        const Environment pid("WATCHDOG_PID", std::to_string(getppid()));
        CHECK_FALSE(ServiceManager().watchdog_interval().has_value());
    }
    SECTION("nonsense") {
        const Environment nonsense("WATCHDOG_USEC", "soon");
        CHECK_FALSE(ServiceManager().watchdog_interval().has_value());
    }
    SECTION("beyond measure") {
        const Environment long_time("WATCHDOG_USEC", "18446744073709551614");
        CHECK(ServiceManager().watchdog_interval() == 24h);
    }
}

// --- resolver ------------------------------------------------------------------------------------

namespace {

struct ResolverFixture {
    boost::asio::io_context loop{1};
    std::vector<std::pair<std::uint64_t, ResolveResult>> results;
    std::optional<std::thread::id> handler_thread;
    std::optional<Resolver> resolver{
        std::in_place, loop.get_executor(), [this](std::uint64_t id, ResolveResult result) {
            handler_thread = std::this_thread::get_id();
            results.emplace_back(id, std::move(result));
        }};

    void lookup(std::uint64_t id,
                const std::string& name,
                FamilyChoice family = FamilyChoice::any) {
        resolver->lookup({id, name, family, mono_now() + 10s});
    }

    void wait_for(std::size_t count) {
        const MonoTime began = mono_now();
        while (results.size() < count && elapsed_since(began) < 5s) {
            loop.restart();
            loop.run_for(1ms);
        }
        REQUIRE(results.size() == count);
    }

    /// Until that many lookups are blocked in getaddrinfo.
    static void wait_inside(int count) {
        const MonoTime began = mono_now();
        while (inside != count && elapsed_since(began) < 5s) {
            std::this_thread::sleep_for(1ms);
        }
        REQUIRE(inside == count);
    }
};

std::size_t thread_count() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.rfind("Threads:", 0) == 0) {
            return std::stoul(line.substr(8));
        }
    }
    return 0;
}

/// A thread has left our code before it has ended: true once as many as wanted are left.
bool threads_become(std::size_t wanted) {
    const MonoTime began = mono_now();
    while (thread_count() != wanted && elapsed_since(began) < 5s) {
        std::this_thread::sleep_for(1ms);
    }
    return thread_count() == wanted;
}

}  // namespace

TEST_CASE_METHOD(ResolverFixture, "addresses keep their order and zone and come once each") {
    lookup(1, "host");
    wait_for(1);
    CHECK(handler_thread == std::this_thread::get_id());
    CHECK(results[0].first == 1);
    REQUIRE(results[0].second.has_value());
    auto link_local = IpAddress::parse("fe80::1").value();
    link_local.set_scope(IfIndex{7});
    CHECK(*results[0].second == std::vector{link_local,
                                            IpAddress::parse("10.0.0.2").value(),
                                            IpAddress::parse("2001:db8::1").value()});
}

TEST_CASE_METHOD(ResolverFixture, "only a free choice of family depends on the host's addresses") {
    lookup(1, "host", FamilyChoice::any);
    wait_for(1);
    CHECK(flags_seen == AI_ADDRCONFIG);
    lookup(2, "host", FamilyChoice::ipv6);
    wait_for(2);
    CHECK(flags_seen == 0);
}

TEST_CASE_METHOD(ResolverFixture, "errors keep their kind") {
    const auto error_for = [this](const std::string& name) {
        results.clear();
        lookup(1, name);
        wait_for(1);
        REQUIRE(results[0].second.has_error());
        return results[0].second.error();
    };
    CHECK(error_for("missing") == ResolveError::not_found);
    CHECK(error_for("again") == ResolveError::temporary);
    CHECK(error_for("broken") == ResolveError::failed);
    CHECK(error_for("") == ResolveError::not_found);
    CHECK(error_for("host\0.evil"s) == ResolveError::not_found);
    CHECK(error_for(std::string(100'000, 'a')) == ResolveError::not_found);
}

TEST_CASE_METHOD(ResolverFixture, "an answer of a thousand addresses is cut") {
    lookup(1, "huge");
    wait_for(1);
    REQUIRE(results[0].second.has_value());
    CHECK(results[0].second->size() == Resolver::addresses_max);
    CHECK(results[0].second->front() == IpAddress::parse("10.0.0.1").value());
}

TEST_CASE_METHOD(ResolverFixture, "threads exist from the first lookup to stop") {
    REQUIRE(threads_become(1));  // those of the tests before have ended
    lookup(1, "host");
    CHECK(thread_count() == 1 + Resolver::threads);
    wait_for(1);
    resolver->stop();
    CHECK(threads_become(1));
}

TEST_CASE_METHOD(ResolverFixture, "a lookup whose time is over is not begun") {
    resolver->lookup({1, "host", FamilyChoice::any, mono_now()});
    wait_for(1);
    CHECK(results[0].second.error() == ResolveError::temporary);
}

TEST_CASE_METHOD(ResolverFixture, "more lookups than the queue holds are refused, in the loop") {
    let_go = false;
    for (std::uint64_t id = 1; id <= Resolver::lookups_max + 3; ++id) {
        lookup(id, "stuck");
    }
    CHECK(results.empty());  // never from inside lookup()
    wait_for(3);
    for (const auto& [id, result] : results) {
        CHECK(id > Resolver::lookups_max);
        CHECK(result.error() == ResolveError::temporary);
    }
    let_go = true;
    wait_for(Resolver::lookups_max + 3);
    lookup(100, "host");
    wait_for(Resolver::lookups_max + 4);
    CHECK(results.back().second.has_value());
}

TEST_CASE_METHOD(ResolverFixture, "a result already posted is not delivered after stop") {
    lookup(1, "host");
    std::this_thread::sleep_for(50ms);
    resolver->stop();
    lookup(2, "host");
    loop.restart();
    loop.run_for(50ms);
    CHECK(results.empty());
}

TEST_CASE("stuck lookups delay the end by the named patience, and may end after everything else") {
    let_go = false;
    {
        ResolverFixture fixture;
        for (std::uint64_t id = 1; id <= 5; ++id) {
            fixture.lookup(id, "stuck");
        }
        ResolverFixture::wait_inside(2);
        const MonoTime began = mono_now();
        fixture.resolver.reset();
        CHECK(elapsed_since(began) < Resolver::stop_patience + 3s);
    }  // the loop is gone, too
    let_go = true;
    ResolverFixture::wait_inside(0);
    std::this_thread::sleep_for(50ms);  // for the sanitizers to see what the threads do now
}

TEST_CASE("a lookup stuck for ever does not keep the process from ending") {
    // The threads of this one are still there when main returns: the program's end is the test.
    ResolverFixture fixture;
    fixture.lookup(1, "forever");
    ResolverFixture::wait_inside(1);
}
