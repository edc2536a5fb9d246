#include "agent/ctl/io/mtu_runner.hpp"

#include <array>
#include <cerrno>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>

#include <sys/random.h>

#include "common/io/system_clock.hpp"

namespace reachd::ctl {
namespace {

constexpr Duration progress_interval = std::chrono::milliseconds(100);

template <class Value>
Value random_bits() {
    Value value{};
    if (getrandom(&value, sizeof value, 0) != static_cast<ssize_t>(sizeof value)) {
        throw std::system_error(errno, std::generic_category(), "getrandom");
    }
    return value;
}

class Runner final : private PathMtuSink {
  public:
    Runner(MtuSearch& search, PathMtuSockets& sockets, boost::asio::io_context& context)
        : search_(search),
          sockets_(sockets),
          context_(context) {}

    void run(MonoTime start, const MtuProgress& progress);

  private:
    void turn();
    void sleep(Duration longest);

    void on_batch(const Instant& read) override { read_ = read.mono; }

    void on_mtu_sent(const MtuOrder& order, const Instant& at) override {
        search_.on_sent(order, at.mono);
    }

    void on_mtu_not_sent(const MtuOrder& order) override { search_.on_not_sent(order, mono_now()); }

    void on_mtu_too_big_for_device(const MtuOrder& order, std::uint32_t mtu) override {
        search_.on_too_big_for_device(order, mtu, mono_now());
    }

    void on_mtu_reply(const IpAddress& from,
                      const EchoReply& reply,
                      std::uint32_t bytes,
                      std::uint32_t fragment) override {
        search_.on_reply(from, reply, bytes, fragment, read_);
    }

    void on_mtu_echo_error(const IpAddress& reporter, const EchoError& error) override {
        search_.on_echo_error(reporter, error, read_);
    }

    void on_mtu_datagram_error(const IpAddress& reporter,
                               const IpAddress& destination,
                               std::uint16_t port,
                               FailureReason reason,
                               std::uint32_t mtu) override {
        search_.on_datagram_error(reporter, destination, port, reason, mtu, read_);
    }

    void on_mtu_flaw(PacketFlaw /*flaw*/) override {}

    void on_mtu_overflow() override { search_.on_overflow(mono_now()); }

    MtuSearch& search_;
    PathMtuSockets& sockets_;
    boost::asio::io_context& context_;
    std::vector<MtuRequest> requests_;
    MonoTime read_{};
    bool waiting_ = false;  ///< for the sockets
};

/// What is in the sockets may answer a packet that is out of time.
void Runner::turn() {
    static_cast<void>(sockets_.drain(*this));  // what is more waits for the next turn
    const MonoTime now = mono_now();
    requests_.clear();
    search_.poll(now, requests_);
    sockets_.send(requests_, *this);
}

void Runner::sleep(Duration longest) {
    if (!waiting_) {
        waiting_ = true;
        sockets_.async_wait([this] { waiting_ = false; });
    }
    context_.restart();
    context_.run_one_for(longest);
}

void Runner::run(MonoTime start, const MtuProgress& progress) {
    MonoTime shown = start;
    for (;;) {
        search_.observe(mono_now());
        turn();
        const MonoTime now = mono_now();
        if (search_.is_over(now)) {
            return;
        }
        if (progress && now - shown >= progress_interval) {
            progress(search_.trace(), now - start);
            shown = now;
        }
        const MonoTime next = std::min(search_.next_deadline(), now + progress_interval);
        sleep(std::max(next - now, Duration::zero()));
    }
}

}  // namespace

Result<MtuOutcome, IcmpSocketError> run_mtu_search(const EchoTarget& target,
                                                   const PathMtuFacts& facts,
                                                   const MtuProgress& progress) {
    boost::asio::io_context context{1};
    auto sockets =
        PathMtuSockets::open(context, target.destination.family(), random_bits<std::uint16_t>());
    if (!sockets) {
        return sockets.error();
    }
    const MonoTime start = mono_now();
    MtuSearch search(target, facts, random_bits<std::array<std::uint64_t, 2>>(), start);
    Runner(search, **sockets, context).run(start, progress);
    MtuOutcome outcome;
    outcome.mode = (*sockets)->mode();
    outcome.settled = search.is_settled();
    outcome.result = search.result();
    outcome.trials = search.trace().trials();
    outcome.complaint = search.complaint();
    (*sockets)->close();
    return outcome;
}

}  // namespace reachd::ctl
