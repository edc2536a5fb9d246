// The daemon's sockets on bridge ports and nothing else: what they cost the packets that pass by is
// then measured from outside, by bridge_traffic.
//
// Arguments: ports (names of devices, with commas between), bare (1: instead of the daemon's,
// packet sockets whose filter drops everything at once: nobody can listen for less). Listens until
// SIGTERM or SIGINT. Writes "ready" to standard error once all are open. Prints ports, frames
// (heard), overflows. Exit status: 0 done, 1 the kernel refused something, 2 wrong usage.

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>

#include "probes/io/neighbour_sockets.hpp"
#include "tests/bench/arguments.hpp"

namespace reachd::bench {
namespace {

class Counter final : public NeighbourSink {
  public:
    std::size_t frames = 0;
    std::size_t overflows = 0;

    void on_batch(const Instant&) override {}

    void on_sent(const SendOrder&, const Instant&) override {}

    void on_not_sent(const SendOrder&, FailureReason) override {}

    void on_skipped(const SendOrder&) override {}

    void on_neighbour_stamp(ProbeToken, WallTime) override {}

    void on_neighbour_frame(IfIndex,
                            PortUse,
                            const NeighbourFrame&,
                            std::optional<WallTime>) override {
        ++frames;
    }

    void on_neighbour_flaw() override {}

    void on_neighbour_overflow(IfIndex, PortUse) override { ++overflows; }
};

/// Receives nothing, on a device it is bound to as the daemon's are. Left open until the end.
void open_bare(unsigned port) {
    sock_filter drop{BPF_RET | BPF_K, 0, 0, 0};
    const sock_fprog filter{1, &drop};
    const int on = 1;
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(port);
    const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) != 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) != 0 ||
        bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
        throw std::system_error(errno, std::system_category(), "packet socket");
    }
}

void open_ports(NeighbourSockets& sockets, const std::string& names, bool bare) {
    std::istringstream stream(names);
    for (std::string name; std::getline(stream, name, ',');) {
        const unsigned port = if_nametoindex(name.c_str());
        if (bare) {
            open_bare(port);
        } else if (const auto error = sockets.open_port(IfIndex{port}, PortUse::guest)) {
            throw std::system_error(error, name);
        }
    }
}

void listen(const Arguments& arguments) {
    boost::asio::io_context context{1};
    NeighbourSockets sockets(context);
    open_ports(sockets, arguments.text("ports"), arguments.number("bare", 0, 1) == 1);
    Counter heard;
    std::function<void()> wait = [&] {
        sockets.async_wait([&] {
            static_cast<void>(sockets.drain(heard));
            wait();
        });
    };
    wait();
    boost::asio::signal_set signals(context, SIGTERM, SIGINT);
    signals.async_wait([&](const boost::system::error_code&, int) { context.stop(); });
    std::fputs("ready\n", stderr);
    context.run();
    std::printf(
        "ports=%zu frames=%zu overflows=%zu\n", sockets.ports(), heard.frames, heard.overflows);
}

}  // namespace
}  // namespace reachd::bench

int main(int argc, char** argv) {
    try {
        reachd::bench::listen(reachd::bench::Arguments(argc, argv, {{"ports", ""}, {"bare", "0"}}));
        return 0;
    } catch (const std::invalid_argument& error) {
        std::fprintf(stderr, "passive_listener: %s\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "passive_listener: %s\n", error.what());
        return 1;
    }
}
