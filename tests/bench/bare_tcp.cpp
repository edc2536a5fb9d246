// The bare limit for TCP connects on this kernel: socket, connect, epoll, TCP_INFO, close by RST,
// and nothing else. The benchmarks divide by it, so it keeps only what no prober that is told of
// its answers can do without. It refuses to be a prober: no ICMP errors, no time-outs, no state, no
// matching of answers, and a connect that the kernel does not take ends it.
//
// Arguments: n targets (250 addresses of each /24 from `base` on), all at `port`, hz connects a
// second for each (0 floods: a batch out, a batch in, no pause), secs measured after warm seconds.
// Prints rate (a second), sent and recv (in the window), lost (refused ones too) and refused (of
// the whole run), cpu_us_per_probe (user and system, of the window), rss_kb, kern_p50 and kern_p99
// (microseconds, SYN to SYN-ACK by TCP_INFO), kern_stamped (connects measured so).
// Exit status: 0 measured, 1 the kernel refused something, 2 wrong usage.

#include <cerrno>
#include <cstdint>
#include <cstdio>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/arguments.hpp"
#include "tests/bench/bare_epoll_loop.hpp"

namespace reachd::bench {
namespace {

/// An open socket more in the cache costs more than a look at the epoll.
constexpr std::uint32_t unread_connects_max = 32;

class TcpLoop final : public BareEpollLoop {
  public:
    TcpLoop(const Pace& pace, std::uint32_t base, std::uint16_t port)
        : BareEpollLoop(pace),
          base_(base) {
        address_.sin_family = AF_INET;
        address_.sin_port = htons(port);
    }

    void print() const {
        print_counters();
        std::printf(" refused=%llu", static_cast<unsigned long long>(refused_));
        print_round_trips();
        std::printf("\n");
    }

  private:
    void send(std::uint32_t count) override {
        for (std::uint32_t i = 1; i <= count; ++i) {
            connect_next();
            if (i % unread_connects_max == 0) {
                read_all();
            }
        }
    }

    void connect_next() {
        address_.sin_addr = target_address(base_, next_target());
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            fail("socket");
        }
        if (connect(fd, reinterpret_cast<const sockaddr*>(&address_), sizeof address_) != 0 &&
            errno != EINPROGRESS) {
            fail("connect");
        }
        watch(fd, EPOLLOUT | EPOLLET, static_cast<std::uint64_t>(fd));
    }

    void on_ready(std::uint32_t events, std::uint64_t data) override {
        const int fd = static_cast<int>(data);
        if ((events & EPOLLERR) != 0) {
            ++refused_;
            close(fd);
            return;
        }
        tcp_info info{};
        socklen_t length = sizeof info;
        if (getsockopt(fd, SOL_TCP, TCP_INFO, &info, &length) != 0) {
            fail("TCP_INFO");
        }
        count_answer();
        record_round_trip(std::int64_t{info.tcpi_rtt} * 1000);
        constexpr linger at_once{1, 0};  // close by RST: no TIME_WAIT piles up
        if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) != 0) {
            fail("SO_LINGER");
        }
        close(fd);
    }

    std::uint32_t base_;
    sockaddr_in address_{};
    std::uint64_t refused_ = 0;
};

void measure(int argc, char** argv) {
    const Arguments arguments(
        argc, argv, with_pace({{"n", "10000"}, {"base", "127.1.0.0"}, {"port", "7001"}}));
    TcpLoop loop(read_pace(arguments, read_targets(arguments)),
                 read_base(arguments),
                 arguments.number<std::uint16_t>("port", 1, 65535));
    loop.run();
    loop.print();
}

}  // namespace
}  // namespace reachd::bench

int main(int argc, char** argv) {
    return reachd::bench::guarded("bare_tcp", [&] { reachd::bench::measure(argc, argv); });
}
