// What the bare loops of ICMP, TCP and ARP have in common: their arguments, the pace they keep, the
// window that is measured with its CPU time, and the figures they print. The benchmarks divide by
// them, so there is nothing in here that a prober could do without. What a probe is, and how its
// answer is read, is each loop's own.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <exception>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <system_error>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

#include "tests/bench/arguments.hpp"
#include "tests/bench/latency_histogram.hpp"

namespace reachd::bench {

inline constexpr std::int64_t second_ns = 1'000'000'000;

[[noreturn]] inline void fail(const char* operation) {
    throw std::system_error(errno, std::generic_category(), operation);
}

inline std::int64_t nanoseconds(const timespec& time) {
    return static_cast<std::int64_t>(time.tv_sec) * second_ns + time.tv_nsec;
}

inline std::int64_t read_clock(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return nanoseconds(now);
}

inline std::int64_t monotonic_now() {
    return read_clock(CLOCK_MONOTONIC);
}

/// VmRSS. Not getrusage's ru_maxrss: that starts with what the parent had before exec.
inline long resident_kib() {
    long total = 0;
    long resident = 0;
    std::ifstream("/proc/self/statm") >> total >> resident;
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

struct Pace {
    std::uint32_t targets;
    double hz;  ///< of each target; 0: flood
    double seconds;
    double warm_seconds;
};

/// The arguments that every bare loop has, with their defaults, and its own.
inline std::map<std::string, std::string> with_pace(std::map<std::string, std::string> own) {
    own.insert({{"hz", "1"}, {"secs", "10"}, {"warm", "1"}});
    return own;
}

inline Pace read_pace(const Arguments& arguments, std::uint32_t targets) {
    return {targets,
            arguments.number<double>("hz", 0, 1000),
            arguments.number<double>("secs", 0.1, 3600),
            arguments.number<double>("warm", 0, 3600)};
}

inline std::uint32_t read_targets(const Arguments& arguments) {
    return arguments.number<std::uint32_t>("n", 1, 1'000'000);
}

/// An IPv4 address, in the order of the host.
inline std::uint32_t read_base(const Arguments& arguments) {
    in_addr base{};
    if (inet_pton(AF_INET, arguments.text("base").c_str(), &base) != 1) {
        throw std::invalid_argument("base=" + arguments.text("base") + ": want an IPv4 address");
    }
    return ntohl(base.s_addr);
}

/// 250 addresses of each /24 from `base` on.
inline in_addr target_address(std::uint32_t base, std::uint32_t index) {
    return {htonl(base + index / 250 * 256 + index % 250 + 1)};
}

class BareLoop {
  public:
    explicit BareLoop(const Pace& pace) : pace_(pace) {}

    virtual ~BareLoop() = default;
    BareLoop(const BareLoop&) = delete;
    BareLoop& operator=(const BareLoop&) = delete;

    /// Throws std::system_error when the kernel refuses something.
    void run() {
        const std::int64_t begin = monotonic_now();
        const auto window =
            begin + static_cast<std::int64_t>(pace_.warm_seconds * double{second_ns});
        const auto end = window + static_cast<std::int64_t>(pace_.seconds * double{second_ns});
        paced_at_ = begin;
        for (std::int64_t now = begin; now < end; now = monotonic_now()) {
            if (!measuring_ && now >= window) {
                measuring_ = true;
                before_ = counters(now);
            }
            if (pace_.hz > 0) {
                send_due(now);
                read_until(std::min(now - (now - begin) % tick_ns + tick_ns, end));
            } else {
                send(std::min(batch_probes_max, pace_.targets));
                read_all();
            }
        }
        measuring_ = false;
        after_ = counters(monotonic_now());
        read_until(monotonic_now() + linger_ns);
    }

    /// No line feed: a loop may have more to say.
    void print_counters() const {
        const auto sent = after_.sent - before_.sent;
        const auto cpu_us = static_cast<double>(after_.cpu_ns - before_.cpu_ns) / 1e3;
        std::printf(
            "rate=%.1f sent=%llu recv=%llu lost=%llu cpu_us_per_probe=%.3f rss_kb=%ld",
            static_cast<double>(sent) * 1e9 / static_cast<double>(after_.wall_ns - before_.wall_ns),
            static_cast<unsigned long long>(sent),
            static_cast<unsigned long long>(after_.received - before_.received),
            static_cast<unsigned long long>(sent_ - received_),
            cpu_us / static_cast<double>(std::max<std::uint64_t>(sent, 1)),
            resident_kib());
    }

    void print_round_trips() const {
        std::printf(" kern_p50=%.3f kern_p99=%.3f kern_stamped=%llu",
                    round_trips_.quantile(0.5) / 1e3,
                    round_trips_.quantile(0.99) / 1e3,
                    static_cast<unsigned long long>(round_trips_.total()));
    }

  protected:
    /// At a time.
    static constexpr std::uint32_t batch_probes_max = 64;

    /// Asks the next `count` targets; reads only what there is no room to leave.
    virtual void send(std::uint32_t count) = 0;
    /// Takes all that is there.
    virtual void read_all() = 0;
    /// Sleeps to `deadline` (monotonic_now), reading whatever comes meanwhile.
    virtual void read_until(std::int64_t deadline) = 0;

    std::uint32_t next_target() { return static_cast<std::uint32_t>(sent_++ % pace_.targets); }

    std::uint64_t sent() const { return sent_; }

    void count_answer() { ++received_; }

    /// Not before the window and not after it.
    void record_round_trip(std::int64_t ns) {
        if (measuring_ && ns >= 0) {
            round_trips_.record(ns);
        }
    }

  private:
    static constexpr std::int64_t tick_ns = second_ns / 100;
    static constexpr std::int64_t linger_ns = second_ns / 10;  ///< for the last answers

    struct Counters {
        std::int64_t wall_ns = 0;
        std::int64_t cpu_ns = 0;  ///< user and system
        std::uint64_t sent = 0;
        std::uint64_t received = 0;
    };

    Counters counters(std::int64_t now) const {
        return {now, read_clock(CLOCK_PROCESS_CPUTIME_ID), sent_, received_};
    }

    /// After a stall at most one round is caught up: the rest would be a burst, not a rate.
    void send_due(std::int64_t now) {
        owed_ +=
            static_cast<double>(now - paced_at_) / double{second_ns} * pace_.hz * pace_.targets;
        paced_at_ = now;
        owed_ = std::min(owed_, static_cast<double>(pace_.targets));
        while (owed_ >= 1) {
            const auto count =
                static_cast<std::uint32_t>(std::min(owed_, double{batch_probes_max}));
            send(count);
            owed_ -= count;
        }
        read_all();
    }

    const Pace pace_;
    std::int64_t paced_at_ = 0;
    double owed_ = 0;  ///< probes due and not yet sent
    std::uint64_t sent_ = 0;
    std::uint64_t received_ = 0;
    bool measuring_ = false;
    Counters before_;  ///< at the ends of the window
    Counters after_;
    LatencyHistogram round_trips_;
};

/// What main() is to return; what went wrong is on the error output.
template <class Measure>
int guarded(const char* program, const Measure& measure) {
    try {
        measure();
        return 0;
    } catch (const std::invalid_argument& error) {
        std::fprintf(stderr, "%s: %s\n", program, error.what());
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", program, error.what());
        return 1;
    }
}

}  // namespace reachd::bench
