// The bare limit for ICMP echo on this kernel: one raw socket, sendmmsg, recvmmsg, and nothing
// else. The benchmarks divide by it, so it keeps only what no prober can do without: a number in
// each probe, one slot a target to match the answer, and (ts=rxtx) kernel time stamps both ways. It
// refuses to be a prober: no ICMP errors, no time-outs, no state, and one failed send ends it.
//
// Arguments: n targets (250 addresses of each /24 from `base` on), hz probes a second for each (0
// floods: a batch out, a batch in, no pause), secs measured after warm seconds, ts=none|rx|rxtx.
// Prints rate (a second), sent and recv (in the window), lost (of the whole run), cpu_us_per_probe
// (user and system, of the window), rss_kb, and with ts=rxtx kern_p50 and kern_p99 (microseconds,
// kernel transmit to kernel receive) and kern_stamped (probes measured so).
// Exit status: 0 measured, 1 the kernel refused something, 2 wrong usage.

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <exception>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/arguments.hpp"
#include "tests/bench/bare_socket.hpp"
#include "tests/bench/latency_histogram.hpp"

namespace reachd::bench {
namespace {

/// Answers and stamps share the receive buffer, so the sender never runs further ahead than this.
constexpr std::uint32_t unread_probes_max = 256;
constexpr std::int64_t second_ns = 1'000'000'000;
constexpr std::int64_t tick_ns = second_ns / 100;
constexpr std::int64_t linger_ns = second_ns / 10;  ///< for the answers to the last probes

struct Options {
    std::uint32_t targets;
    double hz;  ///< of each target; 0: flood
    double seconds;
    double warm_seconds;
    Stamps stamps;
    std::uint32_t base;
};

struct Target {
    std::uint32_t number = 0;  ///< of the last probe sent
    bool outstanding = false;
    std::int64_t transmit_ns = 0;  ///< kernel stamps of that probe; 0: not seen
    std::int64_t receive_ns = 0;
};

std::int64_t nanoseconds(const timespec& time) {
    return static_cast<std::int64_t>(time.tv_sec) * second_ns + time.tv_nsec;
}

std::int64_t read_clock(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return nanoseconds(now);
}

/// VmRSS. Not getrusage's ru_maxrss: that starts with what the parent had before exec.
long resident_kib() {
    long total = 0;
    long resident = 0;
    std::ifstream("/proc/self/statm") >> total >> resident;
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

std::int64_t monotonic_now() {
    return read_clock(CLOCK_MONOTONIC);
}

class BareLoop {
  public:
    explicit BareLoop(const Options& options)
        : options_(options),
          identifier_(static_cast<std::uint16_t>(getpid() & 0xffff)),
          socket_(identifier_, options.stamps),
          targets_(options.targets) {
        for (std::size_t i = 0; i < batch_size; ++i) {
            in_.vectors[i] = {in_.bytes[i].data(), in_.bytes[i].size()};
            in_.messages[i].msg_hdr.msg_iov = &in_.vectors[i];
            in_.messages[i].msg_hdr.msg_iovlen = 1;
            out_.vectors[i] = {&packets_[i], sizeof(EchoPacket)};
            out_.messages[i].msg_hdr.msg_iov = &out_.vectors[i];
            out_.messages[i].msg_hdr.msg_iovlen = 1;
            out_.messages[i].msg_hdr.msg_name = &addresses_[i];
            out_.messages[i].msg_hdr.msg_namelen = sizeof(sockaddr_in);
        }
    }

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
                send_due(now);
                read_until(std::min(now - (now - begin) % tick_ns + tick_ns, end));
            } else {
                send(
                    static_cast<std::uint32_t>(std::min<std::size_t>(batch_size, targets_.size())));
                read_all();
            }
        }
        end_window();
        read_until(monotonic_now() + linger_ns);
    }

    void print() const {
        const auto sent = static_cast<double>(std::max<std::uint64_t>(window_.sent, 1));
        std::printf("rate=%.1f sent=%llu recv=%llu lost=%llu cpu_us_per_probe=%.3f rss_kb=%ld",
                    static_cast<double>(window_.sent) * 1e9 / static_cast<double>(window_.wall_ns),
                    static_cast<unsigned long long>(window_.sent),
                    static_cast<unsigned long long>(window_.received),
                    static_cast<unsigned long long>(sent_ - received_),
                    static_cast<double>(window_.cpu_ns) / 1e3 / sent,
                    resident_kib());
        if (options_.stamps == Stamps::rxtx) {
            std::printf(" kern_p50=%.3f kern_p99=%.3f kern_stamped=%llu",
                        round_trips_.quantile(0.5) / 1e3,
                        round_trips_.quantile(0.99) / 1e3,
                        static_cast<unsigned long long>(round_trips_.total()));
        }
        std::printf("\n");
    }

  private:
    /// Counters at the start of the window, and the differences once it has ended.
    struct Window {
        std::int64_t wall_ns = 0;
        std::int64_t cpu_ns = 0;
        std::uint64_t sent = 0;
        std::uint64_t received = 0;
    };

    void begin_window(std::int64_t now) {
        measuring_ = true;
        window_ = {now, read_clock(CLOCK_PROCESS_CPUTIME_ID), sent_, received_};
    }

    void end_window() {
        measuring_ = false;
        window_ = {monotonic_now() - window_.wall_ns,
                   read_clock(CLOCK_PROCESS_CPUTIME_ID) - window_.cpu_ns,
                   sent_ - window_.sent,
                   received_ - window_.received};
    }

    /// After a stall at most one round is caught up: the rest would be a burst, not a rate.
    void send_due(std::int64_t now) {
        owed_ += static_cast<double>(now - paced_at_) / double{second_ns} * options_.hz *
                 options_.targets;
        paced_at_ = now;
        owed_ = std::min(owed_, static_cast<double>(options_.targets));
        while (owed_ >= 1) {
            const auto count = static_cast<std::uint32_t>(std::min(owed_, double{batch_size}));
            send(count);
            owed_ -= count;
            if (unread_ >= unread_probes_max) {
                read_all();
            }
        }
        read_all();
    }

    void send(std::uint32_t count) {
        for (std::uint32_t i = 0; i < count; ++i) {
            prepare(i);
        }
        for (std::uint32_t done = 0; done < count;) {
            const int taken = sendmmsg(socket_.fd(), &out_.messages[done], count - done, 0);
            if (taken < 0) {
                fail("sendmmsg");
            }
            done += static_cast<std::uint32_t>(taken);
        }
        sent_ += count;
        unread_ += count;
    }

    void prepare(std::uint32_t slot) {
        const std::uint32_t index = next_number_ % options_.targets;
        targets_[index] = {next_number_, true, 0, 0};
        sockaddr_in& address = addresses_[slot];
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(options_.base + index / 250 * 256 + index % 250 + 1);
        EchoPacket& packet = packets_[slot];
        packet.header = {};
        packet.header.type = ICMP_ECHO;
        packet.header.un.echo.id = htons(identifier_);
        packet.header.un.echo.sequence = htons(static_cast<std::uint16_t>(next_number_));
        packet.number = next_number_;
        packet.header.checksum = internet_checksum(packet);
        ++next_number_;
    }

    /// Sleeps to `deadline`, reading whatever comes meanwhile.
    void read_until(std::int64_t deadline) {
        for (std::int64_t left = deadline - monotonic_now(); left > 0;
             left = deadline - monotonic_now()) {
            pollfd ready{socket_.fd(), POLLIN, 0};
            const timespec timeout{left / second_ns, left % second_ns};
            const int events = ppoll(&ready, 1, &timeout, nullptr);
            if (events < 0 && errno != EINTR) {
                fail("ppoll");
            }
            if (events > 0) {
                read_all();
            }
        }
    }

    void read_all() {
        if (options_.stamps == Stamps::rxtx) {
            read_queue(MSG_ERRQUEUE);
        }
        read_queue(0);
        unread_ = 0;
    }

    void read_queue(int flags) {
        for (int taken = batch_size; taken == static_cast<int>(batch_size);) {
            reset_controls();
            taken = recvmmsg(
                socket_.fd(), in_.messages.data(), batch_size, flags | MSG_DONTWAIT, nullptr);
            if (taken < 0 && errno != EAGAIN && errno != EINTR) {
                fail("recvmmsg");
            }
            for (int i = 0; i < taken; ++i) {
                const auto slot = static_cast<std::size_t>(i);
                flags == 0 ? on_answer(slot) : on_send_stamp(slot);
            }
            used_ = static_cast<std::size_t>(std::max(taken, 0));
        }
    }

    /// The kernel shortens the control length of each message it fills.
    void reset_controls() {
        if (options_.stamps == Stamps::none) {
            return;
        }
        for (std::size_t i = 0; i < used_; ++i) {
            in_.messages[i].msg_hdr.msg_control = in_.controls[i].bytes.data();
            in_.messages[i].msg_hdr.msg_controllen = in_.controls[i].bytes.size();
        }
    }

    void on_answer(std::size_t slot) {
        const auto& bytes = in_.bytes[slot];
        const std::size_t header_bytes = std::size_t{4} * (bytes[0] & 0x0fU);
        if (in_.messages[slot].msg_len < header_bytes + sizeof(EchoPacket)) {
            return;
        }
        std::uint32_t number = 0;
        std::memcpy(&number, &bytes[header_bytes + offsetof(EchoPacket, number)], sizeof number);
        Target& target = targets_[number % options_.targets];
        if (target.number != number || !target.outstanding) {
            return;
        }
        target.outstanding = false;
        ++received_;
        if (options_.stamps == Stamps::rxtx) {
            target.receive_ns = stamps_of(slot).kernel_ns;
            measure(target);
        }
    }

    void on_send_stamp(std::size_t slot) {
        const SlotStamps stamps = stamps_of(slot);
        if (!stamps.number) {
            return;
        }
        Target& target = targets_[*stamps.number % options_.targets];
        if (target.number == *stamps.number) {
            target.transmit_ns = stamps.kernel_ns;
            measure(target);
        }
    }

    struct SlotStamps {
        std::int64_t kernel_ns = 0;           ///< 0: none
        std::optional<std::uint32_t> number;  ///< of the probe, on the error queue
    };

    SlotStamps stamps_of(std::size_t slot) {
        SlotStamps stamps;
        msghdr* message = &in_.messages[slot].msg_hdr;
        for (cmsghdr* part = CMSG_FIRSTHDR(message); part != nullptr;
             part = CMSG_NXTHDR(message, part)) {
            if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_TIMESTAMPING) {
                timespec software{};  // the first of three
                std::memcpy(&software, CMSG_DATA(part), sizeof software);
                stamps.kernel_ns = nanoseconds(software);
            } else if (part->cmsg_level == SOL_IP && part->cmsg_type == IP_RECVERR) {
                sock_extended_err error{};
                std::memcpy(&error, CMSG_DATA(part), sizeof error);
                if (error.ee_origin == SO_EE_ORIGIN_TIMESTAMPING) {
                    stamps.number = error.ee_data;
                }
            }
        }
        return stamps;
    }

    /// Called with either stamp; whichever comes second makes the sample.
    void measure(const Target& target) {
        if (measuring_ && target.transmit_ns != 0 && target.receive_ns >= target.transmit_ns) {
            round_trips_.record(target.receive_ns - target.transmit_ns);
        }
    }

    const Options options_;
    const std::uint16_t identifier_;
    EchoSocket socket_;
    std::vector<Target> targets_;
    Batch in_;
    Batch out_;
    std::array<EchoPacket, batch_size> packets_{};
    std::array<sockaddr_in, batch_size> addresses_{};
    std::size_t used_ = batch_size;  ///< messages the last recvmmsg filled
    std::uint32_t next_number_ = 0;
    std::uint32_t unread_ = 0;
    std::uint64_t sent_ = 0;
    std::uint64_t received_ = 0;
    std::int64_t paced_at_ = 0;
    double owed_ = 0;  ///< probes due and not yet sent
    bool measuring_ = false;
    Window window_;
    LatencyHistogram round_trips_;
};

Options parse(int argc, char** argv) {
    const Arguments arguments(argc,
                              argv,
                              {{"n", "10000"},
                               {"hz", "1"},
                               {"secs", "10"},
                               {"warm", "1"},
                               {"ts", "none"},
                               {"base", "127.1.0.0"}});
    const std::string& stamps = arguments.text("ts");
    in_addr base{};
    if (stamps != "none" && stamps != "rx" && stamps != "rxtx") {
        throw std::invalid_argument("ts=" + stamps + ": want none, rx or rxtx");
    }
    if (inet_pton(AF_INET, arguments.text("base").c_str(), &base) != 1) {
        throw std::invalid_argument("base=" + arguments.text("base") + ": want an IPv4 address");
    }
    return {arguments.number<std::uint32_t>("n", 1, 1'000'000),
            arguments.number<double>("hz", 0, 1000),
            arguments.number<double>("secs", 0.1, 3600),
            arguments.number<double>("warm", 0, 3600),
            stamps == "none" ? Stamps::none
            : stamps == "rx" ? Stamps::rx
                             : Stamps::rxtx,
            ntohl(base.s_addr)};
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
        std::fprintf(stderr, "bare_icmp: %s\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bare_icmp: %s\n", error.what());
        return 1;
    }
}
