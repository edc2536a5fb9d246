// A bare loop that is told of its answers by an epoll, one descriptor a probe or a target.
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>

#include <sys/epoll.h>
#include <unistd.h>

#include "tests/bench/bare_loop.hpp"

namespace reachd::bench {

class BareEpollLoop : public BareLoop {
  public:
    explicit BareEpollLoop(const Pace& pace)
        : BareLoop(pace),
          epoll_(epoll_create1(EPOLL_CLOEXEC)) {
        if (epoll_ < 0) {
            fail("epoll_create1");
        }
    }

    ~BareEpollLoop() override { close(epoll_); }

  protected:
    /// `data` comes back with the events.
    void watch(int fd, std::uint32_t events, std::uint64_t data) const {
        epoll_event wanted{};
        wanted.events = events;
        wanted.data.u64 = data;
        if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &wanted) != 0) {
            fail("epoll_ctl");
        }
    }

    virtual void on_ready(std::uint32_t events, std::uint64_t data) = 0;

    void read_all() override {
        while (take(0) == static_cast<int>(events_max)) {
        }
    }

    /// To the millisecond.
    void read_until(std::int64_t deadline) override {
        constexpr std::int64_t millisecond_ns = 1'000'000;
        for (std::int64_t left = deadline - monotonic_now(); left > 0;
             left = deadline - monotonic_now()) {
            take(static_cast<int>((left + millisecond_ns - 1) / millisecond_ns));
        }
    }

  private:
    static constexpr std::size_t events_max = 64;

    int take(int timeout_ms) {
        std::array<epoll_event, events_max> events{};
        const int got =
            epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), timeout_ms);
        if (got < 0 && errno != EINTR) {
            fail("epoll_wait");
        }
        for (int i = 0; i < got; ++i) {
            const epoll_event& event = events[static_cast<std::size_t>(i)];
            on_ready(event.events, event.data.u64);
        }
        return got;
    }

    int epoll_;
};

}  // namespace reachd::bench
