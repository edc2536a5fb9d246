// The sockets on guests' ports, on the real kernel: a bridge without an address in a namespace of
// the test's own, and guests behind its ports in another one. Needs privileges for namespaces;
// where there are none it says so. All of it vanishes with the process.
#include "probes/io/neighbour_sockets.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/io/system_clock.hpp"
#include "probes/io/descriptor_share.hpp"
#include "tests/probes/neighbour_frame_builder.hpp"
#include "tests/system/file_limit.hpp"

namespace reachd {
namespace {

using namespace std::chrono_literals;
using test::Bytes;
using test::ip;
using test::mac;
using Kind = NeighbourFrame::Kind;

const MacAddress host_mac = mac("52:54:00:00:00:fe");
const MacAddress broadcast = mac("ff:ff:ff:ff:ff:ff");

MacAddress guest_mac(int guest) {
    return mac(fmt::format("52:54:00:00:{:02x}:{:02x}", guest / 256, guest % 256));
}

/// A network namespace, kept by a descriptor; the calling thread is in it once it is made.
class Namespace {
  public:
    Namespace() {
        REQUIRE(unshare(CLONE_NEWNET) == 0);
        fd_ = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        REQUIRE(fd_ >= 0);
    }

    ~Namespace() { close(fd_); }

    Namespace(const Namespace&) = delete;
    Namespace& operator=(const Namespace&) = delete;

    void enter() const { REQUIRE(setns(fd_, CLONE_NEWNET) == 0); }

    /// For "ip link … netns".
    std::string path() const { return fmt::format("/proc/{}/fd/{}", getpid(), fd_); }

  private:
    int fd_ = -1;
};

bool can_make_namespaces() {
    static const bool can = [] {
        const bool made = unshare(CLONE_NEWNET) == 0 && std::system("ip link set lo up") == 0;
        if (!made) {
            std::cerr << "neighbour_sockets_test: no own network namespace (needs CAP_SYS_ADMIN "
                         "and iproute2), skipping\n";
        }
        return made;
    }();
    return can;
}

/// Commands of iproute2, one a line, all at once.
void run_ip(const std::string& commands) {
    REQUIRE(std::system(fmt::format("printf '{}' | ip -batch -", commands).c_str()) == 0);
}

/// The kernel lets traffic through a little after a device is up and has a carrier.
void wait_until_running(std::string_view prefix, int count) {
    const int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const MonoTime end = mono_now() + 5s;
    for (int i = 0; i < count;) {
        ifreq asked{};
        fmt::format_to_n(asked.ifr_name, IFNAMSIZ - 1, "{}{}", prefix, i);
        REQUIRE(ioctl(any, SIOCGIFFLAGS, &asked) == 0);
        if ((asked.ifr_flags & IFF_RUNNING) != 0) {
            ++i;
            continue;
        }
        REQUIRE(mono_now() < end);
        usleep(1000);
    }
    close(any);
}

/// A host with br0 and ports p0, p1 …; behind each a guest: g0, g1 … with 10.1.x.2, fd00::x:2. None
/// speaks by itself: no link-local addresses, no duplicate address detection.
class Lab {
  public:
    explicit Lab(int guests = 1) {
        std::string host =
            "link add br0 type bridge\\nlink set br0 addrgenmode none\\nlink set br0 up\\n";
        std::string inside;
        for (int i = 0; i < guests; ++i) {
            host += fmt::format(
                "link add p{0} type veth peer name g{0} address {1} netns {2}\\n"
                "link set p{0} addrgenmode none\\nlink set p{0} master br0 up\\n",
                i,
                guest_mac(i).to_string(),
                guests_.path());
            inside += fmt::format(
                "link set g{2} addrgenmode none\\naddress add {0}/8 dev g{2}\\naddress add {1}/64 "
                "dev g{2} nodad\\n"
                "link set g{2} up\\n",
                ipv4(i).to_string(),
                ipv6(i).to_string(),
                i);
        }
        host_.enter();
        run_ip(host);
        guests_.enter();
        run_ip(inside);
        wait_until_running("g", guests);
        host_.enter();
        wait_until_running("p", guests);
    }

    static IpAddress ipv4(int guest) { return ip(fmt::format("10.1.{}.2", guest)); }

    static IpAddress ipv6(int guest) { return ip(fmt::format("fd00::{:x}:2", guest + 1)); }

    IfIndex port(int guest) const {
        return IfIndex{if_nametoindex(fmt::format("p{}", guest).c_str())};
    }

    void inside_guests(const std::function<void()>& what) const {
        guests_.enter();
        what();
        host_.enter();
    }

  private:
    Namespace guests_;
    Namespace host_;
};

/// Sends frames as they are, out of a device of the guests.
class FrameWriter {
  public:
    FrameWriter(const Lab& lab, int guest) {
        lab.inside_guests([&] {
            fd_ = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
            sockaddr_ll address{};
            address.sll_family = AF_PACKET;
            address.sll_ifindex =
                static_cast<int>(if_nametoindex(fmt::format("g{}", guest).c_str()));
            REQUIRE(bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
        });
    }

    ~FrameWriter() { close(fd_); }

    FrameWriter(const FrameWriter&) = delete;
    FrameWriter& operator=(const FrameWriter&) = delete;

    void write(const Bytes& frame) const {
        REQUIRE(send(fd_, frame.data(), frame.size(), 0) == static_cast<ssize_t>(frame.size()));
    }

  private:
    int fd_ = -1;
};

struct Heard {
    IfIndex port;
    NeighbourFrame frame;
    std::optional<WallTime> received;
    bool after_stamp = false;  ///< a stamp was told before it
};

class Recorder final : public NeighbourSink {
  public:
    std::vector<std::uint32_t> sent;
    std::vector<FailureReason> not_sent;
    std::size_t skipped = 0;
    std::vector<std::pair<std::uint32_t, WallTime>> stamps;
    std::vector<Heard> heard;
    std::size_t flaws = 0;
    std::size_t overflows = 0;
    std::size_t batches = 0;

    void on_batch(const Instant&) override { ++batches; }

    void on_sent(const SendOrder& order, const Instant&) override {
        sent.push_back(order.token.sequence);
    }

    void on_not_sent(const SendOrder&, FailureReason reason) override {
        not_sent.push_back(reason);
    }

    void on_skipped(const SendOrder&) override { ++skipped; }

    void on_neighbour_stamp(ProbeToken token, WallTime stamp) override {
        CHECK(token.session == 3);
        stamps.emplace_back(token.sequence, stamp);
    }

    void on_neighbour_frame(IfIndex port,
                            PortUse,
                            const NeighbourFrame& frame,
                            std::optional<WallTime> received) override {
        heard.push_back({port, frame, received, !stamps.empty()});
    }

    void on_neighbour_flaw() override { ++flaws; }

    void on_neighbour_overflow(IfIndex, PortUse) override { ++overflows; }

    std::size_t count(Kind kind) const {
        return static_cast<std::size_t>(
            std::count_if(heard.begin(), heard.end(), [kind](const Heard& one) {
                return one.frame.kind == kind;
            }));
    }
};

/// A loop with the sockets, and a sink that drains them when told.
struct World {
    World() { wait(); }

    void wait() {
        sockets.async_wait([this] {
            ++reports;
            static_cast<void>(sockets.drain(seen));
            wait();
        });
    }

    /// Runs the loop until `happened` or for 5 s; whether it happened.
    bool run_until(const std::function<bool()>& happened) {
        const MonoTime end = mono_now() + 5s;
        while (!happened() && mono_now() < end) {
            context.restart();
            context.run_one_for(50ms);
        }
        return happened();
    }

    void run_for(std::chrono::milliseconds time) {
        context.restart();
        context.run_for(time);
    }

    boost::asio::io_context context;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{
        context.get_executor()};
    Recorder seen;
    int reports = 0;
    NeighbourSockets sockets{context};
};

NeighbourRequest ask(const Lab& lab, int guest, const IpAddress& address, std::uint32_t sequence) {
    NeighbourRequest request;
    request.order.token = {3, sequence};
    request.target.device = lab.port(guest);
    request.target.address = address;
    request.target.mac = guest_mac(guest);
    request.target.sender_mac = host_mac;
    if (address.family() == Family::ipv6) {
        request.target.sender = ip("fe80::5054:ff:fe00:fe");
    }
    return request;
}

void send(World& world, const std::vector<NeighbourRequest>& requests) {
    world.sockets.send(requests, world.seen);
}

Bytes arp_frame(int guest, const IpAddress& sender) {
    return test::ethernet(broadcast,
                          guest_mac(guest),
                          0x0806,
                          test::arp(1, guest_mac(guest), sender, MacAddress{}, ip("10.1.0.1")));
}

Bytes udp_frame(int guest, std::size_t from, std::size_t to) {
    return test::ethernet(broadcast,
                          guest_mac(guest),
                          0x0800,
                          test::udp(Lab::ipv4(guest), ip("10.255.255.255"), from, to, Bytes(64)));
}

std::size_t open_descriptors() {
    const std::filesystem::directory_iterator entries("/proc/self/fd");
    return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

/// Both stamps are there, in order, and of this moment.
void check_round_trip(const Recorder& seen, const Instant& before) {
    REQUIRE(seen.stamps.size() == 1);
    REQUIRE(seen.heard.size() == 1);
    const Heard& answer = seen.heard.front();
    REQUIRE(answer.received);
    CHECK(answer.after_stamp);
    CHECK(seen.stamps.front().second >= before.wall);
    CHECK(*answer.received > seen.stamps.front().second);
    CHECK(*answer.received - seen.stamps.front().second < 1s);
}

TEST_CASE("neighbour sockets: a guest answers an ARP probe, stamped both ways") {
    if (!can_make_namespaces()) {
        return;
    }
    const Lab lab;
    World world;
    REQUIRE_FALSE(world.sockets.open_port(lab.port(0), PortUse::guest));
    world.run_for(50ms);  // the kernel begins to stamp a little later than it is told to
    const Instant before = now();
    send(world, {ask(lab, 0, Lab::ipv4(0), 17)});
    CHECK(world.seen.sent == std::vector<std::uint32_t>{17});
    REQUIRE(world.run_until([&] { return !world.seen.heard.empty(); }));
    check_round_trip(world.seen, before);
    CHECK(world.seen.stamps.front().first == 17);
    const Heard& answer = world.seen.heard.front();
    CHECK(answer.port == lab.port(0));
    CHECK(answer.frame.kind == Kind::arp_reply);
    CHECK(answer.frame.mac == guest_mac(0));
    CHECK(answer.frame.address == Lab::ipv4(0));
    CHECK(answer.frame.frame_destination == host_mac);
    CHECK(world.seen.batches == 1);
    CHECK(world.seen.flaws == 0);
}

TEST_CASE("neighbour sockets: a guest answers a solicitation from an address that nobody has") {
    if (!can_make_namespaces()) {
        return;
    }
    const Lab lab;
    World world;
    REQUIRE_FALSE(world.sockets.open_port(lab.port(0), PortUse::guest));
    world.run_for(50ms);
    const Instant before = now();
    send(world, {ask(lab, 0, Lab::ipv6(0), 18)});
    REQUIRE(world.run_until([&] { return world.seen.count(Kind::advertisement) > 0; }));
    check_round_trip(world.seen, before);
    CHECK(world.seen.stamps.front().first == 18);
    const NeighbourFrame& answer = world.seen.heard.front().frame;
    CHECK(answer.solicited);
    CHECK(answer.mac == guest_mac(0));
    CHECK(answer.address == Lab::ipv6(0));
    CHECK(answer.target == ip("fe80::5054:ff:fe00:fe"));
    CHECK(world.seen.flaws == 0);
}

TEST_CASE("neighbour sockets: of several requests to one address each gets its own stamp") {
    if (!can_make_namespaces()) {
        return;
    }
    const Lab lab;
    World world;
    REQUIRE_FALSE(world.sockets.open_port(lab.port(0), PortUse::guest));
    std::vector<NeighbourRequest> requests;
    for (std::uint32_t i = 0; i < 40; ++i) {
        requests.push_back(ask(lab, 0, Lab::ipv4(0), i));
    }
    send(world, requests);
    const bool all = world.run_until([&] { return world.seen.count(Kind::arp_reply) == 40; });
    CAPTURE(world.seen.heard.size(), world.seen.overflows, world.seen.stamps.size(), world.reports);
    REQUIRE(all);
    REQUIRE(world.seen.stamps.size() == 40);
    for (std::uint32_t i = 0; i < 40; ++i) {
        CHECK(world.seen.stamps[i].first == i);
        CHECK((i == 0 || world.seen.stamps[i - 1].second <= world.seen.stamps[i].second));
    }
}

TEST_CASE("neighbour sockets: a stamp that comes late is told, before its answer") {
    if (!can_make_namespaces()) {
        return;
    }
    const Lab lab;
    // A queue that holds all but the first frame back for a while.
    if (std::system("tc qdisc add dev p0 root tbf rate 100kbit burst 100 limit 10000") != 0) {
        WARN("no tc, or no tbf: left out");
        return;
    }
    World world;
    REQUIRE_FALSE(world.sockets.open_port(lab.port(0), PortUse::guest));
    world.run_for(50ms);
    send(
        world,
        {ask(lab, 0, Lab::ipv4(0), 1), ask(lab, 0, Lab::ipv4(0), 2), ask(lab, 0, Lab::ipv4(0), 3)});
    CHECK(world.seen.sent.size() == 3);
    CHECK(world.seen.stamps.size() < 3);
    REQUIRE(world.run_until([&] { return world.seen.heard.size() == 3; }));
    REQUIRE(world.seen.stamps.size() == 3);
    for (std::uint32_t i = 0; i < 3; ++i) {
        CHECK(world.seen.stamps[i].second < *world.seen.heard[i].received);
    }
    CHECK(world.reports < 20);
}

TEST_CASE("neighbour sockets: what a guest says of itself is overheard, and nothing else") {
    if (!can_make_namespaces()) {
        return;
    }
    const Lab lab;
    World world;
    REQUIRE_FALSE(world.sockets.open_port(lab.port(0), PortUse::guest));
    world.run_for(50ms);
    world.seen = {};
    world.reports = 0;
    const FrameWriter guest(lab, 0);
    for (int i = 0; i < 50; ++i) {
        guest.write(udp_frame(0, 40000, 443));
        guest.write(udp_frame(0, 40000, 67));
    }
    world.run_for(50ms);
    CHECK(world.reports == 0);

    const IpAddress claimed = ip("10.1.0.77");
    guest.write(arp_frame(0, claimed));
    guest.write(test::with_tag(arp_frame(0, claimed), 0x6000 | 42));
    guest.write(test::with_tag(test::with_tag(arp_frame(0, claimed), 7), 43));
    guest.write(test::ethernet(
        broadcast, guest_mac(0), 0x0806, test::arp(1, host_mac, claimed, MacAddress{}, claimed)));
    test::DhcpFields fields;
    fields.hardware = guest_mac(0);
    fields.options = {53, 1, 3, 50, 4, 10, 1, 0, 9, 255};
    guest.write(test::ethernet(
        broadcast,
        guest_mac(0),
        0x0800,
        test::udp(ip("0.0.0.0"), ip("255.255.255.255"), 68, 67, test::dhcp(fields))));
    fields.options = {53, 1, 1, 255};
    guest.write(test::ethernet(
        broadcast,
        guest_mac(0),
        0x0800,
        test::udp(ip("0.0.0.0"), ip("255.255.255.255"), 68, 67, test::dhcp(fields))));
    REQUIRE(world.run_until([&] { return world.seen.count(Kind::dhcp_request) == 1; }));
    REQUIRE(world.seen.heard.size() == 4);
    CHECK(world.seen.heard[0].frame.address == claimed);
    CHECK(world.seen.heard[0].frame.vlan == 0);
    CHECK(world.seen.heard[0].received);
    CHECK(world.seen.heard[1].frame.vlan == 42);
    CHECK(world.seen.heard[2].frame.vlan == 43);
    CHECK(world.seen.flaws == 1);  // the ARP in another's name; DHCP's discover is none
    CHECK(world.seen.overflows == 0);
}

TEST_CASE("neighbour sockets: what goes to a guest is not heard") {
    if (!can_make_namespaces()) {
        return;
    }
    const Lab lab(2);
    World world;
    REQUIRE_FALSE(world.sockets.open_port(lab.port(1), PortUse::guest));
    world.run_for(50ms);
    world.seen = {};
    const FrameWriter guest(lab, 0);
    guest.write(arp_frame(0, Lab::ipv4(0)));  // a broadcast: the bridge sends it to guest 1
    world.run_for(50ms);
    CHECK(world.seen.heard.empty());
    REQUIRE_FALSE(world.sockets.open_port(lab.port(0), PortUse::guest));
    guest.write(arp_frame(0, Lab::ipv4(0)));
    CHECK(world.run_until([&] { return world.seen.heard.size() == 1; }));
    CHECK(world.sockets.ports() == 2);
}

TEST_CASE("neighbour sockets: a storm is cut off, told, and leaves the others their turn") {
    if (!can_make_namespaces()) {
        return;
    }
    const Lab lab(2);
    World world;
    REQUIRE_FALSE(world.sockets.open_port(lab.port(0), PortUse::guest));
    REQUIRE_FALSE(world.sockets.open_port(lab.port(1), PortUse::guest));
    world.run_for(50ms);
    world.seen = {};
    world.reports = 0;
    const FrameWriter stormy(lab, 0);
    const FrameWriter quiet(lab, 1);
    for (int i = 0; i < 5000; ++i) {
        stormy.write(arp_frame(0, Lab::ipv4(0)));
    }
    quiet.write(arp_frame(1, Lab::ipv4(1)));
    CHECK(world.sockets.drain(world.seen));
    const auto heard_from = [&](int guest) {
        return std::count_if(
            world.seen.heard.begin(), world.seen.heard.end(), [&](const Heard& one) {
                return one.port == lab.port(guest) && one.frame.kind == Kind::arp_request;
            });
    };
    CHECK(heard_from(0) <= static_cast<int>(NeighbourSockets::frames_per_storm_pause));
    CHECK(heard_from(1) == 1);
    CHECK(world.seen.overflows == 1);

    // The stormy port rests, and gives what is left later.
    const auto read = heard_from(0);
    CHECK(world.sockets.drain(world.seen));
    CHECK(heard_from(0) == read);
    world.run_for(100ms);
    CHECK(heard_from(0) > read);
    CHECK(heard_from(0) < 200);  // the buffer is small
    CHECK(world.reports < 20);
    const std::size_t told = world.seen.overflows;
    const auto heard = heard_from(0);
    stormy.write(arp_frame(0, Lab::ipv4(0)));
    CHECK(world.run_until([&] { return heard_from(0) == heard + 1; }));
    CHECK(world.seen.overflows == told);
}

TEST_CASE("neighbour sockets: many storms together leave time for others, and end by turns") {
    if (!can_make_namespaces()) {
        return;
    }
    constexpr int stormy = 24;
    const Lab lab(stormy + 1);
    World world;
    for (int i = 0; i <= stormy; ++i) {
        REQUIRE_FALSE(world.sockets.open_port(lab.port(i), PortUse::guest));
    }
    world.run_for(50ms);
    world.seen = {};
    std::vector<std::unique_ptr<FrameWriter>> writers;
    for (int i = 0; i <= stormy; ++i) {
        writers.push_back(std::make_unique<FrameWriter>(lab, i));
    }
    const auto storm = [&](int frames) {
        for (int i = 0; i < stormy; ++i) {
            for (int n = 0; n < frames; ++n) {
                writers[static_cast<std::size_t>(i)]->write(arp_frame(i, Lab::ipv4(i)));
            }
        }
    };
    storm(200);
    writers.back()->write(arp_frame(stormy, Lab::ipv4(stormy)));
    const MonoTime began = mono_now();
    CHECK_FALSE(world.sockets.drain(world.seen));  // there is more
    CHECK(world.seen.heard.size() <
          NeighbourSockets::frames_per_drain_max + NeighbourSockets::frames_per_storm_pause);
    for (int drains = 0; drains < 10 && !world.sockets.drain(world.seen); ++drains) {
    }
    std::map<IfIndex, int> heard;
    const auto count = [&] {
        for (const Heard& one : std::exchange(world.seen.heard, {})) {
            ++heard[one.port];
        }
    };
    count();
    CHECK(heard[lab.port(stormy)] == 1);
    for (int i = 0; i < stormy; ++i) {
        CHECK(heard[lab.port(i)] == static_cast<int>(NeighbourSockets::frames_per_storm_pause));
    }
    // From now on all of them together get one turn a spacing.
    heard.clear();
    while (mono_now() - began < 300ms) {
        storm(10);
        world.run_for(1ms);
    }
    count();
    const auto turns = (mono_now() - began) / NeighbourSockets::pause_spacing + 2;
    int frames = 0;
    for (const auto& [port, of_port] : heard) {
        frames += of_port;
    }
    CHECK(frames <= turns * static_cast<int>(NeighbourSockets::frames_per_storm_pause));
    CHECK(heard.size() >= stormy);
}

TEST_CASE("neighbour sockets: a paused port wakes nobody, whatever happens to it") {
    if (!can_make_namespaces()) {
        return;
    }
    constexpr int stormy = 150;  // the last of so many pauses is long
    constexpr int last = stormy - 1;
    constexpr auto frames = NeighbourSockets::frames_per_storm_pause;
    const Lab lab(stormy);
    const bool late_stamps = GENERATE(false, true);
    if (late_stamps &&
        std::system("tc qdisc add dev p149 root tbf rate 100kbit burst 100 limit 10000") != 0) {
        WARN("no tc, or no tbf: left out");
        return;
    }
    World world;
    std::string commands;
    for (int i = 0; i < stormy; ++i) {
        commands += fmt::format("link set p{} nomaster\\n", i);
        REQUIRE_FALSE(world.sockets.open_port(lab.port(i), PortUse::guest));
    }
    run_ip(commands);
    world.run_for(50ms);
    world.seen = {};
    for (int i = 0; i < stormy; ++i) {
        const FrameWriter writer(lab, i);
        for (std::size_t n = 0; n < frames + 6; ++n) {
            writer.write(arp_frame(i, Lab::ipv4(i)));
        }
    }
    for (int drains = 0; drains < stormy && !world.sockets.drain(world.seen); ++drains) {
    }
    const IfIndex port = lab.port(last);
    const auto heard = [&] {
        return std::count_if(world.seen.heard.begin(),
                             world.seen.heard.end(),
                             [port](const Heard& one) { return one.port == port; });
    };
    REQUIRE(heard() == frames);
    if (late_stamps) {
        send(world,
             {ask(lab, last, Lab::ipv4(last), 1),
              ask(lab, last, Lab::ipv4(last), 2),
              ask(lab, last, Lab::ipv4(last), 3)});
    } else {
        run_ip("link set p149 down\\n");
    }
    const MonoTime began = mono_now();
    world.reports = 0;
    while (heard() == frames && mono_now() - began < 50ms) {
        world.run_for(1ms);
    }
    const auto paused = std::chrono::duration_cast<std::chrono::milliseconds>(mono_now() - began);
    REQUIRE(paused > 10ms);
    // The other pauses end, one each 1.25 ms.
    CHECK(world.reports < 20 + 3 * paused.count());
    CHECK(world.seen.stamps.size() == (late_stamps ? 3 : 0));
}

TEST_CASE("neighbour sockets: a gateway answers, and nothing else of its device is heard") {
    if (!can_make_namespaces()) {
        return;
    }
    const Lab lab;
    World world;
    const IfIndex uplink = lab.port(0);
    run_ip("link set p0 nomaster\n");
    REQUIRE_FALSE(world.sockets.open_port(uplink, PortUse::gateway_arp));
    REQUIRE_FALSE(world.sockets.open_port(uplink, PortUse::gateway_nd));
    CHECK(world.sockets.ports() == 2);
    world.run_for(50ms);
    world.seen = {};
    world.reports = 0;
    const FrameWriter router(lab, 0);
    for (int i = 0; i < 20; ++i) {
        router.write(arp_frame(0, Lab::ipv4(0)));
        router.write(udp_frame(0, 68, 67));
    }
    world.run_for(50ms);
    CHECK(world.reports == 0);

    for (const bool known : {true, false}) {
        NeighbourRequest arp = ask(lab, 0, Lab::ipv4(0), 1);
        arp.target.use = PortUse::gateway_arp;
        NeighbourRequest nd = ask(lab, 0, Lab::ipv6(0), 2);
        nd.target.use = PortUse::gateway_nd;
        if (!known) {
            arp.target.mac.reset();
            nd.target.mac.reset();
        }
        world.seen = {};
        const Instant before = now();
        send(world, {arp, nd});
        CHECK(world.seen.sent == std::vector<std::uint32_t>{1, 2});
        REQUIRE(world.run_until([&] {
            return world.seen.count(Kind::arp_reply) + world.seen.count(Kind::advertisement) == 2;
        }));
        REQUIRE(world.seen.stamps.size() == 2);
        for (const Heard& answer : world.seen.heard) {
            CHECK(answer.port == uplink);
            CHECK(answer.frame.mac == guest_mac(0));
            REQUIRE(answer.received);
            CHECK(*answer.received > before.wall);
            CHECK(is_answer_to(answer.frame.kind == Kind::arp_reply ? arp.target : nd.target,
                               answer.frame));
        }
        CHECK(world.seen.flaws == 0);
    }
    // Its own sockets, and its own alone.
    NeighbourRequest as_guest = ask(lab, 0, Lab::ipv4(0), 3);
    send(world, {as_guest});
    CHECK(world.seen.not_sent == std::vector{FailureReason::local_error});
    world.sockets.close_port(uplink, PortUse::gateway_arp);
    CHECK(world.sockets.ports() == 1);
}

TEST_CASE("neighbour sockets: a port that goes down, up, and away") {
    if (!can_make_namespaces()) {
        return;
    }
    const Lab lab(2);
    World world;
    const IfIndex port = lab.port(0);
    const NeighbourRequest request = ask(lab, 0, Lab::ipv4(0), 1);
    send(world, {request});
    CHECK(world.seen.not_sent == std::vector{FailureReason::local_error});  // not open
    REQUIRE_FALSE(world.sockets.open_port(port, PortUse::guest));

    run_ip("link set p0 down\\n");
    world.run_for(50ms);
    world.reports = 0;
    world.seen = {};
    world.run_for(100ms);
    CHECK(world.reports <= 1);
    send(world, {request});
    CHECK(world.seen.not_sent == std::vector{FailureReason::local_error});

    // Down and up again in between, and nobody drained: no failure of the next request.
    run_ip("link set p0 up\\n");
    world.run_for(50ms);
    run_ip("link set p0 down\\nlink set p0 up\\n");
    world.seen = {};
    send(world, {request});
    CHECK(world.seen.not_sent.empty());
    CHECK(world.run_until([&] {
        send(world, {request});  // the guest's side needs up to a second to notice
        return world.seen.count(Kind::arp_reply) > 0;
    }));

    run_ip("link del p0\\n");
    world.run_for(50ms);
    world.reports = 0;
    world.seen = {};
    world.run_for(100ms);
    CHECK(world.reports <= 1);
    send(world, {request});
    CHECK(world.seen.not_sent == std::vector{FailureReason::local_error});
    CHECK(world.sockets.open_port(port, PortUse::guest) == std::errc::no_such_device);
    CHECK(world.sockets.ports() == 0);
    CHECK(world.sockets.open_port(IfIndex::any, PortUse::guest) == std::errc::no_such_device);
}

TEST_CASE("neighbour sockets: an index that another device has now") {
    if (!can_make_namespaces()) {
        return;
    }
    const Lab lab(2);
    World world;
    const auto port = static_cast<unsigned>(lab.port(0));
    REQUIRE_FALSE(world.sockets.open_port(lab.port(0), PortUse::guest));
    run_ip(
        fmt::format("link del p0\\nlink add p0 index {} type veth peer name x\\n"
                    "link set p0 up\\nlink set x up\\n",
                    port));
    REQUIRE(static_cast<unsigned>(lab.port(0)) == port);
    // Nobody has opened this one: nothing may go out there.
    send(world, {ask(lab, 0, Lab::ipv4(0), 1)});
    CHECK(world.seen.not_sent.size() == 1);
    REQUIRE_FALSE(world.sockets.open_port(lab.port(0), PortUse::guest));
    CHECK(world.sockets.ports() == 1);
    send(world, {ask(lab, 0, Lab::ipv4(0), 2)});
    CHECK(world.seen.sent == std::vector<std::uint32_t>{2});
}

TEST_CASE("neighbour sockets: a device without Ethernet is refused") {
    if (!can_make_namespaces()) {
        return;
    }
    const Lab lab;
    World world;
    CHECK(world.sockets.open_port(IfIndex{if_nametoindex("lo")}, PortUse::guest) ==
          std::errc::protocol_not_supported);
}

/// A tap whose guest reads nothing. Frames pile up in it until it is full.
class DeafTap {
  public:
    DeafTap() : fd_(open("/dev/net/tun", O_RDWR | O_CLOEXEC)) {
        if (fd_ >= 0) {
            ifreq wanted{};
            std::copy_n("tap0", 5, wanted.ifr_name);
            wanted.ifr_flags = IFF_TAP | IFF_NO_PI;
            REQUIRE(ioctl(fd_, TUNSETIFF, &wanted) == 0);
            run_ip("link set tap0 addrgenmode none\\nlink set tap0 up\\n");
        }
    }

    ~DeafTap() {
        if (fd_ >= 0) {
            close(fd_);
        }
    }

    DeafTap(const DeafTap&) = delete;
    DeafTap& operator=(const DeafTap&) = delete;

    bool exists() const { return fd_ >= 0; }

  private:
    int fd_;
};

TEST_CASE("neighbour sockets: a guest that takes no frames any more was asked all the same") {
    if (!can_make_namespaces()) {
        return;
    }
    const Lab lab;
    const DeafTap tap;
    const bool without_queue = GENERATE(false, true);
    if (!tap.exists() ||
        (without_queue && std::system("tc qdisc replace dev tap0 root noqueue") != 0)) {
        WARN("no tap, or no tc: left out");
        return;
    }
    World world;
    const IfIndex port{if_nametoindex("tap0")};
    REQUIRE_FALSE(world.sockets.open_port(port, PortUse::guest));
    NeighbourRequest request = ask(lab, 0, Lab::ipv4(0), 1);
    request.target.device = port;
    for (int i = 0; i < 3000; ++i) {
        send(world, {request});
    }
    CHECK(world.seen.not_sent.empty());
    CHECK(world.seen.skipped == 0);
    CHECK(world.seen.sent.size() == 3000);
}

TEST_CASE("neighbour sockets: ports take their share of the descriptors, and no more") {
    if (!can_make_namespaces()) {
        return;
    }
    constexpr std::size_t files = 520;
    constexpr std::size_t share = (files - descriptors_spared) / 2;
    const Lab lab(share / 3 + 1);
    const test::FileLimit limit(files);
    World world;
    std::error_code error;
    for (int i = 0; !error && i <= static_cast<int>(share) / 3; ++i) {
        for (const PortUse use : {PortUse::guest, PortUse::gateway_arp, PortUse::gateway_nd}) {
            error = error ? error : world.sockets.open_port(lab.port(i), use);
        }
    }
    CHECK(error == std::errc::too_many_files_open);
    CHECK(world.sockets.ports() == share);
}

TEST_CASE("neighbour sockets: two hundred ports, no descriptor left behind") {
    if (!can_make_namespaces()) {
        return;
    }
    constexpr int count = 200;
    const Lab lab(count);
    const std::size_t before = open_descriptors();
    {
        World world;
        for (int i = 0; i < count; ++i) {
            REQUIRE_FALSE(world.sockets.open_port(lab.port(i), PortUse::guest));
            REQUIRE_FALSE(world.sockets.open_port(lab.port(i), PortUse::guest));  // the same again
        }
        CHECK(world.sockets.ports() == count);
        std::vector<NeighbourRequest> requests;
        for (int i = 0; i < count; ++i) {
            requests.push_back(ask(lab, i, Lab::ipv4(i), static_cast<std::uint32_t>(i)));
        }
        send(world, requests);
        CHECK(world.seen.sent.size() == count);
        CHECK(world.run_until([&] { return world.seen.count(Kind::arp_reply) == count; }));
        CHECK(world.seen.stamps.size() == count);
        CHECK(world.seen.overflows == 0);
        // One by one in this thread it would be 13 ms each.
        const MonoTime began = mono_now();
        for (int i = 0; i < 10; ++i) {
            world.sockets.close_port(lab.port(i), PortUse::guest);
        }
        CHECK(mono_now() - began < 30ms);
        CHECK(world.sockets.ports() == count - 10);
        world.sockets.close();
        CHECK(world.sockets.ports() == 0);
        CHECK(mono_now() - began < 1s);
    }
    CHECK(open_descriptors() == before);
}

}  // namespace
}  // namespace reachd
