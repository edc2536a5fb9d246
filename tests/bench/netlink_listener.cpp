// What it costs to follow links without any craft: a raw socket, woken for each message, recvmmsg,
// and a glance at four attributes. The benchmarks divide by it. Keeps no model, and loses what it
// loses.
//
// Arguments: buffer (bytes of receive buffer asked for). Listens until SIGTERM or SIGINT, or until
// secs have passed. Writes "ready" to standard error once it listens.
// Prints messages, links (messages about links), overruns, wakes, cpu_us (user and system since
// "ready"), cpu_us_per_message.
// Exit status: 0 measured, 1 the kernel refused something, 2 wrong usage.

#include <array>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <stdexcept>

#include <poll.h>
#include <sys/signalfd.h>

#include "tests/bench/arguments.hpp"
#include "tests/bench/raw_netlink.hpp"

namespace reachd::bench {
namespace {

constexpr std::size_t batch_size = 32;
constexpr std::size_t datagram_bytes_max = 8192;

class Listener {
  public:
    explicit Listener(int buffer) : netlink_(SOCK_NONBLOCK) {
        netlink_.enlarge_receive_buffer(buffer);
        // Those of the daemon.
        netlink_.join({RTNLGRP_LINK,
                       RTNLGRP_NEIGH,
                       RTNLGRP_IPV4_IFADDR,
                       RTNLGRP_IPV6_IFADDR,
                       RTNLGRP_IPV4_ROUTE,
                       RTNLGRP_IPV6_ROUTE,
                       RTNLGRP_NEXTHOP});
        for (std::size_t i = 0; i < batch_size; ++i) {
            vectors_[i] = {(*bytes_)[i].data(), datagram_bytes_max};
            messages_[i].msg_hdr.msg_iov = &vectors_[i];
            messages_[i].msg_hdr.msg_iovlen = 1;
        }
    }

    /// Until a signal can be read from `stop`, or the time is over.
    void run(int stop, double seconds) {
        const auto began = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        const auto end = clock_ns(CLOCK_MONOTONIC) + static_cast<std::int64_t>(seconds * 1e9);
        for (;;) {
            const auto left_ms = (end - clock_ns(CLOCK_MONOTONIC)) / 1'000'000;
            if (left_ms <= 0) {
                break;
            }
            std::array<pollfd, 2> ready{{{netlink_.fd(), POLLIN, 0}, {stop, POLLIN, 0}}};
            if (poll(ready.data(), ready.size(), static_cast<int>(left_ms)) < 0 && errno != EINTR) {
                fail_netlink("poll");
            }
            if (ready[1].revents != 0) {
                break;
            }
            if (ready[0].revents != 0) {
                ++wakes_;
                read_all();
            }
        }
        read_all();
        cpu_ns_ = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - began;
    }

    void print() const {
        const double cpu_us = static_cast<double>(cpu_ns_) / 1e3;
        std::printf(
            "messages=%llu links=%llu overruns=%llu wakes=%llu cpu_us=%.0f "
            "cpu_us_per_message=%.3f facts=%llu\n",
            static_cast<unsigned long long>(reader_.messages),
            static_cast<unsigned long long>(reader_.links),
            static_cast<unsigned long long>(overruns_),
            static_cast<unsigned long long>(wakes_),
            cpu_us,
            reader_.messages > 0 ? cpu_us / static_cast<double>(reader_.messages) : 0.0,
            static_cast<unsigned long long>(reader_.facts));
    }

  private:
    void read_all() {
        for (;;) {
            const int count =
                recvmmsg(netlink_.fd(), messages_.data(), batch_size, MSG_DONTWAIT, nullptr);
            if (count < 0 && errno == ENOBUFS) {
                ++overruns_;
                continue;
            }
            if (count < 0 && errno != EAGAIN && errno != EINTR) {
                fail_netlink("recvmmsg");
            }
            for (int i = 0; i < count; ++i) {
                const auto slot = static_cast<std::size_t>(i);
                reader_.read((*bytes_)[slot].data(), messages_[slot].msg_len);
            }
            if (count < static_cast<int>(batch_size)) {
                return;
            }
        }
    }

    RawNetlink netlink_;
    MinimalReader reader_;
    using Bytes = std::array<std::array<std::uint8_t, datagram_bytes_max>, batch_size>;
    std::unique_ptr<Bytes> bytes_ = std::make_unique<Bytes>();
    std::array<iovec, batch_size> vectors_{};
    std::array<mmsghdr, batch_size> messages_{};
    std::uint64_t overruns_ = 0;
    std::uint64_t wakes_ = 0;
    std::int64_t cpu_ns_ = 0;
};

void listen(const Arguments& arguments) {
    const int buffer = arguments.number<int>("buffer", 4096, 1 << 30);
    const auto seconds = arguments.number<double>("secs", 0.1, 3600);
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    const int stop = signalfd(-1, &signals, SFD_CLOEXEC);
    if (stop < 0) {
        fail_netlink("signalfd");
    }
    Listener listener(buffer);
    std::fputs("ready\n", stderr);
    listener.run(stop, seconds);
    listener.print();
    close(stop);
}

}  // namespace
}  // namespace reachd::bench

int main(int argc, char** argv) {
    try {
        reachd::bench::listen(
            reachd::bench::Arguments(argc, argv, {{"buffer", "8388608"}, {"secs", "3600"}}));
        return 0;
    } catch (const std::invalid_argument& error) {
        std::fprintf(stderr, "netlink_listener: %s\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "netlink_listener: %s\n", error.what());
        return 1;
    }
}
