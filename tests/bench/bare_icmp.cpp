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
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/arguments.hpp"
#include "tests/bench/bare_loop.hpp"
#include "tests/bench/bare_socket.hpp"

namespace reachd::bench {
namespace {

/// Answers and stamps share the receive buffer, so the sender never runs further ahead than this.
constexpr std::uint32_t unread_probes_max = 256;

struct Target {
    std::uint32_t number = 0;  ///< of the last probe sent
    bool outstanding = false;
    std::int64_t transmit_ns = 0;  ///< kernel stamps of that probe; 0: not seen
    std::int64_t receive_ns = 0;
};

class EchoLoop final : public BareLoop {
  public:
    EchoLoop(const Pace& pace, std::uint32_t base, Stamps stamps)
        : BareLoop(pace),
          base_(base),
          stamps_(stamps),
          identifier_(static_cast<std::uint16_t>(getpid() & 0xffff)),
          socket_(identifier_, stamps),
          targets_(pace.targets) {
        static_assert(batch_probes_max <= batch_size);
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

    void print() const {
        print_counters();
        if (stamps_ == Stamps::rxtx) {
            print_round_trips();
        }
        std::printf("\n");
    }

  private:
    void send(std::uint32_t count) override {
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
        unread_ += count;
        if (unread_ >= unread_probes_max) {
            read_all();
        }
    }

    void prepare(std::uint32_t slot) {
        const auto number = static_cast<std::uint32_t>(sent());
        const std::uint32_t index = next_target();
        targets_[index] = {number, true, 0, 0};
        sockaddr_in& address = addresses_[slot];
        address.sin_family = AF_INET;
        address.sin_addr = target_address(base_, index);
        EchoPacket& packet = packets_[slot];
        packet.header = {};
        packet.header.type = ICMP_ECHO;
        packet.header.un.echo.id = htons(identifier_);
        packet.header.un.echo.sequence = htons(static_cast<std::uint16_t>(number));
        packet.number = number;
        packet.header.checksum = internet_checksum(packet);
    }

    void read_until(std::int64_t deadline) override {
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

    void read_all() override {
        if (stamps_ == Stamps::rxtx) {
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
        if (stamps_ == Stamps::none) {
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
        Target& target = targets_[number % targets_.size()];
        if (target.number != number || !target.outstanding) {
            return;
        }
        target.outstanding = false;
        count_answer();
        if (stamps_ == Stamps::rxtx) {
            target.receive_ns = stamps_of(slot).kernel_ns;
            measure(target);
        }
    }

    void on_send_stamp(std::size_t slot) {
        const SlotStamps stamps = stamps_of(slot);
        if (!stamps.number) {
            return;
        }
        Target& target = targets_[*stamps.number % targets_.size()];
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
        if (target.transmit_ns != 0 && target.receive_ns != 0) {
            record_round_trip(target.receive_ns - target.transmit_ns);
        }
    }

    const std::uint32_t base_;
    const Stamps stamps_;
    const std::uint16_t identifier_;
    EchoSocket socket_;
    std::vector<Target> targets_;
    Batch in_;
    Batch out_;
    std::array<EchoPacket, batch_size> packets_{};
    std::array<sockaddr_in, batch_size> addresses_{};
    std::size_t used_ = batch_size;  ///< messages the last recvmmsg filled
    std::uint32_t unread_ = 0;
};

Stamps read_stamps(const std::string& text) {
    if (text != "none" && text != "rx" && text != "rxtx") {
        throw std::invalid_argument("ts=" + text + ": want none, rx or rxtx");
    }
    return text == "none" ? Stamps::none : text == "rx" ? Stamps::rx : Stamps::rxtx;
}

void measure(int argc, char** argv) {
    const Arguments arguments(
        argc, argv, with_pace({{"n", "10000"}, {"ts", "none"}, {"base", "127.1.0.0"}}));
    EchoLoop loop(read_pace(arguments, read_targets(arguments)),
                  read_base(arguments),
                  read_stamps(arguments.text("ts")));
    loop.run();
    loop.print();
}

}  // namespace
}  // namespace reachd::bench

int main(int argc, char** argv) {
    return reachd::bench::guarded("bare_icmp", [&] { reachd::bench::measure(argc, argv); });
}
