// What the bare loop sends, and through which socket: a 64-byte echo request, and a raw ICMP socket
// that lets through only the answers to it, and the buffers for both ways. Holds the descriptor;
// reads and sends nothing itself.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include <linux/filter.h>
#include <linux/icmp.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/bare_loop.hpp"

namespace reachd::bench {

inline constexpr std::size_t batch_size = 64;
inline constexpr int receive_buffer_bytes = 8 * 1024 * 1024;

enum class Stamps : std::uint8_t { none, rx, rxtx };

/// What a probe carries: 8 bytes of header and 56 of payload, as ping's. `number` counts the sends,
/// so it names the target (number % targets), and it is the OPT_ID of the kernel's send stamp too.
struct EchoPacket {
    icmphdr header;
    std::uint32_t number;
    std::array<std::uint8_t, 52> padding;
};

static_assert(sizeof(EchoPacket) == 64);

/// RFC 1071, over a whole number of 16-bit words.
inline std::uint16_t internet_checksum(const EchoPacket& packet) {
    std::array<std::uint16_t, sizeof packet / 2> words{};
    std::memcpy(words.data(), &packet, sizeof packet);
    std::uint32_t sum = 0;
    for (const std::uint16_t word : words) {
        sum += word;
    }
    sum = (sum >> 16U) + (sum & 0xffffU);
    sum += sum >> 16U;
    return static_cast<std::uint16_t>(~sum);
}

/// Buffers of one recvmmsg or sendmmsg call. Answers come with their IP header (raw socket).
struct Batch {
    struct Control {
        alignas(cmsghdr) std::array<std::uint8_t, 256> bytes;
    };

    std::array<mmsghdr, batch_size> messages{};
    std::array<iovec, batch_size> vectors{};
    std::array<std::array<std::uint8_t, 128>, batch_size> bytes{};
    std::array<Control, batch_size> controls{};
};

class EchoSocket {
  public:
    EchoSocket(std::uint16_t identifier, Stamps stamps)
        : fd_(socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMP)) {
        if (fd_ < 0) {
            fail("raw ICMP socket");
        }
        block_other_types();
        filter_answers(identifier);
        // Past rmem_max only with CAP_NET_ADMIN; without it, what rmem_max allows.
        if (setsockopt(fd_,
                       SOL_SOCKET,
                       SO_RCVBUFFORCE,
                       &receive_buffer_bytes,
                       sizeof receive_buffer_bytes) != 0) {
            set(SOL_SOCKET, SO_RCVBUF, receive_buffer_bytes, "SO_RCVBUF");
        }
        if (stamps != Stamps::none) {
            unsigned flags = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
            if (stamps == Stamps::rxtx) {
                flags |= SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_OPT_ID |
                         SOF_TIMESTAMPING_OPT_TSONLY;
            }
            set(SOL_SOCKET, SO_TIMESTAMPING, static_cast<int>(flags), "SO_TIMESTAMPING");
        }
    }

    ~EchoSocket() { close(fd_); }

    EchoSocket(const EchoSocket&) = delete;
    EchoSocket& operator=(const EchoSocket&) = delete;

    int fd() const { return fd_; }

  private:
    void set(int level, int name, int value, const char* what) const {
        if (setsockopt(fd_, level, name, &value, sizeof value) != 0) {
            fail(what);
        }
    }

    /// By type alone, but before the kernel copies the packet: over loopback our own requests would
    /// be half of them. reachd's socket does the same, so that both measure the same round trip.
    void block_other_types() const {
        icmp_filter filter{};
        filter.data = ~(1U << unsigned{ICMP_ECHOREPLY});
        if (setsockopt(fd_, SOL_RAW, ICMP_FILTER, &filter, sizeof filter) != 0) {
            fail("ICMP_FILTER");
        }
    }

    /// Echo replies to our identifier only. A raw socket sees the IP header: X is its length.
    void filter_answers(std::uint16_t identifier) const {
        std::array<sock_filter, 7> code{{
            BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
            BPF_STMT(BPF_LD | BPF_B | BPF_IND, 0),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ICMP_ECHOREPLY, 0, 3),
            BPF_STMT(BPF_LD | BPF_H | BPF_IND, 4),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, identifier, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, 0xffff),
            BPF_STMT(BPF_RET | BPF_K, 0),
        }};
        const sock_fprog program{static_cast<std::uint16_t>(code.size()), code.data()};
        if (setsockopt(fd_, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0) {
            fail("SO_ATTACH_FILTER");
        }
    }

    int fd_;
};

}  // namespace reachd::bench
