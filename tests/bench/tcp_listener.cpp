// The other end of the TCP benchmarks: listens at one port of every own IPv4 address, accepts and
// closes. It sweeps every few milliseconds instead of being woken by each connection, so that it
// disturbs the prober on the other core as little as can be. Reads and sends nothing.
//
// Arguments: port; secs (ends by itself after them). Says "ready" on the error output once it
// listens.
// Exit status: 0 the time is over, 1 the kernel refused something, 2 wrong usage.

#include <cerrno>
#include <cstdio>
#include <ctime>
#include <exception>
#include <stdexcept>
#include <system_error>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/arguments.hpp"

namespace reachd::bench {
namespace {

constexpr int backlog = 4096;  ///< also net.core.somaxconn of an unchanged kernel
constexpr timespec sweep_interval{0, 5'000'000};

[[noreturn]] void fail(const char* operation) {
    throw std::system_error(errno, std::generic_category(), operation);
}

class Listener {
  public:
    explicit Listener(std::uint16_t port)
        : fd_(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
        const int on = 1;
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        if (fd_ < 0 || setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
            bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
            listen(fd_, backlog) != 0) {
            fail("listen");
        }
    }

    ~Listener() { close(fd_); }

    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    /// Accepts and closes what is there.
    void sweep() const {
        for (;;) {
            const int connection = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
            if (connection >= 0) {
                close(connection);
            } else if (errno == EAGAIN) {
                return;
            } else if (errno != ECONNABORTED && errno != EINTR) {
                fail("accept");
            }
        }
    }

  private:
    int fd_;
};

void serve(std::uint16_t port, double seconds) {
    const Listener listener(port);
    std::fputs("ready\n", stderr);
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    const double end = static_cast<double>(now.tv_sec) + seconds;
    while (static_cast<double>(now.tv_sec) < end) {
        listener.sweep();
        nanosleep(&sweep_interval, nullptr);
        clock_gettime(CLOCK_MONOTONIC, &now);
    }
}

}  // namespace
}  // namespace reachd::bench

int main(int argc, char** argv) {
    try {
        const reachd::bench::Arguments arguments(argc, argv, {{"port", "7001"}, {"secs", "600"}});
        reachd::bench::serve(arguments.number<std::uint16_t>("port", 1, 65535),
                             arguments.number<double>("secs", 1, 7200));
        return 0;
    } catch (const std::invalid_argument& error) {
        std::fprintf(stderr, "tcp_listener: %s\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "tcp_listener: %s\n", error.what());
        return 1;
    }
}
