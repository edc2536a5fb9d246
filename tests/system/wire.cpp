// A cable in user space between two network devices, for kernels without netem: it delays, jitters,
// drops, duplicates and holds back frames, as told on its standard input, and counts the echo
// packets it saw, which is the truth that a test compares the daemon with.
//
//     wire WEST EAST          devices of this network namespace that do nothing else
//
// One command a line; each is answered by a line "ok …" once it is in force (or "error …").
// DIRECTION is east (frames that came in on WEST), west, or both. Times are in microseconds.
//     delay DIRECTION T            every frame
//     jitter DIRECTION T           every frame, up to T more, uniform; the order is kept
//     loss DIRECTION PERCENT SEED  echo packets, each by chance; the same seed, the same losses
//     every DIRECTION N            drops each Nth echo packet; 0: none
//     drop DIRECTION N             drops the next N echo packets
//     pass DIRECTION N             the next N echo packets to be dropped by any of these pass
//     hold DIRECTION N T           the next N echo packets come T later than the others
//     duplicate DIRECTION N        the next N echo packets come twice
//     cut DIRECTION, mend DIRECTION   drops all frames; no longer
//     counts                       ok requests R replies P dropped D duplicated U held H
// Only ICMP echo packets are lost, held or doubled, so that ARP and ND work. It ends with its
// input, or after ten minutes. It refuses to mend checksums: frames of a TCP stack with checksum
// offload do not survive it.
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

using Clock = std::chrono::steady_clock;
using Microseconds = std::chrono::microseconds;
using Frame = std::vector<unsigned char>;

constexpr std::chrono::minutes run_time_max{10};
constexpr std::size_t frame_bytes_max = 65536;
constexpr std::size_t queued_frames_max = 100000;  // one second of small frames at line rate here
constexpr int socket_buffer_bytes = 8 << 20;
constexpr int frames_per_turn = 64;

struct Direction {
    int from = -1;
    int to = -1;
    Microseconds delay{0};
    Microseconds jitter{0};
    double loss = 0;
    std::mt19937_64 chance{1};
    unsigned every = 0;
    unsigned since_dropped = 0;
    unsigned drop_next = 0;
    unsigned pass_next = 0;
    unsigned hold_next = 0;
    Microseconds hold{0};
    unsigned duplicate_next = 0;
    bool is_cut = false;
    Clock::time_point last_due{};
};

struct Counts {
    unsigned long requests = 0;
    unsigned long replies = 0;
    unsigned long dropped = 0;
    unsigned long duplicated = 0;
    unsigned long held = 0;
};

struct Wire {
    std::array<Direction, 2> directions;  // east, west
    Counts counts;
    std::multimap<Clock::time_point, std::pair<int, Frame>> queue;  // by due time
};

enum class Echo { none, request, reply };

/// What an Ethernet frame carries. IPv4 options are honoured, IPv6 extension headers are not used
/// by echo packets.
Echo echo_kind(const Frame& frame) {
    if (frame.size() < ETH_HLEN + 40U) {
        return Echo::none;
    }
    const unsigned ethertype = static_cast<unsigned>(frame[12] << 8) + frame[13];
    const unsigned char* packet = frame.data() + ETH_HLEN;
    if (ethertype == ETH_P_IP && packet[9] == 1) {
        const std::size_t type_at = ETH_HLEN + (packet[0] & 15U) * 4U;
        if (type_at >= frame.size()) {
            return Echo::none;
        }
        return frame[type_at] == 8 ? Echo::request : frame[type_at] == 0 ? Echo::reply : Echo::none;
    }
    if (ethertype == ETH_P_IPV6 && packet[6] == 58 && frame.size() > ETH_HLEN + 40U) {
        const unsigned char type = packet[40];
        return type == 128 ? Echo::request : type == 129 ? Echo::reply : Echo::none;
    }
    return Echo::none;
}

bool is_chosen_to_drop(Direction& direction) {
    if (direction.drop_next > 0) {
        --direction.drop_next;
        return true;
    }
    if (direction.every > 0 && ++direction.since_dropped >= direction.every) {
        direction.since_dropped = 0;
        return true;
    }
    return direction.loss > 0 &&
           std::generate_canonical<double, 53>(direction.chance) < direction.loss;
}

bool is_dropped(Direction& direction) {
    if (!is_chosen_to_drop(direction)) {
        return false;
    }
    if (direction.pass_next > 0) {
        --direction.pass_next;
        return false;
    }
    return true;
}

Clock::time_point due_time(Direction& direction, Clock::time_point now) {
    auto due = now + direction.delay;
    if (direction.jitter.count() > 0) {
        std::uniform_int_distribution<Microseconds::rep> more(0, direction.jitter.count());
        due += Microseconds(more(direction.chance));
    }
    due = std::max(due, direction.last_due);
    direction.last_due = due;
    return due;
}

void take(Wire& wire, Direction& direction, Frame frame, Clock::time_point now) {
    const Echo kind = echo_kind(frame);
    wire.counts.requests += kind == Echo::request ? 1 : 0;
    wire.counts.replies += kind == Echo::reply ? 1 : 0;
    const bool is_echo = kind != Echo::none;
    if (direction.is_cut || wire.queue.size() >= queued_frames_max ||
        (is_echo && is_dropped(direction))) {
        wire.counts.dropped += is_echo ? 1 : 0;
        return;
    }
    auto due = due_time(direction, now);
    if (is_echo && direction.hold_next > 0) {
        --direction.hold_next;
        ++wire.counts.held;
        due += direction.hold;
    }
    if (is_echo && direction.duplicate_next > 0) {
        --direction.duplicate_next;
        ++wire.counts.duplicated;
        wire.queue.emplace(due, std::make_pair(direction.to, frame));
    }
    wire.queue.emplace(due, std::make_pair(direction.to, std::move(frame)));
}

void receive(Wire& wire, Direction& direction) {
    static std::array<unsigned char, frame_bytes_max> buffer;
    for (int i = 0; i < frames_per_turn; ++i) {
        sockaddr_ll origin{};
        socklen_t origin_bytes = sizeof(origin);
        const ssize_t got = recvfrom(direction.from,
                                     buffer.data(),
                                     buffer.size(),
                                     MSG_DONTWAIT,
                                     reinterpret_cast<sockaddr*>(&origin),
                                     &origin_bytes);
        if (got < 0) {
            return;
        }
        if (origin.sll_pkttype != PACKET_OUTGOING) {
            take(wire, direction, Frame(buffer.begin(), buffer.begin() + got), Clock::now());
        }
    }
}

/// Frames that a device refuses (link down, too long) are lost, as on a real cable.
void send_due(Wire& wire) {
    const auto now = Clock::now();
    while (!wire.queue.empty() && wire.queue.begin()->first <= now) {
        const auto& [socket, frame] = wire.queue.begin()->second;
        static_cast<void>(!send(socket, frame.data(), frame.size(), 0));
        wire.queue.erase(wire.queue.begin());
    }
}

bool apply(Direction& direction, const std::string& verb, std::istringstream& words) {
    double first = 0;
    Microseconds::rep second = 0;
    words >> first >> second;
    if (first < 0 || second < 0) {
        return false;
    }
    const auto count = static_cast<unsigned>(first);
    const Microseconds time(static_cast<Microseconds::rep>(first));
    if (verb == "delay") {
        direction.delay = time;
        direction.last_due = {};
    } else if (verb == "jitter") {
        direction.jitter = time;
    } else if (verb == "loss") {
        direction.loss = first / 100;
        direction.chance.seed(static_cast<std::uint64_t>(second));
    } else if (verb == "every") {
        direction.every = count;
        direction.since_dropped = 0;
    } else if (verb == "drop") {
        direction.drop_next = count;
    } else if (verb == "pass") {
        direction.pass_next = count;
    } else if (verb == "hold") {
        direction.hold_next = count;
        direction.hold = Microseconds(second);
    } else if (verb == "duplicate") {
        direction.duplicate_next = count;
    } else if (verb == "cut" || verb == "mend") {
        direction.is_cut = verb == "cut";
    } else {
        return false;
    }
    return true;
}

void command(Wire& wire, const std::string& line) {
    std::istringstream words(line);
    std::string verb;
    std::string where;
    words >> verb >> where;
    if (verb == "counts") {
        const Counts& seen = wire.counts;
        std::printf("ok requests %lu replies %lu dropped %lu duplicated %lu held %lu\n",
                    seen.requests,
                    seen.replies,
                    seen.dropped,
                    seen.duplicated,
                    seen.held);
        std::fflush(stdout);
        return;
    }
    bool is_good = where == "east" || where == "west" || where == "both";
    const auto rest = words.tellg();
    for (std::size_t i = 0; is_good && i < wire.directions.size(); ++i) {
        if (where == "both" || where == (i == 0 ? "east" : "west")) {
            std::istringstream again(rest < 0 ? std::string()
                                              : line.substr(static_cast<std::size_t>(rest)));
            is_good = apply(wire.directions[i], verb, again);
        }
    }
    std::puts(is_good ? "ok" : "error: unknown command");
    std::fflush(stdout);
}

/// False at the end of the input.
bool read_commands(Wire& wire, std::string& pending) {
    std::array<char, 4096> buffer{};
    const ssize_t got = read(STDIN_FILENO, buffer.data(), buffer.size());
    if (got <= 0) {
        return false;
    }
    pending.append(buffer.data(), static_cast<std::size_t>(got));
    for (auto end = pending.find('\n'); end != std::string::npos; end = pending.find('\n')) {
        command(wire, pending.substr(0, end));
        pending.erase(0, end + 1);
    }
    return true;
}

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "wire: %s: %s\n", what.c_str(), std::strerror(errno));
    std::exit(1);
}

int open_device(const char* name) {
    const unsigned index = if_nametoindex(name);
    if (index == 0) {
        fail(name);
    }
    const int descriptor = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
    if (descriptor < 0) {
        fail("packet socket");
    }
    // A raw-frame sender is otherwise held back at 90 frames in flight.
    for (const int option : {SO_SNDBUFFORCE, SO_RCVBUFFORCE}) {
        static_cast<void>(setsockopt(
            descriptor, SOL_SOCKET, option, &socket_buffer_bytes, sizeof(socket_buffer_bytes)));
    }
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(index);
    if (bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
        fail(std::string("bind to ") + name);
    }
    packet_mreq membership{};
    membership.mr_ifindex = static_cast<int>(index);
    membership.mr_type = PACKET_MR_PROMISC;
    if (setsockopt(
            descriptor, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership, sizeof(membership)) != 0) {
        fail(std::string("promiscuous mode of ") + name);
    }
    return descriptor;
}

timespec until_due(const Wire& wire) {
    auto wait = std::chrono::nanoseconds(std::chrono::seconds(1));
    if (!wire.queue.empty()) {
        wait = std::min<std::chrono::nanoseconds>(wait, wire.queue.begin()->first - Clock::now());
    }
    wait = std::max(wait, std::chrono::nanoseconds(0));
    return {static_cast<time_t>(wait / std::chrono::seconds(1)),
            static_cast<long>((wait % std::chrono::seconds(1)).count())};
}

void run(Wire& wire) {
    const auto end = Clock::now() + run_time_max;
    std::string pending;
    while (Clock::now() < end) {
        std::array<pollfd, 3> sources{{{wire.directions[0].from, POLLIN, 0},
                                       {wire.directions[1].from, POLLIN, 0},
                                       {STDIN_FILENO, POLLIN, 0}}};
        const timespec wait = until_due(wire);
        if (ppoll(sources.data(), sources.size(), &wait, nullptr) < 0 && errno != EINTR) {
            fail("poll");
        }
        for (std::size_t i = 0; i < wire.directions.size(); ++i) {
            if (sources[i].revents != 0) {
                receive(wire, wire.directions[i]);
            }
        }
        if (sources[2].revents != 0 && !read_commands(wire, pending)) {
            return;
        }
        send_due(wire);
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fputs("usage: wire WEST EAST\n", stderr);
        return 2;
    }
    const int west = open_device(argv[1]);
    const int east = open_device(argv[2]);
    Wire wire;
    wire.directions[0].from = west;
    wire.directions[0].to = east;
    wire.directions[1].from = east;
    wire.directions[1].to = west;
    // A real cable does not wait for a processor. Where this is not allowed, delays are less exact.
    sched_param priority{};
    priority.sched_priority = 1;
    static_cast<void>(sched_setscheduler(0, SCHED_FIFO, &priority));
    std::puts("ready");
    std::fflush(stdout);
    run(wire);
    return 0;
}
