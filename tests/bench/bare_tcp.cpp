// The bare limit for TCP connects on this kernel: socket, connect, epoll, TCP_INFO, close by RST,
// and nothing else. The benchmarks divide by it, so it keeps only what no prober that is told of
// its answers can do without. It refuses to be a prober: no ICMP errors, no time-outs, no state, no
// matching of answers, and a connect that the kernel does not take ends it.
//
// Arguments: n targets (250 addresses of each /24 from `base` on), all at `port`, hz connects a
// second for each (0 floods: a batch out, a batch in, no pause), secs measured after warm seconds.
// Prints rate (a second), sent, recv and refused (in the window), lost (of the whole run),
// cpu_us_per_probe (user and system, of the window), rss_kb, kern_p50 and kern_p99 (microseconds,
// SYN to SYN-ACK by TCP_INFO).
// Exit status: 0 measured, 1 the kernel refused something, 2 wrong usage.

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>
#include <system_error>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/arguments.hpp"
#include "tests/bench/latency_histogram.hpp"

namespace reachd::bench {
namespace {

constexpr std::uint32_t batch_size = 32;
constexpr std::int64_t second_ns = 1'000'000'000;
constexpr std::int64_t millisecond_ns = 1'000'000;
constexpr std::int64_t tick_ns = second_ns / 100;
constexpr std::int64_t linger_ns = second_ns / 10;  ///< for the answers to the last connects

struct Options {
    std::uint32_t targets;
    double hz;  ///< of each target; 0: flood
    double seconds;
    double warm_seconds;
    std::uint32_t base;
    std::uint16_t port;
};

[[noreturn]] void fail(const char* operation) {
    throw std::system_error(errno, std::generic_category(), operation);
}

std::int64_t read_clock(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return static_cast<std::int64_t>(now.tv_sec) * second_ns + now.tv_nsec;
}

std::int64_t monotonic_now() {
    return read_clock(CLOCK_MONOTONIC);
}

/// VmRSS. Not getrusage's ru_maxrss: that starts with what the parent had before exec.
long resident_kib() {
    long total = 0;
    long resident = 0;
    std::ifstream("/proc/self/statm") >> total >> resident;
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

class BareLoop {
  public:
    explicit BareLoop(const Options& options)
        : options_(options),
          epoll_(epoll_create1(EPOLL_CLOEXEC)) {
        if (epoll_ < 0) {
            fail("epoll_create1");
        }
        address_.sin_family = AF_INET;
        address_.sin_port = htons(options.port);
    }

    ~BareLoop() { close(epoll_); }

    BareLoop(const BareLoop&) = delete;
    BareLoop& operator=(const BareLoop&) = delete;

    void run() {
        const std::int64_t begin = monotonic_now();
        const auto window =
            begin + static_cast<std::int64_t>(options_.warm_seconds * double{second_ns});
        const auto end = window + static_cast<std::int64_t>(options_.seconds * double{second_ns});
        paced_at_ = begin;
        for (std::int64_t now = begin; now < end; now = monotonic_now()) {
            if (!measuring_ && now >= window) {
                begin_window(now);
            }
            if (options_.hz > 0) {
                connect_due(now);
                take_until(std::min(now - (now - begin) % tick_ns + tick_ns, end));
            } else {
                connect_some(std::min(batch_size, options_.targets));
            }
        }
        end_window();
        take_until(monotonic_now() + linger_ns);
    }

    void print() const {
        const auto sent = static_cast<double>(std::max<std::uint64_t>(window_.sent, 1));
        std::printf(
            "rate=%.1f sent=%llu recv=%llu refused=%llu lost=%llu cpu_us_per_probe=%.3f rss_kb=%ld "
            "kern_p50=%.3f kern_p99=%.3f\n",
            static_cast<double>(window_.sent) * 1e9 / static_cast<double>(window_.wall_ns),
            static_cast<unsigned long long>(window_.sent),
            static_cast<unsigned long long>(window_.received),
            static_cast<unsigned long long>(window_.refused),
            static_cast<unsigned long long>(total_.sent - total_.received - total_.refused),
            static_cast<double>(window_.cpu_ns) / 1e3 / sent,
            resident_kib(),
            round_trips_.quantile(0.5) / 1e3,
            round_trips_.quantile(0.99) / 1e3);
    }

  private:
    /// Counters since the beginning; of the window its start, and the differences once it has
    /// ended.
    struct Counters {
        std::int64_t wall_ns = 0;
        std::int64_t cpu_ns = 0;
        std::uint64_t sent = 0;
        std::uint64_t received = 0;
        std::uint64_t refused = 0;
    };

    void begin_window(std::int64_t now) {
        measuring_ = true;
        window_ = total_;
        window_.wall_ns = now;
        window_.cpu_ns = read_clock(CLOCK_PROCESS_CPUTIME_ID);
    }

    void end_window() {
        measuring_ = false;
        window_ = {monotonic_now() - window_.wall_ns,
                   read_clock(CLOCK_PROCESS_CPUTIME_ID) - window_.cpu_ns,
                   total_.sent - window_.sent,
                   total_.received - window_.received,
                   total_.refused - window_.refused};
    }

    /// After a stall at most one round is caught up: the rest would be a burst, not a rate.
    void connect_due(std::int64_t now) {
        owed_ += static_cast<double>(now - paced_at_) / double{second_ns} * options_.hz *
                 options_.targets;
        paced_at_ = now;
        owed_ = std::min(owed_, static_cast<double>(options_.targets));
        while (owed_ >= 1) {
            const auto count = static_cast<std::uint32_t>(std::min(owed_, double{batch_size}));
            connect_some(count);
            owed_ -= count;
        }
    }

    void connect_some(std::uint32_t count) {
        for (std::uint32_t i = 0; i < count; ++i) {
            connect_next();
        }
        take(0);
    }

    void connect_next() {
        const std::uint32_t index = next_++ % options_.targets;
        address_.sin_addr.s_addr = htonl(options_.base + index / 250 * 256 + index % 250 + 1);
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            fail("socket");
        }
        if (connect(fd, reinterpret_cast<const sockaddr*>(&address_), sizeof address_) != 0 &&
            errno != EINPROGRESS) {
            fail("connect");
        }
        epoll_event wanted{};
        wanted.events = EPOLLOUT | EPOLLET;
        wanted.data.fd = fd;
        if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &wanted) != 0) {
            fail("epoll_ctl");
        }
        ++total_.sent;
    }

    /// Sleeps to `deadline`, to the millisecond, taking whatever comes meanwhile.
    void take_until(std::int64_t deadline) {
        for (std::int64_t left = deadline - monotonic_now(); left > 0;
             left = deadline - monotonic_now()) {
            take(static_cast<int>((left + millisecond_ns - 1) / millisecond_ns));
        }
    }

    void take(int timeout_ms) {
        std::array<epoll_event, batch_size> events{};
        const int got =
            epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), timeout_ms);
        if (got < 0 && errno != EINTR) {
            fail("epoll_wait");
        }
        for (int i = 0; i < got; ++i) {
            finish(events[static_cast<std::size_t>(i)]);
        }
    }

    void finish(const epoll_event& event) {
        const int fd = event.data.fd;
        if ((event.events & EPOLLERR) != 0) {
            ++total_.refused;
            close(fd);
            return;
        }
        tcp_info info{};
        socklen_t length = sizeof info;
        if (getsockopt(fd, SOL_TCP, TCP_INFO, &info, &length) != 0) {
            fail("TCP_INFO");
        }
        ++total_.received;
        if (measuring_) {
            round_trips_.record(std::int64_t{info.tcpi_rtt} * 1000);
        }
        constexpr linger at_once{1, 0};  // close by RST: no TIME_WAIT piles up
        if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) != 0) {
            fail("SO_LINGER");
        }
        close(fd);
    }

    const Options options_;
    int epoll_;
    sockaddr_in address_{};
    std::uint32_t next_ = 0;
    std::int64_t paced_at_ = 0;
    double owed_ = 0;  ///< connects due and not yet begun
    bool measuring_ = false;
    Counters total_;
    Counters window_;
    LatencyHistogram round_trips_;
};

Options parse(int argc, char** argv) {
    const Arguments arguments(argc,
                              argv,
                              {{"n", "10000"},
                               {"hz", "1"},
                               {"secs", "10"},
                               {"warm", "1"},
                               {"base", "127.1.0.0"},
                               {"port", "7001"}});
    in_addr base{};
    if (inet_pton(AF_INET, arguments.text("base").c_str(), &base) != 1) {
        throw std::invalid_argument("base=" + arguments.text("base") + ": want an IPv4 address");
    }
    return {arguments.number<std::uint32_t>("n", 1, 1'000'000),
            arguments.number<double>("hz", 0, 1000),
            arguments.number<double>("secs", 0.1, 3600),
            arguments.number<double>("warm", 0, 3600),
            ntohl(base.s_addr),
            arguments.number<std::uint16_t>("port", 1, 65535)};
}

}  // namespace
}  // namespace reachd::bench

int main(int argc, char** argv) {
    try {
        reachd::bench::BareLoop loop(reachd::bench::parse(argc, argv));
        loop.run();
        loop.print();
        return 0;
    } catch (const std::invalid_argument& error) {
        std::fprintf(stderr, "bare_tcp: %s\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bare_tcp: %s\n", error.what());
        return 1;
    }
}
