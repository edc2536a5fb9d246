// The sockets of path MTU probing on the real kernel: in a network namespace of the test's own,
// with a peer behind a bridge and another behind a router, each in a namespace that is gone with
// the test. Needs privileges and iproute2: says so aloud where they are missing.
#include "probes/io/path_mtu_sockets.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>

#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probes/io/socket_address.hpp"
#include "probes/io/socket_option.hpp"
#include "tests/probes/icmp_packet_builder.hpp"

namespace reachd {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::uint16_t our_identifier = 0x7a31;
constexpr std::uint16_t closed_port = 33'500;

bool run(const std::string& command) {
    // NOLINTNEXTLINE(concurrency-mt-unsafe,cert-env33-c): one thread, and words of our own.
    return std::system(("{ " + command + "; } 2>/dev/null").c_str()) == 0;
}

IpAddress address(const char* text) {
    return *IpAddress::parse(text);
}

/// A process that does nothing in a network namespace of its own. Dies with us.
class Namespace {
  public:
    Namespace() {
        std::array<int, 2> ready{};
        if (pipe(ready.data()) != 0) {
            return;
        }
        process_ = fork();
        if (process_ == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            const char answer = unshare(CLONE_NEWNET) == 0 ? 'y' : 'n';
            static_cast<void>(!write(ready[1], &answer, 1));
            while (answer == 'y') {
                pause();
            }
            _exit(1);
        }
        char answer = 'n';
        static_cast<void>(!read(ready[0], &answer, 1));
        ::close(ready[0]);
        ::close(ready[1]);
        usable_ = answer == 'y';
    }

    ~Namespace() {
        if (process_ > 0) {
            kill(process_, SIGKILL);
            waitpid(process_, nullptr, 0);
        }
    }

    Namespace(const Namespace&) = delete;
    Namespace& operator=(const Namespace&) = delete;

    bool usable() const { return usable_; }

    std::string pid() const { return std::to_string(process_); }

    bool run_in(const std::string& commands) const {
        return run("nsenter --net=/proc/" + pid() + "/ns/net sh -ec '" + commands + "'");
    }

    /// Made there, and of that namespace for as long as it lives.
    int open_socket(int domain, int type, int protocol) const {
        const int ours = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        const int theirs = open(("/proc/" + pid() + "/ns/net").c_str(), O_RDONLY | O_CLOEXEC);
        const bool entered = setns(theirs, CLONE_NEWNET) == 0;
        const int fd = entered ? socket(domain, type | SOCK_CLOEXEC, protocol) : -1;
        REQUIRE((!entered || setns(ours, CLONE_NEWNET) == 0));
        ::close(ours);
        ::close(theirs);
        return fd;
    }

  private:
    pid_t process_ = -1;
    bool usable_ = false;
};

/// Ours: v0 10.8.0.1 fd08::1, and w0 10.9.0.1 fd09::1. A switch with the ports s0 (to v0) and s1;
/// the peer behind it, p0 10.8.0.2 fd08::2. A router at 10.9.0.2 fd09::2, whose other side has an
/// MTU of 1400, and behind it the far peer, 10.10.0.2 fd0a::2. All else has 9000.
class Network {
  public:
    Network() {
        usable_ = unshare(CLONE_NEWNET) == 0 && bridge_.usable() && peer_.usable() &&
                  router_.usable() && far_.usable() && make_links() && set_up() && wait_for_peers();
    }

    bool usable() const { return usable_; }

    const Namespace& peer() const { return peer_; }

    bool set_bridge_port(int mtu) const {
        return bridge_.run_in("ip link set s1 mtu " + std::to_string(mtu));
    }

    bool set_peer(int mtu) const {
        return peer_.run_in("ip link set p0 mtu " + std::to_string(mtu));
    }

  private:
    bool make_links() const {
        return run("ip link set lo up") &&
               run("ip link add v0 mtu 9000 type veth peer name s0 mtu 9000 netns " +
                   bridge_.pid()) &&
               run("ip link add w0 mtu 9000 type veth peer name r0 mtu 9000 netns " +
                   router_.pid()) &&
               bridge_.run_in(
                   "ip link add br0 type bridge; ip link add s1 mtu 9000 type veth peer "
                   "name p0 mtu 9000 netns " +
                   peer_.pid() +
                   ";"
                   "for port in s0 s1; do ip link set $port master br0 up; done;"
                   "ip link set br0 up mtu 9000") &&
               router_.run_in("ip link add x0 mtu 1400 type veth peer name x1 mtu 1400 netns " +
                              far_.pid());
    }

    bool set_up() const {
        const std::string no_limit =
            "echo 0 > /proc/sys/net/ipv4/icmp_ratelimit;"
            "echo 0 > /proc/sys/net/ipv6/icmp/ratelimit;";
        return peer_.run_in(no_limit +
                            "ip address add 10.8.0.2/24 dev p0;"
                            "ip address add fd08::2/64 dev p0 nodad; ip link set p0 up") &&
               router_.run_in(
                   no_limit +
                   "echo 1 > /proc/sys/net/ipv4/ip_forward;"
                   "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding;"
                   "ip address add 10.9.0.2/24 dev r0; ip address add 10.10.0.1/24 dev x0;"
                   "ip address add fd09::2/64 dev r0 nodad;"
                   "ip address add fd0a::1/64 dev x0 nodad;"
                   "ip link set r0 up; ip link set x0 up") &&
               far_.run_in(no_limit +
                           "ip address add 10.10.0.2/24 dev x1;"
                           "ip address add fd0a::2/64 dev x1 nodad; ip link set x1 up;"
                           "ip route add default via 10.10.0.1;"
                           "ip -6 route add default via fd0a::1") &&
               run("ip address add 10.8.0.1/24 dev v0 && ip address add 10.8.0.11/24 dev v0 &&"
                   "ip address add fd08::1/64 dev v0 nodad && ip link set v0 up &&"
                   "ip address add 10.9.0.1/24 dev w0 && ip address add fd09::1/64 dev w0 nodad &&"
                   "ip link set w0 up && ip route add 10.10.0.0/24 via 10.9.0.2 &&"
                   "ip -6 route add fd0a::/64 via fd09::2");
    }

    /// IPv6 needs a while after a link has come up.
    static bool wait_for_peers() {
        for (const char* peer : {"10.8.0.2", "10.10.0.2", "fd08::2", "fd0a::2"}) {
            const std::string ping = std::string("ping -n -c 1 -W 1 ") + peer + " >/dev/null";
            if (!run("for i in 1 2 3 4 5 6 7 8 9 10; do " + ping +
                     " && exit 0; sleep 0.2; done; exit 1")) {
                return false;
            }
        }
        return true;
    }

    Namespace bridge_;
    Namespace peer_;
    Namespace router_;
    Namespace far_;
    bool usable_ = false;
};

/// Null, and said so: there is none to be had.
const Network* network() {
    static const Network made;
    static const bool told = [] {
        if (!made.usable()) {
            std::cerr << "path_mtu_sockets_test: no own network namespaces (needs CAP_SYS_ADMIN, "
                         "CAP_NET_ADMIN and iproute2), SKIPPED\n";
        }
        return true;
    }();
    return told && made.usable() ? &made : nullptr;
}

struct Reply {
    IpAddress from;
    std::uint32_t sequence = 0;
    std::uint32_t bytes = 0;
    std::uint32_t fragment = 0;
};

struct EchoTrouble {
    IpAddress reporter;
    EchoError error;
};

struct DatagramTrouble {
    IpAddress reporter;
    IpAddress destination;
    std::uint16_t port = 0;
    FailureReason reason = FailureReason::timeout;
    std::uint32_t mtu = 0;
};

class Recorder final : public PathMtuSink {
  public:
    std::size_t sent = 0;
    std::size_t not_sent = 0;
    std::vector<std::uint32_t> device_mtus;
    std::vector<Reply> replies;
    std::vector<EchoTrouble> echo_errors;
    std::vector<DatagramTrouble> datagram_errors;
    std::size_t flaws = 0;
    std::size_t overflows = 0;
    std::size_t batches = 0;

    void on_batch(const Instant&) override { ++batches; }

    void on_mtu_sent(const MtuOrder&, const Instant&) override { ++sent; }

    void on_mtu_not_sent(const MtuOrder&) override { ++not_sent; }

    void on_mtu_too_big_for_device(const MtuOrder&, std::uint32_t mtu) override {
        device_mtus.push_back(mtu);
    }

    void on_mtu_reply(const IpAddress& from,
                      const EchoReply& reply,
                      std::uint32_t bytes,
                      std::uint32_t fragment) override {
        CHECK(batches > 0);
        CHECK(reply.sequence == static_cast<std::uint16_t>(reply.cookie.token.sequence));
        replies.push_back({from, reply.cookie.token.sequence, bytes, fragment});
    }

    void on_mtu_echo_error(const IpAddress& reporter, const EchoError& error) override {
        echo_errors.push_back({reporter, error});
    }

    void on_mtu_datagram_error(const IpAddress& reporter,
                               const IpAddress& destination,
                               std::uint16_t port,
                               FailureReason reason,
                               std::uint32_t mtu) override {
        datagram_errors.push_back({reporter, destination, port, reason, mtu});
    }

    void on_mtu_flaw(PacketFlaw) override { ++flaws; }

    void on_mtu_overflow() override { ++overflows; }

    std::size_t told() const {
        return replies.size() + echo_errors.size() + datagram_errors.size() + flaws;
    }
};

/// The sockets of a family and what they told; each request gets the next sequence number.
class Prober {
  public:
    explicit Prober(Family family) {
        auto opened = PathMtuSockets::open(context_, family, our_identifier);
        if (!opened) {
            FAIL("no sockets: " << opened.error().message());
        }
        sockets_ = std::move(*opened);
    }

    Recorder seen;
    std::size_t wake_ups = 0;

    PathMtuSockets& sockets() { return *sockets_; }

    std::uint32_t send(const char* destination,
                       MtuForm form,
                       std::uint32_t bytes,
                       const EchoTarget& options = {}) {
        MtuRequest request;
        request.order.token = {5, ++sequence_};
        request.order.packet = {form, bytes};
        request.order.port = closed_port;
        request.target = options;
        request.target.destination = address(destination);
        request.cookie = {0x1122334455667788U * sequence_, {5, sequence_}};
        const std::size_t before = seen.sent + seen.not_sent + seen.device_mtus.size();
        sockets_->send({&request, 1}, seen);
        CHECK(seen.sent + seen.not_sent + seen.device_mtus.size() == before + 1);
        return sequence_;
    }

    /// By readiness alone. True: as many things were told, in time.
    bool wait(std::size_t told, Clock::duration time = 2s) {
        const auto end = Clock::now() + time;
        while (seen.told() < told && Clock::now() < end) {
            sockets_->async_wait([this] {
                ++wake_ups;
                static_cast<void>(sockets_->drain(seen));
            });
            context_.restart();
            context_.run_for(end - Clock::now());
        }
        return seen.told() >= told;
    }

    /// Nothing more comes of what was sent.
    bool silent() { return !wait(seen.told() + 1, 200ms); }

  private:
    boost::asio::io_context context_{1};
    std::unique_ptr<PathMtuSockets> sockets_;
    std::uint32_t sequence_ = 0x2fffe;
};

struct Addresses {
    Family family;
    const char* ours;
    const char* peer;
    const char* router;
    const char* far;
    std::uint32_t small;  ///< bytes
};

Addresses either_family() {
    return GENERATE(Addresses{Family::ipv4, "10.8.0.1", "10.8.0.2", "10.9.0.2", "10.10.0.2", 84},
                    Addresses{Family::ipv6, "fd08::1", "fd08::2", "fd09::2", "fd0a::2", 104});
}

/// The MTUs are as before at its end.
class ChangedMtus {
  public:
    ChangedMtus(int bridge_port, int peer) {
        REQUIRE(network()->set_peer(peer));
        REQUIRE(network()->set_bridge_port(bridge_port));
    }

    ~ChangedMtus() {
        network()->set_bridge_port(9000);
        network()->set_peer(9000);
    }

    ChangedMtus(const ChangedMtus&) = delete;
    ChangedMtus& operator=(const ChangedMtus&) = delete;
};

TEST_CASE("path mtu sockets: large and small requests are answered whole, with their size") {
    if (network() == nullptr) {
        return;
    }
    const Addresses at = either_family();
    Prober prober(at.family);
    CHECK(prober.sockets().mode() == IcmpMode::raw);
    for (const std::uint32_t bytes : {at.small, 1500U, 8999U, 9000U}) {
        const std::uint32_t sequence = prober.send(at.peer, MtuForm::echo, bytes);
        REQUIRE(prober.wait(prober.seen.told() + 1));
        REQUIRE(!prober.seen.replies.empty());
        const Reply& reply = prober.seen.replies.back();
        CHECK(reply.from == address(at.peer));
        CHECK(reply.sequence == sequence);
        CHECK(reply.bytes == bytes);
        CHECK(reply.fragment == 0);
    }
    CHECK(prober.seen.sent == 4);
    CHECK(prober.seen.replies.size() == 4);
    CHECK(prober.seen.flaws == 0);
    CHECK(prober.seen.overflows == 0);
}

TEST_CASE("path mtu sockets: what the device cannot take is refused with the device's MTU") {
    if (network() == nullptr) {
        return;
    }
    const Addresses at = either_family();
    Prober prober(at.family);
    for (const MtuForm form : {MtuForm::echo, MtuForm::datagram}) {
        for (const std::uint32_t bytes : {9001U, 65'535U}) {
            prober.seen.device_mtus.clear();
            prober.send(at.peer, form, bytes);
            CHECK(prober.seen.device_mtus == std::vector<std::uint32_t>{9000});
        }
    }
    CHECK(prober.seen.sent == 0);
    CHECK(prober.seen.not_sent == 0);
    // None of it keeps the next ones from being sent, nor wakes us.
    CHECK(prober.silent());
    CHECK(prober.wake_ups == 0);
    prober.send(at.peer, MtuForm::echo, 9000);
    CHECK(prober.wait(1));
    CHECK(prober.seen.replies.size() == 1);
}

TEST_CASE("path mtu sockets: requests in fragments are answered whole") {
    if (network() == nullptr) {
        return;
    }
    const Addresses at = either_family();
    Prober prober(at.family);
    for (const std::uint32_t bytes : {at.small, 200U, 1281U, 9000U, 17'000U}) {
        prober.send(at.peer, MtuForm::fragmented_echo, bytes);
        REQUIRE(prober.wait(prober.seen.told() + 1));
        REQUIRE(!prober.seen.replies.empty());
        CHECK(prober.seen.replies.back().bytes == bytes);
        CHECK((prober.seen.replies.back().fragment == 0) == (bytes <= 9000));
    }
    CHECK(prober.seen.replies.size() == 5);
}

/// Our host lets in only what its connection tracking knows; until the end.
class StatefulFirewall {
  public:
    StatefulFirewall()
        : usable(run("nft add table inet tracked &&"
                     "nft 'add chain inet tracked in { type filter hook input priority 0; }' &&"
                     "nft add rule inet tracked in icmp type echo-reply ct state != established "
                     "drop && "
                     "nft add rule inet tracked in icmpv6 type echo-reply ct state != established "
                     "drop")) {}

    ~StatefulFirewall() { run("nft delete table inet tracked"); }

    StatefulFirewall(const StatefulFirewall&) = delete;
    StatefulFirewall& operator=(const StatefulFirewall&) = delete;

    const bool usable;
};

TEST_CASE("path mtu sockets: a firewall that tracks connections knows what comes in fragments") {
    if (network() == nullptr) {
        return;
    }
    const Addresses at = either_family();
    const StatefulFirewall firewall;
    if (!firewall.usable) {
        std::cerr << "path_mtu_sockets_test: no nft with connection tracking, SKIPPED\n";
        return;
    }
    const ChangedMtus hole(5000, 5000);  // and its reassembly does not make them larger
    Prober prober(at.family);
    prober.send(at.peer, MtuForm::fragmented_echo, 9000);
    REQUIRE(prober.wait(1));
    CHECK(prober.seen.replies.size() == 1);
}

TEST_CASE("path mtu sockets: the largest fragment of an answer is what the peer's MTU allows") {
    if (network() == nullptr) {
        return;
    }
    const Addresses at = either_family();
    const ChangedMtus small_peer(1500, 1500);
    Prober prober(at.family);
    prober.send(at.peer, MtuForm::fragmented_echo, 2900);
    REQUIRE(prober.wait(1));
    REQUIRE(prober.seen.replies.size() == 1);
    CHECK(prober.seen.replies[0].bytes == 2900);
    // Data in multiples of 8: 1500 is reached exactly with IPv4's header, not with IPv6's two.
    CHECK(prober.seen.replies[0].fragment == (at.family == Family::ipv4 ? 1500 : 1496));
}

TEST_CASE("path mtu sockets: behind a small bridge port, only requests in fragments arrive") {
    if (network() == nullptr) {
        return;
    }
    const Addresses at = either_family();
    const ChangedMtus hole(1500, 1500);
    Prober prober(at.family);
    prober.send(at.peer, MtuForm::echo, 9000);
    prober.send(at.peer, MtuForm::datagram, 9000);
    CHECK(prober.seen.sent == 2);
    CHECK(prober.silent());
    const std::uint32_t sequence = prober.send(at.peer, MtuForm::fragmented_echo, 2900);
    REQUIRE(prober.wait(1));
    REQUIRE(prober.seen.replies.size() == 1);
    CHECK(prober.seen.replies[0].sequence == sequence);
    prober.send(at.peer, MtuForm::datagram, at.small);
    REQUIRE(prober.wait(2));
    CHECK(prober.seen.datagram_errors.size() == 1);
}

TEST_CASE("path mtu sockets: datagrams to a closed port are told of, large and small") {
    if (network() == nullptr) {
        return;
    }
    const Addresses at = either_family();
    Prober prober(at.family);
    // Without a pause: the error about one must not keep the next from being sent.
    for (int i = 0; i < 2; ++i) {
        prober.send(at.peer, MtuForm::datagram, 9000);
        prober.send(at.peer, MtuForm::datagram, at.small);
    }
    CHECK(prober.seen.sent == 4);
    REQUIRE(prober.wait(4));
    REQUIRE(prober.seen.datagram_errors.size() == 4);
    for (const DatagramTrouble& trouble : prober.seen.datagram_errors) {
        CHECK(trouble.reporter == address(at.peer));
        CHECK(trouble.destination == address(at.peer));
        CHECK(trouble.port == closed_port);
        CHECK(trouble.reason == FailureReason::port_unreachable);
        CHECK(trouble.mtu == 0);
    }
    CHECK(prober.silent());
}

TEST_CASE("path mtu sockets: what answers a datagram is not read, and wakes nobody") {
    if (network() == nullptr) {
        return;
    }
    const Addresses at = either_family();
    const int domain = at.family == Family::ipv4 ? AF_INET : AF_INET6;
    const int server = network()->peer().open_socket(domain, SOCK_DGRAM, 0);
    SocketAddress name = to_socket_address(address(at.peer), closed_port);
    socklen_t length = socket_address_bytes(at.family);
    REQUIRE(bind(server, reinterpret_cast<const sockaddr*>(&name), length) == 0);
    Prober prober(at.family);
    prober.send(at.peer, MtuForm::datagram, at.small);
    std::array<std::uint8_t, 100> bytes{};
    const auto got = recvfrom(
        server, bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&name), &length);
    REQUIRE(got == (at.family == Family::ipv4 ? 84 - 28 : 104 - 48));
    REQUIRE(sendto(server, bytes.data(), 50, 0, reinterpret_cast<const sockaddr*>(&name), length) ==
            50);
    CHECK(prober.silent());
    CHECK(prober.wake_ups == 0);
    ::close(server);
}

TEST_CASE("path mtu sockets: a router's word comes with its address, its MTU and our cookie") {
    if (network() == nullptr) {
        return;
    }
    const Addresses at = either_family();
    Prober prober(at.family);
    for (int i = 0; i < 2; ++i) {  // what the kernel has learnt by the first one is not heeded
        const std::uint32_t sequence = prober.send(at.far, MtuForm::echo, 9000);
        REQUIRE(prober.wait(prober.seen.told() + 1));
        REQUIRE(!prober.seen.echo_errors.empty());
        const EchoTrouble& trouble = prober.seen.echo_errors.back();
        CHECK(trouble.reporter == address(at.router));
        CHECK(trouble.error.reason == FailureReason::too_big);
        CHECK(trouble.error.mtu == 1400);
        CHECK(trouble.error.destination == address(at.far));
        CHECK(trouble.error.identifier == our_identifier);
        CHECK(trouble.error.sequence == static_cast<std::uint16_t>(sequence));
        REQUIRE(trouble.error.cookie);
        CHECK(trouble.error.cookie->token.sequence == sequence);
        prober.send(at.far, MtuForm::datagram, 9000);
        REQUIRE(prober.wait(prober.seen.told() + 1));
        REQUIRE(!prober.seen.datagram_errors.empty());
        const DatagramTrouble& datagram = prober.seen.datagram_errors.back();
        CHECK(datagram.reporter == address(at.router));
        CHECK(datagram.destination == address(at.far));
        CHECK(datagram.port == closed_port);
        CHECK(datagram.reason == FailureReason::too_big);
        CHECK(datagram.mtu == 1400);
    }
    CHECK(prober.seen.sent == 4);
    CHECK(prober.seen.echo_errors.size() == 2);
    CHECK(prober.seen.datagram_errors.size() == 2);
    CHECK(prober.seen.device_mtus.empty());
    prober.send(at.far, MtuForm::fragmented_echo, 2600);
    REQUIRE(prober.wait(5));
    REQUIRE(prober.seen.replies.size() == 1);
    CHECK(prober.seen.replies[0].bytes == 2600);
    // 1396 for IPv4: 1376 bytes of data; IPv6 has 1352 and 48 bytes of headers.
    CHECK(prober.seen.replies[0].fragment == (at.family == Family::ipv4 ? 1396 : 1400));
}

/// An ICMP error that says too big, about an echo request to the peer.
test::Bytes forged(const Addresses& at, std::uint16_t identifier, std::size_t payload_bytes) {
    const IpAddress ours = address(at.ours);
    const IpAddress peer = address(at.peer);
    test::Bytes request =
        test::echo(at.family, true, identifier, {0x1122334455667788U, {5, 7}}, 56);
    request.resize(8 + payload_bytes);
    const test::Bytes quote = test::ip_packet(ours, peer, request);
    return at.family == Family::ipv4 ? test::icmp(at.family, 3, 4, 1280, quote)
                                     : test::icmp(at.family, 2, 0, 1280, quote);
}

TEST_CASE("path mtu sockets: a forged word with another identifier is not told") {
    if (network() == nullptr) {
        return;
    }
    const Addresses at = either_family();
    const bool v4 = at.family == Family::ipv4;
    const int forger = network()->peer().open_socket(
        v4 ? AF_INET : AF_INET6, SOCK_RAW, v4 ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6});
    REQUIRE(forger >= 0);
    const SocketAddress name = to_socket_address(address(at.ours), 0);
    Prober prober(at.family);
    const auto tell = [&](const test::Bytes& bytes) {
        REQUIRE(sendto(forger,
                       bytes.data(),
                       bytes.size(),
                       0,
                       reinterpret_cast<const sockaddr*>(&name),
                       socket_address_bytes(at.family)) > 0);
    };
    tell(forged(at, our_identifier ^ 1U, 56));
    tell(forged(at, our_identifier, 0));
    REQUIRE(prober.wait(1));
    CHECK(prober.silent());
    REQUIRE(prober.seen.echo_errors.size() == 1);
    CHECK(prober.seen.echo_errors[0].reporter == address(at.peer));
    CHECK(prober.seen.echo_errors[0].error.identifier == our_identifier);
    CHECK(prober.seen.echo_errors[0].error.sequence == 7);
    CHECK(prober.seen.echo_errors[0].error.mtu == 1280);
    CHECK_FALSE(prober.seen.echo_errors[0].error.cookie);
    CHECK(prober.seen.flaws == 0);
    test::Bytes damaged = test::echo(at.family, false, our_identifier, {1, {5, 8}});
    if (v4) {
        damaged[20] ^= 1U;
        tell(damaged);
        CHECK(prober.wait(2));
        CHECK(prober.seen.flaws == 1);
        CHECK(prober.seen.replies.empty());
    }
    ::close(forger);
}

TEST_CASE("path mtu sockets: source, device and DSCP are those of the target") {
    if (network() == nullptr) {
        return;
    }
    const Addresses at = either_family();
    const bool v4 = at.family == Family::ipv4;
    const MtuForm form = GENERATE(MtuForm::echo, MtuForm::fragmented_echo, MtuForm::datagram);
    const int icmp = v4 ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6};
    const int protocol = form == MtuForm::datagram ? int{IPPROTO_UDP} : icmp;
    const int listener = network()->peer().open_socket(v4 ? AF_INET : AF_INET6, SOCK_RAW, protocol);
    REQUIRE(listener >= 0);
    set_option(listener, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_RECVTOS : IPV6_RECVTCLASS, 1);
    set_option(listener, SOL_SOCKET, SO_RCVTIMEO, timeval{2, 0});
    EchoTarget options;
    options.dscp = 46;
    options.device = IfIndex{if_nametoindex("v0")};
    options.source = address(v4 ? "10.8.0.11" : "fd08::1");
    Prober prober(at.family);
    prober.send(at.peer, form, 2000, options);
    std::array<std::uint8_t, 4000> bytes{};
    alignas(cmsghdr) std::array<std::uint8_t, 256> control{};
    SocketAddress from{};
    iovec room{bytes.data(), bytes.size()};
    msghdr message{&from, sizeof(from), &room, 1, control.data(), control.size(), 0};
    long got = 0;
    do {  // past neighbour discovery
        message.msg_namelen = sizeof(from);
        message.msg_controllen = control.size();
        got = recvmsg(listener, &message, 0);
    } while (got > 0 && got < 1000);
    CHECK(got == (v4 ? 2000 : 1960));
    CHECK(from_socket_address(from) == options.source);
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    REQUIRE(header != nullptr);
    CHECK(*CMSG_DATA(header) == 46 << 2);
    ::close(listener);
    // By another device there is no way.
    options.device = IfIndex{if_nametoindex("lo")};
    options.source = IpAddress{};
    Prober astray(at.family);
    astray.send(at.peer, form, at.small, options);
    CHECK(astray.silent());
}

TEST_CASE("path mtu sockets: without CAP_NET_RAW all but requests in fragments works") {
    if (network() == nullptr) {
        return;
    }
    const Addresses at = either_family();
    REQUIRE(run("echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range"));
    constexpr uid_t nobody = 65'534;
    REQUIRE(seteuid(nobody) == 0);
    std::optional<Prober> prober;
    prober.emplace(at.family);
    REQUIRE(seteuid(0) == 0);
    CHECK(prober->sockets().mode() == IcmpMode::ping);
    prober->send(at.peer, MtuForm::fragmented_echo, 200);
    CHECK(prober->seen.not_sent == 1);
    const std::uint32_t sequence = prober->send(at.peer, MtuForm::echo, 9000);
    REQUIRE(prober->wait(1));
    REQUIRE(prober->seen.replies.size() == 1);
    CHECK(prober->seen.replies[0].sequence == sequence);
    CHECK(prober->seen.replies[0].bytes == 9000);
    prober->send(at.peer, MtuForm::echo, 9001);
    CHECK(prober->seen.device_mtus == std::vector<std::uint32_t>{9000});
    prober->send(at.peer, MtuForm::datagram, 9000);
    REQUIRE(prober->wait(2));
    CHECK(prober->seen.datagram_errors.size() == 1);
    prober->send(at.far, MtuForm::echo, 9000);
    REQUIRE(prober->wait(3));
    REQUIRE(prober->seen.echo_errors.size() == 1);
    CHECK(prober->seen.echo_errors[0].reporter == address(at.router));
    CHECK(prober->seen.echo_errors[0].error.mtu == 1400);
    CHECK(prober->seen.echo_errors[0].error.destination == address(at.far));
    // The pending error of that one keeps the next from nothing.
    prober->send(at.peer, MtuForm::echo, at.small);
    CHECK(prober->wait(4));
    CHECK(prober->seen.replies.size() == 2);
    CHECK(prober->silent());
}

TEST_CASE("path mtu sockets: answers that our own buffer drops are told of") {
    if (network() == nullptr) {
        return;
    }
    const Addresses at = either_family();
    Prober prober(at.family);
    for (int i = 0; i < 1500; ++i) {
        prober.send(at.peer, MtuForm::echo, 9000);
    }
    const std::size_t sent = prober.seen.sent;
    while (!prober.silent()) {
    }
    REQUIRE(prober.seen.replies.size() < sent);  // else there was no overflow to be told of
    prober.send(at.peer, MtuForm::echo, at.small);
    CHECK(prober.wait(prober.seen.told() + 1));
    CHECK(prober.seen.overflows >= 1);
    const std::size_t told = prober.seen.overflows;
    prober.send(at.peer, MtuForm::echo, at.small);
    CHECK(prober.wait(prober.seen.told() + 1));
    CHECK(prober.seen.overflows == told);
}

TEST_CASE("path mtu sockets: once closed, nothing is sent and nobody is called") {
    boost::asio::io_context context(1);
    auto opened = PathMtuSockets::open(context, Family::ipv4, our_identifier);
    if (!opened) {
        FAIL("no sockets: " << opened.error().message());
    }
    bool called = false;
    (*opened)->async_wait([&called] { called = true; });
    (*opened)->close();
    context.run();
    CHECK_FALSE(called);
    MtuRequest request;
    request.order.packet = {MtuForm::echo, 84};
    request.target.destination = address("127.0.0.1");
    Recorder seen;
    (*opened)->send({&request, 1}, seen);
    CHECK(seen.not_sent == 1);
    CHECK((*opened)->drain(seen));
    CHECK(seen.told() == 0);
}

}  // namespace
}  // namespace reachd
