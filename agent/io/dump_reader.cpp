#include "agent/io/dump_reader.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include <linux/netlink.h>
#include <sys/socket.h>

#include "common/check.hpp"

namespace reachd {

DumpReader::DumpReader(boost::asio::io_context& loop,
                       boost::asio::thread_pool& helper,
                       int fd,
                       std::function<void()> on_batch)
    : loop_(loop),
      helper_(helper),
      fd_(fd),
      on_batch_(std::move(on_batch)) {}

void DumpReader::start(std::vector<std::uint8_t> request) {
    ENSURE(!busy_);
    busy_ = true;
    run(std::move(request));
}

/// An empty request: only reads on.
void DumpReader::run(std::vector<std::uint8_t> request) {
    // The guard: the loop has something to wait for meanwhile.
    auto guard = boost::asio::make_work_guard(loop_);
    boost::asio::post(helper_,
                      [this, request = std::move(request), guard = std::move(guard)]() mutable {
                          send(request);
                          read();
                          boost::asio::post(loop_, [this] {
                              has_batch_ = true;
                              on_batch_();
                          });
                          guard.reset();
                      });
}

DumpReader::Outcome DumpReader::deliver(NetlinkSink& sink, std::error_code& error) {
    if (!has_batch_) {
        return busy_ ? Outcome::more : Outcome::finished;
    }
    has_batch_ = false;
    batch_.deliver(sink);
    if (std::exchange(request_failed_, false)) {
        sink.on_request_failed();
    }
    switch (outcome_) {
        case NetlinkBatch::Outcome::full: run({}); return Outcome::more;
        case NetlinkBatch::Outcome::empty: busy_ = false; return Outcome::finished;
        case NetlinkBatch::Outcome::failed: break;
    }
    busy_ = false;
    error = error_;
    return Outcome::failed;
}

// ---- In the helper thread

void DumpReader::send(const std::vector<std::uint8_t>& request) {
    if (request.empty()) {
        return;
    }
    sockaddr_nl kernel{};
    kernel.nl_family = AF_NETLINK;
    const auto* address = reinterpret_cast<const sockaddr*>(&kernel);
    request_failed_ =
        ::sendto(fd_, request.data(), request.size(), MSG_DONTWAIT, address, sizeof kernel) < 0;
}

/// The kernel queues the first part inside the request, each other one as soon as the one before is
/// read: an empty socket means the end.
void DumpReader::read() {
    do {
        const std::size_t left = batch_bytes - std::min(batch_.bytes(), batch_bytes);
        const std::size_t parts = left / dump_part_bytes;
        if (parts == 0 || batch_.room() == 0) {
            outcome_ = NetlinkBatch::Outcome::full;
            return;
        }
        const std::size_t room = batch_.room();
        outcome_ = batch_.read(fd_, parts, error_);
        if (batch_.room() == room) {
            return;
        }
    } while (outcome_ == NetlinkBatch::Outcome::full);
}

}  // namespace reachd
