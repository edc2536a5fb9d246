// What a packet costs that a bridge forwards: UDP from one namespace to another, in short bursts, a
// thousand a second. The kernel does all of it inside the sender's system call (a veth hands its
// packet to the soft interrupt that runs at the call's end): transmit, bridge, transmit, and the
// receiver's stack as far as a socket whose buffer is full. So the time of the call is the price of
// the whole path, soft interrupts included. The receiver's counter proves it burst by burst: only
// those count whose last packet had arrived when the call returned. The median over all bursts does
// not mind that a machine does other things now and then.
//
// Arguments: from, to (paths of network namespaces), address (of the receiver), rate (packets a
// second), secs, cpu (to be pinned to; -1: any).
// Prints packets, rate (kept), bursts, whole (share of the bursts that count), ns_per_packet
// (median), ns_p10, ns_p90.
// Exit status: 0 measured, 1 the kernel refused something, 2 wrong usage.

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/arguments.hpp"

namespace reachd::bench {
namespace {

constexpr std::int64_t burst_interval_ns = 1'000'000;
constexpr std::size_t burst_max = 1024;  // UIO_MAXIOV, more sendmmsg does not take
constexpr std::size_t payload_bytes = 64;
constexpr std::uint16_t port = 40000;

[[noreturn]] void fail(const std::string& what) {
    throw std::system_error(errno, std::system_category(), what);
}

std::int64_t monotonic_ns() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * std::int64_t{1'000'000'000} + time.tv_nsec;
}

/// A UDP socket made inside the namespace at `path`; the process stays there.
int socket_inside(const std::string& path) {
    const int space = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (space < 0 || setns(space, CLONE_NEWNET) != 0) {
        fail(path);
    }
    close(space);
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        fail("socket");
    }
    return fd;
}

class Traffic {
  public:
    Traffic(const Arguments& arguments, std::size_t burst)
        : receiver_(socket_inside(arguments.text("to"))),
          sender_(socket_inside(arguments.text("from"))),
          messages_(burst) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        if (inet_pton(AF_INET, arguments.text("address").c_str(), &address.sin_addr) != 1) {
            throw std::invalid_argument("address= wants an IPv4 address");
        }
        const auto* name = reinterpret_cast<const sockaddr*>(&address);
        const int least = 1;  // the kernel makes its minimum of it: full after a few packets
        setsockopt(receiver_, SOL_SOCKET, SO_RCVBUF, &least, sizeof(least));
        if (bind(receiver_, name, sizeof(address)) != 0 ||
            connect(sender_, name, sizeof(address)) != 0) {
            fail("bind or connect");
        }
        for (mmsghdr& message : messages_) {
            message.msg_hdr.msg_iov = &payload_;
            message.msg_hdr.msg_iovlen = 1;
        }
        // Fills the receiver's buffer, and has the neighbours found.
        for (int i = 0; i < 200; ++i) {
            send();
            usleep(1000);
        }
    }

    ~Traffic() {
        close(sender_);
        close(receiver_);
    }

    Traffic(const Traffic&) = delete;
    Traffic& operator=(const Traffic&) = delete;

    void send() {
        const auto count = static_cast<unsigned>(messages_.size());
        if (sendmmsg(sender_, messages_.data(), count, 0) != static_cast<int>(count)) {
            fail("sendmmsg");
        }
    }

    /// Packets that reached the receiver's full socket.
    std::uint32_t arrived() const {
        std::array<std::uint32_t, SK_MEMINFO_VARS> memory{};
        socklen_t length = sizeof(memory);
        if (getsockopt(receiver_, SOL_SOCKET, SO_MEMINFO, memory.data(), &length) != 0) {
            fail("SO_MEMINFO");
        }
        return memory[SK_MEMINFO_DROPS];
    }

  private:
    int receiver_;
    int sender_;
    std::array<std::uint8_t, payload_bytes> bytes_{};
    iovec payload_{bytes_.data(), bytes_.size()};
    std::vector<mmsghdr> messages_;
};

void pin(int cpu) {
    if (cpu < 0) {
        return;
    }
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(cpu), &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0) {
        fail("sched_setaffinity");
    }
}

void measure(const Arguments& arguments) {
    const auto rate = arguments.number<double>("rate", 1000, 1000.0 * burst_max);
    const auto seconds = arguments.number<double>("secs", 0.1, 600);
    pin(arguments.number<int>("cpu", -1, CPU_SETSIZE - 1));
    const auto burst = static_cast<std::size_t>(rate * burst_interval_ns / 1e9);
    Traffic traffic(arguments, burst);

    std::vector<double> per_packet;
    std::size_t bursts = 0;
    const std::int64_t began = monotonic_ns();
    const std::int64_t end = began + static_cast<std::int64_t>(seconds * 1e9);
    std::int64_t due = began;
    while (due < end) {
        timespec until{due / 1'000'000'000, due % 1'000'000'000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
        const std::uint32_t before = traffic.arrived();
        const std::int64_t start = monotonic_ns();
        traffic.send();
        const std::int64_t stop = monotonic_ns();
        if (traffic.arrived() - before == burst) {
            per_packet.push_back(static_cast<double>(stop - start) / static_cast<double>(burst));
        }
        ++bursts;
        due = std::max(due + burst_interval_ns, stop);
    }
    const double took = static_cast<double>(monotonic_ns() - began) / 1e9;
    if (per_packet.empty()) {
        throw std::runtime_error("no burst arrived whole: is there a path?");
    }
    std::sort(per_packet.begin(), per_packet.end());
    const auto quantile = [&](std::size_t percent) {
        return per_packet[(per_packet.size() - 1) * percent / 100];
    };
    std::printf(
        "packets=%zu rate=%.0f bursts=%zu whole=%.4f ns_per_packet=%.1f ns_p10=%.1f ns_p90=%.1f\n",
        bursts * burst,
        static_cast<double>(bursts * burst) / took,
        bursts,
        static_cast<double>(per_packet.size()) / static_cast<double>(bursts),
        quantile(50),
        quantile(10),
        quantile(90));
}

}  // namespace
}  // namespace reachd::bench

int main(int argc, char** argv) {
    try {
        reachd::bench::measure(reachd::bench::Arguments(argc,
                                                        argv,
                                                        {{"from", ""},
                                                         {"to", ""},
                                                         {"address", ""},
                                                         {"rate", "100000"},
                                                         {"secs", "3"},
                                                         {"cpu", "-1"}}));
        return 0;
    } catch (const std::invalid_argument& error) {
        std::fprintf(stderr, "bridge_traffic: %s\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bridge_traffic: %s\n", error.what());
        return 1;
    }
}
