// The daemon's sockets on bridge ports and nothing else: what they cost the packets that pass by is
// then measured from outside, by bridge_traffic.
//
// Arguments: ports (names of devices, with commas between). Listens until SIGTERM or SIGINT. Writes
// "ready" to standard error once all are open.
// Prints ports, frames (heard), overflows.
// Exit status: 0 done, 1 the kernel refused something, 2 wrong usage.

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

#include <net/if.h>

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

    void on_neighbour_frame(IfIndex, const NeighbourFrame&, std::optional<WallTime>) override {
        ++frames;
    }

    void on_neighbour_flaw(IfIndex) override {}

    void on_neighbour_overflow(IfIndex) override { ++overflows; }
};

void open_ports(NeighbourSockets& sockets, const std::string& names) {
    std::istringstream stream(names);
    for (std::string name; std::getline(stream, name, ',');) {
        const IfIndex port{if_nametoindex(name.c_str())};
        if (const auto error = sockets.open_port(port)) {
            throw std::system_error(error, name);
        }
    }
    if (sockets.ports() == 0) {
        throw std::invalid_argument("ports= wants names of devices");
    }
}

void listen(const Arguments& arguments) {
    boost::asio::io_context context{1};
    NeighbourSockets sockets(context);
    open_ports(sockets, arguments.text("ports"));
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
        reachd::bench::listen(reachd::bench::Arguments(argc, argv, {{"ports", ""}}));
        return 0;
    } catch (const std::invalid_argument& error) {
        std::fprintf(stderr, "passive_listener: %s\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "passive_listener: %s\n", error.what());
        return 1;
    }
}
