// The bare limit for ARP questions out of bridge ports on this kernel: a packet socket on each
// port, one epoll, a request out, its answer in, and nothing else. The benchmarks divide by it, so
// it keeps only what no prober of ports can do without: the address that an answer is about, and
// (ts=rxtx) kernel time stamps both ways. The filter is the daemon's, for both shall hear the same.
// It refuses to be a prober: no time-outs, no state, and one failed send ends it.
//
// Arguments: guests (a file, a line each: device, MAC and IPv4 address of the guest, asked in this
// order), hz requests a second for each, secs measured after warm seconds, ts=none|rxtx.
// Prints rate (a second), sent and recv (in the window), lost (of the whole run), cpu_us_per_probe
// (user and system, of the window), rss_kb, and with ts=rxtx kern_p50 and kern_p99 (microseconds,
// kernel transmit to kernel receive) and kern_stamped (requests measured so).
// Exit status: 0 measured, 1 the kernel refused something, 2 wrong usage.

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/net_tstamp.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "probes/neighbour_filter.hpp"
#include "tests/bench/arguments.hpp"
#include "tests/bench/bare_epoll_loop.hpp"

namespace reachd::bench {
namespace {

constexpr std::size_t guests_max = 4096;

using Mac = std::array<std::uint8_t, ETH_ALEN>;

struct Request {
    ether_header ethernet;
    ether_arp arp;
};

static_assert(sizeof(Request) == 42);

struct Guest {
    int socket = -1;  ///< open until the end of the program
    Request request{};
    bool outstanding = false;
    std::int64_t transmit_ns = 0;  ///< kernel stamps of the last request; 0: not seen
    std::int64_t receive_ns = 0;
};

template <class Value>
void set_option(int fd, int level, int name, const Value& value, const char* what) {
    if (setsockopt(fd, level, name, &value, sizeof value) != 0) {
        fail(what);
    }
}

int open_port(unsigned index, bool stamped) {
    const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        fail("packet socket");
    }
    std::vector<sock_filter> code = neighbour_filter();
    const sock_fprog filter{static_cast<unsigned short>(code.size()), code.data()};
    set_option(fd, SOL_SOCKET, SO_ATTACH_FILTER, filter, "SO_ATTACH_FILTER");
    set_option(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1, "PACKET_IGNORE_OUTGOING");
    if (stamped) {
        constexpr int flags = SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE |
                              SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_OPT_TSONLY;
        set_option(fd, SOL_SOCKET, SO_TIMESTAMPING, flags, "SO_TIMESTAMPING");
    }
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(index);
    if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        fail("bind");
    }
    return fd;
}

Mac mac_of_port(int fd, const std::string& device) {
    ifreq request{};
    device.copy(request.ifr_name, sizeof request.ifr_name - 1);
    if (ioctl(fd, SIOCGIFHWADDR, &request) != 0) {
        fail("SIOCGIFHWADDR");
    }
    Mac mac{};
    std::memcpy(mac.data(), request.ifr_hwaddr.sa_data, mac.size());
    return mac;
}

/// Unicast, from nobody, as the daemon asks.
Request make_request(const Mac& from, const Mac& to, const in_addr& address) {
    Request request{};
    std::copy(to.begin(), to.end(), request.ethernet.ether_dhost);
    std::copy(from.begin(), from.end(), request.ethernet.ether_shost);
    request.ethernet.ether_type = htons(ETHERTYPE_ARP);
    request.arp.ea_hdr = {
        htons(ARPHRD_ETHER), htons(ETHERTYPE_IP), ETH_ALEN, sizeof address, htons(ARPOP_REQUEST)};
    std::copy(from.begin(), from.end(), request.arp.arp_sha);
    std::memcpy(request.arp.arp_tpa, &address, sizeof address);
    return request;
}

Mac parse_mac(const std::string& text) {
    Mac mac{};
    int used = 0;
    if (std::sscanf(text.c_str(),
                    "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n",
                    &mac[0],
                    &mac[1],
                    &mac[2],
                    &mac[3],
                    &mac[4],
                    &mac[5],
                    &used) != 6 ||
        text.size() != static_cast<std::size_t>(used)) {
        throw std::invalid_argument("guests: '" + text + "' is no MAC address");
    }
    return mac;
}

std::vector<Guest> open_guests(const std::string& path, bool stamped) {
    std::vector<Guest> guests;
    std::ifstream file(path);
    std::string device;
    std::string mac;
    std::string address;
    while (file >> device >> mac >> address) {
        const unsigned index = if_nametoindex(device.c_str());
        in_addr target{};
        if (index == 0 || inet_pton(AF_INET, address.c_str(), &target) != 1) {
            throw std::invalid_argument("guests: no device " + device + ", or no IPv4 address " +
                                        address);
        }
        Guest guest;
        guest.socket = open_port(index, stamped);
        guest.request = make_request(mac_of_port(guest.socket, device), parse_mac(mac), target);
        guests.push_back(guest);
    }
    if (guests.empty() || guests.size() > guests_max) {
        throw std::invalid_argument("guests=" + path + ": want a file of 1 to " +
                                    std::to_string(guests_max) + " lines");
    }
    return guests;
}

/// Room for one message and its stamp.
class Message {
  public:
    /// False: there is none.
    bool receive(int fd, int flags) {
        iovec vector{bytes_.data(), bytes_.size()};
        header_ = {};
        header_.msg_iov = &vector;
        header_.msg_iovlen = 1;
        header_.msg_control = control_.data();
        header_.msg_controllen = control_.size();
        const ssize_t got = recvmsg(fd, &header_, flags | MSG_DONTWAIT);
        if (got < 0 && errno != EAGAIN && errno != EINTR) {
            fail("recvmsg");
        }
        size_ = static_cast<std::size_t>(std::max<ssize_t>(got, 0));
        return got >= 0;
    }

    bool answers(const Request& request) const {
        if (size_ < sizeof(Request)) {
            return false;
        }
        Request answer{};
        std::memcpy(&answer, bytes_.data(), sizeof answer);
        return answer.ethernet.ether_type == htons(ETHERTYPE_ARP) &&
               answer.arp.ea_hdr.ar_op == htons(ARPOP_REPLY) &&
               std::memcmp(answer.arp.arp_spa, request.arp.arp_tpa, sizeof(in_addr)) == 0;
    }

    /// Of the kernel; 0: none.
    std::int64_t stamp_ns() {
        for (cmsghdr* part = CMSG_FIRSTHDR(&header_); part != nullptr;
             part = CMSG_NXTHDR(&header_, part)) {
            if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_TIMESTAMPING) {
                timespec software{};  // the first of three
                std::memcpy(&software, CMSG_DATA(part), sizeof software);
                return nanoseconds(software);
            }
        }
        return 0;
    }

  private:
    std::array<std::uint8_t, 128> bytes_{};
    alignas(cmsghdr) std::array<std::uint8_t, 256> control_{};
    msghdr header_{};
    std::size_t size_ = 0;
};

class ArpLoop final : public BareEpollLoop {
  public:
    ArpLoop(const Pace& pace, std::vector<Guest> guests, bool stamped)
        : BareEpollLoop(pace),
          guests_(std::move(guests)),
          stamped_(stamped) {
        for (std::size_t i = 0; i < guests_.size(); ++i) {
            watch(guests_[i].socket, EPOLLIN, i);
        }
    }

    void print() const {
        print_counters();
        if (stamped_) {
            print_round_trips();
        }
        std::printf("\n");
    }

  private:
    void send(std::uint32_t count) override {
        for (std::uint32_t i = 0; i < count; ++i) {
            Guest& guest = guests_[next_target()];
            guest.outstanding = true;
            guest.transmit_ns = 0;
            guest.receive_ns = 0;
            if (::send(guest.socket, &guest.request, sizeof guest.request, 0) < 0) {
                fail("send");
            }
            if (stamped_) {
                take_stamp(guest);  // mostly there by now, and then nobody is woken for it
            }
        }
    }

    void take_stamp(Guest& guest) {
        while (message_.receive(guest.socket, MSG_ERRQUEUE)) {
            guest.transmit_ns = message_.stamp_ns();
            measure(guest);
        }
    }

    void on_ready(std::uint32_t events, std::uint64_t data) override {
        Guest& guest = guests_[data];
        if ((events & EPOLLERR) != 0) {
            take_stamp(guest);
        }
        if ((events & EPOLLIN) == 0 || !message_.receive(guest.socket, 0) || !guest.outstanding ||
            !message_.answers(guest.request)) {
            return;
        }
        guest.outstanding = false;
        count_answer();
        if (stamped_) {
            guest.receive_ns = message_.stamp_ns();
            measure(guest);
        }
    }

    /// Called with either stamp; whichever comes second makes the sample.
    void measure(const Guest& guest) {
        if (guest.transmit_ns != 0 && guest.receive_ns != 0) {
            record_round_trip(guest.receive_ns - guest.transmit_ns);
        }
    }

    std::vector<Guest> guests_;
    const bool stamped_;
    Message message_;
};

void measure(int argc, char** argv) {
    const Arguments arguments(argc, argv, with_pace({{"guests", ""}, {"ts", "rxtx"}}));
    const std::string& stamps = arguments.text("ts");
    if (stamps != "none" && stamps != "rxtx") {
        throw std::invalid_argument("ts=" + stamps + ": want none or rxtx");
    }
    std::vector<Guest> guests = open_guests(arguments.text("guests"), stamps == "rxtx");
    const Pace pace = read_pace(arguments, static_cast<std::uint32_t>(guests.size()));
    ArpLoop loop(pace, std::move(guests), stamps == "rxtx");
    loop.run();
    loop.print();
}

}  // namespace
}  // namespace reachd::bench

int main(int argc, char** argv) {
    return reachd::bench::guarded("bare_arp", [&] { reachd::bench::measure(argc, argv); });
}
