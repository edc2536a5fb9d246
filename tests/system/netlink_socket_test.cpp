// The rtnetlink socket on the real kernel, without privileges and without changing anything: dumps
// of what is there, events that pile up, and losses. Events come from addresses of loopback in a
// network namespace of the test's own, which needs privileges: where there are none, it says so.
#include "agent/io/netlink_socket.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>

#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace reachd {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr int loopback_index = 1;

/// How often a thread came back from waiting, see epoll_wait below.
std::atomic<int> wake_ups{0};

/// Every test that makes events: in a namespace where nobody else makes any.
bool enter_own_namespace() {
    static const bool entered = unshare(CLONE_NEWNET) == 0;
    if (!entered) {
        std::cerr << "netlink_socket_test: no own network namespace (needs CAP_SYS_ADMIN), "
                     "skipping the tests with events\n";
    }
    return entered;
}

/// Counts, and takes the headers of the messages.
struct Recorder final : NetlinkSink {
    std::size_t datagrams = 0;
    std::size_t bytes = 0;
    std::size_t overruns = 0;
    std::size_t truncated = 0;
    bool done = false;
    std::vector<std::uint16_t> types;

    void on_datagram(ByteView datagram) override {
        ++datagrams;
        bytes += datagram.size();
        while (datagram.size() >= sizeof(nlmsghdr)) {
            nlmsghdr header{};
            std::memcpy(&header, datagram.data(), sizeof header);
            REQUIRE(header.nlmsg_len >= sizeof header);
            types.push_back(header.nlmsg_type);
            done = done || header.nlmsg_type == NLMSG_DONE;
            const std::size_t step = NLMSG_ALIGN(header.nlmsg_len);
            datagram = step >= datagram.size() ? ByteView{} : datagram.subspan(step);
        }
    }

    void on_overrun() override { ++overruns; }

    void on_truncated() override { ++truncated; }

    std::size_t count(std::uint16_t type) const {
        return static_cast<std::size_t>(std::count(types.begin(), types.end(), type));
    }
};

/// Makes events: each call adds or removes 127.0.1.NUMBER/32, one message of RTNLGRP_IPV4_IFADDR.
class EventMaker {
  public:
    EventMaker() : fd_(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)) {
        REQUIRE(fd_ >= 0);
        change_link_up();
    }

    ~EventMaker() {
        CHECK(failures_ == 0);
        close(fd_);
    }

    EventMaker(const EventMaker&) = delete;
    EventMaker& operator=(const EventMaker&) = delete;

    /// Each makes one address message and, as loopback is up, one of the local route.
    void add(std::uint8_t number) { change(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, number); }

    void remove(std::uint8_t number) { change(RTM_DELADDR, 0, number); }

  private:
    struct Request {
        nlmsghdr header{};
        ifaddrmsg address{};
        rtattr attribute{};
        std::array<std::uint8_t, 4> bytes{};
    };

    struct LinkRequest {
        nlmsghdr header{};
        ifinfomsg link{};
    };

    void change(std::uint16_t type, int flags, std::uint8_t number) {
        Request request;
        request.header.nlmsg_len = sizeof request;
        request.header.nlmsg_type = type;
        request.header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
        request.address.ifa_family = AF_INET;
        request.address.ifa_prefixlen = 32;
        request.address.ifa_index = loopback_index;
        request.attribute.rta_len = RTA_LENGTH(4);
        request.attribute.rta_type = IFA_LOCAL;
        request.bytes = {127, 0, 1, number};
        talk(&request, sizeof request);
    }

    void change_link_up() {
        LinkRequest request;
        request.header.nlmsg_len = sizeof request;
        request.header.nlmsg_type = RTM_NEWLINK;
        request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
        request.link.ifi_index = loopback_index;
        request.link.ifi_flags = 1;  // IFF_UP
        request.link.ifi_change = 1;
        talk(&request, sizeof request);
    }

    void talk(const void* request, std::size_t size) {
        std::array<std::uint8_t, 1024> answer{};
        nlmsgerr outcome{};
        outcome.error = -EIO;
        if (send(fd_, request, size, 0) == static_cast<ssize_t>(size) &&
            recv(fd_, answer.data(), answer.size(), 0) >=
                static_cast<ssize_t>(NLMSG_LENGTH(sizeof outcome))) {
            std::memcpy(&outcome, answer.data() + NLMSG_HDRLEN, sizeof outcome);
        }
        failures_ += outcome.error != 0 ? 1 : 0;
    }

    int fd_;
    int failures_ = 0;  ///< not checked at once: another thread may be at work
};

/// A loop with the socket, and a sink that drains it when told.
struct World {
    explicit World(int receive_buffer = NetlinkSocket::receive_buffer_wanted_bytes,
                   bool drains = true)
        : socket(
              context,
              [this, drains] {
                  ++reports;
                  last_report = Clock::now();
                  if (drains) {
                      CHECK_FALSE(socket.drain(sink));
                  }
              },
              receive_buffer) {}

    /// Runs the loop until `happened` or for 10 s; whether it happened.
    bool run_until(const std::function<bool()>& happened) {
        const auto end = Clock::now() + 10s;
        while (!happened() && Clock::now() < end) {
            context.restart();
            context.run_one_for(100ms);
        }
        return happened();
    }

    void run_for(std::chrono::milliseconds time) {
        context.restart();
        context.run_for(time);
    }

    boost::asio::io_context context;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{
        context.get_executor()};  // the loop waits, also while nothing of the socket is pending
    Recorder sink;
    int reports = 0;
    Clock::time_point last_report{};
    NetlinkSocket socket;
};

}  // namespace
}  // namespace reachd

/// Takes the place of the C library's: counts the calls that may wait.
extern "C" int epoll_wait(int epoll, epoll_event* events, int most, int timeout) {
    const auto count = syscall(SYS_epoll_pwait, epoll, events, most, timeout, nullptr, 0);
    reachd::wake_ups += timeout != 0 ? 1 : 0;
    return static_cast<int>(count);
}

namespace reachd {

TEST_CASE("a dump is read to its end") {
    World world;
    REQUIRE_FALSE(world.socket.request({7, DumpKind::links}));
    REQUIRE(world.run_until([&] { return world.sink.done; }));
    CHECK(world.socket.caught_up());
    CHECK(world.sink.count(RTM_NEWLINK) >= 1);  // loopback at least
    CHECK(world.sink.overruns == 0);
}

TEST_CASE("one dump after another works on the same socket") {
    World world;
    for (const DumpKind kind : {DumpKind::links,
                                DumpKind::addresses,
                                DumpKind::neighbours,
                                DumpKind::fdb,
                                DumpKind::ipv4_routes,
                                DumpKind::ipv6_routes}) {
        world.sink = {};
        REQUIRE_FALSE(world.socket.request({8, kind}));
        INFO(to_text(kind));
        CHECK(
            world.run_until([&] { return world.sink.done || world.sink.count(NLMSG_ERROR) > 0; }));
    }
}

TEST_CASE("an idle socket reports nothing and costs no wake-up") {
    if (!enter_own_namespace()) {
        return;
    }
    World world;
    world.run_for(1ms);
    wake_ups = 0;
    world.run_for(300ms);
    CHECK(world.reports == 0);
    CHECK(wake_ups <= 2);  // of run_for itself
}

TEST_CASE("events pile up, are reported once, and wake nobody meanwhile") {
    if (!enter_own_namespace()) {
        return;
    }
    World world;
    if (world.socket.receive_buffer_bytes() < NetlinkSocket::pile_up_buffer_bytes_min) {
        WARN("no large receive buffer here");
        return;
    }
    EventMaker events;
    world.run_for(50ms);  // what the maker itself has caused
    world.sink = {};
    world.reports = 0;
    const auto began = Clock::now();
    events.add(1);
    REQUIRE(world.run_until([&] { return world.reports > 0; }));
    CHECK(world.last_report - began >= NetlinkSocket::pile_up_time);
    CHECK(world.sink.count(RTM_NEWADDR) == 1);

    // The watch is armed again: a second burst is seen too, as one.
    for (int i = 2; i < 50; ++i) {
        events.add(static_cast<std::uint8_t>(i));
    }
    REQUIRE(world.run_until([&] { return world.sink.count(RTM_NEWADDR) == 49; }));
    world.run_for(50ms);
    CHECK(world.reports <= 2 + (Clock::now() - began) / NetlinkSocket::pile_up_time);
    CHECK(world.reports < 40);
    for (int i = 1; i < 50; ++i) {
        events.remove(static_cast<std::uint8_t>(i));
    }
    CHECK(world.run_until([&] { return world.sink.count(RTM_DELADDR) == 49; }));
}

TEST_CASE("messages wake nobody between a report and the drain") {
    if (!enter_own_namespace()) {
        return;
    }
    World world(NetlinkSocket::receive_buffer_wanted_bytes, false);
    EventMaker events;
    REQUIRE(world.run_until([&] {
        events.add(1);
        return world.reports > 0;
    }));
    wake_ups = 0;
    std::thread storm([&events] {
        for (int i = 0; i < 100; ++i) {
            events.add(static_cast<std::uint8_t>(i));
            std::this_thread::sleep_for(500us);
        }
    });
    world.run_for(150ms);
    const int seen = wake_ups;
    storm.join();
    CHECK(seen <= 2);
    CHECK(world.reports == 1);

    CHECK_FALSE(world.socket.caught_up());
    REQUIRE_FALSE(world.socket.drain(world.sink));
    CHECK(world.socket.caught_up());
    CHECK(world.sink.count(RTM_NEWADDR) >= 100);
    events.remove(1);
    CHECK(world.run_until([&] { return world.reports == 2; }));
}

TEST_CASE("draining early, again and with nothing there does no harm") {
    if (!enter_own_namespace()) {
        return;
    }
    World world;
    EventMaker events;
    REQUIRE_FALSE(world.socket.drain(world.sink));
    events.add(1);
    world.context.restart();
    world.context.poll();  // piling up by now
    REQUIRE_FALSE(world.socket.drain(world.sink));
    CHECK(world.sink.count(RTM_NEWADDR) == 1);
    REQUIRE_FALSE(world.socket.drain(world.sink));
    world.run_for(40ms);
    world.sink = {};
    events.add(2);
    CHECK(world.run_until([&] { return world.sink.count(RTM_NEWADDR) == 1; }));
}

TEST_CASE("events before a request come before its answer, those after it are not lost") {
    if (!enter_own_namespace()) {
        return;
    }
    World world;
    EventMaker events;
    world.run_for(50ms);
    world.sink = {};
    events.add(1);
    world.context.restart();
    world.context.poll();  // piling up by now
    REQUIRE_FALSE(world.socket.request({9, DumpKind::links}));
    for (std::uint8_t i = 2; i < 50; ++i) {
        events.add(i);
    }
    REQUIRE(
        world.run_until([&] { return world.sink.done && world.sink.count(RTM_NEWADDR) == 49; }));
    const auto& types = world.sink.types;
    CHECK(std::find(types.begin(), types.end(), RTM_NEWADDR) <
          std::find(types.begin(), types.end(), RTM_NEWLINK));
    events.remove(1);
    CHECK(world.run_until([&] { return world.sink.count(RTM_DELADDR) == 1; }));
}

TEST_CASE("one dump at a time; statistics do not count as one") {
    World world;
    REQUIRE_FALSE(world.socket.request({1, DumpKind::links}));
    CHECK(world.socket.request({2, DumpKind::links}) == std::errc::device_or_resource_busy);
    CHECK_FALSE(world.socket.caught_up());
    REQUIRE_FALSE(world.socket.request({3, DumpKind::statistics}));
    CHECK(world.socket.request({4, DumpKind::statistics}) == std::errc::device_or_resource_busy);
    CHECK(world.run_until(
        [&] { return world.sink.count(NLMSG_DONE) + world.sink.count(NLMSG_ERROR) == 2; }));
    CHECK(world.sink.count(RTM_NEWSTATS) >= 1);
    REQUIRE_FALSE(world.socket.request({5, DumpKind::links}));
    REQUIRE_FALSE(world.socket.request({6, DumpKind::statistics}));
    CHECK(world.run_until(
        [&] { return world.sink.count(NLMSG_DONE) + world.sink.count(NLMSG_ERROR) == 4; }));
}

TEST_CASE("draining while a dump is being read takes nothing from it") {
    World world;
    REQUIRE_FALSE(world.socket.request({1, DumpKind::links}));
    for (int i = 0; i < 100; ++i) {
        REQUIRE_FALSE(world.socket.drain(world.sink));
    }
    CHECK(world.run_until([&] { return world.sink.done; }));
    CHECK(world.sink.count(RTM_NEWLINK) >= 1);
}

TEST_CASE("it can go while a dump is being read") {
    for (int i = 0; i < 20; ++i) {
        World world;
        REQUIRE_FALSE(world.socket.request({1, DumpKind::links}));
        REQUIRE_FALSE(world.socket.request({1, DumpKind::statistics}));
        if (i % 2 == 1) {
            world.context.poll();
        }
    }
}

TEST_CASE("a drain takes a bounded part, the rest follows without delay and loss") {
    if (!enter_own_namespace()) {
        return;
    }
    World world(NetlinkSocket::receive_buffer_wanted_bytes, false);
    if (world.socket.receive_buffer_bytes() < NetlinkSocket::pile_up_buffer_bytes_min) {
        WARN("no large receive buffer here");
        return;
    }
    EventMaker events;
    constexpr std::size_t rounds = 3000;
    for (std::size_t i = 0; i < rounds; ++i) {
        events.add(200);
        events.remove(200);
    }
    std::size_t drains = 0;
    std::size_t most = 0;
    for (std::size_t before = 0; world.sink.count(RTM_DELADDR) < rounds && drains < 1000;
         ++drains) {
        REQUIRE_FALSE(world.socket.drain(world.sink));
        most = std::max(most, world.sink.bytes - before);
        before = world.sink.bytes;
    }
    CHECK(world.sink.overruns == 0);
    CHECK(world.sink.count(RTM_NEWADDR) == rounds);
    CHECK(drains > 1);
    CHECK(most < NetlinkSocket::event_bytes_per_drain + NetlinkBatch::datagram_bytes_max);
    // The drain before the last left something and asked for another, by then without need.
    world.context.restart();
    world.context.poll();
    CHECK(world.reports <= 1);
}

TEST_CASE("a small buffer is read without delay, and its overrun is told once it is full") {
    if (!enter_own_namespace()) {
        return;
    }
    World world(4096);
    REQUIRE(world.socket.receive_buffer_bytes() < NetlinkSocket::pile_up_buffer_bytes_min);
    EventMaker events;
    world.run_for(20ms);
    world.sink = {};
    events.add(1);
    world.context.restart();
    world.context.poll();
    CHECK(world.sink.count(RTM_NEWADDR) == 1);
    CHECK(world.sink.overruns == 0);

    for (int i = 0; i < 200; ++i) {
        events.add(2);
        events.remove(2);
    }
    CHECK(world.run_until([&] { return world.sink.overruns > 0; }));
    world.sink = {};
    events.add(3);
    CHECK(world.run_until([&] { return world.sink.count(RTM_NEWADDR) == 1; }));  // it lives on
}

TEST_CASE("datagrams of other processes are not the kernel's word") {
    if (!enter_own_namespace()) {
        return;
    }
    World world;
    // The address of libnl's socket is its port: the process, unless that is taken.
    const int forger = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    REQUIRE(forger >= 0);
    nlmsghdr forged{};
    forged.nlmsg_len = sizeof forged;
    forged.nlmsg_type = NLMSG_DONE;
    sockaddr_nl everyone{};
    everyone.nl_family = AF_NETLINK;
    everyone.nl_groups = 1U << (RTNLGRP_LINK - 1);  // multicast: needs CAP_NET_ADMIN
    const auto sent = sendto(forger,
                             &forged,
                             sizeof forged,
                             0,
                             reinterpret_cast<const sockaddr*>(&everyone),
                             sizeof everyone);
    close(forger);
    if (sent < 0) {
        WARN("cannot send to a netlink group here");
        return;
    }
    CHECK(world.run_until([&] { return world.reports > 0; }));
    CHECK(world.sink.datagrams == 0);
}

}  // namespace reachd
